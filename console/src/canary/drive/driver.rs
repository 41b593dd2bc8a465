//! The one loop of a run: events in, effects performed.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::json;
use tokio::{
    sync::{mpsc, watch},
    time::MissedTickBehavior,
};
use tokio_util::sync::CancellationToken;

use super::{
    Context,
    checks::{self, Round},
    heartbeat::{self, Beat},
    preflight::Ready,
    target::Target,
    tell::Teller,
};
use crate::{
    canary::{
        Order, Transition, diff,
        machine::{Effect, Event, Machine, State, Timing},
        patch::Goal,
        plan::{Stage, When, short},
        progress::Progress,
        verdict::{Evidence, Trial},
    },
    cluster::follow::{self, Seen},
    exit::Exit,
    intent::weights::Backend,
    model::key::{Kind, ObjectKey},
    traffic::{scrape, series::Traffic},
};

/// How often residual traffic is told of.
const RESIDUAL: Duration = Duration::from_secs(5);

pub(super) struct Driver {
    pub(super) context: Arc<Context>,
    pub(super) teller: Teller,
    pub(super) targets: Vec<Target>,
    pub(super) machine: Machine,
    pub(super) start: Instant,
    pub(super) traffic: Traffic,
    pub(super) trial: Trial,
    /// When the routes' status showed the current generation.
    pub(super) programmed: bool,
    pub(super) evidence: Option<Evidence>,
    pub(super) last_scrape_failed: bool,
    /// The last round of checks of this step.
    pub(super) round: Option<(Instant, Round)>,
    /// Looks in a row without a request to the canary.
    pub(super) quiet: u32,
    pub(super) residual: Option<Instant>,
    pub(super) silent_since: Option<Instant>,
    pub(super) queue: VecDeque<Event>,
    cancel: CancellationToken,
    beats: (mpsc::Sender<Event>, mpsc::Receiver<Event>),
    beating: bool,
    progress: watch::Sender<Progress>,
}

impl Driver {
    pub(super) fn new(context: Arc<Context>, teller: Teller, ready: Ready, progress: watch::Sender<Progress>) -> Self {
        let settings = &context.settings;
        let timing = Timing {
            converge: settings.converge,
            hold: settings.hold,
            rollback: settings.rollback_deadline,
            api: settings.api_deadline,
            drain: settings.drain,
            on_drift: settings.on_drift,
        };
        let Ready { targets, start } = ready;
        let mut trial = Trial::new(settings.limits());
        if let Some(saved) = targets.iter().find_map(|target| target.record.evidence.as_ref()) {
            trial.restore(saved);
        }
        Self {
            machine: Machine::new(settings.plan(), timing),
            trial,
            context,
            teller,
            targets,
            start: Instant::now(),
            traffic: Traffic::default(),
            programmed: false,
            evidence: None,
            last_scrape_failed: false,
            round: None,
            quiet: 0,
            residual: None,
            silent_since: None,
            queue: VecDeque::from([Event::Ready(start)]),
            cancel: CancellationToken::new(),
            beats: mpsc::channel(16),
            beating: false,
            progress,
        }
    }

    pub(super) async fn drive(mut self, mut orders: mpsc::Receiver<Order>) {
        let settings = self.context.settings.clone();
        let mut seen = self.follow();
        let mut rounds = checks::spawn(&self.context, self.services(), self.cancel.clone());
        let mut scrapes = if settings.no_metrics {
            scrape::spawn(Vec::new(), Duration::from_secs(3600), self.cancel.clone())
        } else {
            let urls = settings.metrics_urls.clone();
            scrape::follow(&self.context.connection, urls, settings.scrape_every, self.cancel.clone())
        };
        let mut ticks = tokio::time::interval(Duration::from_millis(250));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let before = self.introduction();
        self.tell("Preflight", before, None).await;
        loop {
            while let Some(event) = self.queue.pop_front() {
                let at = self.start.elapsed();
                for effect in self.machine.handle(at, event) {
                    if self.perform(effect).await {
                        self.cancel.cancel();
                        for target in &self.targets {
                            target.release().await;
                        }
                        return;
                    }
                }
            }
            self.show();
            tokio::select! {
                Some(order) = orders.recv() => self.queue.push_back(Event::Order(order)),
                Some(event) = self.beats.1.recv() => self.queue.push_back(event),
                Some((index, seen)) = seen.recv() => Box::pin(self.seen(index, seen)).await,
                Some(round) = rounds.recv() => self.round(round),
                Some(scrape) = scrapes.recv() => {
                    self.last_scrape_failed = scrape.samples.is_err();
                    self.traffic.apply(scrape);
                    self.judge().await;
                }
                _ = ticks.tick() => {
                    if self.by_checks() || self.machine.state() == State::Draining && self.silence().is_some() {
                        self.judge().await;
                    }
                    self.queue.push_back(Event::Tick);
                }
            }
        }
    }

    /// For whoever looks at the run between its transitions.
    fn show(&self) {
        if self.progress.is_closed() {
            return;
        }
        let target = &self.targets[0];
        let arm = |backend: &Backend| (backend.name.clone(), backend.effective());
        let progress = Progress {
            route: self.targets.iter().map(|target| target.key.to_string()).collect::<Vec<_>>().join(","),
            phase: self.machine.state().name(),
            steps: self.machine.steps().iter().map(|step| step.stage.to_string()).collect(),
            step: self.machine.step(),
            stable: arm(&target.pair.stable),
            canary: arm(&target.pair.canary),
            evidence: self.evidence.clone(),
            observed: self.machine.observed(self.start.elapsed()),
        };
        self.progress.send_if_modified(|known| {
            let news = *known != progress;
            *known = progress;
            news
        });
    }

    fn introduction(&self) -> String {
        let (target, steps) = (&self.targets[0], self.machine.steps());
        let others = match self.targets.len() {
            1 => String::new(),
            count => format!(" and {} more routes", count - 1),
        };
        format!(
            "{} rule {}{others}: {} {} %, {} steps to {}",
            target.key,
            target.pair.rule,
            target.pair.canary.name,
            short(target.pair.percent()),
            steps.len(),
            steps.last().map_or_else(String::new, |step| step.stage.to_string()),
        )
    }

    /// Every route's watch, in one stream.
    fn follow(&self) -> mpsc::Receiver<(usize, Seen)> {
        let (sender, receiver) = mpsc::channel(64);
        for (index, target) in self.targets.iter().enumerate() {
            let mut seen = follow::follow(&self.context.connection, &target.key, self.cancel.clone());
            let sender = sender.clone();
            tokio::spawn(async move {
                while let Some(seen) = seen.recv().await {
                    if sender.send((index, seen)).await.is_err() {
                        return;
                    }
                }
            });
        }
        receiver
    }

    /// The Services of the canaries.
    fn services(&self) -> Vec<ObjectKey> {
        let mut services: Vec<ObjectKey> = self
            .targets
            .iter()
            .map(|target| {
                let canary = &target.pair.canary;
                let namespace = canary.namespace.as_ref().unwrap_or(&target.key.namespace);
                ObjectKey::new(Kind::Service, namespace, &canary.name)
            })
            .collect();
        services.dedup();
        services
    }

    fn round(&mut self, round: Round) {
        if let Some(why) = &round.broken {
            self.queue.push_back(Event::Broken(why.clone()));
        }
        self.queue.push_back(Event::Probe(round.failed.clone().map_or(Ok(()), Err)));
        self.round = Some((Instant::now(), round));
    }

    async fn seen(&mut self, index: usize, seen: Seen) {
        let target = &mut self.targets[index];
        match seen {
            Seen::Trouble(why) => tracing::debug!(%why, "the watch on the route broke"),
            Seen::Deleted => {
                let why = format!("{} was deleted", target.key);
                self.queue.push_back(Event::Gone(why));
            }
            Seen::Object(route) => {
                let event = Box::pin(target.seen(route)).await;
                self.queue.extend(event);
            }
        }
    }

    pub(super) async fn tell(&mut self, phase: &'static str, message: String, finished: Option<Exit>) {
        let mut transition = self.transition(phase, message, finished);
        if finished == Some(Exit::Ok) {
            transition.diff = diff::unified(self.targets.iter().map(|t| (&t.key, &t.found, &t.route)));
        }
        self.teller.tell(transition).await;
    }

    fn transition(&self, phase: &'static str, message: String, finished: Option<Exit>) -> Transition {
        let early = matches!(self.machine.state(), State::Preflight | State::Claim);
        let target = &self.targets[0];
        let begun = self.targets.iter().any(|target| target.claimed) || !early;
        Transition {
            route: self.targets.iter().map(|target| target.key.to_string()).collect::<Vec<_>>().join(","),
            rule: target.pair.rule,
            stable: target.pair.stable.to_string(),
            canary: target.pair.canary.to_string(),
            phase,
            step: if begun { self.machine.step() as u32 + 1 } else { 0 },
            steps: u32::try_from(self.machine.steps().len()).unwrap_or(u32::MAX),
            weight: target.pair.percent(),
            message,
            evidence: if early { None } else { self.evidence.clone() },
            rollback: self.machine.reason().cloned(),
            finished,
            ..self.teller.blank()
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
                let after = match exit {
                    Exit::Ok => Some(When::Post),
                    Exit::RolledBack | Exit::RollbackFailed | Exit::Stopped | Exit::Inconclusive => {
                        Some(When::Rollback)
                    }
                    _ => None,
                };
                if let Some(when) = after {
                    let body = json!(self.transition(phase, message.clone(), Some(exit)));
                    if let Err(why) = checks::webhooks(&self.context, when, &body).await {
                        tracing::warn!(%why, "a webhook did not take the end of the run");
                    }
                }
                self.tell(phase, message, Some(exit)).await;
                return true;
            }
            Effect::Observe => {
                self.count(false);
                self.trial.begin_step();
                self.evidence = None;
                self.programmed = false;
                self.round = None;
                return false;
            }
            Effect::Claim => Box::pin(self.claim()).await,
            Effect::Write { step } => Box::pin(self.step(step)).await,
            Effect::Adopt => Box::pin(self.adopt()).await,
            Effect::Finish => Box::pin(self.finish()).await,
            Effect::RollBack(goal) => Box::pin(self.roll_back(goal)).await,
            Effect::Reconnect => Box::pin(self.reconnect()).await,
        };
        self.queue.push_back(event);
        false
    }

    async fn claim(&mut self) -> Event {
        let mut messages = Vec::new();
        for index in 0..self.targets.len() {
            if self.targets[index].claimed {
                continue;
            }
            let outcome = Box::pin(self.targets[index].claim()).await;
            for note in std::mem::take(&mut self.targets[index].notes) {
                self.tell("Claim", note, None).await;
            }
            match outcome {
                Ok(message) => messages.push(message),
                Err(event) => {
                    // All or none: what was claimed for this run alone is given back.
                    if !matches!(event, Event::Lost(_)) {
                        for target in &mut self.targets[..index] {
                            if !target.inherited && target.roll_back(Goal::Original).await.is_err() {
                                tracing::warn!(route = %target.key, "the claim could not be taken back");
                            }
                            target.release().await;
                        }
                    }
                    return event;
                }
            }
        }
        if !self.beating {
            self.beating = true;
            for target in &self.targets {
                let beat = Beat {
                    route: target.key.clone(),
                    lease: target.lease.clone(),
                    old_order: target.old_order.clone(),
                };
                heartbeat::spawn(&self.context, beat, self.beats.0.clone(), self.cancel.clone());
                self.teller.publish(&target.key, &target.route, target.lease.clone());
            }
            self.remember_arguments().await;
        }
        Event::Claimed(messages.join("; "))
    }

    /// Whoever takes the run up elsewhere need not know how it was started.
    async fn remember_arguments(&self) {
        for target in &self.targets {
            let Some(lease) = &target.lease else { continue };
            let arguments = &self.context.settings.arguments;
            let value = if arguments.is_empty() { json!(null) } else { json!(json!(arguments).to_string()) };
            let annotations = json!({crate::cluster::lease::ARGUMENTS: value});
            let namespace = &target.key.namespace;
            if let Err(error) =
                crate::cluster::lease::annotate(&self.context.connection, namespace, lease, &annotations).await
            {
                tracing::warn!(%error, "cannot keep the arguments on the Lease");
            }
        }
    }

    /// Writes a step on every route, or on none.
    async fn step(&mut self, step: usize) -> Event {
        let body = json!(self.transition("Apply", format!("step {} is next", step + 1), None));
        let allowed = match checks::before(&self.context).await {
            Ok(()) => checks::webhooks(&self.context, When::Step, &body).await,
            Err(why) => Err(why),
        };
        if let Err(why) = allowed {
            self.queue.extend([Event::Probe(Err(why.clone())), Event::Probe(Err(why.clone()))]);
            return Event::Probe(Err(why));
        }
        let stage = self.machine.steps().get(step).map_or(Stage::Weight(0.0), |step| step.stage);
        let goal = Goal::Step(stage);
        if self.targets.len() > 1 {
            for target in self.targets.iter().filter(|target| !target.stands_at(stage)) {
                if let Err(event) = target.rehearse(goal).await {
                    return event;
                }
            }
        }
        let saved = self.trial.save();
        let before: Vec<f64> = self.targets.iter().map(|target| target.pair.percent()).collect();
        let mut messages = Vec::new();
        for index in 0..self.targets.len() {
            if self.targets.len() > 1 && self.targets[index].stands_at(stage) {
                continue;
            }
            self.targets[index].evidence = (index == 0).then(|| saved.clone());
            match Box::pin(self.targets[index].write(goal)).await {
                Ok(message) => messages.push(message),
                // The API is away: what is missing is written when it is back.
                Err(event @ Event::Lost(_)) => return event,
                Err(event) => {
                    for (earlier, percent) in before.iter().enumerate().take(index) {
                        let target = &mut self.targets[earlier];
                        let key = target.key.to_string();
                        let outcome = Box::pin(target.write(Goal::Step(Stage::Weight(*percent)))).await;
                        let message = match outcome {
                            Ok(weights) => format!("{key} put back: {weights}"),
                            Err(_) => format!("{key} could not be put back to {} %", short(*percent)),
                        };
                        self.tell("Compensate", message, None).await;
                    }
                    return event;
                }
            }
        }
        Event::Written(messages.join("; "))
    }

    async fn adopt(&mut self) -> Event {
        let mut messages = Vec::new();
        for target in &mut self.targets {
            match Box::pin(target.write(Goal::Keep)).await {
                Ok(message) => messages.push(message),
                Err(event) => return event,
            }
        }
        Event::Written(format!("adopted: {}", messages.join("; ")))
    }

    async fn finish(&mut self) -> Event {
        let mut messages = Vec::new();
        for target in self.targets.iter_mut().filter(|target| target.claimed) {
            match Box::pin(target.write(Goal::Finish)).await {
                Ok(message) => messages.push(message),
                Err(event) => return event,
            }
        }
        Event::Finished(messages.join("; "))
    }

    /// On every route that can be reached, whatever becomes of the others.
    async fn roll_back(&mut self, goal: Goal) -> Event {
        let (mut messages, mut failures, mut gone) = (Vec::new(), Vec::new(), Vec::new());
        let count = self.targets.len();
        for target in self.targets.iter_mut().filter(|target| target.claimed) {
            match Box::pin(target.roll_back(goal)).await {
                Ok(message) => messages.push(message),
                Err(event @ (Event::Gone(_) | Event::FenceLost(_))) if count == 1 => return event,
                Err(Event::Gone(why) | Event::FenceLost(why)) => {
                    target.claimed = false;
                    gone.push(why);
                }
                Err(Event::RollbackFailed(why)) => failures.push(format!("{}: {why}", target.key)),
                Err(_) => failures.push(target.key.to_string()),
            }
        }
        self.quiet = 0;
        if !failures.is_empty() {
            return Event::RollbackFailed(failures.join("; "));
        }
        if messages.is_empty() && !gone.is_empty() {
            return Event::Gone(gone.join("; "));
        }
        messages.extend(gone);
        Event::RolledBack(messages.join("; "))
    }

    async fn reconnect(&mut self) -> Event {
        let mut written = true;
        for target in &mut self.targets {
            match Box::pin(target.reconnect()).await {
                Ok(made) => written &= made,
                Err(event) => return event,
            }
        }
        Event::Back { written }
    }

    /// Says that the canary still gets requests, now and then.
    pub(super) async fn residue(&mut self, requests: f64) {
        if self.residual.is_none_or(|at| at.elapsed() >= RESIDUAL) {
            self.residual = Some(Instant::now());
            let message = format!("the weights are back; {requests:.0} requests still reached the canary");
            self.tell("Draining", message, None).await;
        }
    }
}
