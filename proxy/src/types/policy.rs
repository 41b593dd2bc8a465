//! BackendTLSPolicy: TLS from the Gateway to a Service.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Object,
    refs::{LocalRef, ParentRef},
    rules,
};

pub type BackendTlsPolicy = Object<BackendTlsPolicySpec, PolicyStatus>;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackendTlsPolicySpec {
    #[schemars(
        length(min = 1, max = 16),
        extend("x-kubernetes-list-type" = "atomic", "x-kubernetes-validations" = rules::distinct_sections(false))
    )]
    pub target_refs: Vec<TargetRef>,
    pub validation: BackendTlsValidation,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "rules::options")]
    pub options: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TargetRef {
    #[schemars(schema_with = "rules::group")]
    pub group: String,
    #[schemars(schema_with = "rules::kind")]
    pub kind: String,
    #[schemars(schema_with = "rules::object_name")]
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "rules::section_name")]
    pub section_name: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::cel(&[(
    "(has(self.caCertificateRefs) && size(self.caCertificateRefs) > 0) != \
     (has(self.wellKnownCACertificates) && self.wellKnownCACertificates != '')",
    "exactly one of caCertificateRefs and wellKnownCACertificates must be set",
)])))]
pub struct BackendTlsValidation {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "atomic"))]
    pub ca_certificate_refs: Vec<LocalRef>,
    #[serde(rename = "wellKnownCACertificates", default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "rules::well_known_ca")]
    pub well_known_ca_certificates: Option<String>,
    #[schemars(schema_with = "rules::precise_hostname")]
    pub hostname: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 5), extend("x-kubernetes-list-type" = "atomic"))]
    pub subject_alt_names: Vec<SubjectAltName>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-kubernetes-validations" = rules::union(&[("Hostname", "hostname"), ("URI", "uri")])))]
pub struct SubjectAltName {
    #[serde(rename = "type")]
    #[schemars(extend("enum" = ["Hostname", "URI"]))]
    pub type_: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "rules::hostname")]
    pub hostname: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "rules::uri")]
    pub uri: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("required" = ["ancestors"]))]
pub struct PolicyStatus {
    #[serde(default)]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub ancestors: Vec<AncestorStatus>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("required" = ["ancestorRef", "controllerName", "conditions"]))]
pub struct AncestorStatus {
    pub ancestor_ref: ParentRef,
    #[schemars(schema_with = "rules::controller_name")]
    pub controller_name: String,
    #[serde(default)]
    #[schemars(schema_with = "rules::some_conditions")]
    pub conditions: Vec<Condition>,
}
