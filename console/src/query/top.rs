//! `gwtop top`: traffic by route, backend or Gateway, busiest first.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{Output, Scope, print as out, yaml};
use crate::{
    cluster::{connect::Connection, snapshot},
    exit::Exit,
    model::key::Kind,
    print,
    rows::{self, Cell},
    screen::{Lens, RowKey, Sort, Tab},
    traffic::{scrape, series::Traffic},
};

const SCRAPE: Duration = Duration::from_secs(1);
/// Rates need two looks at the counters.
const LOOKS: Duration = Duration::from_millis(3200);
const REPEAT: Duration = Duration::from_secs(2);

pub async fn run(connection: &Connection, urls: Vec<String>, tab: Tab, scope: &Scope, output: Output) -> Exit {
    let cancel = CancellationToken::new();
    let _cancelled_with_us = cancel.clone().drop_guard();
    let mut scrapes = scrape::follow(connection, urls, SCRAPE, cancel);
    let mut traffic = Traffic::default();
    let mut due = Instant::now() + LOOKS;
    loop {
        while let Ok(Some(scrape)) = tokio::time::timeout_at(due.into(), scrapes.recv()).await {
            traffic.apply(scrape);
        }
        let store = snapshot::take(connection, &Kind::ALL).await;
        if let Err(refusal) = super::usable(&store, connection) {
            return super::refuse(&refusal);
        }
        let lens = Lens { namespace: scope.namespace.clone(), sort: Sort::Traffic, ..Lens::default() };
        let listed = rows::listed(tab, &store, &traffic, &lens);
        let nothing = traffic.age(Instant::now()).is_none();
        if nothing && !scope.watch {
            let why = traffic.problem().unwrap_or("no proxy here names its metrics: give --metrics-url").to_owned();
            eprintln!("gwtop: no metrics were read: {why}");
        }
        let columns = rows::columns(tab);
        let table: Vec<Vec<String>> = listed
            .iter()
            .map(|row| rows::cells_of(tab, row, &store, &traffic).iter().filter_map(text).collect())
            .collect();
        let titles: Vec<&str> = columns.iter().map(|column| column.title).filter(|title| *title != "TRAFFIC").collect();
        let objects = || -> Vec<Value> { listed.iter().map(|row| figures(&row.key, &traffic)).collect() };
        let document = || json!({"schema": "gwtop.dev/top/v1", "context": connection.context, "items": objects()});
        out(&match output {
            Output::Json => super::json(&document()),
            Output::Yaml => yaml(&document()),
            Output::Jsonl => objects().iter().map(|object| format!("{object}\n")).collect(),
            Output::Name => listed
                .iter()
                .map(|row| match &row.key {
                    RowKey::Object(key) | RowKey::Finding(_, key) | RowKey::Moment(_, key) => {
                        super::reference(key) + "\n"
                    }
                    RowKey::Arm(arm) => format!("service/{}\n", arm.backend),
                })
                .collect(),
            Output::Text | Output::Wide => print::table(&titles, &table),
        });
        if !scope.watch {
            return if nothing { Exit::Unreachable } else { Exit::Ok };
        }
        due = Instant::now() + REPEAT;
    }
}

/// What is known in figures; nothing stands for what is not.
fn figures(key: &RowKey, traffic: &Traffic) -> Value {
    let (mut value, rates) = match key {
        RowKey::Object(key) => {
            let rates = if key.kind == Kind::Gateway { traffic.gateway(key) } else { traffic.route(key) };
            (json!({"kind": key.kind.name(), "namespace": key.namespace, "name": key.name}), rates)
        }
        RowKey::Finding(..) | RowKey::Moment(..) => (json!({}), None),
        RowKey::Arm(arm) => (
            json!({"kind": "Service", "namespace": arm.backend_namespace, "name": arm.backend, "port": arm.backend_port,
                "route": arm.route.to_string(), "rule": arm.rule}),
            traffic.arm(arm),
        ),
    };
    if let Some(rates) = rates {
        value["requestsPerSecond"] = json!(rates.rps);
        value["errorRate"] = json!(rates.error_rate);
        value["p50Seconds"] = json!(rates.p50.map(|one| one.as_secs_f64()));
        value["p99Seconds"] = json!(rates.p99.map(|one| one.as_secs_f64()));
    }
    value
}

fn text(cell: &Cell) -> Option<String> {
    match cell {
        Cell::Text(text, _) => Some(if text.is_empty() { "-".to_owned() } else { text.clone() }),
        Cell::Status(verdict) => Some(super::get::health(Some(verdict))),
        Cell::Spark(_) => None,
    }
}
