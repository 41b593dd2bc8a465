//! CustomResourceDefinitions: kinds that come and go while the server runs.
//!
//! A write to one is stored first; [`settle`] then does what a cluster's controllers do: it
//! accepts names, serves what is established, and removes what is deleted with its objects.

pub(super) mod builtin;
mod checks;
mod kind;
mod names;
mod rules;
mod structural;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::kinds::Kind;
use super::status::StatusError;
use super::store::{Key, Txn};
use super::verbs::{self, Resources};
pub(super) use kind::priority;
pub(super) use rules::CustomResourceDefinitions;

pub(super) const GROUP: &str = "apiextensions.k8s.io";
pub(super) const PLURAL: &str = "customresourcedefinitions";
const FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";

/// The definitions that are served: by group and plural, the name and the spec that is in force.
pub(super) type Served = BTreeMap<(String, String), Arc<Value>>;

/// Whether a write to this kind changes which kinds there are.
pub(super) fn concerns(kind: &Kind) -> bool {
    kind.group == GROUP && kind.plural == PLURAL
}

/// Settles again whenever something else than a request changes a definition, or takes away an
/// object for which a deleted one waits.
pub(super) async fn follow(resources: Resources, stop: CancellationToken) {
    let mut news = resources.store.subscribe();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            changed = news.changed() => if changed.is_err() { return },
        }
        if unsettled(&all(&resources))
            && let Err(error) = settle(&resources).await
        {
            tracing::warn!("CustomResourceDefinitions are not settled: {error}");
        }
    }
}

/// Makes what is served follow what is stored.
pub(super) async fn settle(resources: &Resources) -> Result<(), StatusError> {
    let mut served = resources.registry.custom.lock().await;
    let registry = resources.registry.clone();
    if all(resources).iter().any(|crd| is_leaving(crd)) {
        resources.store.transact(false, move |txn| remove_deleted(txn, &registry)).await?;
        // What is built in comes back when its place is free.
        builtin::describe(resources).await?;
    }
    if unsettled(&all(resources)) {
        let accept = |txn: &mut Txn<'_>| {
            names::accept(txn);
            Ok(())
        };
        resources.store.transact(false, accept).await?;
    }
    let mut wanted = Served::new();
    for crd in all(resources) {
        let names = &crd["status"]["acceptedNames"];
        let established = condition(&crd, "Established").is_some_and(|found| found["status"] == "True");
        if established && !builtin::is_marked(&crd) {
            let key = (text(&crd["spec"]["group"]).to_owned(), text(&names["plural"]).to_owned());
            wanted.insert(key, crd);
        }
    }
    let gone: Vec<_> = served.keys().filter(|key| !wanted.contains_key(*key)).cloned().collect();
    for key in gone {
        if let Some(crd) = served.remove(&key) {
            resources.registry.unregister(&key.0, &key.1);
            resources.admit.unregister(&key.0, text(&crd["spec"]["names"]["kind"]));
        }
    }
    for (key, crd) in wanted {
        let same = |before: &Arc<Value>| {
            before["spec"] == crd["spec"]
                && before["metadata"]["deletionTimestamp"] == crd["metadata"]["deletionTimestamp"]
                && before["status"]["acceptedNames"] == crd["status"]["acceptedNames"]
        };
        if served.get(&key).is_some_and(same) {
            continue;
        }
        let kind = text(&crd["status"]["acceptedNames"]["kind"]).to_owned();
        match resources.admit.register(&key.0, &kind, &kind::schemas(&crd)) {
            Ok(()) => {
                resources.registry.register_versions(kind::kinds(&crd));
                served.insert(key, crd);
            }
            Err(why) => tracing::error!(kind, %why, "a CustomResourceDefinition cannot be served"),
        }
    }
    Ok(())
}

fn all(resources: &Resources) -> Vec<Arc<Value>> {
    let found = resources.store.list(GROUP, PLURAL, None, None);
    found.map(|snapshot| snapshot.items.into_iter().map(|(_, crd)| crd).collect()).unwrap_or_default()
}

/// Whether a definition waits for its names or for its end.
fn unsettled(crds: &[Arc<Value>]) -> bool {
    crds.iter().any(|crd| is_leaving(crd) || names::is_waiting(crd, crds))
}

/// Removes the objects of deleted definitions, and the definitions that have none left.
fn remove_deleted(txn: &mut Txn<'_>, registry: &super::kinds::Registry) -> Result<(), StatusError> {
    for (key, crd) in txn.list(GROUP, PLURAL, None) {
        if !is_leaving(&crd) {
            continue;
        }
        let (group, plural) = (text(&crd["spec"]["group"]), text(&crd["spec"]["names"]["plural"]));
        for (content, _) in txn.list(group, plural, None) {
            verbs::remove_content(txn, registry, &content)?;
        }
        if txn.list(group, plural, None).is_empty() {
            txn.remove(&key);
        } else {
            let mut waiting = (*crd).clone();
            let message = "CustomResource deletion is in progress";
            if set_condition(&mut waiting, "Terminating", "True", "InstanceDeletionInProgress", message) {
                txn.put(key, waiting);
            }
        }
    }
    Ok(())
}

/// Whether the definition is deleted and only its objects hold it.
fn is_leaving(crd: &Value) -> bool {
    let finalizers = crd["metadata"]["finalizers"].as_array().map_or(&[][..], Vec::as_slice);
    !crd["metadata"]["deletionTimestamp"].is_null() && finalizers.iter().all(|name| name == FINALIZER)
}

fn condition<'a>(crd: &'a Value, type_: &str) -> Option<&'a Value> {
    crd["status"]["conditions"].as_array()?.iter().find(|found| found["type"] == type_)
}

/// Sets a condition; its time moves only with its status. Says whether anything changed.
fn set_condition(crd: &mut Value, type_: &str, status: &str, reason: &str, message: &str) -> bool {
    if !crd["status"]["conditions"].is_array() {
        crd["status"]["conditions"] = json!([]);
    }
    let Some(conditions) = crd["status"]["conditions"].as_array_mut() else { return false };
    let mut wanted = json!({
        "type": type_, "status": status, "lastTransitionTime": verbs::now(), "reason": reason, "message": message,
    });
    match conditions.iter_mut().find(|found| found["type"] == type_) {
        Some(found) => {
            if found["status"] == status {
                wanted["lastTransitionTime"] = found["lastTransitionTime"].clone();
            }
            let changed = *found != wanted;
            *found = wanted;
            changed
        }
        None => {
            conditions.push(wanted);
            true
        }
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn key(name: &str) -> Key {
    Key::new(GROUP, PLURAL, "", name)
}
