use super::*;
use crate::traffic::parse::parse;

fn arm(backend: &str) -> Arm {
    Arm {
        route: ObjectKey::new(Kind::HttpRoute, "shop", "app"),
        rule: 0,
        backend_namespace: "shop".to_owned(),
        backend: backend.to_owned(),
        backend_port: 80,
    }
}

fn labels(backend: &str) -> String {
    format!(
        r#"gateway_namespace="infra",gateway="gw",listener="http",route_kind="HTTPRoute",route_namespace="shop",route="app",rule="0",backend_namespace="shop",backend="{backend}",backend_port="80""#
    )
}

fn text(backend: &str, ok: u64, failed: u64) -> String {
    let labels = labels(backend);
    let all = ok + failed;
    format!(
        "gwproxy_requests_total{{{labels},code=\"200\"}} {ok}\ngwproxy_requests_total{{{labels},code=\"503\"}} {failed}\n\
         gwproxy_request_duration_seconds_bucket{{{labels},le=\"0.01\"}} {}\n\
         gwproxy_request_duration_seconds_bucket{{{labels},le=\"0.1\"}} {all}\n\
         gwproxy_request_duration_seconds_bucket{{{labels},le=\"+Inf\"}} {all}\n\
         gwproxy_requests_in_flight{{{labels}}} 3\n",
        all / 2
    )
}

fn scrape(traffic: &mut Traffic, at: Instant, source: &str, text: &str) {
    traffic.apply(Scrape { at, source: source.to_owned(), samples: Ok(parse(text)) });
}

#[test]
fn rates_come_from_differences_not_from_totals() {
    let (mut traffic, start) = (Traffic::default(), Instant::now());
    scrape(&mut traffic, start, "a", &text("v1", 1_000_000, 500_000));
    assert_eq!(traffic.arm(&arm("v1")), None, "one scrape is no rate");
    assert_eq!(traffic.counts(&arm("v1")).unwrap().requests, 0.0);
    scrape(&mut traffic, start + Duration::from_secs(5), "a", &text("v1", 1_000_090, 500_010));
    let rates = traffic.arm(&arm("v1")).unwrap();
    assert!((rates.rps - 20.0).abs() < 1e-9);
    assert!((rates.error_rate.unwrap() - 0.1).abs() < 1e-9);
    assert_eq!(rates.in_flight, Some(3.0));
    assert_eq!(rates.p50.unwrap(), Duration::from_millis(10));
    for same in [
        traffic.total(),
        traffic.route(&arm("v1").route),
        traffic.rule(&arm("v1").route, 0),
        traffic.gateway(&ObjectKey::new(Kind::Gateway, "infra", "gw")),
        traffic.listener(&ObjectKey::new(Kind::Gateway, "infra", "gw"), "http"),
    ] {
        assert_eq!(same, Some(rates));
    }
    assert_eq!(traffic.history(&arm("v1").route), [20.0]);
    assert_eq!(traffic.arm(&arm("v2")), None);
}

#[test]
fn a_restart_counts_from_zero_and_replicas_are_summed() {
    let (mut traffic, start) = (Traffic::default(), Instant::now());
    let second = |n| start + Duration::from_secs(n);
    scrape(&mut traffic, start, "a", &text("v1", 100, 0));
    scrape(&mut traffic, start, "b", &text("v1", 50, 0));
    scrape(&mut traffic, second(1), "a", &text("v1", 7, 2));
    scrape(&mut traffic, second(1), "b", &text("v1", 60, 0));
    let counts = traffic.counts(&arm("v1")).unwrap();
    assert_eq!((counts.requests, counts.errors), (19.0, 2.0));
    scrape(&mut traffic, second(2), "late", &text("v1", 10_000, 9_000));
    assert_eq!(traffic.counts(&arm("v1")).unwrap().requests, 19.0, "a new source brings its past along");
    assert_eq!(traffic.total().unwrap().in_flight, Some(9.0));
}

#[test]
fn a_series_that_appears_later_began_at_zero() {
    let (mut traffic, start) = (Traffic::default(), Instant::now());
    scrape(&mut traffic, start, "a", &text("v1", 1, 0));
    scrape(&mut traffic, start + Duration::from_secs(1), "a", &(text("v1", 1, 0) + &text("v2", 4, 0)));
    assert_eq!(traffic.counts(&arm("v2")).unwrap().requests, 4.0);
}

#[test]
fn silence_is_told_and_ages() {
    let (mut traffic, start) = (Traffic::default(), Instant::now());
    assert_eq!(traffic.age(start), None);
    scrape(&mut traffic, start, "a", &text("v1", 1, 0));
    traffic.apply(Scrape {
        at: start + Duration::from_secs(9),
        source: "a".to_owned(),
        samples: Err("refused".to_owned()),
    });
    assert_eq!(traffic.problem(), Some("a: refused"));
    assert_eq!(traffic.age(start + Duration::from_secs(9)), Some(Duration::from_secs(9)));
    scrape(&mut traffic, start + Duration::from_secs(10), "a", &text("v1", 1, 0));
    assert_eq!(traffic.problem(), None);
}

#[test]
fn memory_does_not_grow_with_time() {
    let (mut traffic, start) = (Traffic::default(), Instant::now());
    for second in 0..1000 {
        scrape(&mut traffic, start + Duration::from_secs(second), "a", &text("v1", second * 10, 0));
    }
    let track = &traffic.tracks[&Scope::Arm(arm("v1"))];
    assert!(track.points.len() <= 12, "{}", track.points.len());
    assert_eq!(track.history.len(), HISTORY);
    assert!((traffic.arm(&arm("v1")).unwrap().rps - 10.0).abs() < 1e-9);
}

#[test]
fn quantiles_lie_within_their_bucket() {
    let counts = |buckets: &[(f64, f64)]| ArmCounts { buckets: buckets.to_vec(), ..ArmCounts::default() };
    let even = counts(&[(0.1, 50.0), (0.2, 100.0), (f64::INFINITY, 100.0)]);
    assert_eq!(even.quantile(0.5), Some(Duration::from_millis(100)));
    assert_eq!(even.quantile(0.75), Some(Duration::from_millis(150)));
    let slow = counts(&[(0.1, 0.0), (f64::INFINITY, 10.0)]);
    assert_eq!(slow.quantile(0.99), Some(Duration::from_millis(100)));
    assert_eq!(counts(&[(0.1, 0.0), (f64::INFINITY, 0.0)]).quantile(0.5), None);
    assert_eq!(counts(&[]).quantile(0.5), None);
}

#[test]
fn what_is_passed_on_unread_is_counted_by_connections() {
    let (mut traffic, start) = (Traffic::default(), Instant::now());
    let text = |opened: u64, failed: u64| {
        let of = |kind: &str| labels("v1").replace("HTTPRoute", kind);
        format!(
            "gwproxy_connections_total{{{tcp}}} {opened}\ngwproxy_upstream_failures_total{{{tcp},reason=\"connect\"}} {failed}\n\
             gwproxy_upstream_failures_total{{{http},reason=\"connect\"}} {failed}\n",
            tcp = of("TCPRoute"),
            http = of("HTTPRoute"),
        )
    };
    scrape(&mut traffic, start, "a", &text(100, 1));
    scrape(&mut traffic, start + Duration::from_secs(5), "a", &text(150, 4));
    let tcp = Arm { route: ObjectKey::new(Kind::TcpRoute, "shop", "app"), ..arm("v1") };
    let counts = traffic.counts(&tcp).unwrap();
    assert_eq!((counts.requests, counts.errors), (50.0, 3.0));
    // A request that failed at its endpoint has its own code, and may have been sent again.
    assert_eq!(traffic.counts(&arm("v1")), None);
}
