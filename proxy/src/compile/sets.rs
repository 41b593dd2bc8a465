//! ListenerSets: whether their Gateway takes them, and what they have to hear.

use std::{collections::HashMap, net::IpAddr};

use super::{
    ListenerSetVerdict, Verdict, attach,
    listeners::ListenerPlan,
    verdict::{Problem, condition, reason},
};
use crate::{
    resources::Set,
    types::{GROUP, Gateway, Key, ListenerSet},
};

/// One ListenerSet that names a Gateway of ours.
pub struct SetPlan<'a> {
    pub key: &'a Key,
    pub object: &'a ListenerSet,
    /// Why none of its listeners is looked at.
    pub refused: Option<Problem>,
}

/// The sets that name each Gateway: older ones first, then by name.
pub fn by_gateway(set: &Set) -> HashMap<Key, Vec<(&Key, &ListenerSet)>> {
    let mut all: Vec<_> = set.listener_sets.iter().map(|(key, object)| (key, &**object)).collect();
    all.sort_by_key(|(key, object)| (super::created(&object.metadata), *key));
    let mut by_gateway = HashMap::<_, Vec<_>>::new();
    for (key, object) in all {
        let parent = &object.spec.parent_ref;
        if parent.group == GROUP && parent.kind == "Gateway" {
            let namespace = parent.namespace.as_deref().unwrap_or(&key.namespace);
            by_gateway.entry(Key::new(namespace, &parent.name)).or_default().push((key, object));
        }
    }
    by_gateway
}

/// Why `gateway` does not take the set of this key.
pub fn refused(
    set: &Set,
    gateway_key: &Key,
    gateway: &Gateway,
    key: &Key,
    gateway_refused: Option<&Problem>,
) -> Option<Problem> {
    let allowed = gateway.spec.allowed_listeners.as_ref().map(|allowed| &allowed.namespaces);
    let from = allowed.and_then(|namespaces| namespaces.from.as_deref()).unwrap_or("None");
    let selector = allowed.and_then(|namespaces| namespaces.selector.as_ref());
    if !attach::allows_namespace(set, from, selector, &gateway_key.namespace, &key.namespace) {
        let message = format!(
            "Gateway \"{}\" in namespace \"{}\" takes no ListenerSet of namespace \"{}\": see \
             spec.allowedListeners of the Gateway",
            gateway_key.name, gateway_key.namespace, key.namespace
        );
        return Some(Problem::new(reason::NOT_ALLOWED, message));
    }
    gateway_refused.map(|problem| {
        let message = format!("Gateway \"{}\" is not accepted: {}", gateway_key.name, problem.message);
        Problem::new(reason::PARENT_NOT_ACCEPTED, message)
    })
}

impl SetPlan<'_> {
    /// `kept_off` says what keeps the whole Gateway off the network, `for_listeners` how its
    /// listeners put it.
    pub fn verdict(
        &self,
        listeners: &[&ListenerPlan<'_>],
        addresses: &[IpAddr],
        kept_off: &Result<(), Problem>,
        for_listeners: Option<&Problem>,
    ) -> ListenerSetVerdict {
        ListenerSetVerdict {
            generation: self.object.generation(),
            conditions: self.conditions(listeners, kept_off),
            listeners: listeners.iter().map(|listener| listener.verdict(addresses, for_listeners)).collect(),
        }
    }

    fn conditions(&self, listeners: &[&ListenerPlan<'_>], kept_off: &Result<(), Problem>) -> Vec<Verdict> {
        let both = |reason, message: &str| {
            vec![Verdict::no(condition::ACCEPTED, reason, message), Verdict::no(condition::PROGRAMMED, reason, message)]
        };
        if let Some(problem) = &self.refused {
            return both(problem.reason, &problem.message);
        }
        let bad: Vec<_> = listeners.iter().filter(|listener| !listener.is_servable()).collect();
        let names: Vec<_> = bad.iter().map(|listener| format!("\"{}\"", listener.spec.name)).collect();
        let told = format!("not valid: listener {}; their own conditions say why", names.join(", "));
        if bad.len() == listeners.len() {
            return both(reason::LISTENERS_NOT_VALID, &told);
        }
        let accepted = match bad.is_empty() {
            true => Verdict::yes(condition::ACCEPTED, reason::ACCEPTED, "the Gateway has taken up the listeners"),
            false => Verdict::yes(condition::ACCEPTED, reason::LISTENERS_NOT_VALID, told),
        };
        let programmed = match kept_off {
            Ok(()) => Verdict::yes(condition::PROGRAMMED, reason::PROGRAMMED, "the listeners are served"),
            Err(problem) => {
                let message = format!("the Gateway is not programmed: {}", problem.message);
                Verdict::no(condition::PROGRAMMED, reason::PARENT_NOT_PROGRAMMED, message)
            }
        };
        vec![accepted, programmed]
    }
}
