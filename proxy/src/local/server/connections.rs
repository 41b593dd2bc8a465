//! The open connections: there is room for so many, and one that idles makes way for a new one.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

#[derive(Clone)]
pub(super) struct Connections(Arc<All>);

struct All {
    room: Arc<Semaphore>,
    open: Mutex<HashMap<u64, Arc<State>>>,
    /// Counts what happens, to tell what was longest ago.
    clock: AtomicU64,
}

struct State {
    /// Requests that are not answered to the end.
    busy: AtomicUsize,
    /// When it became idle.
    since: AtomicU64,
    evicted: CancellationToken,
}

/// One connection's place; dropping it makes room.
pub(super) struct Connection {
    id: u64,
    all: Arc<All>,
    state: Arc<State>,
    _permit: OwnedSemaphorePermit,
}

/// While it lives, the connection is not idle.
pub(super) struct Busy(Arc<All>, Arc<State>);

impl All {
    fn open(&self) -> MutexGuard<'_, HashMap<u64, Arc<State>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Relaxed)
    }
}

impl Connections {
    pub(super) fn new(room: usize) -> Self {
        let room = Arc::new(Semaphore::new(room));
        Self(Arc::new(All { room, open: Mutex::default(), clock: AtomicU64::new(0) }))
    }

    /// Takes a place, of the one that idles longest if all are taken.
    pub(super) async fn enter(&self) -> Option<Connection> {
        let permit = match self.0.room.clone().try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => {
                self.evict();
                self.0.room.clone().acquire_owned().await.ok()?
            }
        };
        let id = self.0.tick();
        let evicted = CancellationToken::new();
        let state = Arc::new(State { busy: AtomicUsize::new(0), since: AtomicU64::new(id), evicted });
        self.0.open().insert(id, state.clone());
        Some(Connection { id, all: self.0.clone(), state, _permit: permit })
    }

    /// Ends the connection that idles longest, if one does.
    pub(super) fn evict(&self) {
        let open = self.0.open();
        let idle = open.values().filter(|state| state.busy.load(Relaxed) == 0 && !state.evicted.is_cancelled());
        if let Some(longest) = idle.min_by_key(|state| state.since.load(Relaxed)) {
            longest.evicted.cancel();
        }
    }
}

impl Connection {
    pub(super) fn evicted(&self) -> CancellationToken {
        self.state.evicted.clone()
    }

    pub(super) fn busy(&self) -> Busy {
        self.state.busy.fetch_add(1, Relaxed);
        Busy(self.all.clone(), self.state.clone())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.all.open().remove(&self.id);
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.1.since.store(self.0.tick(), Relaxed);
        self.1.busy.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_longest_idle_makes_way_and_a_busy_one_never() {
        let all = Connections::new(3);
        let (busy, idle, fresh) = (all.enter().await.unwrap(), all.enter().await.unwrap(), all.enter().await.unwrap());
        let _busy = busy.busy();
        drop(fresh.busy());
        all.evict();
        assert!(!busy.evicted().is_cancelled() && idle.evicted().is_cancelled() && !fresh.evicted().is_cancelled());
        drop(idle);
        let next = all.enter().await.unwrap();
        drop(next.busy());
        let waiting = {
            let all = all.clone();
            tokio::spawn(async move { all.enter().await })
        };
        fresh.evicted().cancelled().await;
        drop(fresh);
        assert!(waiting.await.unwrap().is_some() && !busy.evicted().is_cancelled());
    }
}
