//! Gateway, Listener, Route, rule and backend as spec and status tell them.

use jiff::Timestamp;
use serde_json::Value;

use super::{
    health::{Condition, Health, Verdict, judge},
    key::{Kind, ObjectKey},
};

#[derive(Debug, Clone, PartialEq)]
pub struct Gateway {
    pub key: ObjectKey,
    pub class: String,
    pub addresses: Vec<String>,
    pub listeners: Vec<Listener>,
    pub conditions: Vec<Condition>,
    pub generation: i64,
    pub created: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Listener {
    pub name: String,
    pub protocol: String,
    pub port: u64,
    pub hostname: Option<String>,
    /// As the controller counts; none before it has.
    pub attached: Option<u64>,
    pub conditions: Vec<Condition>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    pub key: ObjectKey,
    pub hostnames: Vec<String>,
    pub parents: Vec<Parent>,
    pub rules: Vec<Rule>,
    pub generation: i64,
    pub created: Option<Timestamp>,
}

/// A parentRef with what its controller says about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Parent {
    pub kind: String,
    pub namespace: String,
    pub name: String,
    pub section: Option<String>,
    pub port: Option<u64>,
    pub controller: Option<String>,
    pub conditions: Vec<Condition>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    pub name: Option<String>,
    pub matches: Vec<String>,
    pub filters: Vec<String>,
    pub backends: Vec<Backend>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Backend {
    pub kind: String,
    pub namespace: String,
    pub name: String,
    pub port: u16,
    pub weight: u64,
    /// Part of the rule's weights, 0 to 1.
    pub share: f64,
}

/// One EndpointSlice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoints {
    pub service: String,
    pub ready: usize,
    pub total: usize,
}

impl Gateway {
    pub fn read(key: ObjectKey, object: &Value) -> Self {
        let listeners = list(object, "/spec/listeners").iter().map(|spec| {
            let name = text(spec, "name");
            let status = list(object, "/status/listeners").iter().find(|status| text(status, "name") == name);
            Listener {
                protocol: text(spec, "protocol"),
                port: spec.get("port").and_then(Value::as_u64).unwrap_or_default(),
                hostname: spec.get("hostname").and_then(Value::as_str).map(str::to_owned),
                attached: status.and_then(|status| status.get("attachedRoutes")).and_then(Value::as_u64),
                conditions: Condition::all(status),
                name,
            }
        });
        Self {
            class: object.pointer("/spec/gatewayClassName").and_then(Value::as_str).unwrap_or_default().to_owned(),
            addresses: list(object, "/status/addresses").iter().map(|address| text(address, "value")).collect(),
            listeners: listeners.collect(),
            conditions: Condition::all(object.get("status")),
            generation: generation(object),
            created: created(object),
            key,
        }
    }

    pub fn verdict(&self) -> Verdict {
        let listeners = self.listeners.iter().map(|listener| judge(&listener.conditions, self.generation));
        listeners.fold(judge(&self.conditions, self.generation), Verdict::worse)
    }
}

impl Route {
    pub fn read(key: ObjectKey, object: &Value) -> Self {
        let namespace = &key.namespace;
        Self {
            hostnames: strings(object, "/spec/hostnames"),
            parents: parents(namespace, object),
            rules: list(object, "/spec/rules").iter().map(|rule| Rule::read(namespace, rule)).collect(),
            generation: generation(object),
            created: created(object),
            key,
        }
    }

    pub fn verdict(&self) -> Verdict {
        if self.parents.is_empty() {
            return Verdict::new(Health::Unknown, "NoParentRefs");
        }
        let verdicts = self.parents.iter().map(|parent| judge(&parent.conditions, self.generation));
        verdicts.reduce(Verdict::worse).unwrap_or_else(|| Verdict::new(Health::Unknown, "NoStatus"))
    }
}

impl Parent {
    pub fn label(&self) -> String {
        let mut label = format!("{}/{}", self.namespace, self.name);
        if let Some(section) = &self.section {
            label.push('#');
            label.push_str(section);
        }
        if let Some(port) = self.port {
            label.push_str(&format!(":{port}"));
        }
        label
    }
}

impl Rule {
    fn read(namespace: &str, rule: &Value) -> Self {
        let mut backends: Vec<Backend> =
            list(rule, "/backendRefs").iter().map(|reference| Backend::read(namespace, reference)).collect();
        let total: u64 = backends.iter().fold(0, |sum, backend| sum.saturating_add(backend.weight));
        for backend in &mut backends {
            backend.share = if total == 0 { 0.0 } else { backend.weight as f64 / total as f64 };
        }
        Self {
            name: rule.get("name").and_then(Value::as_str).map(str::to_owned),
            matches: list(rule, "/matches").iter().map(describe_match).collect(),
            filters: list(rule, "/filters").iter().map(|filter| text(filter, "type")).collect(),
            backends,
        }
    }
}

impl Backend {
    fn read(namespace: &str, reference: &Value) -> Self {
        let own = reference.get("namespace").and_then(Value::as_str);
        let port = reference.get("port").and_then(Value::as_u64).and_then(|port| u16::try_from(port).ok());
        Self {
            kind: reference.get("kind").and_then(Value::as_str).unwrap_or("Service").to_owned(),
            namespace: own.unwrap_or(namespace).to_owned(),
            name: text(reference, "name"),
            port: port.unwrap_or_default(),
            weight: reference.get("weight").and_then(Value::as_u64).unwrap_or(1),
            share: 0.0,
        }
    }
}

pub(super) fn endpoints(key: &ObjectKey, slice: &Value) -> Endpoints {
    let label = slice.pointer("/metadata/labels/kubernetes.io~1service-name").and_then(Value::as_str);
    let all = list(slice, "/endpoints");
    // Absent means ready, as the API documents.
    let ready = all.iter().filter(|endpoint| endpoint.pointer("/conditions/ready") != Some(&Value::Bool(false)));
    Endpoints { service: label.unwrap_or(&key.name).to_owned(), ready: ready.count(), total: all.len() }
}

fn parents(namespace: &str, object: &Value) -> Vec<Parent> {
    let read = |reference: &Value, status: Option<&Value>| Parent {
        kind: reference.get("kind").and_then(Value::as_str).unwrap_or("Gateway").to_owned(),
        namespace: reference.get("namespace").and_then(Value::as_str).unwrap_or(namespace).to_owned(),
        name: text(reference, "name"),
        section: reference.get("sectionName").and_then(Value::as_str).map(str::to_owned),
        port: reference.get("port").and_then(Value::as_u64),
        controller: status.map(|status| text(status, "controllerName")),
        conditions: Condition::all(status),
    };
    let same = |a: &Value, b: &Value| {
        let (a, b) = (read(a, None), read(b, None));
        a == b
    };
    let statuses = list(object, "/status/parents");
    let mut parents = Vec::new();
    for reference in list(object, "/spec/parentRefs") {
        let mut said: Vec<_> = statuses
            .iter()
            .filter(|status| status.get("parentRef").is_some_and(|of| same(of, reference)))
            .map(|status| read(reference, Some(status)))
            .collect();
        if said.is_empty() {
            said.push(read(reference, None));
        }
        parents.append(&mut said);
    }
    parents
}

fn describe_match(value: &Value) -> String {
    let mut parts = Vec::new();
    if let Some(method) = value.get("method").and_then(Value::as_str) {
        parts.push(method.to_owned());
    }
    if let Some(path) = value.get("path") {
        let of = path.get("value").and_then(Value::as_str).unwrap_or("/");
        parts.push(match path.get("type").and_then(Value::as_str) {
            Some("Exact") => format!("={of}"),
            Some("RegularExpression") => format!("~{of}"),
            _ => format!("{of}*"),
        });
    }
    for (field, sign) in [("headers", "header"), ("queryParams", "query")] {
        for entry in list(value, &format!("/{field}")) {
            parts.push(format!("{sign} {}={}", text(entry, "name"), text(entry, "value")));
        }
    }
    if parts.is_empty() { "/*".to_owned() } else { parts.join(" ") }
}

fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn strings(value: &Value, pointer: &str) -> Vec<String> {
    list(value, pointer).iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn text(value: &Value, field: &str) -> String {
    value.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn generation(object: &Value) -> i64 {
    object.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or_default()
}

fn created(object: &Value) -> Option<Timestamp> {
    object.pointer("/metadata/creationTimestamp").and_then(Value::as_str)?.parse().ok()
}

/// Key of the Gateway that a parentRef names, if it names one.
pub fn gateway_of(parent: &Parent) -> Option<ObjectKey> {
    (parent.kind == "Gateway").then(|| ObjectKey::new(Kind::Gateway, &parent.namespace, &parent.name))
}
