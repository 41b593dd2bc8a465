//! How objects go: grace, finalizers, owned objects, and namespaces with all they hold.
//!
//! What a cluster leaves to its garbage collector and its namespace controller happens here in
//! the transaction of the deletion, with the same steps for whoever watches.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{in_seconds, is_held};
use crate::local::kinds::Registry;
use crate::local::status::StatusError;
use crate::local::store::{Key, Txn};

/// What happens to the objects that the deleted one owns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Propagation {
    /// They go after it.
    #[default]
    Background,
    /// It goes after those that block it.
    Foreground,
    /// They stay, and forget it.
    Orphan,
}

const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";

/// An object after its deletion was asked for.
pub(super) enum Deleted {
    /// It is gone; the answer is a `Status`, or this last state for kinds that answer so.
    Gone(Arc<Value>),
    /// It is marked, and stays or goes by what else happens; the answer is this state.
    Marked(Arc<Value>),
}

/// Deletes or, where grace or finalizers hold it, marks the object.
pub(super) fn delete(
    txn: &mut Txn<'_>,
    registry: &Registry,
    key: &Key,
    object: &Value,
    propagation: Propagation,
    grace: Option<u64>,
) -> Result<Deleted, StatusError> {
    let rules = registry.resource(&key.group, &key.plural).map(|kind| kind.rules.clone());
    let mut marked = object.clone();
    let lingers = rules.as_ref().and_then(|rules| rules.grace(object, grace));
    let added = match propagation {
        Propagation::Background => None,
        Propagation::Foreground => Some(FOREGROUND),
        Propagation::Orphan => Some(ORPHAN),
    };
    if let Some(finalizer) = added
        && marked["metadata"]["deletionTimestamp"].is_null()
    {
        add_finalizer(&mut marked, finalizer);
    }
    if is_held(&marked) || lingers.is_some_and(|seconds| seconds > 0) {
        mark(&mut marked, lingers.unwrap_or(0));
        let marked = txn.put(key.clone(), marked);
        settle(txn, registry, key)?;
        return Ok(Deleted::Marked(marked));
    }
    if let Some(rules) = rules
        && let Some(stays) = rules.delete(txn, registry, key, object)?
    {
        return Ok(Deleted::Marked(stays));
    }
    txn.remove(key);
    after_removal(txn, registry, key, object)?;
    if lingers.is_some() {
        mark(&mut marked, 0);
    }
    Ok(Deleted::Gone(Arc::new(marked)))
}

fn add_finalizer(object: &mut Value, finalizer: &str) {
    let finalizers = &mut object["metadata"]["finalizers"];
    match finalizers {
        Value::Array(listed) if listed.iter().any(|listed| listed == finalizer) => {}
        Value::Array(listed) => listed.push(finalizer.into()),
        _ => *finalizers = json!([finalizer]),
    }
}

fn drop_finalizer(object: &mut Value, finalizer: &str) {
    if let Some(listed) = object["metadata"]["finalizers"].as_array_mut() {
        listed.retain(|listed| listed != finalizer);
        if listed.is_empty() {
            super::without(&mut object["metadata"], "finalizers");
        }
    }
}

fn has_finalizer(object: &Value, finalizer: &str) -> bool {
    object["metadata"]["finalizers"].as_array().is_some_and(|listed| listed.iter().any(|listed| listed == finalizer))
}

/// Writes down when the object goes; a later deletion can only hurry it.
fn mark(object: &mut Value, grace: u64) {
    let metadata = &mut object["metadata"];
    let already = metadata["deletionGracePeriodSeconds"].as_u64();
    if already.is_some_and(|already| already <= grace) {
        return;
    }
    metadata["deletionTimestamp"] = in_seconds(grace).into();
    metadata["deletionGracePeriodSeconds"] = grace.into();
    if let (None, Some(generation)) = (already, metadata["generation"].as_i64()) {
        metadata["generation"] = (generation + 1).into();
    }
}

/// Does what the finalizers of propagation wait for, and finishes what nothing holds any more.
pub(super) fn settle(txn: &mut Txn<'_>, registry: &Registry, key: &Key) -> Result<(), StatusError> {
    let Some(object) = txn.get(key) else { return Ok(()) };
    if object["metadata"]["deletionTimestamp"].is_null() {
        return Ok(());
    }
    if has_finalizer(&object, ORPHAN) {
        for (dependent, mut free) in dependents(txn, &object["metadata"]["uid"]) {
            disown(Arc::make_mut(&mut free), &object["metadata"]["uid"]);
            txn.put(dependent, Arc::unwrap_or_clone(free));
        }
        let mut free = (*object).clone();
        drop_finalizer(&mut free, ORPHAN);
        return finish(txn, registry, key, free);
    }
    if has_finalizer(&object, FOREGROUND) {
        let uid = &object["metadata"]["uid"];
        for (dependent, found) in dependents(txn, uid) {
            if found["metadata"]["deletionTimestamp"].is_null() {
                collect(txn, registry, &dependent, &found, uid, Propagation::Foreground)?;
            }
        }
        if dependents(txn, uid).iter().any(|(_, found)| blocks(found, uid)) {
            return Ok(());
        }
        // Collecting a dependent may have finished it already.
        let Some(object) = txn.get(key) else { return Ok(()) };
        let mut free = (*object).clone();
        drop_finalizer(&mut free, FOREGROUND);
        return finish(txn, registry, key, free);
    }
    finish(txn, registry, key, (*object).clone())
}

/// Stores the object, or removes it when no finalizer and no grace hold it.
fn finish(txn: &mut Txn<'_>, registry: &Registry, key: &Key, object: Value) -> Result<(), StatusError> {
    let waits = object["metadata"]["deletionGracePeriodSeconds"].as_u64().is_some_and(|seconds| seconds > 0);
    if is_held(&object) || waits {
        txn.put(key.clone(), object);
        return Ok(());
    }
    delete(txn, registry, key, &object, Propagation::Background, Some(0)).map(drop)
}

/// Deletes an object because what it lives in goes.
pub(in crate::local) fn remove_content(txn: &mut Txn<'_>, registry: &Registry, key: &Key) -> Result<(), StatusError> {
    // An earlier deletion may have collected it already.
    match txn.get(key) {
        Some(object) => delete(txn, registry, key, &object, Propagation::Background, None).map(drop),
        None => Ok(()),
    }
}

fn after_removal(txn: &mut Txn<'_>, registry: &Registry, key: &Key, object: &Value) -> Result<(), StatusError> {
    let uid = &object["metadata"]["uid"];
    for (dependent, found) in dependents(txn, uid) {
        collect(txn, registry, &dependent, &found, uid, Propagation::Background)?;
    }
    // An owner may have waited for this one.
    for owner in object["metadata"]["ownerReferences"].as_array().into_iter().flatten() {
        if let Some(owner) = owner_key(registry, owner, &key.namespace)
            && txn.get(&owner).is_some_and(|found| has_finalizer(&found, FOREGROUND))
        {
            settle(txn, registry, &owner)?;
        }
    }
    finish_namespace(txn, registry, &key.namespace)
}

fn dependents(txn: &Txn<'_>, uid: &Value) -> Vec<(Key, Arc<Value>)> {
    uid.as_str().map(|uid| txn.owned_by(uid)).unwrap_or_default()
}

fn owners(object: &Value) -> impl Iterator<Item = &Value> {
    object["metadata"]["ownerReferences"].as_array().into_iter().flatten()
}

fn blocks(dependent: &Value, uid: &Value) -> bool {
    owners(dependent).any(|owner| owner["uid"] == *uid && owner["blockOwnerDeletion"] == true)
}

fn disown(dependent: &mut Value, uid: &Value) {
    if let Some(owners) = dependent["metadata"]["ownerReferences"].as_array_mut() {
        owners.retain(|owner| owner["uid"] != *uid);
        if owners.is_empty() {
            super::without(&mut dependent["metadata"], "ownerReferences");
        }
    }
}

/// Where an owner is kept, whether it is there or not.
fn owner_key(registry: &Registry, owner: &Value, namespace: &str) -> Option<Key> {
    let kind = registry.find_kind(owner["apiVersion"].as_str()?, owner["kind"].as_str()?)?;
    Some(kind.key(if kind.namespaced { namespace } else { "" }, owner["name"].as_str()?))
}

/// Whether the owner that the reference names is there, by its name and its uid.
fn is_alive(txn: &Txn<'_>, registry: &Registry, owner: &Value, namespace: &str) -> bool {
    owner_key(registry, owner, namespace)
        .and_then(|key| txn.get(&key))
        .is_some_and(|found| found["metadata"]["uid"] == owner["uid"])
}

/// Deletes what belonged to the owner and to nobody else; otherwise takes the owner's name off it.
fn collect(
    txn: &mut Txn<'_>,
    registry: &Registry,
    key: &Key,
    dependent: &Value,
    uid: &Value,
    propagation: Propagation,
) -> Result<(), StatusError> {
    let shared = owners(dependent).any(|owner| owner["uid"] != *uid && is_alive(txn, registry, owner, &key.namespace));
    if shared {
        let mut free = dependent.clone();
        disown(&mut free, uid);
        txn.put(key.clone(), free);
        return Ok(());
    }
    let propagation = match propagation {
        Propagation::Foreground if dependents(txn, &dependent["metadata"]["uid"]).is_empty() => Propagation::Background,
        other => other,
    };
    match txn.get(key) {
        Some(found) => delete(txn, registry, key, &found, propagation, None).map(drop),
        None => Ok(()),
    }
}

/// Deletes an object none of whose owners is there, as a garbage collector does.
pub(super) fn collect_orphan(txn: &mut Txn<'_>, registry: &Registry, key: &Key) -> Result<(), StatusError> {
    let Some(object) = txn.get(key) else { return Ok(()) };
    let mut listed = owners(&object).peekable();
    if listed.peek().is_none() || listed.any(|owner| is_alive(txn, registry, owner, &key.namespace)) {
        return Ok(());
    }
    delete(txn, registry, key, &object, Propagation::Background, None).map(drop)
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
        && txn.is_empty(namespace)
        && let Some(kind) = registry.resource("", "namespaces")
    {
        kind.rules.delete(txn, registry, &key, &found)?;
    }
    Ok(())
}
