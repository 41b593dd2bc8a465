//! `/scale`: the replicas of an object, whatever its kind calls them.

use serde_json::{Value, json};

use super::{Resources, Target, WriteOptions, as_version};
use crate::local::admit::{FieldError, FieldErrorKind};
use crate::local::kinds::{Kind, Scale};
use crate::local::managed::Scaling;
use crate::local::status::StatusError;
use crate::local::store::Txn;
use crate::local::table::jsonpath;

const API_VERSION: &str = "autoscaling/v1";

impl Resources {
    pub fn scale_of(&self, target: &Target, name: &str) -> Result<Value, StatusError> {
        let scale = scale(&target.kind)?;
        Ok(show(scale, &*self.get(target, name)?))
    }

    /// Replaces the Scale by what `change` makes of it, and returns it as it is then.
    pub(in crate::local) async fn set_scale<F>(
        &self,
        target: &Target,
        name: &str,
        options: WriteOptions,
        scaling: Scaling,
        change: F,
    ) -> Result<Value, StatusError>
    where
        F: FnOnce(Value) -> Result<Value, StatusError> + Send + 'static,
    {
        let paths = scale(&target.kind)?.clone();
        let (this, target, own, within) = (self.clone(), target.clone(), target, paths.clone());
        let (key, dry_run) = (target.kind.key(&target.namespace, name), options.dry_run);
        let change = move |txn: &mut Txn<'_>| {
            let Target { kind, version, .. } = &target;
            let old = txn.get(&key).ok_or_else(|| StatusError::not_found(kind, &key.name))?;
            let before = show(&within, &old);
            let wanted = change(before.clone())?;
            let replicas = replicas(&wanted)?;
            let mut object = as_version(&old, kind, version);
            set(&mut object, &within.spec_replicas, replicas.into());
            if let Some(revision) = wanted["metadata"]["resourceVersion"].as_str().filter(|text| !text.is_empty()) {
                object["metadata"]["resourceVersion"] = revision.into();
            }
            let changed = before["spec"]["replicas"].as_u64().unwrap_or(0) != replicas;
            let write = this.write(&target, false, &options);
            let owners = write.scaled(&old, &within.spec_replicas, changed, scaling)?;
            this.replace_in(txn, &target, &key, false, object, Some(owners), &options)
        };
        Ok(show(&paths, &self.write_all(own, dry_run, change).await?.object))
    }
}

fn scale(kind: &Kind) -> Result<&Scale, StatusError> {
    kind.scale.as_ref().ok_or_else(StatusError::no_resource)
}

fn replicas(scale: &Value) -> Result<u64, StatusError> {
    if scale["kind"] != "Scale" || scale["apiVersion"] != API_VERSION {
        return Err(StatusError::bad_request(format!(
            "the body is no Scale: it has apiVersion {} and kind {}, and has to have {API_VERSION:?} and \"Scale\"",
            scale["apiVersion"], scale["kind"]
        )));
    }
    match &scale["spec"]["replicas"] {
        Value::Null => Ok(0),
        Value::Number(number) if number.as_u64().is_some() => Ok(number.as_u64().unwrap_or_default()),
        Value::Number(number) if number.as_i64().is_some() => {
            let message = format!("Invalid value: {number}: must be greater than or equal to 0");
            let error = FieldError { field: "spec.replicas".into(), kind: FieldErrorKind::Invalid, message };
            Err(StatusError::invalid_scale(scale["metadata"]["name"].as_str().unwrap_or_default(), &[error]))
        }
        other => Err(StatusError::bad_request(format!("spec.replicas is {other}: it has to be a whole number"))),
    }
}

fn show(paths: &Scale, object: &Value) -> Value {
    let at = |path: &str| jsonpath(object, path).first().and_then(|found| found.as_u64());
    let metadata = &object["metadata"];
    let mut shown = json!({"kind": "Scale", "apiVersion": API_VERSION, "metadata": {}, "spec": {}});
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if !metadata[field].is_null() {
            shown["metadata"][field] = metadata[field].clone();
        }
    }
    // A kind that leaves the number out means one.
    let wanted = at(&paths.spec_replicas).unwrap_or(1);
    if wanted > 0 {
        shown["spec"]["replicas"] = wanted.into();
    }
    shown["status"] = json!({"replicas": at(&paths.status_replicas).unwrap_or(0)});
    let selector = paths.selector.as_deref().and_then(|path| jsonpath(object, path).first().copied().map(selector));
    if let Some(selector) = selector.filter(|text| !text.is_empty()) {
        shown["status"]["selector"] = selector.into();
    }
    shown
}

/// A label selector as one line.
fn selector(value: &Value) -> String {
    if let Some(text) = value.as_str() {
        return text.to_owned();
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let labels = value["matchLabels"].as_object().into_iter().flatten();
    let mut parts: Vec<String> = labels.map(|(key, value)| format!("{key}={}", text(value))).collect();
    for expression in value["matchExpressions"].as_array().into_iter().flatten() {
        let values: Vec<String> = expression["values"].as_array().into_iter().flatten().map(text).collect();
        let (key, values) = (text(&expression["key"]), values.join(","));
        parts.push(match expression["operator"].as_str() {
            Some("In") => format!("{key} in ({values})"),
            Some("NotIn") => format!("{key} notin ({values})"),
            Some("DoesNotExist") => format!("!{key}"),
            _ => key,
        });
    }
    parts.join(",")
}

fn set(object: &mut Value, path: &str, value: Value) {
    let mut place = object;
    for field in path.split('.').filter(|field| !field.is_empty()) {
        if !place.is_object() {
            *place = json!({});
        }
        place = &mut place[field];
    }
    *place = value;
}
