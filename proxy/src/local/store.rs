//! The durable store of every object: one ordered map, one strictly increasing revision.
//!
//! Writes are serialised by one thread, which commits what is queued in one redb transaction
//! and answers only after the data is on the disk. Reads and watches are served from memory.

mod disk;
mod objects;
mod state;
mod txn;
mod writer;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use serde_json::Value;
use tokio::sync::{mpsc, oneshot, watch};

use self::objects::{kinds, range};
pub(super) use self::state::Bounds;
use self::state::State;
use super::status::StatusError;
pub use txn::Txn;

/// Writes that may wait for the disk before further writers have to wait for room.
const QUEUE: usize = 1024;

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("data directory {dir} is in use by process {owner}: stop it, or choose another directory (--data)")]
    InUse { dir: PathBuf, owner: String },
    #[error("data directory {dir}: {source}: check that it is a directory which you may write to (--data)")]
    Directory { dir: PathBuf, source: std::io::Error },
    #[error("store {file} cannot be opened: {source}: restore it from a copy, or choose another directory (--data)")]
    Open { file: PathBuf, source: Box<redb::Error> },
    #[error("data directory {dir}: the disk is full: free some space there, or choose another directory (--data)")]
    Full { dir: PathBuf },
    #[error("store {file}: object {key} is not readable: {reason}")]
    Damaged { file: PathBuf, key: String, reason: String },
}

/// Where an object is kept. Cluster-scoped objects have an empty namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    pub group: String,
    pub plural: String,
    pub namespace: String,
    pub name: String,
}

impl Key {
    pub fn new(
        group: impl Into<String>,
        plural: impl Into<String>,
        namespace: impl Into<String>,
        name: impl Into<String>,
    ) -> Self {
        Self { group: group.into(), plural: plural.into(), namespace: namespace.into(), name: name.into() }
    }

    fn is_in(&self, group: &str, plural: &str, namespace: Option<&str>) -> bool {
        self.group == group && self.plural == plural && namespace.is_none_or(|wanted| self.namespace == wanted)
    }
}

/// One committed change.
#[derive(Debug)]
pub struct Event {
    pub revision: u64,
    pub key: Key,
    pub old: Option<Arc<Value>>,
    /// The new state; for a deletion the last state, with the deletion's resourceVersion.
    pub object: Arc<Value>,
    pub deleted: bool,
    size: usize,
    /// When it was committed, in milliseconds since 1970.
    at: u64,
}

/// The objects of one kind at one revision, in the order of namespace and name.
#[derive(Debug)]
pub struct Snapshot {
    pub revision: u64,
    pub items: Vec<(Key, Arc<Value>)>,
}

/// The asked revision is no longer (or not yet) reachable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreachable {
    Compacted { oldest: u64 },
    Future { current: u64 },
}

#[derive(Debug)]
struct Shared {
    state: RwLock<State>,
    writes: AtomicBool,
    revision: watch::Sender<u64>,
}

impl Shared {
    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The store. Dropping it without [`Store::close`] loses no acknowledged write.
#[derive(Debug)]
pub struct Store {
    shared: Arc<Shared>,
    queue: Mutex<Option<mpsc::Sender<writer::Job>>>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

impl Store {
    /// Opens or creates the store in `dir`. Fails when another process has it open.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        Self::open_within(dir, Bounds::default())
    }

    pub(super) fn open_within(dir: &Path, bounds: Bounds) -> Result<Self, StoreError> {
        let (disk, loaded) = disk::Disk::open(dir)?;
        Self::start(disk, loaded, bounds)
    }

    fn start(disk: disk::Disk, loaded: disk::Loaded, bounds: Bounds) -> Result<Self, StoreError> {
        let dir = disk.dir().to_owned();
        let disk::Loaded { objects, revision, compacted, past } = loaded;
        let state = State::restored(objects, revision, compacted, past, bounds);
        let shared = Arc::new(Shared {
            revision: watch::Sender::new(state.revision),
            state: RwLock::new(state),
            writes: AtomicBool::new(true),
        });
        let (queue, jobs) = mpsc::channel(QUEUE);
        let writer = writer::Writer::new(disk, shared.clone(), jobs);
        let failed = |source| StoreError::Directory { dir: dir.clone(), source };
        let clock = tokio::runtime::Builder::new_current_thread().enable_time().build().map_err(failed)?;
        let thread = std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || writer.run(&clock))
            .map_err(failed)?;
        Ok(Self { shared, queue: Mutex::new(Some(queue)), thread: Mutex::new(Some(thread)) })
    }

    /// Replaces, creates or (with `None`) removes one object; `change` sees the current one and
    /// runs alone. Returns the object as stored, or the removed one.
    pub async fn update<F>(&self, key: Key, change: F) -> Result<Option<Arc<Value>>, StatusError>
    where
        F: FnOnce(Option<&Value>) -> Result<Option<Value>, StatusError> + Send + 'static,
    {
        self.transact(false, move |txn| {
            let old = txn.get(&key);
            match change(old.as_deref())? {
                Some(value) => Ok(Some(txn.put(key, value))),
                None => Ok(txn.remove(&key)),
            }
        })
        .await
    }

    /// Runs `change` alone, and commits all it wrote or, when it fails or is a dry run, nothing.
    /// Returns after the commit has reached the disk.
    pub async fn transact<T, F>(&self, dry_run: bool, change: F) -> Result<T, StatusError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Txn<'_>) -> Result<T, StatusError> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let job = writer::job(dry_run, change, answer);
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let closed = || StatusError::unavailable("the server is shutting down");
        queue.ok_or_else(closed)?.send(job).await.map_err(|_| closed())?;
        answered.await.map_err(|_| closed())?
    }

    /// Whether the last write reached the disk.
    pub fn can_write(&self) -> bool {
        self.shared.writes.load(Relaxed)
    }

    pub fn revision(&self) -> u64 {
        self.shared.read().revision
    }

    pub fn get(&self, key: &Key) -> Option<Arc<Value>> {
        self.shared.read().objects.get(key).cloned()
    }

    /// The objects of one kind, in one namespace or in all, now or at an earlier revision.
    pub fn list(
        &self,
        group: &str,
        plural: &str,
        namespace: Option<&str>,
        at: Option<u64>,
    ) -> Result<Snapshot, Unreachable> {
        let state = self.shared.read();
        let revision = at.unwrap_or(state.revision);
        state.reach(revision)?;
        let mut items: Vec<(Key, Arc<Value>)> = range(state.objects.by_key(), group, plural, namespace)
            .map(|(key, object)| (key.clone(), object.clone()))
            .collect();
        if revision < state.revision {
            let mut past: BTreeMap<Key, Arc<Value>> = items.into_iter().collect();
            for event in state.events_after(revision).rev() {
                if !event.key.is_in(group, plural, namespace) {
                    continue;
                }
                match &event.old {
                    Some(old) => past.insert(event.key.clone(), old.clone()),
                    None => past.remove(&event.key),
                };
            }
            items = past.into_iter().collect();
        }
        Ok(Snapshot { revision, items })
    }

    /// The events after `revision` on one kind, and the revision up to which they are complete.
    pub fn events(
        &self,
        group: &str,
        plural: &str,
        namespace: Option<&str>,
        revision: u64,
    ) -> Result<(Vec<Arc<Event>>, u64), Unreachable> {
        let state = self.shared.read();
        state.reach(revision)?;
        let events =
            state.events_after(revision).filter(|event| event.key.is_in(group, plural, namespace)).cloned().collect();
        Ok((events, state.revision))
    }

    /// All events after `revision`, and the revision up to which they are complete.
    pub fn changes(&self, revision: u64) -> Result<(Vec<Arc<Event>>, u64), Unreachable> {
        let state = self.shared.read();
        state.reach(revision)?;
        Ok((state.events_after(revision).cloned().collect(), state.revision))
    }

    /// The keys of all objects that `wanted` holds for.
    pub fn keys(&self, wanted: impl Fn(&Value) -> bool) -> Vec<Key> {
        let state = self.shared.read();
        state.objects.by_key().iter().filter(|(_, object)| wanted(object)).map(|(key, _)| key.clone()).collect()
    }

    /// How many objects there are of each kind, as group, plural and count.
    pub fn counts(&self) -> Vec<(String, String, usize)> {
        let state = self.shared.read();
        let all = state.objects.by_key();
        let counted =
            |(group, plural)| (String::from(group), String::from(plural), range(all, group, plural, None).count());
        kinds(all).map(counted).collect()
    }

    /// Tells of every new revision; slow receivers see the newest only.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.shared.revision.subscribe()
    }

    /// Waits until `revision` exists.
    pub async fn reached(&self, revision: u64) {
        // The sender lives in `self`: waiting cannot fail.
        let _ = self.subscribe().wait_for(|current| *current >= revision).await;
    }

    /// Finishes the queued writes, closes the file and gives the directory free.
    pub async fn close(&self) {
        drop(self.queue.lock().unwrap_or_else(PoisonError::into_inner).take());
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let joined = tokio::task::spawn_blocking(move || thread.join()).await;
            if !matches!(joined, Ok(Ok(()))) {
                tracing::error!("the store's writer ended with a panic");
            }
        }
    }
}

#[cfg(test)]
mod tests;
