use super::*;

fn key(backend: &str) -> SeriesKey {
    SeriesKey {
        gateway_namespace: "infra".into(),
        gateway: "edge".into(),
        listener: "http".into(),
        route_kind: "HTTPRoute".into(),
        route_namespace: "shop".into(),
        route: "checkout".into(),
        rule: "0".into(),
        backend_namespace: "shop".into(),
        backend: backend.into(),
        backend_port: "8080".into(),
    }
}

fn sample(code: u16, millis: u64) -> Sample {
    Sample { code, duration: Duration::from_millis(millis), request_bytes: 10, response_bytes: 100 }
}

#[test]
fn shards_add_up() {
    let registry = Registry::new(4);
    let series = registry.series(key("v1"));
    assert_eq!(series.totals(), None);
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let series = &series;
            scope.spawn(move || {
                for turn in 0..10_000 {
                    series.begin(worker);
                    if turn > 0 {
                        series.record(worker, &sample(if turn % 10 == 0 { 418 } else { 200 }, 4));
                    }
                }
            });
        }
    });
    let totals = series.totals().unwrap();
    assert_eq!(totals.in_flight, 4);
    assert_eq!(totals.codes, [(200, 4 * 9000), (418, 4 * 999)].into());
    assert_eq!(totals.buckets[4], 4 * 9999, "4 ms is at most 5 ms and more than 3 ms");
    assert_eq!((totals.request_bytes, totals.response_bytes), (4 * 99_990, 4 * 999_900));
    assert!((totals.seconds - 4.0 * 39.996).abs() < 1e-6);
}

#[test]
fn a_bound_is_part_of_its_bucket() {
    assert_eq!(series::bucket(Duration::ZERO), 0);
    assert_eq!(series::bucket(Duration::from_micros(500)), 0);
    assert_eq!(series::bucket(Duration::from_micros(501)), 1);
    assert_eq!(series::bucket(Duration::from_secs(10)), 15);
    assert_eq!(series::bucket(Duration::from_secs(11)), 16);
}

#[test]
fn text_has_cumulative_buckets_and_escaped_labels() {
    let registry = Registry::new(1);
    let odd = registry.series(SeriesKey { route: "a\"b\\c\nd".into(), ..key("v1") });
    for millis in [1, 4, 20_000] {
        odd.begin(0);
        odd.record(0, &sample(200, millis));
    }
    let text = registry.render();
    let labels = r#"{gateway_namespace="infra",gateway="edge",listener="http",route_kind="HTTPRoute",route_namespace="shop",route="a\"b\\c\nd",rule="0",backend_namespace="shop",backend="v1",backend_port="8080""#;
    for line in [
        format!("gwproxy_requests_total{labels},code=\"200\"}} 3"),
        format!("gwproxy_request_duration_seconds_bucket{labels},le=\"0.0005\"}} 0"),
        format!("gwproxy_request_duration_seconds_bucket{labels},le=\"0.001\"}} 1"),
        format!("gwproxy_request_duration_seconds_bucket{labels},le=\"0.005\"}} 2"),
        format!("gwproxy_request_duration_seconds_bucket{labels},le=\"10\"}} 2"),
        format!("gwproxy_request_duration_seconds_bucket{labels},le=\"+Inf\"}} 3"),
        format!("gwproxy_request_duration_seconds_count{labels}}} 3"),
        format!("gwproxy_request_duration_seconds_sum{labels}}} 20.005"),
        format!("gwproxy_requests_in_flight{labels}}} 0"),
        "# TYPE gwproxy_request_duration_seconds histogram".to_owned(),
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\nis not in\n{text}");
    }
    assert!(text.contains("\nprocess_resident_memory_bytes "), "{text}");
}

#[test]
fn unused_series_stay_silent_and_unmatched_requests_say_why() {
    let registry = Registry::new(1);
    registry.series(key("never"));
    let lost = registry.series(SeriesKey {
        gateway_namespace: "infra".into(),
        gateway: "edge".into(),
        listener: "http".into(),
        ..SeriesKey::default()
    });
    lost.begin(0);
    lost.record(0, &sample(404, 1));
    let text = registry.render();
    assert!(!text.contains("never"), "{text}");
    assert!(text.contains(r#"code="404",reason="no_rule"} 1"#), "{text}");
}

#[test]
fn connections_of_one_backend_are_one_series() {
    let registry = Registry::new(1);
    for route in ["a", "b"] {
        let series = registry.series(SeriesKey { route: route.into(), ..key("v1") });
        series.connected(0);
        series.failed(0, Failure::Timeout);
    }
    let text = registry.render();
    let labels =
        r#"gateway_namespace="infra",gateway="edge",backend_namespace="shop",backend="v1",backend_port="8080""#;
    assert!(text.contains(&format!("gwproxy_upstream_connects_total{{{labels}}} 2")), "{text}");
    assert!(text.contains(&format!("gwproxy_upstream_failures_total{{{labels},reason=\"timeout\"}} 2")), "{text}");
}
