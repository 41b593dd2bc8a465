//! An object on its way into the store and out of it: what the server adds, keeps and takes away.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use super::check::refuse_unknown;
use super::{DeleteOptions, Target, WriteOptions};
use crate::local::admit::{Admit, FieldError, FieldErrorKind};
use crate::local::kinds::Kind;
use crate::local::limits;
use crate::local::status::StatusError;
use crate::local::store::{Key, Txn};

/// Now, as Kubernetes writes times: RFC 3339 in whole seconds.
pub(in crate::local) fn now() -> String {
    let now = jiff::Timestamp::now();
    jiff::Timestamp::from_second(now.as_second()).unwrap_or(now).to_string()
}

/// The time so many seconds from now.
pub(super) fn in_seconds(seconds: u64) -> String {
    let then = jiff::Timestamp::now().as_second().saturating_add(i64::try_from(seconds).unwrap_or(i64::MAX));
    jiff::Timestamp::from_second(then).map_or_else(|_| now(), |then| then.to_string())
}

/// The object as the kind shows it, in the version that was asked for.
pub(in crate::local) fn as_version(object: &Value, kind: &Kind, version: &str) -> Value {
    let mut object = match &kind.view {
        Some(view) => (view.show)(object),
        None => object.clone(),
    };
    object["apiVersion"] = kind.api_version(version).into();
    object
}

/// The object as it is stored but for its version: the opposite of [`as_version`].
fn kept(kind: &Kind, version: &str, mut object: Value) -> Value {
    if let Some(view) = &kind.view {
        return (view.keep)(object);
    }
    object["apiVersion"] = kind.api_version(version).into();
    object["kind"] = kind.kind.as_str().into();
    object
}

pub(super) fn name_of(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

pub(super) fn without(object: &mut Value, field: &str) {
    if let Some(object) = object.as_object_mut() {
        object.remove(field);
    }
}

pub(super) fn is_held(object: &Value) -> bool {
    object["metadata"]["finalizers"].as_array().is_some_and(|finalizers| !finalizers.is_empty())
}

/// The body's kind and namespace have to be those of the URL.
pub(super) fn check_type(target: &Target, body: &Value) -> Result<(), StatusError> {
    let Target { kind, version, namespace } = target;
    let api_version = kind.api_version(version);
    if !body.is_object() {
        return Err(StatusError::bad_request(format!("the body is not an object of kind {}", kind.kind)));
    }
    for (field, wanted) in [("apiVersion", api_version.as_str()), ("kind", kind.kind.as_str())] {
        let sent = &body[field];
        if sent.is_null() && !kind.typed {
            return Err(StatusError::bad_request(format!("{field} is missing: it has to be {wanted:?}")));
        }
        if !sent.is_null() && sent != wanted {
            return Err(StatusError::bad_request(format!(
                "the {field} in the data ({}) does not match the expected {field} ({wanted})",
                sent.as_str().unwrap_or("not a string"),
            )));
        }
    }
    let sent = &body["metadata"]["namespace"];
    if !body["metadata"].is_null() && !body["metadata"].is_object() {
        return Err(StatusError::bad_request("metadata is not an object"));
    }
    if sent.as_str().is_some_and(|sent| !sent.is_empty() && sent != namespace) {
        return Err(StatusError::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    Ok(())
}

/// The object as its creation starts from: the server's own fields are the server's.
pub(super) fn fresh(target: &Target, object: Value) -> Result<Value, StatusError> {
    let Target { kind, version, namespace } = target;
    check_type(target, &object)?;
    let mut object = kept(kind, version, object);
    if object["metadata"]["resourceVersion"].as_str().is_some_and(|version| !version.is_empty()) {
        return Err(StatusError::unknown("resourceVersion should not be set on objects to be created"));
    }
    if kind.has_status {
        without(&mut object, "status");
    }
    if !object["metadata"].is_object() {
        object["metadata"] = json!({});
    }
    let Some(metadata) = object["metadata"].as_object_mut() else {
        return Err(StatusError::bad_request("metadata is not an object"));
    };
    for field in ["selfLink", "managedFields", "deletionTimestamp", "deletionGracePeriodSeconds"] {
        metadata.remove(field);
    }
    drop_empty(metadata);
    if kind.namespaced {
        metadata.insert("namespace".into(), namespace.as_str().into());
    } else {
        metadata.remove("namespace");
    }
    let named = metadata.get("name").and_then(Value::as_str).is_some_and(|name| !name.is_empty());
    if let (false, Some(prefix)) = (named, metadata.get("generateName").and_then(Value::as_str)) {
        let name = format!("{}{}", prefix.chars().take(58).collect::<String>(), suffix());
        metadata.insert("name".into(), name.into());
    }
    if kind.ephemeral {
        return Ok(object);
    }
    metadata.insert("uid".into(), uuid::Uuid::new_v4().to_string().into());
    metadata.insert("creationTimestamp".into(), now().into());
    if kind.has_generation {
        metadata.insert("generation".into(), 1.into());
    }
    Ok(object)
}

/// Five letters without vowels, as `generateName` appends them.
fn suffix() -> String {
    const LETTERS: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
    let random = uuid::Uuid::new_v4();
    random.as_bytes().iter().take(5).map(|&byte| char::from(LETTERS[usize::from(byte) % LETTERS.len()])).collect()
}

/// Clients write `null` and `{}` where they mean nothing.
fn drop_empty(metadata: &mut Map<String, Value>) {
    metadata.retain(|_, value| match value {
        Value::Null => false,
        Value::Object(map) => !map.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => true,
    });
}

pub(super) fn check_namespace(txn: &Txn<'_>, kind: &Kind, namespace: &str, name: &str) -> Result<(), StatusError> {
    if !kind.namespaced || kind.ephemeral {
        return Ok(());
    }
    let Some(found) = txn.get(&Key::new("", "namespaces", "", namespace)) else {
        return Err(StatusError::not_found_named("", "namespaces", namespace));
    };
    if found["metadata"]["deletionTimestamp"].is_null() {
        Ok(())
    } else {
        Err(StatusError::terminating(kind, name, namespace))
    }
}

pub(super) fn check_revision(kind: &Kind, name: &str, object: &Value, old: &Value) -> Result<(), StatusError> {
    let sent = object["metadata"]["resourceVersion"].as_str().unwrap_or_default();
    if sent.is_empty() && !kind.typed {
        let error = FieldError {
            field: "metadata.resourceVersion".into(),
            kind: FieldErrorKind::Invalid,
            message: "Invalid value: 0: must be specified for an update".into(),
        };
        return Err(StatusError::invalid(kind, name, &[error]));
    }
    if !sent.is_empty() && old["metadata"]["resourceVersion"] != sent {
        return Err(StatusError::modified(kind, name));
    }
    let (sent, kept) = (&object["metadata"]["uid"], &old["metadata"]["uid"]);
    if sent.as_str().is_some_and(|sent| !sent.is_empty()) && sent != kept {
        let (sent, kept) = (sent.as_str().unwrap_or_default(), kept.as_str().unwrap_or_default());
        return Err(StatusError::conflict(kind, name, &other_object(kind, old, sent, kept)));
    }
    Ok(())
}

/// Why an update that names another uid fails; clients look for the precondition in it.
fn other_object(kind: &Kind, object: &Value, sent: &str, kept: &str) -> String {
    let group = if kind.typed { String::new() } else { format!("{}/", kind.group) };
    let place = ["namespace", "name"].map(|part| object["metadata"][part].as_str().unwrap_or_default());
    let place = place.iter().filter(|part| !part.is_empty()).map(|part| format!("/{part}")).collect::<String>();
    format!(
        "StorageError: invalid object, Code: 4, Key: /registry/{group}{}{place}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: {sent}, UID in object meta: {kept}",
        kind.plural
    )
}

pub(super) fn check_preconditions(
    kind: &Kind,
    name: &str,
    object: &Value,
    options: &DeleteOptions,
) -> Result<(), StatusError> {
    let metadata = &object["metadata"];
    let checks = [
        ("UID", &options.uid, &metadata["uid"], "deleted and then recreated"),
        ("ResourceVersion", &options.resource_version, &metadata["resourceVersion"], "modified"),
    ];
    for (what, wanted, found, why) in checks {
        if let Some(wanted) = wanted
            && found != wanted.as_str()
        {
            let found = found.as_str().unwrap_or_default();
            return Err(StatusError::precondition(
                kind,
                name,
                &format!(
                    "the {what} in the precondition ({wanted}) does not match the {what} in record ({found}). The object might have been {why}"
                ),
            ));
        }
    }
    Ok(())
}

/// Puts back what this request may not change: on `/status` everything but the status, elsewhere
/// the status and the server's own metadata.
pub(super) fn retain(target: &Target, object: &mut Value, old: &Value, status: bool) -> Result<(), StatusError> {
    let Target { kind, version, .. } = target;
    if status {
        let new = object["status"].take();
        *object = old.clone();
        if new.is_null() {
            without(object, "status");
        } else {
            object["status"] = new;
        }
        object["apiVersion"] = kind.api_version(version).into();
        return Ok(());
    }
    *object = kept(kind, version, object.take());
    if kind.has_status {
        match &old["status"] {
            Value::Null => without(object, "status"),
            kept => object["status"] = kept.clone(),
        }
    }
    let Some(metadata) = object["metadata"].as_object_mut() else {
        return Err(StatusError::bad_request("metadata is missing"));
    };
    metadata.remove("selfLink");
    metadata.remove("managedFields");
    let kept =
        ["uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "namespace"];
    for field in kept {
        match &old["metadata"][field] {
            Value::Null => metadata.remove(field),
            kept => metadata.insert(field.into(), kept.clone()),
        };
    }
    drop_empty(metadata);
    Ok(())
}

/// What is known of a write before the object itself is looked at.
#[derive(Debug)]
pub(super) struct Stage<'a> {
    pub(super) old: Option<&'a Value>,
    /// It is the status that is written, and nothing else.
    pub(super) status: bool,
    /// What is wrong with the metadata.
    pub(super) errors: Vec<FieldError>,
}

impl Stage<'_> {
    pub(super) fn created(errors: Vec<FieldError>) -> Self {
        Self { old: None, status: false, errors }
    }
}

/// The kind's own rules, then its schema. Returns the paths of fields that were dropped.
pub(super) fn accept(
    admit: &dyn Admit,
    kind: &Kind,
    txn: &Txn<'_>,
    object: &mut Value,
    stage: Stage<'_>,
    options: &WriteOptions,
) -> Result<Vec<String>, StatusError> {
    let Stage { old, status, mut errors } = stage;
    if limits::depth(object) > limits::DEPTH {
        return Err(StatusError::bad_request(format!("the object is nested deeper than {} levels", limits::DEPTH)));
    }
    if limits::size(object) > limits::SIZE {
        return Err(StatusError::too_large(limits::SIZE));
    }
    let wrong = kind.rules.prepare(kind, txn, object, old)?;
    errors.extend(wrong);
    let mut admitted = admit.admit(kind.stored().0, &kind.kind, object, old);
    let mut seen = HashSet::new();
    admitted.unknown.retain(|path| seen.insert(path.clone()));
    let version = object["apiVersion"].as_str().unwrap_or_default();
    refuse_unknown(kind, version.rsplit('/').next().unwrap_or_default(), &admitted.unknown, options)?;
    if kind.view.is_none() {
        object["apiVersion"] = kind.api_version(&kind.storage).into();
    }
    errors.extend(admitted.errors);
    if let Some(checks) = &kind.checks {
        errors.extend(checks.run(object, old, status));
    }
    if errors.is_empty() { Ok(admitted.unknown) } else { Err(StatusError::invalid(kind, name_of(object), &errors)) }
}

pub(super) fn count_generation(kind: &Kind, object: &mut Value, old: &Value) {
    if !kind.has_generation {
        return;
    }
    let meant = |object: &Value| {
        let fields = object.as_object().into_iter().flatten();
        fields
            .filter(|(field, value)| !["metadata", "status"].contains(&field.as_str()) && !value.is_null())
            .map(|(field, value)| (field.clone(), value.clone()))
            .collect::<Map<_, _>>()
    };
    if meant(object) != meant(old) {
        let generation = old["metadata"]["generation"].as_i64().unwrap_or(0);
        object["metadata"]["generation"] = (generation + 1).into();
    }
}
