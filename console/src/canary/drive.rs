//! Performs what the machine decides: reads, writes, probes, scrapes, lease.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::{sync::mpsc, time::MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use self::preflight::{Ready, Refused};
use super::{
    Order, Run, SCHEMA, Settings, Transition,
    journal::Journal,
    machine::{Effect, Event, Machine, State, Timing},
    patch::{self, Goal},
    record::{self, Record},
    verdict::{self, Evidence, Trial, Verdict},
};
use crate::{
    cluster::{
        connect::Connection,
        follow::{self, Seen},
        lease::{self, Acquired},
        read::{self, Failure},
        send::{self, Audit, CANARY_MANAGER},
    },
    exit::Exit,
    intent::{
        plan::short,
        weights::{self, Pair, Refusal},
    },
    model::key::ObjectKey,
    traffic::{
        Arm, scrape,
        series::{ArmCounts, Traffic},
    },
};

mod dry;
mod heartbeat;
mod preflight;
mod write;

/// Starts a run. It goes on until it ends by itself or is ordered to.
pub fn spawn(connection: Connection, settings: Settings) -> Run {
    let (events, receiver) = mpsc::channel(256);
    let (commands, orders) = mpsc::channel(16);
    tokio::spawn(run(connection, settings, events, orders));
    Run { events: receiver, commands }
}

/// Tells of transitions: to the journal, and to whoever listens.
struct Teller {
    run: String,
    context: String,
    journal: Option<Journal>,
    events: mpsc::Sender<Transition>,
}

impl Teller {
    fn blank(&self, settings: &Settings) -> Transition {
        Transition {
            schema: SCHEMA,
            time: Timestamp::now(),
            run: self.run.clone(),
            context: self.context.clone(),
            route: settings
                .route
                .as_ref()
                .map_or_else(|| settings.namespace.clone(), |name| format!("{}/{name}", settings.namespace)),
            rule: settings.rule.unwrap_or_default(),
            stable: settings.stable.clone().unwrap_or_default(),
            canary: settings.canary.clone().unwrap_or_default(),
            phase: "Preflight",
            step: 0,
            steps: u32::try_from(settings.steps().len()).unwrap_or(u32::MAX),
            weight: 0.0,
            message: String::new(),
            evidence: None,
            patch: None,
            finished: None,
        }
    }

    /// Never waits: a listener that sleeps must not hold up a rollback. The last line is
    /// given time.
    async fn tell(&mut self, transition: Transition) {
        if let Some(journal) = &mut self.journal {
            journal.write(&transition);
        }
        if transition.finished.is_some() {
            let _ = self.events.send_timeout(transition, Duration::from_secs(5)).await;
        } else {
            let _ = self.events.try_send(transition);
        }
    }
}

async fn run(
    connection: Connection,
    settings: Settings,
    events: mpsc::Sender<Transition>,
    mut orders: mpsc::Receiver<Order>,
) {
    let now = Timestamp::now();
    let run = format!("{}-{}", now.strftime("%Y%m%dT%H%M%S%3f"), std::process::id());
    let journal = (!settings.dry_run).then(|| Journal::new(&run));
    let mut teller = Teller { run: run.clone(), context: connection.context.clone(), journal, events };
    let holder = format!("{}/{}", lease::identity(), now.as_millisecond());
    // Steps are counted only where there are some.
    let refused = match settings.validate() {
        Err(why) => Some(Refused::usage(why)),
        Ok(()) => None,
    };
    let ready = match refused {
        Some(refused) => Err(refused),
        None => {
            tokio::select! {
                ready = Box::pin(preflight::preflight(&connection, &settings, &run, &holder)) => ready,
                Some(Order::Rollback | Order::Stop) = orders.recv() => {
                    Err(Refused { exit: Exit::Stopped, message: "stopped before anything was written".to_owned() })
                }
            }
        }
    };
    let ready = match ready {
        Ok(ready) => ready,
        Err(Refused { exit, message }) => {
            let phase = if exit == Exit::Unreachable { "Unreachable" } else { "Refused" };
            let mut last =
                Transition { phase, message, finished: Some(exit), ..teller.blank(&Settings::new("", None)) };
            last.route = settings
                .route
                .as_ref()
                .map_or_else(|| settings.namespace.clone(), |name| format!("{}/{name}", settings.namespace));
            last.steps = 0;
            teller.tell(last).await;
            return;
        }
    };
    if settings.dry_run {
        dry::run(&teller, &settings, ready).await;
        return;
    }
    Box::pin(Driver::new(connection, settings, teller, holder, ready).drive(orders)).await;
}

pub(super) struct Driver {
    connection: Connection,
    settings: Settings,
    teller: Teller,
    holder: String,
    key: ObjectKey,
    annotation: String,
    route: Value,
    pair: Pair,
    record: Record,
    inherited: bool,
    claimed: bool,
    /// What a write under way would leave, until it is known whether it was made.
    attempted: Option<Attempt>,
    lease: Option<String>,
    machine: Machine,
    start: Instant,
    traffic: Traffic,
    trial: Trial,
    /// Totals of both arms that the trial has already been given.
    counted: (ArmCounts, ArmCounts),
    /// When the route's status showed the current generation.
    programmed: bool,
    evidence: Option<Evidence>,
    last_scrape_failed: bool,
    probed: bool,
    queue: VecDeque<Event>,
    cancel: CancellationToken,
    heartbeat: Option<mpsc::Receiver<Event>>,
}

#[derive(Debug, Clone)]
struct Attempt {
    record: Option<Record>,
    stable: u64,
    canary: u64,
}

impl Driver {
    fn new(connection: Connection, settings: Settings, teller: Teller, holder: String, ready: Ready) -> Self {
        let timing = Timing {
            interval: settings.interval,
            converge: settings.converge,
            hold: settings.hold,
            rollback: settings.rollback_deadline,
            api: settings.api_deadline,
        };
        let Ready { key, route, annotation, pair, record, inherited, start } = ready;
        let mut trial = Trial::new(settings.limits());
        if inherited && let Some(saved) = &record.evidence {
            trial.restore(saved);
        }
        Self {
            machine: Machine::new(settings.steps(), timing),
            trial,
            connection,
            settings,
            teller,
            holder,
            key,
            annotation,
            route,
            pair,
            record,
            inherited,
            claimed: false,
            attempted: None,
            lease: None,
            start: Instant::now(),
            traffic: Traffic::default(),
            counted: Default::default(),
            programmed: false,
            evidence: None,
            last_scrape_failed: false,
            probed: false,
            queue: VecDeque::from([Event::Ready(start)]),
            cancel: CancellationToken::new(),
            heartbeat: None,
        }
    }

    async fn drive(mut self, mut orders: mpsc::Receiver<Order>) {
        let mut seen = follow::follow(&self.connection, &self.key, self.cancel.clone());
        let mut probes = preflight::probing(&self.settings, self.cancel.clone());
        let mut scrapes = if self.settings.no_metrics {
            scrape::spawn(Vec::new(), Duration::from_secs(3600), self.cancel.clone())
        } else {
            let urls = self.settings.metrics_urls.clone();
            scrape::follow(&self.connection, urls, self.settings.scrape_every, self.cancel.clone())
        };
        let mut ticks = tokio::time::interval(Duration::from_millis(250));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let before = format!(
            "{} rule {}: {} {} %, {} steps to {} %",
            self.key,
            self.pair.rule,
            self.pair.canary.name,
            short(self.pair.percent()),
            self.settings.steps().len(),
            short(self.settings.steps().last().copied().unwrap_or_default()),
        );
        self.tell("Preflight", before, None).await;
        loop {
            while let Some(event) = self.queue.pop_front() {
                let at = self.start.elapsed();
                for effect in self.machine.handle(at, event) {
                    if self.perform(effect).await {
                        self.cancel.cancel();
                        if let Some(lease) = &self.lease {
                            let released =
                                lease::release(&self.connection, &self.key.namespace, lease, &self.holder).await;
                            if let Err(error) = released {
                                tracing::warn!(%error, "cannot release the lease; it runs out by itself");
                            }
                        }
                        return;
                    }
                }
            }
            let beat = async {
                match &mut self.heartbeat {
                    Some(heartbeat) => heartbeat.recv().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some(order) = orders.recv() => self.queue.push_back(Event::Order(order)),
                Some(event) = beat => self.queue.push_back(event),
                Some(seen) = seen.recv() => Box::pin(self.seen(seen)).await,
                Some(result) = probes.recv() => {
                    self.probed |= result.is_ok();
                    self.queue.push_back(Event::Probe(result));
                }
                Some(scrape) = scrapes.recv() => {
                    self.last_scrape_failed = scrape.samples.is_err();
                    self.traffic.apply(scrape);
                    self.judge();
                }
                _ = ticks.tick() => {
                    if self.settings.no_metrics {
                        self.judge();
                    }
                    self.queue.push_back(Event::Tick);
                }
            }
        }
    }

    async fn tell(&mut self, phase: &'static str, message: String, finished: Option<Exit>) {
        let transition = self.transition(phase, message, finished);
        self.teller.tell(transition).await;
    }

    fn transition(&self, phase: &'static str, message: String, finished: Option<Exit>) -> Transition {
        let evidence = matches!(self.machine.state(), State::Preflight | State::Claim).then_some(None);
        Transition {
            route: self.key.to_string(),
            rule: self.pair.rule,
            stable: self.pair.stable.to_string(),
            canary: self.pair.canary.to_string(),
            phase,
            step: if self.claimed { self.machine.step() as u32 + 1 } else { 0 },
            weight: self.pair.percent(),
            message,
            evidence: evidence.unwrap_or_else(|| self.evidence.clone()),
            finished,
            ..self.teller.blank(&self.settings)
        }
    }

    /// True at the end of the run.
    async fn perform(&mut self, effect: Effect) -> bool {
        let event = match effect {
            Effect::Report { phase, message } => {
                self.tell(phase, message, None).await;
                return false;
            }
            Effect::End { exit, phase, message } => {
                self.tell(phase, message, Some(exit)).await;
                return true;
            }
            Effect::Observe => {
                self.trial.begin_step();
                self.evidence = None;
                self.programmed = false;
                self.probed = false;
                return false;
            }
            Effect::Claim => Box::pin(self.claim()).await,
            Effect::Write { step } => match preflight::probes(&self.settings).await {
                Ok(()) => {
                    let percent = self.settings.steps().get(step).copied().unwrap_or_default();
                    Box::pin(self.write(Goal::Step(percent))).await
                }
                Err(why) => {
                    self.queue.extend([Event::Probe(Err(why.clone())), Event::Probe(Err(why.clone()))]);
                    Event::Probe(Err(why))
                }
            },
            Effect::Finish => Box::pin(self.write(Goal::Finish)).await,
            Effect::RollBack(goal) => Box::pin(self.roll_back(goal)).await,
            Effect::Reconnect => self.reconnect().await,
        };
        self.queue.push_back(event);
        false
    }

    fn arm(&self, backend: &weights::Backend) -> Arm {
        Arm {
            route: self.key.clone(),
            rule: self.pair.rule,
            backend_namespace: backend.namespace.clone().unwrap_or_else(|| self.key.namespace.clone()),
            backend: backend.name.clone(),
            backend_port: backend.port.unwrap_or_default(),
        }
    }

    fn totals(&self) -> (ArmCounts, ArmCounts) {
        let counts = |backend| self.traffic.counts(&self.arm(backend)).unwrap_or_default();
        (counts(&self.pair.canary), counts(&self.pair.stable))
    }

    /// Gives the machine what the figures of this step say.
    fn judge(&mut self) {
        let at = self.start.elapsed();
        let complete = self.machine.complete(at);
        if !self.programmed {
            self.programmed = programmed(&self.route);
            if self.programmed {
                // Requests from before the change must not hide it.
                if self.machine.state() == State::Converge {
                    self.count(false);
                    self.trial.begin_step();
                }
                if !self.settings.no_metrics {
                    return;
                }
            }
        }
        if self.settings.no_metrics {
            if self.programmed {
                self.queue.push_back(Event::Converged("the route's status shows the new weights".to_owned()));
            }
            let verdict = match (complete, self.probed) {
                (true, true) => Verdict::Pass("every check passed".to_owned()),
                (true, false) => Verdict::NoData("no check was made in this step".to_owned()),
                (false, _) => Verdict::Wait("the interval is not over".to_owned()),
            };
            self.queue.push_back(Event::Evidence(verdict));
            return;
        }
        let silent = self
            .traffic
            .age(Instant::now())
            .is_none_or(|age| age > self.settings.scrape_every * 3 + Duration::from_secs(2));
        if self.last_scrape_failed && silent {
            let why = self.traffic.problem().unwrap_or("no source answers").to_owned();
            self.queue.push_back(Event::Evidence(Verdict::NoData(format!("metrics are missing: {why}"))));
            return;
        }
        self.count(self.machine.warm(at, self.settings.warm_up()));
        self.evidence = Some(self.trial.evidence());
        let (canary, stable) = self.trial.step();
        if self.programmed && verdict::converged(canary.requests, stable.requests, self.pair.percent()) {
            let share = weights::percent_of(canary.requests as u64, (canary.requests + stable.requests) as u64);
            self.queue.push_back(Event::Converged(format!(
                "{} % observed, {} % declared",
                short(share),
                short(self.pair.percent())
            )));
        }
        let verdict = match self.traffic.counts(&self.arm(&self.pair.canary)) {
            Some(_) => self.trial.judge(complete),
            None => Verdict::NoData("no metric names the canary's backend".to_owned()),
        };
        self.queue.push_back(Event::Evidence(verdict));
    }

    /// Gives the trial what came since the last look.
    fn count(&mut self, warm: bool) {
        let totals = self.totals();
        let (canary, stable) = (totals.0.since(&self.counted.0), totals.1.since(&self.counted.1));
        self.trial.add(&canary, &stable, warm);
        self.counted = totals;
    }

    /// The watch showed the route.
    async fn seen(&mut self, seen: Seen) {
        match seen {
            Seen::Trouble(why) => tracing::debug!(%why, "the watch on the route broke"),
            Seen::Deleted => self.queue.push_back(Event::Gone(format!("{} was deleted", self.key))),
            Seen::Object(route) => {
                // Older than what we wrote: the watch lags behind the answers.
                if !self.claimed
                    || generation(&route) < generation(&self.route)
                    || sequence(self, &route) < self.record.seq
                {
                    return;
                }
                let (route, checked) = match self.check(&route) {
                    Ok(pair) => (route, Ok(pair)),
                    // The watch may show what was there before our last write, under the same
                    // generation if it changed no weight: only the API itself can accuse.
                    Err(_) => match read::get(&self.connection, &self.key).await {
                        Ok(fresh) => {
                            let checked = self.check(&fresh);
                            (fresh, checked)
                        }
                        Err(Failure::NotFound(why)) => (route, Err(Event::Gone(why))),
                        // Whatever happened is seen again by the next watch event or write.
                        Err(_) => return,
                    },
                };
                match checked {
                    Ok(pair) => {
                        self.pair = pair;
                        self.route = route;
                    }
                    // Nobody's weights matter while ours are being taken back.
                    Err(event) => self.queue.push_back(event),
                }
            }
        }
    }

    /// Whether the route is still what we left.
    fn check(&self, route: &Value) -> Result<Pair, Event> {
        let uid = |route: &Value| route.pointer("/metadata/uid").cloned();
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
            None => return Err(Event::Drift(format!("{}: our record was taken off the route", self.key))),
        }
        let pair = record::resolve(route, &self.annotation, &self.record.stable, &self.record.canary)
            .map_err(|refusal: Refusal| Event::Gone(format!("{}: {refusal}", self.key)))?;
        for backend in [&pair.stable, &pair.canary] {
            let last = self.record.last(backend);
            if last != Some(backend.effective()) {
                return Err(Event::Drift(format!(
                    "{}: {} changed the weight of {backend} to {}, we had set {}; stopped without writing",
                    self.key,
                    writer(route),
                    backend.effective(),
                    last.unwrap_or_default()
                )));
            }
        }
        Ok(pair)
    }
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

/// How far our own record is in this version of the route; foreign ones count as newest.
fn sequence(driver: &Driver, route: &Value) -> u64 {
    let Some(text) = record::text(route, &driver.annotation) else { return u64::MAX };
    match serde_json::from_str::<Record>(text) {
        Ok(record) if record.id == driver.record.id => record.seq,
        Ok(record) if record.fence < driver.record.fence => 0,
        _ => u64::MAX,
    }
}

/// Whether every parent accepted this generation of the route and resolved its references.
fn programmed(route: &Value) -> bool {
    let generation = generation(route);
    let Some(parents) = route.pointer("/status/parents").and_then(Value::as_array) else { return false };
    !parents.is_empty()
        && parents.iter().all(|parent| {
            ["Accepted", "ResolvedRefs"].iter().all(|wanted| {
                parent.get("conditions").and_then(Value::as_array).is_some_and(|conditions| {
                    conditions.iter().any(|condition| {
                        let is = |field: &str, value: &str| condition.get(field).and_then(Value::as_str) == Some(value);
                        is("type", wanted)
                            && is("status", "True")
                            && condition.get("observedGeneration").and_then(Value::as_i64).unwrap_or(generation)
                                >= generation
                    })
                })
            })
        })
}
