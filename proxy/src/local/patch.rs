//! Patches: JSON Patch, merge patch and strategic merge patch.

mod json;
mod strategic;

use serde_json::{Map, Value};

use super::go;
use super::kinds::Kind;
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
}

impl Patch {
    /// Whether the kind takes patches of this content type.
    pub fn check_type(kind: &Kind, content_type: &str) -> Result<(), StatusError> {
        match content_type {
            JSON | MERGE => Ok(()),
            STRATEGIC if kind.typed => Ok(()),
            _ => Err(StatusError::unsupported_patch_type()),
        }
    }

    pub fn is_apply(content_type: &str) -> bool {
        content_type == APPLY
    }

    /// Reads the body as its content type says.
    pub fn parse(content_type: &str, body: &[u8]) -> Self {
        Self(match content_type {
            JSON => json::parse(body).map(Body::Json),
            STRATEGIC => fields(body).map(Body::Strategic).map_err(StatusError::bad_request),
            _ => match fields(body) {
                Ok(Some(fields)) => Ok(Body::Merge(Value::Object(fields))),
                Ok(None) => Err(StatusError::bad_request("Invalid JSON Patch")),
                Err(why) => Err(StatusError::bad_request(format!("error decoding patch: {why}"))),
            },
        })
    }

    pub(super) fn patched(&self, kind: &Kind, mut object: Value) -> Result<Value, StatusError> {
        match &self.0 {
            Err(error) => return Err(error.clone()),
            Ok(Body::Json(operations)) => json::apply(operations, &mut object)?,
            Ok(Body::Merge(patch)) => json_patch::merge(&mut object, patch),
            Ok(Body::Strategic(Some(patch))) => strategic::merge(&kind.kind, &mut object, patch)?,
            Ok(Body::Strategic(None)) => {}
        }
        Ok(object)
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
