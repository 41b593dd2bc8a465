//! Which version of each kind the cluster serves, and which kinds of policies there are.

use std::{
    collections::{HashMap, HashSet},
    sync::PoisonError,
};

use futures::future::join_all;
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, GroupVersionKind, ListParams},
};
use serde_json::Value;

use super::{
    connect::Connection,
    read::{Failure, to_json, within},
};
use crate::model::{
    json::{list, text_at},
    key::{Kind, PolicyKind},
};

/// What the cluster says about a kind.
#[derive(Debug, Clone, PartialEq)]
pub enum Served {
    As(ApiResource),
    NotAtAll,
}

fn resource(group: &str, version: &str, name: &str, plural: &str) -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, name), plural)
}

/// The forms of a kind that this console can read, the best first.
pub(super) fn forms(kind: Kind) -> Vec<ApiResource> {
    let versions: &[&str] = match kind {
        Kind::GatewayClass | Kind::Gateway | Kind::HttpRoute | Kind::ReferenceGrant => &["v1", "v1beta1"],
        Kind::Namespace | Kind::Service | Kind::EndpointSlice | Kind::Ingress | Kind::Secret | Kind::InferencePool => {
            &["v1"]
        }
        Kind::GrpcRoute | Kind::TcpRoute | Kind::UdpRoute => &["v1", "v1alpha2"],
        Kind::TlsRoute | Kind::BackendTlsPolicy => &["v1", "v1alpha3", "v1alpha2"],
        Kind::ListenerSet => &["v1"],
        Kind::Policy(policy) => {
            let versions = policy.versions.iter();
            return versions.map(|version| resource(kind.group(), version, kind.name(), kind.plural())).collect();
        }
    };
    let mut forms: Vec<_> =
        versions.iter().map(|version| resource(kind.group(), version, kind.name(), kind.plural())).collect();
    match kind {
        Kind::ListenerSet => {
            forms.push(resource("gateway.networking.x-k8s.io", "v1alpha1", "XListenerSet", "xlistenersets"));
        }
        Kind::InferencePool => {
            forms.push(resource("inference.networking.x-k8s.io", "v1alpha2", "InferencePool", "inferencepools"));
        }
        _ => {}
    }
    forms
}

/// Kinds of Kubernetes itself, served by every cluster, need not be asked for.
const fn certain(kind: Kind) -> bool {
    matches!(kind, Kind::Namespace | Kind::Service | Kind::EndpointSlice | Kind::Ingress | Kind::Secret)
}

/// Finds out which version of a kind is served, for all later calls of this connection.
/// False: none that this console can write.
pub async fn learn(connection: &Connection, kind: Kind) -> Result<bool, Failure> {
    match within(connection, served(&connection.client, kind)).await? {
        Served::As(resource) => {
            remember(connection, kind, resource);
            Ok(true)
        }
        Served::NotAtAll => Ok(false),
    }
}

pub(super) fn remember(connection: &Connection, kind: Kind, resource: ApiResource) {
    connection.versions.lock().unwrap_or_else(PoisonError::into_inner).insert(kind, resource);
}

/// As [`learn`], for several kinds at once: every group and version is asked for once.
pub async fn learn_all(connection: &Connection, kinds: &[Kind]) -> HashMap<Kind, Result<Served, Failure>> {
    let mut asked: HashSet<(String, String)> = HashSet::new();
    let mut calls = Vec::new();
    for form in kinds.iter().filter(|kind| !certain(**kind)).flat_map(|kind| forms(*kind)) {
        let of = (form.group, form.version);
        if asked.insert(of.clone()) {
            calls.push(async move {
                let plurals = within(connection, plurals(&connection.client, &of.0, &of.1)).await;
                (of, plurals)
            });
        }
    }
    let answers: HashMap<_, _> = join_all(calls).await.into_iter().collect();
    let decide = |kind: Kind| {
        for form in forms(kind) {
            if certain(kind) {
                return Ok(Served::As(form));
            }
            match answers.get(&(form.group.clone(), form.version.clone())) {
                Some(Ok(plurals)) if plurals.contains(&form.plural) => return Ok(Served::As(form)),
                Some(Err(failure)) => return Err(failure.clone()),
                _ => {}
            }
        }
        Ok(Served::NotAtAll)
    };
    let decided: HashMap<_, _> = kinds.iter().map(|kind| (*kind, decide(*kind))).collect();
    for (kind, served) in &decided {
        if let Ok(Served::As(resource)) = served {
            remember(connection, *kind, resource.clone());
        }
    }
    decided
}

/// What a group serves in a version; nothing where it does not exist.
async fn plurals(client: &Client, group: &str, version: &str) -> Result<Vec<String>, kube::Error> {
    let resources = if group.is_empty() {
        client.list_core_api_resources(version).await
    } else {
        client.list_api_group_resources(&format!("{group}/{version}")).await
    };
    match resources {
        Ok(list) => Ok(list.resources.into_iter().map(|resource| resource.name).collect()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

pub async fn served(client: &Client, kind: Kind) -> Result<Served, kube::Error> {
    for form in forms(kind) {
        if certain(kind) || plurals(client, &form.group, &form.version).await?.contains(&form.plural) {
            return Ok(Served::As(form));
        }
    }
    Ok(Served::NotAtAll)
}

/// Kinds of policies, found by what their definitions say: a `targetRef` or `targetRefs` in the
/// spec. Definitions are looked at by name and label first, since schemas are large.
pub async fn policies(connection: &Connection) -> Result<Vec<Kind>, Failure> {
    let definition = resource("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions");
    let api: Api<DynamicObject> = Api::all_with(connection.client.clone(), &definition);
    let names = match within(connection, api.list_metadata(&ListParams::default())).await {
        Ok(list) => list.items,
        Err(Failure::NotFound(_)) => return Ok(Vec::new()),
        Err(failure) => return Err(failure),
    };
    let candidates = names.into_iter().filter_map(|of| {
        let labelled =
            of.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key("gateway.networking.k8s.io/policy"));
        let name = of.metadata.name?;
        let (plural, group) = name.split_once('.')?;
        let known = Kind::ALL.into_iter().any(|kind| kind.plural() == plural && kind.group() == group);
        ((labelled || plural.ends_with("policies")) && !known).then_some(name)
    });
    let api = &api;
    let read = candidates.map(|name| async move { within(connection, api.get(&name)).await });
    let definitions = join_all(read).await;
    Ok(definitions.into_iter().flatten().filter_map(|of| policy(&to_json(&of).ok()?)).collect())
}

fn policy(definition: &Value) -> Option<Kind> {
    let served = list(definition, "/spec/versions").iter().filter(|version| {
        version.get("served") == Some(&Value::Bool(true))
            && version
                .pointer("/schema/openAPIV3Schema/properties/spec/properties")
                .is_some_and(|spec| spec.get("targetRef").or_else(|| spec.get("targetRefs")).is_some())
    });
    let mut versions: Vec<(bool, String)> = served
        .filter_map(|version| {
            // What is stored is what its authors think of most.
            let stored = version.get("storage") == Some(&Value::Bool(true));
            Some((!stored, version.get("name")?.as_str()?.to_owned()))
        })
        .collect();
    versions.sort_by_key(|(later, _)| *later);
    if versions.is_empty() {
        return None;
    }
    let kind = PolicyKind {
        group: text_at(definition, "/spec/group")?,
        name: text_at(definition, "/spec/names/kind")?,
        plural: text_at(definition, "/spec/names/plural")?,
        versions: versions.into_iter().map(|(_, name)| name).collect(),
        namespaced: definition.pointer("/spec/scope").and_then(Value::as_str) != Some("Cluster"),
    };
    Some(kind.intern())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_policy_is_what_has_a_target() {
        let definition = |properties: Value| {
            json!({"spec": {"group": "example.com", "scope": "Namespaced",
                "names": {"kind": "RatePolicy", "plural": "ratepolicies"},
                "versions": [
                    {"name": "v1alpha1", "served": true, "storage": false,
                     "schema": {"openAPIV3Schema": {"properties": {"spec": {"properties": {"targetRef": {}}}}}}},
                    {"name": "v1", "served": true, "storage": true,
                     "schema": {"openAPIV3Schema": {"properties": {"spec": {"properties": properties}}}}}]}})
        };
        let kind = policy(&definition(json!({"targetRefs": {}}))).unwrap();
        assert_eq!((kind.name(), kind.group(), kind.namespaced()), ("RatePolicy", "example.com", true));
        let versions: Vec<_> = forms(kind).into_iter().map(|form| form.version).collect();
        assert_eq!(versions, ["v1", "v1alpha1"]);
        let mut none = definition(json!({"podSelector": {}}));
        none["spec"]["versions"][0]["served"] = json!(false);
        assert_eq!(policy(&none), None);
    }
}
