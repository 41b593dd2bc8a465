//! Typed objects by key. Pure: watches fill it, compile reads it.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::api::{
    core::v1::{Namespace, Secret, Service},
    discovery::v1::EndpointSlice,
};

use crate::types::{Gateway, GatewayClass, HttpRoute, Key, ReferenceGrant};

#[derive(Clone, Debug, Default)]
pub struct Set {
    pub classes: BTreeMap<String, Arc<GatewayClass>>,
    pub gateways: BTreeMap<Key, Arc<Gateway>>,
    pub http_routes: BTreeMap<Key, Arc<HttpRoute>>,
    pub grants: BTreeMap<Key, Arc<ReferenceGrant>>,
    pub namespaces: BTreeMap<String, Arc<Namespace>>,
    pub services: BTreeMap<Key, Arc<Service>>,
    pub endpoint_slices: BTreeMap<Key, Arc<EndpointSlice>>,
    pub secrets: BTreeMap<Key, Arc<Secret>>,
}
