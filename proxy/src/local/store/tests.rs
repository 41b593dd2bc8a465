use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use serde_json::json;

use super::*;

mod disk;
mod full;

const CRASH: &str = "GWPROXY_TEST_CRASH_DIR";

fn key(name: &str) -> Key {
    Key::new("", "configmaps", "default", name)
}

async fn put(store: &Store, name: &str, value: i64) -> Result<u64, StatusError> {
    let object = json!({"metadata": {"name": name}, "data": {"value": value.to_string()}});
    let stored = store.update(key(name), move |_| Ok(Some(object))).await?.expect("it was put");
    Ok(stored["metadata"]["resourceVersion"].as_str().and_then(|text| text.parse().ok()).expect("a revision"))
}

#[tokio::test]
async fn a_reopened_store_has_everything_and_goes_on_counting() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    put(&store, "a", 1).await.unwrap();
    put(&store, "b", 1).await.unwrap();
    let removed = store.update(key("a"), |_| Ok(None)).await.unwrap().unwrap();
    assert_eq!(removed["metadata"]["resourceVersion"], "3");
    store.close().await;

    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.revision(), 3);
    assert!(store.get(&key("a")).is_none());
    assert_eq!(store.get(&key("b")).unwrap()["data"]["value"], "1");
    assert_eq!(put(&store, "a", 2).await.unwrap(), 4);
    assert_eq!(store.events("", "configmaps", None, 3).unwrap().0.len(), 1);
}

#[tokio::test]
async fn an_equal_object_is_no_write() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(put(&store, "a", 1).await.unwrap(), 1);
    assert_eq!(put(&store, "a", 1).await.unwrap(), 1);
    assert_eq!(store.revision(), 1);
}

#[tokio::test]
async fn failed_and_dry_transactions_leave_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    put(&store, "a", 1).await.unwrap();
    let failed: Result<(), _> = store
        .transact(false, |txn| {
            txn.put(key("b"), json!({}));
            txn.remove(&key("a"));
            assert!(txn.get(&key("a")).is_none() && txn.list("", "configmaps", None).len() == 1);
            assert_eq!(txn.in_namespace("default").len(), 1);
            txn.remove(&key("b"));
            assert!(txn.is_empty("default") && txn.in_namespace("default").is_empty());
            Err(StatusError::bad_request("no"))
        })
        .await;
    assert_eq!(failed.unwrap_err().code(), 400);
    store.transact(true, |txn| Ok(txn.put(key("b"), json!({})))).await.unwrap();
    let panicked: Result<(), _> = store.transact(false, |_| panic!("a bug in a rule")).await;
    assert_eq!(panicked.unwrap_err().code(), 500);
    assert!(store.get(&key("b")).is_none() && store.get(&key("a")).is_some());
    assert!(!store.transact(false, |txn| Ok(txn.is_empty("default"))).await.unwrap(), "the count was rolled back too");
    assert_eq!(put(&store, "c", 1).await.unwrap(), 2);
}

#[tokio::test]
async fn dependents_are_found_by_their_owner_within_a_batch_too() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let owned = |uids: &[&str]| {
        let owners: Vec<Value> = uids.iter().map(|uid| json!({"uid": uid})).collect();
        json!({"metadata": {"ownerReferences": owners}})
    };
    let names = |found: Vec<(Key, Arc<Value>)>| found.into_iter().map(|(key, _)| key.name).collect::<Vec<_>>();
    let (a, b) = (owned(&["u"]), owned(&["u", "v"]));
    store.update(key("a"), |_| Ok(Some(a))).await.unwrap();
    let change = move |txn: &mut Txn<'_>| {
        txn.put(key("b"), b);
        assert_eq!(names(txn.owned_by("u")), ["a", "b"]);
        txn.put(key("a"), json!({}));
        assert_eq!((names(txn.owned_by("u")), names(txn.owned_by("v"))), (vec!["b".into()], vec!["b".into()]));
        txn.remove(&key("b"));
        assert!(txn.owned_by("u").is_empty() && txn.owned_by("w").is_empty());
        Ok(())
    };
    store.transact(false, change).await.unwrap();
    assert!(store.transact(false, |txn| Ok(txn.owned_by("u").is_empty())).await.unwrap());
}

#[tokio::test]
async fn a_second_owner_is_refused_by_the_first_ones_pid() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let error = Store::open(dir.path()).unwrap_err().to_string();
    assert!(error.contains(&format!("in use by process {}", std::process::id())), "{error}");
    store.close().await;
    Store::open(dir.path()).unwrap();
}

#[tokio::test]
async fn earlier_states_can_be_listed_until_they_are_compacted() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    put(&store, "a", 1).await.unwrap();
    put(&store, "b", 1).await.unwrap();
    put(&store, "a", 2).await.unwrap();
    store.update(key("b"), |_| Ok(None)).await.unwrap();
    let at = |revision| {
        let snapshot = store.list("", "configmaps", Some("default"), Some(revision)).unwrap();
        let items = snapshot.items.into_iter();
        items.map(|(key, object)| (key.name, object["data"]["value"].clone())).collect::<Vec<_>>()
    };
    assert_eq!(at(1), [("a".into(), json!("1"))]);
    assert_eq!(at(2), [("a".into(), json!("1")), ("b".into(), json!("1"))]);
    assert_eq!(at(3), [("a".into(), json!("2")), ("b".into(), json!("1"))]);
    assert_eq!(at(4), [("a".into(), json!("2"))]);
    assert_eq!(store.list("", "configmaps", None, Some(5)).unwrap_err(), Unreachable::Future { current: 4 });
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_writers_lose_no_update() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::open(dir.path()).unwrap());
    let writers = (0..8).map(|_| {
        let store = store.clone();
        tokio::spawn(async move {
            for _ in 0..25 {
                let count =
                    |old: Option<&Value>| Ok(Some(json!({"n": old.map_or(0, |old| old["n"].as_i64().unwrap()) + 1})));
                store.update(key("counter"), count).await.unwrap();
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    assert_eq!(store.get(&key("counter")).unwrap()["n"], 200);
    let (events, _) = store.events("", "configmaps", None, 0).unwrap();
    let revisions: Vec<u64> = events.iter().map(|event| event.revision).collect();
    assert_eq!(revisions, (1..=200).collect::<Vec<_>>());
}

/// Run by the test below in a process of its own, which is then killed.
#[tokio::test(flavor = "multi_thread")]
async fn crash_writer() {
    let Ok(dir) = std::env::var(CRASH) else { return };
    let store = Arc::new(Store::open(Path::new(&dir)).unwrap());
    println!("start {}", store.revision());
    let writers = (0..4).map(|writer| {
        let store = store.clone();
        tokio::spawn(async move {
            // What an earlier process wrote would be no write.
            let first = i64::try_from(store.revision()).unwrap() + 1;
            for count in first.. {
                let name = format!("w{writer}-{}", count % 7);
                let revision = put(&store, &name, count).await.unwrap();
                // A kill may leave half a line in a full pipe: the last word tells a whole one.
                let line = format!("ack {name} {count} {revision} end\n");
                std::io::Write::write_all(&mut std::io::stdout(), line.as_bytes()).unwrap();
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
}

#[tokio::test]
async fn every_acknowledged_write_survives_sigkill() {
    let dir = tempfile::tempdir().unwrap();
    let mut newest = 0;
    for round in 0..5_usize {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "local::store::tests::crash_writer", "--nocapture"])
            .env(CRASH, dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let random = usize::from(uuid::Uuid::new_v4().as_bytes()[0]);
        let until = 20 + random + 50 * round;
        let mut acknowledged: BTreeMap<String, (i64, u64)> = BTreeMap::new();
        let (mut killed, mut acks) = (false, 0);
        for line in BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok) {
            let words: Vec<&str> = line.split(' ').collect();
            match words.as_slice() {
                // The test harness may have printed its own words on the same line.
                [.., "start", revision] => assert!(revision.parse::<u64>().unwrap() >= newest, "the revision fell"),
                ["ack", name, count, revision, "end"] => {
                    let revision: u64 = revision.parse().unwrap();
                    assert!(revision > newest, "round {round}: {line:?}: {newest} was given out before");
                    acks += 1;
                    acknowledged.insert((*name).to_owned(), (count.parse().unwrap(), revision));
                }
                _ => {}
            }
            if !killed && acks > until {
                killed = true;
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(killed, "the writer ended by itself");
        let store = Store::open(dir.path()).unwrap();
        for (name, (count, revision)) in acknowledged {
            let found = store.get(&key(&name)).unwrap_or_else(|| panic!("round {round}: {name} is lost"));
            let value: i64 = found["data"]["value"].as_str().unwrap().parse().unwrap();
            // A later write may have reached the disk without having been acknowledged.
            assert!(value >= count, "round {round}: {name} is {value} and was acknowledged as {count}");
            assert!(store.revision() >= revision);
        }
        newest = store.revision();
        store.close().await;
    }
}
