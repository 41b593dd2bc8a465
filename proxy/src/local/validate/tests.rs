use serde_json::{Value, json};

use super::{FieldErrorKind as Kind, MAX_DEPTH, Node, SchemaError};

fn check(schema: Value, object: Value) -> Vec<(String, Kind, String)> {
    let findings = Node::compile(&schema).unwrap().validate(&object, None);
    findings.errors.into_iter().map(|error| (error.field, error.kind, error.message)).collect()
}

fn property(schema: Value) -> Value {
    json!({ "type": "object", "properties": { "a": schema } })
}

#[test]
fn messages_are_worded_as_a_kube_apiserver_words_them() {
    for (schema, value, kind, message) in [
        (
            json!({ "type": "integer" }),
            json!("x"),
            Kind::Invalid,
            r#"Invalid value: "string": a in body must be of type integer: "string""#,
        ),
        (
            json!({ "type": "integer", "maximum": 5 }),
            json!(6),
            Kind::Invalid,
            "Invalid value: 6: a in body should be less than or equal to 5",
        ),
        (
            json!({ "type": "number", "minimum": 1, "exclusiveMinimum": true }),
            json!(1),
            Kind::Invalid,
            "Invalid value: 1: a in body should be greater than 1",
        ),
        (
            json!({ "type": "string", "pattern": "^a$" }),
            json!("b"),
            Kind::Invalid,
            r#"Invalid value: "b": a in body should match '^a$'"#,
        ),
        (
            json!({ "type": "string", "minLength": 1 }),
            json!(""),
            Kind::Invalid,
            r#"Invalid value: "": a in body should be at least 1 chars long"#,
        ),
        (
            json!({ "type": "string", "maxLength": 1 }),
            json!("ab"),
            Kind::TooLong,
            "Too long: may not be more than 1 bytes",
        ),
        (
            json!({ "type": "string", "enum": ["A", "B"] }),
            json!("C"),
            Kind::NotSupported,
            r#"Unsupported value: "C": supported values: "A", "B""#,
        ),
        (
            json!({ "type": "array", "maxItems": 1 }),
            json!([1, 2]),
            Kind::TooMany,
            "Too many: 2: must have at most 1 items",
        ),
        (
            json!({ "type": "array", "minItems": 1 }),
            json!([]),
            Kind::Invalid,
            "Invalid value: 0: a in body should have at least 1 items",
        ),
        (
            json!({ "type": "string", "format": "date-time" }),
            json!("now"),
            Kind::Invalid,
            r#"Invalid value: "now": a in body must be of type date-time: "now""#,
        ),
    ] {
        assert_eq!(check(property(schema), json!({ "a": value })), [("a".to_owned(), kind, message.to_owned())]);
    }
}

#[test]
fn lengths_count_characters() {
    let schema = property(json!({ "type": "string", "maxLength": 3 }));
    assert_eq!(check(schema.clone(), json!({ "a": "äöü" })), []);
    assert_eq!(check(schema, json!({ "a": "äöüß" })).len(), 1);
}

#[test]
fn list_types_decide_what_is_a_duplicate() {
    let set = json!({ "type": "array", "items": { "type": "string" }, "x-kubernetes-list-type": "set" });
    assert_eq!(
        check(property(set), json!({ "a": ["x", "y", "x"] })),
        [("a[2]".to_owned(), Kind::Duplicate, r#"Duplicate value: "x""#.to_owned())]
    );
    let map = json!({
        "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["port", "protocol"],
        "items": { "type": "object", "properties": {
            "port": { "type": "integer" }, "protocol": { "type": "string", "default": "TCP" },
        } },
    });
    let ports = json!({ "a": [{ "port": 1 }, { "port": 1, "protocol": "UDP" }, { "port": 1, "protocol": "TCP" }] });
    let errors = check(property(map), ports);
    assert_eq!(errors.len(), 1, "an absent key counts as its default: {errors:?}");
    assert_eq!(errors[0].0, "a[2]");
}

#[test]
fn ints_or_strings_nullables_and_branches() {
    let either = property(json!({ "x-kubernetes-int-or-string": true }));
    assert_eq!(check(either.clone(), json!({ "a": 1 })), []);
    assert_eq!(check(either.clone(), json!({ "a": "50%" })), []);
    assert_eq!(check(either, json!({ "a": [] })).len(), 1);
    assert_eq!(check(property(json!({ "type": "string", "nullable": true })), json!({ "a": null })), []);
    assert_eq!(check(property(json!({ "type": "string" })), json!({ "a": null })).len(), 1);

    let branches = property(json!({ "type": "object", "oneOf": [{ "required": ["x"] }, { "required": ["y"] }] }));
    assert_eq!(check(branches.clone(), json!({ "a": { "x": 1 } })), []);
    assert_eq!(check(branches.clone(), json!({ "a": { "x": 1, "y": 1 } })).len(), 1);
    assert_eq!(check(branches, json!({ "a": {} })).len(), 1);
}

#[test]
fn pruning_keeps_what_is_declared_open() {
    let node = Node::compile(&json!({
        "type": "object",
        "properties": {
            "open": { "type": "object", "x-kubernetes-preserve-unknown-fields": true },
            "map": { "type": "object", "additionalProperties": {
                "type": "object", "properties": { "known": { "type": "string" } },
            } },
            "list": { "type": "array", "items": { "type": "object", "properties": {} } },
        },
    }))
    .unwrap();
    let mut object = json!({
        "apiVersion": "v1", "metadata": { "any": 1 },
        "open": { "x": { "y": 1 } }, "map": { "k": { "known": "1", "no": 2 } }, "list": [{ "no": 1 }],
    });
    assert_eq!(node.prune(&mut object), ["list[0].no", "map.k.no"]);
    assert_eq!(
        object,
        json!({
            "apiVersion": "v1", "metadata": { "any": 1 },
            "open": { "x": { "y": 1 } }, "map": { "k": { "known": "1" } }, "list": [{}],
        })
    );
}

#[test]
fn a_null_counts_as_absent_and_takes_the_default() {
    let schema = property(
        json!({ "type": "object", "default": {}, "properties": { "b": { "type": "integer", "default": 1 } } }),
    );
    let node = Node::compile(&schema).unwrap();
    for mut object in [json!({}), json!({ "a": null }), json!({ "a": { "b": null } })] {
        node.fill_defaults(&mut object);
        assert_eq!(object, json!({ "a": { "b": 1 } }));
    }
}

#[test]
fn schemas_that_cannot_be_used_are_named() {
    let mut deep = json!({ "type": "string" });
    for _ in 0..=MAX_DEPTH {
        deep = json!({ "type": "array", "items": deep });
    }
    assert!(matches!(Node::compile(&deep), Err(SchemaError::TooDeep { .. })));
    let pattern = Node::compile(&property(json!({ "type": "string", "pattern": "(" })));
    assert!(matches!(pattern, Err(SchemaError::Pattern { path, .. }) if path == "$.a"));
    assert!(matches!(Node::compile(&json!({ "type": "text" })), Err(SchemaError::Malformed { .. })));
    assert!(matches!(Node::compile(&json!([])), Err(SchemaError::Malformed { .. })));
}
