//! From the watched objects to the table that serves and the verdicts that status tells.
//! Pure: no I/O, no clock. Bad input is a verdict on the object concerned.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::{
    metrics::Registry,
    resources::{Kind, Set},
    table::{Socket, Start, Table},
    types::{Key, gateway::RouteGroupKind, refs::ParentRef},
};

mod assemble;
mod attach;
mod authorities;
mod backends;
mod certificates;
mod classes;
mod conflicts;
mod filters;
mod frontend;
mod gateways;
mod grants;
mod hostnames;
mod listeners;
mod memory;
mod parents;
mod placing;
mod policies;
mod rivals;
mod routes;
mod sets;
mod streams;
#[cfg(test)]
mod tests;
pub mod verdict;

pub use memory::Memory;

/// Compiles everything that `controller` is responsible for. `addresses` has what each Gateway
/// was given; `registry` keeps the series that the rules of the table count on; `memory` goes
/// from one compilation of the Set to the next, and [`Set::changes`] says what changed between.
pub fn compile(
    set: &Set,
    addresses: &Addresses,
    registry: &Registry,
    controller: &str,
    generation: u64,
    memory: &mut Memory,
) -> Compiled {
    let (mut last, mut changed) = memory.recall(set, addresses);
    let classes = classes::compile(set, controller);
    let grants = grants::Grants::new(set.grants.iter().map(|(key, grant)| (key, &**grant)));
    let mut gateways = gateways::plan(set, &classes, addresses, &grants, memory);
    let known = std::mem::take(&mut last.backends);
    let start = Start { turn: generation.wrapping_mul(7919), workers: registry.workers() };
    let mut backends = backends::Backends::new(set, &grants, known, start);
    let parents = parents::Parents::new(&gateways);
    let mut placing = placing::Placing {
        set,
        parents: &parents,
        gateways: &gateways,
        backends: &mut backends,
        registry,
        last: &mut last,
        brought: placing::Brought::new(),
    };
    placing.place(&mut changed);
    let brought = placing.brought;
    let listeners = assemble::Listeners { places: &mut last.places, brought, changed: &changed };
    let table = Table { generation, binds: assemble::binds(&gateways, listeners, registry) };
    for ((gateway, listener), placed) in &last.places {
        let plan = gateways.get_mut(*gateway).and_then(|gateway| gateway.listeners.get_mut(*listener));
        plan.into_iter().for_each(|plan| plan.attached_routes = placed.attached);
    }
    let routes = |kind| last.verdicts.get(&kind).cloned().unwrap_or_default();
    let verdicts = Verdicts {
        classes,
        gateways: gateways.iter().map(|gateway| (gateway.key.clone(), gateway.verdict())).collect(),
        listener_sets: gateways.iter().flat_map(gateways::GatewayPlan::set_verdicts).collect(),
        http_routes: routes(Kind::HttpRoute),
        grpc_routes: routes(Kind::GrpcRoute),
        tls_routes: routes(Kind::TlsRoute),
        tcp_routes: routes(Kind::TcpRoute),
        udp_routes: routes(Kind::UdpRoute),
        policies: backends.known.policies.verdicts(),
    };
    last.backends = backends.known;
    memory.last = Some(last);
    Compiled { table, verdicts }
}

/// Seconds of `creationTimestamp`; an object without one is younger than all others.
fn created(metadata: &ObjectMeta) -> i64 {
    metadata.creation_timestamp.as_ref().map_or(i64::MAX, |time| time.0.as_second())
}

/// Addresses that the provisioner gave each Gateway, or why it could not.
pub type Addresses = BTreeMap<Key, Result<Vec<IpAddr>, AddressProblem>>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressProblem {
    /// Reason of the `Programmed` (or `Accepted`) condition, as the spec spells it.
    pub reason: &'static str,
    pub message: String,
}

#[derive(Debug)]
pub struct Compiled {
    pub table: Table,
    pub verdicts: Verdicts,
}

/// Shared from one compilation to the next for as long as nothing in it changes.
pub type ByKey = Arc<BTreeMap<Key, Arc<RouteVerdict>>>;
type RouteVerdicts = BTreeMap<Kind, ByKey>;

/// What status has to say about every object that is ours.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Verdicts {
    pub classes: BTreeMap<String, ClassVerdict>,
    pub gateways: BTreeMap<Key, GatewayVerdict>,
    pub listener_sets: BTreeMap<Key, ListenerSetVerdict>,
    /// Routes that name a parent of ours.
    pub http_routes: ByKey,
    pub grpc_routes: ByKey,
    pub tls_routes: ByKey,
    pub tcp_routes: ByKey,
    pub udp_routes: ByKey,
    /// BackendTLSPolicies of Services that our Gateways send to.
    pub policies: BTreeMap<Key, PolicyVerdict>,
}

impl Verdicts {
    /// Verdicts on routes, by kind.
    pub fn routes(&self) -> [(Kind, &ByKey); 5] {
        [
            (Kind::HttpRoute, &self.http_routes),
            (Kind::GrpcRoute, &self.grpc_routes),
            (Kind::TlsRoute, &self.tls_routes),
            (Kind::TcpRoute, &self.tcp_routes),
            (Kind::UdpRoute, &self.udp_routes),
        ]
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassVerdict {
    pub generation: i64,
    pub conditions: Vec<Verdict>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayVerdict {
    pub generation: i64,
    pub addresses: Vec<IpAddr>,
    pub conditions: Vec<Verdict>,
    pub listeners: Vec<ListenerVerdict>,
    /// ListenerSets whose listeners it has taken up; `None` where it takes none and never said so.
    pub attached_listener_sets: Option<i32>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerSetVerdict {
    pub generation: i64,
    pub conditions: Vec<Verdict>,
    pub listeners: Vec<ListenerVerdict>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerVerdict {
    pub name: String,
    pub supported_kinds: Vec<RouteGroupKind>,
    pub attached_routes: i32,
    pub conditions: Vec<Verdict>,
    /// Sockets this listener is programmed on only once they are bound.
    pub binds: BTreeSet<Socket>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteVerdict {
    pub generation: i64,
    pub parents: Vec<ParentVerdict>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParentVerdict {
    pub parent: ParentRef,
    pub conditions: Vec<Verdict>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyVerdict {
    pub generation: i64,
    pub ancestors: Vec<AncestorVerdict>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AncestorVerdict {
    pub ancestor: ParentRef,
    pub conditions: Vec<Verdict>,
}

/// One condition, without time and generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    pub type_: &'static str,
    pub status: bool,
    pub reason: &'static str,
    pub message: String,
}
