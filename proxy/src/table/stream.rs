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

#[derive(Debug)]
pub struct StreamBackend {
    pub key: Key,
    pub port: u16,
    pub target: Target,
    pub series: Arc<Series>,
}
