//! The objects in memory, and what finds them without looking at all of them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use serde_json::Value;

use super::Key;

/// The uids of the owners that the object names.
pub(super) fn owners(object: &Value) -> impl Iterator<Item = &str> {
    let listed = object["metadata"]["ownerReferences"].as_array().into_iter().flatten();
    listed.filter_map(|owner| owner["uid"].as_str())
}

/// Every object, by key, by owner, and counted by namespace.
#[derive(Debug, Default)]
pub(super) struct Objects {
    by_key: BTreeMap<Key, Arc<Value>>,
    owned: HashMap<String, BTreeSet<Key>>,
    in_namespace: HashMap<String, usize>,
}

impl Objects {
    pub(super) fn get(&self, key: &Key) -> Option<&Arc<Value>> {
        self.by_key.get(key)
    }

    pub(super) fn by_key(&self) -> &BTreeMap<Key, Arc<Value>> {
        &self.by_key
    }

    pub(super) fn insert(&mut self, key: Key, object: Arc<Value>) {
        self.forget_owners(&key);
        for owner in owners(&object) {
            self.owned.entry(owner.to_owned()).or_default().insert(key.clone());
        }
        let namespace = key.namespace.clone();
        if self.by_key.insert(key, object).is_none() {
            *self.in_namespace.entry(namespace).or_default() += 1;
        }
    }

    pub(super) fn remove(&mut self, key: &Key) {
        self.forget_owners(key);
        if self.by_key.remove(key).is_some()
            && let Some(count) = self.in_namespace.get_mut(&key.namespace)
        {
            *count -= 1;
            if *count == 0 {
                self.in_namespace.remove(&key.namespace);
            }
        }
    }

    fn forget_owners(&mut self, key: &Key) {
        let Some(old) = self.by_key.get(key).cloned() else { return };
        for owner in owners(&old) {
            if let Some(keys) = self.owned.get_mut(owner) {
                keys.remove(key);
                if keys.is_empty() {
                    self.owned.remove(owner);
                }
            }
        }
    }

    pub(super) fn owned_by(&self, uid: &str) -> impl Iterator<Item = &Key> {
        self.owned.get(uid).into_iter().flatten()
    }

    /// How many objects live in the namespace.
    pub(super) fn count(&self, namespace: &str) -> usize {
        self.in_namespace.get(namespace).copied().unwrap_or(0)
    }
}

impl FromIterator<(Key, Arc<Value>)> for Objects {
    fn from_iter<T: IntoIterator<Item = (Key, Arc<Value>)>>(all: T) -> Self {
        let mut objects = Self::default();
        for (key, object) in all {
            objects.insert(key, object);
        }
        objects
    }
}

/// The objects of one kind, in one namespace or in all.
pub(super) fn range<'a, V>(
    objects: &'a BTreeMap<Key, V>,
    group: &'a str,
    plural: &'a str,
    namespace: Option<&'a str>,
) -> impl Iterator<Item = (&'a Key, &'a V)> {
    let first = Key::new(group, plural, namespace.unwrap_or_default(), "");
    objects.range(first..).take_while(move |(key, _)| key.is_in(group, plural, namespace))
}

/// The kinds of which there are objects.
pub(super) fn kinds<V>(objects: &BTreeMap<Key, V>) -> impl Iterator<Item = (&str, &str)> {
    let mut next = objects.keys().next();
    std::iter::from_fn(move || {
        let Key { group, plural, .. } = next?;
        // No namespace sorts behind it: their names are ASCII.
        let last = Key::new(group.as_str(), plural.as_str(), "\u{10ffff}", "");
        next = objects.range((Bound::Excluded(last), Bound::Unbounded)).next().map(|(key, _)| key);
        Some((group.as_str(), plural.as_str()))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn key(plural: &str, namespace: &str, name: &str) -> Key {
        Key::new("", plural, namespace, name)
    }

    #[test]
    fn owners_and_namespaces_are_known_as_objects_come_and_go() {
        let owned = |uids: &[&str]| {
            let owners: Vec<Value> = uids.iter().map(|uid| json!({"uid": uid})).collect();
            Arc::new(json!({"metadata": {"ownerReferences": owners}}))
        };
        let mut objects = Objects::default();
        objects.insert(key("pods", "a", "p"), owned(&["u", "v"]));
        objects.insert(key("pods", "a", "q"), owned(&["u"]));
        assert_eq!(objects.owned_by("u").map(|key| key.name.as_str()).collect::<Vec<_>>(), ["p", "q"]);
        objects.insert(key("pods", "a", "p"), owned(&["v"]));
        assert_eq!(objects.owned_by("u").count(), 1);
        assert_eq!(objects.count("a"), 2);
        objects.remove(&key("pods", "a", "p"));
        objects.remove(&key("pods", "a", "p"));
        assert_eq!((objects.count("a"), objects.owned_by("v").count()), (1, 0));
        objects.remove(&key("pods", "a", "q"));
        assert!(objects.owned.is_empty() && objects.in_namespace.is_empty());
    }

    #[test]
    fn kinds_are_found_by_jumping() {
        let all: BTreeMap<Key, ()> =
            [key("nodes", "", "n"), key("pods", "a", "p"), key("pods", "b", "p"), key("services", "b", "s")]
                .into_iter()
                .map(|key| (key, ()))
                .collect();
        assert_eq!(kinds(&all).collect::<Vec<_>>(), [("", "nodes"), ("", "pods"), ("", "services")]);
    }
}
