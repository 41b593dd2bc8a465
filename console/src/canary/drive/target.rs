//! One route of a run: what is known of it, and every write on it. An outcome that is not
//! known is read back before anything is repeated.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};

use super::Context;
use crate::{
    canary::{
        machine::Event,
        patch::{self, Goal},
        plan::{Stage, short},
        record::{self, Phase, Record},
        verdict::Saved,
    },
    cluster::{
        lease::{self, Acquired},
        read::{self, Failure},
        send::{self, Audit, CANARY_MANAGER},
    },
    intent::weights::{self, Pair, Refusal},
    model::key::ObjectKey,
    traffic::{
        Arm,
        series::{ArmCounts, Traffic},
    },
};

const TRIES: u32 = 5;

pub(in crate::canary) struct Target {
    pub(super) context: Arc<Context>,
    pub(super) key: ObjectKey,
    pub(super) annotation: String,
    pub(super) route: Value,
    pub(super) pair: Pair,
    pub(super) record: Record,
    /// Somebody's record was on the route.
    pub(super) inherited: bool,
    pub(super) claimed: bool,
    /// What a write under way would leave, until it is known whether it was made.
    pub(super) attempted: Option<Attempt>,
    pub(super) lease: Option<String>,
    /// The order that stood on the Lease when it was taken: not meant for us.
    pub(super) old_order: Option<String>,
    /// Totals of both arms that the verdict has been given.
    pub(super) counted: (ArmCounts, ArmCounts),
    /// Goes into the record with the next step.
    pub(super) evidence: Option<Saved>,
    /// Things to say that end nothing.
    pub(super) notes: Vec<String>,
    /// The spec as the run found it, for the diff at the end.
    pub(super) found: Value,
}

#[derive(Debug, Clone)]
pub(in crate::canary) struct Attempt {
    record: Option<Record>,
    stable: u64,
    canary: u64,
}

/// Between nothing and twice this, longer with every try: two that collide shall not again.
async fn pause(attempt: u32) {
    let most = (Duration::from_millis(250) * 2_u32.pow(attempt.min(5))).min(Duration::from_secs(8));
    let noise = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.subsec_nanos());
    tokio::time::sleep(most.mul_f64(f64::from(noise % 1000) / 1000.0)).await;
}

fn uid(route: &Value) -> Option<&Value> {
    route.pointer("/metadata/uid")
}

impl Target {
    fn connection(&self) -> &crate::cluster::connect::Connection {
        &self.context.connection
    }

    fn resolve(&self, route: &Value) -> Result<Pair, Refusal> {
        record::resolve(route, &self.annotation, &self.record.stable, &self.record.canary)
    }

    /// Takes the lease, then puts our record on the route.
    pub(super) async fn claim(&mut self) -> Result<String, Event> {
        let context = self.context.clone();
        let name = lease_name(&self.key.name, &self.annotation);
        let previous = self.inherited.then_some(&self.record);
        let at_least = previous.map_or(0, |record| record.fence + 1);
        let connection = &context.connection;
        let fence = match lease::acquire(connection, &self.key.namespace, &name, &context.holder, at_least).await {
            Ok(Acquired::Held { fence, order }) => {
                self.lease = Some(name.clone());
                self.old_order = order;
                fence
            }
            Ok(Acquired::Taken { holder, until }) => {
                return Err(Event::FenceLost(format!(
                    "{} is run by {holder} until {until}; nothing was written",
                    self.key
                )));
            }
            Err(Failure::NotFound(why) | Failure::Denied(why)) => {
                if let Some(record) = previous.filter(|_| !context.settings.take_over) {
                    return Err(Event::FenceLost(format!(
                        "run {} by {} may still live, and leases cannot be used to tell ({why}): add --take-over if you know that it does not",
                        record.id, record.holder
                    )));
                }
                self.notes.push(format!("no lease ({why}): only the annotation protects from a second run"));
                at_least.max(1)
            }
            Err(failure) => return Err(Event::Lost(failure.to_string())),
        };
        let ours = Record {
            id: context.run.clone(),
            seq: self.record.seq + 1,
            fence,
            holder: context.holder.clone(),
            settings: context.settings.fingerprint(),
            header: self.record.header.clone().or_else(|| context.settings.header.clone()),
            ..self.record.clone()
        };
        for attempt in 0..TRIES {
            let patch = patch::claim(&self.route, &self.annotation, &ours);
            let outcome = send::patch_merge(connection, &self.key, CANARY_MANAGER, &patch).await;
            self.audit("claim", &patch, &outcome);
            match outcome {
                Ok(route) => {
                    self.route = route;
                    return Ok(self.claimed(ours));
                }
                Err(Failure::Denied(why)) => return Err(Event::Denied(why)),
                Err(Failure::NotFound(why)) => return Err(Event::Gone(why)),
                Err(Failure::Rejected(why)) => return Err(Event::Rejected(why)),
                Err(Failure::Throttled { after, .. }) => wait(after, Duration::from_secs(30)).await,
                Err(Failure::Conflict(_) | Failure::Invalid(_) | Failure::Unknown(_)) => pause(attempt).await,
            }
            let route = self.read().await?;
            let text = record::text(&route, &self.annotation);
            if text == Some(ours.text().as_str()) {
                self.route = route;
                return Ok(self.claimed(ours));
            }
            if text != record::text(&self.route, &self.annotation) {
                return Err(Event::FenceLost(format!("another run claimed {} first", self.key)));
            }
            match self.resolve(&route) {
                Ok(pair)
                    if self.record.last(&pair.stable) == Some(pair.stable.effective())
                        && self.record.last(&pair.canary) == Some(pair.canary.effective()) =>
                {
                    self.pair = pair;
                    self.route = route;
                }
                Ok(_) => {
                    return Err(Event::FenceLost(format!(
                        "{}: the weights changed while it was being claimed",
                        self.key
                    )));
                }
                Err(refusal) => return Err(Event::Gone(format!("{}: {refusal}", self.key))),
            }
        }
        Err(Event::Lost(format!("{} could not be claimed in {TRIES} tries", self.key)))
    }

    fn claimed(&mut self, ours: Record) -> String {
        let message = if self.inherited {
            format!("{} taken over from run {} at {} %", self.key, self.record.id, short(self.record.percent))
        } else {
            format!("{} claimed, run {}", self.key, ours.id)
        };
        self.record = ours;
        self.claimed = true;
        message
    }

    async fn read(&self) -> Result<Value, Event> {
        read::get(self.connection(), &self.key).await.map_err(|failure| match failure {
            Failure::NotFound(why) => Event::Gone(why),
            failure => Event::Lost(failure.to_string()),
        })
    }

    fn audit(&self, summary: &str, patch: &Value, outcome: &Result<Value, Failure>) {
        let outcome = match outcome {
            Ok(_) => "applied".to_owned(),
            Err(failure) => failure.to_string(),
        };
        let summary = format!("canary {} {summary}", self.context.run);
        let entry = Audit { object: &self.key, summary: &summary, patch, inverse: &Value::Null, outcome: &outcome };
        send::audit(self.connection(), &entry);
    }

    /// Whether this stage has been written already.
    pub(super) fn stands_at(&self, stage: Stage) -> bool {
        let extra = match stage {
            Stage::Mirror => Some("mirror"),
            Stage::Header => Some("header"),
            Stage::Weight(_) => None,
        };
        self.record.phase == Phase::Stepping
            && self.record.stage.as_deref() == extra
            && stage.percent().is_none_or(|percent| (self.record.percent - percent).abs() < 1e-9)
            && [&self.pair.stable, &self.pair.canary]
                .into_iter()
                .all(|backend| self.record.last(backend) == Some(backend.effective()))
    }

    /// Whether the API would admit the write; nothing is changed.
    pub(super) async fn rehearse(&self, goal: Goal) -> Result<(), Event> {
        let write = patch::write(&self.route, &self.annotation, &self.pair, &self.record, goal)
            .map_err(|refusal| Event::Rejected(format!("{}: {refusal}", self.key)))?;
        match send::rehearse(self.connection(), &self.key, CANARY_MANAGER, &write.patch).await {
            Ok(()) | Err(Failure::Conflict(_) | Failure::Throttled { .. }) => Ok(()),
            // A test that fails now is read and planned again when it is written.
            Err(Failure::Invalid(why)) => {
                let route = self.read().await?;
                let same = generation(&route) == generation(&self.route)
                    && record::text(&route, &self.annotation) == record::text(&self.route, &self.annotation);
                if same { Err(Event::Rejected(format!("{}: {why}", self.key))) } else { Ok(()) }
            }
            Err(Failure::NotFound(why)) => Err(Event::Gone(why)),
            Err(Failure::Denied(why)) => Err(Event::Denied(why)),
            Err(Failure::Rejected(why)) => Err(Event::Rejected(format!("{}: {why}", self.key))),
            Err(Failure::Unknown(why)) => Err(Event::Lost(why)),
        }
    }

    /// A step, or the end of the last one.
    pub(super) async fn write(&mut self, goal: Goal) -> Result<String, Event> {
        let mut last = String::new();
        for attempt in 0..TRIES {
            let known = Record { evidence: self.evidence.clone(), ..self.record.clone() };
            let write = patch::write(&self.route, &self.annotation, &self.pair, &known, goal)
                .map_err(|refusal| Event::Rejected(refusal.to_string()))?;
            let ours = Attempt { record: write.record.clone(), stable: write.stable, canary: write.canary };
            self.attempted = Some(ours.clone());
            let outcome = send::patch_json(self.connection(), &self.key, CANARY_MANAGER, &write.patch).await;
            let summary = format!("{} {}, {} {}", self.pair.stable, write.stable, self.pair.canary, write.canary);
            self.audit(&summary, &json!(write.patch), &outcome);
            let refused = match outcome {
                Ok(route) => return Ok(self.wrote(route, ours)),
                Err(Failure::NotFound(why)) => return Err(Event::Gone(why)),
                Err(Failure::Denied(why)) => return Err(Event::Denied(why)),
                Err(Failure::Rejected(why)) => return Err(Event::Rejected(why)),
                Err(Failure::Throttled { reason, after }) => {
                    last = reason;
                    wait(after, Duration::from_secs(30)).await;
                    continue;
                }
                Err(Failure::Conflict(why)) => {
                    last = why;
                    false
                }
                Err(Failure::Invalid(why)) => {
                    last = why;
                    true
                }
                Err(Failure::Unknown(why)) => {
                    last = why;
                    pause(attempt).await;
                    false
                }
            };
            let route = self.read().await?;
            if self.made(&route, &ours) {
                return Ok(self.wrote(route, ours));
            }
            let same = generation(&route) == generation(&self.route);
            self.pair = self.check(&route)?;
            self.route = route;
            // Nothing that we test for has changed: it is the change itself that is refused.
            if refused && same {
                return Err(Event::Rejected(last));
            }
        }
        Err(Event::Lost(format!("not written in {TRIES} tries: {last}")))
    }

    /// Whether this version of the route is what the attempt would leave.
    fn made(&self, route: &Value, attempt: &Attempt) -> bool {
        let weights = self
            .resolve(route)
            .is_ok_and(|pair| pair.stable.effective() == attempt.stable && pair.canary.effective() == attempt.canary);
        let text = attempt.record.as_ref().map(Record::text);
        weights && record::text(route, &self.annotation) == text.as_deref()
    }

    fn wrote(&mut self, route: Value, attempt: Attempt) -> String {
        self.attempted = None;
        if let Ok(pair) = self.resolve(&route) {
            self.pair = pair;
        }
        self.route = route;
        let weights =
            format!("{} {}, {} {}", self.pair.stable.name, attempt.stable, self.pair.canary.name, attempt.canary);
        match attempt.record {
            Some(record) => {
                let extra = match record.stage.as_deref() {
                    Some("mirror") => format!("{} gets copies of requests; ", self.pair.canary.name),
                    Some("header") => format!("{} gets the requests with the header; ", self.pair.canary.name),
                    _ => String::new(),
                };
                self.record = record;
                format!("{extra}{weights}")
            }
            None => {
                // Whatever happens on the route from here on is not ours to judge.
                self.claimed = false;
                format!("{} keeps {} %: {weights}", self.pair.canary.name, short(self.pair.percent()))
            }
        }
    }

    /// On a fresh read, whatever others did to the weights; yields only to a newer run.
    pub(super) async fn roll_back(&mut self, goal: Goal) -> Result<String, Event> {
        let mut last = String::new();
        for attempt in 0..TRIES {
            let route = match read::get(self.connection(), &self.key).await {
                Ok(route) => route,
                Err(Failure::NotFound(why)) => return Err(Event::Gone(why)),
                Err(failure) => return Err(Event::RollbackFailed(failure.to_string())),
            };
            if uid(&route) != uid(&self.route) {
                return Err(Event::Gone(format!("{} was deleted and made anew", self.key)));
            }
            let theirs =
                record::text(&route, &self.annotation).and_then(|text| serde_json::from_str::<Record>(text).ok());
            if let Some(theirs) = theirs.filter(|theirs| theirs.fence > self.record.fence) {
                return Err(Event::FenceLost(format!("run {} has taken {} over", theirs.id, self.key)));
            }
            let pair = self.resolve(&route).map_err(|refusal| Event::Gone(format!("{}: {refusal}", self.key)))?;
            if let Some(ours) = self.attempted.clone().filter(|ours| ours.record.is_none() && attempt > 0)
                && self.made(&route, &ours)
            {
                return Ok(self.rolled_back(route, &ours));
            }
            let write = patch::write(&route, &self.annotation, &pair, &self.record, goal)
                .map_err(|refusal| Event::RollbackFailed(refusal.to_string()))?;
            self.pair = pair;
            self.route = route;
            let ours = Attempt { record: None, stable: write.stable, canary: write.canary };
            self.attempted = Some(ours.clone());
            let outcome = send::patch_json(self.connection(), &self.key, CANARY_MANAGER, &write.patch).await;
            let summary =
                format!("rollback: {} {}, {} {}", self.pair.stable, write.stable, self.pair.canary, write.canary);
            self.audit(&summary, &json!(write.patch), &outcome);
            match outcome {
                Ok(route) => return Ok(self.rolled_back(route, &ours)),
                Err(Failure::Conflict(why) | Failure::Invalid(why) | Failure::Unknown(why)) => {
                    last = why;
                    pause(attempt).await;
                }
                Err(Failure::Throttled { reason, after }) => {
                    last = reason;
                    wait(after, Duration::from_secs(10)).await;
                }
                Err(failure) => return Err(Event::RollbackFailed(failure.to_string())),
            }
        }
        Err(Event::RollbackFailed(last))
    }

    fn rolled_back(&mut self, route: Value, attempt: &Attempt) -> String {
        if let Ok(pair) = self.resolve(&route) {
            self.pair = pair;
        }
        self.route = route;
        self.claimed = false;
        self.attempted = None;
        format!("{} {}, {} {}", self.pair.stable.name, attempt.stable, self.pair.canary.name, attempt.canary)
    }

    /// Whether the API answers again, and whether the write under way had been made.
    pub(super) async fn reconnect(&mut self) -> Result<bool, Event> {
        let route = match read::get(self.connection(), &self.key).await {
            Ok(route) => route,
            Err(Failure::NotFound(why)) => return Err(Event::Gone(why)),
            Err(Failure::Denied(why)) => return Err(Event::Denied(why)),
            Err(failure) => return Err(Event::Lost(failure.to_string())),
        };
        if !self.claimed {
            return Ok(false);
        }
        if let Some(ours) = self.attempted.clone()
            && self.made(&route, &ours)
        {
            self.wrote(route, ours);
            return Ok(true);
        }
        self.pair = self.check(&route)?;
        self.route = route;
        Ok(false)
    }

    /// The watch showed the route.
    pub(super) async fn seen(&mut self, route: Value) -> Option<Event> {
        // Older than what we wrote: the watch lags behind the answers.
        if !self.claimed || generation(&route) < generation(&self.route) || self.sequence(&route) < self.record.seq {
            return None;
        }
        let (route, checked) = match self.check(&route) {
            Ok(pair) => (route, Ok(pair)),
            // The watch may show what was there before our last write, under the same
            // generation if it changed no weight: only the API itself can accuse.
            Err(_) => match read::get(self.connection(), &self.key).await {
                Ok(fresh) => {
                    let checked = self.check(&fresh);
                    (fresh, checked)
                }
                Err(Failure::NotFound(why)) => (route, Err(Event::Gone(why))),
                // Whatever happened is seen again by the next watch event or write.
                Err(_) => return None,
            },
        };
        match checked {
            Ok(pair) => {
                self.pair = pair;
                self.route = route;
                None
            }
            Err(event) => {
                if let Event::Drift(_) = &event
                    && let Ok(pair) = self.resolve(&route)
                {
                    // What is written next, if anything, is made from what is there now.
                    self.pair = pair;
                    self.route = route;
                }
                Some(event)
            }
        }
    }

    /// Whether the route is still what we left.
    pub(super) fn check(&self, route: &Value) -> Result<Pair, Event> {
        if uid(route) != uid(&self.route) {
            return Err(Event::Gone(format!("{} was deleted and made anew", self.key)));
        }
        match record::text(route, &self.annotation) {
            Some(text) if text == self.record.text() => {}
            Some(text) => {
                let theirs = serde_json::from_str::<Record>(text);
                let run = theirs.map_or_else(|_| "somebody".to_owned(), |record| format!("run {}", record.id));
                return Err(Event::FenceLost(format!("{run} has taken {} over", self.key)));
            }
            // Without the record whoever wrote need not have known of us: a newer run would have left its own.
            None => {
                return Err(Event::FenceLost(format!("{}: {} took our record off the route", self.key, writer(route))));
            }
        }
        let pair = self.resolve(route).map_err(|refusal: Refusal| Event::Gone(format!("{}: {refusal}", self.key)))?;
        for backend in [&pair.stable, &pair.canary] {
            let last = self.record.last(backend);
            if last != Some(backend.effective()) {
                return Err(Event::Drift(format!(
                    "{}: {} changed the weight of {backend} to {}, we had set {}",
                    self.key,
                    writer(route),
                    backend.effective(),
                    last.unwrap_or_default()
                )));
            }
        }
        Ok(pair)
    }

    /// How far our own record is in this version of the route; foreign ones count as newest.
    fn sequence(&self, route: &Value) -> u64 {
        let Some(text) = record::text(route, &self.annotation) else { return u64::MAX };
        match serde_json::from_str::<Record>(text) {
            Ok(record) if record.id == self.record.id => record.seq,
            Ok(record) if record.fence < self.record.fence => 0,
            _ => u64::MAX,
        }
    }

    /// How the metrics name a backend of the rule. `header`: of the rule for the header.
    pub(super) fn arm(&self, backend: &weights::Backend) -> Arm {
        let header = self.record.header.as_ref().filter(|_| self.record.stage.as_deref() == Some("header"));
        let rule = header
            .filter(|_| backend.index == self.pair.canary.index)
            .and_then(|header| patch::extra::header_rule(&self.route, backend, header))
            .unwrap_or(self.pair.rule);
        Arm {
            route: self.key.clone(),
            rule,
            backend_namespace: backend.namespace.clone().unwrap_or_else(|| self.key.namespace.clone()),
            backend: backend.name.clone(),
            backend_port: backend.port.unwrap_or_default(),
        }
    }

    /// What the metrics say of a backend; none while they do not name it.
    pub(super) fn counts(&self, traffic: &Traffic, backend: &weights::Backend) -> Option<ArmCounts> {
        traffic.counts_at(&self.arm(backend), backend.index)
    }

    /// Whether every parent accepted this generation of the route and resolved its references.
    pub(super) fn programmed(&self) -> bool {
        let route = &self.route;
        let generation = generation(route);
        let Some(parents) = route.pointer("/status/parents").and_then(Value::as_array) else { return false };
        !parents.is_empty()
            && parents.iter().all(|parent| {
                ["Accepted", "ResolvedRefs"].iter().all(|wanted| {
                    parent.get("conditions").and_then(Value::as_array).is_some_and(|conditions| {
                        conditions.iter().any(|condition| {
                            let is =
                                |field: &str, value: &str| condition.get(field).and_then(Value::as_str) == Some(value);
                            is("type", wanted)
                                && is("status", "True")
                                && condition.get("observedGeneration").and_then(Value::as_i64).unwrap_or(generation)
                                    >= generation
                        })
                    })
                })
            })
    }

    pub(super) async fn release(&self) {
        if let Some(lease) = &self.lease
            && let Err(error) =
                lease::release(self.connection(), &self.key.namespace, lease, &self.context.holder).await
        {
            tracing::warn!(%error, "cannot release the lease; it runs out by itself");
        }
    }
}

/// As long as the API asks for, within reason.
async fn wait(after: Option<Duration>, most: Duration) {
    tokio::time::sleep(after.unwrap_or(Duration::from_secs(1)).min(most)).await;
}

/// Who wrote the spec last, as far as the API tells.
fn writer(route: &Value) -> String {
    let managers = route.pointer("/metadata/managedFields").and_then(Value::as_array);
    let newest = managers
        .into_iter()
        .flatten()
        .filter(|entry| entry.get("subresource").is_none())
        .max_by_key(|entry| entry.get("time").and_then(Value::as_str).unwrap_or_default().to_owned());
    newest
        .and_then(|entry| entry.get("manager")?.as_str())
        .filter(|manager| *manager != CANARY_MANAGER)
        .unwrap_or("someone")
        .to_owned()
}

fn generation(route: &Value) -> i64 {
    route.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or_default()
}

/// One lease for a route, rule and pair; a name that DNS-1123 admits.
pub(in crate::canary) fn lease_name(route: &str, annotation: &str) -> String {
    let hash = annotation.rsplit('-').next().unwrap_or_default();
    let route: String = route.chars().take(200).collect();
    format!("gwtop-canary-{}-{hash}", route.trim_end_matches(['.', '-']))
}
