//! Everything about a run that the operator decides.

use std::time::Duration;

use super::{
    plan::{Check, Header, OnDrift, OnMetricsLoss, Query, RouteRef, Stage, Step, Webhook},
    record, verdict,
};
use crate::model::key::Kind;

#[derive(Debug, Clone)]
pub struct Settings {
    /// None: the one candidate of the namespace. Several are moved together.
    pub routes: Vec<RouteRef>,
    pub namespace: String,
    /// Percent points of each step.
    pub step: f64,
    /// Percent of each step, instead of `step` and `max`.
    pub steps: Vec<f64>,
    /// Percent at which stepping ends.
    pub max: f64,
    /// After the maximum, go to 100 %.
    pub promote: bool,
    pub interval: Duration,
    /// How long 100 % is observed.
    pub soak: Option<Duration>,
    /// Wait for a person after the first step that reaches this percent.
    pub approve_at: Vec<f64>,
    /// Show the canary to requests with this header first.
    pub header: Option<Header>,
    /// Show copies of requests to the canary first.
    pub mirror: bool,
    pub checks: Vec<Check>,
    pub check_timeout: Duration,
    pub probe_every: Duration,
    pub queries: Vec<Query>,
    pub prometheus_url: Option<String>,
    pub webhooks: Vec<Webhook>,
    /// Signs the bodies of webhooks.
    pub webhook_secret: Option<String>,
    pub notify: Vec<String>,
    pub report: Option<std::path::PathBuf>,
    pub max_error_rate: f64,
    pub max_p99: Option<Duration>,
    pub min_requests: Option<u64>,
    /// Bound on the chance that a healthy rollout is rolled back.
    pub alpha: f64,
    /// Bound on the chance that a step of a bad canary is passed.
    pub beta: f64,
    pub dispersion: f64,
    pub metrics_urls: Vec<String>,
    /// Judge by the checks alone.
    pub no_metrics: bool,
    pub scrape_every: Duration,
    /// Index, name or match of the rule.
    pub rule: Option<String>,
    pub stable: Option<String>,
    pub canary: Option<String>,
    /// Go on from weights that the manifest left out.
    pub adopt: bool,
    /// Go on from what an earlier run with other settings left behind.
    pub take_over: bool,
    /// Begin although something else owns the route.
    pub force: bool,
    /// Only undo what an earlier run left behind.
    pub rollback: bool,
    pub dry_run: Option<DryRun>,
    pub on_drift: OnDrift,
    pub on_metrics_loss: OnMetricsLoss,
    /// How long the data plane may take to show a new weight.
    pub converge: Duration,
    /// How long to wait for evidence after a step's interval before giving up.
    pub hold: Duration,
    /// How long to wait for the last requests to a rolled back canary.
    pub drain: Duration,
    pub rollback_deadline: Duration,
    pub api_deadline: Duration,
    /// The command line that made these, for whoever takes the run up elsewhere.
    pub arguments: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum DryRun {
    /// Nothing is sent.
    Client,
    /// The API is asked whether it would admit every patch.
    Server,
}

impl Settings {
    pub fn new(namespace: impl Into<String>, route: Option<String>) -> Self {
        Self {
            routes: route.into_iter().map(|name| RouteRef { kind: Kind::HttpRoute, namespace: None, name }).collect(),
            namespace: namespace.into(),
            step: 5.0,
            steps: Vec::new(),
            max: 50.0,
            promote: false,
            interval: Duration::from_secs(300),
            soak: None,
            approve_at: Vec::new(),
            header: None,
            mirror: false,
            checks: Vec::new(),
            check_timeout: Duration::from_secs(5),
            probe_every: Duration::from_secs(5),
            queries: Vec::new(),
            prometheus_url: None,
            webhooks: Vec::new(),
            webhook_secret: None,
            notify: Vec::new(),
            report: None,
            max_error_rate: 0.01,
            max_p99: None,
            min_requests: None,
            alpha: 0.01,
            beta: 0.05,
            dispersion: 1.0,
            metrics_urls: Vec::new(),
            no_metrics: false,
            scrape_every: Duration::from_secs(2),
            rule: None,
            stable: None,
            canary: None,
            adopt: false,
            take_over: false,
            force: false,
            rollback: false,
            dry_run: None,
            on_drift: OnDrift::Stop,
            on_metrics_loss: OnMetricsLoss::Hold,
            converge: Duration::from_secs(120),
            hold: Duration::from_secs(900),
            drain: Duration::from_secs(30),
            rollback_deadline: Duration::from_secs(300),
            api_deadline: Duration::from_secs(600),
            arguments: Vec::new(),
        }
    }

    /// What makes no sense whatever the route is.
    pub fn validate(&self) -> Result<(), String> {
        self.validate_steps()?;
        if self.interval.is_zero() || self.check_timeout.is_zero() {
            return Err("--interval and --check-timeout must be longer than 0".to_owned());
        }
        if self.min_requests == Some(0) {
            return Err("--min-requests 0: no data is never a pass; ask for at least 1".to_owned());
        }
        for (flag, bound) in [("--alpha", self.alpha), ("--beta", self.beta)] {
            if !(bound > 0.0 && bound < 0.5) {
                return Err(format!("{flag} {bound}: a chance of error lies above 0 and below 50 %"));
            }
        }
        if !(self.dispersion >= 1.0 && self.dispersion.is_finite()) {
            return Err(format!(
                "--dispersion {}: errors that fail independently have 1, others more",
                self.dispersion
            ));
        }
        let blind = self.checks.is_empty() && self.queries.is_empty();
        if self.no_metrics && blind {
            return Err("--no-metrics without --check or --query leaves nothing to judge by: give one".to_owned());
        }
        if self.on_metrics_loss == OnMetricsLoss::Probe && blind {
            return Err("--on-metrics-loss probe without --check or --query leaves nothing to judge by".to_owned());
        }
        if self.mirror && blind {
            return Err(
                "--mirror without --check or --query: gateways drop the answers to copies, so nothing would judge them"
                    .to_owned(),
            );
        }
        if self.no_metrics && self.max_p99.is_some() {
            return Err("--max-p99 needs metrics: leave out --no-metrics".to_owned());
        }
        if !self.queries.is_empty() && self.prometheus_url.is_none() {
            return Err("--query needs a Prometheus server to ask: give --prometheus-url URL".to_owned());
        }
        if self.mirror || self.header.is_some() {
            let flag = if self.mirror { "--mirror" } else { "--header" };
            if let Some(route) =
                self.routes.iter().find(|route| !matches!(route.kind, Kind::HttpRoute | Kind::GrpcRoute))
            {
                return Err(format!("{flag}: a {} has no headers and no filters", route.kind.name()));
            }
        }
        Ok(())
    }

    fn validate_steps(&self) -> Result<(), String> {
        if !(self.step > 0.0 && self.step <= 100.0) {
            return Err(format!("--step {}: a step is more than 0 and at most 100 percent points", self.step));
        }
        if !(self.max > 0.0 && self.max <= 100.0) {
            return Err(format!("--max {}: the maximum is more than 0 and at most 100 %", self.max));
        }
        if self.steps.iter().any(|step| !(*step >= 0.01 && *step <= 100.0)) {
            return Err("--steps: each is at least 0.01 and at most 100 %".to_owned());
        }
        if self.steps.windows(2).any(|pair| pair[0] >= pair[1]) {
            return Err("--steps: each must be more than the one before".to_owned());
        }
        if self.steps.is_empty() {
            if self.max < self.step {
                return Err(format!(
                    "--max {} is less than --step {}: not even the first step could be taken; raise --max",
                    self.max, self.step
                ));
            }
            if (self.max / self.step).ceil() > 1000.0 {
                return Err(format!(
                    "--step {} makes more than 1000 steps up to {} %: take larger ones",
                    self.step, self.max
                ));
            }
        }
        if self.soak.is_some() && self.steps().last() != Some(&100.0) {
            return Err("--soak is the time at 100 %: add --promote".to_owned());
        }
        let highest = self.steps().last().copied().unwrap_or_default();
        if let Some(percent) = self.approve_at.iter().find(|percent| !(**percent > 0.0 && **percent <= highest)) {
            return Err(format!("--approve-at {percent}: no step reaches it, the last is {highest} %"));
        }
        Ok(())
    }

    /// The canary's percent at each step, rising; never beyond the maximum but to promote.
    pub fn steps(&self) -> Vec<f64> {
        let mut steps = self.steps.clone();
        if steps.is_empty() {
            let mut count = 1.0;
            while self.step * count < self.max - 1e-9 {
                steps.push(self.step * count);
                count += 1.0;
            }
            steps.push(self.max);
        }
        if self.promote && steps.last().is_none_or(|last| *last < 100.0) {
            steps.push(100.0);
        }
        steps
    }

    /// All stages in order.
    pub fn plan(&self) -> Vec<Step> {
        let stages =
            self.mirror.then_some(Stage::Mirror).into_iter().chain(self.header.as_ref().map(|_| Stage::Header));
        let mut plan: Vec<Step> = stages.map(|stage| Step { stage, interval: self.interval, approve: false }).collect();
        let mut asked = self.approve_at.clone();
        for percent in self.steps() {
            let approve = asked.iter().any(|at| *at <= percent + 1e-9);
            asked.retain(|at| *at > percent + 1e-9);
            let interval = if percent >= 100.0 { self.soak.unwrap_or(self.interval) } else { self.interval };
            plan.push(Step { stage: Stage::Weight(percent), interval, approve });
        }
        plan
    }

    pub fn limits(&self) -> verdict::Limits {
        verdict::Limits {
            max_error_rate: self.max_error_rate,
            max_p99: self.max_p99,
            min_requests: self.min_requests,
            alpha: self.alpha,
            beta: self.beta,
            dispersion: self.dispersion,
        }
    }

    /// For so long a canary may be slow because its weight has just grown.
    pub fn warm_up(&self) -> Duration {
        (self.interval / 5).min(Duration::from_secs(60))
    }

    /// What must be equal for a run to take up another's step without being asked to.
    pub fn fingerprint(&self) -> String {
        record::hash8(&format!(
            "{:?} {:?} {:?} {:?} {:?} {:?} {} {} {} {:?} {:?}",
            self.plan(),
            self.checks,
            self.queries,
            self.max_error_rate,
            self.max_p99,
            self.min_requests,
            self.no_metrics,
            self.alpha,
            self.beta,
            self.header,
            self.routes.len(),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_end_at_the_maximum() {
        let steps = |step, max, promote| Settings { step, max, promote, ..Settings::new("ns", None) }.steps();
        assert_eq!(steps(5.0, 20.0, false), [5.0, 10.0, 15.0, 20.0]);
        assert_eq!(steps(5.0, 12.0, false), [5.0, 10.0, 12.0]);
        assert_eq!(steps(50.0, 50.0, true), [50.0, 100.0]);
        assert_eq!(steps(100.0, 100.0, true), [100.0]);
    }

    #[test]
    fn a_plan_has_its_stages_in_order() {
        let settings = Settings {
            steps: vec![0.1, 25.0, 60.0],
            promote: true,
            soak: Some(Duration::from_secs(7)),
            approve_at: vec![50.0],
            mirror: true,
            header: Some(Header::parse("X-Canary: true").unwrap()),
            checks: vec![Check::Exec("true".to_owned())],
            ..Settings::new("ns", None)
        };
        assert_eq!(settings.validate(), Ok(()));
        let plan = settings.plan();
        let stages: Vec<String> = plan.iter().map(|step| step.stage.to_string()).collect();
        assert_eq!(stages, ["mirror", "header", "0.1 %", "25 %", "60 %", "100 %"]);
        assert_eq!(plan.iter().position(|step| step.approve), Some(4));
        assert_eq!(plan[5].interval, Duration::from_secs(7));
    }

    #[test]
    fn nonsense_is_refused() {
        let refused = |change: fn(&mut Settings)| {
            let mut settings = Settings::new("ns", None);
            change(&mut settings);
            settings.validate().is_err()
        };
        assert!(!refused(|_| {}));
        assert!(refused(|s| s.step = 0.0));
        assert!(refused(|s| s.step = 200.0));
        assert!(refused(|s| s.step = f64::NAN));
        assert!(refused(|s| s.max = 4.0));
        assert!(refused(|s| s.step = 0.0001));
        assert!(refused(|s| s.steps = vec![5.0, 5.0]));
        assert!(refused(|s| s.steps = vec![0.0, 5.0]));
        assert!(refused(|s| s.approve_at = vec![60.0]));
        assert!(refused(|s| s.soak = Some(Duration::from_secs(1))));
        assert!(refused(|s| s.no_metrics = true));
        assert!(refused(|s| s.mirror = true));
        assert!(refused(|s| s.alpha = 0.0));
        assert!(refused(|s| s.beta = 0.7));
        assert!(refused(|s| s.dispersion = 0.5));
        assert!(refused(|s| s.min_requests = Some(0)));
        assert!(refused(|s| s.queries = Query::all(&["a=b".to_owned()], &["a=1".to_owned()], &[]).unwrap()));
    }
}
