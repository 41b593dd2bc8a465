use serde_json::json;

use super::*;

fn gateway(name: &str, infrastructure: serde_json::Value) -> (Key, Gateway) {
    let gateway: Gateway = serde_json::from_value(json!({
        "metadata": { "namespace": "infra", "name": name, "uid": "u-1" },
        "spec": { "gatewayClassName": "gwproxy", "listeners": [], "infrastructure": infrastructure },
    }))
    .unwrap();
    (Key::new("infra", name), gateway)
}

#[test]
fn labels_and_annotations_are_on_it_and_whose_it_is() {
    let (key, edge) = gateway("edge", json!({ "labels": { "team": "a" }, "annotations": { "note": "x" } }));
    let account = account(&key, &edge).unwrap();
    let metadata = &account.metadata;
    assert_eq!(metadata.name.as_deref(), Some("gwproxy-edge"));
    let labels = metadata.labels.as_ref().unwrap();
    assert_eq!((&*labels["team"], &*labels[GATEWAY_NAME], &*labels[MANAGED_BY]), ("a", "edge", "gwproxy"));
    assert_eq!(metadata.annotations.as_ref().unwrap()["note"], "x");
    assert_eq!(metadata.owner_references.as_ref().unwrap()[0].uid, "u-1");
    let (key, plain) = gateway("plain", json!({}));
    assert!(super::account(&key, &plain).is_none(), "nothing to tell, nothing made");
}

#[test]
fn the_longest_names_still_fit_and_differ() {
    let long = |last: char| format!("{}{last}", "n".repeat(NAME_MOST - 1));
    let of = |last| {
        let (key, gateway) = gateway(&long(last), json!({ "labels": { "a": "b" } }));
        account(&key, &gateway).unwrap().metadata
    };
    let (a, b) = (of('a'), of('b'));
    for metadata in [&a, &b] {
        assert!(metadata.name.as_ref().unwrap().len() <= NAME_MOST);
        assert!(metadata.labels.as_ref().unwrap()[GATEWAY_NAME].len() <= LABEL_MOST);
    }
    assert_ne!(a.name, b.name);
    assert_ne!(a.labels, b.labels);
    assert_eq!(fitted("short", 63), "short");
    assert_eq!(fitted(&"a".repeat(70), 63), fitted(&"a".repeat(70), 63));
}
