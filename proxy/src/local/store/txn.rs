//! What one writer sees and writes: the store, changed by the writes before it in the batch.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use serde_json::Value;

use super::objects::{kinds, owners, range};
use super::{Event, Key, State};

/// Writes of a batch that are not committed yet; `None` is a removal.
#[derive(Default)]
pub(super) struct Pending {
    by_key: BTreeMap<Key, Option<Arc<Value>>>,
    /// Keys that named the owner at some moment of the batch: a hint, to be checked.
    owned: HashMap<String, BTreeSet<Key>>,
    /// How much the number of objects in a namespace has changed.
    grown: HashMap<String, isize>,
}

/// A transaction that runs alone. Reads see its own writes.
pub struct Txn<'a> {
    state: &'a State,
    /// Writes of earlier transactions of the same batch, then of this one.
    pending: &'a mut Pending,
    undo: Vec<Undo>,
    pub(super) events: Vec<Event>,
    revision: u64,
}

struct Undo {
    key: Key,
    before: Option<Option<Arc<Value>>>,
    grown: isize,
}

impl<'a> Txn<'a> {
    pub(super) fn new(state: &'a State, pending: &'a mut Pending, revision: u64) -> Self {
        Self { state, pending, undo: Vec::new(), events: Vec::new(), revision }
    }

    /// Takes back what this transaction wrote.
    pub(super) fn roll_back(&mut self) {
        self.events.clear();
        for Undo { key, before, grown } in self.undo.drain(..).rev() {
            *self.pending.grown.entry(key.namespace.clone()).or_default() -= grown;
            match before {
                Some(value) => self.pending.by_key.insert(key, value),
                None => self.pending.by_key.remove(&key),
            };
        }
    }

    pub fn get(&self, key: &Key) -> Option<Arc<Value>> {
        match self.pending.by_key.get(key) {
            Some(pending) => pending.clone(),
            None => self.state.objects.get(key).cloned(),
        }
    }

    /// The objects of one kind, in one namespace or in all.
    pub fn list(&self, group: &str, plural: &str, namespace: Option<&str>) -> Vec<(Key, Arc<Value>)> {
        let mut found: BTreeMap<Key, Arc<Value>> = range(self.state.objects.by_key(), group, plural, namespace)
            .map(|(key, object)| (key.clone(), object.clone()))
            .collect();
        for (key, object) in range(&self.pending.by_key, group, plural, namespace) {
            match object {
                Some(object) => found.insert(key.clone(), object.clone()),
                None => found.remove(key),
            };
        }
        found.into_iter().collect()
    }

    /// The objects that name this uid as one of their owners, found by an index.
    pub fn owned_by(&self, uid: &str) -> Vec<(Key, Arc<Value>)> {
        let mut keys: BTreeSet<&Key> = self.state.objects.owned_by(uid).collect();
        keys.extend(self.pending.owned.get(uid).into_iter().flatten());
        let objects = keys.into_iter().filter_map(|key| Some((key.clone(), self.get(key)?)));
        objects.filter(|(_, object)| owners(object).any(|owner| owner == uid)).collect()
    }

    /// Every object in the namespace, of whatever kind.
    pub fn in_namespace(&self, namespace: &str) -> Vec<(Key, Arc<Value>)> {
        let stored = kinds(self.state.objects.by_key());
        let all: BTreeSet<(&str, &str)> = stored.chain(kinds(&self.pending.by_key)).collect();
        all.into_iter().flat_map(|(group, plural)| self.list(group, plural, Some(namespace))).collect()
    }

    /// Whether nothing is left in the namespace; costs the same however much there was.
    pub fn is_empty(&self, namespace: &str) -> bool {
        let stored = self.state.objects.count(namespace);
        stored.checked_add_signed(self.pending.grown.get(namespace).copied().unwrap_or(0)) == Some(0)
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
        for owner in owners(&object) {
            self.pending.owned.entry(owner.to_owned()).or_default().insert(key.clone());
        }
        self.record(key, old, object.clone(), false);
        object
    }

    /// Removes the object. Returns its last state, with the removal's resourceVersion.
    pub fn remove(&mut self, key: &Key) -> Option<Arc<Value>> {
        let old = self.get(key)?;
        self.revision += 1;
        let last = Arc::new(last_state(&old, self.revision));
        self.record(key.clone(), Some(old), last.clone(), true);
        Some(last)
    }

    fn record(&mut self, key: Key, old: Option<Arc<Value>>, object: Arc<Value>, deleted: bool) {
        let now = (!deleted).then(|| object.clone());
        let grown = isize::from(now.is_some()) - isize::from(old.is_some());
        *self.pending.grown.entry(key.namespace.clone()).or_default() += grown;
        let before = self.pending.by_key.insert(key.clone(), now);
        self.undo.push(Undo { key: key.clone(), before, grown });
        self.events.push(Event { revision: self.revision, key, old, object, deleted, size: 0, at: 0 });
    }
}

/// What a removal leaves for watches: the object as it was, at the revision of its going.
pub(super) fn last_state(old: &Value, revision: u64) -> Value {
    let mut last = old.clone();
    stamp(&mut last, revision.to_string().into());
    last
}

fn stamp(object: &mut Value, revision: Value) {
    if let Some(object) = object.as_object_mut() {
        let metadata = object.entry("metadata").or_insert_with(|| Value::Object(serde_json::Map::new()));
        if let Some(metadata) = metadata.as_object_mut() {
            metadata.insert("resourceVersion".into(), revision);
        }
    }
}
