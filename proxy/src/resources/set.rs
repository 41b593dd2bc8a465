//! Typed objects by key. Pure: watches fill it, compile reads it.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::{
    api::{
        core::v1::{ConfigMap, Namespace, Secret, Service},
        discovery::v1::EndpointSlice,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use super::{Changes, Kind};
use crate::types::{
    BackendTlsPolicy, Gateway, GatewayClass, GrpcRoute, HttpRoute, Key, ListenerSet, Object, ReferenceGrant, TcpRoute,
    TlsRoute, UdpRoute, refs::RouteStatus,
};

#[derive(Clone, Debug, Default)]
pub struct Set {
    pub classes: BTreeMap<String, Arc<GatewayClass>>,
    pub gateways: BTreeMap<Key, Arc<Gateway>>,
    pub listener_sets: BTreeMap<Key, Arc<ListenerSet>>,
    pub http_routes: BTreeMap<Key, Arc<HttpRoute>>,
    pub grpc_routes: BTreeMap<Key, Arc<GrpcRoute>>,
    pub tls_routes: BTreeMap<Key, Arc<TlsRoute>>,
    pub tcp_routes: BTreeMap<Key, Arc<TcpRoute>>,
    pub udp_routes: BTreeMap<Key, Arc<UdpRoute>>,
    pub backend_tls_policies: BTreeMap<Key, Arc<BackendTlsPolicy>>,
    pub grants: BTreeMap<Key, Arc<ReferenceGrant>>,
    pub namespaces: BTreeMap<String, Arc<Namespace>>,
    pub services: BTreeMap<Key, Arc<Service>>,
    pub endpoint_slices: BTreeMap<Key, Arc<EndpointSlice>>,
    pub secrets: BTreeMap<Key, Arc<Secret>>,
    pub config_maps: BTreeMap<Key, Arc<ConfigMap>>,
    /// Since it was last compiled; whoever compiles it with a memory empties this.
    pub changes: Changes,
}

/// What a route of any kind has for those who write its status.
#[derive(Clone, Copy, Debug)]
pub struct RouteView<'a> {
    pub metadata: &'a ObjectMeta,
    pub status: Option<&'a RouteStatus>,
}

impl<'a, Spec> From<&'a Object<Spec, RouteStatus>> for RouteView<'a> {
    fn from(route: &'a Object<Spec, RouteStatus>) -> Self {
        Self { metadata: &route.metadata, status: route.status.as_ref() }
    }
}

impl Set {
    pub fn route(&self, kind: Kind, key: &Key) -> Option<RouteView<'_>> {
        match kind {
            Kind::HttpRoute => self.http_routes.get(key).map(|route| (&**route).into()),
            Kind::GrpcRoute => self.grpc_routes.get(key).map(|route| (&**route).into()),
            Kind::TlsRoute => self.tls_routes.get(key).map(|route| (&**route).into()),
            Kind::TcpRoute => self.tcp_routes.get(key).map(|route| (&**route).into()),
            Kind::UdpRoute => self.udp_routes.get(key).map(|route| (&**route).into()),
            _ => None,
        }
    }

    /// Every route of every kind.
    pub fn routes(&self) -> impl Iterator<Item = (Kind, &Key, RouteView<'_>)> {
        fn all<Spec>(
            kind: Kind,
            routes: &BTreeMap<Key, Arc<Object<Spec, RouteStatus>>>,
        ) -> impl Iterator<Item = (Kind, &Key, RouteView<'_>)> {
            routes.iter().map(move |(key, route)| (kind, key, (&**route).into()))
        }
        all(Kind::HttpRoute, &self.http_routes)
            .chain(all(Kind::GrpcRoute, &self.grpc_routes))
            .chain(all(Kind::TlsRoute, &self.tls_routes))
            .chain(all(Kind::TcpRoute, &self.tcp_routes))
            .chain(all(Kind::UdpRoute, &self.udp_routes))
    }
}
