//! What the API does with a definition beyond storing it.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{FINALIZER, builtin, checks, list, set_condition};
use crate::local::admit::FieldError;
use crate::local::kinds::{Kind, Registry, Rules};
use crate::local::status::StatusError;
use crate::local::store::{Key, Txn};
use crate::local::verbs;

pub(in crate::local) struct CustomResourceDefinitions;

impl Rules for CustomResourceDefinitions {
    fn prepare(
        &self,
        _: &Kind,
        _: &Txn<'_>,
        object: &mut Value,
        old: Option<&Value>,
    ) -> Result<Vec<FieldError>, StatusError> {
        fill(object);
        let storage = list(&object["spec"]["versions"]).iter().find(|version| version["storage"] == true);
        let storage = storage.map(|version| version["name"].clone());
        match old {
            None => {
                let stored = storage.map_or(Value::Null, |storage| json!([storage]));
                object["status"] =
                    json!({"conditions": null, "acceptedNames": {"plural": "", "kind": ""}, "storedVersions": stored});
            }
            Some(_) => {
                let mut stored = list(&object["status"]["storedVersions"]).to_vec();
                stored.extend(storage.filter(|storage| !stored.contains(storage)));
                object["status"]["storedVersions"] = stored.into();
            }
        }
        if old.is_some_and(|old| old["spec"] == object["spec"]) {
            return Ok(Vec::new());
        }
        if old.is_some() {
            builtin::unmark(object);
        }
        Ok(checks::check(object, old))
    }

    /// The objects go first: until then the definition stays, and says that it is terminating.
    fn delete(
        &self,
        txn: &mut Txn<'_>,
        _: &Registry,
        key: &Key,
        object: &Value,
    ) -> Result<Option<Arc<Value>>, StatusError> {
        let mut leaving = object.clone();
        leaving["metadata"]["deletionTimestamp"] = verbs::now().into();
        leaving["metadata"]["finalizers"] = json!([FINALIZER]);
        let message = "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon";
        set_condition(&mut leaving, "Terminating", "True", "InstanceDeletionPending", message);
        Ok(Some(txn.put(key.clone(), leaving)))
    }
}

fn fill(object: &mut Value) {
    let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) else { return };
    spec.entry("conversion").or_insert_with(|| json!({"strategy": "None"}));
    if spec.get("preserveUnknownFields").is_some_and(|keep| *keep == false) {
        spec.remove("preserveUnknownFields");
    }
    if let Some(Value::Object(names)) = spec.get_mut("names") {
        let kind = names.get("kind").and_then(Value::as_str).unwrap_or_default().to_owned();
        let mut set = |field: &str, value: String| {
            let absent = names.get(field).and_then(Value::as_str).is_none_or(str::is_empty);
            if absent && !kind.is_empty() {
                names.insert(field.to_owned(), value.into());
            }
        };
        set("singular", kind.to_lowercase());
        set("listKind", format!("{kind}List"));
    }
    let versions = spec.get_mut("versions").and_then(Value::as_array_mut);
    for version in versions.into_iter().flatten().filter_map(Value::as_object_mut) {
        for flag in ["served", "storage"] {
            version.entry(flag).or_insert(Value::Bool(false));
        }
        if let Some(schema) = version.get_mut("schema").and_then(|schema| schema.get_mut("openAPIV3Schema")) {
            drop_nothing(schema);
        }
    }
}

/// A reference to nothing says nothing: Go does not write it.
fn drop_nothing(schema: &mut Value) {
    let Some(fields) = schema.as_object_mut() else { return };
    fields.retain(|name, value| match value {
        Value::String(text) => !text.is_empty() || name == "default",
        Value::Array(items) => !items.is_empty() || name == "default",
        Value::Null => name == "default",
        Value::Bool(false) => {
            ["additionalProperties", "default", "x-kubernetes-preserve-unknown-fields"].contains(&name.as_str())
        }
        _ => true,
    });
    let inner =
        |value: &mut Value| value.as_object_mut().map(Map::values_mut).into_iter().flatten().for_each(drop_nothing);
    fields.get_mut("properties").into_iter().for_each(inner);
    for key in ["items", "additionalProperties", "not"] {
        fields.get_mut(key).into_iter().for_each(drop_nothing);
    }
    for key in ["allOf", "anyOf", "oneOf"] {
        fields.get_mut(key).and_then(Value::as_array_mut).into_iter().flatten().for_each(drop_nothing);
    }
}
