//! YAML of made objects: plain, in one order, with a comment that says where each came from.

use serde_json::{Map, Value};

use super::convert::Made;

/// Fields that people look for first.
const FIRST: [&str; 12] = [
    "apiVersion",
    "kind",
    "metadata",
    "name",
    "namespace",
    "type",
    "group",
    "port",
    "parentRefs",
    "hostnames",
    "gatewayClassName",
    "matches",
];

pub fn documents(objects: &[Made]) -> String {
    objects.iter().map(|made| format!("---\n{}", document(made))).collect()
}

pub fn document(made: &Made) -> String {
    let mut text: String = made.from.iter().map(|from| format!("# from {from}\n")).collect();
    if let Value::Object(fields) = &made.value {
        map(fields, 0, &mut text);
    }
    text
}

/// Any object as YAML, in the same order.
pub fn yaml(value: &Value) -> String {
    let mut text = String::new();
    if let Value::Object(fields) = value {
        map(fields, 0, &mut text);
    }
    text
}

fn ordered(fields: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let mut all: Vec<_> = fields.iter().collect();
    all.sort_by_key(|(name, _)| (FIRST.iter().position(|first| first == name).unwrap_or(FIRST.len()), (*name).clone()));
    all
}

fn map(fields: &Map<String, Value>, depth: usize, text: &mut String) {
    for (name, value) in ordered(fields) {
        text.push_str(&"  ".repeat(depth));
        text.push_str(&scalar(name));
        text.push(':');
        under(value, depth, text);
    }
}

/// What stands after a field's colon.
fn under(value: &Value, depth: usize, text: &mut String) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            text.push('\n');
            map(fields, depth + 1, text);
        }
        Value::Array(items) if !items.is_empty() => {
            text.push('\n');
            for item in items {
                let indent = "  ".repeat(depth);
                match item {
                    Value::Object(fields) if !fields.is_empty() => {
                        let mut inner = String::new();
                        map(fields, depth + 1, &mut inner);
                        // The first field stands behind the dash.
                        text.push_str(&format!("{indent}- {}", inner.trim_start_matches(' ')));
                    }
                    other => text.push_str(&format!("{indent}- {}\n", plain(other))),
                }
            }
        }
        other => text.push_str(&format!(" {}\n", plain(other))),
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => scalar(text),
        other => other.to_string(),
    }
}

/// Text as it is where no reader could take it for anything else, in quotes otherwise.
fn scalar(text: &str) -> String {
    let first = |c: char| c.is_ascii_alphabetic() || c == '/';
    let inner = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    let words = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    let safe =
        text.starts_with(first) && text.chars().all(inner) && !words.contains(&text.to_ascii_lowercase().as_str());
    if safe { text.to_owned() } else { Value::from(text).to_string() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reads_back_as_what_was_written() {
        let value = json!({"kind": "A", "metadata": {"name": "x", "annotations": {"a.b/c": "yes", "n": "1"}}, "spec": {
            "list": [{"type": "T", "deep": {"n": 1, "text": "*"}}, "true", 2, {}, []], "empty": {}, "none": []}});
        let text = document(&Made { value: value.clone(), from: vec!["a.yaml:1 Ingress x/y".to_owned()] });
        assert_eq!(serde_saphyr::from_str::<Value>(&text).ok(), Some(value), "{text}");
        assert!(text.starts_with("# from a.yaml:1 Ingress x/y\nkind: A\nmetadata:\n  name: x\n"), "{text}");
    }
}
