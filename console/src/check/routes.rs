//! Routes: parents, conditions, matches and features.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{
    gateways::{condition, said, without_status},
    seen::{GATEWAY, GATEWAY_API, GATEWAY_CLASS, HTTP_ROUTE, Item, Kind, LISTENER_SET, NAMESPACE, Seen, list, text},
};
use crate::finding::{Finding, Severity};

/// A parentRef that names a Gateway or ListenerSet.
struct Parent<'a> {
    field: String,
    kind: Kind,
    namespace: &'a str,
    name: &'a str,
    section: Option<&'a str>,
    port: Option<u64>,
    status: Vec<&'a Value>,
}

fn read(route: &Item) -> Vec<Parent<'_>> {
    let of = |reference: &'_ Value| {
        let own = |name: &str| reference.get(name).and_then(Value::as_str).map(str::to_owned);
        (
            own("kind").unwrap_or_else(|| "Gateway".to_owned()),
            own("namespace").unwrap_or_else(|| route.namespace().to_owned()),
            own("name"),
            own("sectionName"),
            reference["port"].as_u64(),
        )
    };
    let parents = route.list("/spec/parentRefs").iter().enumerate();
    parents
        .filter_map(|(at, reference)| {
            let kind = match reference.get("kind").and_then(Value::as_str) {
                None | Some("Gateway") => GATEWAY,
                Some("ListenerSet") => LISTENER_SET,
                // A Service is a parent in a mesh.
                Some(_) => return None,
            };
            let answers = route.list("/status/parents").iter();
            Some(Parent {
                field: format!("spec.parentRefs[{at}]"),
                kind,
                namespace: reference.get("namespace").and_then(Value::as_str).unwrap_or_else(|| route.namespace()),
                name: text(reference, "name"),
                section: reference.get("sectionName").and_then(Value::as_str),
                port: reference["port"].as_u64(),
                status: answers.filter(|one| of(&one["parentRef"]) == of(reference)).collect(),
            })
        })
        .collect()
}

pub(super) fn parents(seen: &Seen) -> Vec<Finding> {
    let mut found = Vec::new();
    for route in seen.routes() {
        if route.list("/spec/parentRefs").is_empty() {
            found.push(
                route
                    .finding("RT001", Severity::Error, "spec", "it names no parent, so nothing serves it")
                    .fix("name the Gateway in parentRefs"),
            );
        }
        for parent in read(route) {
            let of = format!("{} {}/{}", parent.kind.1, parent.namespace, parent.name);
            let there = seen.get(parent.kind, parent.namespace, parent.name).is_some();
            if !there && !seen.unknown(parent.kind) {
                let (severity, whereabouts) = match seen.live {
                    true => (Severity::Error, "does not exist"),
                    false => (Severity::Info, "is not among the files"),
                };
                found.push(
                    route
                        .finding("RT001", severity, &parent.field, format!("{of} {whereabouts}"))
                        .fix("correct the name or the namespace"),
                );
            } else if parent.status.is_empty() && !without_status(route) && seen.live {
                found.push(
                    route
                        .finding(
                            "RT001",
                            Severity::Error,
                            &parent.field,
                            format!("no controller has answered for {of}"),
                        )
                        .evidence(
                            "status.parents",
                            format!("{} entries, none for this parent", route.list("/status/parents").len()),
                        )
                        .fix("check that the controller of the Gateway's class runs and knows this kind of route"),
                );
            }
        }
    }
    found
}

pub(super) fn accepted(seen: &Seen) -> Vec<Finding> {
    let mut found = Vec::new();
    for route in seen.routes() {
        for parent in read(route) {
            for status in &parent.status {
                for wanted in ["Accepted", "ResolvedRefs"] {
                    let Some(one) = condition(status, wanted).filter(|one| text(one, "status") == "False") else {
                        continue;
                    };
                    let reason = text(one, "reason");
                    let title = format!(
                        "{wanted} is False at {} {}/{}: {reason}",
                        parent.kind.1, parent.namespace, parent.name
                    );
                    found.push(
                        route
                            .finding("RT002", Severity::Error, &parent.field, title)
                            .evidence(format!("status by {}", text(status, "controllerName")), said(one))
                            .fix(fix_of(reason)),
                    );
                }
            }
        }
    }
    found
}

fn fix_of(reason: &str) -> &'static str {
    match reason {
        "NotAllowedByListeners" => "allow the route's namespace and kind in allowedRoutes of a listener",
        "NoMatchingListenerHostname" => "let hostnames of the route and hostname of a listener fit",
        "NoMatchingParent" => "correct sectionName or port of the parentRef",
        "RefNotPermitted" => "add a ReferenceGrant (REF001 prints it)",
        "BackendNotFound" => "correct the name of the backend, or make the Service (BE001)",
        "InvalidKind" => "refer to a kind that the implementation knows, mostly Service",
        "UnsupportedProtocol" => "use a protocol that the implementation knows",
        "UnsupportedValue" => "use a value that the implementation supports (RT004)",
        "Pending" => "wait, then look at the controller's log",
        _ => "read the message, and the controller's log",
    }
}

pub(super) fn fitting(seen: &Seen) -> Vec<Finding> {
    let mut found = Vec::new();
    for route in seen.routes() {
        for parent in read(route) {
            for status in &parent.status {
                if let Some(one) = condition(status, "PartiallyInvalid").filter(|one| text(one, "status") == "True") {
                    found.push(
                        route
                            .finding("RT003", Severity::Warning, &parent.field, "some of its rules were left out")
                            .evidence("status", said(one))
                            .fix("correct what the message names"),
                    );
                }
            }
            // Where a controller has spoken, RT002 tells what it said.
            if !parent.status.is_empty() {
                continue;
            }
            let Some(holder) = seen.get(parent.kind, parent.namespace, parent.name) else { continue };
            let reasons: Vec<String> = holder
                .list("/spec/listeners")
                .iter()
                .map(|listener| (text(listener, "name"), refused(seen, route, &parent, holder, listener)))
                .filter_map(|(name, why)| why.map(|why| format!("{name}: {why}")))
                .collect();
            if reasons.len() == holder.list("/spec/listeners").len() {
                let mut finding = route
                    .finding(
                        "RT003",
                        Severity::Warning,
                        &parent.field,
                        format!("no listener of {} {}/{} fits it", parent.kind.1, parent.namespace, parent.name),
                    )
                    .fix("let sectionName, port, hostnames and allowedRoutes fit a listener");
                for why in reasons {
                    finding = finding.evidence("listener", why);
                }
                found.push(finding);
            }
        }
    }
    found
}

/// Why a listener does not take a route, if it does not.
fn refused(seen: &Seen, route: &Item, parent: &Parent<'_>, holder: &Item, listener: &Value) -> Option<String> {
    if let Some(section) = parent.section.filter(|section| *section != text(listener, "name")) {
        return Some(format!("the route asks for section {section}"));
    }
    if let Some(port) = parent.port.filter(|port| listener["port"].as_u64() != Some(*port)) {
        return Some(format!("the route asks for port {port}"));
    }
    let kind = route.text("/kind");
    let protocol = text(listener, "protocol");
    let fits = match kind {
        "HTTPRoute" | "GRPCRoute" => matches!(protocol, "HTTP" | "HTTPS"),
        "TLSRoute" => protocol == "TLS",
        "TCPRoute" => matches!(protocol, "TCP" | "TLS"),
        "UDPRoute" => protocol == "UDP",
        _ => true,
    };
    if !fits {
        return Some(format!("a {kind} is not for protocol {protocol}"));
    }
    let kinds = list(listener, "/allowedRoutes/kinds");
    if !kinds.is_empty() && !kinds.iter().any(|one| text(one, "kind") == kind) {
        return Some(format!("allowedRoutes.kinds has no {kind}"));
    }
    let own = text(listener, "hostname");
    let hosts: Vec<&str> = route.list("/spec/hostnames").iter().filter_map(Value::as_str).collect();
    if !own.is_empty() && !hosts.is_empty() && !hosts.iter().any(|host| meet(own, host)) {
        return Some(format!("hostname {own} meets none of {}", hosts.join(", ")));
    }
    let namespaces = &listener["allowedRoutes"]["namespaces"];
    match namespaces.get("from").and_then(Value::as_str).unwrap_or("Same") {
        "Same" if route.namespace() != holder.namespace() => {
            Some("allowedRoutes is for the Gateway's own namespace".to_owned())
        }
        "None" => Some("allowedRoutes allows no namespace".to_owned()),
        "Selector" => {
            let labels = match seen.get(NAMESPACE, "", route.namespace()) {
                Some(namespace) => namespace.value["metadata"]["labels"].clone(),
                None => json!({"kubernetes.io/metadata.name": route.namespace()}),
            };
            (!selects(&namespaces["selector"], &labels))
                .then(|| format!("its selector does not take namespace {}", route.namespace()))
        }
        _ => None,
    }
}

fn selects(selector: &Value, labels: &Value) -> bool {
    let exact = selector["matchLabels"].as_object().into_iter().flatten().all(|(name, value)| labels[name] == *value);
    exact
        && list(selector, "/matchExpressions").iter().all(|one| {
            let label = labels.get(text(one, "key"));
            let among = label.is_some_and(|label| list(one, "/values").contains(label));
            match text(one, "operator") {
                "In" => among,
                "NotIn" => !among,
                "Exists" => label.is_some(),
                "DoesNotExist" => label.is_none(),
                _ => false,
            }
        })
}

/// Whether some host fits both names, either of which may begin with an asterisk.
pub(super) fn meet(a: &str, b: &str) -> bool {
    let under = |pattern: &str, host: &str| {
        let suffix = pattern.strip_prefix('*');
        suffix.is_some_and(|suffix| host.trim_start_matches('*').ends_with(suffix) && host.len() >= pattern.len())
    };
    a.eq_ignore_ascii_case(b) || under(a, b) || under(b, a)
}

pub(super) fn reachable(seen: &Seen) -> Vec<Finding> {
    let mut found = shadowed(seen);
    for route in seen.routes() {
        for parent in read(route) {
            let gateway = match parent.kind {
                GATEWAY => seen.get(GATEWAY, parent.namespace, parent.name),
                _ => None,
            };
            let class = gateway.and_then(|gateway| seen.get(GATEWAY_CLASS, "", gateway.text("/spec/gatewayClassName")));
            let Some(class) = class else { continue };
            let supported: BTreeSet<&str> =
                class.list("/status/supportedFeatures").iter().map(|one| text(one, "name")).collect();
            // An implementation that lists nothing says nothing.
            if supported.is_empty() {
                continue;
            }
            for (field, feature) in features(route, parent.port.is_some(), &parent.field) {
                if !supported.contains(feature) {
                    found.push(
                        route
                            .finding(
                                "RT004",
                                Severity::Warning,
                                &field,
                                format!("GatewayClass {} does not support {feature}", class.name()),
                            )
                            .evidence(
                                format!("GatewayClass {} status.supportedFeatures", class.name()),
                                format!("{} features, this one not", supported.len()),
                            )
                            .fix("do without it, or use an implementation that has it"),
                    );
                }
            }
        }
    }
    found
}

/// Extended features of HTTPRoutes, by the fields that use them.
fn features(route: &Item, port: bool, parent: &str) -> Vec<(String, &'static str)> {
    let mut all = Vec::new();
    if route.text("/kind") != "HTTPRoute" {
        return all;
    }
    if port {
        all.push((format!("{parent}.port"), "HTTPRouteParentRefPort"));
    }
    for (at, rule) in route.list("/spec/rules").iter().enumerate() {
        let field = format!("spec.rules[{at}]");
        for (of, one) in list(rule, "/matches").iter().enumerate() {
            if one.get("method").is_some() {
                all.push((format!("{field}.matches[{of}].method"), "HTTPRouteMethodMatching"));
            }
            if !list(one, "/queryParams").is_empty() {
                all.push((format!("{field}.matches[{of}].queryParams"), "HTTPRouteQueryParamMatching"));
            }
        }
        for (name, feature) in [("request", "HTTPRouteRequestTimeout"), ("backendRequest", "HTTPRouteBackendTimeout")] {
            if rule["timeouts"].get(name).is_some() {
                all.push((format!("{field}.timeouts.{name}"), feature));
            }
        }
        if rule.get("name").is_some() {
            all.push((format!("{field}.name"), "HTTPRouteNamedRouteRule"));
        }
        for (of, filter) in list(rule, "/filters").iter().enumerate() {
            let field = format!("{field}.filters[{of}]");
            let mut add = |path: &str, feature| {
                if filter.pointer(&path.replace('.', "/").replacen("", "/", 1)).is_some() {
                    all.push((format!("{field}.{path}"), feature));
                }
            };
            add("responseHeaderModifier", "HTTPRouteResponseHeaderModification");
            add("requestMirror", "HTTPRouteRequestMirror");
            add("requestMirror.percent", "HTTPRouteRequestPercentageMirror");
            add("requestMirror.fraction", "HTTPRouteRequestPercentageMirror");
            add("cors", "HTTPRouteCORS");
            add("urlRewrite.hostname", "HTTPRouteHostRewrite");
            add("urlRewrite.path", "HTTPRoutePathRewrite");
            add("requestRedirect.path", "HTTPRoutePathRedirect");
            add("requestRedirect.port", "HTTPRoutePortRedirect");
            add("requestRedirect.scheme", "HTTPRouteSchemeRedirect");
            let code = match filter.pointer("/requestRedirect/statusCode").and_then(Value::as_u64) {
                Some(303) => Some("HTTPRoute303RedirectStatusCode"),
                Some(307) => Some("HTTPRoute307RedirectStatusCode"),
                Some(308) => Some("HTTPRoute308RedirectStatusCode"),
                _ => None,
            };
            all.extend(code.map(|code| (format!("{field}.requestRedirect.statusCode"), code)));
        }
    }
    all
}

/// Matches that an older route or an earlier rule of the same parent and host has too.
fn shadowed(seen: &Seen) -> Vec<Finding> {
    let mut routes: Vec<&Item> = seen.of(HTTP_ROUTE).iter().collect();
    // The spec's order: older first, then by name.
    let age = |route: &Item| match route.text("/metadata/creationTimestamp") {
        "" => "9999".to_owned(),
        created => created.to_owned(),
    };
    routes.sort_by_key(|route| (age(route), route.namespace().to_owned(), route.name().to_owned()));
    let mut taken: BTreeMap<String, (String, String)> = BTreeMap::new();
    let mut found = Vec::new();
    for route in routes {
        let hosts: Vec<&str> = route.list("/spec/hostnames").iter().filter_map(Value::as_str).collect();
        let hosts = if hosts.is_empty() { vec![""] } else { hosts };
        let parents = read(route);
        for (at, rule) in route.list("/spec/rules").iter().enumerate() {
            let anything = [json!({})];
            let matches = match list(rule, "/matches") {
                [] => &anything[..],
                matches => matches,
            };
            for (of, one) in matches.iter().enumerate() {
                let mut first: Option<(String, String)> = None;
                let mut all = !parents.is_empty();
                let keys: Vec<String> = parents
                    .iter()
                    .flat_map(|parent| {
                        hosts.iter().map(|host| {
                            let section = parent.section.unwrap_or_default();
                            let port = parent.port.map(|port| port.to_string()).unwrap_or_default();
                            format!(
                                "{} {}/{} {section} {port} {host} {}",
                                parent.kind.1,
                                parent.namespace,
                                parent.name,
                                canonical(one)
                            )
                        })
                    })
                    .collect();
                for key in &keys {
                    match taken.get(key) {
                        Some(by) => first = first.or_else(|| Some(by.clone())),
                        None => all = false,
                    }
                }
                let here = (
                    format!("{} {}", route.object(), format_args!("spec.rules[{at}]")),
                    format!("{}/{}", route.namespace(), route.name()),
                );
                match first.filter(|_| all) {
                    // The same match twice in one rule changes nothing.
                    Some((by, _)) if by != here.0 => found.push(
                        route
                            .finding(
                                "RT004",
                                Severity::Warning,
                                &format!("spec.rules[{at}].matches[{of}]"),
                                "it is never asked: another rule has the same match and comes first",
                            )
                            .evidence("served by", by)
                            .fix("remove one of the two"),
                    ),
                    _ => {
                        for key in keys {
                            taken.entry(key).or_insert_with(|| here.clone());
                        }
                    }
                }
            }
        }
    }
    found
}

/// A match with its defaults written out, so that equal ones are equal.
fn canonical(one: &Value) -> String {
    let path = &one["path"];
    let kind = path.get("type").and_then(Value::as_str).unwrap_or("PathPrefix");
    let value = path.get("value").and_then(Value::as_str).unwrap_or("/");
    // A prefix matches whole words: a slash at its end says nothing.
    let value = if kind == "PathPrefix" && value.len() > 1 { value.trim_end_matches('/') } else { value };
    let pairs = |field: &str, fold: bool| {
        let mut all: Vec<String> = list(one, field)
            .iter()
            .map(|pair| {
                let name = text(pair, "name");
                let name = if fold { name.to_ascii_lowercase() } else { name.to_owned() };
                format!("{name}{}{}", pair.get("type").and_then(Value::as_str).unwrap_or("Exact"), text(pair, "value"))
            })
            .collect();
        all.sort();
        all
    };
    format!("{kind} {value} {} {:?} {:?}", text(one, "method"), pairs("/headers", true), pairs("/queryParams", false))
}

/// Hosts that routes serve.
pub(crate) fn hosts(seen: &Seen) -> BTreeSet<String> {
    let http = seen.routes().filter(|route| route.text("/apiVersion").starts_with(GATEWAY_API));
    http.flat_map(|route| {
        route.list("/spec/hostnames").iter().filter_map(Value::as_str).map(str::to_ascii_lowercase).collect::<Vec<_>>()
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_meet_as_the_spec_says() {
        assert!(meet("*.a.test", "x.a.test") && meet("x.y.a.test", "*.a.test") && meet("*.a.test", "*.b.a.test"));
        assert!(!meet("*.a.test", "a.test") && !meet("b.test", "a.test") && !meet("*.a.test", "*.test.x"));
    }

    #[test]
    fn equal_matches_are_equal_however_they_are_written() {
        let plain = json!({"headers": [{"name": "B", "value": "2"}, {"name": "a", "value": "1"}]});
        let full = json!({"path": {"type": "PathPrefix", "value": "/"},
            "headers": [{"type": "Exact", "name": "A", "value": "1"}, {"name": "b", "value": "2"}]});
        assert_eq!(canonical(&plain), canonical(&full));
        assert_ne!(canonical(&json!({"method": "GET"})), canonical(&json!({})));
    }
}
