//! The kinds that Kubernetes knows by Go types: their definitions, as its OpenAPI holds them.
//!
//! The shapes come from the generated client types; [`facts`](super::facts) adds what those leave
//! out. Definitions name one another by `$ref`, as in `components.schemas`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use k8s_openapi::api::{
    apps::v1 as apps, authentication::v1 as authentication, authorization::v1 as authorization,
    autoscaling::v1 as autoscaling_v1, autoscaling::v2 as autoscaling, batch::v1 as batch,
    coordination::v1 as coordination, core::v1 as core, discovery::v1 as discovery, events::v1 as events,
    networking::v1 as networking, node::v1 as node, policy::v1 as policy, rbac::v1 as rbac,
    scheduling::v1 as scheduling, storage::v1 as storage,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1 as apiextensions;
use k8s_openapi::apimachinery::pkg::apis::meta::v1 as meta;
use schemars::generate::{SchemaGenerator, SchemaSettings};
use schemars::{JsonSchema, Schema};
use serde_json::Value;

use super::facts;

#[cfg(test)]
mod tests;

pub(in crate::local) const REF: &str = "#/components/schemas/";
pub(in crate::local) const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// All definitions, and which of them is which kind.
#[derive(Debug)]
pub(in crate::local) struct Definitions {
    pub all: BTreeMap<String, Value>,
    /// The name of a definition by group, version and kind.
    kinds: BTreeMap<(&'static str, &'static str, &'static str), String>,
}

impl Definitions {
    pub(in crate::local) fn get() -> &'static Self {
        static DEFINITIONS: LazyLock<Definitions> = LazyLock::new(Definitions::generate);
        &DEFINITIONS
    }

    pub(in crate::local) fn name(&self, group: &str, version: &str, kind: &str) -> Option<&str> {
        let mut found = self.kinds.iter().filter(|((g, v, k), _)| *g == group && *v == version && *k == kind);
        found.next().map(|(_, name)| name.as_str())
    }

    /// The definition's name by group and kind alone, in the newest version.
    pub(in crate::local) fn newest(&self, group: &str, kind: &str) -> Option<&str> {
        let mut found = self.kinds.iter().filter(|((g, _, k), _)| *g == group && *k == kind);
        found.next_back().map(|(_, name)| name.as_str())
    }

    fn generate() -> Self {
        let settings = SchemaSettings::draft2020_12().with(|settings| {
            settings.meta_schema = None;
            settings.definitions_path = REF.trim_start_matches('#').trim_end_matches('/').into();
        });
        let mut generator = settings.into_generator();
        let mut kinds = BTreeMap::new();
        for (group, version, kind, refer) in KINDS {
            if let Some(name) = refer(&mut generator).get("$ref").and_then(Value::as_str) {
                kinds.insert((*group, *version, *kind), name.trim_start_matches(REF).to_owned());
            }
        }
        for refer in OTHERS {
            refer(&mut generator);
        }
        let mut all: BTreeMap<String, Value> = generator.take_definitions(true).into_iter().collect();
        facts::apply(&mut all);
        Self { all, kinds }
    }
}

type Refer = fn(&mut SchemaGenerator) -> Schema;

fn refer<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

macro_rules! kinds {
    ($($group:literal $version:literal { $($kind:ident = $type:ty),+ $(,)? })+) => {
        &[$($(($group, $version, stringify!($kind), refer::<$type>)),+),+]
    };
}

const KINDS: &[(&str, &str, &str, Refer)] = kinds! {
    "" "v1" {
        ConfigMap = core::ConfigMap, Endpoints = core::Endpoints, Event = core::Event, LimitRange = core::LimitRange,
        Namespace = core::Namespace, Node = core::Node, PersistentVolume = core::PersistentVolume,
        PersistentVolumeClaim = core::PersistentVolumeClaim, Pod = core::Pod, PodTemplate = core::PodTemplate,
        ReplicationController = core::ReplicationController, ResourceQuota = core::ResourceQuota,
        Secret = core::Secret, Service = core::Service, ServiceAccount = core::ServiceAccount,
    }
    "apps" "v1" {
        ControllerRevision = apps::ControllerRevision, DaemonSet = apps::DaemonSet, Deployment = apps::Deployment,
        ReplicaSet = apps::ReplicaSet, StatefulSet = apps::StatefulSet,
    }
    "apiextensions.k8s.io" "v1" { CustomResourceDefinition = apiextensions::CustomResourceDefinition }
    "authentication.k8s.io" "v1" {
        SelfSubjectReview = authentication::SelfSubjectReview, TokenReview = authentication::TokenReview,
    }
    "authorization.k8s.io" "v1" {
        LocalSubjectAccessReview = authorization::LocalSubjectAccessReview,
        SelfSubjectAccessReview = authorization::SelfSubjectAccessReview,
        SelfSubjectRulesReview = authorization::SelfSubjectRulesReview,
        SubjectAccessReview = authorization::SubjectAccessReview,
    }
    "autoscaling" "v1" {
        HorizontalPodAutoscaler = autoscaling_v1::HorizontalPodAutoscaler, Scale = autoscaling_v1::Scale,
    }
    "autoscaling" "v2" { HorizontalPodAutoscaler = autoscaling::HorizontalPodAutoscaler }
    "batch" "v1" { CronJob = batch::CronJob, Job = batch::Job }
    "coordination.k8s.io" "v1" { Lease = coordination::Lease }
    "discovery.k8s.io" "v1" { EndpointSlice = discovery::EndpointSlice }
    "events.k8s.io" "v1" { Event = events::Event }
    "networking.k8s.io" "v1" {
        IPAddress = networking::IPAddress, Ingress = networking::Ingress, IngressClass = networking::IngressClass,
        NetworkPolicy = networking::NetworkPolicy, ServiceCIDR = networking::ServiceCIDR,
    }
    "node.k8s.io" "v1" { RuntimeClass = node::RuntimeClass }
    "policy" "v1" { Eviction = policy::Eviction, PodDisruptionBudget = policy::PodDisruptionBudget }
    "rbac.authorization.k8s.io" "v1" {
        ClusterRole = rbac::ClusterRole, ClusterRoleBinding = rbac::ClusterRoleBinding, Role = rbac::Role,
        RoleBinding = rbac::RoleBinding,
    }
    "scheduling.k8s.io" "v1" { PriorityClass = scheduling::PriorityClass }
    "storage.k8s.io" "v1" {
        CSIDriver = storage::CSIDriver, CSINode = storage::CSINode, StorageClass = storage::StorageClass,
        VolumeAttachment = storage::VolumeAttachment,
    }
};

/// What every group's document speaks of besides its kinds.
const OTHERS: &[Refer] =
    &[refer::<meta::ObjectMeta>, refer::<meta::ListMeta>, refer::<meta::DeleteOptions>, refer::<meta::Status>];
