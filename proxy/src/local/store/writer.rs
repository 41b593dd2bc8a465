//! The one thread that writes: it takes what is queued, runs each change alone, and commits all
//! of them with one sync.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};

use tokio::sync::{mpsc, oneshot};

use super::disk::Disk;
use super::{Shared, StatusError, Txn};

/// How many changes share one sync at most: it bounds what a failed commit refuses.
const BATCH: usize = 256;

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
}

impl Writer {
    pub(super) fn new(disk: Disk, shared: Arc<Shared>, jobs: mpsc::Receiver<Job>) -> Self {
        let revision = shared.read().revision;
        Self { disk, shared, jobs, revision }
    }

    pub(super) fn run(mut self) {
        let mut batch = Vec::new();
        while let Some(first) = self.jobs.blocking_recv() {
            batch.push(first);
            while batch.len() < BATCH {
                let Ok(next) = self.jobs.try_recv() else { break };
                batch.push(next);
            }
            self.write(batch.drain(..));
        }
    }

    fn write(&mut self, batch: impl Iterator<Item = Job>) {
        let mut events = Vec::new();
        let mut replies = Vec::new();
        {
            let state = self.shared.read();
            let mut pending = BTreeMap::new();
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
        let failed = self.commit(&mut events).err();
        if failed.is_none() && !events.is_empty() {
            self.shared.state.write().unwrap_or_else(PoisonError::into_inner).publish(events);
            self.shared.revision.send_replace(self.revision);
        }
        for reply in replies {
            reply(failed.clone());
        }
    }

    fn commit(&self, events: &mut [super::Event]) -> Result<(), StatusError> {
        if events.is_empty() {
            return Ok(());
        }
        let mut rows = Vec::with_capacity(events.len());
        for event in events.iter_mut() {
            let row = serde_json::to_vec(&*event.object).map_err(StatusError::internal)?;
            event.size = row.len();
            rows.push(row);
        }
        self.disk.commit(events, &rows, self.revision).map_err(|error| {
            tracing::error!(%error, "the store cannot write; the requests are refused");
            StatusError::internal(format!("the store cannot write: {error}: nothing was changed"))
        })
    }
}
