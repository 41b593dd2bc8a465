//! Takes out of an answer what differs from run to run, and says where two answers differ.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Map, Value};

static UID: LazyLock<Regex> =
    LazyLock::new(|| Regex::new("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}").unwrap());
static REVISION: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(?i)((?:resource ?version|current|in object meta)[^:]*: )\d+( \(\d+\))?").unwrap());
static PRECONDITION: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"((?:precondition|record) \()\d+\)").unwrap());
static SCHEME: LazyLock<Regex> = LazyLock::new(|| Regex::new(r#"in scheme "[^"]*""#).unwrap());
/// An object in a message.
static OBJECT: LazyLock<Regex> = LazyLock::new(|| Regex::new(r#"Invalid value: ("\{(?:[^"\\]|\\.)*\}")"#).unwrap());
static AGE: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"^\d+[smhd](\d+[smhd])?$").unwrap());
static TIME: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[^,]*").unwrap()
});
static ADDRESS: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\b10\.96\.\d+\.\d+\b").unwrap());

/// `namespace` is this run's name of the script's namespace, and its name in the recorded answers.
pub fn normal(value: Value, namespace: &(String, String), managed: bool) -> Value {
    match value {
        Value::Object(fields) => {
            let generated = fields.get("generateName").and_then(Value::as_str).map(str::to_owned);
            let column = fields.contains_key("priority") && fields.contains_key("format");
            // The words of a column's description are the field's own documentation.
            let left_out = |key: &str| (key == "managedFields" && !managed) || (key == "description" && column);
            let fields = fields.into_iter().filter(|(key, _)| !left_out(key));
            let mut fields: Map<String, Value> = fields
                .map(|(key, value)| {
                    let value = match (key.as_str(), &value) {
                        ("resourceVersion", Value::String(text)) if !["", "0"].contains(&text.as_str()) => {
                            "<revision>".into()
                        }
                        ("continue", Value::String(text)) if !text.is_empty() => "<continue>".into(),
                        _ => normal(value, namespace, managed),
                    };
                    (key, value)
                })
                .collect();
            if let Some(prefix) = generated
                && let Some(name) = fields.get("name").and_then(Value::as_str)
            {
                let suffix = name.strip_prefix(&prefix).map_or(0, str::len);
                fields.insert("name".into(), format!("{prefix}<{suffix}>").into());
            }
            Value::Object(fields)
        }
        Value::Array(items) => items.into_iter().map(|item| normal(item, namespace, managed)).collect(),
        Value::String(text) if AGE.is_match(&text) => "<age>".into(),
        Value::String(text) => {
            let text = text.replace(&namespace.0, &namespace.1);
            let text = UID.replace_all(&text, "<uid>");
            let text = ADDRESS.replace_all(&text, "<address>");
            let text = TIME.replace_all(&text, "<time>");
            let text = PRECONDITION.replace_all(&text, "${1}<revision>)");
            let text = SCHEME.replace_all(&text, "in scheme <scheme>");
            let text = OBJECT.replace_all(&text, |found: &regex::Captures<'_>| sorted(&found[1]));
            REVISION.replace_all(&text, "${1}<revision>").into_owned().into()
        }
        other => other,
    }
}

/// The same object without the order of its fields, which is that of Go's structs, and without who
/// wrote what of it.
fn sorted(quoted: &str) -> String {
    let object = serde_json::from_str::<String>(quoted).ok().and_then(|text| serde_json::from_str::<Value>(&text).ok());
    let Some(mut object) = object else { return format!("Invalid value: {quoted}") };
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("managedFields");
        metadata.remove("resourceVersion");
    }
    format!("Invalid value: {object}")
}

/// Adds a line for each place where `found` is not as `expected`.
pub fn compare(at: &str, expected: &Value, found: &Value, lines: &mut Vec<String>) {
    match (expected, found) {
        (Value::Object(one), Value::Object(other)) => {
            for (key, value) in one {
                compare(&format!("{at}.{key}"), value, other.get(key).unwrap_or(&Value::Null), lines);
            }
            for (key, value) in other.iter().filter(|(key, _)| !one.contains_key(*key)) {
                lines.push(format!("  {at}.{key}: not expected: {value}"));
            }
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            for (index, (one, other)) in one.iter().zip(other).enumerate() {
                compare(&format!("{at}[{index}]"), one, other, lines);
            }
        }
        _ if expected == found => {}
        _ => lines.push(format!("  {at}:\n    expected {expected}\n    found    {found}")),
    }
}
