//! What routes to Pods, and what keeps away from them.

use super::{At, Names, PORTS, PROTOCOLS, words};

pub(in super::super) fn endpoint_slice(object: &At<'_>) {
    let kind = object.at("addressType");
    if kind.required("") {
        kind.word_if_set(&["FQDN", "IPv4", "IPv6"]);
    }
    slice_ports(object);
    let endpoints = object.at("endpoints");
    let same = object.is_update() && endpoints.value == endpoints.old;
    if !same && !endpoints.too_many(1000) {
        for endpoint in object.each("endpoints") {
            slice_endpoint(&endpoint, kind.text());
        }
    }
    kind.unchanged(object);
}

fn slice_endpoint(endpoint: &At<'_>, kind: &str) {
    let addresses = endpoint.at("addresses");
    if addresses.required("must contain at least 1 address") {
        addresses.too_many(100);
    }
    for address in endpoint.each("addresses") {
        match kind {
            "IPv4" | "IPv6" => {
                let before = address.said();
                address.text_is(words::address);
                if address.said() > before {
                    continue;
                }
                if address.text().contains(':') != (kind == "IPv6") {
                    let why = format!("must be an {kind} address");
                    addresses.invalid_as(address.value, &why);
                }
                address.text_is(words::endpoint);
            }
            "FQDN" => address.text_is(words::subdomain),
            _ => {}
        }
    }
    if endpoint.at("nodeName").is_set() {
        endpoint.at("nodeName").text_is(words::subdomain);
    }
    endpoint.at("deprecatedTopology").labels();
    if endpoint.at("hostname").is_set() {
        endpoint.at("hostname").text_is(words::label);
    }
    for (list, most) in [("forZones", 8), ("forNodes", 8)] {
        if endpoint.at("hints").at(list).too_many(most) {
            return;
        }
        let mut names = Names::default();
        for hint in endpoint.at("hints").each(list) {
            names.once(&hint.at("name"));
            hint.at("name").text_is(if list == "forZones" { words::label_value } else { words::subdomain });
        }
    }
}

fn slice_ports(object: &At<'_>) {
    if object.at("ports").too_many(20_000) {
        return;
    }
    let mut names = Names::default();
    for port in object.each("ports") {
        port.at("name").text_is_if_set(words::label);
        names.once(&port.at("name"));
        port.at("protocol").word(&PROTOCOLS);
        if port.at("appProtocol").is_set() {
            port.at("appProtocol").text_is(words::qualified);
        }
    }
}

pub(in super::super) fn ingress(object: &At<'_>) {
    let spec = object.at("spec");
    if spec.at("rules").is_empty() && !spec.at("defaultBackend").is_set() {
        spec.invalid_as(spec.at("rules").value, "either `defaultBackend` or `rules` must be specified");
    }
    if spec.at("defaultBackend").is_set() {
        ingress_backend(&spec.at("defaultBackend"));
    }
    for rule in spec.each("rules") {
        let host = rule.at("host");
        if !host.is_empty() {
            if words::address(host.text()).is_empty() {
                host.invalid("must be a DNS name, not an IP address");
            }
            host.text_is(words::host);
        }
        if rule.at("http").is_set() {
            rule.at("http.paths").required("");
            rule.each("http.paths").iter().for_each(ingress_path);
        }
    }
    for tls in spec.each("tls") {
        tls.each("hosts").iter().for_each(|host| host.text_is(words::host));
        tls.at("secretName").text_is_if_set(words::subdomain);
    }
    if spec.at("ingressClassName").is_set() {
        spec.at("ingressClassName").text_is(words::subdomain);
    }
    let annotated = &object.value["metadata"]["annotations"]["kubernetes.io/ingress.class"];
    let named = spec.at("ingressClassName");
    if !object.is_update() && annotated.is_string() && named.is_set() && annotated != named.value {
        let place = object.called("annotations.kubernetes.io/ingress.class");
        place.invalid_as(annotated, "must match `ingressClassName` when both are specified");
    }
}

/// What a path may not hold, and not end with.
const NEVER: [&str; 6] = ["//", "/./", "/../", "%2f", "%2F", "%5c"];
const NEVER_LAST: [&str; 2] = ["/..", "/."];

fn ingress_path(place: &At<'_>) {
    let (kind, path) = (place.at("pathType"), place.at("path"));
    if !kind.is_set() {
        return kind.missing("pathType must be specified");
    }
    let absolute = || {
        if !path.text().starts_with('/') {
            path.invalid_as(&path.text().into(), "must be an absolute path");
        }
    };
    match kind.text() {
        "Exact" | "Prefix" => {
            absolute();
            for part in NEVER.iter().filter(|part| path.text().contains(**part)) {
                path.invalid(&format!("must not contain '{part}'"));
            }
            for end in NEVER_LAST.iter().filter(|end| path.text().ends_with(**end)) {
                path.invalid(&format!("cannot end with '{end}'"));
            }
        }
        "ImplementationSpecific" if path.is_empty() => {}
        "ImplementationSpecific" => absolute(),
        _ => kind.unsupported(&["Exact", "ImplementationSpecific", "Prefix"]),
    }
    ingress_backend(&place.at("backend"));
}

fn ingress_backend(backend: &At<'_>) {
    let (resource, service) = (backend.at("resource"), backend.at("service"));
    let wrong = |why: &str| backend.invalid_as(&"".into(), why);
    match (resource.is_set(), service.is_set()) {
        (true, true) => wrong("cannot set both resource and service backends"),
        (false, false) => wrong("resource or service backend is required"),
        (true, false) => reference(&resource),
        (false, true) => {
            if service.at("name").required("") {
                service.at("name").text_is(words::label);
            }
            let (name, number) = (service.at("port.name"), service.at("port.number"));
            match (name.is_empty(), number.is_empty()) {
                (false, false) => wrong("cannot set both port name & port number"),
                (false, true) => name.text_is(words::port_name),
                (true, false) => number.within(PORTS),
                (true, true) => backend.missing("port name or number is required"),
            }
        }
    }
}

fn reference(reference: &At<'_>) {
    if reference.at("apiGroup").is_set() {
        reference.at("apiGroup").text_is(words::subdomain);
    }
    for field in ["kind", "name"] {
        if reference.at(field).required("") {
            reference.at(field).text_is(words::path_segment);
        }
    }
}

pub(in super::super) fn ingress_status(object: &At<'_>) {
    let status = &object.at("status");
    for ingress in status.at("loadBalancer").each("ingress") {
        ingress.at("ip").text_is_if_set(words::address);
        dns_name(&ingress.at("hostname"));
    }
}

/// Where a Service is reached: only one of a type that has such a place.
pub(in super::super) fn service_status(object: &At<'_>) {
    let balancer = object.at("status.loadBalancer");
    let ingress = balancer.at("ingress");
    if object.at("spec.type").text() != "LoadBalancer" && !ingress.is_empty() {
        return ingress.forbidden("may only be used when `spec.type` is 'LoadBalancer'");
    }
    for place in balancer.each("ingress") {
        let (address, mode) = (place.at("ip"), place.at("ipMode"));
        address.text_is_if_set(words::address);
        match (mode.is_set(), address.is_empty()) {
            (false, false) => mode.missing("must be specified when `ip` is set"),
            (true, true) => mode.forbidden("may not be specified when `ip` is not set"),
            _ => mode.word_if_set(&["Proxy", "VIP"]),
        }
        dns_name(&place.at("hostname"));
    }
}

fn dns_name(host: &At<'_>) {
    if host.is_empty() {
        return;
    }
    host.text_is(words::subdomain);
    if words::address(host.text()).is_empty() {
        host.invalid("must be a DNS name, not an IP address");
    }
}

pub(in super::super) fn ingress_class(object: &At<'_>) {
    let (controller, parameters) = (object.at("spec.controller"), object.at("spec.parameters"));
    controller.unchanged(object);
    let text = controller.text();
    if controller.required("") {
        match text.split_once('/') {
            Some((domain, path)) if !path.is_empty() => {
                for why in words::subdomain(domain) {
                    controller.invalid_as(&domain.into(), &why);
                }
            }
            _ => controller.invalid("must be a domain-prefixed path (such as \"acme.io/foo\")"),
        }
    }
    if !parameters.is_set() {
        return;
    }
    reference(&parameters);
    let (scope, namespace) = (parameters.at("scope"), parameters.at("namespace"));
    match scope.text() {
        "Namespace" if !namespace.is_set() => namespace.missing("`parameters.scope` is set to 'Namespace'"),
        "Namespace" => namespace.text_is(words::label),
        "Cluster" if namespace.is_set() => namespace.forbidden("`parameters.scope` is set to 'Cluster'"),
        "Cluster" => {}
        _ => scope.unsupported(&["Cluster", "Namespace"]),
    }
}

pub(in super::super) fn network_policy(object: &At<'_>) {
    let spec = object.at("spec");
    spec.at("podSelector").selector();
    for (rules, peers) in [("ingress", "from"), ("egress", "to")] {
        for rule in spec.each(rules) {
            rule.each("ports").iter().for_each(policy_port);
            rule.each(peers).iter().for_each(peer);
        }
    }
    let types = spec.at("policyTypes");
    if types.value.as_array().is_some_and(|types| types.len() > 2) {
        return types.invalid("may not specify more than two policyTypes");
    }
    for kind in spec.each("policyTypes") {
        kind.word_if_set(&["Ingress", "Egress"]);
    }
}

fn policy_port(place: &At<'_>) {
    let (port, end) = (place.at("port"), place.at("endPort"));
    place.at("protocol").word_if_set(&["TCP", "UDP", "SCTP"]);
    if !port.is_set() {
        if end.is_set() {
            end.invalid("may not be specified when `port` is not specified");
        }
    } else if port.value.is_string() {
        if end.is_set() {
            end.invalid("may not be specified when `port` is non-numeric");
        }
        port.port();
    } else {
        port.port();
        if end.is_set() {
            if end.number() < port.number() {
                end.invalid_as(port.value, "must be greater than or equal to `port`");
            }
            end.within(PORTS);
        }
    }
}

fn peer(peer: &At<'_>) {
    let block = peer.at("ipBlock");
    let selectors = [peer.at("podSelector"), peer.at("namespaceSelector")];
    selectors.iter().for_each(At::selector);
    if block.is_set() {
        networks(&block);
    }
    let selects = selectors.iter().any(At::is_set);
    match (selects, block.is_set()) {
        (false, false) => peer.missing("must specify a peer"),
        (true, true) => peer.forbidden("may not specify both ipBlock and another peer"),
        _ => {}
    }
}

const NETWORK: &str = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";

fn networks(block: &At<'_>) {
    let whole = block.at("cidr");
    if !whole.required("") {
        return;
    }
    let Some((address, bits)) = words::network(whole.text()) else { return whole.invalid(NETWORK) };
    for part in block.each("except") {
        let Some((inner, inner_bits)) = words::network(part.text()) else {
            part.invalid(NETWORK);
            continue;
        };
        let holds = words::prefix(inner, bits) == words::prefix(address, bits);
        if inner.is_ipv4() != address.is_ipv4() || !holds || bits >= inner_bits {
            part.invalid("must be a strict subset of `cidr`");
        }
    }
}
