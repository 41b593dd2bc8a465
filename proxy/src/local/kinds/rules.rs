//! What single kinds do beyond being stored.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{Kind, Registry, Rules};
use crate::local::admit::{FieldError, FieldErrorKind};
use crate::local::status::StatusError;
use crate::local::store::{Key, Txn};
use crate::local::verbs;

/// Nothing beyond being stored.
pub(super) struct Plain;

impl Rules for Plain {}

/// Namespaces which exist from the start and cannot be deleted.
const PERMANENT: [&str; 3] = ["default", "kube-system", "kube-public"];

pub(super) struct Namespaces;

impl Rules for Namespaces {
    fn prepare(
        &self,
        _kind: &Kind,
        _txn: &Txn<'_>,
        object: &mut Value,
        old: Option<&Value>,
    ) -> Result<Vec<FieldError>, StatusError> {
        let name = object["metadata"]["name"].clone();
        entry(&mut object["metadata"], "labels").insert("kubernetes.io/metadata.name".into(), name);
        if old.is_none() {
            entry(object, "spec").insert("finalizers".into(), json!(["kubernetes"]));
            entry(object, "status").insert("phase".into(), "Active".into());
        }
        Ok(Vec::new())
    }

    /// Removes what the namespace holds; objects with finalizers keep it alive until they go.
    fn delete(
        &self,
        txn: &mut Txn<'_>,
        registry: &Registry,
        key: &Key,
        object: &Value,
    ) -> Result<Option<Arc<Value>>, StatusError> {
        if PERMANENT.contains(&key.name.as_str()) {
            let name = &key.name;
            let why = format!("namespaces \"{name}\" is forbidden: this namespace may not be deleted");
            return Err(StatusError::forbidden(why).naming("namespaces", name));
        }
        let mut terminating = object.clone();
        if terminating["metadata"]["deletionTimestamp"].is_null() {
            terminating["metadata"]["deletionTimestamp"] = verbs::now().into();
        }
        entry(&mut terminating, "status").insert("phase".into(), "Terminating".into());
        let terminating = txn.put(key.clone(), terminating);
        for (content, _) in txn.in_namespace(&key.name) {
            verbs::remove_content(txn, registry, &content)?;
        }
        if txn.is_empty(&key.name) {
            txn.remove(key);
        }
        Ok(Some(terminating))
    }
}

pub(super) struct Secrets;

impl Rules for Secrets {
    fn prepare(
        &self,
        _kind: &Kind,
        _txn: &Txn<'_>,
        object: &mut Value,
        old: Option<&Value>,
    ) -> Result<Vec<FieldError>, StatusError> {
        let Some(fields) = object.as_object_mut() else { return Ok(Vec::new()) };
        if let Some(broken) = fields.get("data").and_then(broken_base64) {
            return Err(StatusError::bad_request(format!(
                "Secret in version \"v1\" cannot be handled as a Secret: illegal base64 data at input byte {broken}"
            )));
        }
        fields.entry("type").or_insert_with(|| "Opaque".into());
        if let Some(Value::Object(plain)) = fields.remove("stringData") {
            let data = entry(object, "data");
            for (name, text) in plain {
                let text = text.as_str().unwrap_or_default();
                let bytes = k8s_openapi::ByteString(text.as_bytes().to_vec());
                data.insert(name, serde_json::to_value(bytes).map_err(StatusError::internal)?);
            }
        }
        let mut errors = required_keys(object);
        errors.extend(data_keys(object));
        errors.extend(fixed(object, old, &["data", "stringData"]));
        if old.is_some_and(|old| old["type"] != object["type"]) {
            let message = format!("Invalid value: {}: field is immutable", object["type"]);
            errors.push(error("type", FieldErrorKind::Invalid, message));
        }
        Ok(errors)
    }
}

/// Where the first value that is not base64 stops being it.
fn broken_base64(data: &Value) -> Option<usize> {
    data.as_object()?.values().filter_map(Value::as_str).find_map(|text| {
        let bytes = text.as_bytes();
        let digits =
            bytes.iter().position(|c| !(c.is_ascii_alphanumeric() || b"+/".contains(c))).unwrap_or(bytes.len());
        let padding = bytes.len() - digits;
        let sound = bytes.len() % 4 == 0 && padding <= 2 && bytes[digits..].iter().all(|&c| c == b'=');
        (!sound).then_some(digits)
    })
}

/// The entries that a Secret's type asks for.
fn required_keys(object: &Value) -> Vec<FieldError> {
    let keys: &[&str] = match text(&object["type"]) {
        "kubernetes.io/tls" => &["tls.crt", "tls.key"],
        "kubernetes.io/dockerconfigjson" => &[".dockerconfigjson"],
        "kubernetes.io/dockercfg" => &[".dockercfg"],
        "kubernetes.io/ssh-auth" => &["ssh-privatekey"],
        _ => &[],
    };
    let missing = keys.iter().filter(|key| object["data"][**key].is_null());
    missing.map(|key| error(&format!("data[{key}]"), FieldErrorKind::Required, "Required value")).collect()
}

pub(super) const DATA_KEY: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";

fn data_keys(object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for field in ["data", "binaryData"] {
        for key in object[field].as_object().into_iter().flatten().map(|(key, _)| key) {
            let at = format!("{field}[{key}]");
            if key.is_empty() || !key.bytes().all(|c| c.is_ascii_alphanumeric() || b"-_.".contains(&c)) {
                errors.push(error(&at, FieldErrorKind::Invalid, format!("Invalid value: {key:?}: {DATA_KEY}")));
            } else if key.len() > 253 {
                errors.push(error(
                    &at,
                    FieldErrorKind::Invalid,
                    format!("Invalid value: {key:?}: must be no more than 253 characters"),
                ));
            }
        }
    }
    errors
}

/// What an object that calls itself immutable may not change any more.
fn fixed(object: &Value, old: Option<&Value>, fields: &[&str]) -> Vec<FieldError> {
    let Some(old) = old.filter(|old| old["immutable"] == true) else { return Vec::new() };
    let forbidden = |field: &str| {
        let message = "Forbidden: field is immutable when `immutable` is set";
        error(field, FieldErrorKind::Forbidden, message)
    };
    let released = (object["immutable"] != true).then(|| forbidden("immutable"));
    let changed = fields.iter().filter(|field| object[**field] != old[**field]).map(|field| forbidden(field));
    released.into_iter().chain(changed).collect()
}

pub(super) struct ConfigMaps;

impl Rules for ConfigMaps {
    fn prepare(
        &self,
        _kind: &Kind,
        _txn: &Txn<'_>,
        object: &mut Value,
        old: Option<&Value>,
    ) -> Result<Vec<FieldError>, StatusError> {
        let mut errors = data_keys(object);
        errors.extend(fixed(object, old, &["data", "binaryData"]));
        Ok(errors)
    }
}

/// The one token may do everything: reviews say so.
pub(super) struct Reviews;

impl Rules for Reviews {
    fn prepare(
        &self,
        kind: &Kind,
        _txn: &Txn<'_>,
        object: &mut Value,
        _old: Option<&Value>,
    ) -> Result<Vec<FieldError>, StatusError> {
        object["status"] = match kind.kind.as_str() {
            "SelfSubjectRulesReview" => json!({
                "incomplete": false,
                "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
                "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
            }),
            "SelfSubjectReview" => {
                json!({"userInfo": {"username": "admin", "groups": ["system:masters", "system:authenticated"]}})
            }
            _ => json!({"allowed": true}),
        };
        Ok(Vec::new())
    }
}

pub(super) fn error(field: &str, kind: FieldErrorKind, message: impl Into<String>) -> FieldError {
    FieldError { field: field.into(), kind, message: message.into() }
}

pub(super) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The object at `field`, made when it is missing or something else.
pub(super) fn entry<'a>(object: &'a mut Value, field: &str) -> &'a mut Map<String, Value> {
    if !object.is_object() {
        *object = json!({});
    }
    let value = &mut object[field];
    if !value.is_object() {
        *value = json!({});
    }
    match value {
        Value::Object(map) => map,
        _ => unreachable!("made an object above"),
    }
}
