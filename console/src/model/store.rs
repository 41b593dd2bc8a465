//! Everything watched, by key, with what is known about each watch.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use jiff::Timestamp;
use serde_json::Value;

use super::{
    gateway::{Gateway, GatewayClass, Listener, ListenerSet},
    json::map,
    key::{Kind, ObjectKey},
    neighbours::{Endpoints, Grant, Ingress, Pool, Service},
    object::Object,
    policy::Policy,
    secret::Secret,
    topology::Route,
};

type Objects<T> = BTreeMap<ObjectKey, Arc<T>>;

/// What a watch has to say.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    Apply(Kind, Object),
    Delete(ObjectKey),
    /// The complete list; what is not in it is gone.
    Replace(Kind, Vec<Object>),
    Loading(Kind),
    Forbidden(Kind),
    Lost(Kind, String),
    /// The cluster does not serve this kind.
    Missing(Kind),
    /// The kind is forbidden cluster-wide; what follows is of one namespace only.
    Narrowed(Kind, String),
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

/// What a screen can say of a kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DataState {
    Loading,
    Empty,
    Filled(usize),
    Forbidden,
    /// The cluster does not serve this kind.
    Absent,
    /// What is there is as old as the time when the watch broke.
    Stale {
        since: Option<Timestamp>,
        reason: String,
    },
}

#[derive(Debug, Clone, Default)]
pub struct Store {
    objects: BTreeMap<ObjectKey, Object>,
    classes: Objects<GatewayClass>,
    gateways: Objects<Gateway>,
    listener_sets: Objects<ListenerSet>,
    routes: Objects<Route>,
    grants: Objects<Grant>,
    services: Objects<Service>,
    pools: Objects<Pool>,
    ingresses: Objects<Ingress>,
    secrets: Objects<Secret>,
    policies: Objects<Policy>,
    /// By Service and by name of the slice.
    endpoints: HashMap<(String, String), BTreeMap<String, Endpoints>>,
    /// The Service of each slice.
    slices: BTreeMap<ObjectKey, String>,
    labels: BTreeMap<String, Arc<BTreeMap<String, String>>>,
    feeds: BTreeMap<Kind, Feed>,
    /// Kinds whose list was complete at least once.
    listed: BTreeSet<Kind>,
    lost: BTreeMap<Kind, Timestamp>,
    narrowed: BTreeMap<Kind, String>,
    now: Option<Timestamp>,
    revision: u64,
}

impl Store {
    /// The time at which what is applied next is heard.
    pub fn at(&mut self, now: Timestamp) {
        self.now = Some(now);
    }

    pub fn apply(&mut self, change: Change) {
        self.revision += 1;
        match change {
            Change::Apply(kind, object) => {
                let _ = self.insert(kind, object);
                self.tell(kind, Feed::Live);
            }
            Change::Delete(key) => self.remove(&key),
            Change::Replace(kind, objects) => {
                let mut gone: BTreeSet<ObjectKey> = self.keys(kind).cloned().collect();
                for object in objects {
                    if let Some(key) = self.insert(kind, object) {
                        gone.remove(&key);
                    }
                }
                for key in gone {
                    self.remove(&key);
                }
                self.listed.insert(kind);
                self.tell(kind, Feed::Live);
            }
            // A relist keeps what is on the screen until the new list is complete.
            Change::Loading(kind) => {
                self.feeds.entry(kind).or_default();
            }
            Change::Forbidden(kind) => self.tell(kind, Feed::Forbidden),
            Change::Missing(kind) => self.tell(kind, Feed::Missing),
            Change::Lost(kind, reason) => {
                if !matches!(self.feed(kind), Feed::Lost(_))
                    && let Some(now) = self.now
                {
                    self.lost.insert(kind, now);
                }
                self.feeds.insert(kind, Feed::Lost(reason));
            }
            Change::Narrowed(kind, namespace) => {
                self.narrowed.insert(kind, namespace);
            }
        }
    }

    fn tell(&mut self, kind: Kind, feed: Feed) {
        self.lost.remove(&kind);
        self.feeds.insert(kind, feed);
    }

    /// The key of what was put there.
    fn insert(&mut self, kind: Kind, object: Object) -> Option<ObjectKey> {
        let value = object.value();
        let key = key_of(kind, &value)?;
        let (of, at) = (&value, key.clone());
        match kind {
            Kind::GatewayClass => put(&mut self.classes, at, |key| GatewayClass::read(key, of)),
            Kind::Gateway => put(&mut self.gateways, at, |key| Gateway::read(key, of)),
            Kind::ListenerSet => put(&mut self.listener_sets, at, |key| ListenerSet::read(key, of)),
            Kind::HttpRoute | Kind::GrpcRoute | Kind::TlsRoute | Kind::TcpRoute | Kind::UdpRoute => {
                put(&mut self.routes, at, |key| Route::read(key, of));
            }
            Kind::ReferenceGrant => put(&mut self.grants, at, |key| Grant::read(key, of)),
            Kind::Service => put(&mut self.services, at, |key| Service::read(key, of)),
            Kind::InferencePool => put(&mut self.pools, at, |key| Pool::read(key, of)),
            Kind::Ingress => put(&mut self.ingresses, at, |key| Ingress::read(key, of)),
            Kind::Secret => put(&mut self.secrets, at, |key| Secret::read(key, of)),
            Kind::BackendTlsPolicy | Kind::Policy(_) => put(&mut self.policies, at, |key| Policy::read(key, of)),
            Kind::EndpointSlice => {
                self.drop_slice(&key);
                let slice = Endpoints::read(&key, of);
                self.slices.insert(at, slice.service.clone());
                let of_service = self.endpoints.entry((key.namespace.clone(), slice.service.clone())).or_default();
                of_service.insert(key.name.clone(), slice);
            }
            Kind::Namespace => {
                self.labels.insert(at.name, Arc::new(map(of.pointer("/metadata/labels"))));
            }
        }
        self.objects.insert(key.clone(), object);
        Some(key)
    }

    fn remove(&mut self, key: &ObjectKey) {
        self.objects.remove(key);
        match key.kind {
            Kind::GatewayClass => drop(self.classes.remove(key)),
            Kind::Gateway => drop(self.gateways.remove(key)),
            Kind::ListenerSet => drop(self.listener_sets.remove(key)),
            Kind::HttpRoute | Kind::GrpcRoute | Kind::TlsRoute | Kind::TcpRoute | Kind::UdpRoute => {
                self.routes.remove(key);
            }
            Kind::ReferenceGrant => drop(self.grants.remove(key)),
            Kind::Service => drop(self.services.remove(key)),
            Kind::InferencePool => drop(self.pools.remove(key)),
            Kind::Ingress => drop(self.ingresses.remove(key)),
            Kind::Secret => drop(self.secrets.remove(key)),
            Kind::BackendTlsPolicy | Kind::Policy(_) => drop(self.policies.remove(key)),
            Kind::EndpointSlice => self.drop_slice(key),
            Kind::Namespace => drop(self.labels.remove(&key.name)),
        }
    }

    fn drop_slice(&mut self, key: &ObjectKey) {
        let Some(service) = self.slices.remove(key) else { return };
        let of = (key.namespace.clone(), service);
        if let Some(slices) = self.endpoints.get_mut(&of) {
            slices.remove(&key.name);
            if slices.is_empty() {
                self.endpoints.remove(&of);
            }
        }
    }

    fn keys(&self, kind: Kind) -> impl Iterator<Item = &ObjectKey> {
        self.of_kind(kind).map(|(key, _)| key)
    }

    /// All objects of a kind as they were received.
    pub fn of_kind(&self, kind: Kind) -> impl Iterator<Item = (&ObjectKey, &Object)> {
        self.objects.range(ObjectKey::new(kind, "", "")..).take_while(move |(key, _)| key.kind == kind)
    }

    pub fn get(&self, key: &ObjectKey) -> Option<&Object> {
        self.objects.get(key)
    }

    pub fn route(&self, key: &ObjectKey) -> Option<&Arc<Route>> {
        self.routes.get(key)
    }

    pub fn gateway(&self, key: &ObjectKey) -> Option<&Arc<Gateway>> {
        self.gateways.get(key)
    }

    pub fn class(&self, name: &str) -> Option<&Arc<GatewayClass>> {
        self.classes.get(&ObjectKey::new(Kind::GatewayClass, "", name))
    }

    pub fn listener_set(&self, key: &ObjectKey) -> Option<&Arc<ListenerSet>> {
        self.listener_sets.get(key)
    }

    /// Listeners of a Gateway or a ListenerSet with the generation that their conditions are about.
    pub fn listeners(&self, key: &ObjectKey) -> Option<(&[Listener], i64)> {
        match key.kind {
            Kind::Gateway => self.gateway(key).map(|of| (of.listeners.as_slice(), of.generation)),
            Kind::ListenerSet => self.listener_set(key).map(|of| (of.listeners.as_slice(), of.generation)),
            _ => None,
        }
    }

    pub fn service(&self, namespace: &str, name: &str) -> Option<&Arc<Service>> {
        self.services.get(&ObjectKey::new(Kind::Service, namespace, name))
    }

    pub fn pool(&self, namespace: &str, name: &str) -> Option<&Arc<Pool>> {
        self.pools.get(&ObjectKey::new(Kind::InferencePool, namespace, name))
    }

    pub fn secret(&self, namespace: &str, name: &str) -> Option<&Arc<Secret>> {
        self.secrets.get(&ObjectKey::new(Kind::Secret, namespace, name))
    }

    pub fn policy(&self, key: &ObjectKey) -> Option<&Arc<Policy>> {
        self.policies.get(key)
    }

    /// Labels of a namespace, if it is known.
    pub fn labels(&self, namespace: &str) -> Option<&BTreeMap<String, String>> {
        self.labels.get(namespace).map(AsRef::as_ref)
    }

    /// Names and labels of all namespaces.
    pub fn namespaces(&self) -> impl Iterator<Item = (&str, &BTreeMap<String, String>)> {
        self.labels.iter().map(|(name, labels)| (name.as_str(), &**labels))
    }

    /// Routes of every kind.
    pub fn routes(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.routes.values()
    }

    pub fn gateways(&self) -> impl Iterator<Item = &Arc<Gateway>> {
        self.gateways.values()
    }

    pub fn classes(&self) -> impl Iterator<Item = &Arc<GatewayClass>> {
        self.classes.values()
    }

    pub fn listener_sets(&self) -> impl Iterator<Item = &Arc<ListenerSet>> {
        self.listener_sets.values()
    }

    pub fn grants(&self) -> impl Iterator<Item = &Arc<Grant>> {
        self.grants.values()
    }

    pub fn services(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.services.values()
    }

    pub fn pools(&self) -> impl Iterator<Item = &Arc<Pool>> {
        self.pools.values()
    }

    pub fn ingresses(&self) -> impl Iterator<Item = &Arc<Ingress>> {
        self.ingresses.values()
    }

    pub fn secrets(&self) -> impl Iterator<Item = &Arc<Secret>> {
        self.secrets.values()
    }

    /// Policies of every kind, BackendTLSPolicy among them.
    pub fn policies(&self) -> impl Iterator<Item = &Arc<Policy>> {
        self.policies.values()
    }

    pub fn count(&self, kind: Kind) -> usize {
        self.of_kind(kind).count()
    }

    /// Grows with every change: what was computed from an older one is out of date.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    pub fn feed(&self, kind: Kind) -> &Feed {
        self.feeds.get(&kind).unwrap_or(&Feed::Loading)
    }

    /// Kinds that a watch has spoken of, policies that were discovered among them.
    pub fn kinds(&self) -> impl Iterator<Item = Kind> {
        self.feeds.keys().copied()
    }

    /// The only namespace that is seen of a kind, where the cluster's whole list is forbidden.
    pub fn narrowed(&self, kind: Kind) -> Option<&str> {
        self.narrowed.get(&kind).map(String::as_str)
    }

    pub fn state(&self, kind: Kind) -> DataState {
        match self.feed(kind) {
            Feed::Loading => DataState::Loading,
            Feed::Forbidden => DataState::Forbidden,
            Feed::Missing => DataState::Absent,
            Feed::Lost(reason) => DataState::Stale { since: self.lost.get(&kind).copied(), reason: reason.clone() },
            Feed::Live => match self.count(kind) {
                0 => DataState::Empty,
                count => DataState::Filled(count),
            },
        }
    }

    /// Whether the kind was ever listed, be it in one namespace.
    pub fn sees_any(&self, kind: Kind) -> bool {
        self.listed.contains(&kind)
    }

    /// Whether an object of the kind that is not in the store does not exist either.
    pub fn sees(&self, kind: Kind, namespace: &str) -> bool {
        // What was seen before the loss was complete.
        matches!(self.feed(kind), Feed::Live | Feed::Lost(_))
            && self.listed.contains(&kind)
            && self.narrowed.get(&kind).is_none_or(|only| only == namespace)
    }

    /// The slices of a Service.
    pub fn endpoints(&self, namespace: &str, service: &str) -> impl Iterator<Item = &Endpoints> {
        self.endpoints.get(&(namespace.to_owned(), service.to_owned())).into_iter().flat_map(BTreeMap::values)
    }

    /// Ready and all endpoints of a Service; none while they cannot be known.
    pub fn ready(&self, namespace: &str, service: &str) -> Option<(usize, usize)> {
        if *self.feed(Kind::EndpointSlice) != Feed::Live || !self.sees(Kind::EndpointSlice, namespace) {
            return None;
        }
        let slices = self.endpoints(namespace, service);
        Some(slices.fold((0, 0), |(ready, all), slice| (ready + slice.ready, all + slice.total)))
    }
}

fn put<T>(into: &mut Objects<T>, key: ObjectKey, read: impl FnOnce(ObjectKey) -> T) {
    let object = read(key.clone());
    into.insert(key, Arc::new(object));
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

    fn route(name: &str) -> Object {
        Object::from(json!({"metadata": {"name": name, "namespace": "shop"}}))
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
            Object::from(json!({"metadata": {"name": name, "namespace": "shop",
                "labels": {"kubernetes.io/service-name": "cart"}}, "endpoints": [{"conditions": {"ready": ready}}, {}]}))
        };
        assert_eq!(store.ready("shop", "cart"), None);
        store.apply(Change::Replace(Kind::EndpointSlice, vec![slice("x", true), slice("y", false)]));
        assert_eq!(store.ready("shop", "cart"), Some((3, 4)));
        assert_eq!(store.ready("shop", "none"), Some((0, 0)));
    }

    #[test]
    fn a_slice_that_changes_hands_leaves_its_old_service() {
        let mut store = Store::default();
        let slice = |service: &str| {
            Object::from(json!({"metadata": {"name": "x", "namespace": "shop",
                "labels": {"kubernetes.io/service-name": service}}, "endpoints": [{}]}))
        };
        store.apply(Change::Replace(Kind::EndpointSlice, vec![slice("cart")]));
        store.apply(Change::Apply(Kind::EndpointSlice, slice("till")));
        assert_eq!((store.ready("shop", "cart"), store.ready("shop", "till")), (Some((0, 0)), Some((1, 1))));
        store.apply(Change::Delete(ObjectKey::new(Kind::EndpointSlice, "shop", "x")));
        assert_eq!(store.ready("shop", "till"), Some((0, 0)));
    }

    #[test]
    fn what_is_known_of_a_kind_is_one_of_six_things() {
        let (mut store, kind) = (Store::default(), Kind::HttpRoute);
        assert_eq!(store.state(kind), DataState::Loading);
        store.apply(Change::Replace(kind, Vec::new()));
        assert_eq!(store.state(kind), DataState::Empty);
        store.apply(Change::Apply(kind, route("a")));
        assert_eq!(store.state(kind), DataState::Filled(1));
        let then = Timestamp::from_second(1000).unwrap();
        store.at(then);
        store.apply(Change::Lost(kind, "refused".to_owned()));
        store.at(Timestamp::from_second(2000).unwrap());
        store.apply(Change::Lost(kind, "timed out".to_owned()));
        assert_eq!(store.state(kind), DataState::Stale { since: Some(then), reason: "timed out".to_owned() });
        store.apply(Change::Forbidden(kind));
        assert_eq!(store.state(kind), DataState::Forbidden);
        store.apply(Change::Missing(kind));
        assert_eq!(store.state(kind), DataState::Absent);
    }

    #[test]
    fn of_one_namespace_nothing_is_concluded_about_others() {
        let mut store = Store::default();
        store.apply(Change::Narrowed(Kind::Service, "shop".to_owned()));
        store.apply(Change::Replace(Kind::Service, Vec::new()));
        assert!(store.sees(Kind::Service, "shop") && !store.sees(Kind::Service, "pay"));
        store.apply(Change::Lost(Kind::Gateway, "refused".to_owned()));
        assert!(!store.sees(Kind::Gateway, "shop"), "nothing was ever listed");
    }
}
