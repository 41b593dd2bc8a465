//! Gateways with their listeners and traffic.

use super::{Cell, Column, Row, admitted, column, figures, muted, plain};
use crate::{
    model::store::Store,
    screen::{Lens, RowKey},
    traffic::series::Traffic,
};

pub(super) const COLUMNS: &[Column] = &[
    column("STATUS", 23, 0),
    column("NAMESPACE", 14, 3),
    column("GATEWAY", 14, 0).flex(),
    column("CLASS", 10, 6),
    column("ADDRESS", 15, 4),
    column("LISTENERS", 16, 5).flex(),
    column("ROUTES", 6, 2).right(),
    column("RPS", 7, 1).right(),
    column("ERR", 6, 1).right(),
    column("P50", 7, 7).right(),
    column("P99", 7, 2).right(),
    column("TRAFFIC", 12, 8),
];

pub(super) fn rows(store: &Store, traffic: &Traffic, lens: &Lens) -> Vec<Row> {
    store
        .gateways()
        .map(|gateway| (gateway, gateway.verdict()))
        .filter(|(gateway, verdict)| {
            admitted(lens, &gateway.key.namespace, || {
                format!("{} {} {} {}", gateway.key, gateway.class, verdict.health.word(), verdict.reason)
            })
        })
        .map(|(gateway, verdict)| Row {
            key: RowKey::Object(gateway.key.clone()),
            verdict,
            rps: traffic.gateway(&gateway.key).map_or(0.0, |rates| rates.rps),
            created: gateway.created,
        })
        .collect()
}

pub(super) fn cells(row: &Row, store: &Store, traffic: &Traffic) -> Vec<Cell> {
    let key = row.key.object();
    let Some(gateway) = store.gateway(key) else { return Vec::new() };
    let attached: Vec<u64> = gateway.listeners.iter().filter_map(|listener| listener.attached).collect();
    let attached = if attached.is_empty() { "-".to_owned() } else { attached.iter().sum::<u64>().to_string() };
    let listeners: Vec<_> =
        gateway.listeners.iter().map(|listener| format!("{}:{}", listener.name, listener.port)).collect();
    let address = gateway.addresses.first().map_or("-", String::as_str);
    let mut cells = vec![
        Cell::Status(row.verdict.clone()),
        muted(&key.namespace),
        plain(&key.name),
        muted(&gateway.class),
        plain(address),
        muted(listeners.join(" ")),
        plain(attached),
    ];
    cells.extend(figures(traffic.gateway(key)));
    cells.push(Cell::Spark(traffic.history(key)));
    cells
}
