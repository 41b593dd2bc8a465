//! Server-side apply and `metadata.managedFields`: who owns which fields of an object.

mod kinds;
mod last_applied;
mod merge;
mod owners;
mod scale;
mod set;
mod shape;
mod update;
mod walk;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use self::owners::Owners;
pub(super) use self::scale::Scaling;
use self::set::Set;
pub(super) use self::shape::{Patching, Scalar, Shape};
use self::update::{Conflict, Context};
use super::admit::Admit;
use super::kinds::Kind;
use super::status::StatusError;
use super::verbs;

/// The manager whose `last-applied` annotation counts as ownership.
const KUBECTL: &str = "kubectl";

/// What merging has to know of each kind, made out of its schema when it is first needed.
#[derive(Default)]
pub struct Shapes(Mutex<HashMap<(String, String), Known>>);

struct Known {
    kind: Arc<Kind>,
    shape: Arc<Shape>,
}

impl Shapes {
    /// A kind that was registered anew is looked at anew.
    fn get(&self, kind: &Arc<Kind>, admit: &dyn Admit) -> Arc<Shape> {
        let key = (kind.group.clone(), kind.plural.clone());
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match known.get(&key) {
            Some(known) if Arc::ptr_eq(&known.kind, kind) => known.shape.clone(),
            _ => {
                let shape = Arc::new(Shape::of_object(admit.schema(&kind.group, &kind.kind).as_ref()));
                known.insert(key, Known { kind: kind.clone(), shape: shape.clone() });
                shape
            }
        }
    }
}

/// One write, as far as ownership is concerned.
pub(super) struct Write {
    kind: Arc<Kind>,
    shape: Arc<Shape>,
    /// As the request has it.
    version: String,
    manager: String,
    subresource: &'static str,
    ignored: Set,
}

impl Write {
    pub(super) fn new(
        shapes: &Shapes,
        admit: &dyn Admit,
        kind: &Arc<Kind>,
        version: &str,
        manager: &str,
        status: bool,
    ) -> Self {
        Self {
            shape: shapes.get(kind, admit),
            ignored: kinds::ignored(kind, status),
            kind: kind.clone(),
            version: version.to_owned(),
            manager: manager.to_owned(),
            subresource: if status { "status" } else { "" },
        }
    }

    fn within<T>(&self, run: impl FnOnce(Context<'_>) -> T) -> T {
        run(Context {
            shape: &self.shape,
            api_version: &self.kind.api_version(&self.version),
            subresource: self.subresource,
            ignored: &self.ignored,
            now: &verbs::now(),
            nothing: &kinds::nothing(&self.kind),
        })
    }

    /// The owners of a version that is not served are nobody any more.
    fn keep_served(&self, owners: &mut Owners) {
        let served: Vec<String> = self.kind.versions.iter().map(|version| self.kind.api_version(version)).collect();
        owners.0.retain(|_, owned| served.contains(&owned.api_version));
    }

    /// Writes `managedFields` of an object that is created or replaced. `sent` is the object as
    /// the client wants it, `object` as it will be stored.
    pub(super) fn update(&self, old: Option<&Value>, sent: &Value, object: &mut Value) {
        let entries = &sent["metadata"]["managedFields"];
        let reset = entries.as_array().is_some_and(|entries| {
            entries.is_empty() || matches!(entries.as_slice(), [only] if only.as_object().is_some_and(|e| e.is_empty()))
        });
        let live = old.map_or_else(|| kinds::nothing(&self.kind), unmanaged);
        let from_live = || old.map(owners_of).unwrap_or_default();
        let mut owners = if !self.subresource.is_empty() {
            from_live()
        } else if reset {
            Owners::default()
        } else {
            Owners::read(entries).ok().filter(|owners| !owners.0.is_empty()).unwrap_or_else(from_live)
        };
        // An object that nobody tracks stays so until it is applied.
        if old.is_none() || !owners.0.is_empty() {
            self.keep_served(&mut owners);
            let new = kinds::as_sent(&self.kind, unmanaged(object), sent);
            self.within(|context| context.update(&mut owners, &live, &new, &self.manager));
        }
        settle(old, object, owners.write());
    }

    pub(super) fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Takes out the nulls of kinds with a Go type, which has none.
    pub(super) fn settle_nulls(&self, object: &mut Value) {
        if self.kind.typed {
            kinds::settle_nulls(&self.shape, object);
        }
    }

    /// Merges `config` into the live object, or into nothing.
    pub(super) fn apply(&self, live: Option<&Value>, config: &Value, force: bool) -> Result<Applied, StatusError> {
        let wrong = walk::check(&self.shape, config);
        if !wrong.is_empty() {
            let (metadata, kind) = (&config["metadata"], &self.kind);
            let why = match wrong.as_slice() {
                [one] => one.clone(),
                many => format!("errors:\n  {}", many.join("\n  ")),
            };
            return Err(StatusError::unknown(format!(
                "failed to create typed patch object ({}/{}; {}/{}, Kind={}): {why}",
                metadata["namespace"].as_str().unwrap_or_default(),
                metadata["name"].as_str().unwrap_or_default(),
                kind.group,
                self.version,
                kind.kind,
            )));
        }
        let old = match live {
            Some(live) => unmanaged(&verbs::as_version(live, &self.kind, &self.version)),
            None => kinds::nothing(&self.kind),
        };
        let mut owners = live.map(owners_of).unwrap_or_default();
        self.keep_served(&mut owners);
        let run = |force: bool| {
            let mut owners = owners.clone();
            let new = self.within(|context| context.apply(&mut owners, &old, config, &self.manager, force))?;
            Ok::<_, Vec<Conflict>>((new, owners))
        };
        let (new, owners) = run(force)
            .or_else(|conflicts| {
                let allowed =
                    (self.manager == KUBECTL).then(|| last_applied::owned(&self.shape, config, &old)).flatten();
                let Some(allowed) = allowed else { return Err(conflicts) };
                let left: Vec<_> =
                    conflicts.into_iter().filter(|conflict| !last_applied::has(&allowed, &conflict.path)).collect();
                if left.is_empty() { run(true) } else { Err(left) }
            })
            .map_err(|conflicts| refused(&conflicts))?;
        let mut object = new.unwrap_or(old);
        self.settle_nulls(&mut object);
        if self.manager == KUBECTL {
            last_applied::follow(&mut object, config);
        }
        Ok(Applied { object, managed_fields: owners.write() })
    }
}

/// What an apply made: the object, and its owners, which are to be settled once it is accepted.
pub(super) struct Applied {
    pub(super) object: Value,
    pub(super) managed_fields: Value,
}

/// Writes `managedFields` into the object that will be stored. Times change only if something
/// else does.
pub(super) fn settle(old: Option<&Value>, object: &mut Value, entries: Value) {
    let entries = match old.map(|old| (&old["metadata"]["managedFields"], old)) {
        Some((before, old)) if owners::same_but_times(before, &entries) && unstamped(old) == unstamped(object) => {
            before.clone()
        }
        _ => entries,
    };
    let Some(metadata) = object["metadata"].as_object_mut() else { return };
    if entries.as_array().is_none_or(Vec::is_empty) {
        metadata.remove("managedFields");
    } else {
        metadata.insert("managedFields".into(), entries);
    }
}

fn owners_of(object: &Value) -> Owners {
    Owners::read(&object["metadata"]["managedFields"]).unwrap_or_default()
}

fn unmanaged(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("managedFields");
    }
    object
}

/// The object without what every write changes.
fn unstamped(object: &Value) -> Value {
    let mut object = unmanaged(object);
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("resourceVersion");
    }
    object
}

fn refused(conflicts: &[Conflict]) -> StatusError {
    let causes = conflicts
        .iter()
        .map(|Conflict { owner, path }| (format!("conflict with {owner}"), set::shown(path)))
        .collect::<Vec<_>>();
    let message = match causes.as_slice() {
        [(why, path)] => format!("Apply failed with 1 conflict: {why}: {path}"),
        _ => {
            let mut lines = Vec::new();
            let mut last = None;
            for Conflict { owner, path } in conflicts {
                if last != Some(owner) {
                    lines.push(format!("conflicts with {owner}:"));
                }
                last = Some(owner);
                lines.push(format!("- {}", set::shown(path)));
            }
            format!("Apply failed with {} conflicts: {}", conflicts.len(), lines.join("\n"))
        }
    };
    StatusError::apply_conflict(message, &causes)
}

#[cfg(test)]
mod tests;
