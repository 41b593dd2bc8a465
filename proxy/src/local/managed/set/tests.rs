use proptest::prelude::*;
use serde_json::json;

use super::*;

fn set(fields: Value) -> Set {
    Set::from_json(&fields).unwrap()
}

#[test]
fn fields_are_written_as_they_are_read() {
    let fields = json!({
        "f:metadata": {"f:labels": {".": {}, "f:a/b": {}}, "f:finalizers": {"v:\"x/y\"": {}}},
        "f:spec": {"f:ports": {"k:{\"port\":80,\"protocol\":\"TCP\"}": {".": {}, "f:name": {}}}, "f:list": {"i:1": {}}},
    });
    assert_eq!(set(fields.clone()).to_json(), fields);
    // Equal keys are one, however they are written.
    let other = json!({"k:{ \"protocol\": \"TCP\", \"port\": 80.0 }": {}});
    assert_eq!(set(other).to_json(), json!({"k:{\"port\":80,\"protocol\":\"TCP\"}": {}}));
    assert_eq!(set(json!({"x:from the future": {}})), Set::default());
    for broken in [json!({"colon": {}}), json!({"k:x": {}}), json!({"k:1": {}}), json!({"v:": {}}), json!({"f:a": 1})] {
        assert!(Set::from_json(&broken).is_err(), "{broken}");
    }
}

#[test]
fn paths_are_shown_as_a_conflict_shows_them() {
    let fields = json!({
        "f:data": {"f:a.b": {}},
        "f:spec": {"f:ports": {"k:{\"port\":80,\"protocol\":\"TCP\"}": {".": {}, "f:name": {}}}, "f:set": {"v:\"x\"": {}}},
    });
    let shown: Vec<String> = set(fields).paths().iter().map(|path| super::shown(path)).collect();
    let wanted = [
        ".data.a.b",
        ".spec.ports[port=80,protocol=\"TCP\"]",
        ".spec.ports[port=80,protocol=\"TCP\"].name",
        ".spec.set[=\"x\"]",
    ];
    assert_eq!(shown, wanted);
}

#[test]
fn difference_leaves_what_is_below_and_outside_does_not() {
    let (all, some) = (set(json!({"f:a": {".": {}, "f:b": {}}, "f:c": {}})), set(json!({"f:a": {}})));
    assert_eq!(all.difference(&some), set(json!({"f:a": {"f:b": {}}, "f:c": {}})));
    assert_eq!(all.outside(&some), set(json!({"f:c": {}})));
}

fn element() -> impl Strategy<Value = Element> {
    prop_oneof![
        "[ab]".prop_map(|name| Element::field(&name)),
        (0..2).prop_map(|value| Element::value(&json!(value))),
        (0..2).prop_map(|value| Element::key(&BTreeMap::from([("k", json!(value))]))),
    ]
}

pub(in crate::local::managed) fn sets() -> impl Strategy<Value = Set> {
    prop::collection::vec(prop::collection::vec(element(), 1..4), 0..8).prop_map(|paths| {
        let mut set = Set::default();
        paths.iter().for_each(|path| set.insert(path));
        set
    })
}

proptest! {
    #[test]
    fn written_sets_are_read_back(a in sets()) {
        prop_assert_eq!(Set::from_json(&a.to_json()).unwrap(), a);
    }

    #[test]
    fn sets_are_sets(a in sets(), b in sets(), c in sets()) {
        prop_assert_eq!(a.union(&b), b.union(&a));
        prop_assert_eq!(a.intersection(&b), b.intersection(&a));
        prop_assert_eq!(a.union(&b).union(&c), a.union(&b.union(&c)));
        prop_assert_eq!(a.intersection(&b.union(&c)), a.intersection(&b).union(&a.intersection(&c)));
        prop_assert_eq!(&a.difference(&b).union(&a.intersection(&b)), &a);
        prop_assert!(a.difference(&b).intersection(&b).is_empty());
        prop_assert_eq!(a.difference(&b.union(&c)), a.difference(&b).difference(&c));
        prop_assert!(a.difference(&a).is_empty() && a.outside(&a).is_empty());
        prop_assert_eq!(a.outside(&b).difference(&b), a.outside(&b));
        let paths = a.paths();
        let mut again = Set::default();
        paths.iter().for_each(|path| again.insert(path));
        prop_assert_eq!(again, a);
    }
}
