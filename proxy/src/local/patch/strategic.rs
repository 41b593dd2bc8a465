//! Strategic merge patch: lists are merged as their kind's schema says, and directives in the
//! patch say more.

mod fit;

use serde_json::{Map, Value};

use crate::local::go;
use crate::local::managed::{Patching, Shape};
use crate::local::status::StatusError;

const DIRECTIVE: &str = "$patch";
const RETAIN: &str = "$retainKeys";
const ORDER: &str = "$setElementOrder/";
const DELETE: &str = "$deleteFromPrimitiveList/";

type Fields = Map<String, Value>;

pub(super) fn merge(shape: &Shape, object: &mut Value, patch: &Fields) -> Result<(), StatusError> {
    let old = match object.take() {
        Value::Object(fields) => fields,
        _ => Fields::new(),
    };
    *object = Value::Object(merge_map(shape, old, patch.clone())?);
    match fit::misfit(shape, object) {
        Some(why) => {
            let mut shown = Value::Object(patch.clone());
            carried_out(&mut shown);
            Err(StatusError::invalid_patch(&go::shown(&shown), &why))
        }
        None => Ok(()),
    }
}

/// Takes out the directives that say to replace, as merging does.
fn carried_out(patch: &mut Value) {
    match patch {
        Value::Object(fields) => {
            if fields.get(DIRECTIVE).is_some_and(|directive| directive == "replace") {
                fields.remove(DIRECTIVE);
            }
            fields.values_mut().for_each(carried_out);
        }
        Value::Array(items) => items.iter_mut().for_each(carried_out),
        _ => {}
    }
}

fn merge_map(shape: &Shape, mut old: Fields, mut patch: Fields) -> Result<Fields, StatusError> {
    match patch.get(DIRECTIVE) {
        None => {}
        Some(Value::String(directive)) if directive == "replace" => {
            patch.remove(DIRECTIVE);
            return Ok(patch);
        }
        Some(Value::String(directive)) if directive == "delete" => return Ok(Fields::new()),
        Some(other) => return Err(unknown(other, &patch)),
    }
    if let Some(retained) = patch.remove(RETAIN) {
        retain(&mut old, &patch, &retained)?;
    }
    let ordered: Vec<String> = patch.keys().filter(|name| name.starts_with(ORDER)).cloned().collect();
    for directive in ordered {
        let name = &directive[ORDER.len()..];
        let order = patch.remove(&directive).unwrap_or_default();
        set_order(shape, &mut old, &mut patch, name, &order)?;
    }
    for (name, value) in patch {
        if let Some(name) = name.strip_prefix(DELETE) {
            if let (Some(Value::Array(items)), Value::Array(gone)) = (old.get_mut(name), &value) {
                items.retain(|item| !gone.contains(item));
            }
            continue;
        }
        let field = shape.field(&name).unwrap_or(&Shape::Any);
        match (old.get_mut(&name), value) {
            (_, Value::Null) => {
                old.remove(&name);
            }
            (Some(Value::Object(before)), Value::Object(patch)) => {
                *before = merge_map(field, std::mem::take(before), patch)?;
            }
            (Some(Value::Array(before)), Value::Array(patch)) => {
                *before = merge_list(field, std::mem::take(before), patch)?;
            }
            (Some(before), value @ (Value::Bool(_) | Value::Number(_) | Value::String(_))) => *before = value,
            (_, value) => match plain(value) {
                Some(value) => {
                    old.insert(name, value);
                }
                None => {
                    old.remove(&name);
                }
            },
        }
    }
    Ok(old)
}

/// Fields that are not to be kept go; the patch itself may have no others.
fn retain(old: &mut Fields, patch: &Fields, retained: &Value) -> Result<(), StatusError> {
    let wrong = || StatusError::bad_request("invalid patch format of retainKeys");
    let retained = retained.as_array().ok_or_else(wrong)?;
    let kept = |name: &String| retained.iter().any(|kept| kept == name);
    let directive = |name: &String| name.starts_with(ORDER) || name.starts_with(DELETE);
    if patch.iter().any(|(name, value)| !value.is_null() && !directive(name) && !kept(name)) {
        return Err(wrong());
    }
    old.retain(|name, _| kept(name));
    Ok(())
}

/// Merges one list and brings it into the order that the patch asks for.
fn set_order(
    shape: &Shape,
    old: &mut Fields,
    patch: &mut Fields,
    name: &str,
    order: &Value,
) -> Result<(), StatusError> {
    let list = |value: Value| match value {
        Value::Array(items) => Ok(items),
        other => {
            Err(StatusError::unknown(format!("expected a []interface {{}}, but received a {}", go::json_type(&other))))
        }
    };
    let order = list(order.clone())?;
    let field = shape.field(name).unwrap_or(&Shape::Any);
    let before = old.get(name).cloned().map(list).transpose()?;
    let wanted = patch.remove(name).map(list).transpose()?;
    let key = key_of(field);
    check_order(wanted.as_deref().unwrap_or_default(), &order, key)?;
    let merged = match (before.clone(), wanted) {
        (None, None) => return Ok(()),
        (Some(before), None) => before,
        (None, Some(wanted)) => wanted.into_iter().filter_map(plain).collect(),
        (Some(before), Some(wanted)) => merge_list(field, before, wanted)?,
    };
    let merged = arrange(merged, &order, &before.unwrap_or_default(), key);
    old.insert(name.to_owned(), Value::Array(merged));
    Ok(())
}

/// What the patch has of a list has to be in the order that the patch gives.
fn check_order(patch: &[Value], order: &[Value], key: Option<&str>) -> Result<(), StatusError> {
    let mut left = order.iter();
    let present = |item: &&Value| item.get(DIRECTIVE).is_none();
    for item in patch.iter().filter(present) {
        if !left.any(|wanted| same(item, wanted, key)) {
            let shown = |list: &[Value]| go::shown(&Value::Array(list.to_vec()));
            return Err(StatusError::unknown(format!(
                "The order in patch list:\n{}\n doesn't match $setElementOrder list:\n{}\n",
                shown(patch),
                shown(order)
            )));
        }
    }
    Ok(())
}

fn key_of(shape: &Shape) -> Option<&str> {
    match shape {
        Shape::List { patch: Patching::By(key), .. } => Some(key),
        _ => None,
    }
}

fn same(one: &Value, other: &Value, key: Option<&str>) -> bool {
    match key {
        Some(key) => one.get(key).is_some() && one.get(key) == other.get(key),
        None => one == other,
    }
}

fn merge_list(shape: &Shape, old: Vec<Value>, patch: Vec<Value>) -> Result<Vec<Value>, StatusError> {
    let Shape::List { each, patch: patching, .. } = shape else { return Ok(patch) };
    match patching {
        Patching::Replace => Ok(patch),
        Patching::Set => {
            let mut merged: Vec<Value> = Vec::new();
            for item in old.iter().chain(&patch) {
                if !merged.contains(item) {
                    merged.push(item.clone());
                }
            }
            Ok(arrange(merged, &patch, &old, None))
        }
        Patching::By(key) => merge_items(each, key, old, patch),
    }
}

fn merge_items(each: &Shape, key: &str, old: Vec<Value>, patch: Vec<Value>) -> Result<Vec<Value>, StatusError> {
    let mut merged = old;
    let (mut wanted, mut replace) = (Vec::new(), false);
    for item in patch {
        let Value::Object(fields) = item else {
            return Err(StatusError::rejected());
        };
        match fields.get(DIRECTIVE) {
            None => wanted.push(fields),
            Some(Value::String(directive)) if directive == "replace" => replace = true,
            Some(Value::String(directive)) if directive == "delete" => {
                let gone = fields.get(key).ok_or_else(|| no_key(&fields, key))?;
                merged.retain(|item| item.get(key) != Some(gone));
            }
            Some(Value::String(directive)) if directive == "merge" => {
                return Err(StatusError::unknown("merging lists cannot yet be specified in the patch"));
            }
            Some(other) => return Err(unknown(other, &fields)),
        }
    }
    if replace {
        return Ok(wanted.into_iter().map(Value::Object).collect());
    }
    let before = merged.clone();
    let order: Vec<Value> = wanted.iter().cloned().map(Value::Object).collect();
    for fields in wanted {
        let id = fields.get(key).cloned().ok_or_else(|| no_key(&fields, key))?;
        match merged.iter_mut().find(|item| item.get(key) == Some(&id)) {
            Some(Value::Object(present)) => *present = merge_map(each, std::mem::take(present), fields)?,
            _ => merged.extend(plain(Value::Object(fields))),
        }
    }
    Ok(arrange(merged, &order, &before, Some(key)))
}

/// What is in `order` in that order, and the rest, which keeps its own, between it where it was
/// before.
fn arrange(items: Vec<Value>, order: &[Value], before: &[Value], key: Option<&str>) -> Vec<Value> {
    let place = |list: &[Value], item: &Value| list.iter().position(|other| same(item, other, key));
    let (mut ordered, mut others): (Vec<Value>, Vec<Value>) =
        items.into_iter().partition(|item| place(order, item).is_some());
    ordered.sort_by_key(|item| place(order, item));
    others.sort_by_key(|item| place(before, item));
    let mut all = Vec::with_capacity(ordered.len() + others.len());
    let mut others = others.into_iter().peekable();
    for item in ordered {
        while let Some(other) = others.peek()
            && let (Some(first), Some(second)) = (place(before, other), place(before, &item))
            && first < second
        {
            all.extend(others.next());
        }
        all.push(item);
    }
    all.extend(others);
    all
}

/// A value that the object does not have yet: without nulls, and without what directives are
/// about.
fn plain(value: Value) -> Option<Value> {
    Some(match value {
        Value::Object(fields) if fields.contains_key(DIRECTIVE) => return None,
        Value::Object(fields) => {
            let fields = fields.into_iter().filter(|(name, value)| {
                !value.is_null() && name != RETAIN && !name.starts_with(ORDER) && !name.starts_with(DELETE)
            });
            Value::Object(fields.filter_map(|(name, value)| Some((name, plain(value)?))).collect())
        }
        Value::Array(items) => items.into_iter().filter_map(plain).collect(),
        other => other,
    })
}

fn no_key(fields: &Fields, key: &str) -> StatusError {
    let shown = go::shown(&Value::Object(fields.clone()));
    StatusError::unknown(format!("map: {shown} does not contain declared merge key: {key}"))
}

fn unknown(directive: &Value, fields: &Fields) -> StatusError {
    let shown = go::shown(&Value::Object(fields.clone()));
    StatusError::unknown(format!("unknown patch type: {} in map: {shown}", go::shown(directive)))
}

#[cfg(test)]
mod tests;
