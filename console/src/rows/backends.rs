//! Backends of all rules: declared weight beside the observed share, endpoints, traffic.

use super::{Cell, Column, Row, admitted, column, figures, muted, percent, plain, routes};
use crate::{
    model::{
        health::{Health, Verdict},
        store::Store,
        topology::Backend,
    },
    screen::{Lens, RowKey, Tone},
    traffic::{Arm, series::Traffic},
};

pub(super) const COLUMNS: &[Column] = &[
    column("STATUS", 20, 0),
    column("NAMESPACE", 12, 5),
    column("BACKEND", 14, 0).flex(),
    column("ROUTE", 14, 3).flex(),
    column("RULE", 4, 6).right(),
    column("WEIGHT", 6, 1).right(),
    column("SHARE", 6, 1).right(),
    column("READY", 6, 4).right(),
    column("RPS", 7, 1).right(),
    column("ERR", 6, 2).right(),
    column("P50", 7, 7).right(),
    column("P99", 7, 2).right(),
    column("TRAFFIC", 12, 8),
];

pub fn verdict(backend: &Backend, store: &Store) -> Verdict {
    if backend.kind != "Service" {
        return Verdict::new(Health::Unknown, &backend.kind);
    }
    match store.ready(&backend.namespace, &backend.name) {
        None => Verdict::new(Health::Unknown, "Endpoints"),
        Some((0, _)) => Verdict::new(Health::Broken, "NoEndpoints"),
        Some((ready, total)) if ready < total => Verdict::new(Health::Degraded, "NotAllReady"),
        Some(_) => Verdict::new(Health::Ok, ""),
    }
}

pub(super) fn rows(store: &Store, traffic: &Traffic, lens: &Lens) -> Vec<Row> {
    let mut rows = Vec::new();
    for route in store.routes() {
        for (index, rule) in route.rules.iter().enumerate() {
            for (position, backend) in rule.backends.iter().enumerate() {
                let verdict = verdict(backend, store);
                let text = || format!("{}/{} {} {}", backend.namespace, backend.name, route.key, verdict.reason);
                let Some(arm) = routes::arm(route, index, position) else { continue };
                if admitted(lens, &backend.namespace, text) {
                    let rps = traffic.arm(&arm).map_or(0.0, |rates| rates.rps);
                    rows.push(Row { key: RowKey::Arm(arm), verdict, rps, created: route.created });
                }
            }
        }
    }
    rows
}

pub(super) fn cells(row: &Row, store: &Store, traffic: &Traffic) -> Vec<Cell> {
    let RowKey::Arm(arm) = &row.key else { return Vec::new() };
    let Some(route) = store.route(&arm.route) else { return Vec::new() };
    let same = |backend: &Backend| {
        (&backend.namespace, &backend.name, backend.port) == (&arm.backend_namespace, &arm.backend, arm.backend_port)
    };
    let rule = route.rules.get(arm.rule);
    let Some(position) = rule.and_then(|rule| rule.backends.iter().position(same)) else { return Vec::new() };
    let declared = rule.and_then(|rule| rule.backends.get(position)).map_or(0.0, |backend| backend.share);
    let mut cells = vec![
        Cell::Status(row.verdict.clone()),
        muted(&arm.backend_namespace),
        plain(service(arm)),
        muted(arm.route.to_string()),
        muted(arm.rule.to_string()),
        plain(percent(declared)),
        share(declared, routes::observed(route, arm.rule, position, traffic)),
        ready(store, arm),
    ];
    cells.extend(figures(traffic.arm(arm)));
    cells.push(Cell::Spark(traffic.arm_history(arm)));
    cells
}

fn service(arm: &Arm) -> String {
    format!("{}:{}", arm.backend, arm.backend_port)
}

/// The observed share, marked where it is far from the declared one.
pub fn share(declared: f64, observed: Option<f64>) -> Cell {
    match observed {
        None => muted("-"),
        Some(share) if (share - declared).abs() > 0.1 => Cell::Text(percent(share), Tone::Warn),
        Some(share) => plain(percent(share)),
    }
}

fn ready(store: &Store, arm: &Arm) -> Cell {
    match store.ready(&arm.backend_namespace, &arm.backend) {
        None => muted("-"),
        Some((ready, total)) => {
            let tone = if ready == 0 {
                Tone::Bad
            } else if ready < total {
                Tone::Warn
            } else {
                Tone::Plain
            };
            Cell::Text(format!("{ready}/{total}"), tone)
        }
    }
}
