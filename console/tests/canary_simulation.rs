//! The verdict's two promises on simulated rollouts: healthy canaries are rolled back at most
//! as often as `alpha` says, bad ones are caught, and after how many requests. A threshold
//! rule of the usual kind judges the same draws.
//!
//! `GWTOP_SIMULATE=10000 cargo test --release -p gwtop --test canary_simulation -- --nocapture`
//! prints the table of docs/canary-verdict.md. Without the variable fewer rollouts are drawn.

#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

use gwtop::{
    canary::verdict::{Limits, Trial, Verdict},
    traffic::series::ArmCounts,
};

const STEPS: [f64; 10] = [5.0, 10.0, 15.0, 20.0, 25.0, 30.0, 35.0, 40.0, 45.0, 50.0];
/// Looks of a step, and requests to both arms between two looks.
const LOOKS: usize = 30;
const REQUESTS: u64 = 400;
/// The other rule: a window of looks, a share that must not fail, failed windows to a rollback.
const WINDOW: usize = 6;
const LEAST_SUCCESS: f64 = 0.99;
const FAILED_WINDOWS: u32 = 5;
const BOUNDS: [f64; 8] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, f64::INFINITY];

/// xorshift64*: the same draws on every machine.
struct Draws(u64);

impl Draws {
    fn unit(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Successes of `n`, by the lengths of the runs between them.
    fn binomial(&mut self, n: u64, p: f64) -> u64 {
        if p <= 0.0 {
            return 0;
        }
        let (mut at, mut hits) = (0.0, 0);
        let ln = (1.0 - p).ln();
        loop {
            at += (self.unit().max(1e-300).ln() / ln).floor() + 1.0;
            if at > n as f64 {
                return hits;
            }
            hits += 1;
        }
    }
}

#[derive(Clone, Copy)]
struct Arm {
    errors: f64,
    /// Median of the duration in seconds; durations are exponential.
    median: Option<f64>,
}

fn draw(draws: &mut Draws, requests: u64, arm: Arm) -> ArmCounts {
    let mut counts = ArmCounts {
        requests: requests as f64,
        errors: draws.binomial(requests, arm.errors) as f64,
        ..ArmCounts::default()
    };
    if let Some(median) = arm.median {
        counts.buckets = BOUNDS.map(|bound| (bound, 0.0)).to_vec();
        for _ in 0..requests {
            let seconds = -draws.unit().max(1e-300).ln() * median / std::f64::consts::LN_2;
            for (_, count) in counts.buckets.iter_mut().filter(|(bound, _)| seconds <= *bound) {
                *count += 1.0;
            }
        }
    }
    counts
}

#[derive(Default)]
struct Tally {
    rolled_back: u32,
    /// Requests to the canary until then.
    requests: Vec<f64>,
    by_threshold: u32,
    threshold_requests: Vec<f64>,
}

/// One rollout, judged by both rules to its end.
fn rollout(draws: &mut Draws, stable: Arm, canary: Arm, limits: Limits, tally: &mut Tally) {
    let mut trial = Trial::new(limits);
    let (mut caught, mut by_threshold, mut seen) = (false, false, 0.0);
    let (mut window, mut failed_windows) = ((0.0, 0.0), 0);
    for percent in STEPS {
        trial.begin_step();
        for look in 1..=LOOKS {
            let to_canary = draws.binomial(REQUESTS, percent / 100.0);
            let (of_canary, of_stable) = (draw(draws, to_canary, canary), draw(draws, REQUESTS - to_canary, stable));
            seen += of_canary.requests;
            if !caught {
                trial.add(&of_canary, &of_stable, true);
                if matches!(trial.judge(look == LOOKS), Verdict::Fail(_)) {
                    caught = true;
                    tally.rolled_back += 1;
                    tally.requests.push(seen);
                }
            }
            window = (window.0 + of_canary.requests, window.1 + of_canary.errors);
            if look % WINDOW == 0 {
                if window.0 > 0.0 && 1.0 - window.1 / window.0 < LEAST_SUCCESS {
                    failed_windows += 1;
                }
                window = (0.0, 0.0);
                if failed_windows >= FAILED_WINDOWS && !by_threshold {
                    by_threshold = true;
                    tally.by_threshold += 1;
                    tally.threshold_requests.push(seen);
                }
            }
            if caught && by_threshold {
                return;
            }
        }
    }
}

fn median(values: &mut [f64]) -> String {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).map_or_else(|| "-".to_owned(), |median| format!("{median:.0}"))
}

fn simulate(name: &str, rollouts: u32, stable: Arm, canary: Arm, limits: Limits) -> f64 {
    let mut draws = Draws(0x9E37_79B9_7F4A_7C15 ^ u64::from(rollouts));
    let mut tally = Tally::default();
    for _ in 0..rollouts {
        rollout(&mut draws, stable, canary, limits, &mut tally);
    }
    let share = |count: u32| f64::from(count) / f64::from(rollouts);
    println!(
        "| {name} | {rollouts} | {:.2} % | {} | {:.2} % | {} |",
        share(tally.rolled_back) * 100.0,
        median(&mut tally.requests),
        share(tally.by_threshold) * 100.0,
        median(&mut tally.threshold_requests),
    );
    share(tally.rolled_back)
}

#[test]
fn healthy_rollouts_end_well_and_bad_ones_are_caught() {
    let asked = std::env::var("GWTOP_SIMULATE").ok().and_then(|count| count.parse::<u32>().ok());
    let (healthy, bad, slow) = asked.map_or((300, 60, 10), |count| (count, count / 10, count / 50));
    let arm = |errors: f64| Arm { errors, median: None };
    println!("| canary | rollouts | rolled back | median requests to it | by thresholds | median requests |");
    println!("|---|---|---|---|---|---|");
    let alpha = Limits::default().alpha;
    // What few rollouts may show of a chance of alpha.
    let most = alpha + 3.0 * (alpha / f64::from(healthy)).sqrt();
    for (name, rate) in [
        ("healthy, 0.1 % errors", 0.001_f64),
        ("healthy, 0.5 %", 0.005),
        ("healthy, 1 %", 0.01),
        ("healthy, 20 %", 0.2),
    ] {
        // The limit is what the service promises; a service that fails at 20 % promises less.
        let limits = Limits { max_error_rate: (rate * 2.0).max(0.01), ..Limits::default() };
        let rolled_back = simulate(name, healthy, arm(rate), arm(rate), limits);
        let allowed = if asked.is_some() { alpha } else { most };
        assert!(rolled_back <= allowed, "{name}: {rolled_back}");
    }
    for (name, stable, canary) in
        [("0.1 to 5 %", 0.001, 0.05), ("0.1 to 1 %", 0.001, 0.01), ("1 to 5 %", 0.01, 0.05), ("1 to 2 %", 0.01, 0.02)]
    {
        let limits = Limits { max_error_rate: (stable * 2.0_f64).max(0.01), ..Limits::default() };
        let caught = simulate(name, bad, arm(stable), arm(canary), limits);
        assert!(caught > 0.99, "{name}: only {caught} caught");
    }
    let timed = |median: f64| Arm { errors: 0.001, median: Some(median) };
    let healthy_latency = simulate("healthy, 30 ms median", slow * 2, timed(0.03), timed(0.03), Limits::default());
    assert!(healthy_latency <= most.max(2.0 / f64::from(slow * 2)), "{healthy_latency}");
    let caught = simulate("30 to 45 ms median", slow, timed(0.03), timed(0.045), Limits::default());
    assert!(caught > 0.99, "only {caught} of the slow ones caught");
}
