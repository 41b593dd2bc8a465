//! A disk that fills, and has room again.

use std::sync::atomic::{AtomicU64, Ordering};

use redb::{Database, StorageBackend, backends::FileBackend};

use super::super::disk::Disk;
use super::*;

/// A file on a disk that has room for so many more writes.
#[derive(Debug)]
struct Scarce {
    file: FileBackend,
    room: Arc<AtomicU64>,
    /// Smaller writes than the one that failed find room.
    once: bool,
}

const PLENTY: u64 = u64::MAX / 2;

impl Scarce {
    fn take(&self) -> Result<(), std::io::Error> {
        if self.once && self.room.load(Ordering::SeqCst) == 0 {
            self.room.store(PLENTY, Ordering::SeqCst);
            return Err(std::io::ErrorKind::StorageFull.into());
        }
        let took = self.room.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |room| room.checked_sub(1));
        took.map(drop).map_err(|_| std::io::ErrorKind::StorageFull.into())
    }
}

impl StorageBackend for Scarce {
    fn len(&self) -> Result<u64, std::io::Error> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), std::io::Error> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> Result<(), std::io::Error> {
        self.take()?;
        self.file.set_len(len)
    }

    fn sync_data(&self) -> Result<(), std::io::Error> {
        self.take()?;
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), std::io::Error> {
        self.take()?;
        self.file.write(offset, data)
    }

    fn close(&self) -> Result<(), std::io::Error> {
        self.file.close()
    }
}

fn open(dir: &Path, room: &Arc<AtomicU64>, once: bool) -> Store {
    let room = room.clone();
    let opener = move |path: &Path| {
        let file = std::fs::OpenOptions::new().read(true).write(true).open(path).map_err(redb::Error::Io)?;
        let file = FileBackend::new(file)?;
        Ok(Database::builder().create_with_backend(Scarce { file, room: room.clone(), once })?)
    };
    let (disk, loaded) = Disk::open_with(dir, Box::new(opener)).unwrap();
    Store::start(disk, loaded, Bounds::default()).unwrap()
}

/// Tries until the store takes writes again.
async fn recovered(store: &Store, name: &str) -> u64 {
    for _ in 0..2000 {
        match put(store, name, 1).await {
            Ok(revision) => return revision,
            Err(error) => assert!([507, 500].contains(&error.code()), "{error}"),
        }
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    panic!("there is room again and the store does not write");
}

/// The disk fills before any one of a commit's steps: whatever is answered is true.
#[tokio::test]
async fn at_every_step_a_full_disk_refuses_and_loses_nothing() {
    let (refused, _) = fill_at_every_step(true).await;
    let (_, unknown) = fill_at_every_step(false).await;
    assert!(refused > 5 && unknown > 5, "the disk was never full: {refused} and {unknown}");
}

async fn fill_at_every_step(once: bool) -> (usize, usize) {
    let dir = tempfile::tempdir().unwrap();
    let room = Arc::new(AtomicU64::new(PLENTY));
    let mut store = open(dir.path(), &room, once);
    let mut last = put(&store, "first", 1).await.unwrap();
    let (mut refused, mut unknown) = (0, 0);
    for step in 0..20_u64 {
        let name = format!("n{step}");
        room.store(step, Ordering::SeqCst);
        let answer = put(&store, &name, 1).await;
        assert!(store.get(&key("first")).is_some(), "reads go on");
        if let Err(error) = &answer {
            assert_eq!((error.code(), error.reason()), (507, "InsufficientStorage"), "{error}");
            assert!(error.message().contains(&*dir.path().to_string_lossy()), "{error}");
            assert!(store.get(&key(&name)).is_none(), "it was refused");
            let clear = error.message().contains("nothing was changed");
            if clear { refused += 1 } else { unknown += 1 }
        }
        room.store(PLENTY, Ordering::SeqCst);
        if step % 3 == 2 {
            // As if the process had died with the disk full.
            store.close().await;
            store = open(dir.path(), &room, once);
        }
        let after = recovered(&store, &format!("after{step}")).await;
        assert!(after > last, "revision {after} after {last}");
        last = after;
        match answer {
            Ok(revision) => {
                assert_eq!(store.get(&key(&name)).unwrap()["metadata"]["resourceVersion"], revision.to_string());
            }
            Err(error) if error.message().contains("nothing was changed") => assert!(store.get(&key(&name)).is_none()),
            Err(_) => {}
        }
    }
    let (seen, _) = store.events("", "configmaps", None, 0).unwrap();
    let revisions: Vec<u64> = seen.iter().map(|event| event.revision).collect();
    assert!(revisions.is_sorted_by(|one, next| one < next), "{revisions:?}");
    store.close().await;
    let again = Store::open(dir.path()).unwrap();
    let (after, _) = again.events("", "configmaps", None, 0).unwrap();
    assert_eq!(
        after.iter().map(|event| event.revision).collect::<Vec<_>>(),
        revisions,
        "watches saw what the disk has"
    );
    (refused, unknown)
}

/// The same on a real file system of 2 MiB, where the tests may mount one.
#[tokio::test]
async fn a_real_disk_fills_and_has_room_again() {
    let dir = tempfile::tempdir().unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=2m", "none"]).arg(dir.path()).output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        eprintln!("left out: only root may mount a small disk");
        return;
    }
    let store = Store::open(&dir.path().join("data")).unwrap();
    let ballast = dir.path().join("ballast");
    std::fs::write(&ballast, vec![1; 300_000]).unwrap();
    let mut acknowledged = Vec::new();
    let refused = loop {
        let name = format!("n{}", acknowledged.len());
        let object = json!({"data": {"value": "x".repeat(50_000)}});
        match store.update(key(&name), move |_| Ok(Some(object))).await {
            Ok(_) => acknowledged.push(name),
            Err(error) => break error,
        }
        assert!(acknowledged.len() < 100, "more was kept than the disk holds");
    };
    assert_eq!(refused.code(), 507, "{refused}");
    std::fs::remove_file(&ballast).unwrap();
    recovered(&store, "after").await;
    store.close().await;
    let store = Store::open(&dir.path().join("data")).unwrap();
    for name in acknowledged.iter().map(String::as_str).chain(["after"]) {
        assert!(store.get(&key(name)).is_some(), "{name} was acknowledged and is gone");
    }
    store.close().await;
    let unmounted = Command::new("umount").arg(dir.path()).status().unwrap();
    assert!(unmounted.success());
}
