//! The three-way merge of a manifest: what the file said, what it says now, what is live.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// `live` with what changed between `last` and `new`.
///
/// - What the file did not change stays as it is live, even if someone changed or removed it.
/// - What the file changed is as the file says; what it dropped is removed.
/// - Lists are replaced as a whole when they changed, except that entries are merged one by one
///   where `last`, `new` and `live` hold the same entries: by `name` if each has its own,
///   otherwise by position if the lists are equally long. So weights that a canary patched
///   survive an edit elsewhere in the rule.
///
/// `last` is `Null` where nothing was applied before.
pub fn three_way(last: &Value, new: &Value, live: &Value) -> Value {
    if last == new {
        return live.clone();
    }
    match (new, live) {
        (Value::Object(new), Value::Object(live)) => {
            let empty = Map::new();
            Value::Object(objects(last.as_object().unwrap_or(&empty), new, live))
        }
        (Value::Array(new_items), Value::Array(live)) => {
            let merged = last.as_array().and_then(|last| lists(last, new_items, live));
            merged.map_or_else(|| new.clone(), Value::Array)
        }
        _ => new.clone(),
    }
}

fn objects(last: &Map<String, Value>, new: &Map<String, Value>, live: &Map<String, Value>) -> Map<String, Value> {
    let mut merged = live.clone();
    for (key, new) in new {
        match (last.get(key), live.get(key)) {
            (last, Some(live)) => {
                merged.insert(key.clone(), three_way(last.unwrap_or(&Value::Null), new, live));
            }
            (Some(last), None) if last == new => {}
            (_, None) => {
                merged.insert(key.clone(), new.clone());
            }
        }
    }
    for key in last.keys().filter(|key| !new.contains_key(*key)) {
        merged.remove(key);
    }
    merged
}

/// `None` where entries cannot be paired.
fn lists(last: &[Value], new: &[Value], live: &[Value]) -> Option<Vec<Value>> {
    if last.len() != new.len() || live.len() != new.len() {
        return None;
    }
    match (names(last), names(new), names(live)) {
        (Some(last_names), Some(new_names), Some(live_names)) => {
            let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
            let (all, unique) = (set(&new_names), set(&new_names).len() == new.len());
            if !unique || set(&last_names) != all || set(&live_names) != all {
                // Entries of one name more than once pair by position, if all have the same names there.
                return (last_names == new_names && live_names == new_names).then(|| by_position(last, new, live));
            }
            let find = |names: &[&str], name: &str| names.iter().position(|other| *other == name);
            new.iter()
                .zip(&new_names)
                .map(|(item, name)| {
                    Some(three_way(last.get(find(&last_names, name)?)?, item, live.get(find(&live_names, name)?)?))
                })
                .collect()
        }
        (None, None, None) => Some(by_position(last, new, live)),
        _ => None,
    }
}

fn by_position(last: &[Value], new: &[Value], live: &[Value]) -> Vec<Value> {
    last.iter().zip(new).zip(live).map(|((last, new), live)| three_way(last, new, live)).collect()
}

/// The names of a list's entries, if each has one.
fn names(items: &[Value]) -> Option<Vec<&str>> {
    items.iter().map(|item| item.get("name").and_then(Value::as_str)).collect()
}

#[cfg(test)]
mod tests;
