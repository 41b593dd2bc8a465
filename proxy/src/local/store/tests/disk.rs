//! What the file remembers, and what becomes of a damaged one.

use std::time::Duration;

use super::*;

/// Revision, name, and value before and after; `None` where there is no object.
type Change = (u64, String, Option<String>, Option<String>);

fn changes(store: &Store, after: u64) -> Result<Vec<Change>, Unreachable> {
    let value = |object: &Value| object["data"]["value"].as_str().unwrap_or_default().to_owned();
    let shown = |event: Arc<Event>| {
        assert_eq!(event.object["metadata"]["resourceVersion"], event.revision.to_string());
        let now = (!event.deleted).then(|| value(&event.object));
        (event.revision, event.key.name.clone(), event.old.as_deref().map(value), now)
    };
    Ok(store.events("", "configmaps", None, after)?.0.into_iter().map(shown).collect())
}

#[tokio::test]
async fn the_past_survives_a_restart_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    for (name, value) in [("a", 1), ("b", 1), ("a", 2)] {
        put(&store, name, value).await.unwrap();
    }
    store.update(key("a"), |_| Ok(None)).await.unwrap();
    put(&store, "a", 3).await.unwrap();
    store.update(key("b"), |_| Ok(None)).await.unwrap();
    let before = changes(&store, 0).unwrap();
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(before[2], (3, "a".into(), some("1"), some("2")));
    assert_eq!(before[3], (4, "a".into(), some("2"), None));
    let earlier = store.list("", "configmaps", None, Some(3)).unwrap().items.len();
    store.close().await;

    let store = Store::open(dir.path()).unwrap();
    assert_eq!(changes(&store, 0).unwrap(), before);
    assert_eq!(changes(&store, 4).unwrap(), before[4..]);
    assert_eq!(store.list("", "configmaps", None, Some(3)).unwrap().items.len(), earlier);
    assert_eq!(put(&store, "c", 1).await.unwrap(), 7);
    assert_eq!(changes(&store, 5).unwrap().len(), 2);
}

#[tokio::test]
async fn what_was_compacted_stays_compacted() {
    let dir = tempfile::tempdir().unwrap();
    let bounds = Bounds { events: 3, ..Bounds::default() };
    let store = Store::open_within(dir.path(), bounds).unwrap();
    for value in 1..=10 {
        put(&store, "a", value).await.unwrap();
    }
    assert_eq!(changes(&store, 6).unwrap_err(), Unreachable::Compacted { oldest: 7 });
    store.close().await;
    // The file is one commit behind, and the wider bounds do not bring back what is gone.
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(changes(&store, 5).unwrap_err(), Unreachable::Compacted { oldest: 6 });
    assert_eq!(changes(&store, 6).unwrap().len(), 4);
    store.close().await;
    let old = Bounds { age: Duration::ZERO, ..Bounds::default() };
    tokio::time::sleep(Duration::from_millis(5)).await;
    let store = Store::open_within(dir.path(), old).unwrap();
    assert_eq!(changes(&store, 9).unwrap_err(), Unreachable::Compacted { oldest: 10 });
}

#[tokio::test]
async fn a_file_that_is_mostly_unused_gives_room_back() {
    let dir = tempfile::tempdir().unwrap();
    let none = Bounds { events: 0, ..Bounds::default() };
    let store = Store::open_within(dir.path(), none).unwrap();
    let large = "x".repeat(1 << 20);
    for at in 0..40 {
        let object = json!({"data": {"value": large}});
        store.update(key(&format!("n{at}")), move |_| Ok(Some(object))).await.unwrap();
    }
    for at in 2..40 {
        store.update(key(&format!("n{at}")), |_| Ok(None)).await.unwrap();
    }
    let size = || std::fs::metadata(dir.path().join("objects.redb")).unwrap().len();
    let grown = size();
    store.close().await;
    let store = Store::open_within(dir.path(), none).unwrap();
    put(&store, "small", 1).await.unwrap();
    assert!(grown > 40 << 20 && size() < 16 << 20, "{grown} bytes became {}", size());
    assert_eq!(store.get(&key("n1")).unwrap()["data"]["value"], *large);
    assert_eq!(store.list("", "configmaps", None, None).unwrap().items.len(), 3);
}

#[tokio::test]
async fn a_damaged_file_is_an_error_that_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    for at in 0..200 {
        put(&store, &format!("n{at}"), at).await.unwrap();
    }
    store.close().await;
    let file = dir.path().join("objects.redb");
    let sound = std::fs::read(&file).unwrap();
    let said = async |bytes: &[u8]| {
        std::fs::write(&file, bytes).unwrap();
        match Store::open(dir.path()) {
            Ok(store) => {
                store.close().await;
                None
            }
            Err(error) => Some(error.to_string()),
        }
    };
    let garbage = said(&vec![7; 100_000]).await.expect("garbage is no store");
    assert!(garbage.contains("objects.redb") && garbage.contains("restore it from a copy"), "{garbage}");
    let cut = said(&sound[..sound.len() / 3]).await.expect("a third is no store");
    assert!(cut.contains("objects.redb") && cut.contains("restore it from a copy"), "{cut}");
    // A page of noise anywhere is found, or is in a page that nothing uses: never a panic.
    let mut found = 0;
    for page in (0..sound.len() / 4096).step_by(5) {
        let mut noisy = sound.clone();
        noisy[page * 4096..(page + 1) * 4096].fill(0xa5);
        if let Some(error) = said(&noisy).await {
            assert!(error.contains("objects.redb"), "page {page}: {error}");
            found += 1;
        }
    }
    assert!(found > 0);
    assert_eq!(said(&sound).await, None);
}
