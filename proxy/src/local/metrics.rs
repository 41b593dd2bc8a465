//! The API server's own metrics, under a kube-apiserver's names.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::info::Info;
use super::store::Store;

/// Upper bounds of the buckets, in seconds, as a kube-apiserver has them.
const BUCKETS: [f64; 23] = [
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0,
    45.0, 60.0,
];

/// What requests are counted by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Labels {
    verb: &'static str,
    group: String,
    version: String,
    resource: String,
    subresource: String,
    scope: &'static str,
    dry_run: bool,
}

impl Labels {
    /// `known` says whether the server has the resource: names that clients make up are no labels.
    pub(super) fn of(info: &Info, known: bool, apply: bool) -> Self {
        let (verb, dry_run) = (info.metric_verb(apply), info.dry_run);
        if known {
            return Self {
                verb,
                group: info.group.clone(),
                version: info.version.clone(),
                resource: info.resource.clone(),
                subresource: info.subresource.clone(),
                scope: info.scope(),
                dry_run,
            };
        }
        let endpoint = info.path.trim_matches('/').split('/').next().unwrap_or_default();
        let subresource = match endpoint {
            "livez" | "readyz" | "healthz" => format!("/{endpoint}"),
            "api" | "apis" | "openapi" | "version" | "metrics" if info.resource.is_empty() => endpoint.to_owned(),
            _ => String::new(),
        };
        let none = String::new;
        Self { verb, group: none(), version: none(), resource: none(), subresource, scope: "", dry_run: false }
    }

    fn text(&self) -> String {
        let Self { verb, group, version, resource, subresource, scope, dry_run } = self;
        let dry_run = if *dry_run { "All" } else { "" };
        let resources = [group, version, resource, subresource].map(|text| escaped(text));
        let [group, version, resource, subresource] = resources;
        format!(
            "component=\"apiserver\",dry_run=\"{dry_run}\",group=\"{group}\",resource=\"{resource}\",scope=\"{scope}\",subresource=\"{subresource}\",verb=\"{verb}\",version=\"{version}\""
        )
    }

    /// Long-running requests are not told apart by `dry_run`.
    fn text_of_gauge(&self) -> String {
        self.text().replacen("dry_run=\"\",", "", 1)
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[derive(Default)]
struct Series {
    /// By status code.
    requests: BTreeMap<u16, u64>,
    buckets: [u64; BUCKETS.len()],
    count: u64,
    sum: f64,
}

#[derive(Default)]
pub(super) struct Metrics {
    series: Mutex<BTreeMap<Labels, Series>>,
    running: Mutex<BTreeMap<Labels, i64>>,
    pub(super) reading: AtomicI64,
    pub(super) mutating: AtomicI64,
    pub(super) audited: AtomicU64,
    pub(super) unaudited: AtomicU64,
    pub(super) turned_away: AtomicU64,
}

impl Metrics {
    /// Watches are counted and not timed.
    pub(super) fn record(&self, labels: Labels, code: u16, took: Option<Duration>) {
        let mut all = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        let series = all.entry(labels).or_default();
        *series.requests.entry(code).or_default() += 1;
        let Some(took) = took.map(|took| took.as_secs_f64()) else { return };
        for (bucket, bound) in series.buckets.iter_mut().zip(BUCKETS) {
            *bucket += u64::from(took <= bound);
        }
        series.count += 1;
        series.sum += took;
    }

    pub(super) fn long_running(&self, labels: &Labels, change: i64) {
        let mut all = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        *all.entry(labels.clone()).or_default() += change;
    }

    /// All of it, in Prometheus' text format.
    pub(super) fn render(&self, store: &Store) -> String {
        let mut text = String::new();
        let head = |name: &str, kind: &str, help: &str| format!("# HELP {name} {help}\n# TYPE {name} {kind}\n");
        let requests = head("apiserver_request_total", "counter", "Requests by verb, resource, scope and code.");
        let durations = head("apiserver_request_duration_seconds", "histogram", "How long requests took, but watches.");
        let running = head("apiserver_longrunning_requests", "gauge", "Watches that are open.");
        let current = head("apiserver_current_inflight_requests", "gauge", "Requests being answered, but watches.");
        let objects = head("apiserver_storage_objects", "gauge", "Objects stored of each kind.");
        let resources = head("apiserver_resource_objects", "gauge", "Objects stored of each kind.");
        let audited = head("apiserver_audit_event_total", "counter", "Events written to the audit log.");
        let lost = head("apiserver_audit_error_total", "counter", "Events that the audit log could not take.");
        let refused = head("apiserver_dropped_requests_total", "counter", "Requests answered 429.");
        let all = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        text.push_str(&requests);
        for (labels, series) in all.iter() {
            for (code, count) in &series.requests {
                let _ = writeln!(text, "apiserver_request_total{{code=\"{code}\",{}}} {count}", labels.text());
            }
        }
        text.push_str(&durations);
        for (labels, series) in all.iter().filter(|(_, series)| series.count > 0) {
            let labels = labels.text();
            for (bound, count) in BUCKETS.iter().zip(series.buckets) {
                let _ = writeln!(text, "apiserver_request_duration_seconds_bucket{{{labels},le=\"{bound}\"}} {count}");
            }
            let (sum, count) = (series.sum, series.count);
            let _ = writeln!(text, "apiserver_request_duration_seconds_bucket{{{labels},le=\"+Inf\"}} {count}");
            let _ = writeln!(text, "apiserver_request_duration_seconds_sum{{{labels}}} {sum}");
            let _ = writeln!(text, "apiserver_request_duration_seconds_count{{{labels}}} {count}");
        }
        drop(all);
        text.push_str(&running);
        for (labels, count) in self.running.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let _ = writeln!(text, "apiserver_longrunning_requests{{{}}} {count}", labels.text_of_gauge());
        }
        text.push_str(&current);
        for (kind, gauge) in [("mutating", &self.mutating), ("readOnly", &self.reading)] {
            let count = gauge.load(Relaxed);
            let _ = writeln!(text, "apiserver_current_inflight_requests{{request_kind=\"{kind}\"}} {count}");
        }
        let counts = store.counts();
        text.push_str(&objects);
        for (group, plural, count) in &counts {
            let dot = if group.is_empty() { "" } else { "." };
            let _ = writeln!(text, "apiserver_storage_objects{{resource=\"{plural}{dot}{group}\"}} {count}");
        }
        text.push_str(&resources);
        for (group, plural, count) in &counts {
            let _ = writeln!(text, "apiserver_resource_objects{{group=\"{group}\",resource=\"{plural}\"}} {count}");
        }
        let _ = write!(text, "{audited}apiserver_audit_event_total {}\n{lost}", self.audited.load(Relaxed));
        let _ = writeln!(text, "apiserver_audit_error_total{{plugin=\"log\"}} {}", self.unaudited.load(Relaxed));
        let _ = writeln!(text, "{refused}apiserver_dropped_requests_total {}", self.turned_away.load(Relaxed));
        text
    }
}
