//! The kinds that the API serves. Verbs know a [`Kind`] only, never a particular one.

mod builtin;
mod cells;
mod checks;
mod events;
mod rules;
mod services;
mod workloads;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use serde_json::Value;

use super::admit::FieldError;
use super::crd::Served;
use super::status::StatusError;
use super::store::{Key, Txn};
pub use cells::Column;
pub(super) use cells::conditions;

/// How one kind is named, served and kept.
pub struct Kind {
    pub group: String,
    /// Served versions, the preferred one first. All have the same shape.
    pub versions: Vec<String>,
    /// The version in which objects are stored.
    pub storage: String,
    pub kind: String,
    pub plural: String,
    pub singular: String,
    pub short_names: Vec<String>,
    pub categories: Vec<String>,
    pub namespaced: bool,
    /// Has a `/status` subresource: `status` is then ignored everywhere else.
    pub has_status: bool,
    /// Whether `metadata.generation` is kept.
    pub has_generation: bool,
    /// Known to kubectl by its Go type: strategic merge patch and unconditional updates are
    /// allowed, and items of lists do not repeat their kind.
    pub typed: bool,
    /// Answers to a creation and is never stored, such as an access review.
    pub ephemeral: bool,
    pub columns: Vec<Column>,
    /// Paths which a field selector may name, besides `metadata.name` and `metadata.namespace`.
    pub selectable: Vec<String>,
    /// Where the `/scale` subresource reads and writes, if the kind has one.
    pub scale: Option<Scale>,
    /// The answer to a deletion is the object, and not a `Status`.
    pub answers_with_object: bool,
    /// The objects of another kind, shown in another shape.
    pub view: Option<View>,
    /// What every answer in this version warns of.
    pub warning: Option<String>,
    /// Its CustomResourceDefinition is deleted: no new objects.
    pub terminating: bool,
    pub rules: Arc<dyn Rules>,
    /// What its objects have to be, where a schema cannot say it.
    pub checks: Option<checks::Checks>,
}

/// Paths of the fields that make a `Scale`, as a CustomResourceDefinition names them.
#[derive(Clone, Debug)]
pub struct Scale {
    pub spec_replicas: String,
    pub status_replicas: String,
    pub selector: Option<String>,
}

impl Default for Scale {
    fn default() -> Self {
        Self {
            spec_replicas: ".spec.replicas".into(),
            status_replicas: ".status.replicas".into(),
            selector: Some(".spec.selector".into()),
        }
    }
}

/// A kind that has no objects of its own, such as the Event of `events.k8s.io`.
#[derive(Clone)]
pub struct View {
    /// Group and plural under which the objects are kept.
    pub stored: (&'static str, &'static str),
    pub show: fn(&Value) -> Value,
    /// The opposite of `show`, as far as the kind has the fields.
    pub keep: fn(Value) -> Value,
}

/// What a kind does beyond being stored. Runs inside the transaction of the write.
pub trait Rules: Send + Sync {
    /// Fills in an object that is about to be stored, and says what is wrong with it.
    fn prepare(
        &self,
        _kind: &Kind,
        _txn: &Txn<'_>,
        _object: &mut Value,
        _old: Option<&Value>,
    ) -> Result<Vec<FieldError>, StatusError> {
        Ok(Vec::new())
    }

    /// Takes over a deletion: returns the object as it is now, which stays, or `None` to have it
    /// removed by the caller.
    fn delete(
        &self,
        _txn: &mut Txn<'_>,
        _registry: &Registry,
        _key: &Key,
        _object: &Value,
    ) -> Result<Option<Arc<Value>>, StatusError> {
        Ok(None)
    }

    /// Seconds that the object takes to go, when its kind has such a time; `asked` is the
    /// client's wish.
    fn grace(&self, _object: &Value, _asked: Option<u64>) -> Option<u64> {
        None
    }
}

impl Kind {
    /// A custom kind without versions, columns and subresources.
    pub fn custom(group: &str, kind: &str, plural: &str, singular: &str) -> Self {
        builtin::custom(group, kind, plural, singular)
    }

    /// Why a field selector cannot name this field.
    pub fn unknown_field(&self, path: &str) -> String {
        if self.typed && self.selectable.is_empty() {
            format!("{path:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"")
        } else {
            format!("field label not supported: {path}")
        }
    }

    /// `plural.group`, as errors name the resource.
    pub fn resource(&self) -> String {
        if self.group.is_empty() { self.plural.clone() } else { format!("{}.{}", self.plural, self.group) }
    }

    /// `Kind.group`, as validation errors name it.
    pub fn qualified(&self) -> String {
        if self.group.is_empty() { self.kind.clone() } else { format!("{}.{}", self.kind, self.group) }
    }

    pub fn list_kind(&self) -> String {
        format!("{}List", self.kind)
    }

    pub fn api_version(&self, version: &str) -> String {
        if self.group.is_empty() { version.to_owned() } else { format!("{}/{version}", self.group) }
    }

    pub fn serves(&self, version: &str) -> bool {
        self.versions.iter().any(|served| served == version)
    }

    /// Group and plural under which its objects are kept.
    pub fn stored(&self) -> (&str, &str) {
        match &self.view {
            Some(view) => view.stored,
            None => (&self.group, &self.plural),
        }
    }

    pub fn key(&self, namespace: &str, name: &str) -> Key {
        let (group, plural) = self.stored();
        Key::new(group, plural, namespace, name)
    }

    pub fn verbs(&self) -> &'static [&'static str] {
        if self.ephemeral {
            &["create"]
        } else {
            &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
        }
    }
}

/// All kinds that are served. Kinds may come and go while the server runs.
#[derive(Default)]
pub struct Registry {
    kinds: RwLock<BTreeMap<(String, String), Arc<Kind>>>,
    /// By group, version and plural: the versions of custom kinds differ in columns and more.
    versions: RwLock<BTreeMap<(String, String, String), Arc<Kind>>>,
    /// The definitions that are in force.
    pub(super) custom: tokio::sync::Mutex<Served>,
    pub(super) documents: super::openapi::Cache,
    /// Rises with every kind that comes or goes.
    state: AtomicU64,
}

impl Registry {
    /// The kinds that are built in.
    pub fn builtin() -> Self {
        let registry = Self::default();
        for kind in builtin::kinds() {
            registry.register(kind);
        }
        registry
    }

    pub fn register(&self, kind: Kind) {
        let key = (kind.group.clone(), kind.plural.clone());
        self.kinds.write().unwrap_or_else(PoisonError::into_inner).insert(key, Arc::new(kind));
    }

    /// A number that is another one when other kinds are served.
    pub fn state(&self) -> u64 {
        self.state.load(Ordering::Acquire)
    }

    /// Serves a custom kind in these versions, and in no others.
    pub fn register_versions(&self, kinds: Vec<(String, Kind)>) {
        let mut kinds = kinds.into_iter().map(|(version, kind)| (version, Arc::new(kind))).peekable();
        let Some((_, first)) = kinds.peek().cloned() else { return };
        let (group, plural) = (first.group.clone(), first.plural.clone());
        let mut versions = self.versions.write().unwrap_or_else(PoisonError::into_inner);
        versions.retain(|key, _| key.0 != group || key.2 != plural);
        versions.extend(kinds.map(|(version, kind)| ((group.clone(), version, plural.clone()), kind)));
        self.kinds.write().unwrap_or_else(PoisonError::into_inner).insert((group, plural), first);
        self.state.fetch_add(1, Ordering::AcqRel);
    }

    /// Takes a custom kind away. What it replaced is served again.
    pub fn unregister(&self, group: &str, plural: &str) {
        let mut versions = self.versions.write().unwrap_or_else(PoisonError::into_inner);
        versions.retain(|key, _| key.0 != group || key.2 != plural);
        let mut kinds = self.kinds.write().unwrap_or_else(PoisonError::into_inner);
        kinds.remove(&(group.to_owned(), plural.to_owned()));
        if let Some(kind) = builtin::kinds().find(|kind| kind.group == group && kind.plural == plural) {
            kinds.insert((group.to_owned(), plural.to_owned()), Arc::new(kind));
        }
        self.state.fetch_add(1, Ordering::AcqRel);
    }

    /// The kind that is served as `plural` in this group and version.
    pub fn find(&self, group: &str, version: &str, plural: &str) -> Option<Arc<Kind>> {
        let versions = self.versions.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(kind) = versions.get(&(group.to_owned(), version.to_owned(), plural.to_owned())) {
            return Some(kind.clone());
        }
        drop(versions);
        self.resource(group, plural).filter(|kind| kind.serves(version))
    }

    /// Whether any kind is served in this group and version.
    pub fn serves(&self, group: &str, version: &str) -> bool {
        self.all().iter().any(|kind| kind.group == group && kind.serves(version))
    }

    /// The kind of this name in this group and version.
    pub fn find_kind(&self, api_version: &str, kind: &str) -> Option<Arc<Kind>> {
        let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
        self.all().into_iter().find(|found| found.group == group && found.kind == kind && found.serves(version))
    }

    pub fn resource(&self, group: &str, plural: &str) -> Option<Arc<Kind>> {
        let kinds = self.kinds.read().unwrap_or_else(PoisonError::into_inner);
        kinds.get(&(group.to_owned(), plural.to_owned())).cloned()
    }

    /// All kinds, ordered by group and plural.
    pub fn all(&self) -> Vec<Arc<Kind>> {
        self.kinds.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Groups in order, each with its versions, the preferred one first.
    pub fn groups(&self) -> Vec<(String, Vec<String>)> {
        let mut groups: Vec<(String, Vec<String>)> = Vec::new();
        for kind in self.all() {
            if kind.versions.is_empty() {
                continue;
            }
            if groups.last().is_none_or(|(group, _)| *group != kind.group) {
                groups.push((kind.group.clone(), Vec::new()));
            }
            if let Some((_, versions)) = groups.last_mut() {
                for version in &kind.versions {
                    if !versions.contains(version) {
                        versions.push(version.clone());
                    }
                }
            }
        }
        for (_, versions) in &mut groups {
            versions.sort_by_key(|version| super::crd::priority(version));
        }
        groups
    }
}
