//! `/openapi`: what clients read before they write.
//!
//! The documents list every kind with the parameters that its requests take; the shape of an
//! object is the kind's schema where there is one, and otherwise open.

use serde_json::{Map, Value, json};

use super::kinds::Kind;
use super::verbs::Resources;

/// The document at a path below `/openapi`.
pub(super) fn document(resources: &Resources, path: &[String]) -> Option<Value> {
    let words: Vec<&str> = path.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["v2"] => Some(json!({
            "swagger": "2.0", "info": info(), "paths": {}, "definitions": {},
        })),
        ["v3"] => {
            let mut paths = Map::new();
            for (group, versions) in resources.registry.groups() {
                for version in versions {
                    let name = root(&group, &version);
                    let url = format!("/openapi/v3/{name}?hash={}", env!("CARGO_PKG_VERSION"));
                    paths.insert(name, json!({"serverRelativeURL": url}));
                }
            }
            Some(json!({"paths": paths}))
        }
        ["v3", "api", version] => group_version(resources, "", version),
        ["v3", "apis", group, version] => group_version(resources, group, version),
        _ => None,
    }
}

fn info() -> Value {
    json!({"title": "gwproxy", "version": "v1.36.0+gwproxy"})
}

fn root(group: &str, version: &str) -> String {
    if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") }
}

fn group_version(resources: &Resources, group: &str, version: &str) -> Option<Value> {
    let kinds = resources.registry.all();
    let kinds: Vec<_> = kinds.iter().filter(|kind| kind.group == group && kind.serves(version)).collect();
    if kinds.is_empty() {
        return None;
    }
    let (mut paths, mut schemas) = (Map::new(), Map::new());
    for kind in kinds {
        let names = json!([{"group": kind.group, "version": version, "kind": kind.kind}]);
        let schema = format!("{}.{version}.{}", reversed(&kind.group), kind.kind);
        let mut shape = resources
            .admit
            .schema(&kind.group, &kind.kind)
            .unwrap_or_else(|| json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}));
        shape["x-kubernetes-group-version-kind"] = names;
        schemas.insert(schema.clone(), shape);
        paths_of(kind, version, &schema, &mut paths);
    }
    Some(json!({
        "openapi": "3.0.0", "info": info(), "paths": paths, "components": {"schemas": schemas},
    }))
}

fn reversed(group: &str) -> String {
    if group.is_empty() {
        return "io.k8s.api.core".into();
    }
    group.split('.').rev().collect::<Vec<_>>().join(".")
}

fn paths_of(kind: &Kind, version: &str, schema: &str, paths: &mut Map<String, Value>) {
    let prefix = root(&kind.group, version);
    let namespace = if kind.namespaced { "/namespaces/{namespace}" } else { "" };
    let collection = format!("/{prefix}{namespace}/{}", kind.plural);
    let reference = json!({"$ref": format!("#/components/schemas/{schema}")});
    let names = json!({"group": kind.group, "version": version, "kind": kind.kind});
    let query = |name: &str| json!({"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": true}});
    let write = json!([query("dryRun"), query("fieldManager"), query("fieldValidation")]);
    let ok = json!({"200": {"description": "OK", "content": {"application/json": {"schema": reference}}}});
    let body = |content: &str| json!({"content": {content: {"schema": reference}}, "required": true});
    let operation = |action: &str, parameters: &Value, content: Option<&str>| {
        let mut operation = json!({
            "x-kubernetes-action": action, "x-kubernetes-group-version-kind": names,
            "parameters": parameters, "responses": ok,
        });
        if let Some(content) = content {
            operation["requestBody"] = body(content);
        }
        operation
    };
    let none = json!([]);
    let mut many = json!({"post": operation("post", &write, Some("application/json"))});
    if !kind.ephemeral {
        many["get"] = operation("list", &none, None);
        let one = json!({
            "get": operation("get", &none, None),
            "put": operation("put", &write, Some("application/json")),
            "patch": operation("patch", &write, Some("application/merge-patch+json")),
            "delete": operation("delete", &json!([query("dryRun")]), None),
        });
        paths.insert(format!("{collection}/{{name}}"), one);
    }
    paths.insert(collection, many);
}
