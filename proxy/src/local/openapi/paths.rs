//! The operations that each kind has.

use serde_json::{Map, Value, json};

use super::root;
use crate::local::kinds::Kind;
use crate::local::schema::core::REF;

const PATCHES: [&str; 4] = [
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
];

pub(super) fn add(kind: &Kind, version: &str, schema: &str, paths: &mut Map<String, Value>) {
    let prefix = root(&kind.group, version);
    let namespace = if kind.namespaced { "/namespaces/{namespace}" } else { "" };
    let collection = format!("/{prefix}{namespace}/{}", kind.plural);
    let operations = Operations { kind, version, schema };
    let place = if kind.namespaced { json!([in_path("namespace")]) } else { json!([]) };
    let mut many = json!({"post": operations.one("post", "create", true), "parameters": place});
    if !kind.ephemeral {
        many["get"] = operations.one("list", "list", false);
        many["delete"] = operations.one("deletecollection", "delete collection of", false);
        let mut item = place;
        if let Some(parameters) = item.as_array_mut() {
            parameters.insert(0, in_path("name"));
        }
        let one = |below: &str| {
            let mut path = json!({
                "get": operations.one("get", "read", false), "put": operations.one("put", "replace", true),
                "patch": operations.one("patch", "partially update", true), "parameters": item,
            });
            if below.is_empty() {
                path["delete"] = operations.one("delete", "delete", false);
            }
            path
        };
        paths.insert(format!("{collection}/{{name}}"), one(""));
        if kind.has_status {
            paths.insert(format!("{collection}/{{name}}/status"), one("status"));
        }
        if kind.namespaced {
            let all = json!({"get": operations.one("list", "list", false)});
            paths.insert(format!("/{prefix}/{}", kind.plural), all);
        }
    }
    paths.insert(collection, many);
}

fn in_path(name: &str) -> Value {
    json!({"name": name, "in": "path", "required": true, "schema": {"type": "string", "uniqueItems": true}})
}

struct Operations<'a> {
    kind: &'a Kind,
    version: &'a str,
    schema: &'a str,
}

impl Operations<'_> {
    fn one(&self, action: &str, words: &str, writes: bool) -> Value {
        let kind = self.kind;
        let list = action == "list";
        let name = if list { format!("{}List", self.schema) } else { self.schema.to_owned() };
        let answer = match action {
            "delete" | "deletecollection" => "io.k8s.apimachinery.pkg.apis.meta.v1.Status".to_owned(),
            _ => name,
        };
        let content = json!({"application/json": {"schema": {"$ref": format!("{REF}{answer}")}}});
        let query =
            |name: &str| json!({"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": true}});
        let mut parameters: Vec<Value> = match action {
            "get" => Vec::new(),
            "list" | "deletecollection" => [
                "continue",
                "fieldSelector",
                "labelSelector",
                "limit",
                "resourceVersion",
                "resourceVersionMatch",
                "timeoutSeconds",
                "watch",
            ]
            .map(query)
            .to_vec(),
            "delete" => ["dryRun", "gracePeriodSeconds", "propagationPolicy"].map(query).to_vec(),
            _ => ["dryRun", "fieldManager", "fieldValidation"].map(query).to_vec(),
        };
        if action == "patch" {
            parameters.push(query("force"));
        }
        let mut operation = json!({
            "description": format!("{words} {}", kind.kind),
            "operationId": format!("{}{}{}", action, self.version, kind.kind),
            "tags": [kind.group],
            "parameters": parameters,
            "responses": {"200": {"description": "OK", "content": content}, "401": {"description": "Unauthorized"}},
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": {"group": kind.group, "version": self.version, "kind": kind.kind},
        });
        if writes {
            let body = if action == "patch" {
                let of = |content: &&&str| kind.typed || !content.contains("strategic");
                let schema = json!({"schema": {"type": "object"}});
                PATCHES.iter().filter(of).map(|content| ((*content).to_owned(), schema.clone())).collect::<Map<_, _>>()
            } else {
                Map::from_iter([("*/*".to_owned(), json!({"schema": {"$ref": format!("{REF}{}", self.schema)}}))])
            };
            operation["requestBody"] = json!({"content": body, "required": true});
        }
        operation
    }
}

/// The operations of a path as OpenAPI v2 writes them.
pub(super) fn swagger(path: Value) -> Value {
    let Value::Object(path) = path else { return path };
    let parameter = |parameter: &Value| {
        json!({"name": parameter["name"], "in": parameter["in"], "type": "string", "uniqueItems": true,
               "required": parameter["required"] == true})
    };
    let each = path.into_iter().map(|(method, mut operation)| {
        if let Some(parameters) = operation.as_array() {
            return (method, parameters.iter().map(parameter).collect());
        }
        let own = operation["parameters"].as_array().map_or(&[][..], Vec::as_slice);
        let mut parameters: Vec<Value> = own.iter().map(parameter).collect();
        let body = operation.as_object_mut().and_then(|operation| operation.remove("requestBody"));
        if let Some(body) = body {
            let content = body["content"].as_object().cloned().unwrap_or_default();
            let schema = content.values().next().map_or(Value::Null, |content| content["schema"].clone());
            parameters.insert(
                0,
                json!({"name": "body", "in": "body", "required": true, "schema": super::document::swagger(schema)}),
            );
            operation["consumes"] = content.keys().cloned().collect();
        }
        operation["parameters"] = parameters.into();
        let answer = operation["responses"]["200"]["content"]["application/json"]["schema"].take();
        operation["responses"]["200"] = json!({"description": "OK", "schema": super::document::swagger(answer)});
        operation["produces"] = json!(["application/json", "application/yaml"]);
        operation["schemes"] = json!(["https"]);
        (method, operation)
    });
    Value::Object(each.collect())
}
