//! What stands in the way of an upgrade.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    ingresses,
    seen::{
        ADMISSION_POLICY, CRD, DAEMON_SET, DEPLOYMENT, GATEWAY_API, HTTP_ROUTE, INGRESS, INGRESS_CLASS, Item, SERVICE,
        Seen, list, text,
    },
};
use crate::finding::{Finding, Object, Severity};

const BUNDLE: &str = "gateway.networking.k8s.io/bundle-version";
const CHANNEL: &str = "gateway.networking.k8s.io/channel";
const NEEDED: [&str; 4] = ["gatewayclasses", "gateways", "httproutes", "referencegrants"];

/// Versions that the standard channel of 1.6 has of each CRD, served or not.
const KEPT: [(&str, &[&str]); 10] = [
    ("gatewayclasses", &["v1", "v1beta1"]),
    ("gateways", &["v1", "v1beta1"]),
    ("httproutes", &["v1", "v1beta1"]),
    ("grpcroutes", &["v1"]),
    ("listenersets", &["v1"]),
    ("referencegrants", &["v1", "v1beta1"]),
    ("tcproutes", &["v1", "v1alpha2"]),
    ("tlsroutes", &["v1", "v1alpha2", "v1alpha3"]),
    ("udproutes", &["v1", "v1alpha2"]),
    ("backendtlspolicies", &["v1", "v1alpha3"]),
];

pub(super) fn controller(seen: &Seen) -> Vec<Finding> {
    let mut found = Vec::new();
    for item in seen.of(DEPLOYMENT).iter().chain(seen.of(DAEMON_SET)) {
        let containers = item.list("/spec/template/spec/containers");
        let image =
            containers.iter().map(|one| text(one, "image")).find(|image| image.contains("ingress-nginx/controller"));
        let labelled = item.label("app.kubernetes.io/name") == Some("ingress-nginx");
        // The webhook's jobs and the default backend carry the label too.
        let is = image.is_some() || (labelled && item.label("app.kubernetes.io/component") == Some("controller"));
        if is {
            found.push(
                item.finding(
                    "PF001",
                    Severity::Error,
                    "spec.template.spec.containers",
                    "ingress-nginx runs, and gets no fixes any more",
                )
                .evidence("image", image.unwrap_or("not named"))
                .fix("`gwtop migrate -A --plan plan.md`, then remove it"),
            );
        }
    }
    let mut classless = Vec::new();
    for ingress in seen.of(INGRESS) {
        let named = ingress.value.pointer("/spec/ingressClassName").is_some();
        match ingress.annotation(ingresses::CLASS_ANNOTATION) {
            Some(class) => found.push(
                ingress
                    .finding(
                        "PF001",
                        Severity::Warning,
                        "metadata.annotations",
                        "its class is said by the old annotation",
                    )
                    .evidence(ingresses::CLASS_ANNOTATION, class)
                    .fix(format!("set spec.ingressClassName: {class}, and remove the annotation")),
            ),
            None if !named => classless.push(format!("{}/{}", ingress.namespace(), ingress.name())),
            None => {}
        }
    }
    let defaults: Vec<_> = ingresses::defaults(seen).iter().map(|class| class.name().to_owned()).collect();
    let complete = seen.complete(INGRESS_CLASS);
    let cluster = Object::new("networking.k8s.io", "IngressClass", "", "");
    if complete && defaults.is_empty() && !classless.is_empty() {
        found.push(
            Finding::new(
                "PF001",
                Severity::Warning,
                cluster,
                "Ingresses without a class, and no default IngressClass: nobody or anybody serves them",
            )
            .evidence("without a class", classless.join(", "))
            .fix("set spec.ingressClassName"),
        );
    } else if defaults.len() > 1 {
        found.push(
            Finding::new(
                "PF001",
                Severity::Warning,
                cluster,
                "more than one default IngressClass: the API server takes the newest",
            )
            .evidence("default", defaults.join(", "))
            .fix("leave one"),
        );
    }
    found
}

/// Version and channel of a CRD of the Gateway API.
pub(super) fn bundle_of(crd: &Item) -> Option<(&str, &str)> {
    (crd.text("/spec/group") == GATEWAY_API)
        .then(|| (crd.annotation(BUNDLE).unwrap_or_default(), crd.annotation(CHANNEL).unwrap_or_default()))
}

fn crds(seen: &Seen) -> impl Iterator<Item = &Item> {
    seen.of(CRD).iter().filter(|crd| bundle_of(crd).is_some())
}

pub(super) fn bundle(seen: &Seen) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut of: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for crd in crds(seen) {
        of.entry(bundle_of(crd).unwrap_or_default()).or_default().push(crd.text("/spec/names/plural"));
    }
    if seen.complete(CRD) {
        for plural in NEEDED.into_iter().filter(|plural| !of.values().flatten().any(|one| one == plural)) {
            let name = format!("{plural}.{GATEWAY_API}");
            found.push(
                Finding::new("PF002", Severity::Warning, Object::new(CRD.0, CRD.1, "", &name), "it is not installed")
                    .fix("Kubernetes does not bring it: install the CRDs of the Gateway API (standard-install.yaml)"),
            );
        }
    }
    if of.len() > 1 {
        let mut finding = Finding::new(
            "PF002",
            Severity::Warning,
            Object::new(CRD.0, CRD.1, "", ""),
            "CRDs of different bundles or channels are installed",
        )
        .fix("install one bundle as a whole");
        for ((version, channel), names) in &of {
            let version = if version.is_empty() { "no version" } else { version };
            finding = finding.evidence(format!("{version} {channel}"), names.join(", "));
        }
        found.push(finding);
    }
    // What is in use, by whoever wrote it last.
    for item in seen.all() {
        for (version, from) in written(item) {
            let Some((group, version)) = version.split_once('/').filter(|(group, _)| *group == GATEWAY_API) else {
                continue;
            };
            let kind = item.text("/kind");
            let crd = crds(seen).find(|crd| crd.text("/spec/names/kind") == kind);
            let Some(crd) = crd else { continue };
            let known: Vec<&str> = crd
                .list("/spec/versions")
                .iter()
                .filter(|one| one["served"] == true)
                .map(|one| text(one, "name"))
                .collect();
            if !known.contains(&version) {
                found.push(
                    item.finding(
                        "PF002",
                        Severity::Error,
                        "apiVersion",
                        format!("it is written as {group}/{version}, which is not served"),
                    )
                    .evidence(from, version)
                    .evidence(format!("CustomResourceDefinition {} serves", crd.name()), known.join(", "))
                    .fix(format!("write it as {group}/{}", known.first().unwrap_or(&"v1"))),
                );
            }
        }
    }
    found
}

/// Versions that an object was written in, and where that stands. What the API server answers in
/// says nothing.
pub(super) fn written(item: &Item) -> Vec<(String, String)> {
    let mut all = Vec::new();
    if item.file.is_some() {
        all.push((item.text("/apiVersion").to_owned(), "the manifest".to_owned()));
    }
    if let Some(last) = last_applied(item) {
        all.push((text(&last, "apiVersion").to_owned(), "the annotation last-applied-configuration".to_owned()));
    }
    for one in item.list("/metadata/managedFields").iter().filter(|one| text(one, "subresource") != "status") {
        all.push((text(one, "apiVersion").to_owned(), format!("metadata.managedFields: {}", text(one, "manager"))));
    }
    all
}

pub(super) fn last_applied(item: &Item) -> Option<Value> {
    serde_json::from_str(item.annotation("kubectl.kubernetes.io/last-applied-configuration")?).ok()
}

pub(super) fn stored(seen: &Seen) -> Vec<Finding> {
    let mut found = Vec::new();
    for crd in crds(seen) {
        let kept = KEPT.iter().find(|(plural, _)| *plural == crd.text("/spec/names/plural")).map(|(_, kept)| *kept);
        let Some(kept) = kept else { continue };
        let stored: Vec<&str> = crd.list("/status/storedVersions").iter().filter_map(Value::as_str).collect();
        let lost: Vec<&str> = stored.iter().copied().filter(|version| !kept.contains(version)).collect();
        if !lost.is_empty() {
            found.push(
                crd.finding(
                    "PF003",
                    Severity::Error,
                    "status.storedVersions",
                    format!("objects may be stored as {}, which the CRDs of 1.6 do not have", lost.join(", ")),
                )
                .evidence("status.storedVersions", stored.join(", "))
                .fix("write every object anew in a newer version, then remove the old one from status.storedVersions"),
            );
        }
    }
    if let Some(policy) =
        seen.of(ADMISSION_POLICY).iter().find(|policy| policy.name().starts_with("safe-upgrades.gateway"))
    {
        found.push(
            policy
                .finding(
                    "PF003",
                    Severity::Info,
                    "",
                    "this policy refuses CRDs of the experimental channel and of older bundles over standard ones",
                )
                .fix("delete its binding first if you mean to do that"),
        );
    }
    found
}

pub(super) fn external_ips(seen: &Seen, target: (u32, u32)) -> Vec<Finding> {
    let severity = if target >= (1, 40) { Severity::Error } else { Severity::Warning };
    let mut found = Vec::new();
    for service in seen.of(SERVICE) {
        let addresses: Vec<&str> = service.list("/spec/externalIPs").iter().filter_map(Value::as_str).collect();
        if !addresses.is_empty() {
            found.push(
                service
                    .finding(
                        "PF005",
                        severity,
                        "spec.externalIPs",
                        "it uses externalIPs: deprecated since 1.36, ignored by default from 1.40 on, gone in 1.43",
                    )
                    .evidence("spec.externalIPs", addresses.join(", "))
                    .fix("use a Service of type LoadBalancer, or a Gateway with an address"),
            );
        }
    }
    found
}

pub(super) fn experimental(seen: &Seen) -> Vec<Finding> {
    let standard = crds(seen)
        .any(|crd| crd.text("/spec/names/plural") == "httproutes" && crd.annotation(CHANNEL) == Some("standard"));
    if !standard {
        return Vec::new();
    }
    let mut found = Vec::new();
    for route in seen.of(HTTP_ROUTE) {
        let last = last_applied(route);
        let (manifest, from) = match &last {
            Some(last) if route.file.is_none() => (last, "the annotation last-applied-configuration"),
            _ if route.file.is_some() => (&route.value, "the manifest"),
            _ => continue,
        };
        for (at, rule) in list(manifest, "/spec/rules").iter().enumerate() {
            let mut fields: Vec<String> = ["retry", "sessionPersistence"]
                .into_iter()
                .filter(|name| rule.get(name).is_some())
                .map(|name| format!("spec.rules[{at}].{name}"))
                .collect();
            let filters = list(rule, "/filters").iter().enumerate();
            fields.extend(
                filters
                    .filter(|(_, one)| one.get("externalAuth").is_some())
                    .map(|(of, _)| format!("spec.rules[{at}].filters[{of}].externalAuth")),
            );
            for field in fields {
                found.push(
                    route
                        .finding(
                            "PF006",
                            Severity::Warning,
                            &field,
                            "an experimental field, and the installed CRDs are of the standard channel: it is dropped",
                        )
                        .evidence("it stands in", from)
                        .fix("install the experimental channel, or remove the field"),
                );
            }
        }
    }
    found
}

pub(super) fn skew(seen: &Seen) -> Vec<Finding> {
    let Some((major, minor)) = seen.version.filter(|version| *version < (1, 31)) else { return Vec::new() };
    let new = crds(seen).filter(|crd| {
        let version = crd.annotation(BUNDLE).unwrap_or_default().trim_start_matches('v');
        let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap_or_default());
        (parts.next().unwrap_or_default(), parts.next().unwrap_or_default()) >= (1, 6)
            && crd.text("/spec/names/plural") == "tlsroutes"
    });
    new.map(|crd| {
        crd.finding(
            "PF007",
            Severity::Warning,
            "metadata.annotations",
            format!("its rules need Kubernetes 1.31, this is {major}.{minor}"),
        )
        .evidence(BUNDLE, crd.annotation(BUNDLE).unwrap_or_default())
        .fix("upgrade Kubernetes, or stay with an older bundle")
    })
    .collect()
}
