//! A store out of manifests: what a cluster with just these objects would be.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    json::{list, text},
    key::Kind,
    object::Object,
    secret,
    store::{Change, Store},
};

/// Objects of one text, YAML or JSON, several documents or a List; and what is wrong with it.
pub fn objects(name: &str, text: &str) -> (Vec<Value>, Vec<String>) {
    let (mut all, mut problems) = (Vec::new(), Vec::new());
    let mut line = 1;
    for document in documents(text) {
        let said = |row: &str| !row.trim().is_empty() && !row.trim_start().starts_with('#');
        if document.lines().any(said) {
            match serde_saphyr::from_str::<Value>(document) {
                Ok(value) => flatten(value, &mut all),
                Err(error) => {
                    let reason = error.to_string();
                    let reason = reason.lines().next().unwrap_or("it is no YAML");
                    problems.push(format!("{name}: the document from line {line}: {reason}"));
                }
            }
        }
        line += document.matches('\n').count() + 1;
    }
    (all, problems)
}

fn documents(text: &str) -> impl Iterator<Item = &str> {
    let text = text.trim_start_matches('\u{feff}');
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let here = rest?;
        let mut at = 0;
        for row in here.split_inclusive('\n') {
            if row.trim_end() == "---" && at + row.len() <= here.len() {
                rest = Some(&here[at + row.len()..]);
                return Some(&here[..at]);
            }
            at += row.len();
        }
        rest = None;
        Some(here)
    })
}

fn flatten(value: Value, into: &mut Vec<Value>) {
    if text(&value, "kind").ends_with("List") && value.get("items").is_some_and(Value::is_array) {
        into.extend(list(&value, "/items").iter().cloned());
    } else {
        into.push(value);
    }
}

/// The kind of an object, by its own words.
pub fn kind_of(object: &Value) -> Option<Kind> {
    let version = text(object, "apiVersion");
    let group = version.split_once('/').map_or("", |(group, _)| group);
    Kind::parse(&format!("{}.{group}", text(object, "kind")).to_ascii_lowercase())
        .or_else(|| Kind::ALL.into_iter().find(|kind| kind.group() == group && kind.name() == text(object, "kind")))
}

/// The objects that the console knows, by kind, as a watch would give them.
pub fn by_kind(objects: Vec<Value>) -> BTreeMap<Kind, Vec<Object>> {
    let mut kinds: BTreeMap<Kind, Vec<Object>> = BTreeMap::new();
    for mut object in objects {
        let Some(kind) = kind_of(&object) else { continue };
        if kind == Kind::Secret && object.get("certificate").is_none() {
            object = secret::reduce(&object);
        }
        if kind.namespaced()
            && let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut)
        {
            metadata.entry("namespace").or_insert_with(|| Value::from("default"));
        }
        kinds.entry(kind).or_default().push(object.into());
    }
    kinds
}

/// A store that knows of the kinds that are there; of others nothing is known. `complete`: what is
/// not there does not exist.
pub fn store(objects: Vec<Value>, complete: bool) -> Store {
    let mut store = Store::default();
    if complete {
        for kind in Kind::ALL {
            store.apply(Change::Replace(kind, Vec::new()));
        }
    }
    for (kind, objects) in by_kind(objects) {
        store.apply(Change::Replace(kind, objects));
    }
    store
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_document_takes_nobody_with_it() {
        let text = "# nothing\n---\nkind: [\n---\napiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Service\n  metadata: {name: a}\n";
        let (objects, problems) = objects("x.yaml", text);
        assert_eq!((objects.len(), problems.len()), (1, 1), "{problems:?}");
        assert!(problems[0].starts_with("x.yaml: the document from line 3"), "{problems:?}");
        let store = store(objects, false);
        assert!(store.service("default", "a").is_some());
        assert!(store.sees(Kind::Service, "shop") && !store.sees(Kind::Gateway, "shop"));
    }
}
