//! Which parentRefs of a route lead to a Gateway of ours, itself or by a ListenerSet.

use std::collections::HashMap;

use super::gateways::GatewayPlan;
use crate::types::{GROUP, Key, refs::ParentRef};

/// Positions of Gateways in the list of plans.
pub struct Parents {
    gateways: HashMap<Key, usize>,
    sets: HashMap<Key, usize>,
}

impl Parents {
    pub fn new(plans: &[GatewayPlan<'_>]) -> Self {
        let (mut gateways, mut sets) = (HashMap::new(), HashMap::new());
        for (at, plan) in plans.iter().enumerate() {
            gateways.insert(plan.key.clone(), at);
            sets.extend(plan.sets.iter().map(|set| (set.key.clone(), at)));
        }
        Self { gateways, sets }
    }

    /// Each reference of a route in `namespace` that is ours, once.
    pub fn ours<'r>(&self, namespace: &str, parents: &'r [ParentRef]) -> Vec<(&'r ParentRef, usize)> {
        let distinct = parents.iter().enumerate().filter(|(at, parent)| !parents[..*at].contains(parent));
        distinct
            .filter(|(_, parent)| parent.group == GROUP)
            .filter_map(|(_, parent)| {
                let key = Key::new(parent.namespace.as_deref().unwrap_or(namespace), &parent.name);
                let at = match parent.kind.as_str() {
                    "Gateway" => self.gateways.get(&key),
                    "ListenerSet" => self.sets.get(&key),
                    _ => None,
                };
                Some((parent, *at?))
            })
            .collect()
    }
}
