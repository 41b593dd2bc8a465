//! Counters to rates. Resets are seen through, sources are summed, and only what fits a
//! window and a sparkline is kept. No clock: scrapes carry their time.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use gwproxy::contract::{label, metric};

use super::{Arm, Rates, foreign, parse::Sample, scrape::Scrape};
use crate::model::key::{Kind, ObjectKey};

#[cfg(test)]
mod tests;

/// Rates are taken over this much time.
pub const WINDOW: Duration = Duration::from_secs(10);
/// Points of a sparkline.
const HISTORY: usize = 120;
/// Scrapes closer than this share a point: with many sources every one would make its own.
const POINT: Duration = Duration::from_millis(800);

/// Totals since we began to look; they only grow, whatever the sources do.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ArmCounts {
    pub requests: f64,
    /// 5xx answers.
    pub errors: f64,
    /// 4xx answers.
    pub client_errors: f64,
    /// Upper bound in seconds and how many were not slower, as the histogram has them.
    pub buckets: Vec<(f64, f64)>,
}

impl ArmCounts {
    /// What came since `earlier`.
    pub fn since(&self, earlier: &Self) -> Self {
        let before: HashMap<u64, f64> = earlier.buckets.iter().map(|(le, count)| (le.to_bits(), *count)).collect();
        Self {
            requests: (self.requests - earlier.requests).max(0.0),
            errors: (self.errors - earlier.errors).max(0.0),
            client_errors: (self.client_errors - earlier.client_errors).max(0.0),
            buckets: self
                .buckets
                .iter()
                .map(|(le, count)| (*le, (count - before.get(&le.to_bits()).copied().unwrap_or(0.0)).max(0.0)))
                .collect(),
        }
    }

    pub fn add(&mut self, more: &Self) {
        self.requests += more.requests;
        self.errors += more.errors;
        self.client_errors += more.client_errors;
        for (bound, count) in &more.buckets {
            *self.bucket(*bound) += count;
        }
    }

    pub fn error_rate(&self) -> Option<f64> {
        share(self.errors, self.requests)
    }

    /// The duration that this share of the requests did not exceed, interpolated within its
    /// bucket. Beyond the last bound nothing is known but that bound.
    pub fn quantile(&self, quantile: f64) -> Option<Duration> {
        let (_, total) = self.buckets.last().filter(|(_, total)| *total > 0.0)?;
        let rank = quantile * total;
        let (mut below, mut counted) = (0.0, 0.0);
        for (bound, count) in &self.buckets {
            if *count >= rank {
                let within = if *count > counted { (rank - counted) / (count - counted) } else { 1.0 };
                let seconds = if bound.is_finite() { below + (bound - below) * within } else { below };
                return Duration::try_from_secs_f64(seconds).ok();
            }
            if bound.is_finite() {
                below = *bound;
            }
            counted = *count;
        }
        Duration::try_from_secs_f64(below).ok()
    }

    fn bucket(&mut self, bound: f64) -> &mut f64 {
        let at = self.buckets.partition_point(|(known, _)| *known < bound);
        if self.buckets.get(at).is_none_or(|(known, _)| *known != bound) {
            self.buckets.insert(at, (bound, 0.0));
        }
        &mut self.buckets[at].1
    }
}

fn share(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| part / whole)
}

/// What a sample counts towards.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Scope {
    Total,
    Gateway(ObjectKey),
    Listener(ObjectKey, String),
    Route(ObjectKey),
    Rule(ObjectKey, usize),
    Arm(Arm),
    /// A backend by its position in the rule, where its name is not told.
    ArmAt(ObjectKey, usize, usize),
    /// All backends of a rule, and nothing that tells them apart.
    Blended(ObjectKey, usize),
    /// A Service, by whichever route it is reached.
    Service(String, String),
}

#[derive(Debug, Default, Clone)]
struct Track {
    counts: ArmCounts,
    /// Gauge of each source: a source that is gone must not count on.
    in_flight: HashMap<String, f64>,
    /// Oldest first; one point older than the window is kept to take differences from.
    points: VecDeque<(Instant, ArmCounts)>,
    history: VecDeque<f64>,
}

impl Track {
    fn point(&mut self, at: Instant) {
        match self.points.back_mut() {
            Some((last, counts)) if at.saturating_duration_since(*last) < POINT => {
                counts.clone_from(&self.counts);
                return;
            }
            Some((last, counts)) => {
                let seconds = at.saturating_duration_since(*last).as_secs_f64();
                self.history.push_back((self.counts.requests - counts.requests).max(0.0) / seconds);
                if self.history.len() > HISTORY {
                    self.history.pop_front();
                }
            }
            None => {}
        }
        self.points.push_back((at, self.counts.clone()));
        while self.points.get(1).is_some_and(|(second, _)| at.saturating_duration_since(*second) >= WINDOW) {
            self.points.pop_front();
        }
    }

    fn rates(&self) -> Option<Rates> {
        let ((from, first), (to, last)) = (self.points.front()?, self.points.back()?);
        let seconds = to.saturating_duration_since(*from).as_secs_f64();
        if seconds <= 0.0 {
            return None;
        }
        let window = last.since(first);
        Some(Rates {
            rps: window.requests / seconds,
            error_rate: window.error_rate(),
            client_error_rate: share(window.client_errors, window.requests),
            p50: window.quantile(0.5),
            p90: window.quantile(0.9),
            p99: window.quantile(0.99),
            in_flight: (!self.in_flight.is_empty()).then(|| self.in_flight.values().sum()),
        })
    }
}

#[derive(Debug, Default, Clone)]
struct SourceState {
    /// Last value of each counter series.
    counters: HashMap<String, f64>,
    seen: Option<Instant>,
    problem: Option<String>,
}

/// All that is known of the traffic.
#[derive(Debug, Default, Clone)]
pub struct Traffic {
    tracks: HashMap<Scope, Track>,
    sources: HashMap<String, SourceState>,
    problem: Option<String>,
    last: Option<Instant>,
}

impl Traffic {
    pub fn apply(&mut self, scrape: Scrape) {
        let Scrape { at, source, samples } = scrape;
        let state = self.sources.entry(source.clone()).or_default();
        match samples {
            Ok(samples) => {
                let first = state.seen.is_none();
                state.seen = Some(at);
                state.problem = None;
                let previous = std::mem::take(&mut state.counters);
                let mut counters = HashMap::with_capacity(previous.len());
                for track in self.tracks.values_mut() {
                    track.in_flight.remove(&source);
                }
                for sample in &samples {
                    self.sample(sample, &source, first, &previous, &mut counters);
                }
                if let Some(state) = self.sources.get_mut(&source) {
                    state.counters = counters;
                }
                for track in self.tracks.values_mut() {
                    track.point(at);
                }
                self.last = self.last.max(Some(at));
            }
            Err(problem) => {
                state.problem = Some(format!("{source}: {problem}"));
                for track in self.tracks.values_mut() {
                    track.in_flight.remove(&source);
                }
            }
        }
        // Discovery's trouble is over as soon as any source answers.
        if self.sources.values().any(|state| state.seen.is_some()) {
            self.sources.retain(|_, state| state.seen.is_some() || state.problem.is_none() || !state.is_discovery());
        }
        self.problem = self.sources.values().filter_map(|state| state.problem.clone()).min();
    }

    fn sample(
        &mut self,
        sample: &Sample,
        source: &str,
        first: bool,
        previous: &HashMap<String, f64>,
        counters: &mut HashMap<String, f64>,
    ) {
        if !sample.value.is_finite() || sample.value < 0.0 {
            return;
        }
        let Some((what, scopes)) = own(sample).or_else(|| foreign::read(sample)) else { return };
        if let What::InFlight = what {
            for scope in scopes {
                *self.tracks.entry(scope).or_default().in_flight.entry(source.to_owned()).or_default() += sample.value;
            }
            return;
        }
        let id = identity(sample);
        let delta = match previous.get(&id) {
            Some(before) if sample.value >= *before => sample.value - before,
            // Began again from nothing.
            Some(_) => sample.value,
            // Counted before we looked.
            None if first => 0.0,
            None => sample.value,
        };
        counters.insert(id, sample.value);
        for scope in scopes {
            let counts = &mut self.tracks.entry(scope).or_default().counts;
            match what {
                What::Request(class) => {
                    counts.requests += delta;
                    match class {
                        Class::Server => counts.errors += delta,
                        Class::Client => counts.client_errors += delta,
                        Class::Fine => {}
                    }
                }
                What::Bucket(bound) => *counts.bucket(bound) += delta,
                What::Failure => counts.errors += delta,
                What::InFlight => {}
            }
        }
    }

    pub fn arm(&self, arm: &Arm) -> Option<Rates> {
        self.rates(&Scope::Arm(arm.clone()))
    }

    pub fn route(&self, route: &ObjectKey) -> Option<Rates> {
        self.rates(&Scope::Route(route.clone()))
    }

    pub fn rule(&self, route: &ObjectKey, rule: usize) -> Option<Rates> {
        self.rates(&Scope::Rule(route.clone(), rule))
    }

    pub fn gateway(&self, gateway: &ObjectKey) -> Option<Rates> {
        self.rates(&Scope::Gateway(gateway.clone()))
    }

    pub fn listener(&self, gateway: &ObjectKey, listener: &str) -> Option<Rates> {
        self.rates(&Scope::Listener(gateway.clone(), listener.to_owned()))
    }

    pub fn total(&self) -> Option<Rates> {
        self.rates(&Scope::Total)
    }

    fn rates(&self, scope: &Scope) -> Option<Rates> {
        self.tracks.get(scope).and_then(Track::rates)
    }

    /// Requests per second of a route or a Gateway, oldest first.
    pub fn history(&self, object: &ObjectKey) -> Vec<f64> {
        self.points(&match object.kind {
            Kind::Gateway => Scope::Gateway(object.clone()),
            _ => Scope::Route(object.clone()),
        })
    }

    pub fn arm_history(&self, arm: &Arm) -> Vec<f64> {
        self.points(&Scope::Arm(arm.clone()))
    }

    fn points(&self, scope: &Scope) -> Vec<f64> {
        self.tracks.get(scope).map(|track| track.history.iter().copied().collect()).unwrap_or_default()
    }

    /// Totals of an arm for a verdict; none while no source has named it.
    pub fn counts(&self, arm: &Arm) -> Option<ArmCounts> {
        self.tracks.get(&Scope::Arm(arm.clone())).map(|track| track.counts.clone())
    }

    /// How long ago a source last answered; none if none ever did.
    pub fn age(&self, now: Instant) -> Option<Duration> {
        self.last.map(|last| now.saturating_duration_since(last))
    }

    /// As `counts`, for a backend at this position of its rule; also by what other
    /// implementations tell.
    pub fn counts_at(&self, arm: &Arm, index: usize) -> Option<ArmCounts> {
        let scopes = [
            Scope::Arm(arm.clone()),
            Scope::ArmAt(arm.route.clone(), arm.rule, index),
            Scope::Service(arm.backend_namespace.clone(), arm.backend.clone()),
        ];
        scopes.iter().find_map(|scope| self.tracks.get(scope)).map(|track| track.counts.clone())
    }

    /// Why the sources cannot tell the backends of a rule apart, and what to change.
    pub fn blended(&self, route: &ObjectKey, rule: usize) -> Option<&'static str> {
        self.tracks.contains_key(&Scope::Blended(route.clone(), rule)).then_some(foreign::ONE_CLUSTER)
    }

    /// What keeps a source from answering.
    pub fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }
}

impl SourceState {
    fn is_discovery(&self) -> bool {
        self.problem.as_deref().is_some_and(|problem| problem.starts_with("discovery: "))
    }
}

#[derive(Clone, Copy)]
pub(super) enum What {
    Request(Class),
    Bucket(f64),
    InFlight,
    /// An error of something that was counted already.
    Failure,
}

#[derive(Clone, Copy)]
pub(super) enum Class {
    Fine,
    Client,
    Server,
}

/// gwproxy's own series.
fn own(sample: &Sample) -> Option<(What, Vec<Scope>)> {
    let what = match sample.name.as_str() {
        metric::REQUESTS => What::Request(class(sample)),
        // What is passed on unread has connections for requests, and unreachable backends for errors.
        metric::CONNECTIONS => What::Request(Class::Fine),
        metric::UPSTREAM_FAILURES if passed_on(sample) => What::Failure,
        metric::REQUESTS_IN_FLIGHT => What::InFlight,
        name if name.strip_prefix(metric::REQUEST_DURATION) == Some("_bucket") => {
            What::Bucket(sample.label("le")?.parse().ok()?)
        }
        _ => return None,
    };
    Some((what, scopes(sample)))
}

/// Whether the route knows nothing of requests; an HTTP request that failed is counted by its code.
fn passed_on(sample: &Sample) -> bool {
    let kind = sample.label(label::ROUTE_KIND).and_then(Kind::route);
    matches!(kind, Some(Kind::TcpRoute | Kind::TlsRoute | Kind::UdpRoute))
}

fn class(sample: &Sample) -> Class {
    match sample.label(label::CODE).and_then(|code| code.bytes().next()) {
        Some(b'5') => Class::Server,
        Some(b'4') => Class::Client,
        _ => Class::Fine,
    }
}

/// One counter series, whatever the order of its labels.
fn identity(sample: &Sample) -> String {
    let mut labels: Vec<_> = sample.labels.iter().collect();
    labels.sort();
    let mut id = sample.name.clone();
    for (name, value) in labels {
        id.extend(["\u{1}", name, "\u{2}", value]);
    }
    id
}

fn scopes(sample: &Sample) -> Vec<Scope> {
    let filled = |name: &str| sample.label(name).filter(|value| !value.is_empty());
    let mut scopes = vec![Scope::Total];
    if let Some(name) = filled(label::GATEWAY) {
        let gateway = ObjectKey::new(Kind::Gateway, filled(label::GATEWAY_NAMESPACE).unwrap_or_default(), name);
        if let Some(listener) = filled(label::LISTENER) {
            scopes.push(Scope::Listener(gateway.clone(), listener.to_owned()));
        }
        scopes.push(Scope::Gateway(gateway));
    }
    let kind = filled(label::ROUTE_KIND).map_or(Some(Kind::HttpRoute), Kind::route);
    let (Some(name), Some(kind)) = (filled(label::ROUTE), kind) else { return scopes };
    let route = ObjectKey::new(kind, filled(label::ROUTE_NAMESPACE).unwrap_or_default(), name);
    if let Some(rule) = filled(label::RULE).and_then(|rule| rule.parse().ok()) {
        if let (Some(backend), Some(port)) =
            (filled(label::BACKEND), filled(label::BACKEND_PORT).and_then(|port| port.parse().ok()))
        {
            scopes.push(Scope::Arm(Arm {
                route: route.clone(),
                rule,
                backend_namespace: filled(label::BACKEND_NAMESPACE).unwrap_or(&route.namespace).to_owned(),
                backend: backend.to_owned(),
                backend_port: port,
            }));
        }
        scopes.push(Scope::Rule(route.clone(), rule));
    }
    scopes.push(Scope::Route(route));
    scopes
}
