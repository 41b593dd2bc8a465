//! JSON Patch as a kube-apiserver carries it out. It is looser than RFC 6902: a member that is
//! missing counts as null for `test`, `replace` and `copy`, indices may be negative, and the
//! text before a path's first slash is ignored. Bounded: `copy` can double an object with every
//! operation, and nest it deeper.

use serde_json::{Map, Value};

use super::MAX_OPERATIONS;
use crate::local::go;
use crate::local::limits::{DEPTH, SIZE, depth, size};
use crate::local::status::StatusError;

/// One operation as it was sent; what it lacks is found when it is carried out.
#[derive(Debug)]
pub(super) struct Operation {
    op: String,
    path: Option<String>,
    from: Option<String>,
    value: Value,
}

pub(super) fn parse(body: &[u8]) -> Result<Vec<Operation>, StatusError> {
    let undecodable = |why: String| StatusError::bad_request(format!("error decoding patch: {why}"));
    let operations = match serde_json::from_slice(body) {
        Ok(Value::Array(operations)) => operations,
        Ok(Value::Null) => Vec::new(),
        Ok(other) => return Err(undecodable(not_a(&other, "[]handlers.jsonPatchOp"))),
        Err(error) => return Err(undecodable(go::json_error(body, &error))),
    };
    if operations.len() > MAX_OPERATIONS {
        return Err(StatusError::too_many_operations(MAX_OPERATIONS, operations.len()));
    }
    operations.into_iter().map(operation).collect::<Result<_, _>>().map_err(undecodable)
}

fn not_a(value: &Value, what: &str) -> String {
    format!("json: cannot unmarshal {} into Go value of type {what}", go::json_type(value))
}

fn operation(sent: Value) -> Result<Operation, String> {
    let mut fields = match sent {
        Value::Object(fields) => fields,
        Value::Null => Map::new(),
        other => return Err(not_a(&other, "handlers.jsonPatchOp")),
    };
    let mut text = |name: &str| match fields.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => {
            let kind = go::json_type(&other);
            Err(format!("json: cannot unmarshal {kind} into Go struct field jsonPatchOp.{name} of type string"))
        }
    };
    let (op, path, from) = (text("op")?.unwrap_or_default(), text("path")?, text("from")?);
    Ok(Operation { op, path, from, value: fields.remove("value").unwrap_or_default() })
}

/// Carries the operations out in order. The object is not to be used when one fails.
pub(super) fn apply(operations: &[Operation], object: &mut Value) -> Result<(), StatusError> {
    let mut copied = 0;
    for operation in operations {
        carry_out(operation, object, &mut copied).ok_or_else(StatusError::rejected)?;
    }
    Ok(())
}

fn carry_out(operation: &Operation, object: &mut Value, copied: &mut usize) -> Option<()> {
    let Operation { op, path, from, value } = operation;
    let path = path.as_deref()?;
    match op.as_str() {
        "add" => add(object, path, value.clone()),
        "remove" => remove(object, path).map(drop),
        "replace" if path.is_empty() => (value.is_object() && depth(value) <= DEPTH).then(|| *object = value.clone()),
        "replace" => {
            get(object, path)?;
            shallow(path, value)?;
            let (parent, key) = parent(object, path)?;
            match parent {
                Value::Array(items) => {
                    let at = index(&key, items.len())?;
                    *items.get_mut(at)? = value.clone();
                }
                Value::Object(fields) => {
                    fields.insert(key, value.clone());
                }
                _ => return None,
            }
            Some(())
        }
        "move" => {
            let from = from.as_deref()?;
            let value = remove(object, from)?;
            add(object, path, value)
        }
        "copy" => {
            let value = get(object, from.as_deref()?)?;
            *copied += size(&value);
            if *copied > SIZE {
                return None;
            }
            add(object, path, value)
        }
        "test" if path.is_empty() => (object == value).then_some(()),
        "test" => (get(object, path)? == *value).then_some(()),
        _ => None,
    }
}

/// The container that the path's last token is in, and that token.
fn parent<'a>(object: &'a mut Value, path: &str) -> Option<(&'a mut Value, String)> {
    let (_, tokens) = path.split_once('/')?;
    let (within, last) = tokens.rsplit_once('/').map_or((None, tokens), |(within, last)| (Some(within), last));
    let mut here = object;
    for token in within.into_iter().flat_map(|within| within.split('/')) {
        let key = decoded(token);
        here = match here {
            Value::Object(fields) => fields.get_mut(&key)?,
            Value::Array(items) => {
                let at = index(&key, items.len())?;
                items.get_mut(at)?
            }
            _ => return None,
        };
    }
    (here.is_object() || here.is_array()).then(|| (here, decoded(last)))
}

fn decoded(token: &str) -> String {
    token.replace("~1", "/").replace("~0", "~")
}

/// A place in a list of this length, counted from its end when negative.
fn index(key: &str, length: usize) -> Option<usize> {
    let at: i64 = key.parse().ok()?;
    let length = i64::try_from(length).ok()?;
    usize::try_from(if at < 0 { at + length } else { at }).ok()
}

/// The value at the path; a member that its object lacks is null.
fn get(object: &mut Value, path: &str) -> Option<Value> {
    let (parent, key) = parent(object, path)?;
    match parent {
        Value::Object(fields) => Some(fields.get(&key).cloned().unwrap_or_default()),
        Value::Array(items) => items.get(index(&key, items.len())?).cloned(),
        _ => None,
    }
}

fn shallow(path: &str, value: &Value) -> Option<()> {
    (path.matches('/').count() + depth(value) <= DEPTH).then_some(())
}

fn add(object: &mut Value, path: &str, value: Value) -> Option<()> {
    shallow(path, &value)?;
    let (parent, key) = parent(object, path)?;
    match parent {
        Value::Object(fields) => {
            fields.insert(key, value);
        }
        Value::Array(items) if key == "-" => items.push(value),
        Value::Array(items) => {
            let at = index(&key, items.len() + 1).filter(|at| *at <= items.len())?;
            items.insert(at, value);
        }
        _ => return None,
    }
    Some(())
}

fn remove(object: &mut Value, path: &str) -> Option<Value> {
    let (parent, key) = parent(object, path)?;
    match parent {
        Value::Object(fields) => fields.remove(&key),
        Value::Array(items) => {
            let at = index(&key, items.len()).filter(|at| *at < items.len())?;
            Some(items.remove(at))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
