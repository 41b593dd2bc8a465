//! The redb file and the lock on its directory.

use std::collections::{BTreeMap, HashMap};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition};
use serde_json::Value;

use super::objects::Objects;
use super::txn::last_state;
use super::{Event, Key, StoreError};

/// `group/plural/namespace/name` (none of which can hold a slash) to the object's JSON.
const OBJECTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("objects");
/// Revision of a change to what was there before: see [`Past`].
const HISTORY: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("history");
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
const REVISION: &str = "revision";
/// The newest revision whose change is not in the history.
const COMPACTED: &str = "compacted";

/// A file smaller than this is not worth compacting.
const SMALL: u64 = 16 << 20;

/// Key and JSON of an object.
type Row = (String, Vec<u8>);

/// Opens the database in the file.
pub(super) type Opener = Box<dyn Fn(&Path) -> Result<Database, redb::Error> + Send>;

pub(super) struct Disk {
    /// `None` after a failure, until the file can be opened again.
    database: Option<Database>,
    dir: PathBuf,
    file: PathBuf,
    opener: Opener,
    /// What the history on the disk is known to have forgotten.
    compacted: u64,
    /// Held for the process' life: the kernel frees it however the process ends.
    _lock: File,
}

#[derive(Default)]
pub(super) struct Loaded {
    pub(super) objects: Objects,
    pub(super) revision: u64,
    pub(super) compacted: u64,
    /// The changes after `compacted`, oldest first.
    pub(super) past: Vec<Event>,
}

/// Why a commit failed, and what became of it.
#[derive(Debug)]
pub(super) enum Failed {
    /// Nothing of it is on the disk.
    Refused(redb::Error),
    /// The file cannot be opened at present: all of it is on the disk or nothing.
    Unknown(redb::Error),
}

impl Failed {
    pub(super) fn error(&self) -> &redb::Error {
        match self {
            Self::Refused(error) | Self::Unknown(error) => error,
        }
    }
}

pub(super) fn is_full(error: &redb::Error) -> bool {
    matches!(error, redb::Error::Io(error) if no_room(error))
}

fn no_room(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge)
}

impl Disk {
    pub(super) fn open(dir: &Path) -> Result<(Self, Loaded), StoreError> {
        Self::open_with(dir, Box::new(|file| Ok(Database::create(file)?)))
    }

    pub(super) fn open_with(dir: &Path, opener: Opener) -> Result<(Self, Loaded), StoreError> {
        let directory = |source: std::io::Error| match no_room(&source) {
            true => StoreError::Full { dir: dir.to_owned() },
            false => StoreError::Directory { dir: dir.to_owned(), source },
        };
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(directory)?;
        let lock = lock(dir)?;
        let file = dir.join("objects.redb");
        let fresh = !file.exists();
        // The file holds Secrets: nobody else may read it, from its first byte on.
        OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&file)
            .map_err(directory)?;
        let mut disk =
            Self { database: None, dir: dir.to_owned(), file: file.clone(), opener, compacted: 0, _lock: lock };
        let damaged = |source: redb::Error| match is_full(&source) {
            true => StoreError::Full { dir: dir.to_owned() },
            false => StoreError::Open { file: file.clone(), source: Box::new(source) },
        };
        // The reader of a damaged file may give up with a panic instead of an error.
        let loaded = catch_unwind(AssertUnwindSafe(|| {
            disk.reopen().map_err(damaged)?;
            if fresh {
                File::open(dir).and_then(|dir| dir.sync_all()).map_err(directory)?;
            }
            disk.load()
        }));
        let loaded = loaded.unwrap_or_else(|_| {
            let source = redb::Error::Corrupted("its pages contradict each other".into());
            Err(StoreError::Open { file: file.clone(), source: Box::new(source) })
        })?;
        Ok((disk, loaded))
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn is_open(&self) -> bool {
        self.database.is_some()
    }

    /// Opens the file anew after a failure. Returns the newest revision in it.
    pub(super) fn reopen(&mut self) -> Result<u64, redb::Error> {
        self.database = None;
        let opened = patiently(|| (self.opener)(&self.file), |error| matches!(error, redb::Error::DatabaseAlreadyOpen));
        let database = opened?;
        let tables = database.begin_read()?.list_tables()?.count();
        // A crash between the file's creation and its first commit leaves it without tables.
        if tables < 3 {
            let write = database.begin_write()?;
            write.open_table(OBJECTS)?;
            write.open_table(HISTORY)?;
            write.open_table(META)?;
            write.commit()?;
        }
        let revision = database.begin_read()?.open_table(META)?.get(REVISION)?.map_or(0, |value| value.value());
        self.database = Some(database);
        Ok(revision)
    }

    fn database(&self) -> Result<&Database, redb::Error> {
        self.database.as_ref().ok_or(redb::Error::DatabaseClosed)
    }

    fn load(&mut self) -> Result<Loaded, StoreError> {
        let read = || -> Result<_, redb::Error> {
            let read = self.database()?.begin_read()?;
            let meta = read.open_table(META)?;
            let revision = meta.get(REVISION)?.map_or(0, |value| value.value());
            let compacted = meta.get(COMPACTED)?.map_or(revision, |value| value.value());
            let mut objects: Vec<Row> = Vec::new();
            for entry in read.open_table(OBJECTS)?.iter()? {
                let (key, value) = entry?;
                objects.push((key.value().to_owned(), value.value().to_owned()));
            }
            let mut history: Vec<(u64, Vec<u8>)> = Vec::new();
            for entry in read.open_table(HISTORY)?.range(compacted.saturating_add(1)..)? {
                let (revision, value) = entry?;
                history.push((revision.value(), value.value().to_owned()));
            }
            Ok((objects, history, revision, compacted))
        };
        let (rows, history, revision, compacted) =
            read().map_err(|source| StoreError::Open { file: self.file.clone(), source: Box::new(source) })?;
        self.compacted = compacted;
        let damaged =
            |key: &str, reason: String| StoreError::Damaged { file: self.file.clone(), key: key.to_owned(), reason };
        let mut all = BTreeMap::new();
        for (text, json) in rows {
            let key = parse_key(&text).ok_or_else(|| damaged(&text, "its key has not four parts".into()))?;
            let object: Value = serde_json::from_slice(&json).map_err(|error| damaged(&text, error.to_string()))?;
            all.insert(key, (Arc::new(object), json.len()));
        }
        let past =
            unwind(&all, &history).map_err(|(revision, why)| damaged(&format!("of revision {revision}"), why))?;
        let objects = all.into_iter().map(|(key, (object, _))| (key, object)).collect();
        Ok(Loaded { objects, revision, compacted, past })
    }

    /// Writes the events and syncs. `rows` are the serialised objects of the events, in order.
    /// Changes up to `compacted` are forgotten.
    pub(super) fn commit(
        &mut self,
        events: &[Event],
        rows: &[Vec<u8>],
        revision: u64,
        compacted: u64,
    ) -> Result<(), Failed> {
        match self.write(events, rows, revision, compacted) {
            Ok(()) => {
                self.compacted = compacted;
                Ok(())
            }
            Err(error) => match self.reopen() {
                // The failure came after the point of no return.
                Ok(found) if !events.is_empty() && found >= revision => Ok(()),
                Ok(_) => Err(Failed::Refused(error)),
                Err(_) => Err(Failed::Unknown(error)),
            },
        }
    }

    fn write(&self, events: &[Event], rows: &[Vec<u8>], revision: u64, compacted: u64) -> Result<(), redb::Error> {
        let mut write = self.database()?.begin_write()?;
        write.set_durability(Durability::Immediate)?;
        {
            let mut objects = write.open_table(OBJECTS)?;
            let mut history = write.open_table(HISTORY)?;
            let mut meta = write.open_table(META)?;
            for (event, row) in events.iter().zip(rows) {
                let key = text(&event.key);
                let old = if event.deleted {
                    objects.remove(key.as_str())?
                } else {
                    objects.insert(key.as_str(), row.as_slice())?
                };
                let past = Past { at: event.at, key: &key, old: old.as_ref().map_or(&[], |old| old.value()) };
                history.insert(event.revision, past.to_bytes().as_slice())?;
            }
            if compacted > self.compacted || meta.get(COMPACTED)?.is_none() {
                history.retain_in(..=compacted, |_, _| false)?;
                meta.insert(COMPACTED, compacted)?;
            }
            meta.insert(REVISION, revision)?;
        }
        write.commit()?;
        Ok(())
    }

    /// Forgets the changes up to `compacted`, without a change of its own.
    pub(super) fn forget(&mut self, revision: u64, compacted: u64) -> Result<(), Failed> {
        if compacted > self.compacted { self.commit(&[], &[], revision, compacted) } else { Ok(()) }
    }

    /// Gives room back to the file system when more than half of a large file is unused.
    /// Returns the sizes before and after.
    pub(super) fn shrink(&mut self) -> Result<Option<(u64, u64)>, redb::Error> {
        let size = |file: &Path| std::fs::metadata(file).map_or(0, |metadata| metadata.len());
        let before = size(&self.file);
        if before < SMALL {
            return Ok(None);
        }
        let mut shrink = || -> Result<bool, redb::Error> {
            let database = self.database.as_mut().ok_or(redb::Error::DatabaseClosed)?;
            let write = database.begin_write()?;
            let stats = write.stats()?;
            write.abort()?;
            let page = u64::try_from(stats.page_size()).unwrap_or(4096);
            Ok(stats.allocated_pages() * page < before / 2 && database.compact()?)
        };
        match shrink() {
            Ok(true) => Ok(Some((before, size(&self.file)))),
            Ok(false) => Ok(None),
            Err(error) => {
                // A later write opens it if this does not.
                let _ = self.reopen();
                Err(error)
            }
        }
    }
}

/// A change on the disk: what was there before it. What came after it is the object of today, or
/// what the next change of the same key found.
struct Past<'a> {
    at: u64,
    key: &'a str,
    /// Empty when the change created the object.
    old: &'a [u8],
}

impl<'a> Past<'a> {
    fn to_bytes(&self) -> Vec<u8> {
        let length = u32::try_from(self.key.len()).unwrap_or(u32::MAX);
        [&self.at.to_le_bytes(), &length.to_le_bytes()[..], self.key.as_bytes(), self.old].concat()
    }

    fn from_bytes(bytes: &'a [u8]) -> Option<Self> {
        let (at, rest) = bytes.split_first_chunk()?;
        let (length, rest) = rest.split_first_chunk()?;
        let (key, old) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
        Some(Self { at: u64::from_le_bytes(*at), key: std::str::from_utf8(key).ok()?, old })
    }
}

/// The events of the history, found by going back from the objects of today.
fn unwind(today: &BTreeMap<Key, (Arc<Value>, usize)>, history: &[(u64, Vec<u8>)]) -> Result<Vec<Event>, (u64, String)> {
    let mut after: HashMap<Key, Option<(Arc<Value>, usize)>> = HashMap::new();
    let mut events = Vec::with_capacity(history.len());
    for (revision, bytes) in history.iter().rev() {
        let failed = |why: &str| (*revision, why.to_owned());
        let past = Past::from_bytes(bytes).ok_or_else(|| failed("its entry in the history is cut off"))?;
        let key = parse_key(past.key).ok_or_else(|| failed("its key has not four parts"))?;
        let old = match past.old {
            [] => None,
            json => {
                let object: Value = serde_json::from_slice(json).map_err(|error| failed(&error.to_string()))?;
                Some((Arc::new(object), json.len()))
            }
        };
        let new = after.get(&key).cloned().unwrap_or_else(|| today.get(&key).cloned());
        let deleted = new.is_none();
        let (object, size) = match (new, &old) {
            (Some(new), _) => new,
            (None, Some((old, size))) => (Arc::new(last_state(old, *revision)), *size),
            (None, None) => return Err(failed("it removed an object that was not there")),
        };
        after.insert(key.clone(), old.clone());
        let old = old.map(|(old, _)| old);
        events.push(Event { revision: *revision, key, old, object, deleted, size, at: past.at });
    }
    events.reverse();
    Ok(events)
}

fn text(Key { group, plural, namespace, name }: &Key) -> String {
    format!("{group}/{plural}/{namespace}/{name}")
}

fn parse_key(text: &str) -> Option<Key> {
    let mut parts = text.split('/');
    let key = Key::new(parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    parts.next().is_none().then_some(key)
}

/// Tries again for a moment: an owner may be about to end.
fn patiently<T, E>(mut attempt: impl FnMut() -> Result<T, E>, passes: impl Fn(&E) -> bool) -> Result<T, E> {
    for _ in 0..20 {
        match attempt() {
            Err(error) if passes(&error) => std::thread::sleep(std::time::Duration::from_millis(25)),
            other => return other,
        }
    }
    attempt()
}

fn lock(dir: &Path) -> Result<File, StoreError> {
    let failed = |source: std::io::Error| match no_room(&source) {
        true => StoreError::Full { dir: dir.to_owned() },
        false => StoreError::Directory { dir: dir.to_owned(), source },
    };
    let path: PathBuf = dir.join("lock");
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(failed)?;
    match patiently(|| file.try_lock(), |error| matches!(error, TryLockError::WouldBlock)) {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut owner = String::new();
            file.read_to_string(&mut owner).map_err(failed)?;
            let owner = owner.trim();
            let owner = if owner.is_empty() { "unknown (just starting)".into() } else { owner.into() };
            return Err(StoreError::InUse { dir: dir.to_owned(), owner });
        }
        Err(TryLockError::Error(source)) => return Err(failed(source)),
    }
    file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(failed)?;
    Ok(file)
}
