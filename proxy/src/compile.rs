//! From the watched objects to the table that serves and the verdicts that status tells.
//! Pure: no I/O, no clock. Bad input is a verdict on the object concerned.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
};

use crate::{
    table::Table,
    types::{Key, gateway::RouteGroupKind, refs::ParentRef},
};

pub mod verdict;

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
    /// HTTPRoutes that name a parent of ours.
    pub http_routes: BTreeMap<Key, RouteVerdict>,
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
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerVerdict {
    pub name: String,
    pub supported_kinds: Vec<RouteGroupKind>,
    pub attached_routes: i32,
    pub conditions: Vec<Verdict>,
    /// Sockets this listener is programmed on only once they are bound.
    pub binds: BTreeSet<SocketAddr>,
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

/// One condition, without time and generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    pub type_: &'static str,
    pub status: bool,
    pub reason: &'static str,
    pub message: String,
}
