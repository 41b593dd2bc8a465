//! Prometheus text format, version 0.0.4.

use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use super::{
    ListenerLabels, Registry, Series, SeriesKey, locked, process,
    series::{BUCKETS, Failure, Totals},
};
use crate::contract::{DURATION_BUCKETS, label, metric, unmatched};

pub(super) struct Text(String);

impl Text {
    pub(super) fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    pub(super) fn line(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        self.0.push_str(name);
        let mut open = '{';
        for (label, text) in labels {
            self.0.push(open);
            open = ',';
            self.0.push_str(label);
            self.0.push_str("=\"");
            for c in text.chars() {
                match c {
                    '\\' => self.0.push_str("\\\\"),
                    '"' => self.0.push_str("\\\""),
                    '\n' => self.0.push_str("\\n"),
                    c => self.0.push(c),
                }
            }
            self.0.push('"');
        }
        if open == ',' {
            self.0.push('}');
        }
        let _ = writeln!(self.0, " {value}");
    }

    fn histogram(&mut self, name: &str, labels: &[(&str, &str)], buckets: &[u64; BUCKETS], seconds: f64) {
        let (bucket, mut cumulative) = (format!("{name}_bucket"), 0);
        for (at, count) in buckets.iter().enumerate() {
            cumulative += count;
            let bound = DURATION_BUCKETS.get(at).map_or_else(|| "+Inf".to_owned(), ToString::to_string);
            let mut labels = labels.to_vec();
            labels.push(("le", &bound));
            self.line(&bucket, &labels, cumulative);
        }
        self.line(&format!("{name}_sum"), labels, seconds);
        self.line(&format!("{name}_count"), labels, cumulative);
    }
}

fn labels(key: &SeriesKey) -> [(&'static str, &str); 10] {
    [
        (label::GATEWAY_NAMESPACE, &key.gateway_namespace),
        (label::GATEWAY, &key.gateway),
        (label::LISTENER, &key.listener),
        (label::ROUTE_KIND, &key.route_kind),
        (label::ROUTE_NAMESPACE, &key.route_namespace),
        (label::ROUTE, &key.route),
        (label::RULE, &key.rule),
        (label::BACKEND_NAMESPACE, &key.backend_namespace),
        (label::BACKEND, &key.backend),
        (label::BACKEND_PORT, &key.backend_port),
    ]
}

fn listener_labels(of: &ListenerLabels) -> [(&'static str, &str); 3] {
    [(label::GATEWAY_NAMESPACE, &of.gateway_namespace), (label::GATEWAY, &of.gateway), (label::LISTENER, &of.listener)]
}

/// Why a request of this series found no backend, where it did not.
fn reason(key: &SeriesKey) -> Option<&'static str> {
    if key.listener.is_empty() {
        Some(unmatched::NO_LISTENER)
    } else if key.route.is_empty() {
        Some(unmatched::NO_RULE)
    } else if key.backend.is_empty() {
        Some(unmatched::NO_BACKEND)
    } else {
        None
    }
}

pub(super) fn render(registry: &Registry) -> String {
    // The lock is held for the copy of the handles only.
    let mut all: Vec<Arc<Series>> = locked(&registry.series).values().map(Arc::clone).collect();
    all.sort_by(|a, b| a.key.cmp(&b.key));
    let used: Vec<(&SeriesKey, Totals)> =
        all.iter().filter_map(|series| Some((&series.key, series.totals()?))).collect();
    let mut text = Text(String::with_capacity(4096 + used.len() * 4096));
    requests(&mut text, &used);
    upstreams(&mut text, &used);
    connections(&mut text, registry);
    config(&mut text, registry);
    process::render(&mut text);
    text.0
}

fn requests(text: &mut Text, used: &[(&SeriesKey, Totals)]) {
    text.family(metric::REQUESTS, "counter", "Finished requests by route, rule, backend and status code.");
    for (key, totals) in used {
        for (code, count) in &totals.codes {
            let code = code.to_string();
            let mut labels = labels(key).to_vec();
            labels.push((label::CODE, &code));
            labels.extend(reason(key).map(|reason| (label::REASON, reason)));
            text.line(metric::REQUESTS, &labels, count);
        }
    }
    text.family(metric::REQUEST_DURATION, "histogram", "Seconds from a request's head to the end of its response.");
    for (key, totals) in used.iter().filter(|(_, totals)| totals.requests > 0) {
        text.histogram(metric::REQUEST_DURATION, &labels(key), &totals.buckets, totals.seconds);
    }
    let mut plain = |name, kind, help, of: fn(&Totals) -> u64, value: fn(&Totals) -> u64| {
        text.family(name, kind, help);
        for (key, totals) in used.iter().filter(|(_, totals)| of(totals) > 0) {
            text.line(name, &labels(key), value(totals));
        }
    };
    let any = |totals: &Totals| totals.requests + totals.connections;
    let from = "Bytes from clients: of request bodies, and of connections and datagrams passed on.";
    plain(metric::REQUEST_BYTES, "counter", from, any, |totals| totals.request_bytes);
    let to = "Bytes to clients: of response bodies, and of connections and datagrams passed on.";
    plain(metric::RESPONSE_BYTES, "counter", to, any, |totals| totals.response_bytes);
    let open = "Requests that have started and not ended.";
    plain(metric::REQUESTS_IN_FLIGHT, "gauge", open, |totals| totals.requests, |totals| totals.in_flight);
    let open = "Connections passed on, and flows of datagrams, that have not ended.";
    let connections: fn(&Totals) -> u64 = |totals| totals.connections;
    plain(metric::CONNECTIONS_IN_FLIGHT, "gauge", open, connections, |totals| totals.connections_in_flight);
    text.family(metric::CONNECTIONS, "counter", "Connections passed on, and flows of datagrams, by route and backend.");
    for (key, totals) in used.iter().filter(|(_, totals)| totals.connections > 0) {
        let mut labels = labels(key).to_vec();
        labels.extend(reason(key).map(|reason| (label::REASON, reason)));
        text.line(metric::CONNECTIONS, &labels, totals.connections);
    }
    text.family(metric::REQUESTS_MIRRORED, "counter", "Copies of requests sent to mirrors, by what was copied.");
    for (key, totals) in used.iter().filter(|(_, totals)| totals.mirrored > 0) {
        text.line(metric::REQUESTS_MIRRORED, &labels(key), totals.mirrored);
    }
}

/// By Gateway and backend: a connection serves every route that sends there.
fn upstreams(text: &mut Text, used: &[(&SeriesKey, Totals)]) {
    #[derive(Default)]
    struct Sum {
        connects: u64,
        retries: u64,
        failures: [u64; Failure::ALL.len()],
    }
    let mut sums = BTreeMap::<[(&str, &str); 5], Sum>::new();
    for (key, totals) in used.iter().filter(|(key, _)| !key.backend.is_empty()) {
        let [namespace, gateway, _, _, _, _, _, backend_namespace, backend, port] = labels(key);
        let sum = sums.entry([namespace, gateway, backend_namespace, backend, port]).or_default();
        sum.connects += totals.connects;
        sum.retries += totals.retries;
        for (sum, one) in sum.failures.iter_mut().zip(totals.failures) {
            *sum += one;
        }
    }
    text.family(metric::UPSTREAM_CONNECTS, "counter", "Connections opened to endpoints.");
    for (labels, sum) in &sums {
        text.line(metric::UPSTREAM_CONNECTS, labels, sum.connects);
    }
    text.family(metric::UPSTREAM_FAILURES, "counter", "Attempts that endpoints did not answer, by reason.");
    for (labels, sum) in &sums {
        for failure in Failure::ALL.into_iter().filter(|failure| sum.failures[*failure as usize] > 0) {
            let mut labels = labels.to_vec();
            labels.push((label::REASON, failure.reason()));
            text.line(metric::UPSTREAM_FAILURES, &labels, sum.failures[failure as usize]);
        }
    }
    text.family(metric::UPSTREAM_RETRIES, "counter", "Requests sent again, to another endpoint or connection.");
    for (labels, sum) in &sums {
        text.line(metric::UPSTREAM_RETRIES, labels, sum.retries);
    }
}

fn connections(text: &mut Text, registry: &Registry) {
    text.family(metric::ACTIVE_CONNECTIONS, "gauge", "Open client connections.");
    for (listener, open) in locked(&registry.connections).iter() {
        text.line(metric::ACTIVE_CONNECTIONS, &listener_labels(listener), open.load(Relaxed));
    }
    text.family(metric::TLS_HANDSHAKES, "counter", "TLS handshakes by how they ended.");
    for (result, count) in ["ok", "failed", "timeout"].into_iter().zip(&registry.handshakes) {
        text.line(metric::TLS_HANDSHAKES, &[(label::RESULT, result)], count.load(Relaxed));
    }
    text.family(metric::CERTIFICATE_EXPIRY, "gauge", "When a served certificate ends, in seconds since 1970.");
    for certificate in locked(&registry.certificates).iter() {
        let mut labels = listener_labels(&certificate.listener).to_vec();
        labels.push((label::SECRET, &certificate.secret));
        text.line(metric::CERTIFICATE_EXPIRY, &labels, certificate.not_after);
    }
}

fn config(text: &mut Text, registry: &Registry) {
    text.family(metric::CONFIG_GENERATION, "gauge", "Generation of the table that serves.");
    text.line(metric::CONFIG_GENERATION, &[], registry.generation.load(Relaxed));
    text.family(metric::CONFIG_APPLY, "histogram", "Seconds from a change's watch event to the table that serves it.");
    let applies = locked(&registry.applies).clone();
    text.histogram(metric::CONFIG_APPLY, &[], &applies.buckets, applies.seconds);
    text.family(metric::ACCEPTED_ROUTES, "gauge", "Routes that a listener accepted.");
    for (listener, count) in locked(&registry.accepted_routes).iter() {
        text.line(metric::ACCEPTED_ROUTES, &listener_labels(listener), count);
    }
    text.family(metric::ACCESS_LOG_DROPPED, "counter", "Access log lines dropped because the writer fell behind.");
    text.line(metric::ACCESS_LOG_DROPPED, &[], registry.access_log_dropped.load(Relaxed));
}
