//! What happens next: events in, effects out. No I/O and no clock, events carry the time.
//!
//! Kept whatever the order of events: a step is taken only on a pass of the one before;
//! nothing is written once the route is someone else's; after a rollback has begun no step
//! is taken; after the end nothing happens.

use std::time::Duration;

use super::{
    Order,
    patch::Goal,
    plan::{OnDrift, Stage, Step},
    verdict::Verdict,
};
use crate::exit::Exit;

mod event;
#[cfg(test)]
mod tests;

pub use event::{Effect, Event, Reason, Start, State, Timing};

/// Probes that must fail in a row.
pub const PROBES: u32 = 3;
/// How long after the interval evidence may be missing before the run holds.
const GRACE: Duration = Duration::from_secs(15);
/// Whoever writes more often than this is not somebody but something: it will not give in.
const DRIFTS: u32 = 5;
const RETRY_FIRST: Duration = Duration::from_millis(500);
const RETRY_MOST: Duration = Duration::from_secs(8);

#[derive(Debug)]
pub struct Machine {
    steps: Vec<Step>,
    timing: Timing,
    state: State,
    entered: Duration,
    step: usize,
    start: Option<Start>,
    /// The canary may have traffic of this run.
    live: bool,
    converged: bool,
    observing: Duration,
    paused: bool,
    /// One step may be taken without waiting for its time or for approval.
    skip: bool,
    /// The step after this one is the last.
    promote: bool,
    stale: bool,
    probes_failed: u32,
    reason: Option<Reason>,
    frozen: State,
    retry: Duration,
    wait: Duration,
    rolled_back: String,
    drifts: u32,
}

fn report(phase: &'static str, message: impl Into<String>) -> Effect {
    Effect::Report { phase, message: message.into() }
}

impl Machine {
    pub fn new(steps: Vec<Step>, timing: Timing) -> Self {
        Self {
            steps,
            timing,
            state: State::Preflight,
            entered: Duration::ZERO,
            step: 0,
            start: None,
            live: false,
            converged: false,
            observing: Duration::ZERO,
            paused: false,
            skip: false,
            promote: false,
            stale: false,
            probes_failed: 0,
            reason: None,
            frozen: State::Preflight,
            retry: Duration::ZERO,
            wait: RETRY_FIRST,
            rolled_back: String::new(),
            drifts: 0,
        }
    }

    pub fn state(&self) -> State {
        self.state
    }

    /// Why it goes back, once that is decided.
    pub fn reason(&self) -> Option<&Reason> {
        self.reason.as_ref()
    }

    /// Index of the current step.
    pub fn step(&self) -> usize {
        self.step
    }

    /// Steps of the plan as it stands.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Whether a pass waits for a person alone.
    pub fn approving(&self) -> bool {
        self.state == State::Approval
    }

    fn interval(&self) -> Duration {
        self.steps.get(self.step).map_or(Duration::MAX, |step| step.interval)
    }

    /// All traffic is the canary's in this step, and it is the last.
    fn soaks(&self) -> bool {
        self.step + 1 == self.steps.len()
            && self.steps.get(self.step).is_some_and(|step| step.stage == Stage::Weight(100.0))
    }

    /// Whether the current step has been observed for long enough.
    pub fn complete(&self, at: Duration) -> bool {
        self.converged && (self.skip || at.saturating_sub(self.observing) >= self.interval())
    }

    /// How long the step has been observed, in whole seconds, and how long it is to be.
    pub fn observed(&self, at: Duration) -> Option<(Duration, Duration)> {
        let seconds = Duration::from_secs(at.saturating_sub(self.observing).as_secs());
        self.converged.then(|| (seconds.min(self.interval()), self.interval()))
    }

    /// Whether the canary has had this weight for so long that it no longer starts up.
    pub fn warm(&self, at: Duration, after: Duration) -> bool {
        self.converged && at.saturating_sub(self.observing) >= after
    }

    pub fn handle(&mut self, at: Duration, event: Event) -> Vec<Effect> {
        if self.state == State::Ended {
            return Vec::new();
        }
        if self.state == State::Draining
            && matches!(event, Event::Gone(_) | Event::FenceLost(_) | Event::Denied(_) | Event::Rejected(_))
        {
            return self.drained("");
        }
        match event {
            Event::Gone(why) => self.end(Exit::TargetGone, "Gone", why),
            Event::FenceLost(why) => self.end(Exit::Conflict, "Conflict", why),
            // A rollback overrides what anyone else wrote meanwhile.
            Event::Drift(_) if matches!(self.state, State::RollingBack | State::Draining) => Vec::new(),
            Event::Drift(why) => self.drift(at, why),
            Event::GiveUp(why) => match self.state {
                State::Converge | State::Observe | State::Hold | State::Approval => {
                    self.roll_back(at, Reason::Inconclusive(why))
                }
                _ => Vec::new(),
            },
            Event::Order(order) => self.order(at, order),
            Event::Told { order, by } => {
                let mut effects = vec![report("Ordered", format!("{order:?} by {by}").to_lowercase())];
                effects.extend(self.order(at, order));
                effects
            }
            Event::Broken(why) => self.fail(at, why),
            Event::LeaseStale(why) => {
                let news = !self.stale;
                self.stale = true;
                if news { vec![report("Stale", format!("{why}; not advancing"))] } else { Vec::new() }
            }
            Event::LeaseFresh => {
                self.stale = false;
                Vec::new()
            }
            Event::Probe(Ok(())) => {
                self.probes_failed = 0;
                Vec::new()
            }
            Event::Probe(Err(why)) => {
                self.probes_failed += 1;
                if self.probes_failed < PROBES {
                    return Vec::new();
                }
                self.probes_failed = 0;
                self.fail(at, format!("{PROBES} checks in a row failed: {why}"))
            }
            Event::Lost(why) => self.lost(at, why),
            Event::Denied(why) => match self.state {
                State::RollingBack => self.again(at, &why),
                State::Frozen => Vec::new(),
                _ => self.end(Exit::Unreachable, "Denied", why),
            },
            Event::Rejected(why) => match self.state {
                State::RollingBack => self.again(at, &why),
                State::Apply | State::Finish if self.live => self.roll_back(at, Reason::Inconclusive(why)),
                State::Apply => self.roll_back(at, Reason::Refused(why)),
                State::Claim => self.end(Exit::Usage, "Refused", why),
                _ => Vec::new(),
            },
            event => self.in_state(at, event),
        }
    }

    fn in_state(&mut self, at: Duration, event: Event) -> Vec<Effect> {
        match (self.state, event) {
            (State::Preflight, Event::Ready(start)) => {
                if let Start::Fresh { step, .. } | Start::Resume { step } = start {
                    self.step = step;
                }
                self.live = !matches!(start, Start::Fresh { live: false, .. });
                self.start = Some(start);
                self.enter(at, State::Claim);
                vec![Effect::Claim]
            }
            (State::Claim, Event::Claimed(message)) => {
                let mut effects = vec![report("Claim", message)];
                effects.extend(match self.start.take() {
                    Some(Start::Undo(reason)) => self.roll_back(at, reason),
                    Some(Start::Resume { .. }) => self.converge(at, "taken up where the earlier run stopped"),
                    Some(Start::Fresh { .. }) | None => self.apply(at),
                });
                effects
            }
            (State::Apply, Event::Written(message)) => self.written(at, message),
            (State::Converge, Event::Converged(message)) => self.observe(at, message),
            (State::Hold, Event::Converged(message)) if !self.converged => self.observe(at, message),
            (State::Converge, Event::Tick) if self.over(at, self.timing.converge) => {
                self.hold(at, "the data plane does not show the new weights yet".to_owned())
            }
            (State::Converge | State::Observe | State::Hold | State::Approval, Event::Evidence(Verdict::Fail(why))) => {
                self.fail(at, why)
            }
            (State::Frozen, Event::Evidence(Verdict::Fail(why))) => self.fail(at, why),
            (State::Observe | State::Hold, Event::Evidence(Verdict::Pass(why)))
                if self.complete(at) && (!self.paused || self.skip) && !self.stale =>
            {
                self.passed(at, &why)
            }
            // What a person approves must still be good when they do.
            (State::Approval, Event::Evidence(Verdict::Pass(why))) if self.skip && !self.stale => {
                self.advance(at, &why)
            }
            (
                State::Observe,
                Event::Evidence(Verdict::Wait(why) | Verdict::NoData(why) | Verdict::Environmental(why)),
            ) if self.complete(at) => self.hold(at, why),
            (State::Observe, Event::Tick)
                if self.over(at, self.interval().saturating_add(GRACE)) && !self.paused && !self.stale =>
            {
                self.hold(at, "no evidence arrives".to_owned())
            }
            (State::Hold, Event::Tick) if self.over(at, self.timing.hold) && !self.paused => self.roll_back(
                at,
                Reason::Inconclusive(format!(
                    "nothing to decide by within {:?} of the interval's end",
                    self.timing.hold
                )),
            ),
            (State::Finish, Event::Finished(message)) => self.end(Exit::Ok, "Done", message),
            (State::RollingBack, Event::RolledBack(message)) => {
                self.enter(at, State::Draining);
                self.rolled_back = message;
                Vec::new()
            }
            (State::Draining, Event::Drained(note)) => self.drained(&note),
            (State::Draining, Event::Tick) if self.over(at, self.timing.drain) => {
                self.drained("requests still reach the canary: sessions or connections hold on to it")
            }
            (State::RollingBack, Event::RollbackFailed(why)) => self.again(at, &why),
            (State::RollingBack, Event::Tick) if at >= self.retry => {
                // Not again before this attempt has been answered.
                self.retry = Duration::MAX;
                let goal = self.reason.as_ref().map_or(Goal::Original, Reason::goal);
                vec![Effect::RollBack(goal)]
            }
            (State::Frozen, Event::Tick) => self.thaw(at),
            (State::Frozen, Event::Back { written }) => self.back(at, written),
            _ => Vec::new(),
        }
    }

    fn enter(&mut self, at: Duration, state: State) {
        self.state = state;
        self.entered = at;
    }

    fn over(&self, at: Duration, limit: Duration) -> bool {
        at.saturating_sub(self.entered) >= limit
    }

    fn end(&mut self, exit: Exit, phase: &'static str, message: String) -> Vec<Effect> {
        self.state = State::Ended;
        vec![Effect::End { exit, phase, message }]
    }

    fn apply(&mut self, at: Duration) -> Vec<Effect> {
        self.enter(at, State::Apply);
        self.converged = false;
        vec![Effect::Write { step: self.step }]
    }

    fn written(&mut self, at: Duration, message: String) -> Vec<Effect> {
        self.live = true;
        let mut effects = vec![report(if self.soaks() { "Promote" } else { "Apply" }, message)];
        effects.extend(self.converge(at, "waiting until the data plane shows the weights"));
        effects
    }

    fn converge(&mut self, at: Duration, message: &str) -> Vec<Effect> {
        self.live = true;
        self.converged = false;
        self.enter(at, State::Converge);
        vec![Effect::Observe, report("Converge", message)]
    }

    fn observe(&mut self, at: Duration, message: String) -> Vec<Effect> {
        self.enter(at, State::Observe);
        self.converged = true;
        self.observing = at;
        vec![Effect::Observe, report(if self.soaks() { "Soak" } else { "Observe" }, message)]
    }

    fn hold(&mut self, at: Duration, why: String) -> Vec<Effect> {
        self.enter(at, State::Hold);
        vec![report("Hold", why)]
    }

    fn passed(&mut self, at: Duration, why: &str) -> Vec<Effect> {
        let approve = self.steps.get(self.step).is_some_and(|step| step.approve);
        if approve && !self.skip {
            self.enter(at, State::Approval);
            return vec![report("Approval", format!("pass: {why}; `gwtop canary step` approves it"))];
        }
        self.advance(at, why)
    }

    fn advance(&mut self, at: Duration, why: &str) -> Vec<Effect> {
        let mut effects = vec![report("Judge", format!("pass: {why}"))];
        self.skip = false;
        if std::mem::take(&mut self.promote) && self.step + 1 < self.steps.len() {
            self.step = self.steps.len() - 2;
        }
        if self.step + 1 < self.steps.len() {
            self.step += 1;
            effects.extend(self.apply(at));
        } else {
            self.enter(at, State::Finish);
            effects.push(Effect::Finish);
        }
        effects
    }

    fn fail(&mut self, at: Duration, why: String) -> Vec<Effect> {
        match self.state {
            State::Apply | State::Converge | State::Observe | State::Hold | State::Approval | State::Finish => {
                let reason = if self.live { Reason::Failed(why) } else { Reason::Refused(why) };
                self.roll_back(at, reason)
            }
            State::Frozen => self.latch(Reason::Failed(why)),
            _ => Vec::new(),
        }
    }

    fn drift(&mut self, at: Duration, why: String) -> Vec<Effect> {
        self.drifts += 1;
        let policy = if self.drifts > DRIFTS { OnDrift::Stop } else { self.timing.on_drift };
        match (policy, self.state) {
            (OnDrift::Stop, _) | (_, State::Preflight | State::Claim | State::Frozen | State::Ended) => {
                self.end(Exit::Conflict, "Conflict", why)
            }
            (OnDrift::Adopt, _) => {
                self.enter(at, State::Apply);
                self.converged = false;
                vec![report("Drift", format!("{why}; going on from there")), Effect::Adopt]
            }
            (OnDrift::Reassert, _) => {
                let mut effects = vec![report("Drift", format!("{why}; writing ours again"))];
                effects.extend(self.apply(at));
                effects
            }
        }
    }

    fn drained(&mut self, note: &str) -> Vec<Effect> {
        let (exit, why) = self.reason.as_ref().map_or((Exit::Internal, ""), |r| (r.exit(), r.text()));
        let note = if note.is_empty() { String::new() } else { format!(" ({note})") };
        let message = format!("{}: {why}{note}", self.rolled_back);
        self.end(exit, "RolledBack", message)
    }

    fn latch(&mut self, reason: Reason) -> Vec<Effect> {
        if self.reason.is_some() {
            return Vec::new();
        }
        let message = format!("will roll back as soon as the API answers: {}", reason.text());
        self.reason = Some(reason);
        vec![report("Frozen", message)]
    }

    fn roll_back(&mut self, at: Duration, reason: Reason) -> Vec<Effect> {
        let effects = vec![report("RollingBack", reason.text()), Effect::RollBack(reason.goal())];
        self.reason = Some(reason);
        self.enter(at, State::RollingBack);
        self.retry = Duration::MAX;
        self.wait = RETRY_FIRST;
        effects
    }

    fn again(&mut self, at: Duration, why: &str) -> Vec<Effect> {
        if self.over(at, self.timing.rollback) {
            return self.end(
                Exit::RollbackFailed,
                "RollbackFailed",
                format!(
                    "THE CANARY MAY STILL HAVE TRAFFIC: {why}; run `gwtop canary … --rollback` once the API answers"
                ),
            );
        }
        let news = self.wait == RETRY_FIRST;
        self.retry = at + self.wait;
        self.wait = (self.wait * 2).min(RETRY_MOST);
        if news { vec![report("RollingBack", format!("trying again: {why}"))] } else { Vec::new() }
    }

    fn lost(&mut self, at: Duration, why: String) -> Vec<Effect> {
        match self.state {
            State::Preflight => self.end(Exit::Unreachable, "Unreachable", why),
            State::RollingBack => self.again(at, &why),
            // What was to be written is written.
            State::Draining => Vec::new(),
            State::Frozen | State::Ended => {
                self.retry = at + self.wait;
                self.wait = (self.wait * 2).min(RETRY_MOST);
                Vec::new()
            }
            state => {
                self.frozen = state;
                self.enter(at, State::Frozen);
                self.wait = RETRY_FIRST;
                self.retry = at + self.wait;
                vec![report("Frozen", format!("{why}; the weights stay as they are until the API answers"))]
            }
        }
    }

    fn thaw(&mut self, at: Duration) -> Vec<Effect> {
        if self.over(at, self.timing.api) {
            return match &self.reason {
                Some(reason) => {
                    let why = format!("THE CANARY STILL HAS TRAFFIC, the API does not answer: {}", reason.text());
                    self.end(Exit::RollbackFailed, "RollbackFailed", why)
                }
                None => {
                    self.end(Exit::Unreachable, "Unreachable", "the API does not answer; the weights stay".to_owned())
                }
            };
        }
        if at < self.retry {
            return Vec::new();
        }
        self.retry = Duration::MAX;
        vec![Effect::Reconnect]
    }

    fn back(&mut self, at: Duration, written: bool) -> Vec<Effect> {
        if self.frozen == State::Claim {
            if let Some(reason) = self.reason.take() {
                self.start = Some(Start::Undo(reason));
            }
            self.enter(at, State::Claim);
            return vec![Effect::Claim];
        }
        if let Some(reason) = self.reason.take() {
            return self.roll_back(at, reason);
        }
        match self.frozen {
            State::Apply if !written => self.apply(at),
            State::Finish if written => self.end(Exit::Ok, "Done", "the last write had been made".to_owned()),
            State::Finish => {
                self.enter(at, State::Finish);
                vec![Effect::Finish]
            }
            // What was counted meanwhile is void: nobody could have acted on it.
            _ => self.converge(at, "the API answers again: this step is observed anew"),
        }
    }

    fn order(&mut self, at: Duration, order: Order) -> Vec<Effect> {
        match (order, self.state) {
            (Order::Rollback | Order::Stop, State::Preflight) => {
                self.end(Exit::Stopped, "Stopped", "stopped before anything was written".to_owned())
            }
            // The weights are back already: what is left is waiting.
            (Order::Rollback | Order::Stop, State::Draining) => self.drained("not waited for"),
            (Order::Stop, _) => self.end(
                Exit::Detached,
                "Detached",
                "left with the weights as they are; the same command takes it up again, with --rollback undoes it"
                    .to_owned(),
            ),
            (Order::Rollback, State::RollingBack) => Vec::new(),
            (Order::Rollback, State::Frozen) => self.latch(Reason::Operator("ordered by the operator".to_owned())),
            (Order::Rollback, State::Claim) => {
                self.start = Some(Start::Undo(Reason::Operator("ordered by the operator".to_owned())));
                Vec::new()
            }
            (Order::Rollback, _) => self.roll_back(at, Reason::Operator("ordered by the operator".to_owned())),
            (Order::Pause, _) if !self.paused => {
                self.paused = true;
                vec![report("Paused", "not advancing; a bad canary is still rolled back")]
            }
            (Order::Resume, _) if self.paused => {
                self.paused = false;
                if self.state == State::Hold {
                    self.entered = at;
                }
                vec![report("Resumed", "advancing on a pass")]
            }
            (Order::Promote, _) => {
                if self.steps.last().is_none_or(|step| step.stage != Stage::Weight(100.0)) {
                    let interval = self.interval().min(Duration::from_secs(3600));
                    self.steps.push(Step { stage: Stage::Weight(100.0), interval, approve: false });
                }
                self.promote = true;
                self.skip = true;
                vec![report("Ordered", "going to 100 % as soon as this step passes")]
            }
            (Order::Step, _) => {
                self.skip = true;
                vec![report("Ordered", "going on as soon as this step passes")]
            }
            (Order::Pause | Order::Resume, _) => Vec::new(),
        }
    }
}
