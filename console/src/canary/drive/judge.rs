//! Gives the machine what the figures of a step say.

use std::time::{Duration, Instant};

use super::driver::Driver;
use crate::{
    canary::{
        machine::{Event, State},
        plan::{OnMetricsLoss, Stage, short},
        verdict::{self, Verdict},
    },
    intent::weights,
    traffic::series::ArmCounts,
};

/// For so long sources may be silent before a run gives up on them, if it is to.
const GRACE: Duration = Duration::from_secs(15);

impl Driver {
    fn stage(&self) -> Option<Stage> {
        self.machine.steps().get(self.machine.step()).map(|step| step.stage)
    }

    /// Whether this step is judged without metrics: there are none, or none that could tell.
    pub(super) fn by_checks(&self) -> bool {
        self.context.settings.no_metrics || self.stage() == Some(Stage::Mirror)
    }

    /// Gives the trial what came since the last look; what came to the canary.
    pub(super) fn count(&mut self, warm: bool) -> f64 {
        let header = self.stage() == Some(Stage::Header);
        let mut requests = 0.0;
        for target in &mut self.targets {
            let totals = |backend: &weights::Backend| target.counts(&self.traffic, backend).unwrap_or_default();
            let (canary, stable) = (totals(&target.pair.canary), totals(&target.pair.stable));
            // Those who send the header are not a sample of the others.
            let of_stable = if header { ArmCounts::default() } else { stable.since(&target.counted.1) };
            let of_canary = canary.since(&target.counted.0);
            requests += of_canary.requests;
            self.trial.add(&of_canary, &of_stable, warm);
            target.counted = (canary, stable);
        }
        requests
    }

    pub(super) async fn judge(&mut self) {
        let at = self.start.elapsed();
        if self.machine.state() == State::Draining {
            return self.drain().await;
        }
        let complete = self.machine.complete(at);
        let by_checks = self.by_checks();
        if !self.programmed {
            self.programmed = self.targets.iter().all(super::target::Target::programmed);
            if self.programmed {
                // Requests from before the change must not hide it.
                if self.machine.state() == State::Converge {
                    self.count(false);
                    self.trial.begin_step();
                }
                if !by_checks {
                    return;
                }
            }
        }
        if by_checks || self.stage() == Some(Stage::Header) {
            self.converge_by_status();
        }
        if by_checks {
            let verdict = self.checked(complete);
            self.queue.push_back(Event::Evidence(verdict));
            return;
        }
        if let Some(why) = self.silence() {
            let since = *self.silent_since.get_or_insert_with(Instant::now);
            match self.context.settings.on_metrics_loss {
                OnMetricsLoss::Hold => self.queue.push_back(Event::Evidence(Verdict::NoData(why))),
                OnMetricsLoss::Rollback if since.elapsed() >= GRACE => self.queue.push_back(Event::GiveUp(why)),
                OnMetricsLoss::Rollback => self.queue.push_back(Event::Evidence(Verdict::NoData(why))),
                OnMetricsLoss::Probe => {
                    self.converge_by_status();
                    let verdict = self.checked(complete);
                    self.queue.push_back(Event::Evidence(verdict));
                }
            }
            return;
        }
        self.silent_since = None;
        self.count(self.machine.warm(at, self.context.settings.warm_up()));
        self.evidence = Some(self.trial.evidence());
        self.converge_by_split();
        let verdict = self.verdict(complete);
        self.queue.push_back(Event::Evidence(verdict));
    }

    fn converge_by_status(&mut self) {
        if self.programmed {
            self.queue.push_back(Event::Converged("the route's status shows it".to_owned()));
        }
    }

    fn converge_by_split(&mut self) {
        let (canary, stable) = self.trial.step();
        let declared = self.targets[0].pair.percent();
        if self.programmed && verdict::converged(canary.requests, stable.requests, declared) {
            let share = weights::percent_of(canary.requests as u64, (canary.requests + stable.requests) as u64);
            let message = format!("{} % observed, {} % declared", short(share), short(declared));
            self.queue.push_back(Event::Converged(message));
        }
    }

    /// What the metrics say; a pass only if the checks do not contradict it.
    fn verdict(&self, complete: bool) -> Verdict {
        for target in &self.targets {
            if target.counts(&self.traffic, &target.pair.canary).is_none() {
                return Verdict::NoData(self.inseparable(target));
            }
        }
        match self.trial.judge(complete) {
            Verdict::Pass(text) => match self.checked(true) {
                Verdict::Pass(_) => Verdict::Pass(text),
                other => other,
            },
            other => other,
        }
    }

    /// Why the canary cannot be told apart, and what to change.
    fn inseparable(&self, target: &super::target::Target) -> String {
        let name = &target.pair.canary.name;
        match self.traffic.blended(&target.key, target.pair.rule) {
            Some(how) => format!("no metric names the canary's backend {name} apart from stable: {how}"),
            None if self.traffic.route(&target.key).is_some() => {
                format!("no metric names the canary's backend {name} yet, though its route has some")
            }
            None => format!("no metric names the canary's backend {name}"),
        }
    }

    /// What the checks of this step say.
    fn checked(&self, complete: bool) -> Verdict {
        let settings = &self.context.settings;
        if settings.checks.is_empty() && settings.queries.is_empty() {
            return if complete { Verdict::Pass(String::new()) } else { Verdict::Wait(String::new()) };
        }
        let fresh = settings.probe_every * 3 + settings.check_timeout;
        let Some((_, round)) = self.round.as_ref().filter(|(at, _)| at.elapsed() <= fresh) else {
            return Verdict::NoData("no check was made in this step".to_owned());
        };
        match (&round.failed, &round.missing) {
            (Some(why), _) => Verdict::Wait(why.clone()),
            (None, Some(why)) => Verdict::NoData(why.clone()),
            (None, None) if complete => Verdict::Pass("every check passed".to_owned()),
            (None, None) => Verdict::Wait("the interval is not over".to_owned()),
        }
    }

    pub(super) fn silence(&self) -> Option<String> {
        let limit = self.context.settings.scrape_every * 3 + Duration::from_secs(2);
        let silent = self.traffic.age(Instant::now()).is_none_or(|age| age > limit);
        if !(self.last_scrape_failed && silent) {
            return None;
        }
        let why = self.traffic.problem().unwrap_or("no source answers");
        Some(format!("metrics are missing: {why}"))
    }

    /// Whether anything still reaches the canary after a rollback.
    async fn drain(&mut self) {
        if self.by_checks() || self.silence().is_some() {
            self.queue.push_back(Event::Drained(String::new()));
            return;
        }
        // Rolled back to weights that give the canary its old share, there is nothing to drain.
        if self.targets.iter().any(|target| target.pair.canary.effective() > 0) {
            self.queue.push_back(Event::Drained(String::new()));
            return;
        }
        let requests = self.count(false);
        if requests > 0.0 {
            self.quiet = 0;
            self.residue(requests).await;
        } else {
            self.quiet += 1;
            if self.quiet >= 2 {
                self.queue.push_back(Event::Drained(String::new()));
            }
        }
    }
}
