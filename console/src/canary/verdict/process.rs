//! Evidence that may be looked at after every request without spending its error bound.
//!
//! Each value here is an e-process: non-negative, and at most 1 on average while its
//! hypothesis holds, however often and whenever one looks. By Ville's inequality it exceeds
//! `1 / a` at any time with probability at most `a`.

use serde::{Deserialize, Serialize};

/// How many times as likely as a stable request a canary request may be an event.
const WORSE: [f64; 7] = [1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 100.0];
/// Non-inferiority: this ratio is what a pass rules out.
pub const RULED_OUT: f64 = 2.0;
const NO_WORSE: [f64; 3] = [1.0, 0.5, 0.1];
/// Share of an absolute limit, and how much of the bet is on it.
const BELOW: [(f64, f64); 3] = [(0.0, 0.5), (0.1, 0.25), (0.5, 0.25)];

/// ln of the weighted mean of e-values that are given by their ln.
pub fn ln_mean(parts: impl IntoIterator<Item = (f64, f64)>) -> f64 {
    let parts: Vec<(f64, f64)> = parts.into_iter().filter(|(weight, _)| *weight > 0.0).collect();
    let largest = parts.iter().map(|(_, ln)| *ln).fold(f64::NEG_INFINITY, f64::max);
    if !largest.is_finite() {
        return largest;
    }
    largest + parts.iter().map(|(weight, ln)| weight * (ln - largest).exp()).sum::<f64>().ln()
}

/// `k * ln(x)`, where nothing times anything is nothing.
fn times(k: f64, ln: f64) -> f64 {
    if k > 0.0 { k * ln } else { 0.0 }
}

/// The canary's share of events against its observed share of requests. Given how many
/// events there were in an interval, a canary that is no worse has at most its share of
/// them, whatever the rate of events is and whatever the weights were.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Share {
    worse: [f64; 7],
    no_worse: [f64; 3],
}

impl Share {
    /// One interval: requests and events of both arms.
    pub fn add(&mut self, canary: (f64, f64), stable: (f64, f64)) {
        let requests = canary.0 + stable.0;
        let (of_canary, events) = (canary.1, canary.1 + stable.1);
        if requests <= 0.0 || events <= 0.0 {
            return;
        }
        let share = (canary.0 / requests).clamp(0.0, 1.0);
        if share <= 0.0 || share >= 1.0 {
            return;
        }
        let mixed = |ratio: f64| (1.0 - share + ratio * share).ln();
        for (ln, ratio) in self.worse.iter_mut().zip(WORSE) {
            *ln += times(of_canary, ratio.ln()) - times(events, mixed(ratio));
        }
        for (ln, ratio) in self.no_worse.iter_mut().zip(NO_WORSE) {
            *ln += times(of_canary, (ratio / RULED_OUT).ln()) + times(events, mixed(RULED_OUT) - mixed(ratio));
        }
    }

    /// Short enough for an annotation.
    pub fn rounded(&self) -> Self {
        let round = |ln: f64| (ln * 1e4).round() / 1e4;
        Self { worse: self.worse.map(round), no_worse: self.no_worse.map(round) }
    }

    /// ln of the evidence that the canary is worse.
    pub fn worse(&self) -> f64 {
        ln_mean(self.worse.iter().map(|ln| (1.0 / WORSE.len() as f64, *ln)))
    }

    /// ln of the evidence that the canary is less than [`RULED_OUT`] times as bad.
    pub fn no_worse(&self) -> f64 {
        ln_mean(self.no_worse.iter().map(|ln| (1.0 / NO_WORSE.len() as f64, *ln)))
    }
}

fn against(requests: f64, events: f64, limit: f64, other: f64) -> f64 {
    let rest = if other < 1.0 { ((1.0 - other) / (1.0 - limit)).ln() } else { f64::NEG_INFINITY };
    let hit = if other > 0.0 { (other / limit).ln() } else { f64::NEG_INFINITY };
    times(events, hit) + times(requests - events, rest)
}

/// ln of the evidence that events are more frequent than `limit`.
pub fn above(requests: f64, events: f64, limit: f64) -> f64 {
    if limit >= 1.0 || limit <= 0.0 {
        return 0.0;
    }
    let weight = 1.0 / WORSE.len() as f64;
    // A limit of 20 % cannot be exceeded a hundred times over.
    let most = f64::midpoint(1.0, limit);
    ln_mean(WORSE.iter().map(|ratio| (weight, against(requests, events, limit, (limit * ratio).min(most)))))
}

/// ln of the evidence that events are rarer than `limit`.
pub fn below(requests: f64, events: f64, limit: f64) -> f64 {
    if limit >= 1.0 {
        // Nothing could be above it; one request shows that there are any.
        return if requests >= 1.0 { f64::INFINITY } else { 0.0 };
    }
    if limit <= 0.0 {
        return 0.0;
    }
    ln_mean(BELOW.iter().map(|(ratio, weight)| (*weight, against(requests, events, limit, limit * ratio))))
}
