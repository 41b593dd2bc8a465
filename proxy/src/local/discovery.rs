//! `/api`, `/apis` and what they list.

use serde_json::{Value, json};

use super::kinds::{Kind, Registry};
use super::rest::log;

/// What `/version` tells: the release whose behaviour this server follows.
pub(super) fn version() -> Value {
    json!({
        "major": "1", "minor": "36", "gitVersion": "v1.36.0+gwproxy", "gitCommit": "", "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z", "goVersion": "", "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
    })
}

/// The document of a path below the root, and whether it is an aggregated one.
pub(super) fn document(registry: &Registry, path: &[String], aggregated: bool) -> Option<(Value, bool)> {
    let words: Vec<&str> = path.iter().map(String::as_str).collect();
    let document = match words.as_slice() {
        ["api"] | ["apis"] if aggregated => return Some((aggregate(registry, words[0] == "api"), true)),
        ["api"] => json!({
            "kind": "APIVersions", "versions": ["v1"],
            "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": ""}],
        }),
        ["apis"] => {
            let named = registry.groups().into_iter().filter(|(group, _)| !group.is_empty());
            let groups: Vec<Value> = named.map(|(group, versions)| group_of(&group, &versions)).collect();
            json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
        }
        ["apis", group] => {
            let (group, versions) = registry.groups().into_iter().find(|(found, _)| found == group)?;
            let mut document = group_of(&group, &versions);
            document["kind"] = "APIGroup".into();
            document["apiVersion"] = "v1".into();
            document
        }
        ["api", version] => resources(registry, "", version)?,
        ["apis", group, version] if !group.is_empty() => resources(registry, group, version)?,
        _ => return None,
    };
    Some((document, false))
}

fn group_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

fn group_of(group: &str, versions: &[String]) -> Value {
    let named = |version: &String| json!({"groupVersion": group_version(group, version), "version": version});
    json!({
        "name": group,
        "versions": versions.iter().map(named).collect::<Vec<_>>(),
        "preferredVersion": versions.first().map(named),
    })
}

fn served(registry: &Registry, group: &str, version: &str) -> Vec<std::sync::Arc<Kind>> {
    registry.all().into_iter().filter(|kind| kind.group == group && kind.serves(version)).collect()
}

fn resources(registry: &Registry, group: &str, version: &str) -> Option<Value> {
    let kinds = served(registry, group, version);
    if kinds.is_empty() {
        return None;
    }
    let mut listed = Vec::new();
    for kind in kinds {
        let mut resource = json!({
            "name": kind.plural, "singularName": kind.singular, "namespaced": kind.namespaced,
            "kind": kind.kind, "verbs": kind.verbs(),
        });
        if !kind.short_names.is_empty() {
            resource["shortNames"] = json!(kind.short_names);
        }
        if !kind.categories.is_empty() {
            resource["categories"] = json!(kind.categories);
        }
        listed.push(resource);
        if kind.has_status {
            listed.push(json!({
                "name": format!("{}/status", kind.plural), "singularName": "", "namespaced": kind.namespaced,
                "kind": kind.kind, "verbs": ["get", "patch", "update"],
            }));
        }
        if log::has(&kind) {
            listed.push(json!({
                "name": "pods/log", "singularName": "", "namespaced": true, "kind": "Pod", "verbs": ["get"],
            }));
        }
    }
    Some(json!({
        "kind": "APIResourceList", "apiVersion": "v1",
        "groupVersion": group_version(group, version), "resources": listed,
    }))
}

fn aggregate(registry: &Registry, core: bool) -> Value {
    let mut items = Vec::new();
    for (group, versions) in registry.groups() {
        if group.is_empty() != core {
            continue;
        }
        let versions: Vec<Value> = versions
            .iter()
            .map(|version| {
                let kinds = served(registry, &group, version);
                let resources: Vec<Value> = kinds.iter().map(|kind| aggregated(kind, version)).collect();
                json!({"version": version, "freshness": "Current", "resources": resources})
            })
            .collect();
        let metadata = if core { json!({"creationTimestamp": null}) } else { json!({"name": group}) };
        items.push(json!({"metadata": metadata, "versions": versions}));
    }
    json!({
        "kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items,
    })
}

fn aggregated(kind: &Kind, version: &str) -> Value {
    let response = json!({"group": kind.group, "version": version, "kind": kind.kind});
    let mut resource = json!({
        "resource": kind.plural, "responseKind": response, "singularResource": kind.singular,
        "scope": if kind.namespaced { "Namespaced" } else { "Cluster" }, "verbs": kind.verbs(),
    });
    if !kind.short_names.is_empty() {
        resource["shortNames"] = json!(kind.short_names);
    }
    if !kind.categories.is_empty() {
        resource["categories"] = json!(kind.categories);
    }
    if kind.has_status {
        resource["subresources"] =
            json!([{"subresource": "status", "responseKind": response, "verbs": ["get", "patch", "update"]}]);
    }
    resource
}
