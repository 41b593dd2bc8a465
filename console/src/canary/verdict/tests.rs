use super::*;

const LIMITS: Limits = Limits { max_error_rate: 0.01, max_p99: None, min_requests: None };

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
        ((300.0, 0.0), (5700.0, 0.0), true, "pass"),
        ((300.0, 0.0), (5700.0, 0.0), false, "wait"),
        ((299.0, 0.0), (5700.0, 0.0), true, "wait"),
        ((0.0, 0.0), (5700.0, 0.0), true, "no data"),
        ((300.0, 3.0), (5700.0, 0.0), true, "pass"),
        ((300.0, 4.0), (5700.0, 0.0), true, "fail"),
        ((300.0, 4.0), (5700.0, 0.0), false, "wait"),
        ((6.0, 6.0), (100.0, 0.0), false, "fail"),
        ((4.0, 4.0), (100.0, 0.0), false, "wait"),
        ((400.0, 7.0), (100.0, 0.0), false, "wait"),
        ((1000.0, 100.0), (1000.0, 90.0), true, "environmental"),
        ((1000.0, 100.0), (1000.0, 20.0), true, "fail"),
        ((1000.0, 100.0), (0.0, 0.0), true, "fail"),
    ] {
        let verdict = judge(Some(&counts(canary.0, canary.1)), Some(&counts(stable.0, stable.1)), &LIMITS, complete);
        assert_eq!(name(&verdict), expected, "{canary:?} {stable:?} {complete}: {verdict:?}");
    }
    assert_eq!(name(&judge(None, Some(&counts(9.0, 0.0)), &LIMITS, true)), "no data");
}

#[test]
fn latencies() {
    let limits = Limits { max_p99: Some(Duration::from_millis(300)), ..LIMITS };
    for (canary, stable, complete, expected) in [
        (timed(1000.0, 0.0), timed(1000.0, 0.0), true, "pass"),
        (timed(1000.0, 200.0), timed(1000.0, 0.0), false, "fail"),
        (timed(1000.0, 12.0), timed(1000.0, 0.0), false, "wait"),
        (timed(1000.0, 12.0), timed(1000.0, 0.0), true, "fail"),
        (timed(1000.0, 200.0), timed(1000.0, 200.0), true, "environmental"),
        (counts(1000.0, 0.0), counts(1000.0, 0.0), true, "no data"),
    ] {
        let verdict = judge(Some(&canary), Some(&stable), &limits, complete);
        assert_eq!(name(&verdict), expected, "{verdict:?}");
    }
}

#[test]
fn the_guard_is_derived_from_the_limit() {
    assert_eq!(LIMITS.needed(), 300);
    assert_eq!(Limits { max_error_rate: 0.0, ..LIMITS }.needed(), 2996);
    assert_eq!(Limits { min_requests: Some(7), ..LIMITS }.needed(), 7);
}

#[test]
fn the_bound_is_one() {
    // Never below the exact tail of the binomial distribution.
    for (n, p) in [(20_u32, 0.1_f64), (100, 0.01), (50, 0.3)] {
        let mut mass = vec![(1.0 - p).powi(n as i32)];
        for k in 1..=n {
            let previous = mass[k as usize - 1];
            mass.push(previous * f64::from(n - k + 1) / f64::from(k) * p / (1.0 - p));
        }
        for k in 0..=n {
            let exact: f64 = mass[k as usize..].iter().sum();
            assert!(tail(f64::from(n), f64::from(k), p) >= exact - 1e-12, "n {n} k {k} p {p}");
        }
    }
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
