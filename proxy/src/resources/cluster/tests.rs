use serde_json::json;

use super::*;
use crate::types::HttpRoute;

#[test]
fn an_unreadable_object_is_a_problem_of_that_object() {
    let list: Vec<Lenient<HttpRoute>> = serde_json::from_value(json!([
        { "metadata": { "namespace": "shop", "name": "good" }, "spec": { "rules": [] } },
        { "metadata": { "namespace": "shop", "name": "bad" }, "spec": { "rules": "none" } },
    ]))
    .unwrap();
    let mut initial = Initial::default();
    for object in list {
        initial.add(Kind::HttpRoute, object);
    }
    assert_eq!(initial.objects.len(), 1);
    assert_eq!(initial.unreadable, [Key::new("shop", "bad")]);
}

#[test]
fn what_nobody_reads_is_not_kept() {
    let object: Lenient<HttpRoute> = serde_json::from_value(json!({
        "metadata": {
            "name": "a",
            "managedFields": [{ "manager": "kubectl" }],
            "annotations": { "kubectl.kubernetes.io/last-applied-configuration": "{}", "kept": "yes" },
        },
        "spec": {},
    }))
    .unwrap();
    let metadata = &object.object.unwrap().metadata;
    assert_eq!(metadata.managed_fields, None);
    assert_eq!(metadata.annotations.as_ref().unwrap().keys().collect::<Vec<_>>(), ["kept"]);
}

#[test]
fn errors_that_pass_and_errors_that_do_not() {
    let of = |code: u16| {
        let mut status = kube::core::Status::failure("no", "Reason");
        status.code = code;
        judge(&watcher::Error::WatchError(Box::new(status)))
    };
    assert!(matches!(of(404), Some(Ended::NotServed)));
    assert!(matches!(of(403), Some(Ended::Refused(_))));
    assert!(matches!(of(422), Some(Ended::NotUnderstood(_))));
    assert!(of(410).is_none());
    assert!(of(503).is_none());
}

#[test]
fn every_kind_has_to_be_known_before_the_first_table() {
    let mut synced = Synced::default();
    for kind in Kind::ALL {
        assert!(!synced.complete());
        synced.saw(kind);
    }
    assert!(synced.complete());
}
