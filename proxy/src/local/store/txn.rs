//! What one writer sees and writes: the store, changed by the writes before it in the batch.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::{Event, Key, State, range};

/// A transaction that runs alone. Reads see its own writes.
pub struct Txn<'a> {
    state: &'a State,
    /// Writes of earlier transactions of the same batch, then of this one.
    pending: &'a mut BTreeMap<Key, Option<Arc<Value>>>,
    undo: Vec<(Key, Option<Option<Arc<Value>>>)>,
    pub(super) events: Vec<Event>,
    revision: u64,
}

impl<'a> Txn<'a> {
    pub(super) fn new(state: &'a State, pending: &'a mut BTreeMap<Key, Option<Arc<Value>>>, revision: u64) -> Self {
        Self { state, pending, undo: Vec::new(), events: Vec::new(), revision }
    }

    /// Takes back what this transaction wrote.
    pub(super) fn roll_back(&mut self) {
        self.events.clear();
        for (key, before) in self.undo.drain(..).rev() {
            match before {
                Some(value) => self.pending.insert(key, value),
                None => self.pending.remove(&key),
            };
        }
    }

    pub fn get(&self, key: &Key) -> Option<Arc<Value>> {
        match self.pending.get(key) {
            Some(pending) => pending.clone(),
            None => self.state.objects.get(key).cloned(),
        }
    }

    /// The objects of one kind, in one namespace or in all.
    pub fn list(&self, group: &str, plural: &str, namespace: Option<&str>) -> Vec<(Key, Arc<Value>)> {
        let mut found: BTreeMap<Key, Arc<Value>> = range(&self.state.objects, group, plural, namespace)
            .map(|(key, object)| (key.clone(), object.clone()))
            .collect();
        for (key, object) in range(self.pending, group, plural, namespace) {
            match object {
                Some(object) => found.insert(key.clone(), object.clone()),
                None => found.remove(key),
            };
        }
        found.into_iter().collect()
    }

    /// Every object that `wanted` holds for, of whatever kind.
    pub fn find(&self, wanted: impl Fn(&Key, &Value) -> bool) -> Vec<(Key, Arc<Value>)> {
        let stored = self.state.objects.iter().filter(|(key, _)| !self.pending.contains_key(*key));
        let pending = self.pending.iter().filter_map(|(key, object)| object.as_ref().map(|object| (key, object)));
        stored.chain(pending).filter(|(key, object)| wanted(key, object)).map(|(k, o)| (k.clone(), o.clone())).collect()
    }

    /// Stores the object under the next revision, which becomes its `metadata.resourceVersion`.
    /// An object that equals the stored one is no write and keeps its revision.
    pub fn put(&mut self, key: Key, mut object: Value) -> Arc<Value> {
        let old = self.get(&key);
        if let Some(old) = &old {
            stamp(&mut object, old["metadata"]["resourceVersion"].clone());
            if object == **old {
                return old.clone();
            }
        }
        self.revision += 1;
        stamp(&mut object, self.revision.to_string().into());
        let object = Arc::new(object);
        self.record(key, old, object.clone(), false);
        object
    }

    /// Removes the object. Returns its last state, with the removal's resourceVersion.
    pub fn remove(&mut self, key: &Key) -> Option<Arc<Value>> {
        let old = self.get(key)?;
        self.revision += 1;
        let mut last = (*old).clone();
        stamp(&mut last, self.revision.to_string().into());
        let last = Arc::new(last);
        self.record(key.clone(), Some(old), last.clone(), true);
        Some(last)
    }

    fn record(&mut self, key: Key, old: Option<Arc<Value>>, object: Arc<Value>, deleted: bool) {
        let now = (!deleted).then(|| object.clone());
        let before = self.pending.insert(key.clone(), now);
        self.undo.push((key.clone(), before));
        self.events.push(Event { revision: self.revision, key, old, object, deleted, size: 0 });
    }
}

fn stamp(object: &mut Value, revision: Value) {
    if let Some(object) = object.as_object_mut() {
        let metadata = object.entry("metadata").or_insert_with(|| Value::Object(serde_json::Map::new()));
        if let Some(metadata) = metadata.as_object_mut() {
            metadata.insert("resourceVersion".into(), revision);
        }
    }
}
