//! GRPCRoute.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Object,
    httproute::{HeaderModifier, NameValueMatch, RequestMirror},
    refs::{BackendObjectRef, LocalRef, ParentRef, RouteStatus},
    rules,
};

pub type GrpcRoute = Object<GrpcRouteSpec, RouteStatus>;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GrpcRouteSpec {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 32),
        extend("x-kubernetes-list-type" = "atomic", "x-kubernetes-validations" = rules::distinct_sections(true))
    )]
    pub parent_refs: Vec<ParentRef>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "rules::hostnames")]
    pub hostnames: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        extend("x-kubernetes-list-type" = "atomic", "x-kubernetes-validations" = rules::total_matches())
    )]
    pub rules: Vec<GrpcRule>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GrpcRule {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "rules::section_name")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "atomic"))]
    pub matches: Vec<GrpcMatch>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        extend("x-kubernetes-list-type" = "atomic", "x-kubernetes-validations" = once_each())
    )]
    pub filters: Vec<GrpcFilter>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub backend_refs: Vec<GrpcBackendRef>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GrpcMatch {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<GrpcMethodMatch>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub headers: Vec<NameValueMatch>,
}

/// A service, a method, or a method of a service; `type` is `Exact` (the default) or
/// `RegularExpression`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-kubernetes-validations" = rules::cel(&[
    ("has(self.service) || has(self.method)", "a method match names a service, a method or both"),
    (
        r"self.type != 'Exact' || !has(self.service) || self.service.matches(r'^\.?[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$')",
        "service is a full name of letters, digits, '_' and '.'",
    ),
    (
        r"self.type != 'Exact' || !has(self.method) || self.method.matches(r'^[A-Za-z_][A-Za-z_0-9]*$')",
        "method is a name of letters, digits and '_'",
    ),
])))]
pub struct GrpcMethodMatch {
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["Exact", "RegularExpression"], "default" = "Exact"))]
    pub type_: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub service: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub method: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GrpcBackendRef {
    #[serde(flatten)]
    pub backend: BackendObjectRef,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "rules::weight")]
    pub weight: Option<u32>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        extend("x-kubernetes-list-type" = "atomic", "x-kubernetes-validations" = once_each())
    )]
    pub filters: Vec<GrpcFilter>,
}

/// One filter: `type` says which of the other fields carries its settings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::union(&[
    ("RequestHeaderModifier", "requestHeaderModifier"),
    ("ResponseHeaderModifier", "responseHeaderModifier"),
    ("RequestMirror", "requestMirror"),
    ("ExtensionRef", "extensionRef"),
])))]
pub struct GrpcFilter {
    #[serde(rename = "type")]
    #[schemars(extend("enum" = [
        "RequestHeaderModifier", "ResponseHeaderModifier", "RequestMirror", "ExtensionRef",
    ]))]
    pub type_: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_header_modifier: Option<HeaderModifier>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_header_modifier: Option<HeaderModifier>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_mirror: Option<RequestMirror>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extension_ref: Option<LocalRef>,
}

fn once_each() -> serde_json::Value {
    rules::filters(&["RequestHeaderModifier", "ResponseHeaderModifier"], None)
}
