//! Which listeners a route attaches to.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

use super::{
    hostnames,
    listeners::{ListenerPlan, Owner},
    verdict::{Problem, reason},
};
use crate::{
    resources::Set,
    types::{Key, refs::ParentRef},
};

/// Label that an API server puts on every namespace.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// A route as listeners look at it.
pub struct Comer<'a> {
    pub kind: &'static str,
    pub key: &'a Key,
    /// As [`hostnames::normal`] gives them.
    pub hostnames: &'a [String],
}

/// A listener, by its position in the Gateway, and the hostnames that it serves the route on.
pub type Attached = (usize, Vec<String>);

#[derive(Debug)]
pub struct Attachment {
    /// Listeners that let the route in, whatever their hostnames: `attachedRoutes` of the spec.
    pub attached: Vec<Attached>,
    pub refused: Option<Problem>,
}

/// The listeners of one Gateway that take the route through this reference, which names the
/// Gateway or one of its ListenerSets.
pub fn attach(set: &Set, listeners: &[ListenerPlan<'_>], parent: &ParentRef, route: &Comer<'_>) -> Attachment {
    let refuse = |reason, message| Attachment { attached: Vec::new(), refused: Some(Problem::new(reason, message)) };
    let owner = Key::new(parent.namespace.as_deref().unwrap_or(&route.key.namespace), &parent.name);
    let owner = match parent.kind.as_str() {
        "ListenerSet" => Owner::ListenerSet(&owner),
        _ => Owner::Gateway(&owner),
    };
    let own = || listeners.iter().enumerate().filter(|(_, listener)| listener.owner == owner);
    let named: Vec<_> = own()
        .filter(|(_, listener)| parent.section_name.as_ref().is_none_or(|name| *name == listener.spec.name))
        .filter(|(_, listener)| parent.port.is_none_or(|port| port == listener.spec.port))
        .collect();
    if named.is_empty() {
        return refuse(reason::NO_MATCHING_PARENT, nothing_named(own().map(|(_, listener)| listener), parent));
    }
    let allowed: Vec<_> = named
        .iter()
        .filter(|(_, listener)| listener.allows_kind(route.kind))
        .filter(|(_, listener)| {
            let namespaces = &listener.spec.allowed_routes.namespaces;
            let from = namespaces.from.as_deref().unwrap_or("Same");
            let home = &listener.owner.key().namespace;
            allows_namespace(set, from, namespaces.selector.as_ref(), home, &route.key.namespace)
        })
        .collect();
    if allowed.is_empty() {
        let message = format!(
            "no listener of {} \"{}\" that this parentRef names allows {} {} of namespace \"{}\": see allowedRoutes of \
             listener {}",
            parent.kind,
            parent.name,
            if route.kind.starts_with('H') { "an" } else { "a" },
            route.kind,
            route.key.namespace,
            names(named.iter().map(|(_, listener)| *listener))
        );
        return refuse(reason::NOT_ALLOWED_BY_LISTENERS, message);
    }
    let attached: Vec<_> = allowed
        .iter()
        .map(|(at, listener)| (*at, hostnames::effective(&listener.hostname, route.hostnames)))
        .filter(|(_, hostnames)| !hostnames.is_empty())
        .collect();
    if attached.is_empty() {
        let theirs: Vec<_> = allowed.iter().map(|(_, listener)| format!("\"{}\"", listener.hostname)).collect();
        let message = format!(
            "none of spec.hostnames fits a listener of {} \"{}\": they serve {}",
            parent.kind,
            parent.name,
            theirs.join(", ")
        );
        return refuse(reason::NO_MATCHING_LISTENER_HOSTNAME, message);
    }
    Attachment { attached, refused: None }
}

fn nothing_named<'a, 'b: 'a>(listeners: impl Iterator<Item = &'a ListenerPlan<'b>>, parent: &ParentRef) -> String {
    let ParentRef { kind, name, .. } = parent;
    let section = parent.section_name.as_ref().map(|name| format!(" named \"{name}\""));
    let port = parent.port.map(|port| format!(" on port {port}"));
    let theirs = names(listeners);
    if kind == "ListenerSet" && theirs == NONE {
        return format!("ListenerSet \"{name}\" is not taken up by its Gateway; its own conditions say why");
    }
    let (section, port) = (section.unwrap_or_default(), port.unwrap_or_default());
    format!("{kind} \"{name}\" has no listener{section}{port}: it has {theirs}")
}

const NONE: &str = "none";

fn names<'a, 'b: 'a>(listeners: impl Iterator<Item = &'a ListenerPlan<'b>>) -> String {
    let names: Vec<_> =
        listeners.map(|listener| format!("\"{}\" on port {}", listener.spec.name, listener.spec.port)).collect();
    if names.is_empty() { NONE.to_owned() } else { names.join(", ") }
}

/// Whether objects of namespace `comer` may come to one of namespace `home` that is open to
/// `from`.
pub fn allows_namespace(set: &Set, from: &str, selector: Option<&LabelSelector>, home: &str, comer: &str) -> bool {
    match from {
        "All" => true,
        "Same" => home == comer,
        // Without a selector nothing is selected: opening up needs to be said.
        "Selector" => selector.is_some_and(|selector| {
            let namespace = set.namespaces.get(comer);
            let none = BTreeMap::new();
            let labels = namespace.and_then(|namespace| namespace.metadata.labels.as_ref()).unwrap_or(&none);
            selects(selector, |name| match labels.get(name) {
                Some(value) => Some(value.as_str()),
                None => (name == NAME_LABEL).then_some(comer),
            })
        }),
        _ => false,
    }
}

fn selects<'a>(selector: &LabelSelector, label: impl Fn(&str) -> Option<&'a str>) -> bool {
    let equal = selector.match_labels.iter().flatten().all(|(name, value)| label(name) == Some(value.as_str()));
    equal && selector.match_expressions.iter().flatten().all(|wanted| meets(wanted, label(&wanted.key)))
}

fn meets(wanted: &LabelSelectorRequirement, value: Option<&str>) -> bool {
    let listed = |value: &str| wanted.values.iter().flatten().any(|one| one == value);
    match wanted.operator.as_str() {
        "In" => value.is_some_and(listed),
        "NotIn" => !value.is_some_and(listed),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        _ => false,
    }
}
