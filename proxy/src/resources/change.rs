//! What a watch saw, folded into a [`Set`]. Pure.

use std::{collections::BTreeMap, fmt, sync::Arc};

use k8s_openapi::{
    api::{
        core::v1::{ConfigMap, Namespace, Secret, Service},
        discovery::v1::EndpointSlice,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Set;
use crate::contract::{ACCEPT_PROXY_ANNOTATION, SEND_PROXY_ANNOTATION};
use crate::types::{
    BackendTlsPolicy, GROUP, Gateway, GatewayClass, GrpcRoute, HttpRoute, Key, ListenerSet, ReferenceGrant, TcpRoute,
    TlsRoute, UdpRoute,
};

#[cfg(test)]
mod tests;

/// The kinds that are watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    GatewayClass,
    Gateway,
    ListenerSet,
    HttpRoute,
    GrpcRoute,
    TlsRoute,
    TcpRoute,
    UdpRoute,
    BackendTlsPolicy,
    ReferenceGrant,
    Namespace,
    Service,
    EndpointSlice,
    Secret,
    ConfigMap,
}

impl Kind {
    pub const ALL: [Self; 15] = [
        Self::GatewayClass,
        Self::Gateway,
        Self::ListenerSet,
        Self::HttpRoute,
        Self::GrpcRoute,
        Self::TlsRoute,
        Self::TcpRoute,
        Self::UdpRoute,
        Self::BackendTlsPolicy,
        Self::ReferenceGrant,
        Self::Namespace,
        Self::Service,
        Self::EndpointSlice,
        Self::Secret,
        Self::ConfigMap,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::GatewayClass => "GatewayClass",
            Self::Gateway => "Gateway",
            Self::ListenerSet => "ListenerSet",
            Self::HttpRoute => "HTTPRoute",
            Self::GrpcRoute => "GRPCRoute",
            Self::TlsRoute => "TLSRoute",
            Self::TcpRoute => "TCPRoute",
            Self::UdpRoute => "UDPRoute",
            Self::BackendTlsPolicy => "BackendTLSPolicy",
            Self::ReferenceGrant => "ReferenceGrant",
            Self::Namespace => "Namespace",
            Self::Service => "Service",
            Self::EndpointSlice => "EndpointSlice",
            Self::Secret => "Secret",
            Self::ConfigMap => "ConfigMap",
        }
    }
}

impl Kind {
    /// The API group; empty for the core.
    pub fn group(self) -> &'static str {
        match self {
            Self::Namespace | Self::Service | Self::Secret => "",
            Self::EndpointSlice => "discovery.k8s.io",
            _ => GROUP,
        }
    }

    pub fn is_namespaced(self) -> bool {
        !matches!(self, Self::GatewayClass | Self::Namespace)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[derive(Debug)]
pub enum Change {
    GatewayClass(Op<GatewayClass>),
    Gateway(Op<Gateway>),
    ListenerSet(Op<ListenerSet>),
    HttpRoute(Op<HttpRoute>),
    GrpcRoute(Op<GrpcRoute>),
    TlsRoute(Op<TlsRoute>),
    TcpRoute(Op<TcpRoute>),
    UdpRoute(Op<UdpRoute>),
    BackendTlsPolicy(Op<BackendTlsPolicy>),
    ReferenceGrant(Op<ReferenceGrant>),
    Namespace(Op<Namespace>),
    Service(Op<Service>),
    EndpointSlice(Op<EndpointSlice>),
    Secret(Op<Secret>),
    ConfigMap(Op<ConfigMap>),
}

#[derive(Debug)]
pub enum Op<T> {
    /// All objects of the kind, at once. Of `unreadable` ones the last readable state is kept.
    Replace {
        objects: Vec<Arc<T>>,
        unreadable: Vec<Key>,
    },
    Apply(Arc<T>),
    Delete(Key),
    /// The API does not serve the kind, or refuses it: as good as none exist, until it does.
    Missing,
}

/// How far a change reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    None,
    /// Only what somebody wrote as status: what we say there has to be looked at again.
    Status,
    /// What requests or verdicts depend on.
    Config,
}

impl Change {
    /// That there is this object.
    pub fn apply(kind: Kind, object: Value) -> serde_json::Result<Self> {
        fn op<T: DeserializeOwned>(object: Value) -> serde_json::Result<Op<T>> {
            serde_json::from_value(object).map(|object| Op::Apply(Arc::new(object)))
        }
        Ok(match kind {
            Kind::GatewayClass => Self::GatewayClass(op(object)?),
            Kind::Gateway => Self::Gateway(op(object)?),
            Kind::ListenerSet => Self::ListenerSet(op(object)?),
            Kind::HttpRoute => Self::HttpRoute(op(object)?),
            Kind::GrpcRoute => Self::GrpcRoute(op(object)?),
            Kind::TlsRoute => Self::TlsRoute(op(object)?),
            Kind::TcpRoute => Self::TcpRoute(op(object)?),
            Kind::UdpRoute => Self::UdpRoute(op(object)?),
            Kind::BackendTlsPolicy => Self::BackendTlsPolicy(op(object)?),
            Kind::ReferenceGrant => Self::ReferenceGrant(op(object)?),
            Kind::Namespace => Self::Namespace(op(object)?),
            Kind::Service => Self::Service(op(object)?),
            Kind::EndpointSlice => Self::EndpointSlice(op(object)?),
            Kind::Secret => Self::Secret(op(object)?),
            Kind::ConfigMap => Self::ConfigMap(op(object)?),
        })
    }

    pub fn kind(&self) -> Kind {
        match self {
            Self::GatewayClass(_) => Kind::GatewayClass,
            Self::Gateway(_) => Kind::Gateway,
            Self::ListenerSet(_) => Kind::ListenerSet,
            Self::HttpRoute(_) => Kind::HttpRoute,
            Self::GrpcRoute(_) => Kind::GrpcRoute,
            Self::TlsRoute(_) => Kind::TlsRoute,
            Self::TcpRoute(_) => Kind::TcpRoute,
            Self::UdpRoute(_) => Kind::UdpRoute,
            Self::BackendTlsPolicy(_) => Kind::BackendTlsPolicy,
            Self::ReferenceGrant(_) => Kind::ReferenceGrant,
            Self::Namespace(_) => Kind::Namespace,
            Self::Service(_) => Kind::Service,
            Self::EndpointSlice(_) => Kind::EndpointSlice,
            Self::Secret(_) => Kind::Secret,
            Self::ConfigMap(_) => Kind::ConfigMap,
        }
    }
}

impl Set {
    /// Takes the change in, and remembers in [`Set::changes`] what a table depends on.
    pub fn fold(&mut self, change: Change) -> Effect {
        let changes = &mut self.changes;
        let kind = change.kind();
        match change {
            Change::GatewayClass(op) => fold(&mut self.classes, op, |_, _, _| changes.everything()),
            Change::Gateway(op) => fold(&mut self.gateways, op, |_, _, _| changes.everything()),
            Change::ListenerSet(op) => fold(&mut self.listener_sets, op, |_, _, _| changes.everything()),
            Change::HttpRoute(op) => fold(&mut self.http_routes, op, |key, _, _| changes.route(kind, key)),
            Change::GrpcRoute(op) => fold(&mut self.grpc_routes, op, |key, _, _| changes.route(kind, key)),
            Change::TlsRoute(op) => fold(&mut self.tls_routes, op, |key, _, _| changes.route(kind, key)),
            Change::TcpRoute(op) => fold(&mut self.tcp_routes, op, |key, _, _| changes.route(kind, key)),
            Change::UdpRoute(op) => fold(&mut self.udp_routes, op, |key, _, _| changes.route(kind, key)),
            Change::BackendTlsPolicy(op) => fold(&mut self.backend_tls_policies, op, |_, _, _| changes.everything()),
            Change::ReferenceGrant(op) => fold(&mut self.grants, op, |_, _, _| changes.everything()),
            Change::Namespace(op) => fold(&mut self.namespaces, op, |_, _, _| changes.everything()),
            Change::Service(op) => fold(&mut self.services, op, |key, _, _| changes.service(key)),
            Change::EndpointSlice(op) => {
                fold(&mut self.endpoint_slices, op, |_, old, new| changes.slices(old.into_iter().chain(new)))
            }
            Change::Secret(op) => fold(&mut self.secrets, op, |_, _, _| changes.everything()),
            Change::ConfigMap(op) => fold(&mut self.config_maps, op, |_, _, _| changes.everything()),
        }
    }
}

/// `changed` hears of every object whose change is one of configuration, as it was and as it is.
fn fold<T: Held>(
    held: &mut BTreeMap<T::Id, Arc<T>>,
    op: Op<T>,
    mut changed: impl FnMut(&T::Id, Option<&T>, Option<&T>),
) -> Effect {
    let mut effect_of = |id: &T::Id, old: Option<&Arc<T>>, new: Option<&Arc<T>>| {
        let effect = match (old, new) {
            (Some(old), Some(new)) => old.effect_of(new),
            (None, None) => Effect::None,
            _ => Effect::Config,
        };
        if effect == Effect::Config {
            changed(id, old.map(|old| &**old), new.map(|new| &**new));
        }
        effect
    };
    match op {
        Op::Replace { objects, unreadable } => {
            let mut effect = Effect::None;
            let mut next = BTreeMap::new();
            for object in objects {
                let id = T::id(&object.key());
                effect = effect.max(effect_of(&id, held.get(&id), Some(&object)));
                next.insert(id, object);
            }
            for key in unreadable {
                let id = T::id(&key);
                if let Some(old) = held.get(&id) {
                    next.insert(id, Arc::clone(old));
                }
            }
            for (id, old) in held.iter().filter(|(id, _)| !next.contains_key(*id)) {
                effect = effect.max(effect_of(id, Some(old), None));
            }
            *held = next;
            effect
        }
        Op::Apply(object) => {
            let id = T::id(&object.key());
            let effect = effect_of(&id, held.get(&id), Some(&object));
            held.insert(id, object);
            effect
        }
        Op::Delete(key) => {
            let id = T::id(&key);
            let old = held.remove(&id);
            effect_of(&id, old.as_ref(), None)
        }
        Op::Missing => Effect::None,
    }
}

/// An object as [`Set`] holds it.
pub trait Held: Sized {
    type Id: Ord;

    fn metadata(&self) -> &ObjectMeta;
    fn id(key: &Key) -> Self::Id;
    /// What it means that `self` became `new`.
    fn effect_of(&self, new: &Self) -> Effect;

    fn key(&self) -> Key {
        key_of(self.metadata())
    }
}

pub fn key_of(metadata: &ObjectMeta) -> Key {
    Key { namespace: metadata.namespace.clone().unwrap_or_default(), name: metadata.name.clone().unwrap_or_default() }
}

/// Whether two states of an object differ in metadata that means something to routing.
fn same_metadata(old: &ObjectMeta, new: &ObjectMeta) -> bool {
    old.uid == new.uid
        && old.generation == new.generation
        && old.labels == new.labels
        && old.deletion_timestamp == new.deletion_timestamp
}

/// Most annotations are notes, and some are written here: they change nothing.
fn same_annotation(old: &ObjectMeta, new: &ObjectMeta, name: &str) -> bool {
    let of = |metadata: &ObjectMeta| metadata.annotations.as_ref().and_then(|all| all.get(name).cloned());
    of(old) == of(new)
}

macro_rules! held {
    ($kind:ty, $id:ty, $to_id:expr, same: |$old:ident, $new:ident| $same:expr) => {
        impl Held for $kind {
            type Id = $id;

            fn metadata(&self) -> &ObjectMeta {
                &self.metadata
            }

            fn id(key: &Key) -> $id {
                let to_id: fn(&Key) -> $id = $to_id;
                to_id(key)
            }

            fn effect_of(&self, new: &Self) -> Effect {
                let ($old, $new) = (self, new);
                if !same_metadata(&self.metadata, &new.metadata) || !$same {
                    Effect::Config
                } else if self.metadata.resource_version == new.metadata.resource_version {
                    Effect::None
                } else {
                    Effect::Status
                }
            }
        }
    };
}

held!(GatewayClass, String, |key| key.name.clone(), same: |old, new| old.spec == new.spec);
// Addresses follow `status.addresses`, but only ours and only at the next change of
// configuration: a status write never moves a Gateway.
held!(Gateway, Key, Key::clone, same: |old, new| {
    old.spec == new.spec && same_annotation(&old.metadata, &new.metadata, ACCEPT_PROXY_ANNOTATION)
});
held!(ListenerSet, Key, Key::clone, same: |old, new| old.spec == new.spec);
held!(HttpRoute, Key, Key::clone, same: |old, new| old.spec == new.spec);
held!(GrpcRoute, Key, Key::clone, same: |old, new| old.spec == new.spec);
held!(TlsRoute, Key, Key::clone, same: |old, new| old.spec == new.spec);
// One type for TCPRoute and UDPRoute.
held!(TcpRoute, Key, Key::clone, same: |old, new| old.spec == new.spec);
held!(BackendTlsPolicy, Key, Key::clone, same: |old, new| old.spec == new.spec);
held!(ReferenceGrant, Key, Key::clone, same: |old, new| old.spec == new.spec);
held!(Namespace, String, |key| key.name.clone(), same: |_old, _new| true);
held!(Service, Key, Key::clone, same: |old, new| {
    old.spec == new.spec && same_annotation(&old.metadata, &new.metadata, SEND_PROXY_ANNOTATION)
});
held!(EndpointSlice, Key, Key::clone, same: |old, new| {
    old.endpoints == new.endpoints && old.ports == new.ports && old.address_type == new.address_type
});
held!(Secret, Key, Key::clone, same: |old, new| old.data == new.data && old.type_ == new.type_);
held!(ConfigMap, Key, Key::clone, same: |old, new| old.data == new.data && old.binary_data == new.binary_data);
