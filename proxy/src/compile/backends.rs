//! What routes send to: Services and their ready endpoints.

use std::{
    collections::{BTreeSet, HashMap},
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use http::StatusCode;
use k8s_openapi::{
    api::{
        core::v1::{Service, ServicePort},
        discovery::v1::EndpointSlice,
    },
    apimachinery::pkg::util::intstr::IntOrString,
};

use super::{
    grants::{Grants, Kind, core},
    policies::{Policies, TlsPlan},
    verdict::{Problem, reason},
};
use crate::{
    contract::SEND_PROXY_ANNOTATION,
    resources::{Set, changes::service_of},
    table::{CertificatePem, Endpoints, Picker, ProxyHeader, Start, UpstreamProtocol, UpstreamTls},
    types::{GROUP, Key, refs::BackendObjectRef},
};

const SERVICE: Kind<'static> = Kind { group: "", kind: "Service" };

/// A reference, followed as far as it leads.
#[derive(Clone)]
pub struct Resolved {
    pub key: Key,
    pub port: u16,
    /// Whether the reference leads to a Service.
    pub found: bool,
    /// A reference that resolves may still have no endpoint to offer.
    pub endpoints: Result<Upstream, Unreachable>,
}

/// What a Gateway shows to endpoints that ask who it is.
pub type Client = Option<Arc<CertificatePem>>;

/// Endpoints, and how they are spoken to.
#[derive(Clone)]
pub struct Upstream {
    pub endpoints: Arc<Endpoints>,
    /// The error is a BackendTLSPolicy that is not valid, which a route whose TLS passes through
    /// does not need.
    tls: Option<Result<Arc<TlsPlan>, Unreachable>>,
}

/// What is answered in the stead of endpoints.
pub type Unreachable = (StatusCode, &'static str);

const INVALID_POLICY: Unreachable =
    (StatusCode::INTERNAL_SERVER_ERROR, "the BackendTLSPolicy of the Service is not valid");

impl Upstream {
    /// For requests.
    pub fn tls(&self, client: &Client) -> Option<Arc<UpstreamTls>> {
        let plan = self.tls.as_ref()?.as_ref().ok()?;
        Some(plan.tls(Some(self.endpoints.protocol), client))
    }

    /// For bytes that were decrypted.
    pub fn stream_tls(&self, client: &Client) -> Result<Option<Arc<UpstreamTls>>, Unreachable> {
        let plan = self.tls.clone().transpose()?;
        Ok(plan.map(|plan| plan.tls(None, client)))
    }
}

/// What holds until a Service or its endpoints change, or everything does.
#[derive(Default)]
pub struct Known {
    /// By Service: one a port, shared by all rules.
    endpoints: HashMap<Key, HashMap<Port, Arc<Endpoints>>>,
    pub policies: Policies,
}

type Port = (u16, &'static str, UpstreamProtocol);

impl Known {
    pub fn new(set: &Set) -> Self {
        Self { endpoints: HashMap::new(), policies: Policies::new(set) }
    }

    pub fn forget(&mut self, services: &BTreeSet<Key>) {
        services.iter().for_each(|service| drop(self.endpoints.remove(service)));
    }
}

pub struct Backends<'a> {
    set: &'a Set,
    grants: &'a Grants<'a>,
    /// Made when first asked for: most changes are of routes whose endpoints are known.
    slices: Option<HashMap<Key, Vec<&'a EndpointSlice>>>,
    pub known: Known,
    /// Services that were asked for since this was last emptied, whether they exist or not.
    pub asked: BTreeSet<Key>,
    /// Where the picks of this table start.
    start: Start,
}

impl<'a> Backends<'a> {
    pub fn new(set: &'a Set, grants: &'a Grants<'a>, known: Known, start: Start) -> Self {
        Self { set, grants, slices: None, known, asked: BTreeSet::new(), start }
    }

    pub fn start(&self) -> Start {
        self.start
    }

    /// The target of `reference`, which stands at `field` of an object of kind `from` in
    /// `namespace`. Whatever is wrong, its share of requests has somewhere to go.
    pub fn resolve(
        &mut self,
        from: &str,
        namespace: &str,
        reference: &BackendObjectRef,
        field: &str,
    ) -> (Resolved, Option<Problem>) {
        let key = Key::new(reference.namespace.as_deref().unwrap_or(namespace), &reference.name);
        let port = reference.port.unwrap_or_default();
        let failed = |status, why| Err((status, why));
        self.asked.insert(key.clone());
        let found = self.service(from, namespace, reference, &key, field);
        let (service, service_port, protocol) = match found {
            Ok(found) => found,
            Err(problem) => {
                let endpoints = failed(StatusCode::INTERNAL_SERVER_ERROR, "the backend reference does not resolve");
                return (Resolved { key, port, found: false, endpoints }, Some(problem));
            }
        };
        let by_request = matches!(from, "HTTPRoute" | "GRPCRoute");
        let can_encrypt = by_request || from == "TLSRoute";
        let tls = can_encrypt.then(|| self.known.policies.find(&key, service_port.name.as_deref())).flatten();
        let tls = tls.map(|found| found.map_err(|()| INVALID_POLICY));
        let proxy = match proxy_header(&key, service).filter(|_| from != "UDPRoute").transpose() {
            Ok(proxy) => proxy,
            Err(problem) => {
                let endpoints = failed(StatusCode::INTERNAL_SERVER_ERROR, "the Service is annotated wrongly");
                return (Resolved { key, port, found: true, endpoints }, Some(problem));
            }
        };
        let endpoints = self.endpoints(&key, service, service_port, port, Spoken { protocol, proxy });
        let endpoints = match tls {
            Some(Err(refusal)) if by_request => Err(refusal),
            None if by_request && service_port.app_protocol.as_deref() == Some("kubernetes.io/wss") => {
                let message = format!(
                    "port {port} of Service \"{}\" in namespace \"{}\" has appProtocol kubernetes.io/wss: say how to \
                     verify its certificate with a BackendTLSPolicy, or use kubernetes.io/ws",
                    key.name, key.namespace
                );
                let problem = Problem::new(reason::UNSUPPORTED_PROTOCOL_BACKEND, message);
                let endpoints = failed(StatusCode::INTERNAL_SERVER_ERROR, "the backend reference does not resolve");
                return (Resolved { key, port, found: true, endpoints }, Some(problem));
            }
            _ if endpoints.addresses.is_empty() => {
                failed(StatusCode::SERVICE_UNAVAILABLE, "the Service has no ready endpoint")
            }
            tls => Ok(Upstream { endpoints, tls }),
        };
        (Resolved { key, port, found: true, endpoints }, None)
    }

    fn service(
        &self,
        from: &str,
        namespace: &str,
        reference: &BackendObjectRef,
        key: &Key,
        field: &str,
    ) -> Result<(&'a Service, &'a ServicePort, UpstreamProtocol), Problem> {
        if core(&reference.group) != SERVICE.group || reference.kind != SERVICE.kind {
            let message = format!(
                "backends of kind \"{}\" in group \"{}\" are not supported: name a Service in {field}",
                reference.kind, reference.group
            );
            return Err(Problem::new(reason::INVALID_KIND, message));
        }
        let what = format!("Service \"{}\" in namespace \"{}\"", key.name, key.namespace);
        // Before anything else: an answer must not tell what exists in a namespace out of reach.
        if !self.grants.allow(Kind { group: GROUP, kind: from }, namespace, SERVICE, key) {
            let message = format!(
                "no ReferenceGrant allows {field} to refer to {what}: create one there, from {from} of namespace \
                 \"{namespace}\" to Service"
            );
            return Err(Problem::new(reason::REF_NOT_PERMITTED, message));
        }
        let missing = |message| Err(Problem::new(reason::BACKEND_NOT_FOUND, message));
        let Some(service) = self.set.services.get(key) else {
            return missing(format!("no {what}: create it or correct {field}.name"));
        };
        let spec = service.spec.as_ref();
        if spec.and_then(|spec| spec.type_.as_deref()) == Some("ExternalName") {
            return missing(format!(
                "{what} is of type ExternalName, which is refused because it leads to any host: name a Service with \
                 endpoints in {field}.name"
            ));
        }
        let Some(port) = reference.port else {
            return missing(format!("{field} names no port of {what}: set {field}.port"));
        };
        let ports = spec.and_then(|spec| spec.ports.as_deref()).unwrap_or_default();
        // A port number may be there once for TCP and once for UDP.
        let numbered = || ports.iter().filter(|one| one.port == i32::from(port));
        let fitting = numbered().find(|one| one.protocol.as_deref().unwrap_or("TCP") == transport(from));
        let Some(service_port) = fitting.or_else(|| numbered().next()) else {
            let theirs: Vec<_> = ports.iter().map(|port| port.port.to_string()).collect();
            let theirs = if theirs.is_empty() { "none".to_owned() } else { theirs.join(", ") };
            return missing(format!("{what} has no port {port}, its ports are {theirs}: correct {field}.port"));
        };
        Ok((service, service_port, protocol(service_port, from, &what, field)?))
    }

    fn endpoints(
        &mut self,
        key: &Key,
        service: &Service,
        service_port: &ServicePort,
        port: u16,
        Spoken { protocol, proxy }: Spoken,
    ) -> Arc<Endpoints> {
        let over = if service_port.protocol.as_deref() == Some("UDP") { "UDP" } else { "TCP" };
        let port = (port, over, protocol);
        if let Some(known) = self.known.endpoints.get(key).and_then(|ports| ports.get(&port)) {
            return Arc::clone(known);
        }
        let slices = self.slices.get_or_insert_with(|| by_service(self.set)).get(key);
        let slices = slices.into_iter().flatten();
        let addresses: BTreeSet<_> = slices.flat_map(|slice| ready(slice, service, service_port)).collect();
        let addresses = Picker::starting(self.start, addresses.into_iter().map(|address| (1, address)));
        let made = Arc::new(Endpoints { protocol, proxy, addresses });
        self.known.endpoints.entry(key.clone()).or_default().insert(port, Arc::clone(&made));
        made
    }
}

fn by_service(set: &Set) -> HashMap<Key, Vec<&EndpointSlice>> {
    let mut slices = HashMap::<_, Vec<_>>::new();
    for slice in set.endpoint_slices.values() {
        if let Some(service) = service_of(slice) {
            slices.entry(service).or_default().push(&**slice);
        }
    }
    slices
}

/// How endpoints want to be spoken to.
struct Spoken {
    protocol: UpstreamProtocol,
    proxy: Option<ProxyHeader>,
}

/// What the Service wants its connections to begin with.
fn proxy_header(key: &Key, service: &Service) -> Option<Result<ProxyHeader, Problem>> {
    Some(match service.metadata.annotations.as_ref()?.get(SEND_PROXY_ANNOTATION)?.as_str() {
        "v1" => Ok(ProxyHeader::V1),
        "v2" => Ok(ProxyHeader::V2),
        other => {
            let message = format!(
                "annotation {SEND_PROXY_ANNOTATION} of Service \"{}\" in namespace \"{}\" is \"{other}\": set it to \
                 v1 or v2",
                key.name, key.namespace
            );
            Err(Problem::new(reason::UNSUPPORTED_PROTOCOL_BACKEND, message))
        }
    })
}

/// What the routes of a kind need of a Service's port.
fn transport(from: &str) -> &'static str {
    if from == "UDPRoute" { "UDP" } else { "TCP" }
}

fn protocol(port: &ServicePort, from: &str, what: &str, field: &str) -> Result<UpstreamProtocol, Problem> {
    let refuse = |why: String| Err(Problem::new(reason::UNSUPPORTED_PROTOCOL_BACKEND, why));
    let theirs = port.protocol.as_deref().unwrap_or("TCP");
    let transport = transport(from);
    if theirs != transport {
        return refuse(format!("port {} of {what} is {theirs}: name a {transport} port in {field}.port", port.port));
    }
    Ok(match port.app_protocol.as_deref() {
        Some("kubernetes.io/h2c") => UpstreamProtocol::Http2,
        // gRPC is HTTP/2, whether the Service says so or not.
        _ if from == "GRPCRoute" => UpstreamProtocol::Http2,
        // Others name what HTTP/1.1 carries, or what this proxy need not know.
        _ => UpstreamProtocol::Http1,
    })
}

/// Ready addresses of one slice for this port of its Service. Ports of slices carry the names
/// of the Service's ports; the number is that of the Pods, which may differ from slice to slice.
fn ready<'a>(
    slice: &'a EndpointSlice,
    service: &'a Service,
    service_port: &'a ServicePort,
) -> impl Iterator<Item = SocketAddr> + 'a {
    let wanted = service_port.name.as_deref().unwrap_or_default();
    let alone = service.spec.as_ref().and_then(|spec| spec.ports.as_ref()).is_some_and(|ports| ports.len() == 1);
    let ports = slice.ports.as_deref().unwrap_or_default();
    let named = ports.iter().find(|port| port.name.as_deref().unwrap_or_default() == wanted);
    // A slice written by hand often leaves out the name of an only port.
    let port = named.or_else(|| ports.first().filter(|port| alone && ports.len() == 1 && port.name.is_none()));
    let number = port.and_then(|port| match port.port {
        Some(number) => Some(number),
        // No number means every port: then the Service's own targetPort tells.
        None => match &service_port.target_port {
            Some(IntOrString::Int(number)) if *number > 0 => Some(*number),
            Some(IntOrString::String(_)) => None,
            _ => Some(service_port.port),
        },
    });
    let number = number.and_then(|number| u16::try_from(number).ok());
    slice
        .endpoints
        .iter()
        .flatten()
        .filter(|endpoint| endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true))
        // All addresses of one endpoint reach the same Pod.
        .filter_map(|endpoint| endpoint.addresses.first()?.parse::<IpAddr>().ok())
        .filter_map(move |address| Some(SocketAddr::new(address, number?)))
}
