//! What traffic does, from the proxies' metrics.
//!
//! `scrape` does the I/O; `parse`, `series` and `foreign` are pure.

use std::time::Duration;

use crate::model::key::ObjectKey;

mod foreign;
pub mod parse;
pub mod scrape;
pub mod series;

/// One backend of one rule, as far as the metrics can tell backends apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Arm {
    pub route: ObjectKey,
    pub rule: usize,
    pub backend_namespace: String,
    pub backend: String,
    pub backend_port: u16,
}

/// Rates over the last window; absent figures are unknown, not zero.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Rates {
    pub rps: f64,
    /// Share of 5xx answers, 0 to 1; none without requests.
    pub error_rate: Option<f64>,
    /// Share of 4xx answers, 0 to 1; none without requests.
    pub client_error_rate: Option<f64>,
    pub p50: Option<Duration>,
    pub p90: Option<Duration>,
    pub p99: Option<Duration>,
    pub in_flight: Option<f64>,
}
