//! `gwtop tree`: what hangs on what, from the class down to the endpoints.

use serde_json::{Value, json};

use super::{Answer, Made, Output, Scope, get, reference, yaml};
use crate::{
    exit::Exit,
    model::{
        key::ObjectKey,
        store::Store,
        topology::{Listener, Route},
    },
    rows::percent,
};

/// One object or part of one, and what hangs on it.
#[derive(Debug, Default)]
struct Node {
    key: Option<ObjectKey>,
    label: String,
    health: String,
    below: Vec<Node>,
}

impl Node {
    fn of(key: &ObjectKey, store: &Store) -> Self {
        let label = format!("{} {key}", key.kind.name());
        Self { key: Some(key.clone()), label, health: get::health(&get::verdict(key, store)), below: Vec::new() }
    }

    fn json(&self) -> Value {
        let below: Vec<Value> = self.below.iter().map(Self::json).collect();
        json!({"label": self.label, "health": self.health, "children": below})
    }

    fn draw(&self, before: &str, mark: &str, into: &mut String) {
        let health = if self.health.is_empty() { String::new() } else { format!("  {}", self.health) };
        *into += &format!("{before}{mark}{}{health}\n", self.label);
        let before = match mark {
            "├─ " => format!("{before}│  "),
            "└─ " => format!("{before}   "),
            _ => before.to_owned(),
        };
        for (at, node) in self.below.iter().enumerate() {
            node.draw(&before, if at + 1 == self.below.len() { "└─ " } else { "├─ " }, into);
        }
    }

    fn names(&self, into: &mut Vec<String>) {
        into.extend(self.key.as_ref().map(reference));
        self.below.iter().for_each(|node| node.names(into));
    }
}

pub fn answer(store: &Store, words: &[String], namespace: &str, scope: &Scope, output: Output) -> Made {
    let trees = match words {
        [] => whole(store, scope),
        words => {
            let key = super::find(store, words, namespace)?;
            vec![one(&key, store)]
        }
    };
    let document = || Value::Array(trees.iter().map(Node::json).collect());
    let text = match output {
        Output::Json => super::json(&document()),
        Output::Yaml => yaml(&document()),
        Output::Jsonl => trees.iter().map(|tree| format!("{}\n", tree.json())).collect(),
        Output::Name => {
            let mut names = Vec::new();
            trees.iter().for_each(|tree| tree.names(&mut names));
            names.iter().map(|name| format!("{name}\n")).collect()
        }
        Output::Text | Output::Wide => {
            let mut text = String::new();
            for tree in &trees {
                tree.draw("", "", &mut text);
            }
            if text.is_empty() {
                "no Gateway and no route there; -A looks in all namespaces\n".to_owned()
            } else {
                text
            }
        }
    };
    Ok(Answer::new(text, Exit::Ok))
}

/// A Gateway is in the tree if it, or a route on it, is in the namespace asked for.
fn whole(store: &Store, scope: &Scope) -> Vec<Node> {
    let mut all = Vec::new();
    let mut classes: Vec<_> = store.gateways().map(|gateway| gateway.class.clone()).collect();
    classes.sort();
    classes.dedup();
    for class in classes {
        let mut node = match store.class(&class) {
            Some(class) => Node::of(&class.key, store),
            None => {
                Node { label: format!("GatewayClass {class}"), health: "✗ missing".to_owned(), ..Node::default() }
            }
        };
        for gateway in store.gateways().filter(|gateway| gateway.class == class) {
            let below = gateway_node(&gateway.key, store, scope);
            if scope.admits(&gateway.key.namespace) || !below.below.iter().all(|listener| listener.below.is_empty()) {
                node.below.push(below);
            }
        }
        if !node.below.is_empty() {
            all.push(node);
        }
    }
    let lost = store
        .routes()
        .filter(|route| scope.admits(&route.key.namespace))
        .filter(|route| !route.parents.iter().any(|parent| store.get(&parent_key(parent)).is_some()));
    let mut nowhere = Node { label: "no parent that exists".to_owned(), health: "✗".to_owned(), ..Node::default() };
    nowhere.below.extend(lost.map(|route| route_node(route, store)));
    if !nowhere.below.is_empty() {
        all.push(nowhere);
    }
    all
}

fn one(key: &ObjectKey, store: &Store) -> Node {
    let all = Scope::default();
    if let Some(route) = store.route(key) {
        let mut node = route_node(route, store);
        for parent in &route.parents {
            let known = store.get(&parent_key(parent)).is_some();
            let health = if known { String::new() } else { "✗ missing".to_owned() };
            node.below.insert(
                0,
                Node { label: format!("parent {} {}", parent.kind, parent.label()), health, ..Node::default() },
            );
        }
        return node;
    }
    if let Some((_, _)) = store.listeners(key) {
        return gateway_node(key, store, &all);
    }
    let mut node = Node::of(key, store);
    let of_class = store.gateways().filter(|gateway| key.kind.name() == "GatewayClass" && gateway.class == key.name);
    node.below.extend(of_class.map(|gateway| gateway_node(&gateway.key, store, &all)));
    let users = store.routes().filter(|route| {
        let backends = || route.rules.iter().flat_map(|rule| &rule.backends);
        backends().any(|one| one.kind == key.kind.name() && one.namespace == key.namespace && one.name == key.name)
    });
    node.below.extend(users.map(|route| Node::of(&route.key, store)));
    node
}

fn parent_key(parent: &crate::model::topology::Parent) -> ObjectKey {
    use crate::model::key::Kind;
    let kind = if parent.kind == "ListenerSet" { Kind::ListenerSet } else { Kind::Gateway };
    ObjectKey::new(kind, &parent.namespace, &parent.name)
}

fn gateway_node(key: &ObjectKey, store: &Store, scope: &Scope) -> Node {
    let mut node = Node::of(key, store);
    let Some((listeners, generation)) = store.listeners(key) else { return node };
    for listener in listeners {
        let mut below = listener_node(listener, generation);
        let routes = store.routes().filter(|route| scope.admits(&route.key.namespace));
        let here = routes.filter(|route| {
            route.parents.iter().any(|parent| {
                parent_key(parent) == *key
                    && parent.section.as_ref().is_none_or(|section| *section == listener.name)
                    && parent.port.is_none_or(|port| port == listener.port)
            })
        });
        below.below.extend(here.map(|route| route_node(route, store)));
        node.below.push(below);
    }
    for set in store.listener_sets().filter(|set| set.parent == *key) {
        node.below.push(gateway_node(&set.key, store, scope));
    }
    node
}

fn listener_node(listener: &Listener, generation: i64) -> Node {
    let host = listener.hostname.as_ref().map(|host| format!(" {host}")).unwrap_or_default();
    let label = format!("listener {} {}/{}{host}", listener.name, listener.port, listener.protocol);
    let verdict = crate::model::health::judge(&listener.conditions, generation);
    Node { label, health: get::health(&Some(verdict)), ..Node::default() }
}

fn route_node(route: &Route, store: &Store) -> Node {
    let mut node = Node::of(&route.key, store);
    node.label += &format!("  {}", get::hosts(route));
    for (at, rule) in route.rules.iter().enumerate() {
        let name = rule.name.as_ref().map(|name| format!(" {name}")).unwrap_or_default();
        let matches = if rule.matches.is_empty() { "/*".to_owned() } else { rule.matches.join(" | ") };
        let mut below = Node { label: format!("rule {at}{name}  {matches}"), ..Node::default() };
        for backend in &rule.backends {
            let ready = store.ready(&backend.namespace, &backend.name).filter(|_| backend.kind == "Service");
            let health = match ready {
                _ if backend.kind != "Service" => String::new(),
                _ if store.service(&backend.namespace, &backend.name).is_none() => "✗ missing".to_owned(),
                Some((0, _)) => "✗ no ready endpoints".to_owned(),
                Some((ready, total)) => format!("{} {ready}/{total} ready", if ready < total { "!" } else { "✓" }),
                None => "?".to_owned(),
            };
            let label = format!(
                "{} {}/{}:{}  {}",
                backend.kind,
                backend.namespace,
                backend.name,
                backend.port,
                percent(backend.share)
            );
            below.below.push(Node { label, health, ..Node::default() });
        }
        node.below.push(below);
    }
    node
}
