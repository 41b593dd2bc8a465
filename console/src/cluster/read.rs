//! Single reads, as JSON so that no field is lost, each with a time limit.

use std::{future::Future, sync::PoisonError, time::Duration};

use kube::{
    Api,
    api::{ApiResource, DynamicObject, GroupVersionKind, ListParams},
};
use serde_json::Value;

use super::connect::{Connection, reason};
use crate::model::key::{Kind, ObjectKey};

/// Why a call to the API did not give what was asked for.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Failure {
    #[error("not found: {0}")]
    NotFound(String),
    /// 409: written on the base of an older version.
    #[error("conflict: {0}")]
    Conflict(String),
    /// 422: a `test` failed, or the object does not validate. The code does not tell which.
    #[error("refused: {0}")]
    Invalid(String),
    #[error("not permitted: {0}")]
    Denied(String),
    #[error("the API asks to wait: {reason}")]
    Throttled { reason: String, after: Option<Duration> },
    /// Any other answer below 500: asking again gives the same.
    #[error("rejected: {0}")]
    Rejected(String),
    /// No answer, or one that does not say whether the call took effect.
    #[error("no usable answer: {0}")]
    Unknown(String),
}

impl From<kube::Error> for Failure {
    fn from(error: kube::Error) -> Self {
        let kube::Error::Api(status) = error else { return Self::Unknown(reason(&error)) };
        let message = if status.message.is_empty() { status.reason.clone() } else { status.message.clone() };
        match status.code {
            404 => Self::NotFound(message),
            409 => Self::Conflict(message),
            422 => Self::Invalid(message),
            401 | 403 => Self::Denied(message),
            429 => {
                let after = status.details.as_ref().map(|details| u64::from(details.retry_after_seconds));
                Self::Throttled { reason: message, after: after.filter(|after| *after > 0).map(Duration::from_secs) }
            }
            400..500 => Self::Rejected(message),
            _ => Self::Unknown(format!("{} {message}", status.code)),
        }
    }
}

pub(super) async fn within<T>(
    connection: &Connection,
    call: impl Future<Output = kube::Result<T>>,
) -> Result<T, Failure> {
    match tokio::time::timeout(connection.request_timeout, call).await {
        Ok(answer) => answer.map_err(Failure::from),
        Err(_) => Err(Failure::Unknown(format!("no answer within {:?}", connection.request_timeout))),
    }
}

pub(super) fn resource(connection: &Connection, kind: Kind) -> ApiResource {
    let known = connection.versions.lock().unwrap_or_else(PoisonError::into_inner);
    known.get(&kind).cloned().unwrap_or_else(|| {
        // Nobody asked yet: what every cluster with the Gateway API serves.
        let usual = if kind == Kind::ReferenceGrant { "v1beta1" } else { "v1" };
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(kind.group(), usual, kind.name()), kind.plural())
    })
}

pub(super) fn api(connection: &Connection, key: &ObjectKey) -> Api<DynamicObject> {
    let resource = resource(connection, key.kind);
    if key.kind.namespaced() {
        Api::namespaced_with(connection.client.clone(), &key.namespace, &resource)
    } else {
        Api::all_with(connection.client.clone(), &resource)
    }
}

pub(super) fn to_json(object: &DynamicObject) -> Result<Value, Failure> {
    serde_json::to_value(object).map_err(|error| Failure::Unknown(error.to_string()))
}

pub async fn get(connection: &Connection, key: &ObjectKey) -> Result<Value, Failure> {
    let object = within(connection, api(connection, key).get(&key.name)).await?;
    to_json(&object)
}

/// All objects of a kind, of one namespace or of all.
pub async fn list(
    connection: &Connection,
    kind: Kind,
    namespace: Option<&str>,
    labels: Option<&str>,
) -> Result<Vec<Value>, Failure> {
    let resource = resource(connection, kind);
    let api: Api<DynamicObject> = match namespace {
        Some(namespace) if kind.namespaced() => Api::namespaced_with(connection.client.clone(), namespace, &resource),
        _ => Api::all_with(connection.client.clone(), &resource),
    };
    let mut params = ListParams::default();
    if let Some(labels) = labels {
        params = params.labels(labels);
    }
    within(connection, api.list(&params)).await?.items.iter().map(to_json).collect()
}

/// Pods of all namespaces that carry a label.
pub async fn list_pods(connection: &Connection, label: &str) -> Result<Vec<Value>, Failure> {
    let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("", "v1", "Pod"), "pods");
    let api: Api<DynamicObject> = Api::all_with(connection.client.clone(), &resource);
    within(connection, api.list(&ListParams::default().labels(label))).await?.items.iter().map(to_json).collect()
}

/// Events of a namespace, or of all.
pub async fn events(connection: &Connection, namespace: Option<&str>) -> Result<Vec<Value>, Failure> {
    let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("", "v1", "Event"), "events");
    let api: Api<DynamicObject> = match namespace {
        Some(namespace) => Api::namespaced_with(connection.client.clone(), namespace, &resource),
        None => Api::all_with(connection.client.clone(), &resource),
    };
    within(connection, api.list(&ListParams::default())).await?.items.iter().map(to_json).collect()
}
