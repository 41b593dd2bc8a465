//! What hangs on what, from the class down to the endpoints.

use super::{
    objects::{hosts, verdict},
    percent,
};
use crate::model::{
    health::{Health, Verdict, judge},
    key::{Kind, ObjectKey},
    store::Store,
    topology::{Listener, Parent, Route},
};

/// One object or part of one, and what hangs on it.
#[derive(Debug, Default)]
pub struct Node {
    pub key: Option<ObjectKey>,
    pub label: String,
    /// None for what has no health of its own.
    pub verdict: Option<Verdict>,
    pub below: Vec<Node>,
}

impl Node {
    fn of(key: &ObjectKey, store: &Store) -> Self {
        let label = format!("{} {key}", key.kind.name());
        Self { key: Some(key.clone()), label, verdict: verdict(key, store), below: Vec::new() }
    }

    /// Every node with the branches that stand before it.
    pub fn lines<'a>(&'a self, ascii: bool, into: &mut Vec<(String, &'a Self)>) {
        self.draw("", "", ascii, into);
    }

    fn draw<'a>(&'a self, before: &str, mark: &str, ascii: bool, into: &mut Vec<(String, &'a Self)>) {
        into.push((format!("{before}{mark}"), self));
        let (branch, last, on) = if ascii { ("|- ", "`- ", "|  ") } else { ("├─ ", "└─ ", "│  ") };
        let before = match mark {
            "" => before.to_owned(),
            mark if mark == branch => format!("{before}{on}"),
            _ => format!("{before}   "),
        };
        for (at, node) in self.below.iter().enumerate() {
            node.draw(&before, if at + 1 == self.below.len() { last } else { branch }, ascii, into);
        }
    }
}

fn missing() -> Option<Verdict> {
    Some(Verdict::new(Health::Broken, "missing"))
}

/// Nothing can be said of what may not be read, or has not been yet.
fn unseen() -> Option<Verdict> {
    Some(Verdict::new(Health::Unknown, "not seen"))
}

fn admits(wanted: Option<&str>, namespace: &str) -> bool {
    wanted.is_none_or(|wanted| wanted == namespace)
}

/// A Gateway is in the tree if it, or a route on it, is in the namespace asked for.
pub fn whole(store: &Store, namespace: Option<&str>) -> Vec<Node> {
    let mut all = Vec::new();
    let mut classes: Vec<_> = store.gateways().map(|gateway| gateway.class.clone()).collect();
    classes.sort();
    classes.dedup();
    for class in classes {
        let mut node = match store.class(&class) {
            Some(class) => Node::of(&class.key, store),
            None => Node { label: format!("GatewayClass {class}"), verdict: missing(), ..Node::default() },
        };
        for gateway in store.gateways().filter(|gateway| gateway.class == class) {
            let below = gateway_node(&gateway.key, store, namespace);
            if admits(namespace, &gateway.key.namespace)
                || !below.below.iter().all(|listener| listener.below.is_empty())
            {
                node.below.push(below);
            }
        }
        if !node.below.is_empty() {
            all.push(node);
        }
    }
    let lost = store
        .routes()
        .filter(|route| admits(namespace, &route.key.namespace))
        .filter(|route| !route.parents.iter().any(|parent| store.get(&parent_key(parent)).is_some()));
    let mut nowhere = Node { label: "no parent that exists".to_owned(), ..Node::default() };
    nowhere.below.extend(lost.map(|route| route_node(route, store)));
    if !nowhere.below.is_empty() {
        all.push(nowhere);
    }
    all
}

pub fn one(key: &ObjectKey, store: &Store) -> Node {
    if let Some(route) = store.route(key) {
        let mut node = route_node(route, store);
        for parent in &route.parents {
            let known = store.get(&parent_key(parent)).is_some();
            let verdict = if known { None } else { missing() };
            node.below.insert(
                0,
                Node { label: format!("parent {} {}", parent.kind, parent.label()), verdict, ..Node::default() },
            );
        }
        return node;
    }
    if let Some((_, _)) = store.listeners(key) {
        return gateway_node(key, store, None);
    }
    let mut node = Node::of(key, store);
    let of_class = store.gateways().filter(|gateway| key.kind.name() == "GatewayClass" && gateway.class == key.name);
    node.below.extend(of_class.map(|gateway| gateway_node(&gateway.key, store, None)));
    let users = store.routes().filter(|route| {
        let backends = || route.rules.iter().flat_map(|rule| &rule.backends);
        backends().any(|one| one.kind == key.kind.name() && one.namespace == key.namespace && one.name == key.name)
    });
    node.below.extend(users.map(|route| Node::of(&route.key, store)));
    node
}

fn parent_key(parent: &Parent) -> ObjectKey {
    let kind = if parent.kind == "ListenerSet" { Kind::ListenerSet } else { Kind::Gateway };
    ObjectKey::new(kind, &parent.namespace, &parent.name)
}

fn gateway_node(key: &ObjectKey, store: &Store, namespace: Option<&str>) -> Node {
    let mut node = Node::of(key, store);
    let Some((listeners, generation)) = store.listeners(key) else { return node };
    for listener in listeners {
        let mut below = listener_node(listener, generation);
        let routes = store.routes().filter(|route| admits(namespace, &route.key.namespace));
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
        node.below.push(gateway_node(&set.key, store, namespace));
    }
    node
}

fn listener_node(listener: &Listener, generation: i64) -> Node {
    let host = listener.hostname.as_ref().map(|host| format!(" {host}")).unwrap_or_default();
    let label = format!("listener {} {}/{}{host}", listener.name, listener.port, listener.protocol);
    Node { label, verdict: Some(judge(&listener.conditions, generation)), ..Node::default() }
}

fn route_node(route: &Route, store: &Store) -> Node {
    let mut node = Node::of(&route.key, store);
    node.label += &format!("  {}", hosts(route));
    for (at, rule) in route.rules.iter().enumerate() {
        let name = rule.name.as_ref().map(|name| format!(" {name}")).unwrap_or_default();
        let matches = if rule.matches.is_empty() { "/*".to_owned() } else { rule.matches.join(" | ") };
        let mut below = Node { label: format!("rule {at}{name}  {matches}"), ..Node::default() };
        for backend in &rule.backends {
            let ready = store.ready(&backend.namespace, &backend.name).filter(|_| backend.kind == "Service");
            let verdict = match ready {
                _ if backend.kind != "Service" => None,
                _ if store.service(&backend.namespace, &backend.name).is_none() => {
                    if store.sees(Kind::Service, &backend.namespace) { missing() } else { unseen() }
                }
                Some((0, _)) => Some(Verdict::new(Health::Broken, "no ready endpoints")),
                Some((ready, total)) => {
                    let health = if ready < total { Health::Degraded } else { Health::Ok };
                    Some(Verdict::new(health, format!("{ready}/{total} ready")))
                }
                None => unseen(),
            };
            let label = format!(
                "{} {}/{}:{}  {}",
                backend.kind,
                backend.namespace,
                backend.name,
                backend.port,
                percent(backend.share)
            );
            below.below.push(Node { label, verdict, ..Node::default() });
        }
        node.below.push(below);
    }
    node
}
