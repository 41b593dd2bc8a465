//! The store in memory: the objects now, and the changes that led there.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::objects::Objects;
use super::{Event, Unreachable};

/// How much of the past is kept, in memory and on the disk, for watches that resume and lists
/// that go on. Whatever is over one of the bounds is compacted; its readers are told 410.
#[derive(Clone, Copy, Debug)]
pub(in crate::local) struct Bounds {
    pub(in crate::local) events: usize,
    /// Of JSON.
    pub(in crate::local) bytes: usize,
    pub(in crate::local) age: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { events: 20_000, bytes: 32 << 20, age: Duration::from_secs(3600) }
    }
}

/// Milliseconds since 1970, as changes are dated.
pub(super) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) objects: Objects,
    pub(super) revision: u64,
    pub(super) bounds: Bounds,
    ring: VecDeque<Arc<Event>>,
    ring_bytes: usize,
    /// Revision of the newest event that is not in the ring.
    pub(super) compacted: u64,
}

impl State {
    /// The state as it was left, with the changes that are still known.
    pub(super) fn restored(objects: Objects, revision: u64, compacted: u64, past: Vec<Event>, bounds: Bounds) -> Self {
        let ring_bytes = past.iter().map(|event| event.size).sum();
        let ring = past.into_iter().map(Arc::new).collect();
        let mut state = Self { objects, revision, bounds, ring, ring_bytes, compacted };
        state.compact(now());
        state
    }

    pub(super) fn publish(&mut self, events: Vec<Event>) {
        for event in events {
            if event.deleted {
                self.objects.remove(&event.key);
            } else {
                self.objects.insert(event.key.clone(), event.object.clone());
            }
            self.revision = event.revision;
            self.ring_bytes += event.size;
            self.ring.push_back(Arc::new(event));
        }
        self.compact(now());
    }

    /// Forgets what is over the bounds.
    pub(super) fn compact(&mut self, now: u64) {
        let age = u64::try_from(self.bounds.age.as_millis()).unwrap_or(u64::MAX);
        let old = |event: &Event| event.at.saturating_add(age) < now;
        while self.ring.len() > self.bounds.events
            || self.ring_bytes > self.bounds.bytes
            || self.ring.front().is_some_and(|event| old(event))
        {
            let Some(oldest) = self.ring.pop_front() else { break };
            self.ring_bytes -= oldest.size;
            self.compacted = oldest.revision;
        }
    }

    pub(super) fn reach(&self, revision: u64) -> Result<(), Unreachable> {
        if revision > self.revision {
            Err(Unreachable::Future { current: self.revision })
        } else if revision < self.compacted {
            Err(Unreachable::Compacted { oldest: self.compacted })
        } else {
            Ok(())
        }
    }

    pub(super) fn events_after(&self, revision: u64) -> impl DoubleEndedIterator<Item = &Arc<Event>> {
        let first = self.ring.partition_point(|event| event.revision <= revision);
        self.ring.range(first..)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::Key;
    use super::*;

    fn event(revision: u64, at: u64) -> Event {
        let key = Key::new("", "configmaps", "default", "a");
        Event { revision, key, old: None, object: Arc::new(json!({})), deleted: false, size: 10, at }
    }

    fn state(bounds: Bounds) -> State {
        let mut state = State { bounds, ..State::default() };
        state.publish((1..=6).map(|revision| event(revision, now())).collect());
        state
    }

    #[test]
    fn the_past_is_bounded_by_count_and_by_size() {
        let roomy = Bounds::default();
        for bounds in [Bounds { events: 4, ..roomy }, Bounds { bytes: 49, ..roomy }] {
            let state = state(bounds);
            assert_eq!((state.events_after(0).count(), state.compacted), (4, 2));
            assert_eq!(state.reach(1), Err(Unreachable::Compacted { oldest: 2 }));
            assert_eq!(state.reach(2), Ok(()));
        }
    }

    #[test]
    fn the_past_is_bounded_by_age() {
        let mut state = state(Bounds { age: Duration::from_secs(60), ..Bounds::default() });
        state.compact(now());
        assert_eq!(state.compacted, 0);
        state.compact(now() + 61_000);
        assert_eq!((state.events_after(0).count(), state.compacted, state.ring_bytes), (0, 6, 0));
        assert_eq!((state.reach(5), state.reach(6)), (Err(Unreachable::Compacted { oldest: 6 }), Ok(())));
    }
}
