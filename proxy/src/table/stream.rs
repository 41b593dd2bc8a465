//! Where connections and datagrams go whose content is none of our business.

use std::sync::Arc;

use super::{Picker, RouteId, Target};
use crate::{metrics::Series, types::Key};

/// The rule of a TCPRoute, UDPRoute or TLSRoute.
#[derive(Debug)]
pub struct StreamRule {
    pub route: RouteId,
    /// Empty when no backend has a weight.
    pub backends: Picker<StreamBackend>,
    /// Connections that no backend took.
    pub unserved: Arc<Series>,
}

/// Version of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyHeader {
    V1,
    V2,
}

#[derive(Debug)]
pub struct StreamBackend {
    pub key: Key,
    pub port: u16,
    pub target: Target,
    /// What its connections begin with.
    pub proxy: Option<ProxyHeader>,
    pub series: Arc<Series>,
}
