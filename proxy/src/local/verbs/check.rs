//! Whether what a client sends is the object that it speaks of.

use serde_json::Value;

use super::{FieldValidation, Target, WriteOptions, name_of};
use crate::local::admit::{Admit, FieldError, FieldErrorKind};
use crate::local::go;
use crate::local::kinds::Kind;
use crate::local::schema::core::Definitions;
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

/// Reads a body as its kind. Returns the paths of unknown fields, which are dropped.
pub(super) fn decode(
    admit: &dyn Admit,
    target: &Target,
    body: &mut Value,
    options: &WriteOptions,
) -> Result<Vec<String>, StatusError> {
    let Target { kind, version, .. } = target;
    let sent = |field: &str| body[field].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let named = sent("kind").unwrap_or_else(|| kind.kind.clone());
    let version = sent("apiVersion")
        .map_or_else(|| version.clone(), |text| text.rsplit('/').next().unwrap_or_default().to_owned());
    read_as(admit, target, body, options).map_err(|why| {
        let prefix = if kind.typed {
            unhandled(&named, &version, &kind.kind)
        } else {
            unhandled(&kind.kind, &target.version, &kind.kind)
        };
        StatusError::bad_request(format!("{prefix}: {why}"))
    })
}

/// Why an object that says to be of another kind is none of this one.
fn other_type(target: &Target, body: &Value) -> Result<(), String> {
    let Target { kind, version, .. } = target;
    let own = kind.api_version(version);
    let sent = |field: &str| body[field].as_str().filter(|text| !text.is_empty());
    let (api_version, named) = (sent("apiVersion").unwrap_or(&own), sent("kind").unwrap_or(&kind.kind));
    if !kind.typed || (api_version == own && named == kind.kind) {
        return Ok(());
    }
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let known = |name: &str| Definitions::get().name(group, version, name).is_some();
    if !known(named) && !named.strip_suffix("List").is_some_and(known) {
        return Err(go::unregistered(named, api_version));
    }
    let package = match kind.group.split('.').next().unwrap_or_default() {
        "" | "events" => "core",
        first => first,
    };
    Err(format!("converting ({version}.{named}) to ({package}.{}): unknown conversion", kind.kind))
}

/// The same, where whoever reads it tells why it cannot be read.
pub(super) fn read_as(
    admit: &dyn Admit,
    target: &Target,
    body: &mut Value,
    options: &WriteOptions,
) -> Result<Vec<String>, String> {
    let Target { kind, version, .. } = target;
    other_type(target, body)?;
    let unknown = admit.decode(&kind.group, version, &kind.kind, body)?;
    strict(&unknown, options)?;
    Ok(unknown)
}

fn strict(unknown: &[String], options: &WriteOptions) -> Result<(), String> {
    if options.validation != FieldValidation::Strict || unknown.is_empty() {
        return Ok(());
    }
    let fields: Vec<String> = unknown.iter().map(|path| format!("unknown field {path:?}")).collect();
    Err(format!("strict decoding error: {}", fields.join(", ")))
}

fn unhandled(sent: &str, version: &str, kind: &str) -> String {
    format!("{sent} in version {version:?} cannot be handled as a {kind}")
}

pub(super) fn refuse_unknown(
    kind: &Kind,
    version: &str,
    unknown: &[String],
    options: &WriteOptions,
) -> Result<(), StatusError> {
    strict(unknown, options)
        .map_err(|why| StatusError::bad_request(format!("{}: {why}", unhandled(&kind.kind, version, &kind.kind))))
}
