//! Listeners of our Gateways: what each may serve, and who stands in whose way.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use super::{
    ListenerVerdict, Verdict,
    certificates::Certificates,
    hostnames,
    verdict::{Problem, condition, reason, told},
};
use crate::{
    metrics::SeriesKey,
    table::{Protocol, RouteMatch, ServerTls},
    types::{
        GROUP, Key,
        gateway::{self, RouteGroupKind},
    },
};

/// One listener of one Gateway on its way into the table.
pub struct ListenerPlan<'a> {
    pub spec: &'a gateway::Listener,
    pub gateway: &'a Key,
    /// Lower case; empty means any host.
    pub hostname: String,
    /// `None` for a protocol that is not supported.
    pub protocol: Option<Protocol>,
    /// Of the kinds that it allows, those that gwproxy serves on its protocol.
    pub kinds: Vec<RouteGroupKind>,
    pub tls: Option<Arc<ServerTls>>,
    pub attached_routes: i32,
    /// What routes brought, by effective hostname.
    pub routes: BTreeMap<String, Vec<RouteMatch>>,
    not_accepted: Option<Problem>,
    conflict: Option<Problem>,
    unresolved: Vec<Problem>,
    /// Why no socket is to be opened for it, beside what the others say.
    unservable: Option<String>,
}

const SUPPORTED_KINDS: [&str; 1] = ["HTTPRoute"];

impl<'a> ListenerPlan<'a> {
    pub fn new(
        gateway: &'a Key,
        spec: &'a gateway::Listener,
        index: usize,
        certificates: &mut Certificates<'_>,
    ) -> Self {
        let mut plan = Self {
            spec,
            gateway,
            hostname: hostnames::normal(spec.hostname.as_deref().unwrap_or_default()),
            protocol: None,
            kinds: Vec::new(),
            tls: None,
            attached_routes: 0,
            routes: BTreeMap::new(),
            not_accepted: None,
            conflict: None,
            unresolved: Vec::new(),
            unservable: None,
        };
        match spec.protocol.as_str() {
            "HTTP" => plan.protocol = Some(Protocol::Http),
            "HTTPS" => plan.terminate_tls(index, certificates),
            other => {
                let message = format!(
                    "protocol \"{other}\" is not supported: set spec.listeners[{index}].protocol to HTTP or HTTPS"
                );
                plan.not_accepted = Some(Problem::new(reason::UNSUPPORTED_PROTOCOL, message));
            }
        }
        if plan.protocol.is_some() {
            plan.take_kinds(index);
        }
        plan
    }

    fn terminate_tls(&mut self, index: usize, certificates: &mut Certificates<'_>) {
        let field = format!("spec.listeners[{index}].tls");
        let tls = self.spec.tls.clone().unwrap_or_default();
        if let Some(mode) = tls.mode.as_deref().filter(|mode| *mode != "Terminate") {
            let message = format!("TLS mode \"{mode}\" is not supported with HTTPS: set {field}.mode to Terminate");
            self.not_accepted = Some(Problem::new(reason::UNSUPPORTED_PROTOCOL, message));
            return;
        }
        self.protocol = Some(Protocol::Https);
        let mut usable = Vec::new();
        for (at, reference) in tls.certificate_refs.iter().enumerate() {
            let at = format!("{field}.certificateRefs[{at}]");
            match certificates.resolve(&self.gateway.namespace, reference, &at) {
                Ok(certificate) => usable.push(certificate),
                Err(problem) => self.unresolved.push(problem),
            }
        }
        if tls.certificate_refs.is_empty() {
            let message = format!("an HTTPS listener needs a certificate: name a Secret in {field}.certificateRefs");
            self.unresolved.push(Problem::new(reason::INVALID_CERTIFICATE_REF, message));
        }
        if usable.is_empty() {
            self.unservable = Some("no certificate can be used".to_owned());
        } else {
            self.tls = Some(Arc::new(ServerTls { certificates: usable }));
        }
    }

    fn take_kinds(&mut self, index: usize) {
        let allowed = &self.spec.allowed_routes.kinds;
        let ours = |kind: &str| RouteGroupKind { group: Some(GROUP.to_owned()), kind: kind.to_owned() };
        if allowed.is_empty() {
            self.kinds = SUPPORTED_KINDS.iter().map(|kind| ours(kind)).collect();
            return;
        }
        for (at, wanted) in allowed.iter().enumerate() {
            let group = wanted.group.as_deref().unwrap_or(GROUP);
            if group == GROUP && SUPPORTED_KINDS.contains(&wanted.kind.as_str()) {
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
            listener: self.spec.name.clone(),
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
        let kept_off = (rejected.map(|problem| (reason::INVALID, problem.message.clone())))
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
            None => addresses.iter().map(|address| SocketAddr::new(*address, self.spec.port)).collect(),
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

/// Listeners of one Gateway that cannot be told apart: all of them are refused, for the spec
/// allows no winner among them. Listeners of unsupported protocols are refused already.
pub fn conflicts_within(listeners: &mut [ListenerPlan<'_>]) {
    let mut by_port = HashMap::<u16, Vec<usize>>::new();
    for (at, listener) in listeners.iter().enumerate() {
        if listener.protocol.is_some() {
            by_port.entry(listener.spec.port).or_default().push(at);
        }
    }
    for (port, together) in by_port {
        let first = together.first().and_then(|at| listeners.get(*at)).and_then(|listener| listener.protocol);
        let mixed = together.iter().any(|at| listeners[*at].protocol != first);
        let mut hostnames = HashMap::<String, usize>::new();
        for at in &together {
            *hostnames.entry(listeners[*at].hostname.clone()).or_default() += 1;
        }
        for at in together {
            let listener = &mut listeners[at];
            if mixed {
                let message = format!(
                    "listeners of this Gateway want port {port} for HTTP and for HTTPS: give each protocol its own port"
                );
                listener.conflict = Some(Problem::new(reason::PROTOCOL_CONFLICT, message));
            } else if hostnames.get(&listener.hostname).is_some_and(|count| *count > 1) {
                let message = format!(
                    "listeners of this Gateway share port {port} and {}: give each its own hostname or port",
                    named(&listener.hostname)
                );
                listener.conflict = Some(Problem::new(reason::HOSTNAME_CONFLICT, message));
            }
        }
    }
}

/// Who holds which socket for which hostname, over all Gateways.
#[derive(Default)]
pub struct Sockets<'a>(HashMap<SocketAddr, Taken<'a>>);

struct Taken<'a> {
    protocol: Protocol,
    gateway: &'a Key,
    hostnames: HashMap<String, &'a Key>,
}

impl<'a> Sockets<'a> {
    /// Gateways with the same static address share its sockets as long as their listeners can
    /// be told apart. Where they cannot, the Gateway that comes here first keeps the place:
    /// the older one, so that a newcomer never takes traffic away.
    pub fn claim(&mut self, listener: &mut ListenerPlan<'a>, addresses: &[IpAddr]) {
        let Some(protocol) = listener.protocol else { return };
        let sockets = addresses.iter().map(|address| SocketAddr::new(*address, listener.spec.port));
        for socket in sockets.clone() {
            let Some(taken) = self.0.get(&socket) else { continue };
            let (reason, holder, what) = if taken.protocol != protocol {
                (reason::PROTOCOL_CONFLICT, taken.gateway, "another protocol".to_owned())
            } else if let Some(holder) = taken.hostnames.get(&listener.hostname) {
                (reason::HOSTNAME_CONFLICT, *holder, named(&listener.hostname))
            } else {
                continue;
            };
            let message = format!(
                "Gateway \"{}\" in namespace \"{}\" is older and holds {socket} for {what}: use another address, port or \
                 hostname",
                holder.name, holder.namespace
            );
            listener.conflict = Some(Problem::new(reason, message));
            return;
        }
        for socket in sockets {
            let gateway = listener.gateway;
            let taken = self.0.entry(socket).or_insert_with(|| Taken { protocol, gateway, hostnames: HashMap::new() });
            taken.hostnames.insert(listener.hostname.clone(), gateway);
        }
    }
}

fn named(hostname: &str) -> String {
    if hostname.is_empty() { "any hostname".to_owned() } else { format!("hostname \"{hostname}\"") }
}
