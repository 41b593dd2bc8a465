//! Bodies that are objects: JSON and YAML as a kube-apiserver reads them.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use serde_saphyr::DuplicateKeyPolicy;

use super::super::status::StatusError;
use super::super::{go, proto};

/// How much of a body an error shows.
const SHOWN: usize = 30;

/// What a kube-apiserver reads first of a body.
const TYPE_META: &str =
    r#"struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }"#;

/// An object, and what was said twice in it; the last one counts.
#[derive(Debug, Default)]
pub(in crate::local) struct Decoded {
    pub(in crate::local) value: Value,
    pub(in crate::local) duplicates: Vec<String>,
}

/// `kind` is what the object has to be.
pub(in crate::local) fn decode(content_type: &str, kind: &str, body: &[u8]) -> Result<Decoded, StatusError> {
    match content_type {
        "" | "application/json" => json(kind, body),
        "application/yaml" | "application/x-yaml" => yaml(kind, body),
        proto::CONTENT_TYPE => proto::decode(body).map(|value| Decoded { value, duplicates: Vec::new() }),
        _ => Err(StatusError::unsupported_media_type(&["application/json", "application/yaml", proto::CONTENT_TYPE])),
    }
}

fn unrecognized(kind: &str, why: &str, body: &[u8]) -> StatusError {
    let start = &body[..body.len().min(SHOWN)];
    let mut shown = match start {
        [] => "<empty>".to_owned(),
        [b'{', ..] => String::from_utf8_lossy(start).into_owned(),
        _ => start.iter().map(|byte| format!("{byte:02x}")).collect(),
    };
    if body.len() > SHOWN {
        shown.push_str(" ...");
    }
    StatusError::bad_request(format!(
        "the object provided is unrecognized (must be of type {kind}): couldn't get version/kind; {why} ({shown})"
    ))
}

fn json(kind: &str, body: &[u8]) -> Result<Decoded, StatusError> {
    let mut duplicates = Vec::new();
    // Bytes that are no UTF-8 become U+FFFD.
    let text: Cow<'_, str> = String::from_utf8_lossy(body);
    let mut reader = serde_json::Deserializer::from_str(&text);
    let value = Node { path: String::new(), duplicates: &mut duplicates }.deserialize(&mut reader);
    let value = value.and_then(|value| reader.end().map(|()| value)).map_err(|error| {
        unrecognized(kind, &format!("json parse error: {}", go::json_error(text.as_bytes(), &error)), body)
    })?;
    let what = match &value {
        Value::Object(_) | Value::Null => {
            let duplicates = duplicates.into_iter().map(|path| format!("duplicate field {path:?}")).collect();
            return Ok(Decoded { value, duplicates });
        }
        other => go::json_type(other),
    };
    let why = format!("json parse error: json: cannot unmarshal {what} into Go value of type {TYPE_META}");
    Err(unrecognized(kind, &why, body))
}

fn yaml(kind: &str, body: &[u8]) -> Result<Decoded, StatusError> {
    let text = String::from_utf8_lossy(body);
    let options = serde_saphyr::options! { with_snippet: false };
    let first = match serde_saphyr::from_str_with_options::<Value>(&text, options) {
        Ok(value) => return Ok(Decoded { value, duplicates: Vec::new() }),
        Err(error) => error,
    };
    let options = serde_saphyr::options! { with_snippet: false, duplicate_keys: DuplicateKeyPolicy::LastWins };
    match serde_saphyr::from_str_with_options::<Value>(&text, options) {
        Ok(value) => {
            let line = first.location().map_or(0, |location| location.line());
            let start = usize::try_from(line).unwrap_or(usize::MAX).saturating_sub(1);
            let key = text.lines().nth(start).and_then(|line| line.split(':').next()).unwrap_or_default();
            let key = key.trim_start_matches([' ', '-', '{']).trim().trim_matches(['"', '\'']);
            Ok(Decoded { value, duplicates: vec![format!("line {line}: key {key:?} already set in map")] })
        }
        Err(error) => Err(unrecognized(kind, &format!("yaml: {}", error.without_snippet()), body)),
    }
}

/// A value being read, and where it stands.
struct Node<'a> {
    path: String,
    duplicates: &'a mut Vec<String>,
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut all = Vec::new();
        loop {
            let path = format!("{}[{}]", self.path, all.len());
            match items.next_element_seed(Node { path, duplicates: &mut *self.duplicates })? {
                Some(item) => all.push(item),
                None => return Ok(Value::Array(all)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut all = Map::new();
        while let Some(field) = fields.next_key::<String>()? {
            let path = if self.path.is_empty() { field.clone() } else { format!("{}.{field}", self.path) };
            if all.contains_key(&field) {
                self.duplicates.push(path.clone());
            }
            let value = fields.next_value_seed(Node { path, duplicates: &mut *self.duplicates })?;
            all.insert(field, value);
        }
        Ok(Value::Object(all))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_is_read_as_serde_json_reads_it_and_repetitions_are_found() {
        let text = r#"{"a": {"b": 1, "b": [true, {"c": null, "c": -2.5}]}, "d": "x", "d": 18446744073709551615}"#;
        let read = decode("application/json", "Pod", text.as_bytes()).unwrap();
        assert_eq!(read.value, serde_json::from_str::<Value>(text).unwrap());
        let paths = ["a.b", "a.b[1].c", "d"].map(|path| format!("duplicate field {path:?}"));
        assert_eq!(read.duplicates, paths);
    }

    #[test]
    fn yaml_says_twice_too() {
        let read = decode("application/yaml", "Pod", b"a:\n  b: 1\n  b: 2\n").unwrap();
        assert_eq!(
            (read.value, read.duplicates),
            (json!({"a": {"b": 2}}), vec![r#"line 3: key "b" already set in map"#.into()])
        );
    }

    #[test]
    fn errors_show_the_start_of_the_body() {
        let said = |body: &str| decode("", "ConfigMap", body.as_bytes()).unwrap_err().message().to_owned();
        let prefix = "the object provided is unrecognized (must be of type ConfigMap): couldn't get version/kind; json parse error: ";
        assert_eq!(said(""), format!("{prefix}unexpected end of JSON input (<empty>)"));
        assert!(said("not json").ends_with(" (6e6f74206a736f6e)"), "{}", said("not json"));
        assert!(
            said(&format!("{{\"apiVersion\":\"v1\",\"kind\":\"Con{}", "x".repeat(9)))
                .ends_with("({\"apiVersion\":\"v1\",\"kind\":\"Con ...)")
        );
    }
}
