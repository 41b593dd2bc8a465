use std::collections::BTreeMap;
use std::time::Duration;

use futures::{AsyncBufReadExt, StreamExt, TryStreamExt};
use kube::api::{DeleteParams, Patch as KubePatch, PatchParams, WatchEvent, WatchParams};
use kube::runtime::watcher::{self, Event as Seen, watcher};

use super::*;

const SOON: Duration = Duration::from_secs(20);

/// The first lines of a watch, as type and object.
async fn lines(home: &Home, query: &str, accept: &str, count: usize) -> Vec<(String, Value)> {
    let request = http::Request::get(format!("{ROUTES}?watch=true&{query}")).header("accept", accept);
    let lines = home.client.request_stream(request.body(Vec::new()).unwrap()).await.unwrap().lines();
    let read = lines.take(count).map_ok(|line| {
        let event: Value = serde_json::from_str(&line).unwrap();
        (event["type"].as_str().unwrap().to_owned(), event["object"].clone())
    });
    tokio::time::timeout(SOON, read.try_collect()).await.expect("events in time").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_that_reconnects_loses_and_doubles_nothing() {
    let home = Home::start().await;
    let from = home.api.store.revision();
    let routes = home.routes();
    let writer = {
        let routes = routes.clone();
        tokio::spawn(async move {
            for index in 0..60 {
                let name = format!("r{}", index % 5);
                let _ = routes.create(&PostParams::default(), &route(&name, json!({}))).await;
                let patch = KubePatch::Merge(json!({"metadata": {"annotations": {"n": index.to_string()}}}));
                routes.patch(&name, &PatchParams::default(), &patch).await.unwrap();
                if index % 7 == 6 {
                    routes.delete(&name, &DeleteParams::default()).await.unwrap();
                }
            }
        })
    };
    let mut revision = from;
    let mut seen: Vec<u64> = Vec::new();
    let mut held: BTreeMap<String, Value> = BTreeMap::new();
    let mut done = false;
    while !done || revision < home.api.store.revision() {
        done = writer.is_finished();
        let params = WatchParams::default().timeout(1).disable_bookmarks();
        let mut events = routes.watch(&params, &revision.to_string()).await.unwrap().boxed();
        // Broken off after three events each: the next connection goes on from there.
        for _ in 0..3 {
            let Some(event) = events.next().await else { break };
            let (object, gone) = match event.unwrap() {
                WatchEvent::Added(object) => {
                    assert!(!held.contains_key(object.metadata.name.as_ref().unwrap()));
                    (object, false)
                }
                WatchEvent::Modified(object) => {
                    assert!(held.contains_key(object.metadata.name.as_ref().unwrap()));
                    (object, false)
                }
                WatchEvent::Deleted(object) => (object, true),
                other => panic!("{other:?}"),
            };
            revision = object.metadata.resource_version.as_ref().unwrap().parse().unwrap();
            seen.push(revision);
            let name = object.metadata.name.clone().unwrap();
            if gone {
                held.remove(&name)
            } else {
                held.insert(name, json!(object.metadata.annotations))
            };
        }
    }
    writer.await.unwrap();
    assert_eq!(seen, (from + 1..=home.api.store.revision()).collect::<Vec<_>>());
    let now = routes.list(&Default::default()).await.unwrap();
    let now = now.items.into_iter().map(|o| (o.metadata.name.unwrap(), json!(o.metadata.annotations))).collect();
    assert_eq!(held, now);
}

#[tokio::test(flavor = "multi_thread")]
async fn kube_watchers_follow_by_list_and_by_stream() {
    let home = Home::start().await;
    home.create_route("a", json!({})).await;
    for config in [watcher::Config::default(), watcher::Config::default().streaming_lists()] {
        let mut events = watcher(home.routes(), config).boxed();
        let mut next = async || tokio::time::timeout(SOON, events.next()).await.expect("in time").unwrap().unwrap();
        assert!(matches!(next().await, Seen::Init));
        assert!(matches!(next().await, Seen::InitApply(object) if object.metadata.name.as_deref() == Some("a")));
        assert!(matches!(next().await, Seen::InitDone));
        home.create_route("b", json!({})).await;
        assert!(matches!(next().await, Seen::Apply(object) if object.metadata.name.as_deref() == Some("b")));
        home.routes().delete("b", &DeleteParams::default()).await.unwrap();
        assert!(matches!(next().await, Seen::Delete(object) if object.metadata.name.as_deref() == Some("b")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_come_and_go_with_the_selector() {
    let home = Home::start().await;
    let from = home.api.store.revision();
    home.create_route("a", json!({"on": "no"})).await;
    for on in ["yes", "yes2", "no"] {
        let patch = KubePatch::Merge(json!({"metadata": {"labels": {"on": on}}}));
        home.routes().patch("a", &PatchParams::default(), &patch).await.unwrap();
    }
    let query = format!("resourceVersion={from}&labelSelector=on+in+(yes,yes2)");
    let seen = lines(&home, &query, "application/json", 3).await;
    let names: Vec<&str> = seen.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["ADDED", "MODIFIED", "DELETED"]);
    assert_eq!(seen[2].1["metadata"]["labels"]["on"], "yes2", "the last state that was selected");
}

#[tokio::test(flavor = "multi_thread")]
async fn streaming_lists_end_with_their_bookmark_and_tables_name_columns_once() {
    let home = Home::start().await;
    home.create_route("a", json!({})).await;
    home.create_route("b", json!({})).await;
    let query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let seen = lines(&home, query, "application/json", 3).await;
    assert_eq!((seen[0].0.as_str(), seen[2].0.as_str()), ("ADDED", "BOOKMARK"));
    assert_eq!(seen[2].1["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
    let seen = lines(&home, "", table, 2).await;
    let columns = |index: usize| seen[index].1["columnDefinitions"].as_array().unwrap().len();
    assert_eq!((columns(0), columns(1)), (3, 0));
    assert_eq!(seen[0].1["rows"][0]["cells"][1], "[\"a.example\"]");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_from_before_a_restart_goes_on() {
    let home = Home::start().await;
    let first = home.create_route("a", json!({})).await;
    home.create_route("b", json!({})).await;
    let home = home.restart().await;
    let query = format!("resourceVersion={}", first.metadata.resource_version.unwrap());
    let seen = lines(&home, &query, "application/json", 1).await;
    assert_eq!((seen[0].0.as_str(), &seen[0].1["metadata"]["name"]), ("ADDED", &json!("b")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revision_that_is_gone_is_told_as_expired() {
    let dir = tempfile::tempdir().unwrap();
    let bounds = store::Bounds { events: 0, ..store::Bounds::default() };
    let store = Store::open_within(&dir.path().join("data"), bounds).unwrap();
    for name in ["a", "b", "c"] {
        let object = json!({"metadata": {"name": name}});
        store.update(Key::new("", "namespaces", "", name), |_| Ok(Some(object))).await.unwrap();
    }
    store.close().await;
    let home = Home::start_in(dir).await;
    let seen = lines(&home, "resourceVersion=1", "application/json", 1).await;
    assert_eq!(seen[0].1["message"], "too old resource version: 1 (2)");
    assert_eq!(
        (seen[0].0.as_str(), &seen[0].1["code"], &seen[0].1["reason"]),
        ("ERROR", &json!(410), &json!("Expired"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_ends_watches_at_once() {
    let home = Home::start().await;
    let params = WatchParams::default();
    let mut events = home.routes().watch(&params, "0").await.unwrap().boxed();
    let stopped = tokio::time::timeout(Duration::from_secs(4), home.api.stop());
    stopped.await.expect("open watches do not hold the server up");
    assert!(events.next().await.is_none_or(|event| event.is_err()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_that_does_not_read_is_told_so_and_holds_nobody_up() {
    let home = Home::start().await;
    home.create_route("a", json!({})).await;
    let from = home.api.store.revision();
    let params = WatchParams::default();
    let mut stuck = home.routes().watch(&params, &from.to_string()).await.unwrap().boxed();
    // More than the ring keeps: 64 MiB in objects of 1 MiB, past what the sockets buffer.
    for index in 0..90 {
        let key = Key::new("gateway.networking.k8s.io", "httproutes", "default", "big");
        let filler = "x".repeat(1 << 20);
        let object = json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
            "metadata": {"name": "big", "namespace": "default"}, "spec": {"n": index, "filler": filler},
        });
        home.api.store.update(key, move |_| Ok(Some(object))).await.unwrap();
    }
    assert!(home.routes().get("a").await.is_ok());
    let mut last = None;
    while let Some(Ok(event)) = tokio::time::timeout(SOON, stuck.next()).await.expect("an end in time") {
        last = Some(event);
    }
    assert!(matches!(last, Some(WatchEvent::Error(status)) if status.code == 410));
}
