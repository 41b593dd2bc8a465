//! Where connections and datagrams go whose content is none of our business.

use std::sync::Arc;

use super::{Picker, RouteId, Target, UpstreamTls};
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
    /// How what the listener decrypted goes on; `None` is as it is.
    pub tls: Option<Arc<UpstreamTls>>,
    pub series: Arc<Series>,
}
