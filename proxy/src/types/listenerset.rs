//! ListenerSet: listeners that another team adds to a Gateway.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    Object,
    gateway::{Listener, ListenerStatus},
    refs::{gateway_group, gateway_kind},
    rules,
};

pub type ListenerSet = Object<ListenerSetSpec, ListenerSetStatus>;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListenerSetSpec {
    pub parent_ref: ParentGatewayRef,
    #[schemars(
        length(min = 1, max = 64),
        extend(
            "x-kubernetes-list-type" = "map",
            "x-kubernetes-list-map-keys" = ["name"],
            "x-kubernetes-validations" = rules::listeners("ListenerSet"),
        )
    )]
    pub listeners: Vec<Listener>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ParentGatewayRef {
    #[serde(default = "gateway_group")]
    #[schemars(schema_with = "rules::group")]
    pub group: String,
    #[serde(default = "gateway_kind")]
    #[schemars(schema_with = "rules::kind")]
    pub kind: String,
    #[schemars(schema_with = "rules::object_name")]
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "rules::namespace")]
    pub namespace: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("default" = json!({ "conditions": rules::pending(&["Accepted", "Programmed"]) })))]
pub struct ListenerSetStatus {
    #[serde(default)]
    #[schemars(
        schema_with = "rules::conditions",
        extend("default" = rules::pending(&["Accepted", "Programmed"]))
    )]
    pub conditions: Vec<Condition>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub listeners: Vec<ListenerStatus>,
}
