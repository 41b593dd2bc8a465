//! `/openapi/v3` and `/openapi/v2`: what `kubectl explain` and client-side validation read.

mod document;
mod paths;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::verbs::Resources;

/// One document as it is sent, and the hash by which clients keep it.
#[derive(Debug)]
pub(super) struct Document {
    pub body: String,
    pub hash: String,
}

impl Document {
    pub(super) fn new(value: &Value) -> Self {
        let body = value.to_string();
        let hash = Sha256::digest(body.as_bytes()).iter().map(|byte| format!("{byte:02X}")).collect();
        Self { body, hash }
    }
}

/// Documents that were made, by path. They hold for one state of the registry.
#[derive(Debug, Default)]
pub(super) struct Cache(Mutex<(u64, BTreeMap<String, Arc<Document>>)>);

impl Cache {
    fn get(&self, state: u64, path: &str, make: impl FnOnce() -> Option<Value>) -> Option<Arc<Document>> {
        {
            let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if held.0 != state {
                *held = (state, BTreeMap::new());
            }
            if let Some(found) = held.1.get(path) {
                return Some(found.clone());
            }
        }
        let made = Arc::new(Document::new(&make()?));
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if held.0 == state {
            held.1.insert(path.to_owned(), made.clone());
        }
        Some(made)
    }
}

/// The document of a path below `/openapi`.
pub(super) fn document(resources: &Resources, path: &[String]) -> Option<Arc<Document>> {
    let registry = &resources.registry;
    let state = registry.state();
    let words: Vec<&str> = path.iter().map(String::as_str).collect();
    let name = words.join("/");
    match words.as_slice() {
        ["v3"] => registry.documents.get(state, &name, || Some(index(resources))),
        ["v3", "api", version] => one(resources, "", version),
        ["v3", "apis", group, version] => one(resources, group, version),
        ["v2"] => registry.documents.get(state, &name, || Some(swagger(resources))),
        _ => None,
    }
}

fn one(resources: &Resources, group: &str, version: &str) -> Option<Arc<Document>> {
    let registry = &resources.registry;
    let name = format!("v3/{}", root(group, version));
    registry.documents.get(registry.state(), &name, || {
        let (paths, schemas) = document::group_version(resources, group, version)?;
        Some(json!({"openapi": "3.0.0", "info": info(), "paths": paths, "components": {"schemas": schemas}}))
    })
}

fn index(resources: &Resources) -> Value {
    let mut paths = Map::new();
    for (group, versions) in resources.registry.groups() {
        for version in versions {
            let name = root(&group, &version);
            let Some(document) = one(resources, &group, &version) else { continue };
            let url = format!("/openapi/v3/{name}?hash={}", document.hash);
            paths.insert(name, json!({"serverRelativeURL": url}));
        }
    }
    json!({"paths": paths})
}

fn swagger(resources: &Resources) -> Value {
    let (mut paths, mut definitions) = (Map::new(), Map::new());
    for (group, versions) in resources.registry.groups() {
        for version in versions {
            if let Some((more, schemas)) = document::group_version(resources, &group, &version) {
                paths.extend(more.into_iter().map(|(path, item)| (path, paths::swagger(item))));
                definitions.extend(schemas.into_iter().map(|(name, schema)| (name, document::swagger(schema))));
            }
        }
    }
    json!({"swagger": "2.0", "info": info(), "paths": paths, "definitions": definitions})
}

fn info() -> Value {
    json!({"title": "Kubernetes", "version": "v1.36.0+gwproxy"})
}

fn root(group: &str, version: &str) -> String {
    if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") }
}
