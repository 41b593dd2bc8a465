//! References between objects, and what is shared by all kinds of route.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{GROUP, Key, rules};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ParentRef {
    #[serde(default = "gateway_group")]
    #[schemars(schema_with = "rules::group")]
    pub group: String,
    #[serde(default = "gateway_kind")]
    #[schemars(schema_with = "rules::kind")]
    pub kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "rules::namespace")]
    pub namespace: Option<String>,
    #[schemars(schema_with = "rules::object_name")]
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "rules::section_name")]
    pub section_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "rules::port")]
    pub port: Option<u16>,
}

impl ParentRef {
    /// As a status names a Gateway.
    pub fn gateway(key: &Key) -> Self {
        Self {
            group: gateway_group(),
            kind: gateway_kind(),
            namespace: Some(key.namespace.clone()),
            name: key.name.clone(),
            section_name: None,
            port: None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::cel(&[(
    "self.group != '' || self.kind != 'Service' || has(self.port)",
    "a Service reference needs a port",
)])))]
pub struct BackendObjectRef {
    #[serde(default)]
    #[schemars(schema_with = "rules::group")]
    pub group: String,
    #[serde(default = "service_kind")]
    #[schemars(schema_with = "rules::kind")]
    pub kind: String,
    #[schemars(schema_with = "rules::object_name")]
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "rules::namespace")]
    pub namespace: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "rules::port")]
    pub port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretRef {
    #[serde(default)]
    #[schemars(schema_with = "rules::group")]
    pub group: String,
    #[serde(default = "secret_kind")]
    #[schemars(schema_with = "rules::kind")]
    pub kind: String,
    #[schemars(schema_with = "rules::object_name")]
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "rules::namespace")]
    pub namespace: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("required" = ["parents"]))]
pub struct RouteStatus {
    #[serde(default)]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "atomic"))]
    pub parents: Vec<RouteParentStatus>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("required" = ["parentRef", "controllerName", "conditions"]))]
pub struct RouteParentStatus {
    pub parent_ref: ParentRef,
    #[schemars(schema_with = "rules::controller_name")]
    pub controller_name: String,
    #[serde(default)]
    #[schemars(schema_with = "rules::some_conditions")]
    pub conditions: Vec<Condition>,
}

/// A reference within the same namespace to any kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LocalRef {
    #[schemars(schema_with = "rules::group")]
    pub group: String,
    #[schemars(schema_with = "rules::kind")]
    pub kind: String,
    #[schemars(schema_with = "rules::object_name")]
    pub name: String,
}

/// A reference to any kind, here or in another namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AnyRef {
    #[schemars(schema_with = "rules::group")]
    pub group: String,
    #[schemars(schema_with = "rules::kind")]
    pub kind: String,
    #[schemars(schema_with = "rules::object_name")]
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "rules::namespace")]
    pub namespace: Option<String>,
}

pub(super) fn gateway_group() -> String {
    GROUP.to_owned()
}

pub(super) fn gateway_kind() -> String {
    "Gateway".to_owned()
}

fn service_kind() -> String {
    "Service".to_owned()
}

fn secret_kind() -> String {
    "Secret".to_owned()
}
