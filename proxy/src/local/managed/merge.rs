//! Merging what is applied into what is there, and taking fields out of it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::{Map, Value};

use super::set::{Element, Set};
use super::shape::{Items, Shape};
use super::walk::{Atom, element, list};

/// `live` with the fields of `config`.
pub(super) fn merge(shape: &Shape, live: &Value, config: &Value) -> Value {
    merged(shape, Some(live), Some(config)).unwrap_or_default()
}

/// `None` where nothing is left to say.
fn merged(shape: &Shape, live: Option<&Value>, config: Option<&Value>) -> Option<Value> {
    match Atom::of(shape, config.or(live)) {
        Atom::List { each, items } if *items != Items::Atomic => {
            let (before, after) = (list(live), list(config));
            if !before.is_empty() || !after.is_empty() {
                let all = merged_items(each, items, before, after);
                return (!all.is_empty()).then_some(Value::Array(all));
            }
        }
        Atom::Map { shape, atomic: false } => {
            let (before, after) = (live.and_then(Value::as_object), config.and_then(Value::as_object));
            let names: BTreeSet<&String> = before.into_iter().chain(after).flat_map(Map::keys).collect();
            if !names.is_empty() {
                let get = |map: Option<&'_ Map<String, Value>>, name: &str| map.and_then(|map| map.get(name)).cloned();
                let all: Map<String, Value> = names
                    .into_iter()
                    .filter_map(|name| {
                        let field = shape.field(name).unwrap_or(&Shape::Any);
                        let value = merged(field, get(before, name).as_ref(), get(after, name).as_ref())?;
                        Some((name.clone(), value))
                    })
                    .collect();
                return (!all.is_empty()).then_some(Value::Object(all));
            }
        }
        _ => {}
    }
    config.or(live).cloned()
}

/// The order is that of `config`, with what only `live` has where it was between those of both.
fn merged_items(each: &Shape, items: &Items, live: &[Value], config: &[Value]) -> Vec<Value> {
    let told = |list: &[Value]| -> Vec<(Element, Value)> {
        list.iter().filter_map(|item| Some((element(items, item).ok()?, item.clone()))).collect()
    };
    let (left, right) = (told(live), told(config));
    let right_by: BTreeMap<&Element, &Value> = right.iter().map(|(element, item)| (element, item)).collect();
    // An item that is there more than once is not merged with: it is replaced.
    let mut left_by = BTreeMap::<&Element, Option<&Value>>::new();
    for (element, item) in &left {
        left_by.entry(element).and_modify(|found| *found = None).or_insert(Some(item));
    }
    let mut shared: VecDeque<&Element> =
        right.iter().map(|(element, _)| element).filter(|element| left_by.contains_key(element)).collect();
    let mut next = shared.pop_front();
    let mut done = BTreeSet::new();
    let mut out = Vec::new();
    let both =
        |element: &Element| merged(each, left_by.get(element).copied().flatten(), right_by.get(element).copied());
    let (mut l, mut r) = (0, 0);
    while l < left.len() || r < right.len() {
        if let (Some((at, _)), Some((wanted, _))) = (left.get(l), right.get(r)) {
            if at == wanted {
                done.insert(at);
                out.extend(both(at));
                (l, r) = (l + 1, r + 1);
                next = shared.pop_front();
                continue;
            }
            if right_by.contains_key(at) && next.is_some_and(|next| next != at) {
                // Its turn comes with the other list.
                l += 1;
                continue;
            }
        }
        if let Some((at, item)) = left.get(l) {
            if !right_by.contains_key(at) {
                out.extend(merged(each, Some(item), None));
                l += 1;
                continue;
            }
            if done.contains(at) {
                l += 1;
            }
        }
        if let Some((wanted, _)) = right.get(r) {
            done.insert(wanted);
            out.extend(both(wanted));
            r += 1;
            if next == Some(wanted) {
                next = shared.pop_front();
            }
        }
    }
    out
}

/// The value without these fields: null where that leaves nothing of a map or list.
pub(super) fn without(shape: &Shape, value: &Value, gone: &Set) -> Value {
    match (Atom::of(shape, Some(value)), value) {
        (Atom::Scalar(_), _) => value.clone(),
        (Atom::List { items: Items::Atomic, .. } | Atom::Map { atomic: true, .. }, _) => Value::Null,
        (Atom::List { each, items }, Value::Array(list)) => {
            let mut left = Vec::new();
            for item in list {
                match element(items, item) {
                    Ok(element) if gone.has(&element) => {}
                    Ok(element) => left.push(match gone.below(&element) {
                        Some(below) => without(each, item, below),
                        None => item.clone(),
                    }),
                    Err(_) => left.push(item.clone()),
                }
            }
            if left.is_empty() { Value::Null } else { Value::Array(left) }
        }
        (Atom::Map { shape, .. }, Value::Object(map)) => {
            let mut left = Map::new();
            for (name, value) in map {
                let element = Element::field(name);
                if gone.has(&element) {
                    continue;
                }
                let value = match gone.below(&element) {
                    Some(below) => without(shape.field(name).unwrap_or(&Shape::Any), value, below),
                    None => value.clone(),
                };
                left.insert(name.clone(), value);
            }
            if left.is_empty() { Value::Null } else { Value::Object(left) }
        }
        _ => Value::Null,
    }
}

/// The set with every named field on the way to its paths in it: where what is below such a field
/// goes, the field itself goes.
pub(super) fn with_named(shape: &Shape, set: &Set) -> Set {
    let mut all = Set::default();
    for (element, member, below) in set.steps() {
        let named = element.field_name().is_some_and(|name| shape.names(name));
        let inner = match (shape, element.field_name()) {
            (Shape::Map { .. } | Shape::Any, Some(name)) => shape.field(name),
            (Shape::List { each, .. }, None) => Some(&**each),
            _ => None,
        };
        let below = inner.map_or_else(|| below.clone(), |inner| with_named(inner, below));
        all.put(element.clone(), member || (named && !below.is_empty()), below);
    }
    all
}
