//! Route, parent, rule and backend as spec and status tell them.

use jiff::Timestamp;
use serde_json::Value;

pub use super::gateway::{Gateway, GatewayClass, Listener, ListenerSet};
use super::{
    health::{Condition, Health, Verdict, judge},
    json::{created, generation, list, strings, text, text_at},
    key::{Kind, ObjectKey},
};

#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    pub key: ObjectKey,
    pub hostnames: Vec<String>,
    pub parents: Vec<Parent>,
    /// Statuses about parents that the spec does not name any more.
    pub left_over: Vec<Parent>,
    pub rules: Vec<Rule>,
    pub generation: i64,
    pub created: Option<Timestamp>,
}

/// A parentRef with what its controller says about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Parent {
    /// Which parentRef it is.
    pub index: usize,
    pub group: String,
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
    /// Backends that get copies of requests.
    pub mirrors: Vec<Backend>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Backend {
    pub group: String,
    pub kind: String,
    pub namespace: String,
    pub name: String,
    pub port: u16,
    pub weight: u64,
    /// Part of the rule's weights, 0 to 1.
    pub share: f64,
}

/// Another object, as a field of an object names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    pub group: String,
    pub kind: String,
    pub namespace: String,
    pub name: String,
}

impl Reference {
    /// With what holds where the field is silent.
    pub fn read(value: &Value, group: &str, kind: &str, namespace: &str) -> Self {
        Self {
            group: text_at(value, "/group").unwrap_or_else(|| group.to_owned()),
            kind: text_at(value, "/kind").unwrap_or_else(|| kind.to_owned()),
            namespace: text_at(value, "/namespace").unwrap_or_else(|| namespace.to_owned()),
            name: text(value, "name"),
        }
    }

    /// The key of it, if it is of a kind that the console watches.
    pub fn key(&self) -> Option<ObjectKey> {
        let kind = Kind::ALL.into_iter().find(|kind| kind.name() == self.kind && kind.group() == self.group)?;
        Some(ObjectKey::new(kind, if kind.namespaced() { self.namespace.as_str() } else { "" }, &self.name))
    }
}

impl Route {
    pub fn read(key: ObjectKey, object: &Value) -> Self {
        let namespace = &key.namespace;
        let (parents, left_over) = parents(namespace, object);
        Self {
            hostnames: strings(object, "/spec/hostnames"),
            parents,
            left_over,
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
            mirrors: list(rule, "/filters")
                .iter()
                .filter_map(|filter| filter.pointer("/requestMirror/backendRef"))
                .map(|reference| Backend::read(namespace, reference))
                .collect(),
            backends,
        }
    }
}

impl Backend {
    fn read(namespace: &str, reference: &Value) -> Self {
        let own = reference.get("namespace").and_then(Value::as_str);
        let port = reference.get("port").and_then(Value::as_u64).and_then(|port| u16::try_from(port).ok());
        Self {
            group: text(reference, "group"),
            kind: reference.get("kind").and_then(Value::as_str).unwrap_or("Service").to_owned(),
            namespace: own.unwrap_or(namespace).to_owned(),
            name: text(reference, "name"),
            port: port.unwrap_or_default(),
            weight: reference.get("weight").and_then(Value::as_u64).unwrap_or(1),
            share: 0.0,
        }
    }
}

/// What the spec names, and statuses about what it does not.
fn parents(namespace: &str, object: &Value) -> (Vec<Parent>, Vec<Parent>) {
    let read = |reference: &Value, status: Option<&Value>| Parent {
        index: 0,
        group: text_at(reference, "/group").unwrap_or_else(|| Kind::Gateway.group().to_owned()),
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
    for (index, reference) in list(object, "/spec/parentRefs").iter().enumerate() {
        let mut said: Vec<_> = statuses
            .iter()
            .filter(|status| status.get("parentRef").is_some_and(|of| same(of, reference)))
            .map(|status| read(reference, Some(status)))
            .collect();
        if said.is_empty() {
            said.push(read(reference, None));
        }
        for parent in &mut said {
            parent.index = index;
        }
        parents.append(&mut said);
    }
    let named = |of: &Value| list(object, "/spec/parentRefs").iter().any(|reference| same(of, reference));
    let left_over = statuses.iter().filter_map(|status| {
        let of = status.get("parentRef").filter(|of| !named(of))?;
        Some(read(of, Some(status)))
    });
    let left_over = left_over.collect();
    (parents, left_over)
}

fn describe_match(value: &Value) -> String {
    let mut parts = Vec::new();
    if let Some(method) = value.get("method").and_then(Value::as_str) {
        parts.push(method.to_owned());
    }
    if let Some(method) = value.get("method").filter(|method| method.is_object()) {
        let part = |field: &str| text_at(method, field).unwrap_or_else(|| "*".to_owned());
        parts.push(format!("{}/{}", part("/service"), part("/method")));
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

/// Key of the Gateway that a parentRef names, if it names one.
pub fn gateway_of(parent: &Parent) -> Option<ObjectKey> {
    (parent.kind == "Gateway").then(|| ObjectKey::new(Kind::Gateway, &parent.namespace, &parent.name))
}
