//! Whether a schema is structural: every field has a type of its own, outside of any logic.

use serde_json::{Map, Value};

use super::checks::Errors;
use super::{list, text};
use crate::local::validate::{Node, RuleError, check_rules};

const DEPTH: usize = 64;
/// Inside of `allOf` and its like nothing may give a field its shape.
const SHAPES: [&str; 8] = [
    "type",
    "description",
    "title",
    "default",
    "additionalProperties",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-map-type",
];

#[derive(Clone, Copy, PartialEq)]
enum Place {
    Root,
    Field,
    Item,
    Logic,
}

pub(super) fn check(schema: &Value, field: &str, errors: &mut Errors) {
    walk(schema, field, Place::Root, None, 0, errors);
    if let Some(metadata) = schema["properties"].get("metadata") {
        let named = metadata["properties"].as_object().into_iter().flatten();
        let mut other = metadata.as_object().into_iter().flatten().map(|(name, _)| name.as_str());
        let plain = other.all(|name| ["type", "properties", "description", "required"].contains(&name));
        if !plain || named.into_iter().any(|(name, _)| name != "name" && name != "generateName") {
            let why =
                "must not specify anything other than name and generateName, but metadata is implicitly specified";
            errors.forbidden(format!("{field}.properties[metadata]"), why);
        }
    }
}

/// `uncorrelatable` is the list whose entries have no identity, where the field is in one.
fn walk(schema: &Value, field: &str, place: Place, uncorrelatable: Option<&str>, depth: usize, errors: &mut Errors) {
    let Some(fields) = schema.as_object() else { return };
    if depth > DEPTH {
        return errors.forbidden(field, &format!("nested deeper than {DEPTH} levels"));
    }
    let at = |name: &str| format!("{field}.{name}");
    for (name, why) in [
        ("$ref", "$ref is not supported"),
        ("definitions", "definitions is not supported"),
        ("dependencies", "dependencies is not supported"),
        ("id", "id is not supported"),
        ("patternProperties", "patternProperties is not supported"),
        ("additionalItems", "additionalItems is not supported"),
    ] {
        if fields.get(name).is_some_and(|value| !value.is_null()) {
            errors.forbidden(at(name), why);
        }
    }
    if fields.get("uniqueItems") == Some(&true.into()) {
        let why = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
        errors.forbidden(at("uniqueItems"), why);
    }
    check_type(fields, field, place, errors);
    check_extensions(fields, field, errors);
    if let Some(pattern) = fields.get("pattern").and_then(Value::as_str)
        && let Err(error) = regex::Regex::new(pattern)
    {
        let why = match error.to_string() {
            text if text.contains("unclosed group") => format!("missing closing ): `{pattern}`"),
            text => text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned(),
        };
        let why = format!("must be a valid regular expression, but isn't: error parsing regexp: {why}");
        errors.invalid(at("pattern"), &pattern.into(), &why);
    }
    check_default(schema, fields, field, errors);
    check_rules(schema, field, uncorrelatable, &mut |field, error| match error {
        RuleError::Required(why) => errors.required(field, why),
        RuleError::Invalid(shown, why) => errors.shown(field, &shown, &why),
        RuleError::Unsupported(value, supported) => errors.unsupported(field, &value, supported),
    });

    let deeper = if place == Place::Logic { Place::Logic } else { Place::Field };
    for (name, inner) in fields.get("properties").and_then(Value::as_object).into_iter().flatten() {
        walk(inner, &format!("{field}.properties[{name}]"), deeper, uncorrelatable, depth + 1, errors);
    }
    if let Some(inner) = fields.get("additionalProperties").filter(|inner| inner.is_object()) {
        walk(inner, &at("additionalProperties"), deeper, uncorrelatable, depth + 1, errors);
    }
    if let Some(inner) = fields.get("items") {
        let deeper = if place == Place::Logic { Place::Logic } else { Place::Item };
        let own = fields.get("x-kubernetes-list-type").is_none_or(|type_| type_ != "map");
        let lost = uncorrelatable.or(own.then_some(field));
        walk(inner, &at("items"), deeper, lost, depth + 1, errors);
    }
    for name in ["allOf", "anyOf", "oneOf"] {
        for (index, inner) in fields.get(name).map_or(&[][..], list).iter().enumerate() {
            let alternative = fields.get("x-kubernetes-int-or-string") == Some(&true.into())
                && ["integer", "string"].contains(&text(&inner["type"]));
            if !alternative {
                walk(inner, &format!("{field}.{name}[{index}]"), Place::Logic, uncorrelatable, depth + 1, errors);
            }
        }
    }
    if let Some(inner) = fields.get("not") {
        walk(inner, &at("not"), Place::Logic, uncorrelatable, depth + 1, errors);
    }
}

fn check_type(fields: &Map<String, Value>, field: &str, place: Place, errors: &mut Errors) {
    let at = |name: &str| format!("{field}.{name}");
    let flag = |name: &str| fields.get(name) == Some(&true.into());
    let type_ = fields.get("type").map_or("", text);
    if place == Place::Logic {
        for name in SHAPES.iter().filter(|name| fields.get(**name).is_some_and(|value| !value.is_null())) {
            errors.forbidden(at(name), "must be empty to be structural");
        }
        for name in [
            "nullable",
            "x-kubernetes-preserve-unknown-fields",
            "x-kubernetes-embedded-resource",
            "x-kubernetes-int-or-string",
        ] {
            if flag(name) {
                errors.forbidden(at(name), "must be false to be structural");
            }
        }
        return;
    }
    let open = flag("x-kubernetes-int-or-string") || flag("x-kubernetes-preserve-unknown-fields");
    match (type_, place) {
        ("", Place::Root) => errors.required(at("type"), "must not be empty at the root"),
        ("", _) if open => {}
        ("", Place::Item) => errors.required(at("type"), "must not be empty for specified array items"),
        ("", _) => errors.required(at("type"), "must not be empty for specified object fields"),
        ("object", _) | ("array" | "boolean" | "integer" | "number" | "string", Place::Field | Place::Item) => {}
        ("array" | "boolean" | "integer" | "number" | "string", _) => {
            errors.invalid(at("type"), &type_.into(), "must be object at the root");
        }
        _ => {
            let supported = ["array", "boolean", "integer", "number", "object", "string"];
            errors.unsupported(at("type"), &type_.into(), &supported);
        }
    }
    if type_ == "array" && fields.get("items").is_none() {
        errors.required(at("items"), "must be specified");
    }
    let properties = fields.get("properties").and_then(Value::as_object).is_some_and(|found| !found.is_empty());
    if properties && fields.get("additionalProperties").is_some_and(|additional| !additional.is_null()) {
        errors.forbidden(at("additionalProperties"), "additionalProperties and properties are mutual exclusive");
    }
    if flag("x-kubernetes-embedded-resource") {
        if type_ != "object" {
            let why = "must be object if x-kubernetes-embedded-resource is true";
            errors.invalid(at("type"), &type_.into(), why);
        }
        if !properties && !flag("x-kubernetes-preserve-unknown-fields") {
            let why = "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields";
            errors.required(at("properties"), why);
        }
    }
}

fn check_extensions(fields: &Map<String, Value>, field: &str, errors: &mut Errors) {
    let at = |name: &str| format!("{field}.{name}");
    if fields.get("x-kubernetes-preserve-unknown-fields") == Some(&false.into()) {
        errors.invalid(at("x-kubernetes-preserve-unknown-fields"), &false.into(), "must be true or undefined");
    }
    let type_ = fields.get("type").map_or("", text);
    if let Some(map) = fields.get("x-kubernetes-map-type") {
        if type_ != "object" {
            errors.invalid(at("type"), &type_.into(), "must be object if x-kubernetes-map-type is specified");
        }
        if map != "atomic" && map != "granular" {
            errors.unsupported(at("x-kubernetes-map-type"), map, &["atomic", "granular"]);
        }
    }
    let keys = fields.get("x-kubernetes-list-map-keys").map_or(&[][..], list);
    let Some(kind) = fields.get("x-kubernetes-list-type") else {
        if !keys.is_empty() {
            let why = "must be map if x-kubernetes-list-map-keys is non-empty";
            errors.required(at("x-kubernetes-list-type"), why);
        }
        return;
    };
    if type_ != "array" {
        let why = "must be array if x-kubernetes-list-type is specified";
        errors.invalid(at("type"), &type_.into(), why);
    }
    let items = fields.get("items").unwrap_or(&Value::Null);
    match text(kind) {
        "atomic" => {}
        "set" => {
            let inner = text(&items["type"]);
            let map = items["x-kubernetes-map-type"] == "atomic";
            if inner == "object" && !map {
                let why = "must be atomic as item of a list with x-kubernetes-list-type=set";
                errors.invalid(at("items.x-kubernetes-map-type"), &items["x-kubernetes-map-type"], why);
            }
            if inner == "array" && !["", "atomic"].contains(&text(&items["x-kubernetes-list-type"])) {
                let why = "must be atomic as item of a list with x-kubernetes-list-type=set";
                errors.invalid(at("items.x-kubernetes-list-type"), &items["x-kubernetes-list-type"], why);
            }
        }
        "map" => {
            if keys.is_empty() {
                errors.required(at("x-kubernetes-list-map-keys"), "must not be empty if x-kubernetes-list-type is map");
            }
            if text(&items["type"]) != "object" {
                let why = "must be object if parent array's x-kubernetes-list-type is map";
                errors.invalid(at("items.type"), &items["type"], why);
            }
            for (index, key) in keys.iter().enumerate() {
                let name = text(key);
                let Some(property) = items["properties"].get(name) else {
                    let why = "entries must all be names of item properties";
                    errors.invalid(format!("{}[{index}]", at("x-kubernetes-list-map-keys")), key, why);
                    continue;
                };
                let needed = list(&items["required"]).contains(key);
                if property.get("default").is_none() && !needed {
                    let why = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property";
                    errors.required(at(&format!("items.properties[{name}].default")), why);
                }
            }
        }
        _ => errors.unsupported(at("x-kubernetes-list-type"), kind, &["atomic", "set", "map"]),
    }
}

/// A default has to be what its own schema takes.
fn check_default(schema: &Value, fields: &Map<String, Value>, field: &str, errors: &mut Errors) {
    let Some(default) = fields.get("default") else { return };
    if default.is_null() && fields.get("nullable") == Some(&true.into()) {
        return;
    }
    let Ok(node) = Node::compile(schema) else { return };
    let at = format!("{field}.default");
    let mut filled = Value::Object(Map::from_iter([("default".to_owned(), default.clone())]));
    let within = Node::wrap("default", node);
    if !within.prune(&mut filled).is_empty() {
        errors.invalid(at, default, "must not have unknown fields");
        return;
    }
    within.fill_defaults(&mut filled);
    for mut error in within.validate(&filled, None).errors {
        error.message = error.message.replacen("default in body", " in body", 1);
        error.field = format!("{field}.{}", error.field);
        errors.0.push(error);
    }
}
