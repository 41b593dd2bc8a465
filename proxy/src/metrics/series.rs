//! One label set: a shard a worker, each with one writer, so a plain load and store do.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use super::{Sample, SeriesKey, locked};
use crate::contract::DURATION_BUCKETS;

/// The contract's bounds and `+Inf`.
pub(super) const BUCKETS: usize = DURATION_BUCKETS.len() + 1;

const BOUNDS_NANOS: [u64; DURATION_BUCKETS.len()] = {
    let mut nanos = [0; DURATION_BUCKETS.len()];
    let mut at = 0;
    while at < nanos.len() {
        nanos[at] = (DURATION_BUCKETS[at] * 1e9) as u64;
        at += 1;
    }
    nanos
};

/// Codes with a counter of their own in every shard; others go to a map.
const COMMON: [u16; 28] = [
    200, 201, 202, 204, 206, 301, 302, 303, 304, 307, 308, 400, 401, 403, 404, 405, 409, 412, 413, 415, 421, 422, 429,
    499, 500, 502, 503, 504,
];
const RARE: u8 = u8::MAX;
/// Place of every code below 600 in [`COMMON`].
static PLACE: [u8; 600] = {
    let mut place = [RARE; 600];
    let mut at = 0;
    while at < COMMON.len() {
        place[COMMON[at] as usize] = at as u8;
        at += 1;
    }
    place
};

/// Why an upstream did not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    Connect,
    ConnectTimeout,
    /// The endpoint is not who it should be, or does not speak what it should.
    Tls,
    /// The connection ended, or what came was not HTTP, before the response was whole.
    Reset,
    Timeout,
}

impl Failure {
    pub const ALL: [Self; 5] = [Self::Connect, Self::ConnectTimeout, Self::Tls, Self::Reset, Self::Timeout];

    pub fn reason(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::ConnectTimeout => "connect_timeout",
            Self::Tls => "tls",
            Self::Reset => "reset",
            Self::Timeout => "timeout",
        }
    }
}

/// Handle of one label set; one shard a worker, each written by that worker alone.
pub struct Series {
    pub key: SeriesKey,
    /// Made at the worker's first use: most series of a big table are never used.
    shards: Box<[OnceLock<Box<Shard>>]>,
    rare: Mutex<BTreeMap<u16, u64>>,
}

/// Aligned to two cache lines, as processors fetch them in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard {
    started: AtomicU64,
    finished: AtomicU64,
    opened: AtomicU64,
    closed: AtomicU64,
    request_bytes: AtomicU64,
    response_bytes: AtomicU64,
    nanos: AtomicU64,
    connects: AtomicU64,
    retries: AtomicU64,
    mirrored: AtomicU64,
    failures: [AtomicU64; Failure::ALL.len()],
    buckets: [AtomicU64; BUCKETS],
    codes: [AtomicU64; COMMON.len()],
}

/// Sum over the shards.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Totals {
    /// Requests that have started.
    pub requests: u64,
    pub in_flight: u64,
    /// Connections, and flows of datagrams, that were passed on without looking into them.
    pub connections: u64,
    pub connections_in_flight: u64,
    pub request_bytes: u64,
    pub response_bytes: u64,
    pub seconds: f64,
    pub connects: u64,
    pub retries: u64,
    pub mirrored: u64,
    pub failures: [u64; Failure::ALL.len()],
    pub buckets: [u64; BUCKETS],
    pub codes: BTreeMap<u16, u64>,
}

impl fmt::Debug for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Series").field(&self.key).finish()
    }
}

impl Series {
    pub(super) fn new(key: SeriesKey, workers: usize) -> Self {
        Self { key, shards: (0..workers).map(|_| OnceLock::new()).collect(), rare: Mutex::default() }
    }

    /// A request starts; `record` ends it, on the same worker.
    pub fn begin(&self, worker: usize) {
        add(&self.shard(worker).started, 1);
    }

    pub fn record(&self, worker: usize, sample: &Sample) {
        let shard = self.shard(worker);
        add(&shard.finished, 1);
        add(&shard.request_bytes, sample.request_bytes);
        add(&shard.response_bytes, sample.response_bytes);
        add(&shard.nanos, u64::try_from(sample.duration.as_nanos()).unwrap_or(u64::MAX));
        add(&shard.buckets[bucket(sample.duration)], 1);
        match PLACE.get(usize::from(sample.code)).copied().unwrap_or(RARE) {
            RARE => *locked(&self.rare).entry(sample.code).or_default() += 1,
            place => add(&shard.codes[usize::from(place)], 1),
        }
    }

    /// A connection whose bytes are passed on; `closed` ends it, on the same worker.
    pub fn opened(&self, worker: usize) {
        add(&self.shard(worker).opened, 1);
    }

    pub fn closed(&self, worker: usize) {
        add(&self.shard(worker).closed, 1);
    }

    /// Bytes from the client, passed on.
    pub fn received(&self, worker: usize, bytes: u64) {
        add(&self.shard(worker).request_bytes, bytes);
    }

    /// Bytes to the client.
    pub fn sent(&self, worker: usize, bytes: u64) {
        add(&self.shard(worker).response_bytes, bytes);
    }

    /// A connection to an endpoint was opened.
    pub fn connected(&self, worker: usize) {
        add(&self.shard(worker).connects, 1);
    }

    pub fn retried(&self, worker: usize) {
        add(&self.shard(worker).retries, 1);
    }

    pub fn mirrored(&self, worker: usize) {
        add(&self.shard(worker).mirrored, 1);
    }

    pub fn failed(&self, worker: usize, failure: Failure) {
        add(&self.shard(worker).failures[failure as usize], 1);
    }

    fn shard(&self, worker: usize) -> &Shard {
        self.shards[worker].get_or_init(Box::default)
    }

    /// `None` while nothing was ever counted.
    pub(crate) fn totals(&self) -> Option<Totals> {
        let mut totals = Totals::default();
        let (mut started, mut finished, mut closed, mut used) = (0u64, 0u64, 0u64, false);
        for shard in self.shards.iter().filter_map(OnceLock::get) {
            used = true;
            // Finished before started: what ends in between counts as still in flight.
            finished += shard.finished.load(Relaxed);
            started += shard.started.load(Relaxed);
            closed += shard.closed.load(Relaxed);
            totals.connections += shard.opened.load(Relaxed);
            totals.request_bytes += shard.request_bytes.load(Relaxed);
            totals.response_bytes += shard.response_bytes.load(Relaxed);
            totals.seconds += shard.nanos.load(Relaxed) as f64 / 1e9;
            totals.connects += shard.connects.load(Relaxed);
            totals.retries += shard.retries.load(Relaxed);
            totals.mirrored += shard.mirrored.load(Relaxed);
            for (sum, one) in totals.failures.iter_mut().zip(&shard.failures) {
                *sum += one.load(Relaxed);
            }
            for (sum, one) in totals.buckets.iter_mut().zip(&shard.buckets) {
                *sum += one.load(Relaxed);
            }
            for (code, one) in COMMON.iter().zip(&shard.codes) {
                let count = one.load(Relaxed);
                if count > 0 {
                    *totals.codes.entry(*code).or_default() += count;
                }
            }
        }
        for (code, count) in locked(&self.rare).iter() {
            *totals.codes.entry(*code).or_default() += count;
        }
        totals.in_flight = started.saturating_sub(finished);
        totals.connections_in_flight = totals.connections.saturating_sub(closed);
        totals.requests = started;
        used.then_some(totals)
    }
}

/// One writer only: no read-modify-write instruction needed.
fn add(counter: &AtomicU64, by: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(by), Relaxed);
}

pub(super) fn bucket(duration: Duration) -> usize {
    let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    BOUNDS_NANOS.iter().position(|bound| nanos <= *bound).unwrap_or(BOUNDS_NANOS.len())
}
