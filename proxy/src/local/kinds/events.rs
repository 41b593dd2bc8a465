//! Events: one store, shown by two groups, each with its own names for the same fields.

use serde_json::{Map, Value, json};

use super::{Kind, Rules, View};
use crate::local::admit::{FieldError, FieldErrorKind};
use crate::local::status::StatusError;
use crate::local::store::Txn;

/// The name in `v1`, and the name in `events.k8s.io/v1`.
const NAMES: [(&str, &str); 7] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("reportingComponent", "reportingController"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
];

/// The Event of `events.k8s.io`.
pub(super) fn view() -> View {
    View { stored: ("", "events"), show, keep }
}

fn renamed(object: &Value, name: impl Fn(&str) -> Option<&'static str>) -> Map<String, Value> {
    let fields = object.as_object().into_iter().flatten();
    fields.map(|(key, value)| (name(key).map_or_else(|| key.clone(), str::to_owned), value.clone())).collect()
}

fn is_nothing(value: &Value) -> bool {
    value.is_null() || *value == "" || value.as_object().is_some_and(Map::is_empty)
}

fn show(object: &Value) -> Value {
    let mut shown = renamed(object, |key| NAMES.iter().find(|(core, _)| *core == key).map(|(_, new)| *new));
    shown.retain(|key, value| key == "eventTime" || !is_nothing(value));
    shown.entry("eventTime").or_insert(Value::Null);
    for field in ["deprecatedSource", "regarding"] {
        shown.entry(field).or_insert_with(|| json!({}));
    }
    Value::Object(shown)
}

fn keep(object: Value) -> Value {
    let mut kept = renamed(&object, |key| NAMES.iter().find(|(_, new)| *new == key).map(|(core, _)| *core));
    kept.insert("apiVersion".into(), "v1".into());
    kept.insert("kind".into(), "Event".into());
    Value::Object(kept)
}

pub(super) struct Events;

impl Rules for Events {
    fn prepare(
        &self,
        kind: &Kind,
        _txn: &Txn<'_>,
        object: &mut Value,
        old: Option<&Value>,
    ) -> Result<Vec<FieldError>, StatusError> {
        let Some(fields) = object.as_object_mut() else { return Ok(Vec::new()) };
        fields.entry("source").or_insert_with(|| json!({}));
        for field in ["eventTime", "firstTimestamp", "lastTimestamp"] {
            fields.entry(field).or_insert(Value::Null);
        }
        for field in ["reportingComponent", "reportingInstance"] {
            fields.entry(field).or_insert_with(|| "".into());
        }
        Ok(problems(kind, object, old))
    }
}

fn problems(kind: &Kind, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    use FieldErrorKind::{Invalid, Required};
    let mut errors = Vec::new();
    let mut push = |field: &str, kind, message: String| errors.push(FieldError { field: field.into(), kind, message });
    let text = |at: &str| object.pointer(at).and_then(Value::as_str).unwrap_or_default();
    let (involved, namespace) = (text("/involvedObject/namespace"), text("/metadata/namespace"));
    let legacy = if involved.is_empty() { namespace == "default" } else { involved == namespace };
    if !legacy {
        let message = format!("Invalid value: {involved:?}: does not match event.namespace");
        push("involvedObject.namespace", Invalid, message);
    }
    // The old group takes what old clients send; the new one, and series, have to be complete.
    let complete = kind.view.is_some() || !text("/eventTime").is_empty();
    if !complete || old.is_some() {
        return errors;
    }
    if text("/eventTime").is_empty() {
        push("eventTime", Required, "Required value".into());
    }
    let kind_of = text("/type");
    if !["Normal", "Warning"].contains(&kind_of) {
        push("type", Invalid, format!("Invalid value: {kind_of:?}: has invalid value: {kind_of}"));
    }
    errors
}
