//! HTTPRoutes: health first, then where they hang, their split and their traffic.

use super::{Cell, Column, Row, admitted, column, figures, muted, plain};
use crate::{
    model::{
        health::{Health, Verdict},
        store::Store,
        topology::Route,
    },
    screen::{Lens, RowKey},
    traffic::{Arm, series::Traffic},
};

pub(super) const COLUMNS: &[Column] = &[
    column("STATUS", 23, 0),
    column("NAMESPACE", 12, 3),
    column("ROUTE", 14, 0).flex(),
    column("HOSTNAMES", 18, 6).flex(),
    column("GATEWAY", 14, 7),
    column("SPLIT", 14, 5),
    column("RPS", 7, 1).right(),
    column("ERR", 6, 1).right(),
    column("P50", 7, 4).right(),
    column("P99", 7, 2).right(),
    column("TRAFFIC", 12, 8),
];

/// What the conditions say, and that a backend in use has nobody behind it.
pub fn verdict(route: &Route, store: &Store) -> Verdict {
    let said = route.verdict();
    let empty = route.rules.iter().flat_map(|rule| &rule.backends).any(|backend| {
        backend.kind == "Service"
            && backend.weight > 0
            && store.ready(&backend.namespace, &backend.name).is_some_and(|(ready, _)| ready == 0)
    });
    if empty { said.worse(Verdict::new(Health::Degraded, "NoReadyEndpoints")) } else { said }
}

pub(super) fn rows(store: &Store, traffic: &Traffic, lens: &Lens) -> Vec<Row> {
    let admitted = |route: &&std::sync::Arc<Route>| {
        admitted(lens, &route.key.namespace, || {
            let verdict = verdict(route, store);
            format!("{} {} {} {}", route.key, route.hostnames.join(" "), verdict.health.word(), verdict.reason)
        })
    };
    store
        .routes()
        .filter(admitted)
        .map(|route| Row {
            key: RowKey::Object(route.key.clone()),
            verdict: verdict(route, store),
            rps: traffic.route(&route.key).map_or(0.0, |rates| rates.rps),
            created: route.created,
        })
        .collect()
}

pub(super) fn cells(row: &Row, store: &Store, traffic: &Traffic) -> Vec<Cell> {
    let key = row.key.object();
    let Some(route) = store.route(key) else { return Vec::new() };
    let mut cells = vec![
        Cell::Status(row.verdict.clone()),
        muted(&key.namespace),
        plain(&key.name),
        muted(if route.hostnames.is_empty() { "*".to_owned() } else { route.hostnames.join(" ") }),
        muted(gateways(route)),
        plain(split(route)),
    ];
    cells.extend(figures(traffic.route(key)));
    cells.push(Cell::Spark(traffic.history(key)));
    cells
}

fn gateways(route: &Route) -> String {
    let mut names: Vec<&str> = route.parents.iter().map(|parent| parent.name.as_str()).collect();
    names.dedup();
    names.join(" ")
}

/// Declared shares of the first rule that has several backends.
fn split(route: &Route) -> String {
    let several = route.rules.iter().find(|rule| rule.backends.len() > 1);
    several.map_or_else(String::new, |rule| {
        rule.backends.iter().map(|backend| format!("{:.0}", backend.share * 100.0)).collect::<Vec<_>>().join("/")
    })
}

/// The metrics' name of a backend of a rule.
pub fn arm(route: &Route, rule: usize, backend: usize) -> Option<Arm> {
    let of = route.rules.get(rule)?.backends.get(backend)?;
    Some(Arm {
        route: route.key.clone(),
        rule,
        backend_namespace: of.namespace.clone(),
        backend: of.name.clone(),
        backend_port: of.port,
    })
}

/// Part of the rule's requests that the backend really takes, 0 to 1.
pub fn observed(route: &Route, rule: usize, backend: usize, traffic: &Traffic) -> Option<f64> {
    let rps = |index| Some(arm(route, rule, index).and_then(|arm| traffic.arm(&arm))?.rps);
    let total: f64 = (0..route.rules.get(rule)?.backends.len()).filter_map(rps).sum();
    if total > 0.0 { Some(rps(backend).unwrap_or(0.0) / total) } else { None }
}
