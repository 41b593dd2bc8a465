//! Watches of one Kubernetes API. One task a kind: what fails for one does not stop another.

use std::{borrow::Cow, collections::BTreeSet, fmt::Debug, sync::Arc, time::Duration};

use futures::StreamExt;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Api, Client, Resource,
    core::{ApiResource, DynamicResourceScope},
    runtime::{
        WatchStreamExt,
        watcher::{self, Event},
    },
};
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::Value;
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep, timeout_at},
};
use tracing::{debug, info, warn};

use super::change::{Change, Held, Kind, Op, key_of};
use crate::types::{GROUP, Key};

#[cfg(test)]
mod tests;

/// A server that takes a streaming list and never says where it ends is asked for a plain one.
const INITIAL_LIST: Duration = Duration::from_secs(15);
const MISSING_FIRST_RETRY: Duration = Duration::from_secs(1);
const MISSING_LAST_RETRY: Duration = Duration::from_secs(30);

/// A change, and when the watch brought it.
#[derive(Debug)]
pub struct Seen {
    pub at: Instant,
    pub change: Change,
}

/// Changes of every kind in [`Kind::ALL`], for as long as the returned tasks live.
///
/// Each kind starts with one [`Op::Replace`], or [`Op::Missing`] where the API does not serve it.
pub fn watch(client: &Client, changes: &mpsc::Sender<Seen>) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    for kind in Kind::ALL {
        let (client, changes) = (client.clone(), changes.clone());
        match kind {
            Kind::GatewayClass => tasks.spawn(follow(client, changes, kind, Change::GatewayClass)),
            Kind::Gateway => tasks.spawn(follow(client, changes, kind, Change::Gateway)),
            Kind::ListenerSet => tasks.spawn(follow(client, changes, kind, Change::ListenerSet)),
            Kind::HttpRoute => tasks.spawn(follow(client, changes, kind, Change::HttpRoute)),
            Kind::GrpcRoute => tasks.spawn(follow(client, changes, kind, Change::GrpcRoute)),
            Kind::TlsRoute => tasks.spawn(follow(client, changes, kind, Change::TlsRoute)),
            Kind::TcpRoute => tasks.spawn(follow(client, changes, kind, Change::TcpRoute)),
            Kind::UdpRoute => tasks.spawn(follow(client, changes, kind, Change::UdpRoute)),
            Kind::BackendTlsPolicy => tasks.spawn(follow(client, changes, kind, Change::BackendTlsPolicy)),
            Kind::ReferenceGrant => tasks.spawn(follow(client, changes, kind, Change::ReferenceGrant)),
            Kind::Namespace => tasks.spawn(follow(client, changes, kind, Change::Namespace)),
            Kind::Service => tasks.spawn(follow(client, changes, kind, Change::Service)),
            Kind::EndpointSlice => tasks.spawn(follow(client, changes, kind, Change::EndpointSlice)),
            Kind::Secret => tasks.spawn(follow(client, changes, kind, Change::Secret)),
            Kind::ConfigMap => tasks.spawn(follow(client, changes, kind, Change::ConfigMap)),
        };
    }
    tasks
}

/// Where a kind is served, the preferred version first.
pub fn api_resources(kind: Kind) -> Vec<ApiResource> {
    let (group, plural, versions): (&str, &str, &[&str]) = match kind {
        Kind::GatewayClass => (GROUP, "gatewayclasses", &["v1"]),
        Kind::Gateway => (GROUP, "gateways", &["v1"]),
        Kind::ListenerSet => (GROUP, "listenersets", &["v1"]),
        Kind::HttpRoute => (GROUP, "httproutes", &["v1"]),
        Kind::GrpcRoute => (GROUP, "grpcroutes", &["v1"]),
        Kind::TlsRoute => (GROUP, "tlsroutes", &["v1"]),
        Kind::TcpRoute => (GROUP, "tcproutes", &["v1"]),
        Kind::UdpRoute => (GROUP, "udproutes", &["v1"]),
        // Before 1.4 it was served as v1alpha3 alone.
        Kind::BackendTlsPolicy => (GROUP, "backendtlspolicies", &["v1", "v1alpha3"]),
        // Before 1.5 it was served as v1beta1 alone.
        Kind::ReferenceGrant => (GROUP, "referencegrants", &["v1", "v1beta1"]),
        Kind::Namespace => ("", "namespaces", &["v1"]),
        Kind::Service => ("", "services", &["v1"]),
        Kind::EndpointSlice => ("discovery.k8s.io", "endpointslices", &["v1"]),
        Kind::Secret => ("", "secrets", &["v1"]),
        Kind::ConfigMap => ("", "configmaps", &["v1"]),
    };
    versions
        .iter()
        .map(|version| ApiResource {
            group: group.to_owned(),
            version: (*version).to_owned(),
            api_version: if group.is_empty() { (*version).to_owned() } else { format!("{group}/{version}") },
            kind: kind.name().to_owned(),
            plural: plural.to_owned(),
        })
        .collect()
}

/// Ways of asking, best first; what a server refuses is asked in the next one.
fn configs(kind: Kind) -> Vec<watcher::Config> {
    let plain = watcher::Config::default();
    match kind {
        // Certificates alone, where the server can filter.
        Kind::Secret => {
            let tls = plain.clone().fields("type=kubernetes.io/tls");
            vec![tls.clone().streaming_lists(), tls, plain]
        }
        _ => vec![plain.clone().streaming_lists(), plain],
    }
}

/// Why a watch has to be started in another way.
enum Ended {
    /// The consumer is gone.
    Closed,
    /// 404: not served in this version.
    NotServed,
    /// 401 or 403.
    Refused(String),
    /// The server does not know this way of asking.
    NotUnderstood(String),
}

async fn follow<T>(client: Client, changes: mpsc::Sender<Seen>, kind: Kind, wrap: fn(Op<T>) -> Change)
where
    T: Held + DeserializeOwned + Debug + Send + Sync + 'static,
{
    let (resources, configs) = (api_resources(kind), configs(kind));
    let (mut version, mut way, mut wait) = (0, 0, MISSING_FIRST_RETRY);
    loop {
        let resource = &resources[version % resources.len()];
        let api = Api::<Lenient<T>>::all_with(client.clone(), resource);
        let config = configs[way.min(configs.len() - 1)].clone();
        let started = Instant::now();
        match run(api, config, &changes, kind, wrap).await {
            Ended::Closed => return,
            Ended::NotUnderstood(why) if way + 1 < configs.len() => {
                debug!(%kind, why, "asking in a simpler way");
                way += 1;
                continue;
            }
            Ended::NotServed => {
                version += 1;
                if !version.is_multiple_of(resources.len()) {
                    continue;
                }
                info!(%kind, "the API does not serve {} of {}: none are known until it does", kind, GROUP);
            }
            Ended::Refused(why) | Ended::NotUnderstood(why) => {
                warn!(%kind, "cannot watch {kind}, going on without: {why}");
            }
        }
        if changes.send(Seen { at: Instant::now(), change: wrap(Op::Missing) }).await.is_err() {
            return;
        }
        if started.elapsed() > MISSING_LAST_RETRY {
            wait = MISSING_FIRST_RETRY;
        }
        sleep(wait).await;
        wait = (wait * 2).min(MISSING_LAST_RETRY);
    }
}

async fn run<T>(
    api: Api<Lenient<T>>,
    config: watcher::Config,
    changes: &mpsc::Sender<Seen>,
    kind: Kind,
    wrap: fn(Op<T>) -> Change,
) -> Ended
where
    T: Held + DeserializeOwned + Debug + Send + Sync + 'static,
{
    let streaming = config.initial_list_strategy == watcher::InitialListStrategy::StreamingList;
    let mut stream = watcher::watcher(api, config).default_backoff().boxed();
    let mut initial = Initial::default();
    // Runs only while the server is answering a streaming list, never while it cannot be reached.
    let mut deadline: Option<Instant> = None;
    loop {
        let next = match deadline {
            Some(at) => match timeout_at(at, stream.next()).await {
                Ok(next) => next,
                Err(_) => return Ended::NotUnderstood("the streaming list never ended".to_owned()),
            },
            None => stream.next().await,
        };
        let op = match next {
            None => return Ended::Closed,
            Some(Ok(event)) => match event {
                Event::Init => {
                    initial = Initial::default();
                    deadline = streaming.then(|| Instant::now() + INITIAL_LIST);
                    continue;
                }
                Event::InitApply(object) => {
                    initial.add(kind, object);
                    continue;
                }
                Event::InitDone => {
                    deadline = None;
                    let Initial { objects, unreadable } = std::mem::take(&mut initial);
                    Op::Replace { objects, unreadable }
                }
                Event::Apply(object) => match object.read(kind) {
                    Ok(object) => Op::Apply(object),
                    Err(_) => continue,
                },
                Event::Delete(object) => Op::Delete(key_of(&object.metadata)),
            },
            Some(Err(error)) => {
                deadline = None;
                match judge(&error) {
                    Some(ended) => return ended,
                    None => {
                        // The watcher goes on by itself; the last state keeps serving meanwhile.
                        warn!(%kind, "watch interrupted, trying again: {}", chain(&error));
                        continue;
                    }
                }
            }
        };
        if changes.send(Seen { at: Instant::now(), change: wrap(op) }).await.is_err() {
            return Ended::Closed;
        }
    }
}

/// `None` for what passes by itself.
fn judge(error: &watcher::Error) -> Option<Ended> {
    use watcher::Error;
    let status = match error {
        Error::InitialListFailed(kube::Error::Api(status))
        | Error::WatchStartFailed(kube::Error::Api(status))
        | Error::WatchFailed(kube::Error::Api(status))
        | Error::WatchError(status) => status,
        _ => return None,
    };
    match status.code {
        404 => Some(Ended::NotServed),
        401 | 403 => Some(Ended::Refused(status.message.clone())),
        400 | 405 | 415 | 422 => Some(Ended::NotUnderstood(status.message.clone())),
        _ => None,
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}

struct Initial<T> {
    objects: Vec<Arc<T>>,
    unreadable: Vec<Key>,
}

impl<T> Default for Initial<T> {
    fn default() -> Self {
        Self { objects: Vec::new(), unreadable: Vec::new() }
    }
}

impl<T> Initial<T> {
    fn add(&mut self, kind: Kind, object: Lenient<T>) {
        match object.read(kind) {
            Ok(object) => self.objects.push(object),
            Err(key) => self.unreadable.push(key),
        }
    }
}

/// An object whose metadata can be read, and the rest perhaps: one that cannot must not stop the
/// watch of all others.
#[derive(Debug)]
struct Lenient<T> {
    metadata: ObjectMeta,
    object: Result<Arc<T>, String>,
}

impl<T> Clone for Lenient<T> {
    fn clone(&self) -> Self {
        Self { metadata: self.metadata.clone(), object: self.object.clone() }
    }
}

impl<T> Lenient<T> {
    fn read(self, kind: Kind) -> Result<Arc<T>, Key> {
        self.object.map_err(|why| {
            let key = key_of(&self.metadata);
            warn!(%kind, object = %key, "{kind} {key} cannot be read and keeps its last readable state: {why}");
            key
        })
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Lenient<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut value = Value::deserialize(deserializer)?;
        if let Some(Value::Object(metadata)) = value.get_mut("metadata") {
            metadata.remove("managedFields");
            if let Some(Value::Object(annotations)) = metadata.get_mut("annotations") {
                annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
            }
        }
        let metadata = value.get("metadata").cloned().unwrap_or_default();
        let metadata = serde_json::from_value(metadata).map_err(serde::de::Error::custom)?;
        let object = serde_json::from_value(value).map(Arc::new).map_err(|error| error.to_string());
        Ok(Self { metadata, object })
    }
}

impl<T> Resource for Lenient<T> {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(resource: &ApiResource) -> Cow<'_, str> {
        resource.kind.as_str().into()
    }

    fn group(resource: &ApiResource) -> Cow<'_, str> {
        resource.group.as_str().into()
    }

    fn version(resource: &ApiResource) -> Cow<'_, str> {
        resource.version.as_str().into()
    }

    fn plural(resource: &ApiResource) -> Cow<'_, str> {
        resource.plural.as_str().into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// The kinds whose first state is known.
#[derive(Debug, Default)]
pub struct Synced(BTreeSet<Kind>);

impl Synced {
    pub fn saw(&mut self, kind: Kind) {
        self.0.insert(kind);
    }

    pub fn complete(&self) -> bool {
        Kind::ALL.iter().all(|kind| self.0.contains(kind))
    }
}
