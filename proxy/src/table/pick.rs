//! Weighted choice without a lock and without randomness.

use std::sync::atomic::{AtomicU64, Ordering};

/// Chooses among entries in proportion to their weights.
///
/// Over as many picks as the weights add up to, every entry gets exactly its weight, and any
/// shorter run is as near to that as whole requests allow: of two entries neither is ever
/// more than one request away from its share.
#[derive(Debug)]
pub struct Picker<T> {
    /// Entries of weight above 0 with the running sum of weights, its own included.
    entries: Vec<(u64, T)>,
    /// All weights are the same.
    even: bool,
    turn: AtomicU64,
}

impl<T> Picker<T> {
    #[cfg(test)]
    pub fn new(weighted: impl IntoIterator<Item = (u32, T)>) -> Self {
        Self::starting(0, weighted)
    }

    /// Starts at any point of the sequence. Tables that follow each other quickly start at
    /// different points, or else the first few picks would be all there ever is.
    pub fn starting(turn: u64, weighted: impl IntoIterator<Item = (u32, T)>) -> Self {
        let (mut sum, mut least, mut most) = (0, u32::MAX, 0);
        let entries = weighted
            .into_iter()
            .filter(|(weight, _)| *weight > 0)
            .map(|(weight, entry)| {
                (least, most) = (least.min(weight), most.max(weight));
                sum += u64::from(weight);
                (sum, entry)
            })
            .collect();
        Self { entries, even: least == most, turn: AtomicU64::new(turn) }
    }

    pub fn entries(&self) -> impl Iterator<Item = &T> {
        self.entries.iter().map(|(_, entry)| entry)
    }

    /// Entries with their weights.
    pub fn weighted(&self) -> impl Iterator<Item = (u64, &T)> {
        let before = std::iter::once(0).chain(self.entries.iter().map(|(sum, _)| *sum));
        self.entries.iter().zip(before).map(|((sum, entry), before)| (sum - before, entry))
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// `None` when every weight is 0.
    pub fn pick(&self) -> Option<&T> {
        let mut rest = match self.entries.as_slice() {
            [] => return None,
            [(_, only)] => return Some(only),
            rest => rest,
        };
        let mut turn = self.turn.fetch_add(1, Ordering::Relaxed);
        if self.even {
            return self.entries.get((turn % self.entries.len() as u64) as usize).map(|(_, entry)| entry);
        }
        // Halve the entries until one is left. In each step `turn` counts the picks that came
        // to this part before, of which the left half got its share, rounded: that gives both
        // whose turn it is and how many picks each half has had.
        let mut before = 0;
        while let [_, _, ..] = rest {
            let (left, right) = rest.split_at(rest.len() / 2);
            let (Some((left_sum, _)), Some((right_sum, _))) = (left.last(), right.last()) else { return None };
            let (weight, total) = (left_sum - before, right_sum - before);
            // Whole rounds give exactly the weight; what is left stays far below 2^64.
            let (rounds, part) = (turn / total, turn % total);
            let given = (part * weight + total / 2) / total;
            let next = ((part + 1) * weight + total / 2) / total;
            if next > given {
                turn = rounds * weight + given;
                rest = left;
            } else {
                turn = rounds * (total - weight) + (part - given);
                rest = right;
                before = *left_sum;
            }
        }
        rest.first().map(|(_, entry)| entry)
    }
}

#[cfg(test)]
mod tests;
