//! `gwtop get`: objects of a kind as a table with their health, or as they are.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Answer, Made, Output, Refusal, Scope, age, reference, yaml};
use crate::{
    exit::Exit,
    model::{
        health::{Health, Verdict},
        json::created,
        key::{Kind, ObjectKey},
        store::{Feed, Store},
        topology::Route,
    },
    print,
    rows::{percent, routes},
};

/// What `get` is asked for: a kind, `KIND/NAME`, or a kind and names.
#[derive(Debug, Clone)]
pub struct Wanted {
    pub kind: Kind,
    pub names: Vec<String>,
}

impl Wanted {
    pub fn parse(words: &[String]) -> Result<Self, Refusal> {
        let Some((first, rest)) = words.split_first() else {
            return Err(Refusal::usage("name a kind: gateways, httproutes, svc, ..."));
        };
        match first.split_once('/') {
            Some((kind, name)) if rest.is_empty() => {
                Ok(Self { kind: super::named(kind)?, names: vec![name.to_owned()] })
            }
            Some(_) => Err(Refusal::usage("KIND/NAME stands alone; for several objects say KIND NAME NAME")),
            None => Ok(Self { kind: super::named(first)?, names: rest.to_vec() }),
        }
    }
}

pub fn answer(store: &Store, now: Timestamp, wanted: &Wanted, scope: &Scope, output: Output) -> Made {
    let kind = wanted.kind;
    seen(store, kind)?;
    let mut objects: Vec<(&ObjectKey, &Value)> = store
        .of_kind(kind)
        .filter(|(key, _)| scope.admits(&key.namespace))
        .filter(|(key, _)| wanted.names.is_empty() || wanted.names.contains(&key.name))
        .map(|(key, object)| (key, &**object))
        .collect();
    objects.sort_by_key(|(key, _)| *key);
    for name in &wanted.names {
        if !objects.iter().any(|(key, _)| key.name == *name) {
            let namespace = scope.namespace.clone().unwrap_or_default();
            super::find(store, &[kind.plural().to_owned(), name.clone()], &namespace)?;
        }
    }
    let text = match output {
        Output::Json | Output::Yaml => {
            let document = match (objects.as_slice(), wanted.names.len()) {
                ([(_, one)], 1) => (*one).clone(),
                _ => {
                    let items: Vec<&Value> = objects.iter().map(|(_, object)| *object).collect();
                    json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": items})
                }
            };
            if output == Output::Json { super::json(&document) } else { yaml(&document) }
        }
        Output::Jsonl => objects.iter().map(|(_, object)| format!("{object}\n")).collect(),
        Output::Name => objects.iter().map(|(key, _)| reference(key) + "\n").collect(),
        Output::Text | Output::Wide => {
            if objects.is_empty() {
                let place = scope.namespace.as_ref().map(|own| format!(" in namespace {own}")).unwrap_or_default();
                format!("no {} found{place}\n", kind.plural())
            } else {
                table(store, kind, &objects, now, scope.namespace.is_none(), output == Output::Wide)
            }
        }
    };
    Ok(Answer::new(text, Exit::Ok))
}

/// Whether objects of the kind can be told at all.
fn seen(store: &Store, kind: Kind) -> Result<(), Refusal> {
    let (why, exit) = match store.feed(kind) {
        Feed::Forbidden => ("you may not list them (RBAC)".to_owned(), Exit::Unreachable),
        Feed::Missing => ("this cluster does not serve them".to_owned(), Exit::Usage),
        Feed::Lost(reason) => (reason.clone(), Exit::Unreachable),
        Feed::Live | Feed::Loading => return Ok(()),
    };
    Err(Refusal { why: format!("cannot list {}: {why}", kind.plural()), exit })
}

fn table(
    store: &Store,
    kind: Kind,
    objects: &[(&ObjectKey, &Value)],
    now: Timestamp,
    namespaces: bool,
    wide: bool,
) -> String {
    let (own, more) = columns(kind);
    let mut header = Vec::new();
    if namespaces && kind.namespaced() {
        header.push("NAMESPACE");
    }
    header.extend(["NAME", "HEALTH"]);
    header.extend(own);
    if wide {
        header.extend(more);
    }
    header.push("AGE");
    let rows: Vec<Vec<String>> = objects
        .iter()
        .map(|(key, object)| {
            let mut row = Vec::new();
            if namespaces && kind.namespaced() {
                row.push(key.namespace.clone());
            }
            row.extend([key.name.clone(), health(&verdict(key, store))]);
            let (own, more) = cells(key, store, now);
            row.extend(own);
            if wide {
                row.extend(more);
            }
            row.push(age(created(object), now));
            row
        })
        .collect();
    print::table(&header, &rows)
}

pub(super) fn health(verdict: &Option<Verdict>) -> String {
    match verdict {
        None => "-".to_owned(),
        Some(verdict) => {
            let glyph = match verdict.health {
                Health::Ok => "✓",
                Health::Stale => "~",
                Health::Unknown => "?",
                Health::Degraded => "!",
                Health::Broken => "✗",
            };
            let word = if verdict.reason.is_empty() { verdict.health.word() } else { &verdict.reason };
            format!("{glyph} {word}")
        }
    }
}

/// None for kinds that nobody gives a status.
pub(super) fn verdict(key: &ObjectKey, store: &Store) -> Option<Verdict> {
    match key.kind {
        Kind::GatewayClass => store.class(&key.name).map(|one| one.verdict()),
        Kind::Gateway => store.gateway(key).map(|one| one.verdict()),
        Kind::ListenerSet => store.listener_set(key).map(|one| one.verdict()),
        kind if kind.is_route() => store.route(key).map(|route| routes::verdict(route, store)),
        kind if kind.is_policy() => store.policy(key).map(|one| one.verdict()),
        Kind::Service => store.ready(&key.namespace, &key.name).map(|(ready, total)| match (ready, total) {
            (0, _) => Verdict::new(Health::Broken, "NoEndpoints"),
            (ready, total) if ready < total => Verdict::new(Health::Degraded, "NotAllReady"),
            _ => Verdict::new(Health::Ok, ""),
        }),
        _ => None,
    }
}

/// Columns of a kind: always, and with `-o wide`.
fn columns(kind: Kind) -> (&'static [&'static str], &'static [&'static str]) {
    match kind {
        Kind::GatewayClass => (&["CONTROLLER"], &[]),
        Kind::Gateway => (&["CLASS", "ADDRESS", "ROUTES"], &["LISTENERS"]),
        Kind::ListenerSet => (&["PARENT", "ROUTES"], &["LISTENERS"]),
        Kind::Service => (&["READY"], &["PORTS"]),
        Kind::Secret => (&["DAYS-LEFT"], &["NAMES"]),
        kind if kind.is_route() => (&["HOSTNAMES", "PARENTS"], &["BACKENDS"]),
        kind if kind.is_policy() => (&["TARGETS"], &[]),
        _ => (&[], &[]),
    }
}

fn cells(key: &ObjectKey, store: &Store, now: Timestamp) -> (Vec<String>, Vec<String>) {
    let listeners = |all: &[crate::model::topology::Listener]| {
        let attached: Vec<u64> = all.iter().filter_map(|one| one.attached).collect();
        let routes = if attached.is_empty() { "-".to_owned() } else { attached.iter().sum::<u64>().to_string() };
        let told: Vec<_> = all.iter().map(|one| format!("{}:{}/{}", one.name, one.port, one.protocol)).collect();
        (routes, told.join(","))
    };
    match key.kind {
        Kind::GatewayClass => {
            (vec![store.class(&key.name).map(|one| one.controller.clone()).unwrap_or_default()], Vec::new())
        }
        Kind::Gateway => match store.gateway(key) {
            Some(one) => {
                let (routes, listeners) = listeners(&one.listeners);
                let address = one.addresses.first().cloned().unwrap_or_else(|| "-".to_owned());
                (vec![one.class.clone(), address, routes], vec![listeners])
            }
            None => Default::default(),
        },
        Kind::ListenerSet => match store.listener_set(key) {
            Some(one) => {
                let (routes, listeners) = listeners(&one.listeners);
                (vec![one.parent.to_string(), routes], vec![listeners])
            }
            None => Default::default(),
        },
        Kind::Service => {
            let ready = store.ready(&key.namespace, &key.name);
            let ready = ready.map_or_else(|| "-".to_owned(), |(ready, total)| format!("{ready}/{total}"));
            let ports = store.service(&key.namespace, &key.name).map(|one| {
                one.ports.iter().map(|port| format!("{}/{}", port.port, port.protocol)).collect::<Vec<_>>().join(",")
            });
            (vec![ready], vec![ports.unwrap_or_default()])
        }
        Kind::Secret => {
            let certificate =
                store.secret(&key.namespace, &key.name).and_then(|one| one.certificate.as_ref()?.as_ref().ok());
            let left = certificate.map_or_else(
                || "-".to_owned(),
                |one| one.days_left(now).map_or_else(|| "-".to_owned(), |days| days.to_string()),
            );
            (vec![left], vec![certificate.map(|one| one.names.join(",")).unwrap_or_default()])
        }
        kind if kind.is_route() => match store.route(key) {
            Some(route) => (vec![hosts(route), parents(route)], vec![backends(route)]),
            None => Default::default(),
        },
        kind if kind.is_policy() => {
            let targets = store.policy(key).map(|one| {
                one.targets
                    .iter()
                    .map(|target| format!("{}/{}", target.of.kind, target.of.name))
                    .collect::<Vec<_>>()
                    .join(",")
            });
            (vec![targets.unwrap_or_default()], Vec::new())
        }
        _ => Default::default(),
    }
}

pub(super) fn hosts(route: &Route) -> String {
    if route.hostnames.is_empty() { "*".to_owned() } else { route.hostnames.join(",") }
}

fn parents(route: &Route) -> String {
    let mut all: Vec<String> = route.parents.iter().map(crate::model::topology::Parent::label).collect();
    all.dedup();
    all.join(",")
}

fn backends(route: &Route) -> String {
    let of_rule = |rule: &crate::model::topology::Rule| {
        let all: Vec<_> =
            rule.backends.iter().map(|one| format!("{}:{} {}", one.name, one.port, percent(one.share))).collect();
        all.join(" + ")
    };
    let mut all: Vec<String> = route.rules.iter().map(of_rule).filter(|text| !text.is_empty()).collect();
    all.dedup();
    all.join(", ")
}
