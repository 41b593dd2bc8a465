//! Ingresses beside routes.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    Options, routes,
    seen::{GATEWAY, INGRESS, INGRESS_CLASS, Item, Seen, list, text},
};
use crate::finding::{Finding, Severity};

pub(super) const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";
pub(crate) const SOLVER: &str = "acme.cert-manager.io/http01-solver";
const DEFAULT_CLASS: &str = "ingressclass.kubernetes.io/is-default-class";

fn class_of<'a>(seen: &'a Seen, ingress: &'a Item) -> Option<&'a str> {
    let own = ingress.value.pointer("/spec/ingressClassName").and_then(Value::as_str);
    own.or_else(|| ingress.annotation(CLASS_ANNOTATION)).or_else(|| defaults(seen).first().map(|class| class.name()))
}

pub(super) fn defaults(seen: &Seen) -> Vec<&Item> {
    seen.of(INGRESS_CLASS).iter().filter(|class| class.annotation(DEFAULT_CLASS) == Some("true")).collect()
}

/// Whether an Ingress belongs to a class that is moved away from.
pub(crate) fn migrated(seen: &Seen, options: &Options, ingress: &Item) -> bool {
    class_of(seen, ingress).is_none_or(|class| {
        options.ingress_classes.iter().any(|one| one == class)
            || seen
                .get(INGRESS_CLASS, "", class)
                .is_some_and(|class| class.text("/spec/controller") == "k8s.io/ingress-nginx")
    })
}

pub(crate) fn hosts(ingress: &Item) -> BTreeSet<String> {
    ingress
        .list("/spec/rules")
        .iter()
        .map(|rule| text(rule, "host").to_ascii_lowercase())
        .filter(|host| !host.is_empty())
        .collect()
}

pub(crate) fn served(host: &str, routes: &BTreeSet<String>) -> bool {
    routes.contains(host) || routes.iter().any(|route| route.starts_with('*') && routes::meet(route, host))
}

pub(super) fn left(seen: &Seen, options: &Options) -> Vec<Finding> {
    let routes = routes::hosts(seen);
    let mut found = Vec::new();
    for ingress in seen.of(INGRESS).iter().filter(|one| migrated(seen, options, one)) {
        if ingress.label(SOLVER).is_some() {
            found.push(
                ingress
                    .finding("ING001", Severity::Info, "", "an ACME solver of cert-manager: it comes and goes")
                    .fix("let the Issuer solve by gatewayHTTPRoute before the controller is removed"),
            );
            continue;
        }
        let hosts = hosts(ingress);
        let alone: Vec<&str> = hosts.iter().filter(|host| !served(host, &routes)).map(String::as_str).collect();
        let finding = if alone.is_empty() && !hosts.is_empty() {
            ingress
                .finding("ING001", Severity::Warning, "", "a leftover: routes serve all of its hosts")
                .fix("delete it once its traffic has moved; a Certificate of cert-manager goes with it unless a Gateway has the annotation")
        } else {
            let what =
                if alone.is_empty() { "requests without a host of their own".to_owned() } else { alone.join(", ") };
            ingress
                .finding("ING001", Severity::Error, "spec.rules", "hosts that only an Ingress serves")
                .evidence("no route has", what)
                .fix("`gwtop migrate` makes routes of it")
        };
        found.push(finding);
    }
    found
}

/// Hosts that Ingresses of the migrated class and routes both serve.
pub(super) fn both(seen: &Seen, options: &Options) -> BTreeSet<String> {
    let routes = routes::hosts(seen);
    let ingresses = seen.of(INGRESS).iter().filter(|one| migrated(seen, options, one));
    ingresses.flat_map(hosts).filter(|host| !host.starts_with('*') && served(host, &routes)).collect()
}

pub(super) fn twice(seen: &Seen, options: &Options) -> Vec<Finding> {
    let addresses: BTreeSet<&str> = seen
        .of(GATEWAY)
        .iter()
        .flat_map(|gateway| gateway.list("/status/addresses"))
        .map(|one| text(one, "value"))
        .collect();
    let mut found = Vec::new();
    for host in both(seen, options) {
        let ingress = seen.of(INGRESS).iter().find(|one| migrated(seen, options, one) && hosts(one).contains(&host));
        let Some(ingress) = ingress else { continue };
        let old: BTreeSet<&str> = list(&ingress.value, "/status/loadBalancer/ingress")
            .iter()
            .flat_map(|one| [text(one, "ip"), text(one, "hostname")])
            .filter(|one| !one.is_empty())
            .collect();
        let (severity, title, says) = match seen.names.get(&host) {
            None => (Severity::Unknown, "where its name points was not asked".to_owned(), String::new()),
            Some(Err(why)) => (Severity::Warning, "its name cannot be resolved from here".to_owned(), why.clone()),
            Some(Ok(points)) => {
                let to = |set: &BTreeSet<&str>| points.iter().any(|one| set.contains(one.as_str()));
                let title = match (to(&addresses), to(&old)) {
                    (true, true) => "points to the Gateway and to the Ingress",
                    (true, false) => "points to the Gateway: the Ingress can go",
                    (false, true) => "still points to the Ingress",
                    (false, false) => "points to neither the Gateway nor the Ingress",
                };
                let severity = if title.ends_with("can go") { Severity::Info } else { Severity::Warning };
                (severity, title.to_owned(), points.iter().cloned().collect::<Vec<_>>().join(", "))
            }
        };
        let all = |set: &BTreeSet<&str>| {
            if set.is_empty() { "none".to_owned() } else { set.iter().copied().collect::<Vec<_>>().join(", ") }
        };
        found.push(
            ingress
                .finding(
                    "ING002",
                    severity,
                    "spec.rules",
                    format!("{host} is served by an Ingress and by a route: {title}"),
                )
                .evidence(format!("addresses of {host}"), says)
                .evidence("addresses of Gateways", all(&addresses))
                .evidence("addresses of the Ingress", all(&old))
                .fix("move the DNS record when the new way is proven, then delete the Ingress"),
        );
    }
    found
}
