//! Is the canary good enough? Pure: counts of a step in, a verdict out.
//!
//! A pass takes enough requests that a canary at the limit would have shown errors with 95 %
//! probability. A failure before the interval is over takes errors that a canary at the
//! limit would make once in a thousand times. When the stable backend is as bad, the canary
//! is not to blame and nothing is decided.

use std::time::Duration;

use serde::Serialize;

use crate::traffic::series::ArmCounts;

#[cfg(test)]
mod tests;

/// How unlikely errors must be at the limit to fail a canary early.
const CLEARLY: f64 = 0.001;
/// Fewer errors than this never fail a canary early.
const FEW: f64 = 5.0;
/// The chance that is left of passing a canary at the limit.
const BETA: f64 = 0.05;
/// A limit of 0 is judged as this: no number of requests proves that there are no errors.
const LEAST: f64 = 0.001;
/// The canary must be this much worse than an equally bad stable backend to be blamed.
const WORSE_ERRORS: f64 = 2.0;
const WORSE_LATENCY: f64 = 1.2;

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    pub max_error_rate: f64,
    pub max_p99: Option<Duration>,
    pub min_requests: Option<u64>,
}

impl Limits {
    /// Requests that a pass takes.
    pub fn needed(&self) -> u64 {
        let derived = ((1.0 / BETA).ln() / self.max_error_rate.max(LEAST)).ceil() as u64;
        self.min_requests.unwrap_or(derived)
    }
}

#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    Pass(String),
    Fail(String),
    /// The stable backend is as bad: not the canary's doing.
    Environmental(String),
    /// Not enough yet.
    Wait(String),
    /// Nothing to judge by.
    NoData(String),
}

/// Figures of a step, as shown and recorded.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Evidence {
    pub canary_requests: f64,
    pub canary_errors: f64,
    pub canary_p99_seconds: Option<f64>,
    pub stable_requests: f64,
    pub stable_errors: f64,
    pub stable_p99_seconds: Option<f64>,
    /// Share of the pair's requests that the canary really got, in percent.
    pub observed_percent: Option<f64>,
    pub needed_requests: u64,
}

impl Evidence {
    pub fn of(canary: &ArmCounts, stable: &ArmCounts, limits: &Limits) -> Self {
        let p99 = |counts: &ArmCounts| counts.quantile(0.99).map(|p99| p99.as_secs_f64());
        let both = canary.requests + stable.requests;
        Self {
            canary_requests: canary.requests,
            canary_errors: canary.errors,
            canary_p99_seconds: p99(canary),
            stable_requests: stable.requests,
            stable_errors: stable.errors,
            stable_p99_seconds: p99(stable),
            observed_percent: (both > 0.0).then(|| canary.requests * 100.0 / both),
            needed_requests: limits.needed(),
        }
    }
}

fn percent(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
}

/// Judges what both arms did since the step began. `complete`: the interval is over.
/// An arm that no metric names is none.
pub fn judge(canary: Option<&ArmCounts>, stable: Option<&ArmCounts>, limits: &Limits, complete: bool) -> Verdict {
    let Some(canary) = canary else {
        return Verdict::NoData("no metric names the canary's backend".to_owned());
    };
    let nothing = ArmCounts::default();
    let stable = stable.unwrap_or(&nothing);
    let errors = errors(canary, stable, limits, complete);
    let latency = limits.max_p99.and_then(|max| latency(canary, stable, max, limits, complete));
    // The worse of the two decides; a failure beats an excuse.
    match (errors, latency) {
        (Some(fail @ Verdict::Fail(_)), _) | (_, Some(fail @ Verdict::Fail(_))) => return fail,
        (Some(other), _) | (None, Some(other)) => return other,
        (None, None) => {}
    }
    let needed = limits.needed();
    if canary.requests < 1.0 {
        return Verdict::NoData(format!("no request reached the canary yet; {needed} are needed"));
    }
    if canary.requests < needed as f64 {
        let missing = needed - canary.requests as u64;
        return Verdict::Wait(format!("{} of {needed} requests seen: {missing} more needed", canary.requests as u64));
    }
    let rate = canary.error_rate().unwrap_or_default();
    let p99 = canary.quantile(0.99).map_or_else(String::new, |p99| format!(", p99 {p99:.1?}"));
    let text = format!("{} requests, {} errors{p99}", canary.requests as u64, percent(rate));
    if complete { Verdict::Pass(text) } else { Verdict::Wait(text) }
}

/// None: nothing wrong with the error rate.
fn errors(canary: &ArmCounts, stable: &ArmCounts, limits: &Limits, complete: bool) -> Option<Verdict> {
    let rate = canary.error_rate()?;
    let max = limits.max_error_rate;
    if rate <= max {
        return None;
    }
    let clearly = canary.errors >= FEW && tail(canary.requests, canary.errors, max.max(LEAST)) < CLEARLY;
    let enough = complete && canary.requests >= limits.needed() as f64;
    if !clearly && !enough {
        return Some(Verdict::Wait(format!(
            "{} of {} requests failed ({}, limit {}): too few to tell",
            canary.errors as u64,
            canary.requests as u64,
            percent(rate),
            percent(max)
        )));
    }
    let stable_rate = stable.error_rate().unwrap_or_default();
    let against = format!("canary {} errors, stable {}, limit {}", percent(rate), percent(stable_rate), percent(max));
    if stable_rate > max && rate <= stable_rate * WORSE_ERRORS {
        return Some(Verdict::Environmental(format!("{against}: both are bad")));
    }
    Some(Verdict::Fail(against))
}

/// None: nothing wrong with the latency.
fn latency(canary: &ArmCounts, stable: &ArmCounts, max: Duration, limits: &Limits, complete: bool) -> Option<Verdict> {
    if canary.requests < 1.0 {
        return None;
    }
    let Some(p99) = canary.quantile(0.99) else {
        return Some(Verdict::NoData("the metrics tell no latency of the canary".to_owned()));
    };
    if p99 <= max {
        return None;
    }
    // The first bound at or above the limit: what lies beyond it is too slow for certain.
    let total = canary.buckets.last().map_or(0.0, |(_, total)| *total);
    let within =
        canary.buckets.iter().find(|(bound, _)| *bound >= max.as_secs_f64()).map_or(total, |(_, within)| *within);
    let slow = total - within;
    let clearly = slow >= FEW && tail(total, slow, 0.01) < CLEARLY;
    let enough = complete && canary.requests >= limits.needed() as f64;
    if !clearly && !enough {
        return Some(Verdict::Wait(format!("p99 {p99:.1?} is over {max:?}, on too few requests to tell")));
    }
    let stable_p99 = stable.quantile(0.99).unwrap_or_default();
    let against = format!("canary p99 {p99:.1?}, stable {stable_p99:.1?}, limit {max:?}");
    if stable_p99 > max && p99.as_secs_f64() <= stable_p99.as_secs_f64() * WORSE_LATENCY {
        return Some(Verdict::Environmental(format!("{against}: both are slow")));
    }
    Some(Verdict::Fail(against))
}

/// Chernoff's bound on the chance of at least `k` in `n` at rate `p`.
fn tail(n: f64, k: f64, p: f64) -> f64 {
    let observed = k / n;
    if observed <= p || p >= 1.0 {
        return 1.0;
    }
    let rest = if observed < 1.0 { (1.0 - observed) * ((1.0 - observed) / (1.0 - p)).ln() } else { 0.0 };
    (-n * (observed * (observed / p).ln() + rest)).exp()
}

/// Whether the data plane splits as it was told to, as far as this many requests can show.
pub fn converged(canary: f64, stable: f64, percent: f64) -> bool {
    let (n, wanted) = (canary + stable, percent / 100.0);
    if n < 1.0 {
        return false;
    }
    if wanted <= 0.0 {
        return canary < 1.0;
    }
    let tolerance = (wanted / 4.0).max(3.0 * (wanted * (1.0 - wanted) / n).sqrt());
    canary > 0.0 && (canary / n - wanted).abs() <= tolerance
}
