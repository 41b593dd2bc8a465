//! What each verb does to the store, the same for every kind.

mod apply;
mod check;
mod remove;
mod scale;

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::admit::{Admit, FieldError, FieldErrorKind};
use super::crd;
use super::kinds::{Kind, Registry};
use super::managed::{self, Shapes, Write};
use super::patch::Patch;
use super::selector::Selector;
use super::status::{self, StatusError};
use super::store::{Key, Store, Txn};
use super::{limits, names};
use check::{check_name, check_uid, decode, read_as, refuse_unknown};
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
            unknown.extend(accept(&*self.admit, kind, txn, &mut object, None, options)?);
            return Ok(Written { object, created: true, unknown });
        }
        let errors = names::check(kind, &object);
        if !errors.is_empty() {
            return Err(StatusError::invalid(kind, name_of(&object), &errors));
        }
        unknown.extend(accept(&*self.admit, kind, txn, &mut object, None, options)?);
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
        check_name(&body, name)?;
        check_type(target, &body)?;
        let (admit, owned, asked) = (self.admit.clone(), target.clone(), options.clone());
        self.replace(target, name, status, options, move |_| {
            let mut body = body;
            let unknown = decode(&*admit, &owned, &mut body, &asked)?;
            Ok((body, unknown))
        })
        .await
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
        let mut errors = names::check_update(&object, &old);
        errors.extend(names::check(kind, &object));
        if !errors.is_empty() {
            return Err(StatusError::invalid(kind, &key.name, &errors));
        }
        let unknown = accept(&*self.admit, kind, txn, &mut object, Some(&old), options)?;
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

    /// Deletes all that the selector takes. Returns them as they were last.
    pub async fn delete_collection(
        &self,
        target: &Target,
        selector: Selector,
        options: DeleteOptions,
    ) -> Result<Vec<Arc<Value>>, StatusError> {
        let (registry, target, own) = (self.registry.clone(), target.clone(), target);
        let dry_run = options.dry_run;
        let change = move |txn: &mut Txn<'_>| {
            let Target { kind, namespace, .. } = &target;
            let within = kind.namespaced.then_some(namespace.as_str()).filter(|namespace| !namespace.is_empty());
            let mut gone = Vec::new();
            let (group, plural) = kind.stored();
            for (key, object) in txn.list(group, plural, within) {
                // One of them may have owned this one.
                if selector.matches(&key, &object) && txn.get(&key).is_some() {
                    check_preconditions(kind, &key.name, &object, &options)?;
                    let (propagation, grace) = (options.propagation, options.grace);
                    gone.push(remove::delete(txn, &registry, &key, &object, propagation, grace)?.object());
                }
            }
            Ok(gone)
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

/// Now, as Kubernetes writes times: RFC 3339 in whole seconds.
pub(super) fn now() -> String {
    let now = jiff::Timestamp::now();
    jiff::Timestamp::from_second(now.as_second()).unwrap_or(now).to_string()
}

/// The time so many seconds from now.
fn in_seconds(seconds: u64) -> String {
    let then = jiff::Timestamp::now().as_second().saturating_add(i64::try_from(seconds).unwrap_or(i64::MAX));
    jiff::Timestamp::from_second(then).map_or_else(|_| now(), |then| then.to_string())
}

/// The object as the kind shows it, in the version that was asked for.
pub(super) fn as_version(object: &Value, kind: &Kind, version: &str) -> Value {
    let mut object = match &kind.view {
        Some(view) => (view.show)(object),
        None => object.clone(),
    };
    object["apiVersion"] = kind.api_version(version).into();
    object
}

/// The object as it is stored but for its version: the opposite of [`as_version`].
fn kept(kind: &Kind, version: &str, mut object: Value) -> Value {
    if let Some(view) = &kind.view {
        return (view.keep)(object);
    }
    object["apiVersion"] = kind.api_version(version).into();
    object["kind"] = kind.kind.as_str().into();
    object
}

fn name_of(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

fn without(object: &mut Value, field: &str) {
    if let Some(object) = object.as_object_mut() {
        object.remove(field);
    }
}

fn is_held(object: &Value) -> bool {
    object["metadata"]["finalizers"].as_array().is_some_and(|finalizers| !finalizers.is_empty())
}

/// The body's kind and namespace have to be those of the URL.
fn check_type(target: &Target, body: &Value) -> Result<(), StatusError> {
    let Target { kind, version, namespace } = target;
    let api_version = kind.api_version(version);
    if !body.is_object() {
        return Err(StatusError::bad_request(format!("the body is not an object of kind {}", kind.kind)));
    }
    for (field, wanted) in [("apiVersion", api_version.as_str()), ("kind", kind.kind.as_str())] {
        let sent = &body[field];
        if sent.is_null() && !kind.typed {
            return Err(StatusError::bad_request(format!("{field} is missing: it has to be {wanted:?}")));
        }
        if !sent.is_null() && sent != wanted {
            return Err(StatusError::bad_request(format!(
                "the {field} in the data ({}) does not match the expected {field} ({wanted})",
                sent.as_str().unwrap_or("not a string"),
            )));
        }
    }
    let sent = &body["metadata"]["namespace"];
    if !body["metadata"].is_null() && !body["metadata"].is_object() {
        return Err(StatusError::bad_request("metadata is not an object"));
    }
    if sent.as_str().is_some_and(|sent| !sent.is_empty() && sent != namespace) {
        return Err(StatusError::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    Ok(())
}

/// The object as its creation starts from: the server's own fields are the server's.
fn fresh(target: &Target, object: Value) -> Result<Value, StatusError> {
    let Target { kind, version, namespace } = target;
    check_type(target, &object)?;
    let mut object = kept(kind, version, object);
    if object["metadata"]["resourceVersion"].as_str().is_some_and(|version| !version.is_empty()) {
        return Err(StatusError::unknown("resourceVersion should not be set on objects to be created"));
    }
    if kind.has_status {
        without(&mut object, "status");
    }
    if !object["metadata"].is_object() {
        object["metadata"] = json!({});
    }
    let Some(metadata) = object["metadata"].as_object_mut() else {
        return Err(StatusError::bad_request("metadata is not an object"));
    };
    for field in ["selfLink", "managedFields", "deletionTimestamp", "deletionGracePeriodSeconds"] {
        metadata.remove(field);
    }
    drop_empty(metadata);
    if kind.namespaced {
        metadata.insert("namespace".into(), namespace.as_str().into());
    } else {
        metadata.remove("namespace");
    }
    let named = metadata.get("name").and_then(Value::as_str).is_some_and(|name| !name.is_empty());
    if let (false, Some(prefix)) = (named, metadata.get("generateName").and_then(Value::as_str)) {
        let name = format!("{}{}", prefix.chars().take(58).collect::<String>(), suffix());
        metadata.insert("name".into(), name.into());
    }
    if kind.ephemeral {
        return Ok(object);
    }
    metadata.insert("uid".into(), uuid::Uuid::new_v4().to_string().into());
    metadata.insert("creationTimestamp".into(), now().into());
    if kind.has_generation {
        metadata.insert("generation".into(), 1.into());
    }
    Ok(object)
}

/// Five letters without vowels, as `generateName` appends them.
fn suffix() -> String {
    const LETTERS: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
    let random = uuid::Uuid::new_v4();
    random.as_bytes().iter().take(5).map(|&byte| char::from(LETTERS[usize::from(byte) % LETTERS.len()])).collect()
}

/// Clients write `null` and `{}` where they mean nothing.
fn drop_empty(metadata: &mut Map<String, Value>) {
    metadata.retain(|_, value| match value {
        Value::Null => false,
        Value::Object(map) => !map.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => true,
    });
}

fn check_namespace(txn: &Txn<'_>, kind: &Kind, namespace: &str, name: &str) -> Result<(), StatusError> {
    if !kind.namespaced || kind.ephemeral {
        return Ok(());
    }
    let Some(found) = txn.get(&Key::new("", "namespaces", "", namespace)) else {
        return Err(StatusError::not_found_named("", "namespaces", namespace));
    };
    if found["metadata"]["deletionTimestamp"].is_null() {
        Ok(())
    } else {
        Err(StatusError::terminating(kind, name, namespace))
    }
}

fn check_revision(kind: &Kind, name: &str, object: &Value, old: &Value) -> Result<(), StatusError> {
    let sent = object["metadata"]["resourceVersion"].as_str().unwrap_or_default();
    if sent.is_empty() && !kind.typed {
        let error = FieldError {
            field: "metadata.resourceVersion".into(),
            kind: FieldErrorKind::Invalid,
            message: "Invalid value: 0: must be specified for an update".into(),
        };
        return Err(StatusError::invalid(kind, name, &[error]));
    }
    if !sent.is_empty() && old["metadata"]["resourceVersion"] != sent {
        return Err(StatusError::modified(kind, name));
    }
    let (sent, kept) = (&object["metadata"]["uid"], &old["metadata"]["uid"]);
    if sent.as_str().is_some_and(|sent| !sent.is_empty()) && sent != kept {
        let (sent, kept) = (sent.as_str().unwrap_or_default(), kept.as_str().unwrap_or_default());
        return Err(StatusError::conflict(kind, name, &other_object(kind, object, sent, kept)));
    }
    Ok(())
}

/// Why an update that names another uid fails; clients look for the precondition in it.
fn other_object(kind: &Kind, object: &Value, sent: &str, kept: &str) -> String {
    let group = if kind.typed { String::new() } else { format!("{}/", kind.group) };
    let place = ["namespace", "name"].map(|part| object["metadata"][part].as_str().unwrap_or_default());
    let place = place.iter().filter(|part| !part.is_empty()).map(|part| format!("/{part}")).collect::<String>();
    format!(
        "StorageError: invalid object, Code: 4, Key: /registry/{group}{}{place}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: {sent}, UID in object meta: {kept}",
        kind.plural
    )
}

fn check_preconditions(kind: &Kind, name: &str, object: &Value, options: &DeleteOptions) -> Result<(), StatusError> {
    let metadata = &object["metadata"];
    let checks = [
        ("UID", &options.uid, &metadata["uid"], "deleted and then recreated"),
        ("ResourceVersion", &options.resource_version, &metadata["resourceVersion"], "modified"),
    ];
    for (what, wanted, found, why) in checks {
        if let Some(wanted) = wanted
            && found != wanted.as_str()
        {
            let found = found.as_str().unwrap_or_default();
            return Err(StatusError::precondition(
                kind,
                name,
                &format!(
                    "the {what} in the precondition ({wanted}) does not match the {what} in record ({found}). The object might have been {why}"
                ),
            ));
        }
    }
    Ok(())
}

/// Puts back what this request may not change: on `/status` everything but the status, elsewhere
/// the status and the server's own metadata.
fn retain(target: &Target, object: &mut Value, old: &Value, status: bool) -> Result<(), StatusError> {
    let Target { kind, version, .. } = target;
    if status {
        let new = object["status"].take();
        *object = old.clone();
        if new.is_null() {
            without(object, "status");
        } else {
            object["status"] = new;
        }
        object["apiVersion"] = kind.api_version(version).into();
        return Ok(());
    }
    *object = kept(kind, version, object.take());
    if kind.has_status {
        match &old["status"] {
            Value::Null => without(object, "status"),
            kept => object["status"] = kept.clone(),
        }
    }
    let Some(metadata) = object["metadata"].as_object_mut() else {
        return Err(StatusError::bad_request("metadata is missing"));
    };
    metadata.remove("selfLink");
    metadata.remove("managedFields");
    let kept =
        ["uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "namespace"];
    for field in kept {
        match &old["metadata"][field] {
            Value::Null => metadata.remove(field),
            kept => metadata.insert(field.into(), kept.clone()),
        };
    }
    drop_empty(metadata);
    Ok(())
}

/// The kind's own rules, then its schema. Returns the paths of fields that were dropped.
fn accept(
    admit: &dyn Admit,
    kind: &Kind,
    txn: &Txn<'_>,
    object: &mut Value,
    old: Option<&Value>,
    options: &WriteOptions,
) -> Result<Vec<String>, StatusError> {
    if limits::depth(object) > limits::DEPTH {
        return Err(StatusError::bad_request(format!("the object is nested deeper than {} levels", limits::DEPTH)));
    }
    if limits::size(object) > limits::SIZE {
        return Err(StatusError::too_large(limits::SIZE));
    }
    kind.rules.prepare(kind, txn, object, old)?;
    let mut admitted = admit.admit(kind.stored().0, &kind.kind, object, old);
    let mut seen = HashSet::new();
    admitted.unknown.retain(|path| seen.insert(path.clone()));
    let version = object["apiVersion"].as_str().unwrap_or_default();
    refuse_unknown(kind, version.rsplit('/').next().unwrap_or_default(), &admitted.unknown, options)?;
    if kind.view.is_none() {
        object["apiVersion"] = kind.api_version(&kind.storage).into();
    }
    if admitted.errors.is_empty() {
        Ok(admitted.unknown)
    } else {
        Err(StatusError::invalid(kind, name_of(object), &admitted.errors))
    }
}

fn count_generation(kind: &Kind, object: &mut Value, old: &Value) {
    if !kind.has_generation {
        return;
    }
    let meant = |object: &Value| {
        let fields = object.as_object().into_iter().flatten();
        fields
            .filter(|(field, value)| !["metadata", "status"].contains(&field.as_str()) && !value.is_null())
            .map(|(field, value)| (field.clone(), value.clone()))
            .collect::<Map<_, _>>()
    };
    if meant(object) != meant(old) {
        let generation = old["metadata"]["generation"].as_i64().unwrap_or(0);
        object["metadata"]["generation"] = (generation + 1).into();
    }
}
