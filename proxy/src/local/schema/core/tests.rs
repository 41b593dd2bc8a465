use serde_json::json;

use super::super::super::admit::Admit;
use super::super::tests::SCHEMAS;
use super::*;

fn schema(group: &str, kind: &str) -> Value {
    Admit::schema(&*SCHEMAS, group, kind).unwrap()
}

/// Calls `look` with every schema below, and its path.
fn walk(schema: &Value, path: &str, look: &mut dyn FnMut(&str, &Value)) {
    look(path, schema);
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        walk(inner, &format!("{path}.{name}"), look);
    }
    for key in ["items", "additionalProperties"] {
        if schema[key].is_object() {
            walk(&schema[key], &format!("{path}.{key}"), look);
        }
    }
}

#[test]
fn every_core_kind_has_a_structural_schema_that_names_no_other() {
    for (group, _, kind, _) in KINDS {
        let schema = schema(group, kind);
        assert!(schema["properties"]["metadata"]["properties"]["ownerReferences"].is_object(), "{group} {kind}");
        walk(&schema, kind, &mut |path, schema| {
            for word in ["$ref", "x-always", "x-pointer", "allOf"] {
                assert!(schema.get(word).is_none(), "{path} has {word}");
            }
            let open = ["x-kubernetes-int-or-string", "x-kubernetes-preserve-unknown-fields"];
            let shaped = schema.get("type").is_some() || open.iter().any(|word| schema[word] == true);
            assert!(shaped, "{path}: {schema}");
            if schema["x-kubernetes-list-type"] == "map" {
                for key in schema["x-kubernetes-list-map-keys"].as_array().unwrap() {
                    assert!(schema["items"]["properties"].get(key.as_str().unwrap()).is_some(), "{path} {key}");
                }
            }
        });
    }
}

#[test]
fn lists_merge_as_the_core_kinds_say() {
    let deployment = schema("apps", "Deployment");
    let spec = &deployment["properties"]["spec"]["properties"];
    let pod = &spec["template"]["properties"]["spec"]["properties"];
    assert_eq!(pod["containers"]["x-kubernetes-list-map-keys"], json!(["name"]));
    let ports = &pod["containers"]["items"]["properties"]["ports"];
    assert_eq!(ports["x-kubernetes-list-map-keys"], json!(["containerPort", "protocol"]));
    assert_eq!(ports["x-kubernetes-patch-merge-key"], "containerPort");
    assert_eq!(ports["items"]["properties"]["protocol"]["default"], "TCP");
    assert_eq!(pod["volumes"]["x-kubernetes-patch-strategy"], "merge,retainKeys");
    assert_eq!(spec["strategy"]["x-kubernetes-patch-strategy"], "retainKeys");
    assert_eq!(spec["selector"]["x-kubernetes-map-type"], "atomic");
    let service = schema("", "Service");
    assert_eq!(
        service["properties"]["spec"]["properties"]["ports"]["x-kubernetes-list-map-keys"],
        json!(["port", "protocol"])
    );
    let route = schema("gateway.networking.k8s.io", "HTTPRoute");
    assert_eq!(route["properties"]["metadata"]["properties"]["finalizers"]["x-kubernetes-list-type"], "set");
}

#[test]
fn every_fact_speaks_of_a_field_that_there_is() {
    let definitions = Definitions::get();
    for line in facts::FACTS.lines().filter(|line| !line.is_empty()) {
        let (name, words) = line.split_once(' ').unwrap();
        let name = name.strip_prefix('/').map_or_else(|| format!("io.k8s.api.{name}"), |name| format!("io.k8s.{name}"));
        let definition = definitions.all.get(&name).unwrap_or_else(|| panic!("{name}"));
        for word in words.split(' ').filter(|word| *word != "*") {
            let field = facts::field_of(word).0;
            assert!(definition["properties"].get(field).is_some(), "{name} has no {field}");
        }
    }
}
