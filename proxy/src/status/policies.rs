//! The status of BackendTLSPolicies: an entry a Gateway. Pure.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::conditions::{Desired, Target, merged};
use crate::{
    compile::{PolicyVerdict, Verdicts},
    resources::Set,
    types::{
        BackendTlsPolicy, Key,
        policy::{AncestorStatus, PolicyStatus},
    },
};

/// Entries that a status has room for.
const ANCESTORS_MOST: usize = 16;

/// What has to be said about every policy that our Gateways follow, or followed.
pub fn desired<'a>(
    set: &'a Set,
    verdicts: &'a Verdicts,
    controller: &'a str,
) -> impl Iterator<Item = (Target, Desired)> + 'a {
    let told = verdicts.policies.iter().map(|(key, verdict)| (key, verdict.clone()));
    let ours = move |policy: &Arc<BackendTlsPolicy>| {
        let mut ancestors = policy.status.iter().flat_map(|status| &status.ancestors);
        ancestors.any(|ancestor| ancestor.controller_name == controller)
    };
    let left = set.backend_tls_policies.iter();
    let left = left.filter(move |(key, policy)| !verdicts.policies.contains_key(*key) && ours(policy));
    let left =
        left.map(|(key, policy)| (key, PolicyVerdict { generation: policy.generation(), ancestors: Vec::new() }));
    told.chain(left).map(|(key, verdict): (&Key, _)| (Target::Policy(key.clone()), Desired::Policy(verdict)))
}

/// Entries of other controllers keep their place and their words.
pub fn status(verdict: &PolicyVerdict, old: &PolicyStatus, controller: &str, now: &Time) -> PolicyStatus {
    let mut ancestors = Vec::new();
    let mut missing: Vec<_> = verdict.ancestors.iter().collect();
    let foreign = old.ancestors.iter().filter(|ancestor| ancestor.controller_name != controller).count();
    missing.truncate(ANCESTORS_MOST.saturating_sub(foreign));
    let entry = |ancestor: &crate::compile::AncestorVerdict, before: &[_]| AncestorStatus {
        ancestor_ref: ancestor.ancestor.clone(),
        controller_name: controller.to_owned(),
        conditions: merged(&ancestor.conditions, before, verdict.generation, now),
    };
    for before in &old.ancestors {
        if before.controller_name != controller {
            ancestors.push(before.clone());
        } else if let Some(at) = missing.iter().position(|ancestor| ancestor.ancestor == before.ancestor_ref) {
            ancestors.push(entry(missing.remove(at), &before.conditions));
        }
    }
    ancestors.extend(missing.into_iter().map(|ancestor| entry(ancestor, &[])));
    PolicyStatus { ancestors }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        compile::{AncestorVerdict, Verdict},
        types::refs::ParentRef,
    };

    const US: &str = "gwtop.dev/gwproxy";

    fn at(text: &str) -> Time {
        Time(text.parse().unwrap())
    }

    fn verdict(generation: i64, gateways: &[&str]) -> PolicyVerdict {
        let ancestors = gateways.iter().map(|name| AncestorVerdict {
            ancestor: ParentRef::gateway(&Key::new("shop", *name)),
            conditions: vec![Verdict::yes("Accepted", "Accepted", "fine")],
        });
        PolicyVerdict { generation, ancestors: ancestors.collect() }
    }

    #[test]
    fn foreign_entries_stay_and_nothing_is_written_twice() {
        let foreign = json!({
            "ancestorRef": {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "theirs"},
            "controllerName": "example.com/other", "conditions": [],
        });
        let old: PolicyStatus = serde_json::from_value(json!({ "ancestors": [foreign] })).unwrap();
        let first = status(&verdict(1, &["a", "b"]), &old, US, &at("2026-01-01T00:00:00Z"));
        assert_eq!(first.ancestors.len(), 3);
        assert_eq!(first.ancestors[0], old.ancestors[0]);
        assert_eq!(first.ancestors[1].conditions[0].observed_generation, Some(1));
        // Later, the same has to be said: not even the time moves.
        assert_eq!(status(&verdict(1, &["a", "b"]), &first, US, &at("2026-01-02T00:00:00Z")), first);
        let second = status(&verdict(2, &["b"]), &first, US, &at("2026-01-02T00:00:00Z"));
        let names: Vec<_> = second.ancestors.iter().map(|one| one.ancestor_ref.name.as_str()).collect();
        assert_eq!(names, ["theirs", "b"]);
        assert_eq!(second.ancestors[1].conditions[0].observed_generation, Some(2));
        let none = status(&verdict(3, &[]), &second, US, &at("2026-01-03T00:00:00Z"));
        assert_eq!(none.ancestors, old.ancestors);
    }

    #[test]
    fn a_status_never_has_more_entries_than_the_api_takes() {
        let names: Vec<_> = (0..40).map(|at| format!("g{at}")).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        let status = status(&verdict(1, &names), &PolicyStatus::default(), US, &at("2026-01-01T00:00:00Z"));
        assert_eq!(status.ancestors.len(), 16);
    }
}
