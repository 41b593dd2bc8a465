//! How objects go: finalizers, owned objects, and namespaces with all they hold.

use std::sync::Arc;

use serde_json::Value;

use super::{is_held, now};
use crate::local::kinds::Registry;
use crate::local::status::StatusError;
use crate::local::store::{Key, Txn};

/// Deletes or, where finalizers hold it, marks the object. Returns it when the answer is the
/// object and not a `Status`.
pub(super) fn delete(
    txn: &mut Txn<'_>,
    registry: &Registry,
    key: &Key,
    object: &Value,
) -> Result<Option<Arc<Value>>, StatusError> {
    if is_held(object) {
        if !object["metadata"]["deletionTimestamp"].is_null() {
            return Ok(Some(Arc::new(object.clone())));
        }
        let mut marked = object.clone();
        marked["metadata"]["deletionTimestamp"] = now().into();
        marked["metadata"]["deletionGracePeriodSeconds"] = 0.into();
        if let Some(generation) = marked["metadata"]["generation"].as_i64() {
            marked["metadata"]["generation"] = (generation + 1).into();
        }
        return Ok(Some(txn.put(key.clone(), marked)));
    }
    if let Some(kind) = registry.resource(&key.group, &key.plural)
        && let Some(stays) = kind.rules.delete(txn, registry, key, object)?
    {
        return Ok(Some(stays));
    }
    txn.remove(key);
    collect_garbage(txn, registry, object)?;
    finish_namespace(txn, registry, &key.namespace)?;
    Ok(None)
}

/// Deletes an object because what it lives in goes.
pub(in crate::local) fn remove_content(
    txn: &mut Txn<'_>,
    registry: &Registry,
    key: &Key,
    object: &Value,
) -> Result<(), StatusError> {
    // An earlier deletion may have collected it already.
    if txn.get(key).is_some() { delete(txn, registry, key, object).map(drop) } else { Ok(()) }
}

/// The last finalizer of a deleted object is gone: so is the object.
pub(super) fn finish(txn: &mut Txn<'_>, registry: &Registry, key: &Key) -> Result<(), StatusError> {
    match txn.get(key) {
        Some(object) => delete(txn, registry, key, &object).map(drop),
        None => Ok(()),
    }
}

/// Deletes what belonged to the removed object and to nobody else.
fn collect_garbage(txn: &mut Txn<'_>, registry: &Registry, owner: &Value) -> Result<(), StatusError> {
    let uid = &owner["metadata"]["uid"];
    let owners = |object: &'_ Value| object["metadata"]["ownerReferences"].as_array().map_or(0, Vec::len);
    let belongs =
        |object: &Value| (0..owners(object)).any(|index| object["metadata"]["ownerReferences"][index]["uid"] == *uid);
    for (key, dependent) in txn.find(|_, object| belongs(object)) {
        let all = dependent["metadata"]["ownerReferences"].as_array().into_iter().flatten();
        let others: Vec<&Value> = all.filter(|owner| owner["uid"] != *uid).collect();
        let alive = txn.find(|_, object| others.iter().any(|owner| owner["uid"] == object["metadata"]["uid"]));
        if alive.is_empty() {
            remove_content(txn, registry, &key, &dependent)?;
        }
    }
    Ok(())
}

/// The last object of a deleted namespace is gone: so is the namespace.
fn finish_namespace(txn: &mut Txn<'_>, registry: &Registry, namespace: &str) -> Result<(), StatusError> {
    if namespace.is_empty() {
        return Ok(());
    }
    let key = Key::new("", "namespaces", "", namespace);
    let Some(found) = txn.get(&key) else { return Ok(()) };
    let leaving = !found["metadata"]["deletionTimestamp"].is_null();
    if leaving
        && !is_held(&found)
        && txn.find(|key, _| key.namespace == namespace).is_empty()
        && let Some(kind) = registry.resource("", "namespaces")
    {
        kind.rules.delete(txn, registry, &key, &found)?;
    }
    Ok(())
}
