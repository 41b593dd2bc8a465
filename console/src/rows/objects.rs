//! Objects of any kind: what can be said of it in a line.

use jiff::Timestamp;

use super::{Cell, Column, Row, admitted, age, column, muted, percent, plain, routes};
use crate::{
    model::{
        health::{Health, Verdict},
        key::{Kind, ObjectKey},
        store::Store,
        topology::{Listener, Parent, Route, Rule},
    },
    screen::{Lens, RowKey},
};

pub(super) const COLUMNS: &[Column] = &[
    column("STATUS", 23, 0),
    column("NAMESPACE", 14, 3),
    column("NAME", 14, 0).flex(),
    column("ABOUT", 20, 1).flex(),
    column("AGE", 5, 2).right(),
];

pub(super) fn rows(kind: Kind, store: &Store, lens: &Lens) -> Vec<Row> {
    let all = store.of_kind(kind).map(|(key, object)| (key, object, verdict(key, store)));
    all.filter(|(key, _, verdict)| {
        let said = || verdict.as_ref().map(|one| format!("{} {}", one.health.word(), one.reason)).unwrap_or_default();
        let everywhere = Lens { namespace: None, ..lens.clone() };
        let lens = if key.namespace.is_empty() { &everywhere } else { lens };
        admitted(lens, &key.namespace, || format!("{key} {}", said()))
    })
    .map(|(key, object, verdict)| Row {
        key: RowKey::Object(key.clone()),
        verdict: verdict.unwrap_or_else(|| Verdict::new(Health::Ok, "-")),
        rps: 0.0,
        created: object.created(),
    })
    .collect()
}

pub(super) fn cells(row: &Row, store: &Store, now: Timestamp) -> Vec<Cell> {
    let key = row.key.object();
    let (own, more) = facts_of(key, store, now);
    let about: Vec<String> = own.into_iter().chain(more).filter(|fact| !fact.is_empty()).collect();
    let status = if row.verdict.reason == "-" { muted("-") } else { Cell::Status(row.verdict.clone()) };
    let since = row.created.map_or_else(|| "-".to_owned(), |since| age((now - since).get_seconds()));
    vec![status, muted(&key.namespace), plain(&key.name), muted(about.join("  ")), muted(since)]
}

/// None for kinds that nobody gives a status.
pub fn verdict(key: &ObjectKey, store: &Store) -> Option<Verdict> {
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

/// What is told of a kind: always, and where there is room.
pub fn facts(kind: Kind) -> (&'static [&'static str], &'static [&'static str]) {
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

pub fn facts_of(key: &ObjectKey, store: &Store, now: Timestamp) -> (Vec<String>, Vec<String>) {
    let listeners = |all: &[Listener]| {
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

pub fn hosts(route: &Route) -> String {
    if route.hostnames.is_empty() { "*".to_owned() } else { route.hostnames.join(",") }
}

fn parents(route: &Route) -> String {
    let mut all: Vec<String> = route.parents.iter().map(Parent::label).collect();
    all.dedup();
    all.join(",")
}

fn backends(route: &Route) -> String {
    let of_rule = |rule: &Rule| {
        let all: Vec<_> =
            rule.backends.iter().map(|one| format!("{}:{} {}", one.name, one.port, percent(one.share))).collect();
        all.join(" + ")
    };
    let mut all: Vec<String> = route.rules.iter().map(of_rule).filter(|text| !text.is_empty()).collect();
    all.dedup();
    all.join(", ")
}
