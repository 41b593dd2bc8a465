use proptest::prelude::*;
use serde_json::json;

use super::*;

fn run(patch: Value, object: Value) -> Result<Value, u16> {
    let mut object = object;
    let operations = parse(patch.to_string().as_bytes()).map_err(|error| error.code())?;
    apply(&operations, &mut object).map(|()| object).map_err(|error| error.code())
}

#[test]
fn operations_apply_in_order_or_not_at_all() {
    let patch = json!([
        {"op": "copy", "from": "/a", "path": "/b"}, {"op": "add", "path": "/b/-", "value": 2},
        {"op": "move", "from": "/a", "path": "/c"}, {"op": "test", "path": "/c", "value": [1]},
    ]);
    assert_eq!(run(patch, json!({"a": [1]})), Ok(json!({"b": [1, 2], "c": [1]})));
    assert_eq!(run(json!([{"op": "test", "path": "/a", "value": 2}]), json!({"a": 1})), Err(422));
    assert_eq!(run(json!([{"op": "remove", "path": "/x"}]), json!({"a": 1})), Err(422));
}

#[test]
fn what_is_missing_counts_as_null_where_kubernetes_says_so() {
    let one = |operation: Value| run(json!([operation]), json!({"a": 1, "l": ["x", "y"]}));
    assert_eq!(one(json!({"op": "test", "path": "/q", "value": null})), Ok(json!({"a": 1, "l": ["x", "y"]})));
    assert_eq!(one(json!({"op": "test", "path": "/q", "value": 1})), Err(422));
    assert_eq!(one(json!({"op": "replace", "path": "/q", "value": 1})).map(|new| new["q"].clone()), Ok(json!(1)));
    assert_eq!(one(json!({"op": "add", "path": "/q"})).map(|new| new["q"].clone()), Ok(Value::Null));
    assert_eq!(one(json!({"op": "add", "path": "ignored/q", "value": 1})).map(|new| new["q"].clone()), Ok(json!(1)));
    assert_eq!(one(json!({"op": "remove", "path": "/l/-1"})).map(|new| new["l"].clone()), Ok(json!(["x"])));
    assert_eq!(one(json!({"op": "replace", "path": "/l/2", "value": 1})), Err(422));
    for broken in [
        json!({"op": "test", "path": "/q/r", "value": null}),
        json!({"op": "add", "path": "/l/3", "value": 1}),
        json!({"op": "add", "path": "/l/x", "value": 1}),
        json!({"op": "add", "path": "", "value": 1}),
        json!({"op": "copy", "path": "/b"}),
        json!({"op": "merge", "path": "/b"}),
        json!({"path": "/b"}),
        json!({"op": "remove"}),
    ] {
        assert_eq!(one(broken.clone()), Err(422), "{broken}");
    }
}

#[test]
fn a_body_that_is_no_patch_says_what_it_is() {
    let why = |body: &str| parse(body.as_bytes()).unwrap_err().message().to_owned();
    assert_eq!(why("x"), "error decoding patch: invalid character 'x' looking for beginning of value");
    assert_eq!(
        why("{}"),
        "error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp"
    );
    let many = vec![json!({"op": "test", "path": "/a", "value": 1}); MAX_OPERATIONS + 1];
    let error = parse(json!(many).to_string().as_bytes()).unwrap_err();
    assert_eq!(error.code(), 413);
    assert!(error.message().ends_with("The allowed maximum operations in a JSON patch is 10000, got 10001"));
}

#[test]
fn copies_cannot_blow_an_object_up() {
    let nest = vec![json!({"op": "copy", "from": "", "path": "/a"}); 120];
    assert_eq!(run(json!(nest), json!({"a": {}})), Err(422));
    let deep = vec![json!({"op": "copy", "from": "/a", "path": "/a/a"}); 120];
    assert_eq!(run(json!(deep), json!({"a": {}})), Err(422));
    let many: Vec<Value> =
        (0..60).map(|index| json!({"op": "copy", "from": "/big", "path": format!("/b{index}")})).collect();
    assert_eq!(run(json!(many), json!({"big": "x".repeat(100_000)})), Err(422));
}

fn value() -> impl Strategy<Value = Value> {
    let leaf =
        prop_oneof![any::<bool>().prop_map(Value::from), (0..3).prop_map(Value::from), "[ab]".prop_map(Value::from)];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map("[abc]", inner, 0..3).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn object() -> impl Strategy<Value = Value> {
    prop::collection::btree_map("[abc]", value(), 1..4).prop_map(|map| Value::Object(map.into_iter().collect()))
}

fn path() -> impl Strategy<Value = String> {
    prop::collection::vec(prop_oneof!["[abc]", Just("0".to_owned()), Just("1".to_owned()), Just("-".to_owned())], 1..4)
        .prop_map(|tokens| tokens.iter().map(|token| format!("/{token}")).collect())
}

fn operation() -> impl Strategy<Value = Value> {
    (0..6, path(), path(), value()).prop_map(|(op, path, from, value)| match op {
        0 => json!({"op": "add", "path": path, "value": value}),
        1 => json!({"op": "remove", "path": path}),
        2 => json!({"op": "replace", "path": path, "value": value}),
        3 => json!({"op": "move", "from": from, "path": path}),
        4 => json!({"op": "copy", "from": from, "path": path}),
        _ => json!({"op": "test", "path": path, "value": value}),
    })
}

proptest! {
    /// What the standard allows is done as the `json-patch` crate does it.
    #[test]
    fn standard_patches_do_what_the_json_patch_crate_does(
        object in object(),
        operations in prop::collection::vec(operation(), 1..5),
    ) {
        let patch: json_patch::Patch = serde_json::from_value(json!(operations)).unwrap();
        let mut wanted = object.clone();
        // `patch` would undo what it did, and panics where it cannot.
        if json_patch::patch_unsafe(&mut wanted, &patch).is_ok() {
            prop_assert_eq!(run(json!(operations), object), Ok(wanted));
        }
    }
}
