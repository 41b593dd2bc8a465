//! Is the canary good enough? Pure: counts of both arms in, a verdict out.
//!
//! Two bounds are kept, however often one looks: a canary that is no worse than the stable
//! backend and within its limits is rolled back with probability at most `alpha` over the
//! whole rollout; a step of one that is at the limit or twice as bad is passed with
//! probability at most `beta`. docs/canary-verdict.md explains both.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::traffic::series::ArmCounts;

pub mod process;

use process::{Share, above, below, ln_mean};

#[cfg(test)]
mod tests;

/// A limit of 0 is judged as this: no number of requests proves that there are no errors.
const LEAST: f64 = 0.001;
/// Differences smaller than this are not worth a rollback, however certain they are.
const WORTH: f64 = 1.2;
/// A canary that is less than this many times as bad as a bad stable backend is not blamed.
const BLAMED: f64 = 2.0;
/// Stable requests that fix which bucket bounds latency is judged at.
const BASELINE: f64 = 100.0;
const QUANTILES: [f64; 3] = [0.5, 0.9, 0.99];
/// How the bet on "worse" is divided: errors against stable, errors against the limit,
/// latency against stable, latency against the limit.
const STAKES: [f64; 4] = [0.5, 0.2, 0.2, 0.1];
/// How the bet on "good" is divided: below the limit, no worse than stable.
const PASS: [f64; 2] = [0.75, 0.25];
/// Nobody waits for more requests than this.
const ENDLESS: u64 = 100_000_000;

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    pub max_error_rate: f64,
    pub max_p99: Option<Duration>,
    /// A floor beside the one that `beta` makes.
    pub min_requests: Option<u64>,
    pub alpha: f64,
    pub beta: f64,
    /// How much more errors scatter than if requests failed independently; 1 if they do.
    pub dispersion: f64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_error_rate: 0.01, max_p99: None, min_requests: None, alpha: 0.01, beta: 0.05, dispersion: 1.0 }
    }
}

impl Limits {
    fn rate(&self) -> f64 {
        self.max_error_rate.max(LEAST)
    }

    /// Requests that a pass takes when none of them fails.
    pub fn needed(&self) -> u64 {
        Trial::new(*self).missing()
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
    /// Requests to the canary that a pass of this step still takes if none of them fails.
    pub needed_requests: u64,
    /// How far the evidence against the canary is on its way to a rollback: 1 is there.
    pub against: f64,
    /// How far the evidence for this step is on its way to a pass: 1 is there.
    pub towards: f64,
}

/// What is kept of the evidence when a run is taken over: the bound is on the rollout.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Saved {
    pub errors: Share,
    pub requests: f64,
    pub failed: f64,
}

/// Exceedances of the bounds nearest to what the stable backend's latency was.
#[derive(Debug, Clone, PartialEq)]
struct Latency {
    bounds: Vec<(f64, Share)>,
}

impl Latency {
    fn of(stable: &ArmCounts) -> Option<Self> {
        let (_, total) = stable.buckets.last().filter(|(_, total)| *total >= BASELINE)?;
        let mut bounds: Vec<(f64, Share)> = Vec::new();
        for quantile in QUANTILES {
            let bound = stable.buckets.iter().find(|(bound, count)| bound.is_finite() && *count >= quantile * total);
            if let Some((bound, _)) = bound
                && bounds.iter().all(|(known, _)| known != bound)
            {
                bounds.push((*bound, Share::default()));
            }
        }
        (!bounds.is_empty()).then_some(Self { bounds })
    }

    fn add(&mut self, canary: &ArmCounts, stable: &ArmCounts) {
        for (bound, share) in &mut self.bounds {
            let (Some(canary), Some(stable)) = (slower(canary, *bound), slower(stable, *bound)) else { continue };
            share.add(canary, stable);
        }
    }
}

/// Requests with a known duration, and those of them that took longer than the bound.
fn slower(counts: &ArmCounts, bound: f64) -> Option<(f64, f64)> {
    let (_, total) = counts.buckets.last()?;
    let (_, within) = counts.buckets.iter().find(|(known, _)| *known >= bound)?;
    Some((*total, (total - within).max(0.0)))
}

/// Everything that a rollout has shown so far.
#[derive(Debug, Clone, PartialEq)]
pub struct Trial {
    limits: Limits,
    errors: Share,
    latency: Option<Latency>,
    /// Of the whole rollout.
    canary: ArmCounts,
    stable: ArmCounts,
    /// Of the current step.
    step_errors: Share,
    step_canary: ArmCounts,
    step_stable: ArmCounts,
    before: (f64, f64),
}

impl Trial {
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            errors: Share::default(),
            latency: None,
            canary: ArmCounts::default(),
            stable: ArmCounts::default(),
            step_errors: Share::default(),
            step_canary: ArmCounts::default(),
            step_stable: ArmCounts::default(),
            before: (0.0, 0.0),
        }
    }

    /// Goes on from what an earlier run of the same rollout had seen.
    pub fn restore(&mut self, saved: &Saved) {
        self.errors = saved.errors.clone();
        self.before = (saved.requests, saved.failed);
    }

    pub fn save(&self) -> Saved {
        Saved {
            errors: self.errors.rounded(),
            requests: self.before.0 + self.canary.requests,
            failed: self.before.1 + self.canary.errors,
        }
    }

    /// What both arms did since the last call. A route of several is its own call: each has
    /// its own share. `warm`: durations count, the canary no longer starts up.
    pub fn add(&mut self, canary: &ArmCounts, stable: &ArmCounts, warm: bool) {
        let of = |counts: &ArmCounts| (counts.requests, counts.errors);
        self.errors.add(of(canary), of(stable));
        self.step_errors.add(of(canary), of(stable));
        if self.latency.is_none() {
            // Fixed before it is used: bounds that the same requests had chosen would prove themselves.
            self.latency = Latency::of(&self.stable);
        }
        if warm && let Some(latency) = &mut self.latency {
            latency.add(canary, stable);
        }
        for (sum, counts) in [
            (&mut self.canary, canary),
            (&mut self.stable, stable),
            (&mut self.step_canary, canary),
            (&mut self.step_stable, stable),
        ] {
            sum.add(counts);
        }
    }

    /// What came before was another weight's.
    pub fn begin_step(&mut self) {
        self.step_errors = Share::default();
        self.step_canary = ArmCounts::default();
        self.step_stable = ArmCounts::default();
    }

    /// Counts of the step: canary, stable.
    pub fn step(&self) -> (&ArmCounts, &ArmCounts) {
        (&self.step_canary, &self.step_stable)
    }

    /// ln of each part of the evidence against the canary, with its stake and what it says.
    fn parts(&self) -> Vec<(f64, f64, String)> {
        let mut parts = Vec::new();
        let rates = (self.canary.error_rate().unwrap_or_default(), self.stable.error_rate().unwrap_or_default());
        let text = format!(
            "canary {} errors, stable {}, limit {}",
            percent(rates.0),
            percent(rates.1),
            percent(self.limits.max_error_rate)
        );
        if rates.0 >= rates.1 * WORTH {
            parts.push((STAKES[0], self.errors.worse(), text.clone()));
        }
        if !self.as_bad(rates.0, rates.1, self.limits.max_error_rate) {
            let requests = self.before.0 + self.canary.requests;
            let failed = self.before.1 + self.canary.errors;
            parts.push((STAKES[1], above(requests, failed, self.limits.rate()), text));
        }
        if let Some(latency) = &self.latency {
            for (bound, share) in &latency.bounds {
                let (Some(canary), Some(stable)) = (slower(&self.canary, *bound), slower(&self.stable, *bound)) else {
                    continue;
                };
                let (canary, stable) = (ratio(canary), ratio(stable));
                if canary >= stable * WORTH {
                    let text = format!(
                        "{} of the canary's requests take longer than {:?}, {} of stable's",
                        percent(canary),
                        Duration::from_secs_f64(*bound),
                        percent(stable)
                    );
                    parts.push((STAKES[2] / latency.bounds.len() as f64, share.worse(), text));
                }
            }
        }
        if let Some(max) = self.limits.max_p99
            && let Some((requests, slow)) = slower(&self.canary, max.as_secs_f64())
        {
            let stable = slower(&self.stable, max.as_secs_f64()).map_or(0.0, ratio);
            if !self.as_bad(ratio((requests, slow)), stable, 0.01) {
                let p99 = |counts: &ArmCounts| {
                    counts.quantile(0.99).map_or_else(|| "unknown".to_owned(), |p99| format!("{p99:.1?}"))
                };
                let text = format!("canary p99 {}, stable {}, limit {max:?}", p99(&self.canary), p99(&self.stable));
                parts.push((STAKES[3], above(requests, slow, 0.01), text));
            }
        }
        parts
    }

    /// Both arms are over the limit, the canary not much more.
    fn as_bad(&self, canary: f64, stable: f64, limit: f64) -> bool {
        stable > limit && canary <= stable * BLAMED
    }

    fn against(&self) -> f64 {
        ln_mean(self.parts().into_iter().map(|(stake, ln, _)| (stake, ln))) / self.limits.dispersion.max(1.0)
    }

    fn towards(&self, more: f64) -> f64 {
        let step = &self.step_canary;
        let limit = below(step.requests + more, step.errors, self.limits.rate());
        ln_mean([(PASS[0], limit), (PASS[1], self.step_errors.no_worse())]) / self.limits.dispersion.max(1.0)
    }

    /// Requests to the canary that a pass still takes if none of them fails.
    pub fn missing(&self) -> u64 {
        let target = -self.limits.beta.ln();
        let floor = self.limits.min_requests.unwrap_or(1) as f64 - self.step_canary.requests;
        let enough = |more: u64| more as f64 >= floor && self.towards(more as f64) >= target;
        let mut most = 1;
        while !enough(most) {
            if most >= ENDLESS {
                return ENDLESS;
            }
            most *= 2;
        }
        let mut least = 0;
        if enough(least) {
            return 0;
        }
        while most - least > 1 {
            let middle = u64::midpoint(least, most);
            if enough(middle) { most = middle } else { least = middle }
        }
        most
    }

    pub fn evidence(&self) -> Evidence {
        let p99 = |counts: &ArmCounts| counts.quantile(0.99).map(|p99| p99.as_secs_f64());
        let (canary, stable) = self.step();
        let both = canary.requests + stable.requests;
        let meter = |ln: f64, bound: f64| (ln / -bound.ln()).clamp(0.0, 1.0);
        Evidence {
            canary_requests: canary.requests,
            canary_errors: canary.errors,
            canary_p99_seconds: p99(canary),
            stable_requests: stable.requests,
            stable_errors: stable.errors,
            stable_p99_seconds: p99(stable),
            observed_percent: (both > 0.0).then(|| canary.requests * 100.0 / both),
            needed_requests: self.missing(),
            against: meter(self.against(), self.limits.alpha),
            towards: meter(self.towards(0.0), self.limits.beta),
        }
    }

    /// `complete`: the step's interval is over.
    pub fn judge(&self, complete: bool) -> Verdict {
        if self.against() >= -self.limits.alpha.ln() {
            let parts = self.parts();
            let worst = parts.into_iter().max_by(|a, b| (a.0.ln() + a.1).total_cmp(&(b.0.ln() + b.1)));
            return Verdict::Fail(worst.map(|(_, _, text)| text).unwrap_or_default());
        }
        let (canary, stable) = self.step();
        if canary.requests < 1.0 {
            return Verdict::NoData(format!("no request reached the canary yet; {} are needed", self.missing()));
        }
        let rates = (canary.error_rate().unwrap_or_default(), stable.error_rate().unwrap_or_default());
        let max = self.limits.max_error_rate;
        if rates.0 > max {
            let text =
                format!("canary {} errors, stable {}, limit {}", percent(rates.0), percent(rates.1), percent(max));
            return if self.as_bad(rates.0, rates.1, max) {
                Verdict::Environmental(format!("{text}: both are bad"))
            } else {
                Verdict::Wait(format!("{text}: too few requests to tell"))
            };
        }
        if let Some(max) = self.limits.max_p99 {
            match canary.quantile(0.99) {
                None => return Verdict::NoData("the metrics tell no latency of the canary".to_owned()),
                Some(p99) if p99 > max => {
                    let stable = stable.quantile(0.99).unwrap_or_default();
                    let text = format!("canary p99 {p99:.1?}, stable {stable:.1?}, limit {max:?}");
                    return if stable > max {
                        Verdict::Environmental(format!("{text}: both are slow"))
                    } else {
                        Verdict::Wait(format!("{text}: too few requests to tell"))
                    };
                }
                Some(_) => {}
            }
        }
        let missing = self.missing();
        if missing > 0 {
            return Verdict::Wait(format!("{} requests seen, about {missing} more needed", canary.requests as u64));
        }
        let p99 = canary.quantile(0.99).map_or_else(String::new, |p99| format!(", p99 {p99:.1?}"));
        let text = format!("{} requests, {} errors{p99}", canary.requests as u64, percent(rates.0));
        if complete { Verdict::Pass(text) } else { Verdict::Wait(text) }
    }
}

fn ratio((requests, events): (f64, f64)) -> f64 {
    if requests > 0.0 { events / requests } else { 0.0 }
}

fn percent(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
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
