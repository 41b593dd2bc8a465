//! Walks over objects by their shape: which fields one has, and in which two differ.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::set::{Element, Set, shown};
use super::shape::{Items, Scalar, Shape};
use crate::local::go;

/// A shape, settled for one value.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Atom<'a> {
    Scalar(Scalar),
    Map { shape: &'a Shape, atomic: bool },
    List { each: &'a Shape, items: &'a Items },
}

impl<'a> Atom<'a> {
    pub(super) fn of(shape: &'a Shape, value: Option<&Value>) -> Self {
        match (shape, value) {
            (Shape::Scalar(scalar), _) => Self::Scalar(*scalar),
            (Shape::List { each, items, .. }, _) => Self::List { each, items },
            (Shape::Map { atomic, .. }, _) => Self::Map { shape, atomic: *atomic },
            (Shape::Any, Some(Value::Array(_))) => Self::List { each: shape, items: &Items::Atomic },
            (Shape::Any, None | Some(Value::Null | Value::Object(_))) => Self::Map { shape, atomic: false },
            (Shape::Any, Some(_)) => Self::Scalar(Scalar::Any),
        }
    }
}

/// What tells an item of a list apart.
pub(super) fn element(items: &Items, item: &Value) -> Result<Element, String> {
    match (items, item) {
        (Items::Atomic, _) => Err("invalid indexing of non-associative list".to_owned()),
        (Items::Keys(_), Value::Null) => Err("associative list with keys may not have a null element".to_owned()),
        (Items::Keys(keys), Value::Object(fields)) => {
            let found: BTreeMap<&str, Value> = keys
                .iter()
                .filter_map(|(key, default)| Some((key.as_str(), fields.get(key).or(default.as_ref())?.clone())))
                .collect();
            if found.is_empty() {
                let names: Vec<String> = keys.iter().map(|(key, _)| go::quoted(key)).collect();
                return Err(format!(
                    "associative list with keys has an element that omits all key fields [{}] (and doesn't have default values for any key fields)",
                    names.join(" ")
                ));
            }
            Ok(Element::key(&found))
        }
        (Items::Keys(_), _) => Err("associative list with keys may not have non-map elements".to_owned()),
        (Items::Set, Value::Object(_)) => {
            Err("associative list without keys has an element that's a map type".to_owned())
        }
        (Items::Set, Value::Array(_)) => Err("not supported: associative list with lists as elements".to_owned()),
        (Items::Set, Value::Null) => {
            Err("associative list without keys has an element that's an explicit null".to_owned())
        }
        (Items::Set, value) => Ok(Element::value(value)),
    }
}

/// All fields of an object.
pub(super) fn fields(shape: &Shape, object: &Value) -> Set {
    fields_of(shape, object).1
}

/// Whether the value is a field itself, and the fields below it.
fn fields_of(shape: &Shape, value: &Value) -> (bool, Set) {
    let mut set = Set::default();
    match (Atom::of(shape, Some(value)), value) {
        (Atom::Scalar(_) | Atom::Map { atomic: true, .. } | Atom::List { items: Items::Atomic, .. }, _) => {
            return (true, set);
        }
        (Atom::List { each, items }, Value::Array(list)) => {
            for item in list {
                if let Ok(element) = element(items, item) {
                    set.put(element, true, fields_of(each, item).1);
                }
            }
        }
        (Atom::Map { shape, .. }, Value::Object(map)) => {
            for (name, value) in map {
                let (member, below) = shape.field(name).map_or((true, Set::default()), |field| fields_of(field, value));
                let empty = value.is_null() || value.as_object().is_some_and(Map::is_empty);
                set.put(Element::field(name), member || empty || !shape.names(name), below);
            }
        }
        _ => {}
    }
    (false, set)
}

/// In what one object differs from another.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Changes {
    pub(super) added: Set,
    pub(super) modified: Set,
    pub(super) removed: Set,
}

impl Changes {
    pub(super) fn between(shape: &Shape, old: &Value, new: &Value) -> Self {
        let mut changes = Self::default();
        changes.compare(shape, Some(old), Some(new), &mut Vec::new());
        changes
    }

    /// Without what is below these paths.
    pub(super) fn outside(&self, ignored: &Set) -> Self {
        Self {
            added: self.added.outside(ignored),
            modified: self.modified.outside(ignored),
            removed: self.removed.outside(ignored),
        }
    }

    fn compare(&mut self, shape: &Shape, old: Option<&Value>, new: Option<&Value>, path: &mut Vec<Element>) {
        let (before, after) = (Atom::of(shape, old), Atom::of(shape, new));
        let leaf = match (old, new) {
            (None, None) => return,
            (Some(_), None) => self.walk(before, old, new, path),
            (Some(_), Some(_)) if before != after => {
                self.walk(before, old, new, path);
                self.walk(after, old, new, path)
            }
            _ => self.walk(after, old, new, path),
        };
        match (old, new) {
            (None, _) if !leaf => self.added.insert(path),
            (_, None) if !leaf => self.removed.insert(path),
            _ => {}
        }
    }

    /// Returns whether the value is one, so that nothing below it is compared.
    fn walk(&mut self, atom: Atom<'_>, old: Option<&Value>, new: Option<&Value>, path: &mut Vec<Element>) -> bool {
        match atom {
            Atom::List { each, items } if *items != Items::Atomic => {
                let (before, after) = (list(old), list(new));
                if !before.is_empty() || !after.is_empty() {
                    self.items(each, items, before, after, path);
                    return false;
                }
            }
            Atom::Map { shape, atomic: false } => {
                let (before, after) = (old.and_then(Value::as_object), new.and_then(Value::as_object));
                let names: BTreeSet<&String> = before.into_iter().chain(after).flat_map(Map::keys).collect();
                if !names.is_empty() {
                    for name in names {
                        let get = |map: Option<&'_ Map<String, Value>>| map.and_then(|map| map.get(name)).cloned();
                        let field = shape.field(name).unwrap_or(&Shape::Any);
                        path.push(Element::field(name));
                        self.compare(field, get(before).as_ref(), get(after).as_ref(), path);
                        path.pop();
                    }
                    return false;
                }
            }
            _ => {}
        }
        match (old, new) {
            (None, _) => self.added.insert(path),
            (_, None) => self.removed.insert(path),
            (Some(old), Some(new)) if !same(old, new) => self.modified.insert(path),
            _ => {}
        }
        true
    }

    /// Items that occur more than once are compared as a whole.
    fn items(&mut self, each: &Shape, items: &Items, old: &[Value], new: &[Value], path: &mut Vec<Element>) {
        let group = |list: &'_ [Value]| {
            let mut groups = BTreeMap::<Element, Vec<Value>>::new();
            for item in list {
                if let Ok(element) = element(items, item) {
                    groups.entry(element).or_default().push(item.clone());
                }
            }
            groups
        };
        let (old, new) = (group(old), group(new));
        let elements: BTreeSet<&Element> = old.keys().chain(new.keys()).collect();
        for element in elements {
            let (before, after) =
                (old.get(element).map_or(&[][..], Vec::as_slice), new.get(element).map_or(&[][..], Vec::as_slice));
            path.push(element.clone());
            match (before, after) {
                ([_, _, ..], [_, _, ..]) => {
                    if before.len() != after.len() || before.iter().zip(after).any(|(old, new)| !same(old, new)) {
                        self.modified.insert(path);
                    }
                }
                ([_, _, ..], _) => {
                    self.compare(each, None, after.first(), path);
                    self.removed.insert(path);
                }
                (_, [_, _, ..]) => {
                    self.compare(each, before.first(), None, path);
                    self.added.insert(path);
                }
                _ => self.compare(each, before.first(), after.first(), path),
            }
            path.pop();
        }
    }
}

pub(super) fn list(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Equal, whether a number is written with a fraction or without.
pub(super) fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(a), Value::Number(b)) => a == b || (a.is_f64() != b.is_f64() && a.as_f64() == b.as_f64()),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| same(a, b)))
        }
        _ => one == other,
    }
}

/// What is wrong with an object that is applied, each with its path.
pub(super) fn check(shape: &Shape, object: &Value) -> Vec<String> {
    let mut errors = Vec::new();
    check_value(shape, object, &mut Vec::new(), &mut errors);
    errors
}

fn check_value(shape: &Shape, value: &Value, path: &mut Vec<Element>, errors: &mut Vec<String>) {
    let mut refuse = |path: &[Element], why: String| {
        let at = shown(path);
        errors.push(if at.is_empty() { why } else { format!("{at}: {why}") });
    };
    match (Atom::of(shape, Some(value)), value) {
        (_, Value::Null) => {}
        (Atom::Scalar(scalar), _) => {
            if let Some(why) = not_scalar(scalar, value) {
                refuse(path, why);
            }
        }
        (Atom::List { each, items }, Value::Array(list)) => {
            let mut seen = BTreeSet::new();
            for (index, item) in list.iter().enumerate() {
                if *items == Items::Atomic {
                    path.push(Element::index(index));
                } else {
                    match element(items, item) {
                        Ok(element) => {
                            if !seen.insert(element.clone()) {
                                let at = shown(path);
                                errors.push(format!("{at}: duplicate entries for key {element}"));
                            }
                            path.push(element);
                        }
                        Err(why) => {
                            let at = shown(path);
                            errors.push(format!("{at}: element {index}: {why}"));
                            return;
                        }
                    }
                }
                check_value(each, item, path, errors);
                path.pop();
            }
        }
        (Atom::Map { shape, .. }, Value::Object(map)) => {
            for (name, value) in map {
                path.push(Element::field(name));
                match shape.field(name) {
                    Some(field) => check_value(field, value, path, errors),
                    None => {
                        errors.push(format!("{}: field not declared in schema", shown(path)));
                        path.pop();
                        return;
                    }
                }
                path.pop();
            }
        }
        (Atom::List { .. }, _) => refuse(path, format!("expected list, got &{{{}}}", go::shown(value))),
        (Atom::Map { .. }, _) => refuse(path, format!("expected map, got &{{{}}}", go::shown(value))),
    }
}

fn not_scalar(scalar: Scalar, value: &Value) -> Option<String> {
    match scalar {
        Scalar::Text if !value.is_string() => {
            let shown = match value {
                Value::Array(_) | Value::Object(_) => go::shown(value),
                plain => plain.to_string(),
            };
            Some(format!("expected string, got &value.valueUnstructured{{Value:{shown}}}"))
        }
        Scalar::Number | Scalar::Long if !value.is_number() => {
            let kind = match value {
                Value::String(_) => "string",
                Value::Bool(_) => "bool",
                Value::Array(_) => "[]interface {}",
                _ => "map[string]interface {}",
            };
            Some(format!("expected numeric (int or float), got {kind}"))
        }
        Scalar::Boolean if !value.is_boolean() => Some(format!("expected boolean, got &{{{}}}", go::shown(value))),
        Scalar::Any if value.is_array() || value.is_object() => {
            Some(format!("expected any scalar, got &{{{}}}", go::shown(value)))
        }
        _ => None,
    }
}
