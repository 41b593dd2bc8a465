//! From verdicts and bound sockets to the `status` of each object. Pure.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use serde_json::{Value, json};

use super::{features, policies};
use crate::{
    compile::{
        ClassVerdict, GatewayVerdict, ListenerSetVerdict, ListenerVerdict, PolicyVerdict, RouteVerdict, Verdict,
        Verdicts,
        verdict::{condition, reason},
    },
    provision::host::IP_ADDRESS,
    resources::{Kind, RouteView, Set},
    table::Socket,
    types::{
        BackendTlsPolicy, Gateway, GatewayClass, Key, ListenerSet,
        gateway::{GatewayAddress, GatewayClassStatus, GatewayStatus, ListenerStatus, SupportedFeature},
        listenerset::ListenerSetStatus,
        refs::{RouteParentStatus, RouteStatus},
    },
};

#[cfg(test)]
mod tests;

/// Longest `message` that the API takes.
const MESSAGE_MAX: usize = 32_768;

/// Condition types that are ours to remove when no verdict has them any more; others stay.
const OURS: [&str; 10] = [
    condition::ACCEPTED,
    condition::PROGRAMMED,
    condition::RESOLVED_REFS,
    condition::CONFLICTED,
    condition::PARTIALLY_INVALID,
    condition::INSECURE_FRONTEND_VALIDATION_MODE,
    condition::SUPPORTED_VERSION,
    // Older releases of the Gateway API had these defaults.
    "Scheduled",
    "Ready",
    "Detached",
];

/// Why a socket of a listener is not open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BindFailure {
    /// This host does not have the address.
    NotLocal,
    /// The port is taken, or may not be used.
    Unavailable(String),
    /// What its certificates are good for shows when TLS is set up.
    Certificate(String),
}

pub type BindFailures = BTreeMap<Socket, BindFailure>;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    Class(String),
    Gateway(Key),
    ListenerSet(Key),
    Route(Kind, Key),
    Policy(Key),
}

/// What the status of one object has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Desired {
    Class(ClassVerdict),
    Gateway(GatewayVerdict),
    ListenerSet(ListenerSetVerdict),
    Route(Arc<RouteVerdict>),
    Policy(PolicyVerdict),
}

/// An object as the API last had it.
#[derive(Clone, Debug, PartialEq)]
pub enum Current {
    Class(Arc<GatewayClass>),
    Gateway(Arc<Gateway>),
    ListenerSet(Arc<ListenerSet>),
    Route { version: Option<String>, status: Option<RouteStatus> },
    Policy(Arc<BackendTlsPolicy>),
}

impl From<RouteView<'_>> for Current {
    fn from(route: RouteView<'_>) -> Self {
        Self::Route { version: route.metadata.resource_version.clone(), status: route.status.cloned() }
    }
}

impl Current {
    pub fn of(set: &Set, target: &Target) -> Option<Self> {
        match target {
            Target::Class(name) => set.classes.get(name).cloned().map(Self::Class),
            Target::Gateway(key) => set.gateways.get(key).cloned().map(Self::Gateway),
            Target::ListenerSet(key) => set.listener_sets.get(key).cloned().map(Self::ListenerSet),
            Target::Route(kind, key) => set.route(*kind, key).map(Self::from),
            Target::Policy(key) => set.backend_tls_policies.get(key).cloned().map(Self::Policy),
        }
    }

    pub fn resource_version(&self) -> Option<&str> {
        match self {
            Self::Class(class) => class.metadata.resource_version.as_deref(),
            Self::Gateway(gateway) => gateway.metadata.resource_version.as_deref(),
            Self::ListenerSet(set) => set.metadata.resource_version.as_deref(),
            Self::Route { version, .. } => version.as_deref(),
            Self::Policy(policy) => policy.metadata.resource_version.as_deref(),
        }
    }
}

/// The version of an object that `set` has.
pub fn version<'a>(set: &'a Set, target: &Target) -> Option<Cow<'a, str>> {
    if let Target::Route(kind, key) = target {
        // Without a copy of its status: there are thousands of them.
        return set.route(*kind, key)?.metadata.resource_version.as_deref().map(Cow::Borrowed);
    }
    Current::of(set, target)?.resource_version().map(|version| Cow::Owned(version.to_owned()))
}

/// What has to be said about every object that is ours, or was.
pub fn desired(set: &Set, verdicts: &Verdicts, failures: &BindFailures, controller: &str) -> BTreeMap<Target, Desired> {
    let classes =
        verdicts.classes.iter().map(|(name, verdict)| (Target::Class(name.clone()), Desired::Class(verdict.clone())));
    let gateways = verdicts.gateways.iter().map(|(key, verdict)| {
        (Target::Gateway(key.clone()), Desired::Gateway(with_sockets(verdict.clone(), failures)))
    });
    let sets = verdicts.listener_sets.iter().map(|(key, verdict)| {
        (Target::ListenerSet(key.clone()), Desired::ListenerSet(set_with_sockets(verdict.clone(), failures)))
    });
    let by_kind = verdicts.routes();
    let routes = by_kind.iter().flat_map(|(kind, routes)| {
        routes.iter().map(|(key, verdict)| (Target::Route(*kind, key.clone()), Desired::Route(Arc::clone(verdict))))
    });
    // Routes that no longer name a parent of ours must not keep what we said about one.
    let known = |kind: Kind, key: &Key| by_kind.iter().any(|(of, routes)| *of == kind && routes.contains_key(key));
    let left = set.routes().filter(|(kind, key, route)| {
        let mut parents = route.status.iter().flat_map(|status| &status.parents);
        parents.any(|parent| parent.controller_name == controller) && !known(*kind, key)
    });
    let left = left.map(|(kind, key, route)| {
        let generation = route.metadata.generation.unwrap_or_default();
        (Target::Route(kind, key.clone()), Desired::Route(Arc::new(RouteVerdict { generation, parents: Vec::new() })))
    });
    let policies = policies::desired(set, verdicts, controller);
    classes.chain(gateways).chain(sets).chain(routes).chain(left).chain(policies).collect()
}

/// What the sockets say about one listener, or several.
#[derive(Default)]
struct Sockets {
    not_local: BTreeSet<IpAddr>,
    /// Names of listeners that cannot be served.
    unavailable: Vec<String>,
}

impl Sockets {
    fn join(&mut self, listener: &mut ListenerVerdict, failures: &BindFailures) {
        let failed = listener.binds.iter().filter_map(|socket| failures.get(socket).map(|failure| (*socket, failure)));
        let mut messages = Vec::new();
        for (socket, failure) in failed.collect::<Vec<_>>() {
            let message = match failure {
                BindFailure::NotLocal => {
                    self.not_local.insert(socket.address.ip());
                    format!("{} is not an address of this host", socket.address.ip())
                }
                BindFailure::Unavailable(why) => {
                    let message = format!("cannot listen on {socket}: {why}");
                    set(&mut listener.conditions, condition::ACCEPTED, false, reason::PORT_UNAVAILABLE, &message);
                    self.unavailable.push(listener.name.clone());
                    message
                }
                BindFailure::Certificate(why) => {
                    let reason = reason::INVALID_CERTIFICATE_REF;
                    set(&mut listener.conditions, condition::RESOLVED_REFS, false, reason, why);
                    self.unavailable.push(listener.name.clone());
                    why.clone()
                }
            };
            messages.push(message);
        }
        self.unavailable.dedup();
        if !messages.is_empty() {
            set(&mut listener.conditions, condition::PROGRAMMED, false, reason::INVALID, &messages.join("; "));
        }
    }

    fn all_open(&self) -> bool {
        self.not_local.is_empty() && self.unavailable.is_empty()
    }
}

/// Joins what compiling promised with what the sockets say.
pub fn with_sockets(mut verdict: GatewayVerdict, failures: &BindFailures) -> GatewayVerdict {
    let mut sockets = Sockets::default();
    for listener in &mut verdict.listeners {
        sockets.join(listener, failures);
    }
    if sockets.all_open() {
        return verdict;
    }
    let Sockets { not_local, unavailable } = sockets;
    let serving = verdict.listeners.iter().any(is_programmed);
    if !unavailable.is_empty() {
        let message = format!("listener {} cannot be served, see its own conditions", unavailable.join(", "));
        if holds(&verdict.conditions, condition::ACCEPTED) {
            set(&mut verdict.conditions, condition::ACCEPTED, serving, reason::LISTENERS_NOT_VALID, &message);
        }
        if !serving {
            set(&mut verdict.conditions, condition::PROGRAMMED, false, reason::INVALID, &message);
        }
    }
    if !not_local.is_empty() {
        verdict.addresses.retain(|address| !not_local.contains(address));
        let list = not_local.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let message = format!(
            "this host does not have the address {list}; add it to an interface, or change spec.addresses or --address-pool"
        );
        set(&mut verdict.conditions, condition::PROGRAMMED, false, reason::ADDRESS_NOT_USABLE, &message);
    }
    verdict
}

fn set_with_sockets(mut verdict: ListenerSetVerdict, failures: &BindFailures) -> ListenerSetVerdict {
    let mut sockets = Sockets::default();
    for listener in &mut verdict.listeners {
        sockets.join(listener, failures);
    }
    if !sockets.all_open() && holds(&verdict.conditions, condition::ACCEPTED) {
        let serving = verdict.listeners.iter().any(is_programmed);
        let message = "a listener cannot be served, see its own conditions";
        if !sockets.unavailable.is_empty() {
            set(&mut verdict.conditions, condition::ACCEPTED, serving, reason::LISTENERS_NOT_VALID, message);
        }
        if !serving {
            set(&mut verdict.conditions, condition::PROGRAMMED, false, reason::LISTENERS_NOT_VALID, message);
        }
    }
    verdict
}

fn is_programmed(listener: &ListenerVerdict) -> bool {
    holds(&listener.conditions, condition::PROGRAMMED)
}

fn holds(conditions: &[Verdict], type_: &str) -> bool {
    conditions.iter().any(|condition| condition.type_ == type_ && condition.status)
}

fn set(conditions: &mut Vec<Verdict>, type_: &'static str, status: bool, reason: &'static str, message: &str) {
    let verdict = Verdict { type_, status, reason, message: message.to_owned() };
    match conditions.iter_mut().find(|condition| condition.type_ == type_) {
        Some(condition) => *condition = verdict,
        None => conditions.push(verdict),
    }
}

/// The merge patch that makes `current` say what is desired; `None` when it does already.
pub fn patch(desired: &Desired, current: &Current, controller: &str, now: &Time) -> Option<Value> {
    let status = match (desired, current) {
        (Desired::Class(verdict), Current::Class(class)) => {
            let old = class.status.clone().unwrap_or_default();
            let new = class_status(verdict, &old, now);
            (class.status.is_none() || new != old).then(|| json!(new))?
        }
        (Desired::Gateway(verdict), Current::Gateway(gateway)) => {
            let old = gateway.status.clone().unwrap_or_default();
            let new = gateway_status(verdict, &old, now);
            // An empty list has to be in the patch, or the old one would stay.
            (gateway.status.is_none() || new != old).then(|| {
                json!({
                    "addresses": new.addresses,
                    "conditions": new.conditions,
                    "listeners": new.listeners,
                    "attachedListenerSets": new.attached_listener_sets,
                })
            })?
        }
        (Desired::ListenerSet(verdict), Current::ListenerSet(set)) => {
            let old = set.status.clone().unwrap_or_default();
            let new = listener_set_status(verdict, &old, now);
            (set.status.is_none() || new != old)
                .then(|| json!({ "conditions": new.conditions, "listeners": new.listeners }))?
        }
        (Desired::Route(verdict), Current::Route { status, .. }) => {
            let old = status.clone().unwrap_or_default();
            let new = route_status(verdict, &old, controller, now);
            (new != old).then(|| json!(new))?
        }
        (Desired::Policy(verdict), Current::Policy(policy)) => {
            let old = policy.status.clone().unwrap_or_default();
            let new = policies::status(verdict, &old, controller, now);
            (new != old).then(|| json!(new))?
        }
        // Not one object; there is nothing to say.
        _ => return None,
    };
    // With the version in it, a write on top of somebody else's is refused and done anew.
    Some(json!({ "metadata": { "resourceVersion": current.resource_version() }, "status": status }))
}

fn class_status(verdict: &ClassVerdict, old: &GatewayClassStatus, now: &Time) -> GatewayClassStatus {
    let accepted = holds(&verdict.conditions, condition::ACCEPTED);
    let features = features::SUPPORTED.iter().filter(|_| accepted);
    GatewayClassStatus {
        conditions: merged(&verdict.conditions, &old.conditions, verdict.generation, now),
        supported_features: features.map(|name| SupportedFeature { name: (*name).to_owned() }).collect(),
    }
}

fn gateway_status(verdict: &GatewayVerdict, old: &GatewayStatus, now: &Time) -> GatewayStatus {
    let addresses = verdict
        .addresses
        .iter()
        .map(|address| GatewayAddress { type_: Some(IP_ADDRESS.to_owned()), value: address.to_string() });
    GatewayStatus {
        addresses: addresses.collect(),
        conditions: merged(&verdict.conditions, &old.conditions, verdict.generation, now),
        listeners: listeners(&verdict.listeners, &old.listeners, verdict.generation, now),
        attached_listener_sets: verdict.attached_listener_sets,
    }
}

fn listener_set_status(verdict: &ListenerSetVerdict, old: &ListenerSetStatus, now: &Time) -> ListenerSetStatus {
    ListenerSetStatus {
        conditions: merged(&verdict.conditions, &old.conditions, verdict.generation, now),
        listeners: listeners(&verdict.listeners, &old.listeners, verdict.generation, now),
    }
}

fn listeners(verdicts: &[ListenerVerdict], old: &[ListenerStatus], generation: i64, now: &Time) -> Vec<ListenerStatus> {
    let listener = |listener: &ListenerVerdict| {
        let before = old.iter().find(|old| old.name == listener.name);
        let conditions = before.map_or(&[][..], |before| &before.conditions);
        ListenerStatus {
            name: listener.name.clone(),
            supported_kinds: listener.supported_kinds.clone(),
            attached_routes: listener.attached_routes,
            conditions: merged(&listener.conditions, conditions, generation, now),
        }
    };
    verdicts.iter().map(listener).collect()
}

/// Entries of other controllers keep their place and their words.
fn route_status(verdict: &RouteVerdict, old: &RouteStatus, controller: &str, now: &Time) -> RouteStatus {
    let mut parents = Vec::new();
    let mut missing: Vec<_> = verdict.parents.iter().collect();
    let entry = |conditions: &[Verdict], parent, before: &[Condition]| RouteParentStatus {
        parent_ref: parent,
        controller_name: controller.to_owned(),
        conditions: merged(conditions, before, verdict.generation, now),
    };
    for before in &old.parents {
        if before.controller_name != controller {
            parents.push(before.clone());
        } else if let Some(at) = missing.iter().position(|parent| parent.parent == before.parent_ref) {
            let parent = missing.remove(at);
            parents.push(entry(&parent.conditions, parent.parent.clone(), &before.conditions));
        }
    }
    parents.extend(missing.into_iter().map(|parent| entry(&parent.conditions, parent.parent.clone(), &[])));
    RouteStatus { parents }
}

pub(super) fn merged(verdicts: &[Verdict], old: &[Condition], generation: i64, now: &Time) -> Vec<Condition> {
    let said = |verdict: &Verdict, before: Option<&Condition>| {
        let status = if verdict.status { "True" } else { "False" };
        let since = before.filter(|before| before.status == status).map(|before| before.last_transition_time.clone());
        Condition {
            type_: verdict.type_.to_owned(),
            status: status.to_owned(),
            reason: verdict.reason.to_owned(),
            message: shortened(&verdict.message),
            observed_generation: Some(generation),
            last_transition_time: since.unwrap_or_else(|| now.clone()),
        }
    };
    let mut conditions: Vec<Condition> = Vec::with_capacity(verdicts.len());
    for before in old {
        if let Some(verdict) = verdicts.iter().find(|verdict| verdict.type_ == before.type_) {
            if !conditions.iter().any(|condition| condition.type_ == before.type_) {
                conditions.push(said(verdict, Some(before)));
            }
        } else if !OURS.contains(&before.type_.as_str()) {
            conditions.push(before.clone());
        }
    }
    for verdict in verdicts {
        if !conditions.iter().any(|condition| condition.type_ == verdict.type_) {
            conditions.push(said(verdict, None));
        }
    }
    conditions
}

fn shortened(message: &str) -> String {
    if message.len() <= MESSAGE_MAX {
        return message.to_owned();
    }
    let mut end = MESSAGE_MAX - '…'.len_utf8();
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &message[..end])
}
