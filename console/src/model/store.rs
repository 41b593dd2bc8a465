//! Everything watched, by key, with what is known about each watch.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value;

use super::{
    key::{Kind, ObjectKey},
    topology::{self, Endpoints, Gateway, Route},
};

/// What a watch has to say.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    Apply(Kind, Arc<Value>),
    Delete(ObjectKey),
    /// The complete list; what is not in it is gone.
    Replace(Kind, Vec<Arc<Value>>),
    Loading(Kind),
    Forbidden(Kind),
    Lost(Kind, String),
    /// The cluster does not serve this kind.
    Missing(Kind),
}

/// Loading, empty, forbidden and lost are four different things.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Feed {
    #[default]
    Loading,
    Live,
    Forbidden,
    Missing,
    Lost(String),
}

#[derive(Debug, Clone, Default)]
pub struct Store {
    objects: BTreeMap<ObjectKey, Arc<Value>>,
    routes: BTreeMap<ObjectKey, Arc<Route>>,
    gateways: BTreeMap<ObjectKey, Arc<Gateway>>,
    endpoints: BTreeMap<ObjectKey, Endpoints>,
    feeds: BTreeMap<Kind, Feed>,
}

impl Store {
    pub fn apply(&mut self, change: Change) {
        match change {
            Change::Apply(kind, object) => {
                self.insert(kind, object);
                self.feeds.insert(kind, Feed::Live);
            }
            Change::Delete(key) => self.remove(&key),
            Change::Replace(kind, objects) => {
                let kept: Vec<ObjectKey> = objects.iter().filter_map(|object| key_of(kind, object)).collect();
                let kept: std::collections::BTreeSet<_> = kept.into_iter().collect();
                let gone: Vec<_> =
                    self.objects.keys().filter(|key| key.kind == kind && !kept.contains(*key)).cloned().collect();
                for key in gone {
                    self.remove(&key);
                }
                for object in objects {
                    self.insert(kind, object);
                }
                self.feeds.insert(kind, Feed::Live);
            }
            // A relist keeps what is on the screen until the new list is complete.
            Change::Loading(kind) => {
                self.feeds.entry(kind).or_default();
            }
            Change::Forbidden(kind) => {
                self.feeds.insert(kind, Feed::Forbidden);
            }
            Change::Missing(kind) => {
                self.feeds.insert(kind, Feed::Missing);
            }
            Change::Lost(kind, reason) => {
                self.feeds.insert(kind, Feed::Lost(reason));
            }
        }
    }

    fn insert(&mut self, kind: Kind, object: Arc<Value>) {
        let Some(key) = key_of(kind, &object) else { return };
        match kind {
            Kind::HttpRoute => {
                self.routes.insert(key.clone(), Arc::new(Route::read(key.clone(), &object)));
            }
            Kind::Gateway => {
                self.gateways.insert(key.clone(), Arc::new(Gateway::read(key.clone(), &object)));
            }
            Kind::EndpointSlice => {
                self.endpoints.insert(key.clone(), topology::endpoints(&key, &object));
            }
            _ => {}
        }
        self.objects.insert(key, object);
    }

    fn remove(&mut self, key: &ObjectKey) {
        self.objects.remove(key);
        self.routes.remove(key);
        self.gateways.remove(key);
        self.endpoints.remove(key);
    }

    pub fn get(&self, key: &ObjectKey) -> Option<&Arc<Value>> {
        self.objects.get(key)
    }

    pub fn route(&self, key: &ObjectKey) -> Option<&Arc<Route>> {
        self.routes.get(key)
    }

    pub fn gateway(&self, key: &ObjectKey) -> Option<&Arc<Gateway>> {
        self.gateways.get(key)
    }

    pub fn routes(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.routes.values()
    }

    pub fn gateways(&self) -> impl Iterator<Item = &Arc<Gateway>> {
        self.gateways.values()
    }

    pub fn count(&self, kind: Kind) -> usize {
        self.objects.keys().filter(|key| key.kind == kind).count()
    }

    pub fn feed(&self, kind: Kind) -> &Feed {
        self.feeds.get(&kind).unwrap_or(&Feed::Loading)
    }

    /// Ready and all endpoints of a Service; none while they cannot be known.
    pub fn ready(&self, namespace: &str, service: &str) -> Option<(usize, usize)> {
        if *self.feed(Kind::EndpointSlice) != Feed::Live {
            return None;
        }
        let of_namespace = ObjectKey::new(Kind::EndpointSlice, namespace, "")..;
        let slices = self.endpoints.range(of_namespace).take_while(|(key, _)| key.namespace == namespace);
        Some(
            slices
                .filter(|(_, slice)| slice.service == service)
                .fold((0, 0), |(ready, all), (_, slice)| (ready + slice.ready, all + slice.total)),
        )
    }
}

pub fn key_of(kind: Kind, object: &Value) -> Option<ObjectKey> {
    let metadata = object.get("metadata")?;
    let namespace = metadata.get("namespace").and_then(Value::as_str).unwrap_or_default();
    Some(ObjectKey::new(kind, namespace, metadata.get("name")?.as_str()?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn route(name: &str) -> Arc<Value> {
        Arc::new(json!({"metadata": {"name": name, "namespace": "shop"}}))
    }

    #[test]
    fn a_relist_replaces_and_a_loss_keeps() {
        let mut store = Store::default();
        assert_eq!(*store.feed(Kind::HttpRoute), Feed::Loading);
        store.apply(Change::Replace(Kind::HttpRoute, vec![route("a"), route("b")]));
        store.apply(Change::Replace(Kind::HttpRoute, vec![route("b"), route("c")]));
        let names: Vec<_> = store.routes().map(|route| route.key.name.clone()).collect();
        assert_eq!(names, ["b", "c"]);
        store.apply(Change::Lost(Kind::HttpRoute, "refused".to_owned()));
        assert_eq!(store.routes().count(), 2);
        store.apply(Change::Delete(ObjectKey::new(Kind::HttpRoute, "shop", "b")));
        assert_eq!(store.routes().count(), 1);
    }

    #[test]
    fn endpoints_are_summed_over_slices() {
        let mut store = Store::default();
        let slice = |name: &str, ready: bool| {
            Arc::new(json!({"metadata": {"name": name, "namespace": "shop",
                "labels": {"kubernetes.io/service-name": "cart"}}, "endpoints": [{"conditions": {"ready": ready}}, {}]}))
        };
        assert_eq!(store.ready("shop", "cart"), None);
        store.apply(Change::Replace(Kind::EndpointSlice, vec![slice("x", true), slice("y", false)]));
        assert_eq!(store.ready("shop", "cart"), Some((3, 4)));
        assert_eq!(store.ready("shop", "none"), Some((0, 0)));
    }
}
