//! The writes of a run. An outcome that is not known is read back before anything is repeated.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{
    Acquired, Attempt, Audit, CANARY_MANAGER, Driver, Event, Failure, Goal, Value, heartbeat, json, lease, patch, read,
    record, send, short,
};
use crate::canary::record::Record;

const TRIES: u32 = 5;

/// Between nothing and twice this, longer with every try: two that collide shall not again.
async fn pause(attempt: u32) {
    let most = (Duration::from_millis(250) * 2_u32.pow(attempt.min(5))).min(Duration::from_secs(8));
    let noise = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.subsec_nanos());
    tokio::time::sleep(most.mul_f64(f64::from(noise % 1000) / 1000.0)).await;
}

impl Driver {
    /// Takes the lease, then puts our record on the route.
    pub(super) async fn claim(&mut self) -> Event {
        let name = lease_name(&self.key.name, &self.annotation);
        let previous = self.inherited.then_some(&self.record);
        let at_least = previous.map_or(0, |record| record.fence + 1);
        let fence = match lease::acquire(&self.connection, &self.key.namespace, &name, &self.holder, at_least).await {
            Ok(Acquired::Held { fence }) => {
                self.lease = Some(name.clone());
                fence
            }
            Ok(Acquired::Taken { holder, until }) => {
                return Event::FenceLost(format!("{} is run by {holder} until {until}; nothing was written", self.key));
            }
            Err(Failure::NotFound(why) | Failure::Denied(why)) => {
                if let Some(record) = previous.filter(|_| !self.settings.take_over) {
                    return Event::FenceLost(format!(
                        "run {} by {} may still live, and leases cannot be used to tell ({why}): add --take-over if you know that it does not",
                        record.id, record.holder
                    ));
                }
                let message = format!("no lease ({why}): only the annotation protects from a second run");
                self.tell("Claim", message, None).await;
                at_least.max(1)
            }
            Err(failure) => return Event::Lost(failure.to_string()),
        };
        let ours = Record {
            id: self.teller.run.clone(),
            seq: self.record.seq + 1,
            fence,
            holder: self.holder.clone(),
            settings: self.settings.fingerprint(),
            ..self.record.clone()
        };
        for attempt in 0..TRIES {
            let patch = patch::claim(&self.route, &self.annotation, &ours);
            let outcome = send::patch_merge(&self.connection, &self.key, CANARY_MANAGER, &patch).await;
            self.audit("claim", &patch, &outcome);
            match outcome {
                Ok(route) => {
                    self.route = route;
                    return self.claimed(ours);
                }
                Err(Failure::Denied(why)) => return Event::Denied(why),
                Err(Failure::NotFound(why)) => return Event::Gone(why),
                Err(Failure::Rejected(why)) => return Event::Rejected(why),
                Err(Failure::Throttled { after, .. }) => tokio::time::sleep(after.unwrap_or_default()).await,
                Err(Failure::Conflict(_) | Failure::Invalid(_) | Failure::Unknown(_)) => pause(attempt).await,
            }
            let route = match read::get(&self.connection, &self.key).await {
                Ok(route) => route,
                Err(Failure::NotFound(why)) => return Event::Gone(why),
                Err(failure) => return Event::Lost(failure.to_string()),
            };
            let text = record::text(&route, &self.annotation);
            if text == Some(ours.text().as_str()) {
                self.route = route;
                return self.claimed(ours);
            }
            if text != record::text(&self.route, &self.annotation) {
                return Event::FenceLost(format!("another run claimed {} first", self.key));
            }
            match record::resolve(&route, &self.annotation, &self.record.stable, &self.record.canary) {
                Ok(pair)
                    if self.record.last(&pair.stable) == Some(pair.stable.effective())
                        && self.record.last(&pair.canary) == Some(pair.canary.effective()) =>
                {
                    self.pair = pair;
                    self.route = route;
                }
                Ok(_) => return Event::Drift(format!("{}: the weights changed while it was being claimed", self.key)),
                Err(refusal) => return Event::Gone(format!("{}: {refusal}", self.key)),
            }
        }
        Event::Lost(format!("{} could not be claimed in {TRIES} tries", self.key))
    }

    fn claimed(&mut self, ours: Record) -> Event {
        let message = if self.inherited {
            format!("taken over from run {} at {} %", self.record.id, short(self.record.percent))
        } else {
            format!("claimed, run {}", ours.id)
        };
        self.record = ours;
        self.claimed = true;
        if self.heartbeat.is_none() {
            self.heartbeat = Some(heartbeat::spawn(
                self.connection.clone(),
                self.key.clone(),
                self.lease.clone(),
                self.holder.clone(),
                self.cancel.clone(),
            ));
        }
        Event::Claimed(message)
    }

    fn audit(&self, summary: &str, patch: &Value, outcome: &Result<Value, Failure>) {
        let outcome = match outcome {
            Ok(_) => "applied".to_owned(),
            Err(failure) => failure.to_string(),
        };
        let summary = format!("canary {} {summary}", self.teller.run);
        send::audit(
            &self.connection,
            &Audit { object: &self.key, summary: &summary, patch, inverse: &Value::Null, outcome: &outcome },
        );
    }

    /// A step, or the end of the last one.
    pub(super) async fn write(&mut self, goal: Goal) -> Event {
        let mut last = String::new();
        for attempt in 0..TRIES {
            let known = Record { evidence: Some(self.trial.save()), ..self.record.clone() };
            let write = match patch::write(&self.route, &self.annotation, &self.pair, &known, goal) {
                Ok(write) => write,
                Err(refusal) => return Event::Rejected(refusal.to_string()),
            };
            let ours = Attempt { record: write.record.clone(), stable: write.stable, canary: write.canary };
            self.attempted = Some(ours.clone());
            let outcome = send::patch_json(&self.connection, &self.key, CANARY_MANAGER, &write.patch).await;
            let summary = format!("{} {}, {} {}", self.pair.stable, write.stable, self.pair.canary, write.canary);
            self.audit(&summary, &json!(write.patch), &outcome);
            let refused = match outcome {
                Ok(route) => return self.wrote(route, ours),
                Err(Failure::NotFound(why)) => return Event::Gone(why),
                Err(Failure::Denied(why)) => return Event::Denied(why),
                Err(Failure::Rejected(why)) => return Event::Rejected(why),
                Err(Failure::Throttled { reason, after }) => {
                    last = reason;
                    tokio::time::sleep(after.unwrap_or(Duration::from_secs(1)).min(Duration::from_secs(30))).await;
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
            let route = match read::get(&self.connection, &self.key).await {
                Ok(route) => route,
                Err(Failure::NotFound(why)) => return Event::Gone(why),
                Err(failure) => return Event::Lost(failure.to_string()),
            };
            if self.made(&route, &ours) {
                return self.wrote(route, ours);
            }
            let same = super::generation(&route) == super::generation(&self.route);
            match self.check(&route) {
                Ok(pair) => {
                    self.pair = pair;
                    self.route = route;
                }
                Err(event) => return event,
            }
            // Nothing that we test for has changed: it is the change itself that is refused.
            if refused && same {
                return Event::Rejected(last);
            }
        }
        Event::Lost(format!("not written in {TRIES} tries: {last}"))
    }

    /// Whether this version of the route is what the attempt would leave.
    fn made(&self, route: &Value, attempt: &Attempt) -> bool {
        let weights = record::resolve(route, &self.annotation, &self.record.stable, &self.record.canary)
            .is_ok_and(|pair| pair.stable.effective() == attempt.stable && pair.canary.effective() == attempt.canary);
        let text = attempt.record.as_ref().map(Record::text);
        weights && record::text(route, &self.annotation) == text.as_deref()
    }

    fn wrote(&mut self, route: Value, attempt: Attempt) -> Event {
        self.attempted = None;
        if let Ok(pair) = record::resolve(&route, &self.annotation, &self.record.stable, &self.record.canary) {
            self.pair = pair;
        }
        self.route = route;
        let weights =
            format!("{} {}, {} {}", self.pair.stable.name, attempt.stable, self.pair.canary.name, attempt.canary);
        match attempt.record {
            Some(record) => {
                self.record = record;
                Event::Written(weights)
            }
            None => {
                // Whatever happens on the route from here on is not ours to judge.
                self.claimed = false;
                Event::Finished(format!("{} keeps {} %: {weights}", self.pair.canary.name, short(self.pair.percent())))
            }
        }
    }

    /// On a fresh read, whatever others did to the weights; yields only to a newer run.
    pub(super) async fn roll_back(&mut self, goal: Goal) -> Event {
        let mut last = String::new();
        for attempt in 0..TRIES {
            let route = match read::get(&self.connection, &self.key).await {
                Ok(route) => route,
                Err(Failure::NotFound(why)) => return Event::Gone(why),
                Err(failure) => return Event::RollbackFailed(failure.to_string()),
            };
            if route.pointer("/metadata/uid") != self.route.pointer("/metadata/uid") {
                return Event::Gone(format!("{} was deleted and made anew", self.key));
            }
            let theirs =
                record::text(&route, &self.annotation).and_then(|text| serde_json::from_str::<Record>(text).ok());
            if let Some(theirs) = theirs.filter(|theirs| theirs.fence > self.record.fence) {
                return Event::FenceLost(format!("run {} has taken {} over", theirs.id, self.key));
            }
            let pair = match record::resolve(&route, &self.annotation, &self.record.stable, &self.record.canary) {
                Ok(pair) => pair,
                Err(refusal) => return Event::Gone(format!("{}: {refusal}", self.key)),
            };
            if let Some(ours) = self.attempted.clone().filter(|ours| ours.record.is_none() && attempt > 0)
                && self.made(&route, &ours)
            {
                return self.rolled_back(route, &ours);
            }
            let write = match patch::write(&route, &self.annotation, &pair, &self.record, goal) {
                Ok(write) => write,
                Err(refusal) => return Event::RollbackFailed(refusal.to_string()),
            };
            self.pair = pair;
            self.route = route;
            let ours = Attempt { record: None, stable: write.stable, canary: write.canary };
            self.attempted = Some(ours.clone());
            let outcome = send::patch_json(&self.connection, &self.key, CANARY_MANAGER, &write.patch).await;
            let summary =
                format!("rollback: {} {}, {} {}", self.pair.stable, write.stable, self.pair.canary, write.canary);
            self.audit(&summary, &json!(write.patch), &outcome);
            match outcome {
                Ok(route) => return self.rolled_back(route, &ours),
                Err(Failure::Conflict(why) | Failure::Invalid(why) | Failure::Unknown(why)) => {
                    last = why;
                    pause(attempt).await;
                }
                Err(Failure::Throttled { reason, after }) => {
                    last = reason;
                    tokio::time::sleep(after.unwrap_or(Duration::from_secs(1)).min(Duration::from_secs(10))).await;
                }
                Err(failure) => return Event::RollbackFailed(failure.to_string()),
            }
        }
        Event::RollbackFailed(last)
    }

    fn rolled_back(&mut self, route: Value, attempt: &Attempt) -> Event {
        if let Ok(pair) = record::resolve(&route, &self.annotation, &self.record.stable, &self.record.canary) {
            self.pair = pair;
        }
        self.route = route;
        self.claimed = false;
        self.attempted = None;
        Event::RolledBack(format!(
            "{} {}, {} {}",
            self.pair.stable.name, attempt.stable, self.pair.canary.name, attempt.canary
        ))
    }

    /// Whether the API answers again, and what became of the write under way.
    pub(super) async fn reconnect(&mut self) -> Event {
        let route = match read::get(&self.connection, &self.key).await {
            Ok(route) => route,
            Err(Failure::NotFound(why)) => return Event::Gone(why),
            Err(Failure::Denied(why)) => return Event::Denied(why),
            Err(failure) => return Event::Lost(failure.to_string()),
        };
        if !self.claimed {
            return Event::Back { written: false };
        }
        if let Some(ours) = self.attempted.clone()
            && self.made(&route, &ours)
        {
            self.wrote(route, ours);
            return Event::Back { written: true };
        }
        match self.check(&route) {
            Ok(pair) => {
                self.pair = pair;
                self.route = route;
                Event::Back { written: false }
            }
            Err(event) => event,
        }
    }
}

/// One lease for a route, rule and pair; a name that DNS-1123 admits.
fn lease_name(route: &str, annotation: &str) -> String {
    let hash = annotation.rsplit('-').next().unwrap_or_default();
    let route: String = route.chars().take(200).collect();
    format!("gwtop-canary-{}-{hash}", route.trim_end_matches(['.', '-']))
}
