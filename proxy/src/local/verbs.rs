//! What each verb does to the store, the same for every kind.

mod apply;
mod check;
mod object;
mod remove;
mod scale;

use std::sync::Arc;

use serde_json::Value;

use super::admit::Admit;
use super::crd;
use super::kinds::{Kind, Registry};
use super::managed::{self, Shapes, Write};
use super::names;
use super::patch::Patch;
use super::selector::Selector;
use super::status::{self, StatusError};
use super::store::{Key, Store, Txn};
use check::{check_name, check_uid, decode, read_as};
use object::{
    Stage, accept, check_namespace, check_preconditions, check_revision, check_type, count_generation, fresh,
    in_seconds, is_held, name_of, retain, without,
};
pub(super) use object::{as_version, now};
use remove::Deleted;
pub use remove::Propagation;
pub(super) use remove::remove_content;

/// The objects of one kind that a request speaks of.
#[derive(Clone)]
pub struct Target {
    pub kind: Arc<Kind>,
    pub version: String,
    /// Empty for cluster-scoped kinds.
    pub namespace: String,
}

/// What a writer may ask for besides the write itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteOptions {
    pub dry_run: bool,
    pub validation: FieldValidation,
    /// Who writes, as `metadata.managedFields` names them.
    pub manager: String,
    /// Take fields over from other managers, when applying.
    pub force: bool,
}

/// What happens to fields that the kind does not have: they are dropped, or the write is refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FieldValidation {
    Ignore,
    #[default]
    Warn,
    Strict,
}

/// An object as written, and the fields that were dropped from it.
#[derive(Debug)]
pub struct Written {
    pub object: Value,
    /// It was not there before.
    pub created: bool,
    pub unknown: Vec<String>,
}

/// Conditions and manner of a deletion.
#[derive(Clone, Debug, Default)]
pub struct DeleteOptions {
    pub dry_run: bool,
    pub uid: Option<String>,
    pub resource_version: Option<String>,
    pub propagation: Propagation,
    /// Seconds that the object may take to go, where its kind has such a time.
    pub grace: Option<u64>,
}

/// What a deletion of many did.
#[derive(Debug)]
pub struct Collected {
    /// The objects as they were before.
    pub gone: Vec<Arc<Value>>,
    /// How many more there are.
    pub left: usize,
}

/// The verbs on every kind. Cheap to clone.
#[derive(Clone)]
pub struct Resources {
    pub store: Arc<Store>,
    pub registry: Arc<Registry>,
    pub admit: Arc<dyn Admit>,
    pub(super) shapes: Arc<Shapes>,
}

impl Resources {
    pub async fn create(&self, target: &Target, body: Value, options: WriteOptions) -> Result<Written, StatusError> {
        let (this, owned, dry_run) = (self.clone(), target.clone(), options.dry_run);
        self.write_all(target, dry_run, move |txn| this.create_in(txn, &owned, body, None, &options)).await
    }

    /// Creates the object; `owners` are its `managedFields` where they are known already.
    fn create_in(
        &self,
        txn: &mut Txn<'_>,
        target: &Target,
        body: Value,
        owners: Option<Value>,
        options: &WriteOptions,
    ) -> Result<Written, StatusError> {
        let Target { kind, version, namespace } = target;
        let write = self.write(target, false, options);
        let mut body = body;
        let mut unknown = decode(&*self.admit, target, &mut body, options)?;
        write.settle_nulls(&mut body);
        let sent = body.clone();
        let mut object = fresh(target, body)?;
        if kind.terminating {
            return Err(StatusError::definition_terminating());
        }
        check_namespace(txn, kind, namespace, name_of(&object))?;
        if kind.ephemeral {
            unknown.extend(accept(&*self.admit, kind, txn, &mut object, Stage::created(Vec::new()), options)?);
            return Ok(Written { object, created: true, unknown });
        }
        let errors = names::check(kind, &object);
        unknown.extend(accept(&*self.admit, kind, txn, &mut object, Stage::created(errors), options)?);
        match owners {
            Some(owners) => managed::settle(None, &mut object, owners),
            None => write.update(None, &sent, &mut object),
        }
        let key = kind.key(namespace, name_of(&object));
        if txn.get(&key).is_some() {
            return Err(StatusError::already_exists(kind, &key.name));
        }
        let stored = txn.put(key, object);
        let mut object = as_version(&stored, kind, version);
        if options.dry_run {
            without(&mut object["metadata"], "resourceVersion");
        }
        Ok(Written { object, created: true, unknown })
    }

    fn write(&self, target: &Target, status: bool, options: &WriteOptions) -> Write {
        Write::new(&self.shapes, &*self.admit, &target.kind, &target.version, &options.manager, status)
    }

    pub fn get(&self, target: &Target, name: &str) -> Result<Arc<Value>, StatusError> {
        let key = target.kind.key(&target.namespace, name);
        self.store.get(&key).ok_or_else(|| StatusError::not_found(&target.kind, name))
    }

    pub async fn update(
        &self,
        target: &Target,
        name: &str,
        status: bool,
        body: Value,
        options: WriteOptions,
    ) -> Result<Written, StatusError> {
        let mut body = body;
        let unknown = decode(&*self.admit, target, &mut body, &options)?;
        check_name(&body, name)?;
        check_type(target, &body)?;
        self.replace(target, name, status, options, move |_| Ok((body, unknown))).await
    }

    pub async fn patch(
        &self,
        target: &Target,
        name: &str,
        status: bool,
        patch: Patch,
        options: WriteOptions,
    ) -> Result<Written, StatusError> {
        if let Some(config) = patch.applied() {
            return self.apply(target, name, status, config.clone(), options).await;
        }
        let (admit, owned, asked) = (self.admit.clone(), target.clone(), options.clone());
        let url_name = name.to_owned();
        let write = self.write(target, status, &options);
        self.replace(target, name, status, options, move |old| {
            let uid = old["metadata"]["uid"].clone();
            let mut new = patch.patched(write.shape(), old)?;
            let sent = new.clone();
            let unknown = read_as(&*admit, &owned, &mut new, &asked)
                .map_err(|why| StatusError::invalid_patch(&patch.shown(&sent), &why))?;
            check_name(&new, &url_name)?;
            check_uid(&owned.kind, &new, &uid)?;
            check_type(&owned, &new)?;
            Ok((new, unknown))
        })
        .await
    }

    async fn replace<F>(
        &self,
        target: &Target,
        name: &str,
        status: bool,
        options: WriteOptions,
        change: F,
    ) -> Result<Written, StatusError>
    where
        F: FnOnce(Value) -> Result<(Value, Vec<String>), StatusError> + Send + 'static,
    {
        let (this, target, own) = (self.clone(), target.clone(), target);
        let dry_run = options.dry_run;
        let key = target.kind.key(&target.namespace, name);
        let change = move |txn: &mut Txn<'_>| {
            let Target { kind, version, .. } = &target;
            let old = txn.get(&key).ok_or_else(|| StatusError::not_found(kind, &key.name))?;
            let (object, unknown) = change(as_version(&old, kind, version))?;
            let written = this.replace_in(txn, &target, &key, status, object, None, &options)?;
            Ok(Written { unknown: [unknown, written.unknown].concat(), ..written })
        };
        self.write_all(own, dry_run, change).await
    }

    /// Replaces the object; `owners` are its `managedFields` where they are known already.
    #[allow(clippy::too_many_arguments)]
    fn replace_in(
        &self,
        txn: &mut Txn<'_>,
        target: &Target,
        key: &Key,
        status: bool,
        mut object: Value,
        owners: Option<Value>,
        options: &WriteOptions,
    ) -> Result<Written, StatusError> {
        let Target { kind, version, .. } = target;
        let old = txn.get(key).ok_or_else(|| StatusError::not_found(kind, &key.name))?;
        let write = self.write(target, status, options);
        write.settle_nulls(&mut object);
        let sent = object.clone();
        check_revision(kind, &key.name, &object, &old)?;
        retain(target, &mut object, &old, status)?;
        let errors = names::check_update(kind, &object, &old);
        let stage = Stage { old: Some(&old), status, errors };
        let unknown = accept(&*self.admit, kind, txn, &mut object, stage, options)?;
        count_generation(kind, &mut object, &old);
        match owners {
            Some(owners) => managed::settle(Some(&old), &mut object, owners),
            None => write.update(Some(&old), &sent, &mut object),
        }
        let stored = txn.put(key.clone(), object);
        remove::settle(txn, &self.registry, key)?;
        let mut object = as_version(&stored, kind, version);
        if options.dry_run {
            object["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"].clone();
        }
        Ok(Written { object, created: false, unknown })
    }

    /// Returns a `Status`, or the object when it has to stay until its finalizers are gone.
    pub async fn delete(&self, target: &Target, name: &str, options: DeleteOptions) -> Result<Value, StatusError> {
        let (registry, target, own) = (self.registry.clone(), target.clone(), target);
        let key = target.kind.key(&target.namespace, name);
        let dry_run = options.dry_run;
        let change = move |txn: &mut Txn<'_>| {
            let kind = &target.kind;
            let object = txn.get(&key).ok_or_else(|| StatusError::not_found(kind, &key.name))?;
            check_preconditions(kind, &key.name, &object, &options)?;
            match remove::delete(txn, &registry, &key, &object, options.propagation, options.grace)? {
                Deleted::Marked(object) => Ok(as_version(&object, kind, &target.version)),
                Deleted::Gone(object) if kind.answers_with_object => Ok(as_version(&object, kind, &target.version)),
                Deleted::Gone(object) => {
                    let uid = object["metadata"]["uid"].as_str().unwrap_or_default();
                    Ok(status::deleted(kind, &key.name, uid))
                }
            }
        };
        self.write_all(own, dry_run, change).await
    }

    /// Deletes what the selector takes, but no more than `limit` of it.
    pub async fn delete_collection(
        &self,
        target: &Target,
        selector: Selector,
        limit: usize,
        options: DeleteOptions,
    ) -> Result<Collected, StatusError> {
        let (registry, target, own) = (self.registry.clone(), target.clone(), target);
        let dry_run = options.dry_run;
        let change = move |txn: &mut Txn<'_>| {
            let Target { kind, namespace, .. } = &target;
            let within = kind.namespaced.then_some(namespace.as_str()).filter(|namespace| !namespace.is_empty());
            let mut gone = Vec::new();
            let (group, plural) = kind.stored();
            let mut left = 0;
            for (key, object) in txn.list(group, plural, within) {
                // One of them may have owned this one.
                if selector.matches(&key, &object) && txn.get(&key).is_some() {
                    if gone.len() == limit {
                        left += 1;
                        continue;
                    }
                    check_preconditions(kind, &key.name, &object, &options)?;
                    let (propagation, grace) = (options.propagation, options.grace);
                    remove::delete(txn, &registry, &key, &object, propagation, grace)?;
                    gone.push(object);
                }
            }
            Ok(Collected { gone, left })
        };
        self.write_all(own, dry_run, change).await
    }

    /// Runs the change alone; what it does to definitions of kinds holds before this returns.
    async fn write_all<T, F>(&self, target: &Target, dry_run: bool, change: F) -> Result<T, StatusError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Txn<'_>) -> Result<T, StatusError> + Send + 'static,
    {
        let answer = self.store.transact(dry_run, change).await?;
        if !dry_run && crd::concerns(&target.kind) {
            Box::pin(crd::settle(self)).await?;
        }
        Ok(answer)
    }

    /// Deletes the object if it names owners and none of them is there.
    pub(super) async fn collect_orphan(&self, key: Key) -> Result<(), StatusError> {
        let registry = self.registry.clone();
        self.store.transact(false, move |txn| remove::collect_orphan(txn, &registry, &key)).await
    }
}
