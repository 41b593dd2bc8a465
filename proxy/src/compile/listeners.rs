//! Listeners of our Gateways and their ListenerSets: what each may serve.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use super::{
    ListenerVerdict, Verdict,
    certificates::Certificates,
    frontend::Asked,
    hostnames,
    verdict::{Problem, condition, reason, told},
};
use crate::{
    metrics::SeriesKey,
    table::{Protocol, ServerTls, Socket},
    types::{
        GROUP, Key,
        gateway::{self, RouteGroupKind},
    },
};

/// The object that a listener stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner<'a> {
    Gateway(&'a Key),
    ListenerSet(&'a Key),
}

impl<'a> Owner<'a> {
    pub fn key(self) -> &'a Key {
        match self {
            Self::Gateway(key) | Self::ListenerSet(key) => key,
        }
    }

    pub fn kind(self) -> &'static str {
        match self {
            Self::Gateway(_) => "Gateway",
            Self::ListenerSet(_) => "ListenerSet",
        }
    }
}

/// One listener on its way into the table of its Gateway.
pub struct ListenerPlan<'a> {
    pub spec: &'a gateway::Listener,
    pub gateway: &'a Key,
    pub owner: Owner<'a>,
    /// As metrics and logs name it: a ListenerSet's with that before it.
    pub name: String,
    /// Lower case; empty means any host.
    pub hostname: String,
    /// `None` for a protocol that is not supported.
    pub protocol: Option<Protocol>,
    /// Of the kinds that it allows, those that gwproxy serves on its protocol.
    pub kinds: Vec<RouteGroupKind>,
    pub tls: Option<Arc<ServerTls>>,
    pub attached_routes: i32,
    not_accepted: Option<Problem>,
    pub(super) conflict: Option<Problem>,
    unresolved: Vec<Problem>,
    /// Why no socket is to be opened for it, beside what the others say.
    unservable: Option<String>,
}

/// Kinds of route that a listener can serve. `terminates` is about TLS.
fn supported_kinds(protocol: Protocol, terminates: bool) -> &'static [&'static str] {
    match protocol {
        Protocol::Http | Protocol::Https => &["HTTPRoute", "GRPCRoute"],
        Protocol::Tls if terminates => &["TLSRoute", "TCPRoute"],
        Protocol::Tls => &["TLSRoute"],
        Protocol::Tcp => &["TCPRoute"],
        Protocol::Udp => &["UDPRoute"],
    }
}

impl<'a> ListenerPlan<'a> {
    pub fn new(
        gateway: &'a Key,
        owner: Owner<'a>,
        spec: &'a gateway::Listener,
        index: usize,
        certificates: &mut Certificates<'_>,
    ) -> Self {
        let name = match owner {
            Owner::Gateway(_) => spec.name.clone(),
            Owner::ListenerSet(set) => format!("{set}/{}", spec.name),
        };
        let mut plan = Self {
            spec,
            gateway,
            owner,
            name,
            hostname: hostnames::normal(spec.hostname.as_deref().unwrap_or_default()),
            protocol: None,
            kinds: Vec::new(),
            tls: None,
            attached_routes: 0,
            not_accepted: None,
            conflict: None,
            unresolved: Vec::new(),
            unservable: None,
        };
        let mode = spec.tls.as_ref().and_then(|tls| tls.mode.as_deref()).unwrap_or("Terminate");
        let mut terminates = false;
        match (spec.protocol.as_str(), mode) {
            ("HTTP", _) => plan.protocol = Some(Protocol::Http),
            ("HTTPS" | "TLS", "Terminate") => {
                terminates = true;
                plan.protocol = Some(if spec.protocol == "TLS" { Protocol::Tls } else { Protocol::Https });
                plan.terminate_tls(index, certificates);
            }
            ("TLS", "Passthrough") => plan.protocol = Some(Protocol::Tls),
            ("HTTPS" | "TLS", mode) => {
                let message = format!(
                    "TLS mode \"{mode}\" is not supported with {}: set spec.listeners[{index}].tls.mode to Terminate",
                    spec.protocol
                );
                plan.not_accepted = Some(Problem::new(reason::UNSUPPORTED_PROTOCOL, message));
            }
            // Nothing in their bytes names a host.
            ("TCP", _) => (plan.protocol, plan.hostname) = (Some(Protocol::Tcp), String::new()),
            ("UDP", _) => (plan.protocol, plan.hostname) = (Some(Protocol::Udp), String::new()),
            (other, _) => {
                let message = format!(
                    "protocol \"{other}\" is not supported: set spec.listeners[{index}].protocol to HTTP, HTTPS, TLS, \
                     TCP or UDP"
                );
                plan.not_accepted = Some(Problem::new(reason::UNSUPPORTED_PROTOCOL, message));
            }
        }
        if let Some(protocol) = plan.protocol {
            plan.take_kinds(supported_kinds(protocol, terminates), index);
        }
        plan
    }

    fn terminate_tls(&mut self, index: usize, certificates: &mut Certificates<'_>) {
        let field = format!("spec.listeners[{index}].tls");
        let tls = self.spec.tls.clone().unwrap_or_default();
        let mut usable = Vec::new();
        for (at, reference) in tls.certificate_refs.iter().enumerate() {
            let at = format!("{field}.certificateRefs[{at}]");
            match certificates.resolve(self.owner, reference, &at) {
                Ok(certificate) => {
                    self.unresolved.extend(certificates.complaint(&certificate.secret, &at));
                    usable.push(certificate);
                }
                Err(problem) => self.unresolved.push(problem),
            }
        }
        if tls.certificate_refs.is_empty() {
            let message =
                format!("a listener that terminates TLS needs a certificate: name a Secret in {field}.certificateRefs");
            self.unresolved.push(Problem::new(reason::INVALID_CERTIFICATE_REF, message));
        }
        if usable.is_empty() {
            self.unservable = Some("no certificate can be used".to_owned());
        } else {
            self.tls = Some(Arc::new(ServerTls { certificates: usable, clients: None }));
        }
    }

    /// An HTTPS listener asks its clients for what the Gateway wants on its port.
    pub fn ask_clients(&mut self, asked: Asked) {
        self.unresolved.extend(asked.unresolved);
        match asked.clients {
            Ok(clients) => {
                if let (Some(tls), true) = (&mut self.tls, clients.is_some()) {
                    Arc::make_mut(tls).clients = clients;
                }
            }
            Err(problem) => {
                self.not_accepted.get_or_insert(problem);
            }
        }
    }

    fn take_kinds(&mut self, supported: &[&str], index: usize) {
        let allowed = &self.spec.allowed_routes.kinds;
        let ours = |kind: &str| RouteGroupKind { group: Some(GROUP.to_owned()), kind: kind.to_owned() };
        if allowed.is_empty() {
            self.kinds = supported.iter().map(|kind| ours(kind)).collect();
            return;
        }
        for (at, wanted) in allowed.iter().enumerate() {
            let group = wanted.group.as_deref().unwrap_or(GROUP);
            if group == GROUP && supported.contains(&wanted.kind.as_str()) {
                let kind = ours(&wanted.kind);
                if !self.kinds.contains(&kind) {
                    self.kinds.push(kind);
                }
            } else {
                let message = format!(
                    "routes of kind \"{}\" in group \"{group}\" cannot attach to protocol {}: remove \
                     spec.listeners[{index}].allowedRoutes.kinds[{at}]",
                    wanted.kind, self.spec.protocol
                );
                self.unresolved.push(Problem::new(reason::INVALID_ROUTE_KINDS, message));
            }
        }
        if self.kinds.is_empty() {
            self.unservable = Some("it allows no kind of route that gwproxy serves".to_owned());
        }
    }

    /// The labels of its series.
    pub fn labels(&self) -> SeriesKey {
        SeriesKey {
            gateway_namespace: self.gateway.namespace.clone(),
            gateway: self.gateway.name.clone(),
            listener: self.name.clone(),
            ..SeriesKey::default()
        }
    }

    pub fn allows_kind(&self, kind: &str) -> bool {
        self.kinds.iter().any(|allowed| allowed.kind == kind)
    }

    pub fn is_accepted(&self) -> bool {
        self.not_accepted.is_none() && self.conflict.is_none()
    }

    /// Whether it goes into the table, given an address.
    pub fn is_servable(&self) -> bool {
        self.is_accepted() && self.unservable.is_none()
    }

    /// The socket that it wants on this address.
    pub fn socket(&self, address: IpAddr) -> Option<Socket> {
        let transport = self.protocol?.transport();
        Some(Socket { address: SocketAddr::new(address, self.spec.port), transport })
    }

    /// `gateway` says what keeps the whole Gateway off the network.
    pub fn verdict(&self, addresses: &[IpAddr], gateway: Option<&Problem>) -> ListenerVerdict {
        let rejected = self.conflict.as_ref().or(self.not_accepted.as_ref());
        let accepted = match rejected {
            Some(problem) => Verdict::no(condition::ACCEPTED, problem.reason, problem.message.clone()),
            None => Verdict::yes(condition::ACCEPTED, reason::ACCEPTED, "the listener is valid"),
        };
        let conflicted = match &self.conflict {
            Some(problem) => Verdict::yes(condition::CONFLICTED, problem.reason, problem.message.clone()),
            None => Verdict::no(condition::CONFLICTED, reason::NO_CONFLICTS, "no other listener is in its way"),
        };
        let resolved = match self.unresolved.first() {
            Some(first) => Verdict::no(condition::RESOLVED_REFS, first.reason, told(&self.unresolved)),
            None => Verdict::yes(condition::RESOLVED_REFS, reason::RESOLVED_REFS, "all references resolve"),
        };
        let kept_off = (self.conflict.as_ref().map(|problem| (problem.reason, problem.message.clone())))
            .or_else(|| self.not_accepted.as_ref().map(|problem| (reason::INVALID, problem.message.clone())))
            .or_else(|| {
                let why = self.unservable.as_ref()?;
                Some((reason::INVALID, format!("{why}: {}", told(&self.unresolved))))
            })
            .or_else(|| gateway.map(|problem| (problem.reason, problem.message.clone())));
        let programmed = match &kept_off {
            Some((reason, message)) => Verdict::no(condition::PROGRAMMED, reason, message.clone()),
            None => Verdict::yes(condition::PROGRAMMED, reason::PROGRAMMED, "the listener is served"),
        };
        let binds = match kept_off {
            Some(_) => BTreeSet::new(),
            None => addresses.iter().filter_map(|address| self.socket(*address)).collect(),
        };
        ListenerVerdict {
            name: self.spec.name.clone(),
            supported_kinds: self.kinds.clone(),
            attached_routes: self.attached_routes,
            conditions: vec![accepted, programmed, conflicted, resolved],
            binds,
        }
    }
}
