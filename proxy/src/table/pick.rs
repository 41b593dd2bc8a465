//! Weighted choice without a lock and without randomness.

use std::sync::{
    OnceLock,
    atomic::{AtomicU64, Ordering::Relaxed},
};

/// Chooses among entries in proportion to their weights, for each worker by itself.
///
/// Over as many picks of a worker as the weights add up to, every entry gets exactly its weight,
/// and any shorter run is as near to that as whole requests allow: of two entries neither is
/// ever more than one request away from its share. Had the workers one sequence in common, a
/// worker that gets every other pick could always meet the same entry.
#[derive(Debug)]
pub struct Picker<T> {
    /// Entries of weight above 0 with the running sum of weights, its own included.
    entries: Vec<(u64, T)>,
    /// All weights are the same.
    even: bool,
    start: u64,
    /// The next turn of each worker, made at its first pick and written by that worker alone.
    turns: Box<[OnceLock<Box<AtomicU64>>]>,
}

/// Where the picks of a table start, and for how many workers. Tables that follow each other
/// quickly start at different points, or else the first few picks would be all there ever is.
#[derive(Debug, Clone, Copy)]
pub struct Start {
    pub turn: u64,
    pub workers: usize,
}

impl<T> Picker<T> {
    #[cfg(test)]
    pub fn new(weighted: impl IntoIterator<Item = (u32, T)>) -> Self {
        Self::starting(Start { turn: 0, workers: 2 }, weighted)
    }

    pub fn starting(start: Start, weighted: impl IntoIterator<Item = (u32, T)>) -> Self {
        let (mut sum, mut least, mut most) = (0, u32::MAX, 0);
        let entries: Vec<_> = weighted
            .into_iter()
            .filter(|(weight, _)| *weight > 0)
            .map(|(weight, entry)| {
                (least, most) = (least.min(weight), most.max(weight));
                sum += u64::from(weight);
                (sum, entry)
            })
            .collect();
        let turns = if entries.len() > 1 { start.workers } else { 0 };
        let turns = (0..turns).map(|_| OnceLock::new()).collect();
        Self { entries, even: least == most, start: start.turn, turns }
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

    /// The turn of `worker`, which then comes to its next. The workers start as far from each
    /// other as they can, so that their roundings even out.
    fn turn(&self, worker: usize) -> u64 {
        let turn = self.turns[worker].get_or_init(|| {
            let round =
                if self.even { self.entries.len() as u64 } else { self.entries.last().map_or(1, |(sum, _)| *sum) };
            let apart = u128::from(round) * worker as u128 / self.turns.len() as u128;
            Box::new(AtomicU64::new(self.start.wrapping_add(apart as u64)))
        });
        let now = turn.load(Relaxed);
        turn.store(now.wrapping_add(1), Relaxed);
        now
    }

    /// `None` when every weight is 0.
    pub fn pick(&self, worker: usize) -> Option<&T> {
        let mut rest = match self.entries.as_slice() {
            [] => return None,
            [(_, only)] => return Some(only),
            rest => rest,
        };
        let mut turn = self.turn(worker);
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
