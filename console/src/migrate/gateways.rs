//! Gateways, their listeners and what may attach to them.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde_json::{Value, json};

use super::{Layout, Options, convert::Made};

pub const API: &str = "gateway.networking.k8s.io/v1";
const MOST_LISTENERS: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Wanted {
    Http,
    Https,
    Passthrough,
    Tcp,
    Udp,
}

impl Wanted {
    fn protocol(self) -> &'static str {
        match self {
            Self::Http => "HTTP",
            Self::Https => "HTTPS",
            Self::Passthrough => "TLS",
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Passthrough => "tls",
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// A listener that a route asked for.
#[derive(Debug)]
struct Listener {
    wanted: Wanted,
    host: String,
    port: u16,
    name: String,
    /// Namespace and name.
    secret: Option<(String, String)>,
    namespaces: BTreeSet<String>,
    from: String,
    gateway: String,
}

#[derive(Debug)]
pub struct Gateways<'a> {
    options: &'a Options,
    /// HTTP listeners have a hostname each: rules of one host must not catch what another
    /// host leaves.
    apart: bool,
    listeners: Vec<Listener>,
    /// Index of a listener by what makes it one: Gateway, kind, host, port.
    known: HashMap<(String, Wanted, String, u16), usize>,
    /// Names that listeners of a Gateway have.
    names: HashSet<(String, String)>,
    /// For each listener, how many of its Gateway came before it.
    before: Vec<usize>,
    /// Listeners by Gateway.
    counts: HashMap<String, usize>,
}

impl<'a> Gateways<'a> {
    pub fn new(options: &'a Options, apart: bool) -> Self {
        Self {
            options,
            apart,
            listeners: Vec::new(),
            known: HashMap::new(),
            names: HashSet::new(),
            before: Vec::new(),
            counts: HashMap::new(),
        }
    }

    fn home(&self, namespace: &str) -> String {
        match &self.options.layout {
            Layout::PerNamespace => namespace.to_owned(),
            Layout::Shared | Layout::Existing | Layout::ListenerSet => self.options.gateway_namespace.clone(),
        }
    }

    /// The parentRef of a route in `namespace`; makes the listener if it is not there yet.
    pub fn parent(
        &mut self,
        wanted: Wanted,
        host: &str,
        port: u16,
        namespace: &str,
        secret: Option<(&str, &str)>,
        from: &str,
    ) -> Value {
        let host = if wanted == Wanted::Http && !self.apart { "" } else { host };
        let gateway = self.home(namespace);
        let key = (gateway, wanted, host.to_owned(), port);
        let at = match self.known.get(&key) {
            Some(at) => *at,
            None => {
                let gateway = key.0.clone();
                let name = self.name(wanted, host, port, &gateway);
                self.names.insert((gateway.clone(), name.clone()));
                let count = self.counts.entry(gateway.clone()).or_default();
                self.before.push(*count);
                *count += 1;
                self.known.insert(key, self.listeners.len());
                self.listeners.push(Listener {
                    wanted,
                    host: host.to_owned(),
                    port,
                    name,
                    secret: secret.map(|(namespace, name)| (namespace.to_owned(), name.to_owned())),
                    namespaces: BTreeSet::new(),
                    from: from.to_owned(),
                    gateway,
                });
                self.listeners.len() - 1
            }
        };
        self.listeners[at].namespaces.insert(namespace.to_owned());
        let listener = &self.listeners[at];
        let (kind, name) = self.owner(at);
        let mut parent = json!({"name": name});
        if kind != "Gateway" {
            parent["group"] = json!("gateway.networking.k8s.io");
            parent["kind"] = json!(kind);
        }
        if listener.gateway != namespace {
            parent["namespace"] = json!(listener.gateway);
        }
        match self.options.layout {
            // What an existing Gateway calls its listeners is not known; its ports are.
            Layout::Existing => parent["port"] = json!(port),
            _ => parent["sectionName"] = json!(listener.name),
        }
        parent
    }

    /// A listener that keeps a host's requests from wider ones, whether or not a route comes to it.
    pub fn keep(
        &mut self,
        wanted: Wanted,
        host: &str,
        port: u16,
        namespace: &str,
        secret: Option<(&str, &str)>,
        from: &str,
    ) {
        if self.apart && !host.is_empty() && self.options.layout != Layout::Existing {
            self.parent(wanted, host, port, namespace, secret, from);
        }
    }

    fn name(&self, wanted: Wanted, host: &str, port: u16, gateway: &str) -> String {
        let mut name = wanted.word().to_owned();
        if matches!(wanted, Wanted::Tcp | Wanted::Udp) {
            name += &format!("-{port}");
        }
        if !host.is_empty() {
            name += &format!("-{}", slug(host));
        }
        name.truncate(60);
        let name = name.trim_end_matches('-').to_owned();
        let taken = |name: &str| self.names.contains(&(gateway.to_owned(), name.to_owned()));
        if !taken(&name) {
            return name;
        }
        (2..).map(|n| format!("{name}-{n}")).find(|name| !taken(name)).unwrap_or(name)
    }

    /// Kind and name of the object that holds a listener.
    fn owner(&self, at: usize) -> (&'static str, String) {
        let name = &self.options.gateway_name;
        match (self.options.layout, self.before[at] / MOST_LISTENERS) {
            (Layout::ListenerSet, set) => ("ListenerSet", format!("{name}-migrated-{}", set + 1)),
            (_, 0) => ("Gateway", name.clone()),
            (_, set) => ("ListenerSet", format!("{name}-more-{set}")),
        }
    }

    /// Gateways, ListenerSets and the grants for their certificates.
    pub fn objects(&self) -> Vec<Made> {
        if self.options.layout == Layout::Existing {
            return Vec::new();
        }
        let mut holders: Vec<(&'static str, String, String)> = Vec::new();
        let mut held: BTreeMap<(String, String, &'static str), Vec<&Listener>> = BTreeMap::new();
        for (at, listener) in self.listeners.iter().enumerate() {
            let (kind, name) = self.owner(at);
            let holder = (kind, listener.gateway.clone(), name.clone());
            let list = held.entry((listener.gateway.clone(), name, kind)).or_default();
            if list.is_empty() {
                holders.push(holder);
            }
            list.push(listener);
        }
        let mut made = Vec::new();
        let mut grants: BTreeMap<(String, &'static str, String), BTreeSet<String>> = BTreeMap::new();
        for (kind, namespace, name) in &holders {
            let listeners = &held[&(namespace.clone(), name.clone(), *kind)];
            let mut metadata = json!({"name": name, "namespace": namespace});
            for (key, value) in &self.options.gateway_annotations {
                metadata["annotations"][key] = json!(value);
            }
            let mut spec =
                json!({"listeners": listeners.iter().map(|one| listener(one, namespace)).collect::<Vec<_>>()});
            if *kind == "Gateway" {
                spec["gatewayClassName"] = json!(self.options.class());
                let more = holders.iter().any(|(kind, of, _)| *kind == "ListenerSet" && of == namespace);
                if more {
                    spec["allowedListeners"] = json!({"namespaces": {"from": "Same"}});
                }
            } else {
                spec["parentRef"] =
                    json!({"name": self.options.gateway_name, "namespace": self.options.gateway_namespace});
            }
            for one in listeners {
                if let Some((of, secret)) = &one.secret
                    && of != namespace
                {
                    grants.entry((of.clone(), *kind, namespace.clone())).or_default().insert(secret.clone());
                }
            }
            let mut from: Vec<_> =
                listeners.iter().map(|one| one.from.clone()).filter(|from| !from.is_empty()).collect();
            from.dedup();
            from.truncate(8);
            let value = json!({"apiVersion": API, "kind": kind, "metadata": metadata, "spec": spec});
            made.push(Made { value, from });
        }
        for ((namespace, kind, gateway), secrets) in grants {
            let of = if kind == "Gateway" { "" } else { "-of-sets" };
            // A grant has at most 16 targets.
            for (at, some) in secrets.iter().collect::<Vec<_>>().chunks(16).enumerate() {
                let to: Vec<_> = some.iter().map(|name| json!({"group": "", "kind": "Secret", "name": name})).collect();
                let name = match at {
                    0 => format!("{}-certificates{of}", self.options.gateway_name),
                    at => format!("{}-certificates{of}-{}", self.options.gateway_name, at + 1),
                };
                let value = json!({"apiVersion": API, "kind": "ReferenceGrant",
                    "metadata": {"name": name, "namespace": namespace},
                    "spec": {"from": [{"group": "gateway.networking.k8s.io", "kind": kind, "namespace": gateway}], "to": to}});
                made.push(Made { value, from: Vec::new() });
            }
        }
        made
    }
}

fn listener(one: &Listener, own: &str) -> Value {
    let mut value = json!({"name": one.name, "port": one.port, "protocol": one.wanted.protocol()});
    if !one.host.is_empty() {
        value["hostname"] = json!(one.host);
    }
    match one.wanted {
        Wanted::Https => {
            let mut tls = json!({"mode": "Terminate"});
            if let Some((namespace, name)) = &one.secret {
                let mut secret = json!({"name": name});
                if namespace != own {
                    secret["namespace"] = json!(namespace);
                }
                tls["certificateRefs"] = json!([secret]);
            }
            value["tls"] = tls;
        }
        Wanted::Passthrough => value["tls"] = json!({"mode": "Passthrough"}),
        _ => {}
    }
    let namespaces: Vec<_> = one.namespaces.iter().cloned().collect();
    value["allowedRoutes"] = if namespaces == [own] {
        json!({"namespaces": {"from": "Same"}})
    } else {
        json!({"namespaces": {"from": "Selector", "selector": {"matchExpressions": [
            {"key": "kubernetes.io/metadata.name", "operator": "In", "values": namespaces}]}}})
    };
    value
}

/// A host name as part of an object's name.
pub fn slug(host: &str) -> String {
    let text: String = host
        .chars()
        .map(|c| {
            if c == '*' {
                'x'
            } else if c.is_ascii_lowercase() || c.is_ascii_digit() {
                c
            } else {
                '-'
            }
        })
        .collect();
    text.trim_matches('-').to_owned()
}
