//! The folder of manifests: what its files say is applied to the API, at start and whenever a
//! file changes.
//!
//! Every object that came from a file carries three annotations: [`MANIFEST`] and [`FOLDER`] say
//! where it came from, so that removing the file prunes it and nothing else; [`LAST_APPLIED`]
//! holds what the file said, so that a changed file changes only what was changed in it. An
//! object that somebody else created before is updated but never pruned.

use std::{collections::BTreeSet, fmt, path::Path, time::Duration};

use kube::Client;
use notify::{RecursiveMode, Watcher as _};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

mod apply;
mod merge;
mod read;

pub(super) use read::split;

#[cfg(test)]
mod tests;

/// The file, relative to the folder, that an object came from.
pub const MANIFEST: &str = "gwtop.dev/manifest";
/// The folder of that file.
pub const FOLDER: &str = "gwtop.dev/manifest-folder";
/// The object as the file last said, as JSON.
pub const LAST_APPLIED: &str = "gwtop.dev/last-applied";

/// An editor writes a file in several steps: act when this long nothing happened.
const QUIET: Duration = Duration::from_millis(100);
/// Looks even without an event: some file systems send none.
const POLL: Duration = Duration::from_secs(2);

/// Something in the folder that could not be applied, and where it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Relative to the folder; empty for the folder itself.
    pub file: String,
    pub line: Option<u64>,
    /// Kind and name, such as `HTTPRoute checkout`.
    pub object: Option<String>,
    /// Path of the field, such as `spec.rules[0].backendRefs[1].port`.
    pub field: Option<String>,
    pub message: String,
    /// May go away without a change of the file: it is tried again.
    pub transient: bool,
}

impl Problem {
    fn of_file(file: &str, message: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line: None, object: None, field: None, message: message.into(), transient: false }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        let parts = [self.object.as_deref(), self.field.as_deref(), Some(&self.message)];
        parts.into_iter().flatten().try_for_each(|part| write!(f, ": {part}"))
    }
}

/// The objects of one manifest, and what is wrong with the rest of it.
pub fn objects(file: &str, content: &str) -> (Vec<serde_json::Value>, Vec<Problem>) {
    let (documents, problems) = read::parse(file, content);
    (documents.into_iter().map(|document| document.object).collect(), problems)
}

/// What was in the folder, and what of it could not be applied.
#[derive(Debug)]
pub struct Loaded {
    pub problems: BTreeSet<Problem>,
    found: Result<read::Files, Problem>,
}

/// Applies the folder once: everything that can be applied is, the rest is told.
pub async fn load(client: &Client, dir: &Path) -> Loaded {
    apply_all(client, dir, snapshot(dir).await).await
}

async fn apply_all(client: &Client, dir: &Path, found: Result<read::Files, Problem>) -> Loaded {
    let problems = match &found {
        Ok(files) => apply::folder(client, &identity(dir), files).await.into_iter().collect(),
        Err(problem) => BTreeSet::from([problem.clone()]),
    };
    Loaded { problems, found }
}

/// Goes on from what [`load`] found: applies the folder after every change, until cancelled. A
/// problem is reported once, and again only after it went away.
pub async fn follow(
    client: Client,
    dir: &Path,
    mut loaded: Loaded,
    cancel: CancellationToken,
    on_problem: impl Fn(&Problem),
) {
    let (changed, mut changes) = mpsc::channel(1);
    let mut watcher = watch(dir, &changed);
    loop {
        let found = snapshot(dir).await;
        let again = loaded.problems.iter().any(|problem| problem.transient);
        if loaded.found != found || again {
            // New symlinks lead to new folders.
            watcher = watch(dir, &changed);
            let now = apply_all(&client, dir, found).await;
            for problem in now.problems.difference(&loaded.problems) {
                tracing::warn!(%problem, "manifest not applied");
                on_problem(problem);
            }
            loaded = now;
        }
        tokio::select! {
            () = cancel.cancelled() => break,
            () = tokio::time::sleep(POLL) => {}
            _ = changes.recv() => {
                while tokio::time::timeout(QUIET, changes.recv()).await.is_ok() {
                    if cancel.is_cancelled() {
                        break;
                    }
                }
            }
        }
    }
    drop(watcher);
}

/// The folder by its real path: a symlinked or relative one is the same folder.
fn identity(dir: &Path) -> String {
    dir.canonicalize().unwrap_or_else(|_| dir.to_owned()).display().to_string()
}

async fn snapshot(dir: &Path) -> Result<read::Files, Problem> {
    let dir = dir.to_owned();
    let shown = dir.display().to_string();
    let read = tokio::task::spawn_blocking(move || read::read_folder(&dir)).await;
    let error = match read {
        Ok(Ok(files)) => return Ok(files),
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    };
    let message = format!("folder of manifests {shown} cannot be read: {error}; nothing was applied or pruned");
    Err(Problem::of_file("", message))
}

/// Watches the folder, its parent (it may be replaced as a whole) and where its symlinks lead.
/// What cannot be watched is polled.
fn watch(dir: &Path, changed: &mpsc::Sender<()>) -> Option<notify::RecommendedWatcher> {
    let changed = changed.clone();
    let handler = move |event: notify::Result<notify::Event>| {
        // Reading the files makes events of its own.
        if !event.is_ok_and(|event| event.kind.is_access()) {
            // A full channel already says that something changed.
            let _ = changed.try_send(());
        }
    };
    let mut watcher = notify::recommended_watcher(handler)
        .inspect_err(|error| tracing::debug!(%error, "no file events here, polling the folder of manifests"))
        .ok()?;
    let mut folders = BTreeSet::from([dir.to_owned()]);
    folders.extend(dir.parent().filter(|parent| !parent.as_os_str().is_empty()).map(Path::to_owned));
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let target = entry.path().canonicalize().ok();
        folders.extend(target.and_then(|target| Some(target.parent()?.to_owned())));
    }
    for folder in folders {
        if let Err(error) = watcher.watch(&folder, RecursiveMode::NonRecursive) {
            tracing::debug!(%error, folder = %folder.display(), "folder cannot be watched, polling it");
        }
    }
    Some(watcher)
}
