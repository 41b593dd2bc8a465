use proptest::prelude::*;
use serde_json::{Value, json};

use super::three_way;

#[test]
fn weights_patched_live_survive_an_edit_elsewhere() {
    let file = |header: &str, v1: u32| {
        json!({ "spec": { "rules": [{
            "filters": [{ "type": "RequestHeaderModifier", "requestHeaderModifier": { "set": [{ "name": "x", "value": header }] } }],
            "backendRefs": [{ "name": "v1", "weight": v1 }, { "name": "v2", "weight": 100 - v1 }],
        }] } })
    };
    let mut live = file("a", 95);
    live["metadata"] = json!({ "resourceVersion": "7" });
    live["spec"]["rules"][0]["backendRefs"][0]["weight"] = json!(70);
    live["spec"]["rules"][0]["backendRefs"][1]["weight"] = json!(30);

    let merged = three_way(&file("a", 95), &file("b", 95), &live);
    let mut expected = live.clone();
    expected["spec"]["rules"][0]["filters"] = file("b", 95)["spec"]["rules"][0]["filters"].clone();
    assert_eq!(merged, expected);

    let merged = three_way(&file("a", 95), &file("a", 50), &live);
    assert_eq!(merged["spec"], file("a", 50)["spec"], "a weight that the file changed is the file's");
}

#[test]
fn lists_pair_by_name_or_are_replaced() {
    let merge = |last: Value, new: Value, live: Value| three_way(&last, &new, &live);
    assert_eq!(
        merge(
            json!([{ "name": "a", "w": 1 }, { "name": "b", "w": 1 }]),
            json!([{ "name": "b", "w": 1, "p": 2 }, { "name": "a", "w": 1 }]),
            json!([{ "name": "a", "w": 7 }, { "name": "b", "w": 3 }]),
        ),
        json!([{ "name": "b", "w": 3, "p": 2 }, { "name": "a", "w": 7 }]),
        "reordered entries keep what is theirs"
    );
    for (last, new, live) in [
        (json!([{ "name": "a" }]), json!([{ "name": "b" }]), json!([{ "name": "a", "w": 7 }])),
        (json!([1]), json!([1, 2]), json!([3])),
        (json!([1]), json!([2]), json!([1, 3])),
        (Value::Null, json!([{ "w": 1 }]), json!([{ "w": 2 }])),
    ] {
        assert_eq!(three_way(&last, &new, &live), new);
    }
}

#[test]
fn what_the_file_drops_is_removed_and_nothing_else() {
    let last = json!({ "labels": { "a": "1", "b": "2" } });
    let new = json!({ "labels": { "a": "1" } });
    let live = json!({ "labels": { "a": "x", "b": "2", "c": "3" }, "status": 1 });
    assert_eq!(three_way(&last, &new, &live), json!({ "labels": { "a": "x", "c": "3" }, "status": 1 }));
}

fn tree() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::from),
        (0..4u8).prop_map(Value::from),
        "[ab]{1,2}".prop_map(Value::from)
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map("[abc]|name", inner, 0..4).prop_map(|fields| fields.into_iter().collect()),
        ]
    })
}

/// Every path to a leaf of an object, lists being leaves.
fn leaves(value: &Value, path: &str, out: &mut Vec<(String, Value)>) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (key, inner) in fields {
                leaves(inner, &format!("{path}/{key}"), out);
            }
        }
        other => out.push((path.to_owned(), other.clone())),
    }
}

proptest! {
    #[test]
    fn merging_twice_changes_nothing_more(last in tree(), new in tree(), live in tree()) {
        let once = three_way(&last, &new, &live);
        prop_assert_eq!(&three_way(&last, &new, &once), &once);
        prop_assert_eq!(&three_way(&new, &new, &once), &once);
    }

    #[test]
    fn an_unchanged_file_changes_nothing(file in tree(), live in tree()) {
        prop_assert_eq!(three_way(&file, &file, &live), live);
    }

    #[test]
    fn without_changes_live_the_file_wins(last in tree(), new in tree()) {
        prop_assert_eq!(three_way(&last, &new, &last), new);
    }

    #[test]
    fn untouched_fields_stay(last in tree(), new in tree(), live in tree()) {
        let merged = three_way(&last, &new, &live);
        let mut paths = Vec::new();
        leaves(&live, "", &mut paths);
        for (path, value) in paths {
            // Neither file speaks of this field or of anything above or below it.
            let mut prefix = String::new();
            let mut open = last.is_object() && new.is_object();
            for part in path.split('/').skip(1) {
                let in_object = |file: &Value| file.pointer(&prefix).is_none_or(Value::is_object);
                open &= in_object(&last) && in_object(&new);
                prefix = format!("{prefix}/{part}");
            }
            let silent = |file: &Value| file.pointer(&path).is_none();
            // An object that the file dropped as a whole goes with all that is in it.
            let mut parent = path.as_str();
            let mut dropped = false;
            while let Some((above, _)) = parent.rsplit_once('/') {
                parent = above;
                dropped |= last.pointer(parent).is_some() && new.pointer(parent).is_none();
            }
            if open && silent(&last) && silent(&new) && !dropped {
                prop_assert_eq!(merged.pointer(&path), Some(&value), "at {}", path);
            }
        }
    }

    #[test]
    fn changed_fields_win(last in tree(), new in tree(), live in tree()) {
        let merged = three_way(&last, &new, &live);
        let mut paths = Vec::new();
        leaves(&new, "", &mut paths);
        for (path, value) in paths {
            let scalar = !value.is_array() && !value.is_object();
            if scalar && last.pointer(&path).is_none() {
                prop_assert_eq!(merged.pointer(&path), Some(&value), "at {}", path);
            }
        }
    }
}
