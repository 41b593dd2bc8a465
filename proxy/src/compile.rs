//! From the watched objects to the table that serves and the verdicts that status tells.
//! Pure: no I/O, no clock. Bad input is a verdict on the object concerned.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::{
    metrics::Registry,
    resources::{Kind, Set},
    table::{Socket, Table},
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
mod parents;
mod policies;
mod routes;
mod sets;
mod streams;
#[cfg(test)]
mod tests;
pub mod verdict;

pub use certificates::Memory;

/// Compiles everything that `controller` is responsible for. `addresses` has what each Gateway
/// was given; `registry` keeps the series that the rules of the table count on; `memory` goes
/// from one compilation to the next.
pub fn compile(
    set: &Set,
    addresses: &Addresses,
    registry: &Registry,
    controller: &str,
    generation: u64,
    memory: &mut Memory,
) -> Compiled {
    let classes = classes::compile(set, controller);
    let grants = grants::Grants::new(set.grants.iter().map(|(key, grant)| (key, &**grant)));
    let mut gateways = gateways::plan(set, &classes, addresses, &grants, memory);
    // Tables may follow each other within a few requests: each starts its picks elsewhere.
    let mut backends = backends::Backends::new(set, &grants, generation.wrapping_mul(7919));
    let parents = parents::Parents::new(&gateways);
    let (http_routes, grpc_routes) = routes::compile(set, &parents, &mut gateways, &mut backends, registry);
    let mut streams =
        streams::Streams { set, parents: &parents, gateways: &mut gateways, backends: &mut backends, registry };
    let tls_routes = streams.compile(Kind::TlsRoute, &set.tls_routes);
    let tcp_routes = streams.compile(Kind::TcpRoute, &set.tcp_routes);
    let udp_routes = streams.compile(Kind::UdpRoute, &set.udp_routes);
    let verdicts = Verdicts {
        classes,
        gateways: gateways.iter().map(|gateway| (gateway.key.clone(), gateway.verdict())).collect(),
        listener_sets: gateways.iter().flat_map(gateways::GatewayPlan::set_verdicts).collect(),
        http_routes,
        grpc_routes,
        tls_routes,
        tcp_routes,
        udp_routes,
        policies: backends.policies.verdicts(),
    };
    Compiled { table: Table { generation, binds: assemble::binds(gateways, registry) }, verdicts }
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

/// What status has to say about every object that is ours.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Verdicts {
    pub classes: BTreeMap<String, ClassVerdict>,
    pub gateways: BTreeMap<Key, GatewayVerdict>,
    pub listener_sets: BTreeMap<Key, ListenerSetVerdict>,
    /// Routes that name a parent of ours.
    pub http_routes: BTreeMap<Key, RouteVerdict>,
    pub grpc_routes: BTreeMap<Key, RouteVerdict>,
    pub tls_routes: BTreeMap<Key, RouteVerdict>,
    pub tcp_routes: BTreeMap<Key, RouteVerdict>,
    pub udp_routes: BTreeMap<Key, RouteVerdict>,
    /// BackendTLSPolicies of Services that our Gateways send to.
    pub policies: BTreeMap<Key, PolicyVerdict>,
}

impl Verdicts {
    /// Verdicts on routes, by kind.
    pub fn routes(&self) -> [(Kind, &BTreeMap<Key, RouteVerdict>); 5] {
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
