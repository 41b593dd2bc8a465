//! Watches: the state at the start, then every change, as lines of JSON.
//!
//! A watch holds no queue of its own: it reads the store's ring of events from where it stands.
//! One that does not read falls behind the ring, and is told 410 when it reads again.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::selector::Selector;
use super::status::StatusError;
use super::store::{Event, Key, Store, Unreachable};
use super::table::{self, Include};
use super::verbs::{Target, as_version};

const BOOKMARKS: Duration = Duration::from_secs(30);
/// How long before its end a watch tells where it stands.
const PARTING: Duration = Duration::from_secs(2);
/// How long a watch lasts whose client does not say; a kube-apiserver takes 30 to 60 minutes.
const TIMEOUT: u64 = 45 * 60;
/// Lines that may wait for the client.
const AHEAD: usize = 16;
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

/// Where a watch begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// With the objects as they are now.
    Now,
    /// With the objects as they are, but not as before this revision; then a marked bookmark.
    Listed(u64),
    /// With the first change from now on.
    Quiet,
    /// With the first change after this revision.
    At(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Object,
    Partial,
    Table(Include),
}

pub(super) struct Watch {
    pub(super) store: Arc<Store>,
    pub(super) target: Target,
    pub(super) selector: Selector,
    pub(super) start: Start,
    pub(super) bookmarks: bool,
    pub(super) timeout: Option<u64>,
    pub(super) shape: Shape,
    pub(super) stop: CancellationToken,
    /// How long a client may leave what it was sent unread.
    pub(super) stall: Duration,
}

/// The client is gone, or the watch's time is over.
struct Ended;

impl Watch {
    /// The lines to send. They end when the client, the server or the time ends the watch.
    pub(super) fn run(self) -> impl Stream<Item = Bytes> + Send + 'static {
        let (sender, mut lines) = mpsc::channel(AHEAD);
        tokio::spawn(async move {
            let stop = self.stop.clone();
            let deadline = Duration::from_secs(self.timeout.unwrap_or(TIMEOUT).min(TIMEOUT * 4));
            let mut sender = Lines { sender, with_columns: true, stall: self.stall };
            tokio::select! {
                _ = self.follow(&mut sender, Instant::now() + deadline) => {}
                () = stop.cancelled() => {}
            }
        });
        futures::stream::poll_fn(move |context| lines.poll_recv(context))
    }

    async fn follow(&self, lines: &mut Lines, deadline: Instant) -> Result<(), Ended> {
        let mut news = self.store.subscribe();
        let mut revision = match self.start {
            Start::At(revision) => revision,
            Start::Quiet => self.store.revision(),
            Start::Now | Start::Listed(_) => self.send_state(lines).await?,
        };
        let mut told = revision;
        // A client that watches again wants to know from where; one that watches for less does not.
        let last = deadline.checked_sub(PARTING).unwrap_or(deadline);
        let mut parted = last <= Instant::now();
        let mut bookmark = tokio::time::interval_at(Instant::now() + BOOKMARKS, BOOKMARKS);
        loop {
            news.borrow_and_update();
            let kind = &self.target.kind;
            match self.store.events(kind.stored().0, kind.stored().1, self.within(), revision) {
                Ok((events, complete)) => {
                    for event in events {
                        if self.send_event(lines, &event).await? {
                            told = event.revision;
                        }
                    }
                    revision = complete;
                }
                Err(Unreachable::Compacted { oldest }) => {
                    let gone = StatusError::expired(format!("too old resource version: {revision} ({oldest})"));
                    return lines.send("ERROR", &gone.to_value()).await;
                }
                // Nothing is to be told before that revision comes.
                Err(Unreachable::Future { .. }) => {}
            }
            tokio::select! {
                changed = news.changed() => changed.map_err(|_| Ended)?,
                _ = bookmark.tick() => {
                    if self.bookmarks && revision > told {
                        self.send_bookmark(lines, revision, false).await?;
                        told = revision;
                    }
                }
                () = tokio::time::sleep_until(last), if !parted => {
                    parted = true;
                    if self.bookmarks && revision > told {
                        self.send_bookmark(lines, revision, false).await?;
                        told = revision;
                    }
                }
                () = tokio::time::sleep_until(deadline) => return Ok(()),
                () = lines.sender.closed() => return Err(Ended),
            }
        }
    }

    fn within(&self) -> Option<&str> {
        (!self.target.namespace.is_empty()).then_some(self.target.namespace.as_str())
    }

    async fn send_state(&self, lines: &mut Lines) -> Result<u64, Ended> {
        let kind = &self.target.kind;
        let snapshot = self.store.list(kind.stored().0, kind.stored().1, self.within(), None).map_err(|_| Ended)?;
        for (key, object) in &snapshot.items {
            if self.selector.matches(key, object) {
                lines.send("ADDED", &self.shaped(object, lines.with_columns)).await?;
                lines.with_columns = false;
            }
        }
        if self.bookmarks && matches!(self.start, Start::Listed(_)) {
            self.send_bookmark(lines, snapshot.revision, true).await?;
        }
        Ok(snapshot.revision)
    }

    /// Returns whether the client was told: objects come and go with the selector, too.
    async fn send_event(&self, lines: &mut Lines, event: &Event) -> Result<bool, Ended> {
        let matches = |key: &Key, object: &Value| self.selector.matches(key, object);
        let before = event.old.as_ref().is_some_and(|old| matches(&event.key, old));
        let after = !event.deleted && matches(&event.key, &event.object);
        let (name, object) = match (before, after) {
            (false, false) => return Ok(false),
            (false, true) => ("ADDED", self.shaped(&event.object, lines.with_columns)),
            (true, true) => ("MODIFIED", self.shaped(&event.object, lines.with_columns)),
            (true, false) => {
                // The last state that the client may see, at the revision of its going.
                let mut last = event.old.as_deref().cloned().unwrap_or_default();
                last["metadata"]["resourceVersion"] = event.revision.to_string().into();
                ("DELETED", self.shaped(&last, lines.with_columns))
            }
        };
        lines.with_columns = false;
        lines.send(name, &object).await.map(|()| true)
    }

    async fn send_bookmark(&self, lines: &mut Lines, revision: u64, initial: bool) -> Result<(), Ended> {
        let kind = &self.target.kind;
        let mut metadata = json!({"resourceVersion": revision.to_string()});
        if initial {
            metadata["annotations"] = json!({INITIAL_EVENTS_END: "true"});
        }
        let object = match self.shape {
            Shape::Object => json!({
                "kind": kind.kind, "apiVersion": kind.api_version(&self.target.version), "metadata": metadata,
            }),
            Shape::Partial => table::partial(&json!({"metadata": metadata})),
            Shape::Table(_) => table::table(metadata, json!([]), Vec::new()),
        };
        lines.send("BOOKMARK", &object).await
    }

    fn shaped(&self, object: &Value, with_columns: bool) -> Value {
        let kind = &self.target.kind;
        match self.shape {
            Shape::Object => as_version(object, kind, &self.target.version),
            Shape::Partial => table::partial(object),
            Shape::Table(include) => {
                let metadata = json!({"resourceVersion": object["metadata"]["resourceVersion"]});
                let columns = if with_columns { table::columns(kind) } else { json!([]) };
                let object = as_version(object, kind, &self.target.version);
                table::table(metadata, columns, vec![table::row(kind, &object, include)])
            }
        }
    }
}

struct Lines {
    sender: mpsc::Sender<Bytes>,
    /// A table's columns are told once.
    with_columns: bool,
    stall: Duration,
}

impl Lines {
    async fn send(&mut self, name: &str, object: &Value) -> Result<(), Ended> {
        let line = format!("{{\"type\":\"{name}\",\"object\":{object}}}\n");
        self.sender.send_timeout(line.into(), self.stall).await.map_err(|_| Ended)
    }
}
