//! Counters that the request path writes without a lock, and their text.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

mod process;
mod render;
mod series;
#[cfg(test)]
mod tests;

pub use series::{Failure, Series};

/// Whom a sample belongs to: the labels of the contract, in its order.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeriesKey {
    pub gateway_namespace: String,
    pub gateway: String,
    pub listener: String,
    pub route_kind: String,
    pub route_namespace: String,
    pub route: String,
    pub rule: String,
    pub backend_namespace: String,
    pub backend: String,
    pub backend_port: String,
}

/// One finished request.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    pub code: u16,
    pub duration: Duration,
    pub request_bytes: u64,
    pub response_bytes: u64,
}

/// The labels of a listener, or of several that share a socket.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListenerLabels {
    pub gateway_namespace: String,
    pub gateway: String,
    pub listener: String,
}

/// When a certificate that a listener serves ends, in seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CertificateExpiry {
    pub listener: ListenerLabels,
    pub secret: String,
    pub not_after: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handshake {
    Ok,
    Failed,
    Timeout,
}

/// All series of the process. A series outlives the table that asked for it, so counters
/// never go back while the process lives.
#[derive(Debug)]
pub struct Registry {
    workers: usize,
    series: Mutex<HashMap<SeriesKey, Arc<Series>>>,
    connections: Mutex<BTreeMap<ListenerLabels, Arc<AtomicI64>>>,
    accepted_routes: Mutex<BTreeMap<ListenerLabels, u64>>,
    certificates: Mutex<Vec<CertificateExpiry>>,
    applies: Mutex<Histogram>,
    generation: AtomicU64,
    handshakes: [AtomicU64; 3],
    access_log_dropped: AtomicU64,
}

/// For what happens rarely enough to take a lock.
#[derive(Debug, Default, Clone)]
struct Histogram {
    buckets: [u64; series::BUCKETS],
    seconds: f64,
}

impl Registry {
    pub fn new(workers: usize) -> Arc<Self> {
        Arc::new(Self {
            workers: workers.max(1),
            series: Mutex::default(),
            connections: Mutex::default(),
            accepted_routes: Mutex::default(),
            certificates: Mutex::default(),
            applies: Mutex::default(),
            generation: AtomicU64::new(0),
            handshakes: Default::default(),
            access_log_dropped: AtomicU64::new(0),
        })
    }

    pub fn workers(&self) -> usize {
        self.workers
    }

    /// The series of these labels, made at first use.
    pub fn series(&self, key: SeriesKey) -> Arc<Series> {
        let mut all = locked(&self.series);
        if let Some(known) = all.get(&key) {
            return Arc::clone(known);
        }
        let made = Arc::new(Series::new(key.clone(), self.workers));
        all.insert(key, Arc::clone(&made));
        made
    }

    /// Gauge of the open connections of these listeners.
    pub fn connections(&self, labels: ListenerLabels) -> Arc<AtomicI64> {
        Arc::clone(locked(&self.connections).entry(labels).or_default())
    }

    /// Replaces what is known about accepted routes, listener by listener.
    pub fn set_accepted_routes(&self, counts: impl IntoIterator<Item = (ListenerLabels, u64)>) {
        *locked(&self.accepted_routes) = counts.into_iter().collect();
    }

    pub fn set_certificates(&self, mut certificates: Vec<CertificateExpiry>) {
        certificates.sort();
        certificates.dedup();
        *locked(&self.certificates) = certificates;
    }

    pub fn set_generation(&self, generation: u64) {
        self.generation.store(generation, Relaxed);
    }

    /// From the watch event to the table that serves.
    pub fn config_applied(&self, took: Duration) {
        let mut applies = locked(&self.applies);
        applies.buckets[series::bucket(took)] += 1;
        applies.seconds += took.as_secs_f64();
    }

    pub fn handshake(&self, result: Handshake) {
        self.handshakes[result as usize].fetch_add(1, Relaxed);
    }

    pub fn access_log_dropped(&self) {
        self.access_log_dropped.fetch_add(1, Relaxed);
    }

    /// Text of every metric. Walks all series: never on a worker's thread.
    pub fn render(&self) -> String {
        render::render(self)
    }
}

/// The data behind these locks is whole at every moment: a panic elsewhere spoils nothing.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
