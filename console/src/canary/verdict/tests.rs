use proptest::prelude::*;

use super::*;

fn counts(requests: f64, errors: f64) -> ArmCounts {
    ArmCounts { requests, errors, ..ArmCounts::default() }
}

fn timed(requests: f64, slow: f64) -> ArmCounts {
    let buckets = vec![
        (0.1, requests - slow),
        (0.25, requests - slow),
        (0.5, requests - slow),
        (1.0, requests),
        (f64::INFINITY, requests),
    ];
    ArmCounts { requests, buckets, ..ArmCounts::default() }
}

fn judge(canary: &ArmCounts, stable: &ArmCounts, limits: Limits, complete: bool) -> Verdict {
    let mut trial = Trial::new(limits);
    trial.add(canary, stable, true);
    trial.judge(complete)
}

fn name(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Pass(_) => "pass",
        Verdict::Fail(_) => "fail",
        Verdict::Environmental(_) => "environmental",
        Verdict::Wait(_) => "wait",
        Verdict::NoData(_) => "no data",
    }
}

#[test]
fn error_rates() {
    // canary requests, errors, stable requests, errors, interval over
    for (canary, stable, complete, expected) in [
        ((400.0, 0.0), (7600.0, 0.0), true, "pass"),
        ((400.0, 0.0), (7600.0, 0.0), false, "wait"),
        ((300.0, 0.0), (5700.0, 0.0), true, "wait"),
        ((0.0, 0.0), (5700.0, 0.0), true, "no data"),
        ((60.0, 4.0), (1140.0, 0.0), false, "fail"),
        ((60.0, 1.0), (1140.0, 0.0), true, "wait"),
        ((6.0, 6.0), (100.0, 0.0), false, "fail"),
        ((400.0, 5.0), (7600.0, 90.0), true, "environmental"),
        ((1000.0, 100.0), (1000.0, 90.0), true, "environmental"),
        ((1000.0, 100.0), (1000.0, 20.0), true, "fail"),
        ((1000.0, 100.0), (0.0, 0.0), true, "fail"),
    ] {
        let verdict = judge(&counts(canary.0, canary.1), &counts(stable.0, stable.1), Limits::default(), complete);
        assert_eq!(name(&verdict), expected, "{canary:?} {stable:?} {complete}: {verdict:?}");
    }
}

/// From the research: at 5 % of the traffic three errors of the canary alone are enough.
#[test]
fn few_errors_of_the_canary_alone_are_enough() {
    let limits = Limits { max_error_rate: 1.0, ..Limits::default() };
    assert_eq!(name(&judge(&counts(500.0, 2.0), &counts(9500.0, 0.0), limits, false)), "wait");
    assert_eq!(name(&judge(&counts(500.0, 3.0), &counts(9500.0, 0.0), limits, false)), "fail");
}

#[test]
fn latencies() {
    let limits = Limits { max_p99: Some(Duration::from_millis(300)), ..Limits::default() };
    for (canary, stable, complete, expected) in [
        (timed(1000.0, 0.0), timed(1000.0, 0.0), true, "pass"),
        (timed(1000.0, 200.0), timed(1000.0, 0.0), false, "fail"),
        (timed(1000.0, 12.0), timed(1000.0, 0.0), false, "wait"),
        (timed(1000.0, 200.0), timed(1000.0, 200.0), true, "environmental"),
        (counts(1000.0, 0.0), counts(1000.0, 0.0), true, "no data"),
    ] {
        let verdict = judge(&canary, &stable, limits, complete);
        assert_eq!(name(&verdict), expected, "{verdict:?}");
    }
}

/// Without any limit on latency, by comparison alone.
#[test]
fn a_slower_canary_fails_once_there_is_a_baseline() {
    let mut trial = Trial::new(Limits::default());
    for _ in 0..3 {
        trial.add(&timed(50.0, 0.0), &timed(950.0, 9.0), true);
    }
    assert_eq!(name(&trial.judge(false)), "wait");
    for _ in 0..4 {
        trial.add(&timed(50.0, 15.0), &timed(950.0, 9.0), true);
    }
    assert_eq!(name(&trial.judge(false)), "fail");
    let mut cold = Trial::new(Limits::default());
    for _ in 0..7 {
        cold.add(&timed(50.0, 15.0), &timed(950.0, 9.0), false);
    }
    assert_eq!(name(&cold.judge(false)), "wait", "it is still starting up");
}

#[test]
fn requests_that_are_still_needed() {
    let needed = |limits: Limits| limits.needed();
    assert_eq!(needed(Limits::default()), 359);
    assert_eq!(needed(Limits { max_error_rate: 0.0, ..Limits::default() }), 3604);
    assert_eq!(needed(Limits { min_requests: Some(1000), ..Limits::default() }), 1000);
    assert_eq!(needed(Limits { min_requests: Some(7), ..Limits::default() }), 359, "a floor, not a way round");
    assert_eq!(needed(Limits { max_error_rate: 1.0, ..Limits::default() }), 1);
    let mut trial = Trial::new(Limits::default());
    trial.add(&counts(100.0, 0.0), &counts(900.0, 0.0), true);
    let before = trial.missing();
    assert_eq!(before, 259);
    trial.add(&counts(1.0, 1.0), &counts(9.0, 0.0), true);
    assert!(trial.missing() > before, "an error costs");
    trial.begin_step();
    assert_eq!(trial.missing(), 359, "every step proves itself");
}

#[test]
fn a_run_taken_over_keeps_the_evidence_of_the_rollout() {
    let mut first = Trial::new(Limits::default());
    first.add(&counts(60.0, 2.0), &counts(1140.0, 0.0), true);
    assert_eq!(name(&first.judge(false)), "wait");
    let saved = serde_json::from_str(&serde_json::to_string(&first.save()).unwrap()).unwrap();
    let mut second = Trial::new(Limits::default());
    second.restore(&saved);
    second.add(&counts(60.0, 2.0), &counts(1140.0, 0.0), true);
    assert_eq!(name(&second.judge(false)), "fail");
}

#[test]
fn convergence_needs_canary_traffic() {
    assert!(converged(50.0, 950.0, 5.0));
    assert!(!converged(0.0, 10.0, 5.0));
    assert!(!converged(0.0, 0.0, 5.0));
    assert!(!converged(200.0, 800.0, 5.0));
    assert!(converged(100.0, 0.0, 100.0));
    assert!(!converged(100.0, 5.0, 0.0));
}

/// Mass of `k` successes in `n` draws at `p`.
fn binomial(n: u32, p: f64) -> Vec<f64> {
    let mut mass = vec![(1.0 - p).powi(n as i32)];
    for k in 1..=n {
        let previous = mass[k as usize - 1];
        mass.push(previous * f64::from(n - k + 1) / f64::from(k) * p / (1.0 - p));
    }
    mass
}

proptest! {
    /// What makes the bound hold: one look multiplies the evidence by 1 on average at most.
    /// Summed exactly over every outcome of two arms that fail alike.
    #[test]
    fn a_healthy_look_adds_no_evidence_on_average(canary in 1_u32..12, stable in 1_u32..25, rate in 0.001_f64..0.6) {
        let (of_canary, of_stable) = (binomial(canary, rate), binomial(stable, rate));
        let (mut worse, mut no_worse, mut over, mut under) = (0.0, 0.0, 0.0, 0.0);
        for (failed, mass) in of_canary.iter().enumerate() {
            let (n, k) = (f64::from(canary), failed as f64);
            over += mass * above(n, k, rate).exp();
            under += mass * below(n, k, rate).exp();
            for (other, chance) in of_stable.iter().enumerate() {
                let mut share = Share::default();
                share.add((n, k), (f64::from(stable), other as f64));
                worse += mass * chance * share.worse().exp();
            }
        }
        // The canary fails twice as often: the least that a pass has to rule out.
        let double = binomial(canary, rate);
        for (failed, mass) in double.iter().enumerate() {
            for (other, chance) in binomial(stable, rate / 2.0).iter().enumerate() {
                let mut share = Share::default();
                share.add((f64::from(canary), failed as f64), (f64::from(stable), other as f64));
                no_worse += mass * chance * share.no_worse().exp();
            }
        }
        for (name, mean) in [("worse", worse), ("no worse", no_worse), ("above", over), ("below", under)] {
            prop_assert!(mean <= 1.0 + 1e-9, "{name}: {mean}");
        }
    }

    /// More errors never help a canary, more requests without errors never harm it.
    #[test]
    fn evidence_is_monotone(requests in 50_u32..5000, errors in 0_u32..20, stable in 100_u32..50_000) {
        let of = |requests: u32, errors: u32| {
            let mut trial = Trial::new(Limits::default());
            trial.add(
                &counts(f64::from(requests), f64::from(errors)),
                &counts(f64::from(stable), f64::from(stable) * 0.001),
                true,
            );
            trial
        };
        let (less, more) = (of(requests, errors), of(requests, errors + 1));
        prop_assert!(more.missing() >= less.missing());
        prop_assert!(above(f64::from(requests), f64::from(errors), 0.01) <= above(f64::from(requests), f64::from(errors + 1), 0.01));
        prop_assert!(below(f64::from(requests), f64::from(errors), 0.01) <= below(f64::from(requests + 1), f64::from(errors), 0.01));
        prop_assert!(less.errors.worse() <= more.errors.worse() + 1e-12);
    }

    /// No sequence of counts panics, and no data is never a pass.
    #[test]
    fn nothing_seen_is_never_a_pass(looks in prop::collection::vec((0_u32..50, 0_u32..60, 0_u32..2000, 0_u32..2100), 0..20), complete: bool) {
        let mut trial = Trial::new(Limits { max_p99: Some(Duration::from_millis(200)), ..Limits::default() });
        for (requests, errors, stable, failed) in looks {
            trial.add(&counts(f64::from(requests), f64::from(errors.min(requests))), &counts(f64::from(stable), f64::from(failed.min(stable))), true);
            let (canary, _) = trial.step();
            let requests = canary.requests;
            if let Verdict::Pass(_) = trial.judge(complete) {
                prop_assert!(complete && requests >= 300.0);
            }
            prop_assert!(trial.evidence().against.is_finite());
        }
        trial.begin_step();
        prop_assert!(!matches!(trial.judge(true), Verdict::Pass(_)));
    }
}
