//! Definitions that name one another, as one schema that names nothing.

use serde_json::{Map, Value, json};

use super::core::{Definitions, REF};
use super::facts::{ALWAYS, POINTER};

/// The self-contained schema of a definition. What contains itself is left open at that point.
pub(super) fn inline(definitions: &Definitions, name: &str) -> Option<Value> {
    let mut within = Vec::new();
    definition(definitions, name, &mut within)
}

fn definition(definitions: &Definitions, name: &str, within: &mut Vec<String>) -> Option<Value> {
    let found = definitions.all.get(name)?;
    if within.iter().any(|outer| outer == name) {
        return Some(json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}));
    }
    within.push(name.to_owned());
    let schema = resolve(definitions, found, within);
    within.pop();
    Some(schema)
}

fn resolve(definitions: &Definitions, schema: &Value, within: &mut Vec<String>) -> Value {
    let Value::Object(fields) = schema else { return json!({"x-kubernetes-preserve-unknown-fields": true}) };
    let mut result = Map::new();
    if let Some(name) = fields.get("$ref").and_then(Value::as_str)
        && let Some(Value::Object(inner)) = definition(definitions, name.trim_start_matches(REF), within)
    {
        result = inner;
    }
    for (key, value) in fields {
        match (key.as_str(), value) {
            ("$ref" | "description" | ALWAYS | POINTER, _) => continue,
            ("properties", Value::Object(properties)) => {
                let each = |(name, inner): (&String, &Value)| (name.clone(), resolve(definitions, inner, within));
                result.insert(key.clone(), properties.iter().map(each).collect::<Map<_, _>>().into());
            }
            ("items" | "additionalProperties", Value::Object(_)) => {
                result.insert(key.clone(), resolve(definitions, value, within));
            }
            _ => {
                result.insert(key.clone(), value.clone());
            }
        }
    }
    if !result.contains_key("type") && !result.contains_key("x-kubernetes-int-or-string") {
        result.insert("x-kubernetes-preserve-unknown-fields".into(), true.into());
    }
    Value::Object(result)
}
