//! ReferenceGrants: who may refer to what in another namespace.

use std::collections::HashMap;

use crate::types::{
    Key, ReferenceGrant,
    grant::{GrantFrom, GrantTo},
};

/// All grants, by the namespace that gives them.
pub struct Grants<'a>(HashMap<&'a str, Vec<(&'a GrantFrom, &'a GrantTo)>>);

/// Group and kind of one end of a reference; the core group is empty.
#[derive(Clone, Copy)]
pub struct Kind<'a> {
    pub group: &'a str,
    pub kind: &'a str,
}

impl<'a> Grants<'a> {
    pub fn new(grants: impl Iterator<Item = (&'a Key, &'a ReferenceGrant)>) -> Self {
        let mut by_namespace = HashMap::<_, Vec<_>>::new();
        for (key, grant) in grants {
            let pairs = grant.spec.from.iter().flat_map(|from| grant.spec.to.iter().map(move |to| (from, to)));
            by_namespace.entry(key.namespace.as_str()).or_default().extend(pairs);
        }
        Self(by_namespace)
    }

    /// Whether objects of `from` in `namespace` may refer to `target`; within one namespace always.
    pub fn allow(&self, from: Kind<'_>, namespace: &str, to: Kind<'_>, target: &Key) -> bool {
        namespace == target.namespace
            || self.0.get(target.namespace.as_str()).into_iter().flatten().any(|(giver, taken)| {
                giver.group == from.group
                    && giver.kind == from.kind
                    && giver.namespace == namespace
                    && core(&taken.group) == to.group
                    && taken.kind == to.kind
                    && taken.name.as_ref().is_none_or(|name| name.is_empty() || *name == target.name)
            })
    }
}

/// The core group's name is empty; some write `core`.
pub fn core(group: &str) -> &str {
    if group == "core" { "" } else { group }
}
