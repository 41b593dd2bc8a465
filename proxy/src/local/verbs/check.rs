//! Whether what a client sends is the object that it speaks of.

use serde_json::Value;

use super::name_of;
use crate::local::admit::{FieldError, FieldErrorKind};
use crate::local::kinds::Kind;
use crate::local::status::StatusError;

/// The body's name has to be that of the URL.
pub(super) fn check_name(body: &Value, name: &str) -> Result<(), StatusError> {
    match name_of(body) {
        "" => Err(StatusError::bad_request(format!(
            "the name of the object ({name} based on URL) was undeterminable: name must be provided"
        ))),
        sent if sent != name => Err(StatusError::bad_request(format!(
            "the name of the object ({sent}) does not match the name on the URL ({name})"
        ))),
        _ => Ok(()),
    }
}

/// A patch cannot make another object of it.
pub(super) fn check_uid(kind: &Kind, object: &Value, uid: &Value) -> Result<(), StatusError> {
    let sent = &object["metadata"]["uid"];
    if sent.is_null() || sent == "" || sent == uid {
        return Ok(());
    }
    let error = FieldError {
        field: "metadata.uid".into(),
        kind: FieldErrorKind::Invalid,
        message: format!("Invalid value: {sent}: field is immutable"),
    };
    Err(StatusError::invalid(kind, name_of(object), &[error.clone(), error]))
}
