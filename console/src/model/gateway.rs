//! GatewayClass, Gateway, ListenerSet and their listeners as spec and status tell them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use super::{
    health::{Condition, Verdict, judge},
    json::{created, generation, list, map, strings, text, text_at},
    key::{Kind, ObjectKey},
    topology::Reference,
};

#[derive(Debug, Clone, PartialEq)]
pub struct GatewayClass {
    pub key: ObjectKey,
    pub controller: String,
    pub conditions: Vec<Condition>,
    pub generation: i64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Gateway {
    pub key: ObjectKey,
    pub class: String,
    pub addresses: Vec<String>,
    pub listeners: Vec<Listener>,
    /// Who may add listeners by a ListenerSet.
    pub allowed_listeners: From,
    pub conditions: Vec<Condition>,
    pub generation: i64,
    pub created: Option<Timestamp>,
}

/// Listeners that are added to a Gateway from elsewhere.
#[derive(Debug, Clone, PartialEq)]
pub struct ListenerSet {
    pub key: ObjectKey,
    pub parent: ObjectKey,
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
    pub tls: Option<Tls>,
    /// Namespaces whose routes may attach.
    pub allowed: From,
    /// Group and kind of routes that may attach; empty for all that fit the protocol.
    pub kinds: Vec<(String, String)>,
    /// As the controller counts; none before it has.
    pub attached: Option<u64>,
    pub conditions: Vec<Condition>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Tls {
    /// `Terminate` or `Passthrough`.
    pub mode: String,
    pub certificates: Vec<Reference>,
}

/// Namespaces that something is open to.
#[derive(Debug, Clone, PartialEq)]
pub enum From {
    Same,
    All,
    None,
    Selector(Selector),
}

/// A label selector.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Selector {
    pub labels: BTreeMap<String, String>,
    pub expressions: Vec<Expression>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Expression {
    pub key: String,
    pub operator: String,
    pub values: Vec<String>,
}

impl GatewayClass {
    pub fn read(key: ObjectKey, object: &Value) -> Self {
        Self {
            controller: text_at(object, "/spec/controllerName").unwrap_or_default(),
            conditions: Condition::all(object.get("status")),
            generation: generation(object),
            key,
        }
    }

    pub fn verdict(&self) -> Verdict {
        // `SupportedVersion` and its like say nothing of whether the class is served.
        let accepted: Vec<_> =
            self.conditions.iter().filter(|condition| condition.kind == "Accepted").cloned().collect();
        judge(&accepted, self.generation)
    }
}

impl Gateway {
    pub fn read(key: ObjectKey, object: &Value) -> Self {
        Self {
            class: text_at(object, "/spec/gatewayClassName").unwrap_or_default(),
            addresses: list(object, "/status/addresses").iter().map(|address| text(address, "value")).collect(),
            listeners: listeners(&key.namespace, object),
            allowed_listeners: From::read(object.pointer("/spec/allowedListeners/namespaces"), From::None),
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

impl ListenerSet {
    pub fn read(key: ObjectKey, object: &Value) -> Self {
        let namespace = text_at(object, "/spec/parentRef/namespace").unwrap_or_else(|| key.namespace.clone());
        let name = text_at(object, "/spec/parentRef/name").unwrap_or_default();
        Self {
            parent: ObjectKey::new(Kind::Gateway, namespace, name),
            listeners: listeners(&key.namespace, object),
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

fn listeners(namespace: &str, object: &Value) -> Vec<Listener> {
    let read = |spec: &Value| {
        let name = text(spec, "name");
        let status = list(object, "/status/listeners").iter().find(|status| text(status, "name") == name);
        let kinds = list(spec, "/allowedRoutes/kinds").iter().map(|kind| {
            (text_at(kind, "/group").unwrap_or_else(|| Kind::HttpRoute.group().to_owned()), text(kind, "kind"))
        });
        Listener {
            protocol: text(spec, "protocol"),
            port: spec.get("port").and_then(Value::as_u64).unwrap_or_default(),
            hostname: text_at(spec, "/hostname").filter(|hostname| !hostname.is_empty()),
            tls: spec.get("tls").map(|tls| Tls {
                mode: text_at(tls, "/mode").unwrap_or_else(|| "Terminate".to_owned()),
                certificates: list(tls, "/certificateRefs")
                    .iter()
                    .map(|of| Reference::read(of, "", "Secret", namespace))
                    .collect(),
            }),
            allowed: From::read(spec.pointer("/allowedRoutes/namespaces"), From::Same),
            kinds: kinds.collect(),
            attached: status.and_then(|status| status.get("attachedRoutes")).and_then(Value::as_u64),
            conditions: Condition::all(status),
            name,
        }
    };
    list(object, "/spec/listeners").iter().map(read).collect()
}

impl From {
    fn read(namespaces: Option<&Value>, default: Self) -> Self {
        match namespaces.and_then(|of| of.get("from")).and_then(Value::as_str) {
            Some("All") => Self::All,
            Some("Same") => Self::Same,
            Some("None") => Self::None,
            Some("Selector") => {
                Self::Selector(Selector::read(namespaces.and_then(|of| of.get("selector")).unwrap_or(&Value::Null)))
            }
            _ => default,
        }
    }

    /// Whether a namespace with these labels is let in; none where the labels are not known.
    pub fn admits(&self, own: &str, namespace: &str, labels: Option<&BTreeMap<String, String>>) -> Option<bool> {
        match self {
            Self::All => Some(true),
            Self::Same => Some(own == namespace),
            Self::None => Some(false),
            Self::Selector(selector) => labels.map(|labels| selector.matches(labels)),
        }
    }
}

impl Selector {
    pub fn read(value: &Value) -> Self {
        let expressions = list(value, "/matchExpressions").iter().map(|of| Expression {
            key: text(of, "key"),
            operator: text(of, "operator"),
            values: strings(of, "/values"),
        });
        Self { labels: map(value.get("matchLabels")), expressions: expressions.collect() }
    }

    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.labels.iter().all(|(name, value)| labels.get(name) == Some(value))
            && self.expressions.iter().all(|expression| expression.matches(labels))
    }

    /// Labels that would make it match, as `name=value`; none where labels have to go instead.
    pub fn missing(&self, labels: &BTreeMap<String, String>) -> Option<Vec<String>> {
        let mut add: BTreeMap<&str, &str> = BTreeMap::new();
        for (name, value) in self.labels.iter().filter(|(name, value)| labels.get(*name) != Some(value)) {
            add.insert(name, value);
        }
        for expression in self.expressions.iter().filter(|expression| !expression.matches(labels)) {
            match expression.operator.as_str() {
                "In" => add.insert(&expression.key, expression.values.first()?),
                "Exists" => add.insert(&expression.key, "true"),
                _ => return None,
            };
        }
        let mut after = labels.clone();
        after.extend(add.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        self.matches(&after).then(|| add.iter().map(|(name, value)| format!("{name}={value}")).collect())
    }
}

impl Expression {
    fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let value = labels.get(&self.key);
        match self.operator.as_str() {
            "In" => value.is_some_and(|value| self.values.contains(value)),
            "NotIn" => value.is_none_or(|value| !self.values.contains(value)),
            "Exists" => value.is_some(),
            "DoesNotExist" => value.is_none(),
            _ => false,
        }
    }
}

/// As kubectl writes a selector.
impl std::fmt::Display for Selector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let labels = self.labels.iter().map(|(name, value)| format!("{name}={value}"));
        let expressions = self.expressions.iter().map(|of| match of.operator.as_str() {
            "Exists" => of.key.clone(),
            "DoesNotExist" => format!("!{}", of.key),
            operator => format!("{} {} ({})", of.key, operator.to_ascii_lowercase(), of.values.join(",")),
        });
        let all: Vec<String> = labels.chain(expressions).collect();
        f.write_str(&if all.is_empty() { "every namespace".to_owned() } else { all.join(",") })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_selector_tells_which_labels_are_missing() {
        let selector = Selector::read(&json!({"matchLabels": {"edge": "yes"},
            "matchExpressions": [{"key": "team", "operator": "In", "values": ["web", "api"]}]}));
        let labels = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect::<BTreeMap<_, _>>()
        };
        assert!(selector.matches(&labels(&[("edge", "yes"), ("team", "api")])));
        assert_eq!(selector.missing(&labels(&[("edge", "no")])).unwrap(), ["edge=yes", "team=web"]);
        assert_eq!(selector.to_string(), "edge=yes,team in (web,api)");
        let never = Selector::read(&json!({"matchExpressions": [{"key": "edge", "operator": "DoesNotExist"}]}));
        assert_eq!(never.missing(&labels(&[("edge", "yes")])), None);
        assert!(Selector::default().matches(&labels(&[])));
    }

    #[test]
    fn defaults_are_those_of_the_api() {
        let key = ObjectKey::new(Kind::Gateway, "infra", "gw");
        let gateway = Gateway::read(
            key,
            &json!({"spec": {"listeners": [{"name": "https", "port": 443, "protocol": "HTTPS",
            "tls": {"certificateRefs": [{"name": "cert"}]}}]}}),
        );
        let listener = &gateway.listeners[0];
        assert_eq!(listener.allowed, From::Same);
        assert_eq!(gateway.allowed_listeners, From::None);
        let tls = listener.tls.as_ref().unwrap();
        assert_eq!((tls.mode.as_str(), tls.certificates[0].namespace.as_str()), ("Terminate", "infra"));
        assert_eq!(gateway.verdict().reason, "NoStatus");
    }
}
