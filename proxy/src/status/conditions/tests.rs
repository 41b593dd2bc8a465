use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::{
    compile::ParentVerdict,
    types::{HttpRoute, refs::ParentRef},
};

const US: &str = "gwtop.dev/gwproxy";

fn at(time: &str) -> Time {
    Time(time.parse().unwrap())
}

fn says(type_: &'static str, status: bool, reason: &'static str) -> Verdict {
    Verdict { type_, status, reason, message: reason.to_owned() }
}

fn parent(name: &str) -> ParentRef {
    serde_json::from_value(json!({ "name": name })).unwrap()
}

fn verdict(generation: i64, parents: &[(&str, bool)]) -> Desired {
    let parents = parents.iter().map(|(name, accepted)| ParentVerdict {
        parent: parent(name),
        conditions: vec![says(condition::ACCEPTED, *accepted, reason::ACCEPTED)],
    });
    Desired::Route(Arc::new(RouteVerdict { generation, parents: parents.collect() }))
}

fn route(status: &Value) -> HttpRoute {
    serde_json::from_value(json!({
        "metadata": { "namespace": "shop", "name": "checkout", "resourceVersion": "7" },
        "spec": {},
        "status": status,
    }))
    .unwrap()
}

/// What the API would hold after the patch.
fn patched(route_before: &HttpRoute, patch: &Value) -> HttpRoute {
    let mut object = json!(route_before);
    json_patch::merge(&mut object, patch);
    serde_json::from_value(object).unwrap()
}

fn write(route: &HttpRoute, desired: &Desired, now: &str) -> Option<Value> {
    patch(desired, &Current::from(RouteView::from(route)), US, &at(now))
}

#[test]
fn the_second_time_there_is_nothing_to_write() {
    let before = route(&json!(null));
    let desired = verdict(3, &[("edge", true)]);
    let first = write(&before, &desired, "2026-01-01T00:00:00Z").unwrap();
    assert_eq!(first["metadata"]["resourceVersion"], "7");
    let after = patched(&before, &first);
    assert_eq!(write(&after, &desired, "2026-01-02T00:00:00Z"), None);
}

#[test]
fn the_time_moves_only_with_the_status() {
    let before = route(&json!(null));
    let first = patched(&before, &write(&before, &verdict(1, &[("edge", true)]), "2026-01-01T00:00:00Z").unwrap());
    let second = patched(&first, &write(&first, &verdict(2, &[("edge", true)]), "2026-01-02T00:00:00Z").unwrap());
    let condition = |route: &HttpRoute| route.status.as_ref().unwrap().parents[0].conditions[0].clone();
    assert_eq!(condition(&second).observed_generation, Some(2));
    assert_eq!(condition(&second).last_transition_time, at("2026-01-01T00:00:00Z"));
    let third = patched(&second, &write(&second, &verdict(2, &[("edge", false)]), "2026-01-03T00:00:00Z").unwrap());
    assert_eq!(condition(&third).last_transition_time, at("2026-01-03T00:00:00Z"));
}

#[test]
fn other_controllers_keep_their_entries_and_ours_go_with_their_parents() {
    let theirs = json!({
        "parentRef": { "group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "edge" },
        "controllerName": "example.com/other",
        "conditions": [{
            "type": "Accepted", "status": "False", "reason": "NotAllowedByListeners", "message": "no",
            "observedGeneration": 1, "lastTransitionTime": "2025-01-01T00:00:00Z",
        }],
    });
    let mut ours = theirs.clone();
    ours["controllerName"] = json!(US);
    let mut stale = ours.clone();
    stale["parentRef"]["name"] = json!("gone");
    let before = route(&json!({ "parents": [stale, theirs, ours] }));
    let written = write(&before, &verdict(1, &[("edge", true), ("inner", true)]), "2026-01-01T00:00:00Z").unwrap();
    let parents = written["status"]["parents"].as_array().unwrap();
    let who: Vec<_> =
        parents.iter().map(|entry| (entry["controllerName"].as_str().unwrap(), &entry["parentRef"]["name"])).collect();
    assert_eq!(who, [("example.com/other", &json!("edge")), (US, &json!("edge")), (US, &json!("inner"))]);
    assert_eq!(parents[0], theirs);
}

#[test]
fn a_route_that_left_us_is_cleaned_and_a_foreign_one_is_left_alone() {
    let entry = |controller: &str| json!({ "parents": [{ "parentRef": { "name": "edge" }, "controllerName": controller, "conditions": [] }] });
    let mut set = Set::default();
    for (name, controller) in [("left", US), ("foreign", "example.com/other")] {
        let mut object = route(&entry(controller));
        object.metadata.name = Some(name.to_owned());
        set.http_routes.insert(object.key(), Arc::new(object));
    }
    let desired = desired(&set, &Verdicts::default(), &BindFailures::new(), US);
    assert_eq!(desired.len(), 1);
    let target = Target::Route(Kind::HttpRoute, Key::new("shop", "left"));
    let patch =
        patch(&desired[&target], &Current::of(&set, &target).unwrap(), US, &at("2026-01-01T00:00:00Z")).unwrap();
    assert_eq!(patch["status"]["parents"], json!([]));
}

fn socket(text: &str) -> Socket {
    text.parse::<std::net::SocketAddr>().unwrap().into()
}

fn listener(name: &str, binds: &[&str]) -> ListenerVerdict {
    ListenerVerdict {
        name: name.to_owned(),
        supported_kinds: Vec::new(),
        attached_routes: 1,
        conditions: vec![
            says(condition::ACCEPTED, true, reason::ACCEPTED),
            says(condition::PROGRAMMED, true, reason::PROGRAMMED),
        ],
        binds: binds.iter().map(|bind| socket(bind)).collect(),
    }
}

fn gateway(listeners: Vec<ListenerVerdict>) -> GatewayVerdict {
    GatewayVerdict {
        generation: 1,
        addresses: vec!["127.0.64.1".parse().unwrap(), "192.0.2.1".parse().unwrap()],
        conditions: vec![
            says(condition::ACCEPTED, true, reason::ACCEPTED),
            says(condition::PROGRAMMED, true, reason::PROGRAMMED),
        ],
        listeners,
        attached_listener_sets: None,
    }
}

fn summary(conditions: &[Verdict]) -> Vec<(&str, bool, &str)> {
    conditions.iter().map(|condition| (condition.type_, condition.status, condition.reason)).collect()
}

fn failures(of: &[(&str, BindFailure)]) -> BindFailures {
    of.iter().map(|(socket, failure)| (self::socket(socket), failure.clone())).collect()
}

#[test]
fn a_port_in_use_is_the_listeners_problem_while_another_serves() {
    let in_use = BindFailure::Unavailable("address already in use".to_owned());
    let verdict = gateway(vec![listener("a", &["127.0.64.1:80"]), listener("b", &["127.0.64.1:81"])]);
    let one = with_sockets(verdict.clone(), &failures(&[("127.0.64.1:80", in_use.clone())]));
    assert_eq!(
        summary(&one.listeners[0].conditions),
        [("Accepted", false, "PortUnavailable"), ("Programmed", false, "Invalid")]
    );
    assert_eq!(summary(&one.listeners[1].conditions), summary(&verdict.listeners[1].conditions));
    assert_eq!(summary(&one.conditions), [("Accepted", true, "ListenersNotValid"), ("Programmed", true, "Programmed")]);

    let both = with_sockets(verdict, &failures(&[("127.0.64.1:80", in_use.clone()), ("127.0.64.1:81", in_use)]));
    assert_eq!(summary(&both.conditions), [("Accepted", false, "ListenersNotValid"), ("Programmed", false, "Invalid")]);
}

#[test]
fn an_address_that_the_host_lacks_is_not_published() {
    let verdict = gateway(vec![listener("a", &["127.0.64.1:80", "192.0.2.1:80"])]);
    let joined = with_sockets(verdict, &failures(&[("192.0.2.1:80", BindFailure::NotLocal)]));
    assert_eq!(joined.addresses, ["127.0.64.1".parse::<std::net::IpAddr>().unwrap()]);
    assert_eq!(
        summary(&joined.conditions),
        [("Accepted", true, "Accepted"), ("Programmed", false, "AddressNotUsable")]
    );
    assert_eq!(summary(&joined.listeners[0].conditions)[1], ("Programmed", false, "Invalid"));
}

#[test]
fn a_gateway_without_addresses_says_so() {
    let before: Gateway = serde_json::from_value(json!({
        "metadata": { "name": "edge" },
        "spec": { "gatewayClassName": "gwproxy" },
        "status": { "addresses": [{ "value": "127.0.64.9" }], "listeners": [], "conditions": [] },
    }))
    .unwrap();
    let nothing = GatewayVerdict { addresses: Vec::new(), ..gateway(Vec::new()) };
    let current = Current::Gateway(Arc::new(before));
    let patch = patch(&Desired::Gateway(nothing), &current, US, &at("2026-01-01T00:00:00Z")).unwrap();
    assert_eq!(patch["status"]["addresses"], json!([]));
}

#[test]
fn conditions_of_others_stay_and_ours_without_a_verdict_go() {
    let of = |type_: &str| Condition {
        type_: type_.to_owned(),
        status: "Unknown".to_owned(),
        reason: "Pending".to_owned(),
        message: String::new(),
        observed_generation: None,
        last_transition_time: at("1970-01-01T00:00:00Z"),
    };
    let old = [of("Conflicted"), of("example.com/Certified"), of("Accepted")];
    let new = merged(&[says(condition::ACCEPTED, true, reason::ACCEPTED)], &old, 2, &at("2026-01-01T00:00:00Z"));
    assert_eq!(
        new.iter().map(|condition| condition.type_.as_str()).collect::<Vec<_>>(),
        ["example.com/Certified", "Accepted"]
    );
    assert_eq!(new[1].last_transition_time, at("2026-01-01T00:00:00Z"));
}

#[test]
fn a_message_never_gets_a_status_refused() {
    let long = "é".repeat(MESSAGE_MAX);
    let short = shortened(&long);
    assert!(short.len() <= MESSAGE_MAX && short.ends_with('…'));
}
