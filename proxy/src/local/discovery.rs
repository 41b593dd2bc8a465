//! `/api`, `/apis` and what they list.

use std::sync::Arc;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::kinds::{Kind, Registry};
use super::rest::{log, proxy};

/// What `/version` tells: the release whose behaviour this server follows.
pub(super) fn version() -> Value {
    json!({
        "major": "1", "minor": "36", "gitVersion": "v1.36.0+gwproxy", "gitCommit": "", "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z", "goVersion": "", "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
    })
}

/// The form in which a client wants to have discovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Plain,
    /// All groups at once, in this version of `apidiscovery.k8s.io`.
    Aggregated(&'static str),
}

/// The order in which groups are listed; others follow by name.
const GROUPS: [&str; 16] = [
    "",
    "apps",
    "events.k8s.io",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "batch",
    "networking.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "storage.k8s.io",
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "scheduling.k8s.io",
    "coordination.k8s.io",
    "discovery.k8s.io",
];

/// The document of a path below the root, and whether it is an aggregated one.
pub(super) fn document(registry: &Registry, path: &[String], form: Form) -> Option<(Value, bool)> {
    let words: Vec<&str> = path.iter().map(String::as_str).collect();
    let document = match (words.as_slice(), form) {
        (["api"] | ["apis"], Form::Aggregated(version)) => {
            return Some((aggregate(registry, words[0] == "api", version), true));
        }
        (["api"], _) => json!({
            "kind": "APIVersions", "versions": ["v1"],
            "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": ""}],
        }),
        (["apis"], _) => {
            let named = groups(registry).into_iter().filter(|(group, _)| !group.is_empty());
            let groups: Vec<Value> = named.map(|(group, versions)| group_of(&group, &versions)).collect();
            json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
        }
        (["apis", group], _) => {
            let (group, versions) = registry.groups().into_iter().find(|(found, _)| found == group)?;
            let mut document = group_of(&group, &versions);
            document["kind"] = "APIGroup".into();
            document["apiVersion"] = "v1".into();
            document
        }
        (["api", version], _) => resources(registry, "", version)?,
        (["apis", group, version], _) if !group.is_empty() => resources(registry, group, version)?,
        _ => return None,
    };
    Some((document, false))
}

fn groups(registry: &Registry) -> Vec<(String, Vec<String>)> {
    let mut groups = registry.groups();
    groups.sort_by_key(|(group, _)| GROUPS.iter().position(|known| known == group).unwrap_or(GROUPS.len()));
    groups
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

fn served(registry: &Registry, group: &str, version: &str) -> Vec<Arc<Kind>> {
    let kinds = registry.all().into_iter().filter(|kind| kind.group == group && kind.serves(version));
    kinds.filter_map(|kind| registry.find(group, version, &kind.plural)).collect()
}

/// What is served below an object: its name, the kind it speaks, and the verbs.
struct Subresource {
    name: &'static str,
    /// Group, version and kind, where they are not the object's.
    kind: Option<(&'static str, &'static str, &'static str)>,
    verbs: &'static [&'static str],
}

fn subresources(kind: &Kind) -> Vec<Subresource> {
    const CHANGE: &[&str] = &["get", "patch", "update"];
    let mut found = Vec::new();
    if log::has(kind) {
        found.push(Subresource { name: "log", kind: None, verbs: &["get"] });
    }
    if proxy::has(kind) {
        let options = if kind.plural == "pods" { "PodProxyOptions" } else { "ServiceProxyOptions" };
        let verbs = &["create", "delete", "get", "patch", "update"];
        found.push(Subresource { name: "proxy", kind: Some(("", "", options)), verbs });
    }
    if kind.scale.is_some() {
        found.push(Subresource { name: "scale", kind: Some(("autoscaling", "v1", "Scale")), verbs: CHANGE });
    }
    if kind.has_status {
        found.push(Subresource { name: "status", kind: None, verbs: CHANGE });
    }
    if !kind.typed {
        found.reverse();
    }
    found
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
            "kind": kind.kind, "verbs": verbs(&kind),
        });
        names(&kind, &mut resource);
        if !kind.ephemeral {
            resource["storageVersionHash"] = storage_hash(&kind);
        }
        listed.push(resource);
        for below in subresources(&kind) {
            let mut resource = json!({
                "name": format!("{}/{}", kind.plural, below.name), "singularName": "",
                "namespaced": kind.namespaced, "kind": kind.kind, "verbs": below.verbs,
            });
            if let Some((group, version, kind)) = below.kind {
                if !version.is_empty() {
                    resource["group"] = group.into();
                    resource["version"] = version.into();
                }
                resource["kind"] = kind.into();
            }
            listed.push(resource);
        }
    }
    Some(json!({
        "kind": "APIResourceList", "apiVersion": "v1",
        "groupVersion": group_version(group, version), "resources": listed,
    }))
}

/// The order differs with who lists them.
fn verbs(kind: &Kind) -> &'static [&'static str] {
    if kind.typed {
        kind.verbs()
    } else {
        &["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"]
    }
}

fn names(kind: &Kind, resource: &mut Value) {
    if !kind.short_names.is_empty() {
        resource["shortNames"] = json!(kind.short_names);
    }
    if !kind.categories.is_empty() {
        resource["categories"] = json!(kind.categories);
    }
}

/// Tells versions of the same storage from others. Opaque to clients.
fn storage_hash(kind: &Kind) -> Value {
    let (group, name) = match &kind.view {
        Some(view) => (view.stored.0, kind.kind.as_str()),
        None => (kind.group.as_str(), kind.kind.as_str()),
    };
    let digest = Sha256::digest(format!("{group}/{}/{name}", kind.storage));
    json!(k8s_openapi::ByteString(digest[..8].to_vec()))
}

fn aggregate(registry: &Registry, core: bool, form: &str) -> Value {
    let mut items = Vec::new();
    for (group, versions) in groups(registry) {
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
        let metadata = if core { json!({}) } else { json!({"name": group}) };
        items.push(json!({"metadata": metadata, "versions": versions}));
    }
    json!({
        "kind": "APIGroupDiscoveryList", "apiVersion": format!("apidiscovery.k8s.io/{form}"), "metadata": {},
        "items": items,
    })
}

fn aggregated(kind: &Kind, version: &str) -> Value {
    // Kinds that are not custom leave out what the place says already.
    let (group, version) = if kind.typed { ("", "") } else { (kind.group.as_str(), version) };
    let response = json!({"group": group, "version": version, "kind": kind.kind});
    let mut resource = json!({
        "resource": kind.plural, "responseKind": response, "singularResource": kind.singular,
        "scope": if kind.namespaced { "Namespaced" } else { "Cluster" }, "verbs": verbs(kind),
    });
    names(kind, &mut resource);
    let below: Vec<Value> = subresources(kind)
        .iter()
        .map(|below| {
            let response = match below.kind {
                Some((group, version, kind)) => json!({"group": group, "version": version, "kind": kind}),
                None => response.clone(),
            };
            json!({"subresource": below.name, "responseKind": response, "verbs": below.verbs})
        })
        .collect();
    if !below.is_empty() {
        resource["subresources"] = below.into();
    }
    resource
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_a_kube_apiserver() {
        let registry = Registry::builtin();
        for (group, plural, hash) in [("apps", "deployments", "8aSe+NMegvE="), ("", "pods", "xPOwRZ+Yhw8=")] {
            assert_eq!(storage_hash(&registry.find(group, "v1", plural).unwrap()), hash);
        }
    }
}
