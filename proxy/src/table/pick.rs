//! Weighted choice without a lock and without randomness.

use std::sync::atomic::{AtomicU64, Ordering};

/// Chooses among entries in proportion to their weights.
#[derive(Debug)]
pub struct Picker<T> {
    /// Entries of weight above 0 with the running sum of weights, its own included.
    entries: Vec<(u64, T)>,
    turn: AtomicU64,
}

impl<T> Picker<T> {
    pub fn new(weighted: impl IntoIterator<Item = (u32, T)>) -> Self {
        let mut sum = 0;
        let entries = weighted
            .into_iter()
            .filter(|(weight, _)| *weight > 0)
            .map(|(weight, entry)| {
                sum += u64::from(weight);
                (sum, entry)
            })
            .collect();
        Self { entries, turn: AtomicU64::new(0) }
    }

    pub fn entries(&self) -> impl Iterator<Item = &T> {
        self.entries.iter().map(|(_, entry)| entry)
    }

    /// `None` when every weight is 0.
    pub fn pick(&self) -> Option<&T> {
        /// 2^64 divided by the golden ratio: multiples of it, modulo 2^64, are spread evenly
        /// from the first few turns on, so that 5 % is 5 % in any short run of requests.
        const STEP: u64 = 0x9E37_79B9_7F4A_7C15;
        let total = match self.entries.as_slice() {
            [] => return None,
            [(_, only)] => return Some(only),
            [.., (total, _)] => *total,
        };
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let point = ((u128::from(turn.wrapping_mul(STEP)) * u128::from(total)) >> 64) as u64;
        let at = self.entries.partition_point(|(sum, _)| *sum <= point);
        self.entries.get(at).map(|(_, entry)| entry)
    }
}
