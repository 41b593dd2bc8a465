//! The only writer to the API: brings every status to what is desired, and keeps at it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
    core::DynamicObject,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use tracing::{debug, warn};

use super::{
    conditions::{BindFailures, Current, Desired, Target, desired, patch, version},
    pace::{Pace, counts_only},
};
use crate::{
    compile::Verdicts,
    contract::{METRICS_URL_ANNOTATION, STATUS_MANAGER},
    resources::{Kind, Set, cluster::api_resources},
    types::{Object, refs::RouteStatus},
};

/// Writes at a time: enough to keep up with a change to a thousand routes, too few to bother an API.
const CONCURRENCY: usize = 8;
const FIRST_RETRY: Duration = Duration::from_millis(250);
const LAST_RETRY: Duration = Duration::from_secs(30);

/// What the whole API should say, as of one state of it.
#[derive(Debug, Default)]
pub struct Wanted {
    pub set: Set,
    pub verdicts: Arc<Verdicts>,
    pub failures: BindFailures,
    /// Where this process' metrics are, told on every Gateway of ours.
    pub metrics_url: Option<String>,
}

/// Runs until `wanted` closes. Only the newest value counts: what was superseded before it was
/// written is never written.
pub async fn write(client: Client, controller: String, mut wanted: watch::Receiver<Arc<Wanted>>) {
    let mut writer = Writer {
        client,
        controller,
        wanted: Arc::clone(&wanted.borrow_and_update()),
        desired: BTreeMap::new(),
        known: BTreeMap::new(),
        refused: BTreeMap::new(),
        busy: BTreeSet::new(),
        queue: BTreeSet::new(),
        attempts: BTreeMap::new(),
        writing: FuturesUnordered::new(),
        sleeping: FuturesUnordered::new(),
        paces: BTreeMap::new(),
        pausing: FuturesUnordered::new(),
    };
    loop {
        writer.start();
        tokio::select! {
            changed = wanted.changed() => {
                if changed.is_err() {
                    return;
                }
                writer.take(Arc::clone(&wanted.borrow_and_update()));
            }
            Some((write, outcome)) = writer.writing.next() => writer.finish(write, outcome),
            Some(target) = writer.sleeping.next() => {
                writer.busy.remove(&target);
                writer.queue.insert(target);
            }
            Some(target) = writer.pausing.next() => {
                if let Some(pace) = writer.paces.get_mut(&target) {
                    pace.resumed();
                }
                writer.queue.insert(target);
            }
        }
    }
}

struct Writer {
    client: Client,
    controller: String,
    wanted: Arc<Wanted>,
    desired: BTreeMap<Target, Desired>,
    /// Newer states than the watch has brought yet, by the version that it had then.
    known: BTreeMap<Target, (Option<String>, Current)>,
    /// What the API would not have, of the status (`true`) and of the rest; not offered again.
    refused: BTreeMap<(Target, bool), Value>,
    /// Being written, or waiting to be tried again.
    busy: BTreeSet<Target>,
    queue: BTreeSet<Target>,
    attempts: BTreeMap<Target, u32>,
    writing: FuturesUnordered<BoxFuture<'static, (Write, Outcome)>>,
    sleeping: FuturesUnordered<BoxFuture<'static, Target>>,
    /// Of Gateways and ListenerSets whose counts of routes change.
    paces: BTreeMap<Target, Pace>,
    pausing: FuturesUnordered<BoxFuture<'static, Target>>,
}

enum Outcome {
    Written(Box<Current>),
    /// Somebody else wrote first; this is what they wrote.
    Overtaken(Box<Current>),
    Gone,
    Refused(String),
    Failed(String),
}

struct Write {
    target: Target,
    /// The version that the watch had brought when this was decided.
    base: Option<String>,
    body: Value,
    subresource: bool,
}

impl Writer {
    fn take(&mut self, wanted: Arc<Wanted>) {
        let desired = desired(&wanted.set, &wanted.verdicts, &wanted.failures, &self.controller);
        // Of thousands of objects, those that this state says something new about, or whose
        // newest version was not compared yet.
        let news = desired.iter().filter(|(target, says)| {
            self.desired.get(*target) != Some(*says)
                || version(&self.wanted.set, target) != version(&wanted.set, target)
        });
        self.queue.extend(news.map(|(target, _)| target.clone()));
        self.known.retain(|target, _| desired.contains_key(target));
        self.refused.retain(|(target, _), _| desired.contains_key(target));
        self.paces.retain(|target, _| desired.contains_key(target));
        (self.wanted, self.desired) = (wanted, desired);
    }

    fn start(&mut self) {
        while self.writing.len() < CONCURRENCY {
            let Some(target) = self.queue.iter().find(|target| !self.busy.contains(*target)).cloned() else { return };
            self.queue.remove(&target);
            let Some(write) = self.next_write(&target) else {
                self.attempts.remove(&target);
                continue;
            };
            self.busy.insert(target.clone());
            self.writing.push(Box::pin(send(self.client.clone(), write)));
        }
    }

    /// The newest state of an object that anybody here has seen.
    fn current(&mut self, target: &Target) -> Option<Current> {
        let watched = Current::of(&self.wanted.set, target)?;
        if let Some((base, newer)) = self.known.get(target) {
            if base.as_deref() == watched.resource_version() {
                return Some(newer.clone());
            }
            self.known.remove(target);
        }
        Some(watched)
    }

    fn next_write(&mut self, target: &Target) -> Option<Write> {
        let base = Current::of(&self.wanted.set, target)?.resource_version().map(str::to_owned);
        let current = self.current(target)?;
        let write = |body, subresource| Write { target: target.clone(), base, body, subresource };
        let desired = self.desired.get(target)?;
        let refused = |body: &Value, status| self.refused.get(&(target.clone(), status)) == Some(&timeless(body));
        // Before the status: whoever waits for `Programmed` finds the metrics.
        if let (Some(url), Current::Gateway(gateway)) = (&self.wanted.metrics_url, &current) {
            let annotations = gateway.metadata.annotations.as_ref();
            let told = annotations.and_then(|annotations| annotations.get(METRICS_URL_ANNOTATION));
            let body = json!({ "metadata": { "annotations": { METRICS_URL_ANNOTATION: url } } });
            if told != Some(url) && !refused(&body, false) {
                return Some(write(body, false));
            }
        }
        let body = patch(desired, &current, &self.controller, &Time(Timestamp::now()))?;
        if refused(&body, true) {
            return None;
        }
        if counts_only(&current, &body) {
            let pace = self.paces.entry(target.clone()).or_default();
            if let Some(pause) = pace.pause(Instant::now()) {
                if pace.hold() {
                    let target = target.clone();
                    self.pausing.push(Box::pin(async move {
                        sleep(pause).await;
                        target
                    }));
                }
                return None;
            }
        }
        Some(write(body, true))
    }

    fn finish(&mut self, write: Write, outcome: Outcome) {
        let Write { target, base, body, subresource } = write;
        self.busy.remove(&target);
        match outcome {
            Outcome::Written(current) | Outcome::Overtaken(current) => {
                self.attempts.remove(&target);
                self.known.insert(target.clone(), (base, *current));
                self.queue.insert(target);
            }
            // The watch will tell.
            Outcome::Gone => {}
            Outcome::Refused(why) => {
                warn!(?target, status = subresource, "the API refuses what we write: {why}");
                self.refused.insert((target.clone(), subresource), timeless(&body));
                self.queue.insert(target);
            }
            Outcome::Failed(why) => {
                let attempts = self.attempts.entry(target.clone()).or_default();
                let delay = FIRST_RETRY.saturating_mul(1 << (*attempts).min(10)).min(LAST_RETRY);
                *attempts += 1;
                warn!(?target, ?delay, "status not written, trying again: {why}");
                self.busy.insert(target.clone());
                self.sleeping.push(Box::pin(async move {
                    sleep(delay).await;
                    target
                }));
            }
        }
    }
}

/// Without what differs between two writes of the same words.
fn timeless(body: &Value) -> Value {
    fn strip(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                fields.remove("lastTransitionTime");
                fields.remove("resourceVersion");
                fields.values_mut().for_each(strip);
            }
            Value::Array(items) => items.iter_mut().for_each(strip),
            _ => {}
        }
    }
    let mut body = body.clone();
    strip(&mut body);
    body
}

async fn send(client: Client, write: Write) -> (Write, Outcome) {
    let target = &write.target;
    let (api, name) = api(client, target);
    let parameters = PatchParams { field_manager: Some(STATUS_MANAGER.to_owned()), ..PatchParams::default() };
    let body = Patch::Merge(&write.body);
    let answer = if write.subresource {
        api.patch_status(&name, &parameters, &body).await
    } else {
        api.patch(&name, &parameters, &body).await
    };
    let outcome = match answer {
        Ok(object) => match read(target, object) {
            Ok(current) => Outcome::Written(Box::new(current)),
            Err(why) => Outcome::Failed(why),
        },
        Err(kube::Error::Api(status)) if status.code == 409 => {
            debug!(?target, "somebody else wrote first");
            match api.get(&name).await {
                Ok(object) => match read(target, object) {
                    Ok(current) => Outcome::Overtaken(Box::new(current)),
                    Err(why) => Outcome::Failed(why),
                },
                Err(kube::Error::Api(status)) if status.code == 404 => Outcome::Gone,
                Err(error) => Outcome::Failed(error.to_string()),
            }
        }
        Err(kube::Error::Api(status)) => match status.code {
            404 => Outcome::Gone,
            400 | 422 => Outcome::Refused(status.message.clone()),
            _ => Outcome::Failed(status.message.clone()),
        },
        Err(error) => Outcome::Failed(error.to_string()),
    };
    (write, outcome)
}

fn api(client: Client, target: &Target) -> (Api<DynamicObject>, String) {
    let (kind, key) = match target {
        Target::Class(name) => {
            let resource = &api_resources(Kind::GatewayClass)[0];
            return (Api::all_with(client, resource), name.clone());
        }
        Target::Gateway(key) => (Kind::Gateway, key),
        Target::ListenerSet(key) => (Kind::ListenerSet, key),
        Target::Route(kind, key) => (*kind, key),
        Target::Policy(key) => (Kind::BackendTlsPolicy, key),
    };
    (Api::namespaced_with(client, &key.namespace, &api_resources(kind)[0]), key.name.clone())
}

fn read(target: &Target, object: DynamicObject) -> Result<Current, String> {
    fn typed<T: DeserializeOwned>(object: DynamicObject) -> Result<Arc<T>, String> {
        let value = serde_json::to_value(object).map_err(|error| error.to_string())?;
        serde_json::from_value(value).map(Arc::new).map_err(|error| error.to_string())
    }
    Ok(match target {
        Target::Class(_) => Current::Class(typed(object)?),
        Target::Gateway(_) => Current::Gateway(typed(object)?),
        Target::ListenerSet(_) => Current::ListenerSet(typed(object)?),
        Target::Policy(_) => Current::Policy(typed(object)?),
        Target::Route(..) => {
            let route: Arc<Object<serde::de::IgnoredAny, RouteStatus>> = typed(object)?;
            Current::Route { version: route.metadata.resource_version.clone(), status: route.status.clone() }
        }
    })
}
