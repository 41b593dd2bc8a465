//! Patches: JSON Patch, merge patch and strategic merge patch.

mod json;
mod strategic;

use serde_json::Value;

use super::kinds::Kind;
use super::status::StatusError;

/// More operations than a kube-apiserver takes.
const MAX_OPERATIONS: usize = 10_000;
const JSON: &str = "application/json-patch+json";
const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
pub(super) const APPLY: &str = "application/apply-patch+yaml";

/// A patch whose body was understood.
#[derive(Debug)]
pub enum Patch {
    Json(json_patch::Patch),
    Merge(Value),
    Strategic(Value),
}

impl Patch {
    /// Reads the body as its content type says; the kind tells which types it accepts.
    pub fn parse(kind: &Kind, content_type: &str, body: &[u8]) -> Result<Self, StatusError> {
        let undecodable = |error: serde_json::Error| StatusError::bad_request(format!("error decoding patch: {error}"));
        let object = |body: &[u8]| {
            let patch: Value = serde_json::from_slice(body).map_err(undecodable)?;
            if patch.is_object() {
                Ok(patch)
            } else {
                Err(StatusError::bad_request("error decoding patch: it is not an object"))
            }
        };
        match content_type {
            JSON => {
                let patch: json_patch::Patch = serde_json::from_slice(body).map_err(undecodable)?;
                if patch.0.len() > MAX_OPERATIONS {
                    return Err(StatusError::too_large(MAX_OPERATIONS));
                }
                Ok(Self::Json(patch))
            }
            MERGE => object(body).map(Self::Merge),
            STRATEGIC if kind.typed => object(body).map(Self::Strategic),
            APPLY => Err(StatusError::apply_unsupported()),
            _ if kind.typed => Err(StatusError::unsupported_media_type(&[JSON, MERGE, STRATEGIC])),
            _ => Err(StatusError::unsupported_media_type(&[JSON, MERGE])),
        }
    }

    pub(super) fn apply(&self, kind: &Kind, name: &str, mut object: Value) -> Result<Value, StatusError> {
        match self {
            Self::Json(patch) => json::apply(patch, &mut object, &format!("{} {name:?}", kind.resource()))?,
            Self::Merge(patch) => json_patch::merge(&mut object, patch),
            Self::Strategic(patch) => strategic::merge(&kind.kind, &mut object, patch)?,
        }
        Ok(object)
    }
}
