//! Classes, Gateways and listeners.

use serde_json::Value;

use super::seen::{CRD, GATEWAY, GATEWAY_CLASS, Item, LISTENER_SET, Seen, list, text};
use crate::finding::{Finding, Severity};

pub(super) fn condition<'a>(holder: &'a Value, wanted: &str) -> Option<&'a Value> {
    list(holder, "/conditions").iter().find(|one| text(one, "type") == wanted)
}

/// `Type=Status Reason: message`.
pub(super) fn said(condition: &Value) -> String {
    format!(
        "{}={} {}: {}",
        text(condition, "type"),
        text(condition, "status"),
        text(condition, "reason"),
        text(condition, "message")
    )
}

/// Whether an object comes from a file that carries no status.
pub(super) fn without_status(item: &Item) -> bool {
    item.file.is_some()
        && item.value.get("status").is_none_or(|status| status.as_object().is_none_or(|all| all.is_empty()))
}

pub(super) fn classes(seen: &Seen) -> Vec<Finding> {
    let mut found = Vec::new();
    for gateway in seen.of(GATEWAY) {
        let class = gateway.text("/spec/gatewayClassName");
        if seen.get(GATEWAY_CLASS, "", class).is_some() || seen.unknown(GATEWAY_CLASS) {
            continue;
        }
        let (severity, title) = match seen.live {
            true => (Severity::Error, format!("GatewayClass {class:?} does not exist")),
            false => (Severity::Info, format!("GatewayClass {class:?} is not among the files")),
        };
        let known: Vec<_> = seen.of(GATEWAY_CLASS).iter().map(Item::name).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        found.push(
            gateway
                .finding("GWC001", severity, "spec.gatewayClassName", title)
                .evidence("GatewayClasses", known)
                .fix("install the implementation of this class, or name one that is there"),
        );
    }
    for class in seen.of(GATEWAY_CLASS).iter().filter(|class| !without_status(class)) {
        let accepted = condition(&class.value["status"], "Accepted");
        if accepted.is_some_and(|one| text(one, "status") == "True") {
            continue;
        }
        let says = accepted.map_or_else(|| "no Accepted condition".to_owned(), said);
        let controller = class.text("/spec/controllerName").to_owned();
        found.push(
            class
                .finding("GWC001", Severity::Error, "status.conditions", "no controller has accepted this class")
                .evidence("status", says)
                .fix(format!("check that the controller {controller} runs, and read its log")),
        );
    }
    found
}

pub(super) fn supported_version(seen: &Seen) -> Vec<Finding> {
    let mut found = Vec::new();
    for class in seen.of(GATEWAY_CLASS) {
        let Some(one) = condition(&class.value["status"], "SupportedVersion") else { continue };
        if text(one, "status") == "False" {
            let bundles: Vec<_> = seen.of(CRD).iter().filter_map(super::upgrade::bundle_of).collect();
            let bundle = bundles.first().map_or("unknown", |(version, _)| version);
            found.push(
                class
                    .finding(
                        "GWC002",
                        Severity::Warning,
                        "status.conditions",
                        "the implementation does not support the installed CRDs",
                    )
                    .evidence("status", said(one))
                    .evidence("installed bundle", bundle)
                    .fix("install the bundle version that the implementation was made for, or upgrade it"),
            );
        }
    }
    found
}

pub(super) fn programmed(seen: &Seen) -> Vec<Finding> {
    let mut found = Vec::new();
    for gateway in seen.of(GATEWAY).iter().filter(|gateway| !without_status(gateway)) {
        for wanted in ["Accepted", "Programmed"] {
            let one = condition(&gateway.value["status"], wanted);
            if one.is_some_and(|one| text(one, "status") == "True") {
                continue;
            }
            let reason = one.map(|one| text(one, "reason")).unwrap_or_default();
            // Waiting is what the API server itself writes before any controller has come.
            let silent =
                one.is_none() || (reason == "Pending" && text(one.unwrap_or(&Value::Null), "status") == "Unknown");
            let (title, fix) = match silent {
                true => (
                    format!("no controller has said whether it is {wanted}"),
                    "check that the controller of its class runs (GWC001)".to_owned(),
                ),
                false => (format!("it is not {wanted}: {reason}"), fix_of(reason).to_owned()),
            };
            let says = one.map_or_else(|| format!("no {wanted} condition"), said);
            found.push(
                gateway.finding("GW001", Severity::Error, "status.conditions", title).evidence("status", says).fix(fix),
            );
        }
        if gateway.list("/status/addresses").is_empty() {
            found.push(
                gateway.finding("GW001", Severity::Error, "status.addresses", "it has no address").fix(
                    "check what hands out addresses: a load balancer controller, or the implementation's own pool",
                ),
            );
        }
    }
    found
}

fn fix_of(reason: &str) -> &'static str {
    match reason {
        "AddressNotAssigned" => {
            "check what hands out addresses: a load balancer controller, or the implementation's own pool"
        }
        "AddressNotUsable" | "UnsupportedAddress" => "correct spec.addresses",
        "ListenersNotValid" => "correct the listeners (GW002)",
        "InvalidParameters" => "correct what parametersRef names",
        "NoResources" => "free resources, or give the controller more",
        "InvalidCertificateRef" => "correct the certificate (TLS001)",
        "RefNotPermitted" => "add a ReferenceGrant (REF001)",
        "PortUnavailable" => "use another port, or free this one",
        "HostnameConflict" | "ProtocolConflict" => "give the listeners different ports or hostnames",
        "UnsupportedProtocol" => "use a protocol that the implementation knows",
        "InvalidRouteKinds" => "correct allowedRoutes.kinds",
        _ => "read the message, and the controller's log",
    }
}

/// Gateways and ListenerSets with a status.
fn holders(seen: &Seen) -> impl Iterator<Item = &Item> {
    seen.of(GATEWAY).iter().chain(seen.of(LISTENER_SET)).filter(|item| !without_status(item))
}

pub(super) fn listeners(seen: &Seen) -> Vec<Finding> {
    let mut found = Vec::new();
    for gateway in holders(seen) {
        for (at, spec) in gateway.list("/spec/listeners").iter().enumerate() {
            let (name, field) = (text(spec, "name"), format!("spec.listeners[{at}]"));
            let Some(status) = gateway.list("/status/listeners").iter().find(|one| text(one, "name") == name) else {
                found.push(
                    gateway
                        .finding("GW002", Severity::Error, &field, format!("listener {name} has no status"))
                        .fix("check that the controller of its class runs (GWC001)"),
                );
                continue;
            };
            for one in list(status, "/conditions") {
                let severity = match (text(one, "type"), text(one, "status")) {
                    ("Accepted" | "Programmed" | "ResolvedRefs", "False") | ("Conflicted", "True") => Severity::Error,
                    ("OverlappingTLSConfig", "True") => Severity::Warning,
                    _ => continue,
                };
                let title = format!(
                    "listener {name}: {} is {}: {}",
                    text(one, "type"),
                    text(one, "status"),
                    text(one, "reason")
                );
                found.push(
                    gateway
                        .finding("GW002", severity, &field, title)
                        .evidence(format!("status of listener {name}"), said(one))
                        .fix(fix_of(text(one, "reason"))),
                );
            }
        }
    }
    found
}

pub(super) fn attached(seen: &Seen) -> Vec<Finding> {
    let mut found = Vec::new();
    for gateway in holders(seen) {
        for (at, spec) in gateway.list("/spec/listeners").iter().enumerate() {
            let name = text(spec, "name");
            let status = gateway.list("/status/listeners").iter().find(|one| text(one, "name") == name);
            if status.and_then(|one| one["attachedRoutes"].as_u64()) == Some(0) {
                found.push(
                    gateway
                        .finding(
                            "GW003",
                            Severity::Warning,
                            &format!("spec.listeners[{at}]"),
                            format!("listener {name} has no route"),
                        )
                        .evidence(format!("status of listener {name}"), "attachedRoutes=0")
                        .fix("attach a route, or remove the listener"),
                );
            }
        }
    }
    found
}

pub(super) fn stale(seen: &Seen) -> Vec<Finding> {
    let mut found = Vec::new();
    let all = seen.of(GATEWAY_CLASS).iter().chain(seen.of(GATEWAY)).chain(seen.of(LISTENER_SET)).chain(seen.routes());
    for item in all.filter(|item| item.file.is_none()) {
        let generation = item.generation();
        let status = &item.value["status"];
        let holders = std::iter::once(status)
            .chain(list(status, "/listeners"))
            .chain(list(status, "/parents"))
            .flat_map(|holder| list(holder, "/conditions"));
        let oldest = holders.filter_map(|one| one["observedGeneration"].as_i64()).min();
        if let Some(oldest) = oldest.filter(|oldest| *oldest < generation) {
            found.push(
                item.finding("GW004", Severity::Warning, "status", "its status is of an older version of it")
                    .evidence("metadata.generation", generation.to_string())
                    .evidence("observedGeneration", oldest.to_string())
                    .fix("wait a moment and check again; then look at the controller's log"),
            );
        }
    }
    found
}
