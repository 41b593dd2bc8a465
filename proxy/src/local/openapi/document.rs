//! The schemas of one group and version, and what they name.

use serde_json::{Map, Value, json};

use super::paths;
use crate::local::kinds::Kind;
use crate::local::schema::core::{Definitions, OBJECT_META, REF};
use crate::local::verbs::Resources;

const LIST_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";
const ALWAYS: [&str; 3] =
    [OBJECT_META, "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions", "io.k8s.apimachinery.pkg.apis.meta.v1.Status"];
const API_VERSION: &str = "APIVersion defines the versioned schema of this representation of an object. Servers should convert recognized schemas to the latest internal value, and may reject unrecognized values. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#resources";
const KIND: &str = "Kind is a string value representing the REST resource this object represents. Servers may infer this from the endpoint the client submits requests to. Cannot be updated. In CamelCase. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds";

/// Paths and schemas of all kinds served there.
pub(super) fn group_version(
    resources: &Resources,
    group: &str,
    version: &str,
) -> Option<(Map<String, Value>, Map<String, Value>)> {
    let registry = &resources.registry;
    let kinds = registry.all();
    let kinds: Vec<_> = kinds
        .iter()
        .filter(|kind| kind.group == group && kind.serves(version))
        .filter_map(|kind| registry.find(group, version, &kind.plural))
        .collect();
    if kinds.is_empty() {
        return None;
    }
    let (mut paths, mut schemas) = (Map::new(), Map::new());
    for name in ALWAYS.iter().chain([&LIST_META]) {
        include(name, &mut schemas);
    }
    for kind in kinds {
        let names = json!({"group": group, "version": version, "kind": kind.kind});
        let name = match Definitions::get().name(group, version, &kind.kind).filter(|_| kind.typed) {
            Some(name) => {
                include(name, &mut schemas);
                name.to_owned()
            }
            None => {
                let name = format!("{}.{version}.{}", reversed(group), kind.kind);
                schemas.insert(name.clone(), custom(resources, &kind, version));
                name
            }
        };
        schemas[&name]["x-kubernetes-group-version-kind"] = json!([names]);
        if !kind.ephemeral {
            let list = json!({"group": group, "version": version, "kind": kind.list_kind()});
            schemas.insert(format!("{name}List"), list_of(&kind, &name, &list));
        }
        paths::add(&kind, version, &name, &mut paths);
    }
    Some((paths, schemas))
}

/// Adds a definition and all that it names.
fn include(name: &str, schemas: &mut Map<String, Value>) {
    if schemas.contains_key(name) {
        return;
    }
    let Some(schema) = Definitions::get().all.get(name) else { return };
    schemas.insert(name.to_owned(), public(schema));
    let mut named = Vec::new();
    references(schema, &mut named);
    for name in named {
        include(&name, schemas);
    }
}

fn references(schema: &Value, into: &mut Vec<String>) {
    match schema {
        Value::Object(fields) => {
            if let Some(Value::String(name)) = fields.get("$ref") {
                into.push(name.trim_start_matches(REF).to_owned());
            }
            fields.values().for_each(|inner| references(inner, into));
        }
        Value::Array(items) => items.iter().for_each(|inner| references(inner, into)),
        _ => {}
    }
}

/// A schema as OpenAPI v3 has it: nothing stands beside a reference.
fn public(schema: &Value) -> Value {
    match schema {
        Value::Object(fields) => {
            let mut result = Map::new();
            for (key, value) in fields {
                match key.as_str() {
                    "$ref" if fields.len() > 1 => {
                        result.insert("allOf".into(), json!([{"$ref": value}]));
                    }
                    // This server's own notes.
                    "x-always" => {
                        result.insert("default".into(), json!({}));
                    }
                    "x-pointer" => {}
                    _ => {
                        result.insert(key.clone(), public(value));
                    }
                }
            }
            if result.remove("x-kubernetes-int-or-string").is_some() && !result.contains_key("type") {
                result.insert("oneOf".into(), json!([{"type": "string"}, {"type": "number"}]));
            }
            Value::Object(result)
        }
        Value::Array(items) => items.iter().map(public).collect(),
        other => other.clone(),
    }
}

/// The schema of a custom kind, with the metadata that every object has.
fn custom(resources: &Resources, kind: &Kind, version: &str) -> Value {
    let found = resources.admit.schema_of(&kind.group, version, &kind.kind);
    let mut schema = found.unwrap_or_else(|| json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}));
    let metadata = "Standard object's metadata. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata";
    for (name, text) in [("apiVersion", API_VERSION), ("kind", KIND)] {
        schema["properties"][name] = json!({"type": "string", "description": text});
    }
    schema["properties"]["metadata"] =
        json!({"description": metadata, "allOf": [{"$ref": format!("{REF}{OBJECT_META}")}]});
    schema
}

fn list_of(kind: &Kind, name: &str, names: &Value) -> Value {
    let reference = |name: &str| json!([{"$ref": format!("{REF}{name}")}]);
    json!({
        "description": format!("{} is a list of {}", kind.list_kind(), kind.kind),
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": {"type": "string", "description": API_VERSION},
            "items": {
                "type": "array",
                "description": format!("List of {}.", kind.plural),
                "items": {"allOf": reference(name), "default": {}},
            },
            "kind": {"type": "string", "description": KIND},
            "metadata": {"description": "Standard list metadata.", "allOf": reference(LIST_META)},
        },
        "x-kubernetes-group-version-kind": [names],
    })
}

/// The schema as OpenAPI v2 has it: a reference with its description beside it, no alternatives.
pub(super) fn swagger(schema: Value) -> Value {
    match schema {
        Value::Object(fields) => {
            let mut result = Map::new();
            for (key, value) in fields {
                match (key.as_str(), &value) {
                    ("$ref", Value::String(name)) => {
                        result.insert(key, name.replace(REF, "#/definitions/").into());
                    }
                    ("allOf", Value::Array(branches)) if branches.len() == 1 && branches[0].get("$ref").is_some() => {
                        let name = branches[0]["$ref"].as_str().unwrap_or_default();
                        result.insert("$ref".into(), name.replace(REF, "#/definitions/").into());
                    }
                    (
                        "allOf" | "anyOf" | "oneOf" | "not" | "nullable",
                        Value::Array(_) | Value::Object(_) | Value::Bool(_),
                    ) => {}
                    _ => {
                        result.insert(key, swagger(value));
                    }
                }
            }
            Value::Object(result)
        }
        Value::Array(items) => items.into_iter().map(swagger).collect(),
        other => other,
    }
}

fn reversed(group: &str) -> String {
    group.split('.').rev().collect::<Vec<_>>().join(".")
}
