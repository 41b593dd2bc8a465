//! The server is killed at random moments while others write, again and again on one data
//! directory, and has to have kept its word. `GWPROXY_TEST_CRASHES=200` asks for that many kills.

#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

#[path = "common/gateway.rs"]
mod common;

use std::{
    collections::BTreeMap,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::TryStreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, PostParams, WatchEvent, WatchParams},
};
use serde_json::json;
use tokio::sync::watch;

const CRASHES: &str = "GWPROXY_TEST_CRASHES";
const WRITERS: usize = 4;
const SOON: Duration = Duration::from_secs(60);

/// An object's content and revision.
type Version = (u64, u64);

/// What a writer knows of one object.
#[derive(Clone, Debug, Default)]
struct Known {
    acknowledged: Option<Version>,
    /// A write that was sent and not answered: content, or a deletion.
    open: Option<Option<u64>>,
}

type Names = BTreeMap<String, Known>;

fn random(below: u64) -> u64 {
    let (random, _) = uuid::Uuid::new_v4().as_u64_pair();
    random % below
}

/// A content of which no half can be taken for a whole.
fn content(name: &str, count: u64) -> ConfigMap {
    let payload = format!("{count},").repeat(usize::try_from(50 + count % 700).unwrap());
    let object = json!({"metadata": {"name": name}, "data": {"count": count.to_string(), "payload": payload}});
    serde_json::from_value(object).unwrap()
}

fn revision(object: &ConfigMap) -> u64 {
    object.metadata.resource_version.as_deref().unwrap().parse().unwrap()
}

fn version(object: &ConfigMap) -> Version {
    let count: u64 = object.data.as_ref().unwrap()["count"].parse().unwrap();
    let name = object.metadata.name.as_deref().unwrap();
    assert_eq!(object.data, content(name, count).data, "{name} is half of a write");
    (count, revision(object))
}

fn start(dir: &Path) -> Child {
    let kubeconfig = dir.join("data/kubeconfig");
    let _ = std::fs::remove_file(kubeconfig);
    let mut command = Command::new(env!("CARGO_BIN_EXE_gwproxy"));
    command.arg("local").arg("--data").arg(dir.join("data"));
    command.args(["--api", "127.0.0.1:0", "--metrics", "127.0.0.1:0", "--workers", "1"]);
    command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

async fn answering(dir: &Path) -> Client {
    let kubeconfig = dir.join("data/kubeconfig");
    for _ in 0..1200 {
        if kubeconfig.is_file() {
            let client = common::client(&kubeconfig).await;
            if client.apiserver_version().await.is_ok() {
                return client;
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("gwproxy local did not come up within 60 s");
}

fn maps(client: &Client) -> Api<ConfigMap> {
    Api::namespaced(client.clone(), "default")
}

/// The connection broke; an answer of the server would be a failure.
fn broken(error: &kube::Error) {
    assert!(!matches!(error, kube::Error::Api(_)), "the server refused a write: {error}");
}

/// Writes until the server is gone. Returns what it knows then, and every revision it was given.
async fn write(maps: Api<ConfigMap>, mut names: Names) -> (Names, Vec<(u64, String)>) {
    let mut given = Vec::new();
    let all: Vec<String> = names.keys().cloned().collect();
    let mut count = names.values().filter_map(|known| known.acknowledged).map(|(count, _)| count).max().unwrap_or(0);
    loop {
        let name = &all[usize::try_from(random(all.len() as u64)).unwrap()];
        let known = names.get_mut(name).unwrap();
        count += 1;
        let answer = match known.acknowledged {
            None => {
                known.open = Some(Some(count));
                maps.create(&PostParams::default(), &content(name, count)).await.map(Some)
            }
            Some(_) if random(4) == 0 => {
                known.open = Some(None);
                maps.delete(name, &DeleteParams::default()).await.map(|_| None)
            }
            Some(_) => {
                known.open = Some(Some(count));
                maps.replace(name, &PostParams::default(), &content(name, count)).await.map(Some)
            }
        };
        match answer {
            Ok(object) => {
                *known = Known { acknowledged: object.as_ref().map(version), open: None };
                given.extend(object.map(|object| (revision(&object), name.clone())));
            }
            Err(error) => {
                broken(&error);
                return (names, given);
            }
        }
    }
}

/// Makes owners with dependents and deletes them, until the server is gone.
async fn write_families(maps: Api<ConfigMap>, round: u64) {
    for at in 0.. {
        let family = async {
            let name = format!("owner-{round}-{at}");
            let owner = maps.create(&PostParams::default(), &content(&name, 0)).await?;
            for child in 0..3 {
                let mut child = content(&format!("{name}-{child}"), 0);
                let reference =
                    json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": owner.metadata.uid}]);
                child.metadata.owner_references = serde_json::from_value(reference).unwrap();
                maps.create(&PostParams::default(), &child).await?;
            }
            maps.delete(&name, &DeleteParams::default()).await
        };
        if let Err(error) = family.await {
            broken(&error);
            return;
        }
    }
}

/// What the watch has shown, over all restarts.
#[derive(Default)]
struct Seen {
    revision: u64,
    objects: BTreeMap<String, u64>,
    /// Every revision that a write was given, and the name of the object.
    writes: BTreeMap<u64, String>,
}

/// Watches from the first revision to the end of the test, on whichever server runs.
async fn follow(mut clients: watch::Receiver<Option<Client>>, seen: Arc<Mutex<Seen>>) {
    loop {
        let Ok(client) = clients.wait_for(Option::is_some).await.map(|client| client.clone().unwrap()) else { return };
        let from = seen.lock().unwrap().revision.to_string();
        let Ok(events) = maps(&client).watch(&WatchParams::default().timeout(290), &from).await else {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        let mut events = std::pin::pin!(events);
        while let Ok(Some(event)) = events.try_next().await {
            let mut seen = seen.lock().unwrap();
            let (object, gone) = match event {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => (object, false),
                WatchEvent::Deleted(object) => (object, true),
                WatchEvent::Bookmark(bookmark) => {
                    seen.revision = bookmark.metadata.resource_version.parse().unwrap();
                    continue;
                }
                WatchEvent::Error(status) => panic!("the watch did not go on from {from}: {status:?}"),
            };
            let (revision, name) = (revision(&object), object.metadata.name.unwrap());
            assert!(revision > seen.revision, "{name}: event {revision} after {}", seen.revision);
            seen.revision = revision;
            if gone {
                assert!(seen.objects.remove(&name).is_some(), "{name} went and was not there");
            } else {
                seen.objects.insert(name.clone(), revision);
                seen.writes.insert(revision, name);
            }
        }
    }
}

/// Compares what is there with what the writers know. Returns how many open writes had happened.
fn check(found: &BTreeMap<String, Version>, names: &mut Names) -> usize {
    let mut happened = 0;
    for (name, known) in names {
        let now = found.get(name).copied();
        let acknowledged = now == known.acknowledged;
        let open = known.open.is_some_and(|open| open == now.map(|(count, _)| count));
        assert!(acknowledged || open, "{name} is {now:?} and was {known:?}");
        happened += usize::from(open && !acknowledged);
        *known = Known { acknowledged: now, open: None };
    }
    happened
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment_it_keeps_its_word() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let crashes: u64 = std::env::var(CRASHES).ok().map_or(4, |count| count.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let mut writers: Vec<Names> =
        (0..WRITERS).map(|writer| (0..6).map(|at| (format!("w{writer}-{at}"), Known::default())).collect()).collect();
    let mut given: BTreeMap<u64, String> = BTreeMap::new();
    let (servers, clients) = watch::channel(None);
    let seen = Arc::new(Mutex::new(Seen::default()));
    let follower = tokio::spawn(follow(clients, seen.clone()));
    let (mut acknowledged, mut unanswered, mut early) = (0, 0, 0);
    for round in 0..=crashes {
        if round > 0 && random(8) == 0 {
            // Killed while it starts, too.
            let mut child = start(dir.path());
            tokio::time::sleep(Duration::from_millis(random(400))).await;
            child.kill().unwrap();
            child.wait().unwrap();
            early += 1;
        }
        let mut child = start(dir.path());
        let client = answering(dir.path()).await;
        let maps = maps(&client);
        let list = maps.list(&ListParams::default()).await.unwrap();
        let newest: u64 = list.metadata.resource_version.as_deref().unwrap().parse().unwrap();
        let given_before = given.last_key_value().map_or(0, |(revision, _)| *revision);
        assert!(newest >= given_before, "the store is at {newest} and had given {given_before}");
        let found: BTreeMap<String, Version> = list
            .items
            .iter()
            .filter(|object| object.data.is_some())
            .map(|object| (object.metadata.name.clone().unwrap(), version(object)))
            .collect();
        for names in &mut writers {
            unanswered += check(&found, names);
        }
        for name in found.keys().filter(|name| name.starts_with("owner-")) {
            let owner = name.splitn(4, '-').take(3).collect::<Vec<_>>().join("-");
            assert!(found.contains_key(&owner), "{name} outlived its owner");
        }
        servers.send_replace(Some(client.clone()));
        let state: BTreeMap<String, u64> =
            list.items.iter().map(|object| (object.metadata.name.clone().unwrap(), revision(object))).collect();
        let caught_up = tokio::time::timeout(SOON, async {
            while seen.lock().unwrap().objects != state {
                assert!(!follower.is_finished(), "the watch failed");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        assert!(caught_up.await.is_ok(), "the watch shows {:?} and the list {state:?}", seen.lock().unwrap().objects);
        {
            let seen = seen.lock().unwrap();
            for (revision, name) in &given {
                assert_eq!(seen.writes.get(revision), Some(name), "the watch missed an acknowledged write");
            }
        }
        if round == crashes {
            child.kill().unwrap();
            child.wait().unwrap();
            break;
        }
        let families = tokio::spawn(write_families(maps.clone(), round));
        let tasks: Vec<_> = writers.drain(..).map(|names| tokio::spawn(write(maps.clone(), names))).collect();
        tokio::time::sleep(Duration::from_millis(20 + random(480))).await;
        child.kill().unwrap();
        child.wait().unwrap();
        servers.send_replace(None);
        families.await.unwrap();
        for task in tasks {
            let (names, revisions) = task.await.unwrap();
            writers.push(names);
            acknowledged += revisions.len();
            for (revision, name) in revisions {
                assert!(revision > newest, "revision {revision} was given again");
                let twice = given.insert(revision, name);
                assert!(twice.is_none(), "revision {revision} was given twice");
            }
        }
    }
    follower.abort();
    println!(
        "{} kills ({early} of them at start), {acknowledged} acknowledged writes found, {unanswered} unanswered ones found whole",
        crashes + early
    );
    assert!(acknowledged > usize::try_from(crashes).unwrap() * 4, "{acknowledged} writes are too few to tell");
}
