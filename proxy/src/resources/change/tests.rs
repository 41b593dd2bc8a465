use serde_json::json;

use super::*;

fn route(name: &str, version: &str, weight: u32) -> Arc<HttpRoute> {
    Arc::new(
        serde_json::from_value(json!({
            "metadata": { "namespace": "shop", "name": name, "uid": name, "resourceVersion": version, "generation": weight },
            "spec": { "rules": [{ "backendRefs": [{ "name": "v1", "port": 80, "weight": weight }] }] },
        }))
        .unwrap(),
    )
}

fn replace(objects: Vec<Arc<HttpRoute>>) -> Change {
    Change::HttpRoute(Op::Replace { objects, unreadable: Vec::new() })
}

#[test]
fn a_list_replaces_the_kind_at_once_and_tells_how_far_it_reaches() {
    let mut set = Set::default();
    assert_eq!(set.fold(replace(vec![route("a", "1", 1), route("b", "2", 1)])), Effect::Config);
    // The same list after a lost watch means nothing.
    assert_eq!(set.fold(replace(vec![route("a", "1", 1), route("b", "2", 1)])), Effect::None);
    assert_eq!(set.fold(replace(vec![route("a", "1", 1), route("b", "9", 1)])), Effect::Status);
    assert_eq!(set.fold(replace(vec![route("b", "9", 1)])), Effect::Config);
    assert_eq!(set.http_routes.len(), 1);
}

#[test]
fn a_status_write_is_not_a_change_of_configuration() {
    let mut set = Set::default();
    set.fold(replace(vec![route("a", "1", 1)]));
    assert_eq!(set.fold(Change::HttpRoute(Op::Apply(route("a", "2", 1)))), Effect::Status);
    assert_eq!(set.fold(Change::HttpRoute(Op::Apply(route("a", "3", 5)))), Effect::Config);
    let kept = set.http_routes.values().next().unwrap();
    assert_eq!(kept.metadata.resource_version.as_deref(), Some("3"), "the newest version is the one to write against");
}

#[test]
fn an_unreadable_object_keeps_its_last_readable_state() {
    let mut set = Set::default();
    set.fold(replace(vec![route("a", "1", 1)]));
    let broken = Change::HttpRoute(Op::Replace { objects: Vec::new(), unreadable: vec![Key::new("shop", "a")] });
    assert_eq!(set.fold(broken), Effect::None);
    assert!(set.http_routes.contains_key(&Key::new("shop", "a")));
}

#[test]
fn deleting_and_missing() {
    let mut set = Set::default();
    set.fold(replace(vec![route("a", "1", 1)]));
    assert_eq!(set.fold(Change::HttpRoute(Op::Missing)), Effect::None);
    assert_eq!(set.http_routes.len(), 1, "an API that stops serving the kind takes no route away");
    assert_eq!(set.fold(Change::HttpRoute(Op::Delete(Key::new("shop", "a")))), Effect::Config);
    assert_eq!(set.fold(Change::HttpRoute(Op::Delete(Key::new("shop", "a")))), Effect::None);
}
