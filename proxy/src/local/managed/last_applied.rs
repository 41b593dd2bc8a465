//! From client-side to server-side apply: what kubectl's annotation says was applied belongs to
//! kubectl, and the annotation follows what is applied, so that a client can go back.

use serde_json::Value;

use super::set::{Element, Set};
use super::shape::Shape;
use super::walk::{Changes, fields};

const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Bytes of all annotations of an object.
const ANNOTATIONS: usize = 256 << 10;

/// The fields that are as kubectl applied them last, if it says so in the version of `config`.
pub(super) fn owned(shape: &Shape, config: &Value, live: &Value) -> Option<Set> {
    let last: Value = serde_json::from_str(live["metadata"]["annotations"][ANNOTATION].as_str()?).ok()?;
    if last["apiVersion"] != config["apiVersion"] {
        return None;
    }
    let changes = Changes::between(shape, &last, live);
    let mut set = fields(shape, &last);
    for changed in [&changes.modified, &changes.added, &changes.removed] {
        set = set.difference(changed);
    }
    Some(set)
}

/// Whether the path is one of the set's.
pub(super) fn has(set: &Set, path: &[Element]) -> bool {
    match path {
        [] => false,
        [last] => set.has(last),
        [first, rest @ ..] => set.below(first).is_some_and(|below| has(below, rest)),
    }
}

/// Keeps the annotation, where there is one, at what is applied now.
pub(super) fn follow(object: &mut Value, config: &Value) {
    let Some(annotations) = object["metadata"]["annotations"].as_object_mut() else { return };
    if annotations.get(ANNOTATION).and_then(Value::as_str).is_none_or(str::is_empty) {
        return;
    }
    let mut config = config.clone();
    if let Some(metadata) = config["metadata"].as_object_mut()
        && let Some(Value::Object(mine)) = metadata.get_mut("annotations")
    {
        mine.remove(ANNOTATION);
        if mine.is_empty() {
            metadata.remove("annotations");
        }
    }
    annotations.insert(ANNOTATION.into(), format!("{config}\n").into());
    let size: usize = annotations.iter().map(|(name, value)| name.len() + value.as_str().map_or(0, str::len)).sum();
    if size > ANNOTATIONS {
        annotations.remove(ANNOTATION);
    }
}
