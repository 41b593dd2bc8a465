//! The redb file and the lock on its directory.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition};
use serde_json::Value;

use super::{Event, Key, StoreError};

/// `group/plural/namespace/name` (none of which can hold a slash) to the object's JSON.
const OBJECTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("objects");
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
const REVISION: &str = "revision";

pub(super) struct Disk {
    database: Database,
    /// Held for the process' life: the kernel frees it however the process ends.
    _lock: File,
}

#[derive(Default)]
pub(super) struct Loaded {
    pub(super) objects: BTreeMap<Key, Arc<Value>>,
    pub(super) revision: u64,
}

impl Disk {
    pub(super) fn open(dir: &Path) -> Result<(Self, Loaded), StoreError> {
        let directory = |source| StoreError::Directory { dir: dir.to_owned(), source };
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(directory)?;
        let lock = lock(dir)?;
        let file = dir.join("objects.redb");
        let open = |source: redb::Error| StoreError::Open { file: file.clone(), source: Box::new(source) };
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
        let database = Database::create(&file).map_err(|error| open(error.into()))?;
        let disk = Self { database, _lock: lock };
        if fresh {
            disk.create_tables().map_err(open)?;
            File::open(dir).and_then(|dir| dir.sync_all()).map_err(directory)?;
        }
        let loaded = disk.load(&file)?;
        Ok((disk, loaded))
    }

    fn create_tables(&self) -> Result<(), redb::Error> {
        let write = self.database.begin_write()?;
        write.open_table(OBJECTS)?;
        write.open_table(META)?;
        write.commit()?;
        Ok(())
    }

    fn load(&self, file: &Path) -> Result<Loaded, StoreError> {
        let read = || -> Result<(Vec<(String, Vec<u8>)>, u64), redb::Error> {
            // A crash between the file's creation and its first commit leaves it without tables.
            if self.database.begin_read()?.list_tables()?.next().is_none() {
                self.create_tables()?;
            }
            let read = self.database.begin_read()?;
            let revision = read.open_table(META)?.get(REVISION)?.map_or(0, |value| value.value());
            let mut objects = Vec::new();
            for entry in read.open_table(OBJECTS)?.iter()? {
                let (key, value) = entry?;
                objects.push((key.value().to_owned(), value.value().to_owned()));
            }
            Ok((objects, revision))
        };
        let (rows, revision) =
            read().map_err(|source| StoreError::Open { file: file.to_owned(), source: Box::new(source) })?;
        let mut objects = BTreeMap::new();
        for (text, json) in rows {
            let damaged = |reason: String| StoreError::Damaged { file: file.to_owned(), key: text.clone(), reason };
            let [group, plural, namespace, name] = text.split('/').collect::<Vec<_>>()[..] else {
                return Err(damaged("its key has not four parts".into()));
            };
            let object: Value = serde_json::from_slice(&json).map_err(|error| damaged(error.to_string()))?;
            objects.insert(Key::new(group, plural, namespace, name), Arc::new(object));
        }
        Ok(Loaded { objects, revision })
    }

    /// Writes the events and syncs. `rows` are the serialised objects of the events, in order.
    pub(super) fn commit(&self, events: &[Event], rows: &[Vec<u8>], revision: u64) -> Result<(), redb::Error> {
        let mut write = self.database.begin_write()?;
        write.set_durability(Durability::Immediate)?;
        {
            let mut objects = write.open_table(OBJECTS)?;
            for (event, row) in events.iter().zip(rows) {
                let Key { group, plural, namespace, name } = &event.key;
                let key = format!("{group}/{plural}/{namespace}/{name}");
                if event.deleted {
                    objects.remove(key.as_str())?;
                } else {
                    objects.insert(key.as_str(), row.as_slice())?;
                }
            }
            write.open_table(META)?.insert(REVISION, revision)?;
        }
        write.commit()?;
        Ok(())
    }
}

fn lock(dir: &Path) -> Result<File, StoreError> {
    let failed = |source| StoreError::Directory { dir: dir.to_owned(), source };
    let path: PathBuf = dir.join("lock");
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(failed)?;
    match file.try_lock() {
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
