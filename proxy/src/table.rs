//! What serves requests: immutable, compiled once per change, swapped whole.
//!
//! A request finds its way top to bottom: [`Table`] by local address, [`Bind`] by host to a
//! [`Listener`], [`Listener`] by host to rules in order of precedence, [`Rule`] to an
//! [`Outcome`]. Nothing here knows Kubernetes clients or sockets.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use http::{HeaderName, HeaderValue, StatusCode, uri::Authority};

use crate::{metrics::Series, types::Key};

pub mod cors;
pub mod hosts;
pub mod pick;
pub mod route;
pub mod socket;
pub mod stream;
pub mod upstream_tls;

pub use cors::Cors;
pub use hosts::HostMap;
pub use pick::{Picker, Start};
pub use route::{Found, RequestHead, RouteMatch, Routes};
pub use socket::{Socket, Transport};
pub use stream::{StreamBackend, StreamRule};
pub use upstream_tls::{Roots, SubjectName, UpstreamTls};

#[derive(Debug, Default)]
pub struct Table {
    /// Rises by one with every swap.
    pub generation: u64,
    /// Sorted by socket.
    pub binds: Vec<Arc<Bind>>,
}

impl Table {
    pub fn bind(&self, socket: impl Into<Socket>) -> Option<&Arc<Bind>> {
        let at = self.binds.binary_search_by_key(&socket.into(), |bind| bind.socket()).ok()?;
        self.binds.get(at)
    }
}

/// One socket to listen on, shared by every listener of that address and port.
#[derive(Debug)]
pub struct Bind {
    pub address: SocketAddr,
    /// Of the listeners; [`Protocol::Tls`] where HTTPS listeners share with others.
    pub protocol: Protocol,
    /// Connections begin with a PROXY header.
    pub accept_proxy: bool,
    /// By listener hostname; the empty hostname is the catch-all.
    pub listeners: HostMap<Arc<Listener>>,
    /// Requests for a host that no listener takes.
    pub unmatched: Arc<Series>,
}

impl Bind {
    pub fn socket(&self) -> Socket {
        Socket { address: self.address, transport: self.protocol.transport() }
    }
}

/// What a listener speaks: the first two carry requests, the others bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Http,
    Https,
    /// Terminated where the listener has certificates, passed on by server name where not.
    Tls,
    Tcp,
    Udp,
}

#[derive(Debug)]
pub struct Listener {
    pub gateway: Key,
    pub name: String,
    pub protocol: Protocol,
    /// Present when the listener terminates TLS.
    pub tls: Option<Arc<ServerTls>>,
    /// By effective hostname.
    pub routes: HostMap<Arc<Routes>>,
    /// By effective hostname, which is the server name of TLS; for TCP and UDP any.
    pub streams: HostMap<Arc<StreamRule>>,
    /// Requests that no rule took.
    pub unmatched: Arc<Series>,
}

/// PEM of one listener's certificates, checked at compile time; `serve` turns it into rustls'.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerTls {
    pub certificates: Vec<CertificatePem>,
    /// What clients have to show; `None` is nothing.
    pub clients: Option<Arc<ClientAuth>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientAuth {
    /// PEM of the authorities whose certificates are good.
    pub bundles: Vec<Arc<[u8]>>,
    /// Clients without a good certificate are turned away; else they are asked and let in.
    pub required: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CertificatePem {
    pub secret: Key,
    pub chain: Vec<u8>,
    pub key: Vec<u8>,
}

#[derive(Debug)]
pub struct Rule {
    pub route: RouteId,
    pub request_headers: HeaderEdits,
    pub response_headers: HeaderEdits,
    pub mirrors: Vec<Mirror>,
    pub cors: Option<Box<Cors>>,
    pub timeouts: Timeouts,
    pub retry: Option<Box<Retry>>,
    pub outcome: Outcome,
    /// Counts the requests that no backend sees.
    pub series: Arc<Series>,
}

/// The labels of a rule, as in the metrics and the access log.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RouteId {
    pub kind: &'static str,
    pub key: Key,
    pub rule: usize,
    pub rule_name: Option<String>,
}

#[derive(Debug)]
pub enum Outcome {
    Forward(Picker<Backend>),
    Redirect(Box<Redirect>),
    /// The rule took the request but has nothing to answer it with.
    Respond(StatusCode, &'static str),
}

#[derive(Debug)]
pub struct Backend {
    pub key: Key,
    pub port: u16,
    pub target: Target,
    /// Answers the backend's share in its stead.
    pub redirect: Option<Box<Redirect>>,
    /// How the connection to its endpoints is secured; `None` is not at all.
    pub tls: Option<Arc<UpstreamTls>>,
    pub request_headers: HeaderEdits,
    pub response_headers: HeaderEdits,
    /// The rule's, with what the backend's own replaces of it.
    pub rewrite: Option<Rewrite>,
    pub mirrors: Vec<Mirror>,
    pub series: Arc<Series>,
}

#[derive(Debug)]
pub enum Target {
    Endpoints(Arc<Endpoints>),
    /// 500 for a reference that does not resolve, 503 for a Service without ready endpoints.
    Fail(StatusCode, &'static str),
}

/// Version of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProxyHeader {
    V1,
    V2,
}

/// Ready addresses of one Service port, shared by all rules that send to it.
#[derive(Debug)]
pub struct Endpoints {
    pub protocol: UpstreamProtocol,
    /// What a connection to them begins with: then it is one client's alone.
    pub proxy: Option<ProxyHeader>,
    pub addresses: Picker<SocketAddr>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UpstreamProtocol {
    Http1,
    /// By prior knowledge where there is no TLS (`appProtocol: kubernetes.io/h2c`, every GRPCRoute).
    Http2,
}

/// Applied in the spec's order: set, add, remove.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct HeaderEdits {
    pub set: Vec<(HeaderName, HeaderValue)>,
    pub add: Vec<(HeaderName, HeaderValue)>,
    pub remove: Vec<HeaderName>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewrite {
    pub hostname: Option<Authority>,
    pub path: Option<PathEdit>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathEdit {
    Full(String),
    /// Replaces the prefix that the rule matched.
    Prefix(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    pub scheme: Option<&'static str>,
    pub hostname: Option<String>,
    pub path: Option<PathEdit>,
    pub port: Option<u16>,
    pub status: StatusCode,
}

#[derive(Debug)]
pub struct Mirror {
    pub backend: Key,
    pub endpoints: Arc<Endpoints>,
    pub tls: Option<Arc<UpstreamTls>>,
    /// Of every `denominator` requests, `numerator` are copied.
    pub numerator: u32,
    pub denominator: u32,
    pub sent: Arc<std::sync::atomic::AtomicU64>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    pub request: Option<Duration>,
    pub backend_request: Option<Duration>,
}

/// When a request is sent again. Endpoints that do not answer, or not in time, count as much as
/// those that answer with one of the codes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    pub codes: Vec<u16>,
    /// How often after the first time.
    pub attempts: u32,
    /// Wait before each.
    pub backoff: Duration,
}
