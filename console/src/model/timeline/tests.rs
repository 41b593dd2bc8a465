use serde_json::json;

use super::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_767_225_600 + seconds).expect("a time")
}

fn route(generation: i64, weight: u64, status: &str, reason: &str) -> Object {
    Object::from(json!({
        "metadata": {"name": "app", "namespace": "shop", "generation": generation},
        "spec": {"rules": [{"backendRefs": [{"name": "a", "weight": 100 - weight}, {"name": "b", "weight": weight}]}]},
        "status": {"parents": [{"parentRef": {"name": "edge"}, "conditions": [
            {"type": "ResolvedRefs", "status": status, "reason": reason, "message": "no Service b",
             "lastTransitionTime": at(-60).to_string()}]}]},
    }))
}

fn slice(ready: usize) -> Object {
    let endpoints = vec![json!({"addresses": ["10.0.0.1"], "conditions": {"ready": true}}); ready];
    Object::from(
        json!({"metadata": {"name": "b-1", "namespace": "shop", "labels": {"kubernetes.io/service-name": "b"}},
        "endpoints": endpoints}),
    )
}

fn told(changes: Vec<Change>) -> Vec<(Option<Health>, String)> {
    let (mut store, mut line) = (Store::default(), Timeline::default());
    for (second, change) in (0..).zip(changes) {
        line.heed(&store, &change, at(second));
        store.apply(change);
    }
    line.moments().map(|moment| (moment.health, moment.text.clone())).collect()
}

#[test]
fn what_turned_before_the_first_list_is_recalled_and_later_turns_are_told() {
    let told = told(vec![
        Change::Replace(Kind::HttpRoute, vec![route(1, 5, "True", "ResolvedRefs")]),
        Change::Apply(Kind::HttpRoute, route(1, 5, "True", "ResolvedRefs")),
        Change::Apply(Kind::HttpRoute, route(2, 10, "True", "ResolvedRefs")),
        Change::Apply(Kind::HttpRoute, route(2, 10, "False", "BackendNotFound")),
        Change::Delete(ObjectKey::new(Kind::HttpRoute, "shop", "app")),
    ]);
    let expected = [
        (Some(Health::Ok), "ResolvedRefs=True on edge"),
        (None, "weights: a 95 to 90, b 5 to 10"),
        (Some(Health::Degraded), "ResolvedRefs=False BackendNotFound on edge, was True: no Service b"),
        (None, "deleted"),
    ];
    assert_eq!(told, expected.map(|(health, text)| (health, text.to_owned())));
}

#[test]
fn a_change_of_any_spec_names_its_fields() {
    let service = |port: u16| {
        Object::from(json!({"metadata": {"name": "a", "namespace": "shop", "resourceVersion": port.to_string()},
        "spec": {"ports": [{"name": "http", "port": port}], "selector": {"app": "a"}}}))
    };
    let told = told(vec![
        Change::Replace(Kind::Service, vec![service(8080)]),
        Change::Apply(Kind::Service, service(80)),
        Change::Apply(Kind::Service, service(80)),
    ]);
    assert_eq!(told, [(None, "spec.ports[0].port 8080 to 80".to_owned())]);
}

#[test]
fn a_relist_tells_what_happened_meanwhile() {
    let told = told(vec![
        Change::Replace(Kind::EndpointSlice, vec![slice(2)]),
        Change::Lost(Kind::EndpointSlice, "refused".to_owned()),
        Change::Replace(Kind::EndpointSlice, vec![slice(2)]),
        Change::Replace(Kind::EndpointSlice, vec![slice(0)]),
        Change::Replace(Kind::EndpointSlice, vec![]),
    ]);
    let texts: Vec<_> = told.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(texts, ["the watch of endpointslices broke: refused", "ready endpoints in b-1: 2 to 0"]);
    assert_eq!(told[1].0, Some(Health::Broken));
}

#[test]
fn the_oldest_go_and_the_others_keep_their_numbers() {
    let mut line = Timeline::default();
    for number in 0..MOST + 10 {
        line.tell(at(0), None, Some(Health::Ok), number.to_string());
    }
    assert_eq!(line.moments().len(), MOST);
    assert_eq!(line.find(9), None);
    assert_eq!(line.find(10).map(|moment| moment.text.as_str()), Some("10"));
}
