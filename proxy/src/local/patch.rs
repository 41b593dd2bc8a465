//! Patches: JSON Patch, merge patch, strategic merge patch, and what is applied by its fields.

mod json;
mod strategic;

use serde_json::{Map, Value};
use serde_saphyr::DuplicateKeyPolicy;

use super::go;
use super::kinds::Kind;
use super::managed::Shape;
use super::status::StatusError;

/// More operations than a kube-apiserver takes.
const MAX_OPERATIONS: usize = 10_000;
const JSON: &str = "application/json-patch+json";
const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
pub(super) const APPLY: &str = "application/apply-patch+yaml";

/// A patch, or why its body is none: a missing object is told before a broken patch.
#[derive(Debug)]
pub struct Patch(Result<Body, StatusError>);

#[derive(Debug)]
enum Body {
    Json(Vec<json::Operation>),
    Merge(Value),
    /// `None` changes nothing.
    Strategic(Option<Map<String, Value>>),
    Apply(Value),
}

impl Patch {
    /// Whether the kind takes patches of this content type.
    pub fn check_type(kind: &Kind, content_type: &str) -> Result<(), StatusError> {
        match content_type {
            JSON | MERGE | APPLY => Ok(()),
            STRATEGIC if kind.typed => Ok(()),
            _ if kind.typed => Err(StatusError::unsupported_patch_type()),
            _ => Err(StatusError::unsupported_media_type(&[JSON, MERGE, APPLY])),
        }
    }

    pub fn is_apply(content_type: &str) -> bool {
        content_type == APPLY
    }

    /// Reads the body as its content type says.
    pub fn parse(content_type: &str, body: &[u8], strict: bool) -> Self {
        Self(match content_type {
            JSON => json::parse(body).map(Body::Json),
            STRATEGIC => fields(body).map(Body::Strategic).map_err(StatusError::bad_request),
            APPLY => apply(body, strict),
            _ => match fields(body) {
                Ok(Some(fields)) => Ok(Body::Merge(Value::Object(fields))),
                Ok(None) => Err(StatusError::bad_request("Invalid JSON Patch")),
                Err(why) => Err(StatusError::bad_request(format!("error decoding patch: {why}"))),
            },
        })
    }

    /// What is applied by its fields, if this is such a patch.
    pub(super) fn applied(&self) -> Option<&Value> {
        match &self.0 {
            Ok(Body::Apply(config)) => Some(config),
            _ => None,
        }
    }

    pub(super) fn patched(&self, shape: &Shape, mut object: Value) -> Result<Value, StatusError> {
        match &self.0 {
            Err(error) => return Err(error.clone()),
            Ok(Body::Json(operations)) => json::apply(operations, &mut object)?,
            Ok(Body::Merge(patch)) => json_patch::merge(&mut object, patch),
            Ok(Body::Strategic(Some(patch))) => strategic::merge(shape, &mut object, patch)?,
            Ok(Body::Strategic(None) | Body::Apply(_)) => {}
        }
        Ok(object)
    }

    /// What is shown of a patch whose outcome is not accepted.
    pub(super) fn shown(&self, outcome: &Value) -> String {
        match &self.0 {
            Ok(Body::Strategic(patch)) => go::shown(&Value::Object(patch.clone().unwrap_or_default())),
            _ => outcome.to_string(),
        }
    }
}

/// The fields of a patch that is an object; `null` is none.
fn fields(body: &[u8]) -> Result<Option<Map<String, Value>>, String> {
    match serde_json::from_slice(body).map_err(|error| go::json_error(body, &error))? {
        Value::Object(fields) => Ok(Some(fields)),
        Value::Null => Ok(None),
        other => Err(format!(
            "json: cannot unmarshal {} into Go value of type map[string]interface {{}}",
            go::json_type(&other)
        )),
    }
}

fn apply(body: &[u8], strict: bool) -> Result<Body, StatusError> {
    let read = |duplicate_keys| {
        let options = serde_saphyr::options! { with_snippet: false, duplicate_keys: duplicate_keys };
        serde_saphyr::from_slice_with_options::<Option<Value>>(body, options)
    };
    let undecodable = |why: String| StatusError::bad_request(format!("error decoding YAML: {why}"));
    let config = read(DuplicateKeyPolicy::LastWins)
        .map_err(|error| undecodable(format!("error converting YAML to JSON: yaml: {error}")))?
        .unwrap_or_default();
    if strict && let Err(serde_saphyr::Error::DuplicateMappingKey { key, location }) = read(DuplicateKeyPolicy::Error) {
        let key = key.map(|key| go::quoted(&key)).unwrap_or_default();
        return Err(StatusError::bad_request(format!(
            "error strict decoding YAML: error converting YAML to JSON: yaml: unmarshal errors:\n  line {}: key {key} already set in map",
            location.line()
        )));
    }
    match config {
        Value::Null => Ok(Body::Apply(Value::Object(Map::new()))),
        Value::Object(_) => Ok(Body::Apply(config)),
        other => Err(undecodable(format!(
            "error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {} into Go value of type map[string]interface {{}}",
            go::json_type(&other)
        ))),
    }
}
