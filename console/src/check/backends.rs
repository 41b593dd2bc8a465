//! What routes and policies refer to.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{
    certificates,
    gateways::{condition, said, without_status},
    seen::{
        BACKEND_TLS_POLICY, ENDPOINT_SLICE, GATEWAY, GATEWAY_API, Item, LISTENER_SET, REFERENCE_GRANT, SERVICE, Seen,
        list, text,
    },
};
use crate::finding::{Finding, Fix, Severity};

/// A reference of a route to a backend.
#[derive(Debug, Clone, Copy)]
struct Reference<'a> {
    value: &'a Value,
    group: &'a str,
    kind: &'a str,
    namespace: &'a str,
    name: &'a str,
}

/// Every backendRef of a route with its field, those of mirrors too.
fn references(route: &Item) -> Vec<(String, Reference<'_>)> {
    let mut all = Vec::new();
    let mut add = |field: String, value| {
        let own = |name| text(value, name);
        all.push((
            field,
            Reference {
                value,
                group: own("group"),
                kind: value.get("kind").and_then(Value::as_str).unwrap_or("Service"),
                namespace: value.get("namespace").and_then(Value::as_str).unwrap_or_else(|| route.namespace()),
                name: own("name"),
            },
        ));
    };
    for (at, rule) in route.list("/spec/rules").iter().enumerate() {
        let rule_field = format!("spec.rules[{at}]");
        let refs = list(rule, "/backendRefs");
        refs.iter().enumerate().for_each(|(of, value)| add(format!("{rule_field}.backendRefs[{of}]"), value));
        for (of, filter) in list(rule, "/filters").iter().enumerate() {
            if let Some(value) = filter.pointer("/requestMirror/backendRef") {
                add(format!("{rule_field}.filters[{of}].requestMirror.backendRef"), value);
            }
        }
    }
    all
}

/// Whether a grant lets `kind` of `from` refer to an object of `to`.
fn grants(grant: &Item, from: (&str, &str, &str), to: (&str, &str, &str)) -> bool {
    let (group, kind, namespace) = from;
    let (to_group, to_kind, name) = to;
    grant
        .list("/spec/from")
        .iter()
        .any(|one| text(one, "group") == group && text(one, "kind") == kind && text(one, "namespace") == namespace)
        && grant.list("/spec/to").iter().any(|one| {
            text(one, "group") == to_group
                && text(one, "kind") == to_kind
                && one.get("name").is_none_or(|known| known == name)
        })
}

/// From a kind of a namespace to an object: namespace, group, kind, name.
struct Crossing<'a> {
    item: &'a Item,
    field: String,
    group: &'a str,
    kind: &'a str,
    namespace: &'a str,
    name: &'a str,
}

fn crossings(seen: &Seen) -> Vec<Crossing<'_>> {
    let mut all = Vec::new();
    for route in seen.routes() {
        for (field, one) in references(route) {
            if one.namespace != route.namespace() {
                let Reference { group, kind, namespace, name, .. } = one;
                all.push(Crossing { item: route, field, group, kind, namespace, name });
            }
        }
    }
    for holder in seen.of(GATEWAY).iter().chain(seen.of(LISTENER_SET)) {
        for (_, field, namespace, name) in certificates::named(holder) {
            if namespace != holder.namespace() {
                all.push(Crossing { item: holder, field, group: "", kind: "Secret", namespace, name });
            }
        }
    }
    all
}

pub(super) fn granted(seen: &Seen) -> Vec<Finding> {
    let mut found = Vec::new();
    let crossings = crossings(seen);
    let mut used = BTreeSet::new();
    for one in &crossings {
        let from = (GATEWAY_API, one.item.text("/kind"), one.item.namespace());
        let to = (one.group, one.kind, one.name);
        let mut any = false;
        for grant in seen.of(REFERENCE_GRANT).iter().filter(|grant| grant.namespace() == one.namespace) {
            if grants(grant, from, to) {
                any = true;
                used.insert((grant.namespace(), grant.name()));
            }
        }
        if any || seen.unknown(REFERENCE_GRANT) {
            continue;
        }
        let manifest = json!({"apiVersion": format!("{GATEWAY_API}/v1beta1"), "kind": "ReferenceGrant",
            "metadata": {"namespace": one.namespace, "name": format!("{}-of-{}", from.1.to_ascii_lowercase(), from.2)},
            "spec": {"from": [{"group": from.0, "kind": from.1, "namespace": from.2}],
                "to": [{"group": one.group, "kind": one.kind, "name": one.name}]}});
        found.push(
            one.item
                .finding(
                    "REF001",
                    Severity::Error,
                    &one.field,
                    format!("no ReferenceGrant lets it refer to {} {}/{}", one.kind, one.namespace, one.name),
                )
                .evidence(format!("ReferenceGrants of namespace {}", one.namespace), names(seen, one.namespace))
                .fix(Fix::new("apply this grant").with_manifest(crate::migrate::emit::yaml(&manifest))),
        );
    }
    // Where routes cannot be read, who uses a grant is not known.
    if super::seen::ROUTES.iter().chain(&[GATEWAY, LISTENER_SET]).any(|kind| seen.unknown(*kind))
        || !seen.namespace.is_empty()
    {
        return found;
    }
    for grant in seen.of(REFERENCE_GRANT) {
        let ours = grant.list("/spec/from").iter().all(|one| text(one, "group") == GATEWAY_API);
        if ours && seen.live && !used.contains(&(grant.namespace(), grant.name())) {
            found.push(
                grant
                    .finding("REF001", Severity::Info, "spec", "nothing uses this grant")
                    .fix("delete it unless something is about to use it"),
            );
        }
    }
    found
}

fn names(seen: &Seen, namespace: &str) -> String {
    let names: Vec<_> =
        seen.of(REFERENCE_GRANT).iter().filter(|one| one.namespace() == namespace).map(Item::name).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

pub(super) fn services(seen: &Seen) -> Vec<Finding> {
    let mut found = Vec::new();
    for route in seen.routes() {
        let mut told = BTreeSet::new();
        for (field, one) in references(route) {
            if one.kind != "Service" || !one.group.is_empty() || seen.unknown(SERVICE) {
                continue;
            }
            let of = format!("Service {}/{}", one.namespace, one.name);
            let Some(service) = seen.get(SERVICE, one.namespace, one.name) else {
                let (severity, whereabouts) = match seen.live {
                    true => (Severity::Error, "does not exist"),
                    false => (Severity::Info, "is not among the files"),
                };
                found.push(
                    route
                        .finding("BE001", severity, &field, format!("{of} {whereabouts}"))
                        .fix("correct the name, or make the Service"),
                );
                continue;
            };
            let port = one.value["port"].as_u64();
            let ports: Vec<u64> = service.list("/spec/ports").iter().filter_map(|port| port["port"].as_u64()).collect();
            if port.is_none_or(|port| !ports.contains(&port)) && service.text("/spec/type") != "ExternalName" {
                let port = port.map_or_else(|| "no port is named".to_owned(), |port| format!("it has no port {port}"));
                let has: Vec<_> = ports.iter().map(u64::to_string).collect();
                found.push(
                    route
                        .finding("BE001", Severity::Error, &field, format!("{of}: {port}"))
                        .evidence(format!("{of} spec.ports"), has.join(", "))
                        .fix("correct the port"),
                );
                continue;
            }
            // Weight 0 asks for nothing.
            if one.value["weight"].as_u64() == Some(0) || !told.insert((one.namespace, one.name)) {
                continue;
            }
            if let Some((ready, all)) = endpoints(seen, one.namespace, one.name).filter(|(ready, _)| *ready == 0) {
                found.push(
                    route
                        .finding("BE001", Severity::Warning, &field, format!("{of} has no ready endpoint"))
                        .evidence(format!("EndpointSlices of {of}"), format!("{ready} of {all} ready"))
                        .fix("look at the pods that the Service selects"),
                );
            }
        }
    }
    found
}

/// Ready and all; none where the slices are not known.
fn endpoints(seen: &Seen, namespace: &str, service: &str) -> Option<(usize, usize)> {
    if !seen.complete(ENDPOINT_SLICE) {
        return None;
    }
    let slices = seen
        .of(ENDPOINT_SLICE)
        .iter()
        .filter(|slice| slice.namespace() == namespace && slice.label("kubernetes.io/service-name") == Some(service));
    let all: Vec<&Value> = slices.flat_map(|slice| slice.list("/endpoints")).collect();
    // Absent means ready, as the API documents.
    let ready = all.iter().filter(|one| one.pointer("/conditions/ready") != Some(&Value::Bool(false))).count();
    Some((ready, all.len()))
}

pub(super) fn policies(seen: &Seen) -> Vec<Finding> {
    let mut found = Vec::new();
    for policy in seen.of(BACKEND_TLS_POLICY) {
        for (at, target) in policy.list("/spec/targetRefs").iter().enumerate() {
            let (kind, name) = (text(target, "kind"), text(target, "name"));
            if kind == "Service" && !seen.unknown(SERVICE) && seen.get(SERVICE, policy.namespace(), name).is_none() {
                let (severity, whereabouts) = match seen.live {
                    true => (Severity::Warning, "does not exist"),
                    false => (Severity::Info, "is not among the files"),
                };
                let title = format!("its target Service {}/{name} {whereabouts}", policy.namespace());
                found.push(
                    policy
                        .finding("POL001", severity, &format!("spec.targetRefs[{at}]"), title)
                        .fix("correct the target"),
                );
            }
        }
        if without_status(policy) {
            continue;
        }
        let ancestors = policy.list("/status/ancestors");
        if ancestors.is_empty() {
            found.push(
                policy
                    .finding("POL001", Severity::Warning, "status.ancestors", "no controller has answered")
                    .fix("a policy is answered once a route uses its target, by implementations that know this kind"),
            );
        }
        for ancestor in ancestors {
            let refused = ["Accepted", "ResolvedRefs"].into_iter().filter_map(|wanted| condition(ancestor, wanted));
            for one in refused.filter(|one| text(one, "status") == "False") {
                let of = text(&ancestor["ancestorRef"], "name");
                found.push(
                    policy
                        .finding(
                            "POL001",
                            Severity::Warning,
                            "status.ancestors",
                            format!("it is refused at {of}: {}", text(one, "reason")),
                        )
                        .evidence("status", said(one)),
                );
            }
        }
    }
    found
}
