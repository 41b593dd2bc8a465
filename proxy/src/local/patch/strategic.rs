//! Strategic merge patch: lists of objects are merged by a key that depends on the field.

use serde_json::{Map, Value};

use crate::local::status::StatusError;

/// How a list is patched.
enum List {
    /// Replaced as a whole.
    Atomic,
    /// Merged as a set of plain values.
    Set,
    /// Merged by this field of its items.
    By(&'static str),
}

/// The built-in kinds' merge keys. Fields mean the same wherever they occur, but for `ports`.
fn list(kind: &str, parent: &str, field: &str) -> List {
    match (field, parent) {
        ("finalizers", "metadata") => List::Set,
        ("ownerReferences", "metadata") => List::By("uid"),
        ("conditions", "status") => List::By("type"),
        ("containers" | "initContainers" | "ephemeralContainers" | "env" | "volumes" | "imagePullSecrets", _) => {
            List::By("name")
        }
        ("volumeMounts", _) => List::By("mountPath"),
        ("volumeDevices", _) => List::By("devicePath"),
        ("hostAliases", _) => List::By("ip"),
        ("topologySpreadConstraints", _) => List::By("topologyKey"),
        ("ports", "spec") if kind == "Service" => List::By("port"),
        ("ports", "containers" | "initContainers") => List::By("containerPort"),
        ("secrets", _) if kind == "ServiceAccount" => List::By("name"),
        ("taints", "spec") if kind == "Node" => List::By("key"),
        ("addresses", "status") if kind == "Node" => List::By("type"),
        _ => List::Atomic,
    }
}

pub(super) fn merge(kind: &str, object: &mut Value, patch: &Map<String, Value>) -> Result<(), StatusError> {
    merge_value(kind, "", object, &Value::Object(patch.clone()))
}

fn merge_value(kind: &str, field: &str, object: &mut Value, patch: &Value) -> Result<(), StatusError> {
    let Some(patch) = patch.as_object() else {
        *object = patch.clone();
        return Ok(());
    };
    match patch.get("$patch").and_then(Value::as_str) {
        None | Some("merge") => {}
        Some("replace") => {
            *object = Value::Object(patch.iter().filter(|(key, _)| *key != "$patch").map(owned).collect());
            return Ok(());
        }
        Some("delete") => {
            *object = Value::Object(Map::new());
            return Ok(());
        }
        Some(other) => return Err(unknown(other)),
    }
    if !object.is_object() {
        *object = Value::Object(Map::new());
    }
    let Some(into) = object.as_object_mut() else { return Ok(()) };
    if let Some(kept) = patch.get("$retainKeys").and_then(Value::as_array) {
        into.retain(|key, _| kept.iter().any(|kept| kept == key));
    }
    for (key, value) in patch {
        if let Some(from) = key.strip_prefix("$deleteFromPrimitiveList/") {
            if let (Some(values), Some(Value::Array(items))) = (value.as_array(), into.get_mut(from)) {
                items.retain(|item| !values.contains(item));
            }
            continue;
        }
        if key.starts_with('$') {
            continue;
        }
        match value {
            Value::Null => {
                into.remove(key);
            }
            Value::Object(_) => {
                merge_value(kind, key, into.entry(key).or_insert(Value::Null), value)?;
            }
            Value::Array(items) => {
                let order = patch.get(&format!("$setElementOrder/{key}")).and_then(Value::as_array);
                merge_list(kind, field, key, into.entry(key).or_insert(Value::Null), items, order)?;
            }
            plain => {
                into.insert(key.clone(), plain.clone());
            }
        }
    }
    Ok(())
}

fn merge_list(
    kind: &str,
    parent: &str,
    field: &str,
    object: &mut Value,
    patch: &[Value],
    order: Option<&Vec<Value>>,
) -> Result<(), StatusError> {
    let replace = patch.iter().any(|item| item["$patch"] == "replace");
    let list = if replace { List::Atomic } else { list(kind, parent, field) };
    let mut items = object.as_array().cloned().unwrap_or_default();
    match list {
        List::Atomic => items = patch.iter().filter(|item| item["$patch"] != "replace").cloned().collect(),
        List::Set => {
            for item in patch {
                if !items.contains(item) {
                    items.push(item.clone());
                }
            }
        }
        List::By(key) => {
            for item in patch {
                let id = &item[key];
                if id.is_null() {
                    return Err(StatusError::unprocessable(format!(
                        "map: {item} does not contain declared merge key: {key}"
                    )));
                }
                if item["$patch"] == "delete" {
                    items.retain(|present| present[key] != *id);
                    continue;
                }
                match items.iter_mut().find(|present| present[key] == *id) {
                    Some(present) => merge_value(kind, field, present, item)?,
                    None => {
                        let mut added = Value::Null;
                        merge_value(kind, field, &mut added, item)?;
                        items.push(added);
                    }
                }
            }
            if let Some(order) = order {
                let place = |item: &Value| order.iter().position(|wanted| wanted[key] == item[key]);
                items.sort_by_key(|item| place(item).unwrap_or(usize::MAX));
            }
        }
    }
    *object = Value::Array(items);
    Ok(())
}

fn owned((key, value): (&String, &Value)) -> (String, Value) {
    (key.clone(), value.clone())
}

fn unknown(directive: &str) -> StatusError {
    StatusError::unprocessable(format!("unknown patch type {directive:?}: use replace, delete or merge"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn merged(kind: &str, mut object: Value, patch: &Value) -> Value {
        merge(kind, &mut object, patch.as_object().unwrap()).expect("a patch that applies");
        object
    }

    #[test]
    fn lists_merge_by_their_key() {
        let deployment = json!({"spec": {"template": {"spec": {"containers": [
            {"name": "a", "image": "a:1", "ports": [{"containerPort": 80}]}, {"name": "b", "image": "b:1"},
        ]}}}});
        let patch = json!({"spec": {"template": {"spec": {
            "$setElementOrder/containers": [{"name": "c"}, {"name": "a"}],
            "containers": [
                {"name": "a", "image": "a:2", "ports": [{"containerPort": 81}]},
                {"name": "b", "$patch": "delete"},
                {"name": "c"},
            ],
        }}}});
        let wanted = json!({"spec": {"template": {"spec": {"containers": [
            {"name": "c"}, {"name": "a", "image": "a:2", "ports": [{"containerPort": 80}, {"containerPort": 81}]},
        ]}}}});
        assert_eq!(merged("Deployment", deployment, &patch), wanted);
    }

    #[test]
    fn directives_replace_retain_and_delete() {
        let object = json!({"metadata": {"finalizers": ["a/b", "a/c"]}, "spec": {"x": 1, "y": 2, "z": {"old": 1}}});
        let patch = json!({
            "metadata": {"$deleteFromPrimitiveList/finalizers": ["a/b"], "finalizers": ["a/d"]},
            "spec": {"$retainKeys": ["x", "z"], "z": {"$patch": "replace", "new": 1}},
        });
        let wanted = json!({"metadata": {"finalizers": ["a/c", "a/d"]}, "spec": {"x": 1, "z": {"new": 1}}});
        assert_eq!(merged("ConfigMap", object, &patch), wanted);
    }

    #[test]
    fn a_missing_merge_key_is_refused() {
        let mut service = json!({"spec": {"ports": [{"port": 80}]}});
        let error = merge("Service", &mut service, json!({"spec": {"ports": [{"name": "x"}]}}).as_object().unwrap())
            .unwrap_err();
        assert_eq!(error.code(), 422);
    }
}
