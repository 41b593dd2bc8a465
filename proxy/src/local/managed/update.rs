//! What a write does to ownership, and what applying does to the object.

use super::merge::{merge, with_named, without};
use super::owners::{Operation, Owner, Owners};
use super::set::{Element, Set};
use super::shape::Shape;
use super::walk::{Changes, fields, same};
use serde_json::Value;

/// What is known of a write besides the objects.
#[derive(Clone, Debug)]
pub(super) struct Context<'a> {
    pub(super) shape: &'a Shape,
    pub(super) api_version: &'a str,
    pub(super) subresource: &'a str,
    /// Fields which this request cannot change, with all below them.
    pub(super) ignored: &'a Set,
    pub(super) now: &'a str,
    /// The object before it is created.
    pub(super) nothing: &'a Value,
}

/// A field that another manager has, with another value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Conflict {
    pub(super) owner: Owner,
    pub(super) path: Vec<Element>,
}

/// Fields of the server's own, which nobody owns.
fn never_owned() -> Set {
    let mut set = Set::default();
    for name in ["apiVersion", "kind", "metadata"] {
        set.insert(&[Element::field(name)]);
    }
    for name in [
        "name",
        "namespace",
        "creationTimestamp",
        "selfLink",
        "uid",
        "clusterName",
        "generation",
        "managedFields",
        "resourceVersion",
    ] {
        set.insert(&[Element::field("metadata"), Element::field(name)]);
    }
    set
}

impl Context<'_> {
    fn owner(&self, manager: &str, operation: Operation) -> Owner {
        let manager = if manager.is_empty() { "unknown" } else { manager };
        Owner {
            manager: manager.to_owned(),
            operation,
            api_version: if operation == Operation::Apply { String::new() } else { self.api_version.to_owned() },
            subresource: self.subresource.to_owned(),
        }
    }

    /// A write of the whole object: whoever writes owns what he changed.
    pub(super) fn update(&self, owners: &mut Owners, live: &Value, new: &Value, manager: &str) {
        let changes = Changes::between(self.shape, live, new).outside(self.ignored);
        let written = changes.added.union(&changes.modified);
        owners.take(None, &written.union(&changes.removed));
        let mine = written.difference(&never_owned());
        if !mine.is_empty() {
            owners.give(self.owner(manager, Operation::Update), self.api_version, mine, self.now);
        }
        owners.cap();
    }

    /// Merges what is applied. Returns the object that it makes, if that is another than the live
    /// one; the owners are changed in any case.
    pub(super) fn apply(
        &self,
        owners: &mut Owners,
        live: &Value,
        config: &Value,
        manager: &str,
        force: bool,
    ) -> Result<Option<Value>, Vec<Conflict>> {
        if owners.0.is_empty() && live["metadata"]["uid"].is_string() {
            self.update(owners, self.nothing, live, "before-first-apply");
        }
        let mine = self.owner(manager, Operation::Apply);
        let merged = merge(self.shape, live, config);
        let owned = owners.0.entry(mine.clone()).or_default();
        let wanted = fields(self.shape, config).outside(self.ignored);
        let last = std::mem::replace(&mut owned.fields, wanted);
        owned.api_version = self.api_version.to_owned();
        let new = if last.is_empty() { merged } else { self.prune(merged, owners, &last) };

        let changes = Changes::between(self.shape, live, &new).outside(self.ignored);
        let written = changes.added.union(&changes.modified);
        let conflicts: Vec<Conflict> = owners
            .0
            .iter()
            .filter(|(owner, _)| !force && **owner != mine)
            .flat_map(|(owner, owned)| {
                let paths = owned.fields.intersection(&written).paths();
                paths.into_iter().map(|path| Conflict { owner: owner.clone(), path })
            })
            .collect();
        if !conflicts.is_empty() {
            return Err(conflicts);
        }
        owners.take(Some(&mine), &written.union(&changes.removed));
        let changed = !same(live, &new);
        if let Some(owned) = owners.0.get_mut(&mine) {
            owned.fields = owned.fields.difference(&never_owned());
            if changed {
                owned.time = Some(self.now.to_owned());
            }
        }
        owners.0.retain(|_, owned| !owned.fields.is_empty());
        Ok(changed.then_some(new))
    }

    /// Takes out what this applier applied before and applies no more, unless somebody else
    /// owns it.
    fn prune(&self, merged: Value, owners: &Owners, last: &Set) -> Value {
        let shape = self.shape;
        let named = |set: &Set| with_named(shape, set);
        let last = named(last);
        let all = named(&fields(shape, &merged));
        let pruned = without(shape, &merged, &last);
        let owned = owners.0.values().fold(Set::default(), |all, owned| all.union(&owned.fields));
        let kept = named(&fields(shape, &pruned)).union(&named(&owned));
        let pruned = without(shape, &merged, &all.difference(&kept));
        // Only what was applied goes; what others put below it without owning it stays.
        let kept = named(&fields(shape, &pruned));
        without(shape, &merged, &all.difference(&kept).intersection(&last))
    }
}
