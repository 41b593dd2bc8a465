//! ReferenceGrant.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Object, rules};

pub type ReferenceGrant = Object<ReferenceGrantSpec, Value>;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("required" = ["from", "to"]))]
pub struct ReferenceGrantSpec {
    #[serde(default)]
    #[schemars(length(min = 1, max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub from: Vec<GrantFrom>,
    #[serde(default)]
    #[schemars(length(min = 1, max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub to: Vec<GrantTo>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GrantFrom {
    #[schemars(schema_with = "rules::group")]
    pub group: String,
    #[schemars(schema_with = "rules::kind")]
    pub kind: String,
    #[schemars(schema_with = "rules::namespace")]
    pub namespace: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GrantTo {
    #[schemars(schema_with = "rules::group")]
    pub group: String,
    #[schemars(schema_with = "rules::kind")]
    pub kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "rules::object_name")]
    pub name: Option<String>,
}
