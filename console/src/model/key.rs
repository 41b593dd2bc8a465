//! Names of kinds and objects.

use std::{
    collections::BTreeSet,
    fmt,
    sync::{Mutex, PoisonError},
};

const GATEWAY_API: &str = "gateway.networking.k8s.io";

/// Kinds that the console knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    GatewayClass,
    Gateway,
    HttpRoute,
    ReferenceGrant,
    Namespace,
    Service,
    EndpointSlice,
    GrpcRoute,
    TlsRoute,
    TcpRoute,
    UdpRoute,
    ListenerSet,
    BackendTlsPolicy,
    Ingress,
    InferencePool,
    /// Read for its certificate's dates and names; its data is never kept.
    Secret,
    /// Any kind that attaches to others by `targetRef`, as discovery found it.
    Policy(&'static PolicyKind),
}

/// A kind of policy that is known only at run time.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyKind {
    pub group: String,
    pub name: String,
    pub plural: String,
    /// As served, the best first.
    pub versions: Vec<String>,
    pub namespaced: bool,
}

static POLICIES: Mutex<BTreeSet<&'static PolicyKind>> = Mutex::new(BTreeSet::new());

impl PolicyKind {
    /// The kind for as long as the process lives. A cluster has a few dozens of them.
    pub fn intern(self) -> Kind {
        let mut known = POLICIES.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kind) = known.get(&self) {
            return Kind::Policy(kind);
        }
        let kind: &'static Self = Box::leak(Box::new(self));
        known.insert(kind);
        Kind::Policy(kind)
    }
}

impl Kind {
    pub const ROUTES: [Self; 5] = [Self::HttpRoute, Self::GrpcRoute, Self::TlsRoute, Self::TcpRoute, Self::UdpRoute];

    /// Those that the console watches in every cluster; policies come on top as they are found.
    pub const ALL: [Self; 16] = [
        Self::GatewayClass,
        Self::Gateway,
        Self::ListenerSet,
        Self::HttpRoute,
        Self::GrpcRoute,
        Self::TlsRoute,
        Self::TcpRoute,
        Self::UdpRoute,
        Self::ReferenceGrant,
        Self::BackendTlsPolicy,
        Self::Namespace,
        Self::Service,
        Self::EndpointSlice,
        Self::InferencePool,
        Self::Ingress,
        Self::Secret,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::GatewayClass => "GatewayClass",
            Self::Gateway => "Gateway",
            Self::HttpRoute => "HTTPRoute",
            Self::ReferenceGrant => "ReferenceGrant",
            Self::Namespace => "Namespace",
            Self::Service => "Service",
            Self::EndpointSlice => "EndpointSlice",
            Self::GrpcRoute => "GRPCRoute",
            Self::TlsRoute => "TLSRoute",
            Self::TcpRoute => "TCPRoute",
            Self::UdpRoute => "UDPRoute",
            Self::ListenerSet => "ListenerSet",
            Self::BackendTlsPolicy => "BackendTLSPolicy",
            Self::Ingress => "Ingress",
            Self::InferencePool => "InferencePool",
            Self::Secret => "Secret",
            Self::Policy(kind) => kind.name.as_str(),
        }
    }

    pub const fn group(self) -> &'static str {
        match self {
            Self::GatewayClass
            | Self::Gateway
            | Self::HttpRoute
            | Self::ReferenceGrant
            | Self::GrpcRoute
            | Self::TlsRoute
            | Self::TcpRoute
            | Self::UdpRoute
            | Self::ListenerSet
            | Self::BackendTlsPolicy => GATEWAY_API,
            Self::EndpointSlice => "discovery.k8s.io",
            Self::Ingress => "networking.k8s.io",
            Self::InferencePool => "inference.networking.k8s.io",
            Self::Namespace | Self::Service | Self::Secret => "",
            Self::Policy(kind) => kind.group.as_str(),
        }
    }

    pub const fn plural(self) -> &'static str {
        match self {
            Self::GatewayClass => "gatewayclasses",
            Self::Gateway => "gateways",
            Self::HttpRoute => "httproutes",
            Self::ReferenceGrant => "referencegrants",
            Self::Namespace => "namespaces",
            Self::Service => "services",
            Self::EndpointSlice => "endpointslices",
            Self::GrpcRoute => "grpcroutes",
            Self::TlsRoute => "tlsroutes",
            Self::TcpRoute => "tcproutes",
            Self::UdpRoute => "udproutes",
            Self::ListenerSet => "listenersets",
            Self::BackendTlsPolicy => "backendtlspolicies",
            Self::Ingress => "ingresses",
            Self::InferencePool => "inferencepools",
            Self::Secret => "secrets",
            Self::Policy(kind) => kind.plural.as_str(),
        }
    }

    /// As kubectl abbreviates it.
    pub const fn short(self) -> Option<&'static str> {
        match self {
            Self::GatewayClass => Some("gc"),
            Self::Gateway => Some("gtw"),
            Self::ReferenceGrant => Some("refgrant"),
            Self::ListenerSet => Some("lset"),
            Self::BackendTlsPolicy => Some("btlspolicy"),
            Self::Namespace => Some("ns"),
            Self::Service => Some("svc"),
            Self::Ingress => Some("ing"),
            Self::InferencePool => Some("infpool"),
            _ => None,
        }
    }

    /// A kind by any name that kubectl takes for it: singular, plural, short, with or without group.
    pub fn parse(word: &str) -> Option<Self> {
        let word = word.to_ascii_lowercase();
        let (name, group) = word.split_once('.').map_or((word.as_str(), None), |(name, group)| (name, Some(group)));
        let known = POLICIES.lock().unwrap_or_else(PoisonError::into_inner);
        let policies: Vec<Self> = known.iter().map(|kind| Self::Policy(kind)).collect();
        Self::ALL.into_iter().chain(policies).find(|kind| {
            let named = kind.name().eq_ignore_ascii_case(name) || kind.plural() == name || kind.short() == Some(name);
            named && group.is_none_or(|group| kind.group() == group)
        })
    }

    /// The kind of a route by its name as kubectl takes it, in the singular or plural.
    pub fn route(word: &str) -> Option<Self> {
        Self::ROUTES
            .into_iter()
            .find(|kind| kind.name().eq_ignore_ascii_case(word) || kind.plural().eq_ignore_ascii_case(word))
    }

    pub const fn is_route(self) -> bool {
        matches!(self, Self::HttpRoute | Self::GrpcRoute | Self::TlsRoute | Self::TcpRoute | Self::UdpRoute)
    }

    /// Whether objects of the kind attach to others by `targetRef`.
    pub const fn is_policy(self) -> bool {
        matches!(self, Self::BackendTlsPolicy | Self::Policy(_))
    }

    pub const fn namespaced(self) -> bool {
        match self {
            Self::GatewayClass | Self::Namespace => false,
            Self::Policy(kind) => kind.namespaced,
            _ => true,
        }
    }
}

/// One object; the namespace is empty for cluster-scoped kinds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    pub kind: Kind,
    pub namespace: String,
    pub name: String,
}

impl ObjectKey {
    pub fn new(kind: Kind, namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { kind, namespace: namespace.into(), name: name.into() }
    }
}

/// `namespace/name`, or `name` alone.
impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() { f.write_str(&self.name) } else { write!(f, "{}/{}", self.namespace, self.name) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_found_by_every_name_that_kubectl_takes() {
        for word in ["HTTPRoute", "httproutes", "httproute", "httproutes.gateway.networking.k8s.io"] {
            assert_eq!(Kind::parse(word), Some(Kind::HttpRoute), "{word}");
        }
        assert_eq!(Kind::parse("gtw"), Some(Kind::Gateway));
        assert_eq!(Kind::parse("services.example.com"), None);
        assert_eq!(Kind::parse("pods"), None);
    }

    #[test]
    fn a_kind_found_twice_is_one_kind() {
        let found = || PolicyKind {
            group: "example.com".to_owned(),
            name: "RatePolicy".to_owned(),
            plural: "ratepolicies".to_owned(),
            versions: vec!["v1".to_owned()],
            namespaced: true,
        };
        let (a, b) = (found().intern(), found().intern());
        assert_eq!(a, b);
        assert_eq!(Kind::parse("ratepolicy.example.com"), Some(a));
    }
}
