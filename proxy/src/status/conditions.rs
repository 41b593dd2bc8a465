//! From verdicts and bound sockets to the `status` of each object. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use serde_json::{Value, json};

use super::features;
use crate::{
    compile::{
        ClassVerdict, GatewayVerdict, ListenerVerdict, RouteVerdict, Verdict, Verdicts,
        verdict::{condition, reason},
    },
    provision::host::IP_ADDRESS,
    resources::Set,
    types::{
        Gateway, GatewayClass, HttpRoute, Key,
        gateway::{GatewayAddress, GatewayClassStatus, GatewayStatus, ListenerStatus, SupportedFeature},
        refs::{RouteParentStatus, RouteStatus},
    },
};

#[cfg(test)]
mod tests;

/// Longest `message` that the API takes.
const MESSAGE_MAX: usize = 32_768;

/// Condition types that are ours to remove when no verdict has them any more; others stay.
const OURS: [&str; 9] = [
    condition::ACCEPTED,
    condition::PROGRAMMED,
    condition::RESOLVED_REFS,
    condition::CONFLICTED,
    condition::PARTIALLY_INVALID,
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

pub type BindFailures = BTreeMap<SocketAddr, BindFailure>;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    Class(String),
    Gateway(Key),
    HttpRoute(Key),
}

/// What the status of one object has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Desired {
    Class(ClassVerdict),
    Gateway(GatewayVerdict),
    HttpRoute(RouteVerdict),
}

/// An object as the API last had it.
#[derive(Clone, Debug, PartialEq)]
pub enum Current {
    Class(std::sync::Arc<GatewayClass>),
    Gateway(std::sync::Arc<Gateway>),
    HttpRoute(std::sync::Arc<HttpRoute>),
}

impl Current {
    pub fn of(set: &Set, target: &Target) -> Option<Self> {
        match target {
            Target::Class(name) => set.classes.get(name).cloned().map(Self::Class),
            Target::Gateway(key) => set.gateways.get(key).cloned().map(Self::Gateway),
            Target::HttpRoute(key) => set.http_routes.get(key).cloned().map(Self::HttpRoute),
        }
    }

    pub fn resource_version(&self) -> Option<&str> {
        let metadata = match self {
            Self::Class(class) => &class.metadata,
            Self::Gateway(gateway) => &gateway.metadata,
            Self::HttpRoute(route) => &route.metadata,
        };
        metadata.resource_version.as_deref()
    }
}

/// What has to be said about every object that is ours, or was.
pub fn desired(set: &Set, verdicts: &Verdicts, failures: &BindFailures, controller: &str) -> BTreeMap<Target, Desired> {
    let classes =
        verdicts.classes.iter().map(|(name, verdict)| (Target::Class(name.clone()), Desired::Class(verdict.clone())));
    let gateways = verdicts.gateways.iter().map(|(key, verdict)| {
        (Target::Gateway(key.clone()), Desired::Gateway(with_sockets(verdict.clone(), failures)))
    });
    let routes = verdicts
        .http_routes
        .iter()
        .map(|(key, verdict)| (Target::HttpRoute(key.clone()), Desired::HttpRoute(verdict.clone())));
    // Routes that no longer name a parent of ours must not keep what we said about one.
    let left = set.http_routes.iter().filter(|(key, route)| {
        let parents = route.status.iter().flat_map(|status| &status.parents);
        !verdicts.http_routes.contains_key(*key)
            && parents.into_iter().any(|parent| parent.controller_name == controller)
    });
    let left = left.map(|(key, route)| {
        let nothing = RouteVerdict { generation: route.generation(), parents: Vec::new() };
        (Target::HttpRoute(key.clone()), Desired::HttpRoute(nothing))
    });
    classes.chain(gateways).chain(routes).chain(left).collect()
}

/// Joins what compiling promised with what the sockets say.
fn with_sockets(mut verdict: GatewayVerdict, failures: &BindFailures) -> GatewayVerdict {
    let mut not_local = BTreeSet::new();
    let mut unavailable = Vec::new();
    for listener in &mut verdict.listeners {
        let failed = listener.binds.iter().filter_map(|socket| failures.get(socket).map(|failure| (*socket, failure)));
        let mut messages = Vec::new();
        for (socket, failure) in failed.collect::<Vec<_>>() {
            let message = match failure {
                BindFailure::NotLocal => {
                    not_local.insert(socket.ip());
                    format!("{} is not an address of this host", socket.ip())
                }
                BindFailure::Unavailable(why) => {
                    let message = format!("cannot listen on {socket}: {why}");
                    set(&mut listener.conditions, condition::ACCEPTED, false, reason::PORT_UNAVAILABLE, &message);
                    unavailable.push(listener.name.clone());
                    message
                }
                BindFailure::Certificate(why) => {
                    set(
                        &mut listener.conditions,
                        condition::RESOLVED_REFS,
                        false,
                        reason::INVALID_CERTIFICATE_REF,
                        why,
                    );
                    unavailable.push(listener.name.clone());
                    why.clone()
                }
            };
            messages.push(message);
        }
        if !messages.is_empty() {
            set(&mut listener.conditions, condition::PROGRAMMED, false, reason::INVALID, &messages.join("; "));
        }
    }
    if not_local.is_empty() && unavailable.is_empty() {
        return verdict;
    }
    unavailable.dedup();
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
            (gateway.status.is_none() || new != old).then(
                || json!({ "addresses": new.addresses, "conditions": new.conditions, "listeners": new.listeners }),
            )?
        }
        (Desired::HttpRoute(verdict), Current::HttpRoute(route)) => {
            let old = route.status.clone().unwrap_or_default();
            let new = route_status(verdict, &old, controller, now);
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
    let listeners = verdict.listeners.iter().map(|listener| {
        let before = old.listeners.iter().find(|old| old.name == listener.name);
        let conditions = before.map_or(&[][..], |before| &before.conditions);
        ListenerStatus {
            name: listener.name.clone(),
            supported_kinds: listener.supported_kinds.clone(),
            attached_routes: listener.attached_routes,
            conditions: merged(&listener.conditions, conditions, verdict.generation, now),
        }
    });
    GatewayStatus {
        addresses: addresses.collect(),
        conditions: merged(&verdict.conditions, &old.conditions, verdict.generation, now),
        listeners: listeners.collect(),
        attached_listener_sets: old.attached_listener_sets,
    }
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

fn merged(verdicts: &[Verdict], old: &[Condition], generation: i64, now: &Time) -> Vec<Condition> {
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
