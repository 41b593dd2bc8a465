//! Who owns the replicas that `/scale` sets.

use serde_json::Value;

use super::owners::{Operation, Owner, Owners};
use super::set::{Element, Set};
use super::update::Conflict;
use super::{StatusError, Write, owners_of, refused};

const SUBRESOURCE: &str = "scale";

/// How the replicas are set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::local) enum Scaling {
    Updated,
    Applied { force: bool },
}

impl Write {
    /// The owners after the replicas at `path` are set; `changed` says whether to another number.
    pub(in crate::local) fn scaled(
        &self,
        old: &Value,
        path: &str,
        changed: bool,
        scaling: Scaling,
    ) -> Result<Value, StatusError> {
        let mut owners = owners_of(old);
        let elements: Vec<Element> = path.split('.').filter(|name| !name.is_empty()).map(Element::field).collect();
        let mut replicas = Set::default();
        replicas.insert(&elements);
        let applied = scaling != Scaling::Updated;
        let mine = Owner {
            manager: if self.manager.is_empty() { "unknown".into() } else { self.manager.clone() },
            operation: if applied { Operation::Apply } else { Operation::Update },
            api_version: if applied { String::new() } else { self.api_version() },
            subresource: SUBRESOURCE.to_owned(),
        };
        let others = holders(&owners, &replicas, &mine);
        if scaling == (Scaling::Applied { force: false }) && changed && !others.is_empty() {
            let conflicts: Vec<Conflict> =
                others.into_iter().map(|owner| Conflict { owner: in_view(owner), path: elements.clone() }).collect();
            return Err(refused(&conflicts));
        }
        // Replicas that nobody owns stay so until they are applied.
        let owned = owners.0.values().any(|owned| !owned.fields.intersection(&replicas).is_empty());
        if applied || changed && owned {
            if changed {
                owners.take(Some(&mine), &replicas);
            }
            let entry = owners.0.entry(mine).or_default();
            entry.fields = entry.fields.union(&replicas);
            entry.api_version = self.api_version();
        }
        Ok(owners.write())
    }

    fn api_version(&self) -> String {
        self.kind.api_version(&self.version)
    }
}

/// Who set the replicas by `/scale` is shown with the version of what is there.
fn in_view(owner: Owner) -> Owner {
    if owner.subresource != SUBRESOURCE || owner.operation == Operation::Apply {
        return owner;
    }
    Owner { api_version: "autoscaling/v1".to_owned(), ..owner }
}

fn holders(owners: &Owners, replicas: &Set, mine: &Owner) -> Vec<Owner> {
    let others = owners.0.iter().filter(|(owner, _)| *owner != mine);
    others
        .filter(|(_, owned)| !owned.fields.intersection(replicas).is_empty())
        .map(|(owner, _)| owner.clone())
        .collect()
}
