//! `gwtop canary`: weights stepped by JSON patches, every step judged, rolled back by itself.
//!
//! `machine` decides, `verdict` judges, `patch` and `record` say what is written: all pure.
//! `drive` does the I/O, for the command as for the console.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use crate::exit::Exit;

pub mod command;
pub mod drive;
pub mod journal;
pub mod machine;
pub mod patch;
pub mod record;
pub mod verdict;

/// Version of the JSON lines.
pub const SCHEMA: &str = "gwtop.dev/canary/v1";

/// What a signal does to a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum OnInterrupt {
    /// Give the stable backend its share back, then end.
    Rollback,
    /// Stop advancing but go on judging; a second signal ends the run with the canary live.
    Hold,
    /// End at once and leave the canary live for the next run to take up.
    Detach,
}

/// Everything about a run that the operator decides.
#[derive(Debug, Clone)]
pub struct Settings {
    /// None: the one candidate of the namespace.
    pub route: Option<String>,
    pub namespace: String,
    /// Percent points of each step.
    pub step: f64,
    /// Percent at which stepping ends.
    pub max: f64,
    /// After the maximum, go to 100 %.
    pub promote: bool,
    pub interval: Duration,
    pub check: Option<String>,
    pub check_timeout: Duration,
    pub probe_every: Duration,
    pub max_error_rate: f64,
    pub max_p99: Option<Duration>,
    /// None: as many as the error limit needs to be told from no errors at all.
    pub min_requests: Option<u64>,
    /// Bound on the chance that a healthy rollout is rolled back.
    pub alpha: f64,
    /// Bound on the chance that a step of a bad canary is passed.
    pub beta: f64,
    pub dispersion: f64,
    pub metrics_urls: Vec<String>,
    /// Judge by the check alone.
    pub no_metrics: bool,
    pub scrape_every: Duration,
    pub rule: Option<usize>,
    pub stable: Option<String>,
    pub canary: Option<String>,
    /// Go on from weights that the manifest left out.
    pub adopt: bool,
    /// Go on from what an earlier run with other settings left behind.
    pub take_over: bool,
    /// Only undo what an earlier run left behind.
    pub rollback: bool,
    pub dry_run: bool,
    /// How long the data plane may take to show a new weight.
    pub converge: Duration,
    /// How long to wait for evidence after a step's interval before giving up.
    pub hold: Duration,
    pub rollback_deadline: Duration,
    pub api_deadline: Duration,
}

impl Settings {
    pub fn new(namespace: impl Into<String>, route: Option<String>) -> Self {
        Self {
            route,
            namespace: namespace.into(),
            step: 5.0,
            max: 50.0,
            promote: false,
            interval: Duration::from_secs(300),
            check: None,
            check_timeout: Duration::from_secs(5),
            probe_every: Duration::from_secs(5),
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
            rollback: false,
            dry_run: false,
            converge: Duration::from_secs(120),
            hold: Duration::from_secs(900),
            rollback_deadline: Duration::from_secs(300),
            api_deadline: Duration::from_secs(600),
        }
    }

    /// What makes no sense whatever the route is.
    pub fn validate(&self) -> Result<(), String> {
        if !(self.step > 0.0 && self.step <= 100.0) {
            return Err(format!("--step {}: a step is more than 0 and at most 100 percent points", self.step));
        }
        if !(self.max > 0.0 && self.max <= 100.0) {
            return Err(format!("--max {}: the maximum is more than 0 and at most 100 %", self.max));
        }
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
        if self.no_metrics && self.check.is_none() {
            return Err("--no-metrics without --check leaves nothing to judge by: give --check URL".to_owned());
        }
        if self.no_metrics && self.max_p99.is_some() {
            return Err("--max-p99 needs metrics: leave out --no-metrics".to_owned());
        }
        if let Some(check) = &self.check {
            let url = reqwest::Url::parse(check).map_err(|error| format!("--check {check:?}: {error}"))?;
            if !matches!(url.scheme(), "http" | "https") {
                return Err(format!("--check {check:?}: only http:// and https:// can be probed"));
            }
        }
        Ok(())
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

    /// The canary's percent at each step, rising; never beyond the maximum but to promote.
    pub fn steps(&self) -> Vec<f64> {
        let mut steps = Vec::new();
        let mut count = 1.0;
        while self.step * count < self.max - 1e-9 {
            steps.push(self.step * count);
            count += 1.0;
        }
        steps.push(self.max);
        if self.promote && self.max < 100.0 {
            steps.push(100.0);
        }
        steps
    }

    /// What must be equal for a run to take up another's step without being asked to.
    pub fn fingerprint(&self) -> String {
        record::hash8(&format!(
            "{:?} {:?} {:?} {:?} {:?} {:?} {:?} {}",
            self.steps(),
            self.interval,
            self.check,
            self.max_error_rate,
            self.max_p99,
            self.min_requests,
            self.promote,
            self.no_metrics
        ))
    }
}

/// What the operator may ask of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    Pause,
    Resume,
    Rollback,
    /// End now and leave the canary live.
    Stop,
}

/// One change of state, as it is printed, recorded and drawn.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Transition {
    pub schema: &'static str,
    pub time: Timestamp,
    pub run: String,
    pub context: String,
    /// `namespace/name`.
    pub route: String,
    pub rule: usize,
    pub stable: String,
    pub canary: String,
    pub phase: &'static str,
    /// From 1; 0 before the first.
    pub step: u32,
    pub steps: u32,
    /// Percent of the pair's traffic that the canary is given.
    pub weight: f64,
    pub message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence: Option<verdict::Evidence>,
    /// Patch that was or would be sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patch: Option<serde_json::Value>,
    /// On the last line only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished: Option<Exit>,
}

/// A run under way. It goes on if nobody listens any more.
#[derive(Debug)]
pub struct Run {
    pub events: tokio::sync::mpsc::Receiver<Transition>,
    pub commands: tokio::sync::mpsc::Sender<Order>,
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
        assert!(refused(|s| s.no_metrics = true));
        assert!(refused(|s| s.check = Some("ftp://x".to_owned())));
        assert!(refused(|s| s.min_requests = Some(0)));
    }
}
