//! TCPRoute, UDPRoute and TLSRoute: routes that pass bytes on.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Object,
    refs::{BackendObjectRef, ParentRef, RouteStatus},
    rules,
};

pub type TcpRoute = Object<StreamRouteSpec, RouteStatus>;
pub type UdpRoute = Object<StreamRouteSpec, RouteStatus>;
pub type TlsRoute = Object<TlsRouteSpec, RouteStatus>;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StreamRouteSpec {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 32),
        extend("x-kubernetes-list-type" = "atomic", "x-kubernetes-validations" = rules::distinct_sections(true))
    )]
    pub parent_refs: Vec<ParentRef>,
    #[schemars(length(min = 1, max = 1), extend("x-kubernetes-list-type" = "atomic"))]
    pub rules: Vec<StreamRule>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TlsRouteSpec {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 32),
        extend("x-kubernetes-list-type" = "atomic", "x-kubernetes-validations" = rules::distinct_sections(true))
    )]
    pub parent_refs: Vec<ParentRef>,
    #[schemars(schema_with = "rules::server_names")]
    pub hostnames: Vec<String>,
    #[schemars(length(min = 1, max = 1), extend("x-kubernetes-list-type" = "atomic"))]
    pub rules: Vec<StreamRule>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StreamRule {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "rules::section_name")]
    pub name: Option<String>,
    #[schemars(length(min = 1, max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub backend_refs: Vec<WeightedRef>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WeightedRef {
    #[serde(flatten)]
    pub backend: BackendObjectRef,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "rules::weight")]
    pub weight: Option<u32>,
}
