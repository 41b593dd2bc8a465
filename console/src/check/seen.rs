//! What checks look at: objects of a cluster, of files, or of both, and what could not be had.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::Value;

use super::probe::Probed;
use crate::{
    finding::{Finding, Object, Severity},
    yaml::Node,
};

pub const GATEWAY_API: &str = "gateway.networking.k8s.io";

/// Group and kind.
pub type Kind = (&'static str, &'static str);

pub const GATEWAY_CLASS: Kind = (GATEWAY_API, "GatewayClass");
pub const GATEWAY: Kind = (GATEWAY_API, "Gateway");
pub const LISTENER_SET: Kind = (GATEWAY_API, "ListenerSet");
pub const HTTP_ROUTE: Kind = (GATEWAY_API, "HTTPRoute");
pub const GRPC_ROUTE: Kind = (GATEWAY_API, "GRPCRoute");
pub const TLS_ROUTE: Kind = (GATEWAY_API, "TLSRoute");
pub const TCP_ROUTE: Kind = (GATEWAY_API, "TCPRoute");
pub const UDP_ROUTE: Kind = (GATEWAY_API, "UDPRoute");
pub const REFERENCE_GRANT: Kind = (GATEWAY_API, "ReferenceGrant");
pub const BACKEND_TLS_POLICY: Kind = (GATEWAY_API, "BackendTLSPolicy");
pub const NAMESPACE: Kind = ("", "Namespace");
pub const SERVICE: Kind = ("", "Service");
/// Only those that a listener names.
pub const SECRET: Kind = ("", "Secret");
/// Those that Helm keeps its releases in.
pub const HELM_RELEASE: Kind = ("", "Secret of type helm.sh/release.v1");
pub const ENDPOINT_SLICE: Kind = ("discovery.k8s.io", "EndpointSlice");
pub const INGRESS: Kind = ("networking.k8s.io", "Ingress");
pub const INGRESS_CLASS: Kind = ("networking.k8s.io", "IngressClass");
pub const DEPLOYMENT: Kind = ("apps", "Deployment");
pub const DAEMON_SET: Kind = ("apps", "DaemonSet");
pub const CRD: Kind = ("apiextensions.k8s.io", "CustomResourceDefinition");
pub const ADMISSION_POLICY: Kind = ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy");

pub const ROUTES: [Kind; 5] = [HTTP_ROUTE, GRPC_ROUTE, TLS_ROUTE, TCP_ROUTE, UDP_ROUTE];

/// Whether objects of a kind could be had from the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    Listed,
    /// 401 or 403, or no usable answer.
    Denied(String),
    /// The cluster does not serve the kind.
    Missing,
}

#[derive(Debug, Clone)]
pub struct Item {
    pub value: Value,
    /// Where it was read, if in a file.
    pub file: Option<String>,
    pub node: Option<Node>,
}

impl Item {
    pub fn live(value: Value) -> Self {
        Self { value, file: None, node: None }
    }

    pub fn text(&self, pointer: &str) -> &str {
        self.value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    pub fn name(&self) -> &str {
        self.text("/metadata/name")
    }

    pub fn namespace(&self) -> &str {
        self.text("/metadata/namespace")
    }

    pub fn list(&self, pointer: &str) -> &[Value] {
        list(&self.value, pointer)
    }

    pub fn generation(&self) -> i64 {
        self.value.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or_default()
    }

    pub fn annotation(&self, name: &str) -> Option<&str> {
        self.value["metadata"]["annotations"][name].as_str()
    }

    pub fn label(&self, name: &str) -> Option<&str> {
        self.value["metadata"]["labels"][name].as_str()
    }

    pub fn object(&self) -> Object {
        let group = self.text("/apiVersion").split_once('/').map_or("", |(group, _)| group);
        Object::new(group, self.text("/kind"), self.namespace(), self.name())
    }

    /// Line of a field, or of the nearest above it that is written.
    fn line(&self, field: &str) -> u32 {
        let Some(node) = &self.node else { return 0 };
        let (mut at, mut line) = (node, node.line);
        for part in field.split('.') {
            let (name, index) = part
                .split_once('[')
                .map_or((part, None), |(name, rest)| (name, rest.trim_end_matches(']').parse::<usize>().ok()));
            let Some((found, inner)) = at.field(name) else { break };
            (line, at) = (found, inner);
            if let Some(index) = index {
                let Some(item) = at.items().get(index) else { break };
                (line, at) = (item.line, item);
            }
        }
        line
    }

    /// A finding about a field of this object.
    pub fn finding(&self, id: &'static str, severity: Severity, field: &str, title: impl Into<String>) -> Finding {
        let finding = Finding::new(id, severity, self.object(), title).field(field);
        match &self.file {
            Some(file) => finding.place(file.clone(), self.line(field).max(1)),
            None => finding,
        }
    }

    /// Whether whoever wrote the object asked for a rule not to be applied to it.
    pub fn ignores(&self, id: &str) -> bool {
        let asked = self.annotation(super::IGNORE).unwrap_or_default();
        asked.split(',').any(|one| one.trim().eq_ignore_ascii_case(id) || one.trim() == "*")
    }
}

pub fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

pub fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// A metric of the API server: somebody asked for an API that is going away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requested {
    pub group: String,
    pub version: String,
    pub resource: String,
    pub removed: String,
}

#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Whether a cluster was read.
    pub live: bool,
    pub files: bool,
    items: BTreeMap<Kind, Vec<Item>>,
    access: BTreeMap<Kind, Access>,
    /// Objects of other kinds, from files and Helm releases.
    pub others: Vec<Item>,
    /// Documents that cannot be read: file, line, reason.
    pub broken: Vec<(String, u32, String)>,
    /// Secrets that a listener names and that may not be read, by namespace and name.
    pub denied: BTreeMap<(String, String), String>,
    /// Of the server, such as 1 and 36.
    pub version: Option<(u32, u32)>,
    /// None where the cluster does not let its metrics be read; the reason then.
    pub requested: Option<Result<Vec<Requested>, String>>,
    pub probes: Option<Vec<Probed>>,
    /// Addresses that a host name has, or why it has none.
    pub names: BTreeMap<String, Result<BTreeSet<String>, String>>,
    /// Namespace that was asked for; empty for all.
    pub namespace: String,
    pub now: Timestamp,
}

impl Seen {
    pub fn at(now: Timestamp) -> Self {
        Self { now, ..Self::default() }
    }

    pub fn put(&mut self, kind: Kind, item: Item) {
        self.items.entry(kind).or_default().push(item);
    }

    /// An object of a file takes the place of the cluster's own, whose status is no longer true.
    pub fn overlay(&mut self, kind: Kind, item: Item) {
        let items = self.items.entry(kind).or_default();
        items.retain(|one| one.name() != item.name() || one.namespace() != item.namespace());
        items.push(item);
    }

    pub fn set_access(&mut self, kind: Kind, access: Access) {
        self.access.insert(kind, access);
    }

    pub fn access(&self, kind: Kind) -> Option<&Access> {
        self.access.get(&kind)
    }

    pub fn of(&self, kind: Kind) -> &[Item] {
        self.items.get(&kind).map_or(&[], Vec::as_slice)
    }

    pub fn get(&self, kind: Kind, namespace: &str, name: &str) -> Option<&Item> {
        self.of(kind).iter().find(|one| one.name() == name && one.namespace() == namespace)
    }

    pub fn routes(&self) -> impl Iterator<Item = &Item> {
        ROUTES.into_iter().flat_map(|kind| self.of(kind))
    }

    pub fn all(&self) -> impl Iterator<Item = &Item> {
        self.items.values().flatten().chain(&self.others)
    }

    /// Whether an object that is not here is really not there.
    pub fn complete(&self, kind: Kind) -> bool {
        self.live && self.access.get(&kind) == Some(&Access::Listed)
    }

    /// Whether nobody could say if the object is there.
    pub fn unknown(&self, kind: Kind) -> bool {
        matches!(self.access.get(&kind), Some(Access::Denied(_)))
    }

    /// Whether findings about objects of this namespace were asked for.
    pub fn wanted(&self, namespace: &str) -> bool {
        self.namespace.is_empty() || namespace.is_empty() || namespace == self.namespace
    }
}
