//! The one thread that writes: it takes what is queued, runs each change alone, and commits all
//! of them with one sync.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::disk::{Disk, Failed, is_full};
use super::state::now;
use super::txn::Pending;
use super::{Event, Shared, StatusError, Txn};

/// How many changes share one sync at most: it bounds what a failed commit refuses.
const BATCH: usize = 256;
/// How often the past is compacted without a write.
const COMPACT: Duration = Duration::from_secs(60);
/// How often the file may be looked at for room to give back, in compactions.
const SHRINK: u32 = 10;
/// How much longer than a failed commit took is waited before the next is tried: opening a
/// large file anew is work, and a full disk stays full for a while.
const PATIENCE: u32 = 4;

/// A queued change: run it, and later tell its writer how the commit went.
pub(super) struct Job {
    dry_run: bool,
    run: Box<dyn FnOnce(&mut Txn<'_>) -> Ran + Send>,
}

/// Whether the change is to be committed, and how to answer its writer afterwards.
struct Ran {
    keep: bool,
    reply: Reply,
}

type Reply = Box<dyn FnOnce(Option<StatusError>)>;

pub(super) fn job<T, F>(dry_run: bool, change: F, answer: oneshot::Sender<Result<T, StatusError>>) -> Job
where
    T: Send + 'static,
    F: FnOnce(&mut Txn<'_>) -> Result<T, StatusError> + Send + 'static,
{
    let run = Box::new(move |txn: &mut Txn<'_>| {
        let result = catch_unwind(AssertUnwindSafe(|| change(txn)))
            .unwrap_or_else(|_| Err(StatusError::internal("the request made the server panic; nothing was written")));
        let keep = result.is_ok();
        let reply: Reply = Box::new(move |failed: Option<StatusError>| {
            // The writer may have gone away: its write stands all the same.
            let _ = answer.send(failed.map_or(result, Err));
        });
        Ran { keep, reply }
    });
    Job { dry_run, run }
}

pub(super) struct Writer {
    disk: Disk,
    shared: Arc<Shared>,
    jobs: mpsc::Receiver<Job>,
    /// The newest revision ever given out, whether its commit succeeded or not.
    revision: u64,
    /// Events of which it is not known whether they reached the disk.
    doubt: Vec<Event>,
    /// What the writes are refused with until then.
    refusal: Option<(Instant, StatusError)>,
    /// Whether something was written since the file was last looked at.
    grown: bool,
}

impl Writer {
    pub(super) fn new(disk: Disk, shared: Arc<Shared>, jobs: mpsc::Receiver<Job>) -> Self {
        let revision = shared.read().revision;
        Self { disk, shared, jobs, revision, doubt: Vec::new(), refusal: None, grown: true }
    }

    pub(super) fn run(mut self, clock: &tokio::runtime::Runtime) {
        let mut batch = Vec::new();
        let mut compactions = 0_u32;
        self.shrink();
        let mut due = Instant::now() + COMPACT;
        loop {
            let next = clock.block_on(async { tokio::time::timeout_at(due.into(), self.jobs.recv()).await });
            match next {
                Ok(None) => return,
                Ok(Some(first)) => {
                    batch.push(first);
                    while batch.len() < BATCH {
                        let Ok(next) = self.jobs.try_recv() else { break };
                        batch.push(next);
                    }
                    self.write(batch.drain(..));
                }
                Err(_) => {}
            }
            if Instant::now() >= due {
                self.compact();
                compactions = compactions.wrapping_add(1);
                if compactions.is_multiple_of(SHRINK) {
                    self.shrink();
                }
                due = Instant::now() + COMPACT;
            }
        }
    }

    fn write(&mut self, batch: impl Iterator<Item = Job>) {
        let refused = self.recover().err();
        let mut events = Vec::new();
        let mut replies = Vec::new();
        {
            let state = self.shared.read();
            let mut pending = Pending::default();
            for job in batch {
                let mut txn = Txn::new(&state, &mut pending, self.revision);
                let Ran { keep, reply } = (job.run)(&mut txn);
                if !keep || job.dry_run {
                    txn.roll_back();
                }
                if let Some(last) = txn.events.last() {
                    self.revision = last.revision;
                }
                events.append(&mut txn.events);
                replies.push(reply);
            }
        }
        let failed = if events.is_empty() { None } else { refused.or_else(|| self.commit(events).err()) };
        for reply in replies {
            reply(failed.clone());
        }
    }

    /// After a failure: opens the file when it is time, and learns what became of the last commit.
    fn recover(&mut self) -> Result<(), StatusError> {
        if let Some((until, refusal)) = &self.refusal
            && Instant::now() < *until
        {
            return Err(refusal.clone());
        }
        if self.disk.is_open() {
            return Ok(());
        }
        let started = Instant::now();
        match self.disk.reopen() {
            Ok(found) => {
                let doubt = std::mem::take(&mut self.doubt);
                if doubt.last().is_some_and(|last| found >= last.revision) {
                    self.publish(doubt);
                }
                Ok(())
            }
            Err(error) => Err(self.refuse(&Failed::Unknown(error), started)),
        }
    }

    fn commit(&mut self, mut events: Vec<Event>) -> Result<(), StatusError> {
        let started = Instant::now();
        let at = now();
        let mut rows = Vec::with_capacity(events.len());
        for event in &mut events {
            let row = serde_json::to_vec(&*event.object).map_err(StatusError::internal)?;
            (event.size, event.at) = (row.len(), at);
            rows.push(row);
        }
        let compacted = self.shared.read().compacted;
        match self.disk.commit(&events, &rows, self.revision, compacted) {
            Ok(()) => {
                self.refusal = None;
                self.shared.writes.store(true, Relaxed);
                self.grown = true;
                self.publish(events);
                Ok(())
            }
            Err(failed) => {
                if let Failed::Unknown(_) = failed {
                    self.doubt = events;
                }
                Err(self.refuse(&failed, started))
            }
        }
    }

    fn publish(&self, events: Vec<Event>) {
        let Some(newest) = events.last().map(|event| event.revision) else { return };
        self.shared.state.write().unwrap_or_else(PoisonError::into_inner).publish(events);
        self.shared.revision.send_replace(newest);
    }

    fn refuse(&mut self, failed: &Failed, started: Instant) -> StatusError {
        let error = failed.error();
        self.shared.writes.store(false, Relaxed);
        tracing::error!(%error, "the store cannot write; the requests are refused");
        let outcome = match failed {
            Failed::Refused(_) => "nothing was changed",
            Failed::Unknown(_) => "this change takes effect later or not at all",
        };
        let refusal = if is_full(error) {
            let dir = self.disk.dir().display();
            StatusError::insufficient_storage(format!(
                "the disk with the data directory {dir} is full: {outcome}: free some space there and try again"
            ))
        } else {
            StatusError::internal(format!("the store cannot write: {error}: {outcome}"))
        };
        self.refusal = Some((Instant::now() + started.elapsed() * PATIENCE, refusal.clone()));
        refusal
    }

    fn compact(&mut self) {
        let compacted = {
            let mut state = self.shared.state.write().unwrap_or_else(PoisonError::into_inner);
            state.compact(now());
            state.compacted
        };
        if self.disk.is_open()
            && let Err(failed) = self.disk.forget(self.shared.read().revision, compacted)
        {
            tracing::warn!(error = %failed.error(), "the store's past cannot be compacted; it is tried again");
        }
    }

    fn shrink(&mut self) {
        if !self.disk.is_open() || !std::mem::take(&mut self.grown) {
            return;
        }
        match self.disk.shrink() {
            Ok(Some((before, after))) => tracing::info!(before, after, "the store's file was compacted"),
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "the store's file cannot be compacted; it is tried again"),
        }
    }
}
