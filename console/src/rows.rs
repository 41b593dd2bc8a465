//! Rows of the lists: sorted, filtered, in words and figures. Pure; any output can show them.

pub mod backends;
pub mod detail;
mod findings;
pub mod gateways;
pub mod objects;
pub mod routes;
mod timeline;
pub mod tree;

use std::{cmp::Reverse, time::Duration};

use jiff::Timestamp;

use crate::{
    model::{health::Verdict, store::Store},
    screen::{Lens, RowKey, Sort, State, Tab, Tone},
    traffic::{Rates, series::Traffic},
};

/// Enough of an object to sort and filter it by.
#[derive(Debug, Clone)]
pub struct Row {
    pub key: RowKey,
    pub verdict: Verdict,
    pub rps: f64,
    pub created: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    Text(String, Tone),
    Status(Verdict),
    Spark(Vec<f64>),
}

#[derive(Debug, Clone, Copy)]
pub struct Column {
    pub title: &'static str,
    pub width: u16,
    /// Takes what is left over.
    pub flex: bool,
    pub right: bool,
    /// The lowest numbers stay longest.
    pub priority: u8,
}

pub const fn column(title: &'static str, width: u16, priority: u8) -> Column {
    Column { title, width, flex: false, right: false, priority }
}

impl Column {
    const fn flex(mut self) -> Self {
        self.flex = true;
        self
    }

    const fn right(mut self) -> Self {
        self.right = true;
        self
    }
}

pub const fn columns(tab: Tab) -> &'static [Column] {
    match tab {
        Tab::Routes => routes::COLUMNS,
        Tab::Gateways => gateways::COLUMNS,
        Tab::Backends => backends::COLUMNS,
        Tab::Findings => findings::COLUMNS,
        Tab::Timeline => timeline::COLUMNS,
        Tab::Objects => objects::COLUMNS,
    }
}

/// The rows of the current tab, in order.
pub fn list(state: &State) -> Vec<Row> {
    let (store, traffic) = state.seen();
    let lens = &state.screen.lens;
    match state.screen.tab {
        Tab::Findings => sorted(findings::rows(&state.judged, lens), lens),
        // In the order of time, whatever the others are sorted by.
        Tab::Timeline => timeline::rows(&state.timeline, lens),
        Tab::Objects => sorted(objects::rows(state.screen.kind, store, lens), lens),
        tab => listed(tab, store, traffic, lens),
    }
}

/// Rows of what has traffic.
pub fn listed(tab: Tab, store: &Store, traffic: &Traffic, lens: &Lens) -> Vec<Row> {
    let rows = match tab {
        Tab::Routes => routes::rows(store, traffic, lens),
        Tab::Gateways => gateways::rows(store, traffic, lens),
        Tab::Backends => backends::rows(store, traffic, lens),
        Tab::Findings | Tab::Timeline | Tab::Objects => Vec::new(),
    };
    sorted(rows, lens)
}

fn sorted(mut rows: Vec<Row>, lens: &Lens) -> Vec<Row> {
    if lens.faults {
        rows.retain(|row| row.verdict.health.is_fault());
    }
    // Figures that jitter must not make rows dance: traffic sorts by its order of magnitude.
    let magnitude = |row: &Row| Reverse(if row.rps > 0.0 { (row.rps.log2().floor() as i64).max(0) + 1 } else { 0 });
    match lens.sort {
        Sort::Name => rows.sort_by(|a, b| a.key.cmp(&b.key)),
        Sort::Status => {
            rows.sort_by(|a, b| {
                (Reverse(a.verdict.health), magnitude(a), &a.key).cmp(&(
                    Reverse(b.verdict.health),
                    magnitude(b),
                    &b.key,
                ))
            });
        }
        Sort::Age => rows.sort_by(|a, b| (Reverse(a.created), &a.key).cmp(&(Reverse(b.created), &b.key))),
        Sort::Traffic => rows.sort_by(|a, b| (magnitude(a), &a.key).cmp(&(magnitude(b), &b.key))),
    }
    rows
}

pub fn cells(state: &State, row: &Row) -> Vec<Cell> {
    let (store, traffic) = state.seen();
    match state.screen.tab {
        Tab::Findings => findings::cells(row, &state.judged),
        Tab::Timeline => timeline::cells(row, &state.timeline),
        Tab::Objects => objects::cells(row, store, state.wall),
        tab => cells_of(tab, row, store, traffic),
    }
}

pub fn cells_of(tab: Tab, row: &Row, store: &Store, traffic: &Traffic) -> Vec<Cell> {
    match tab {
        Tab::Routes => routes::cells(row, store, traffic),
        Tab::Gateways => gateways::cells(row, store, traffic),
        Tab::Backends => backends::cells(row, store, traffic),
        Tab::Findings | Tab::Timeline | Tab::Objects => Vec::new(),
    }
}

/// Namespace and filter of the lens; `text` is what the filter looks at.
fn admitted(lens: &Lens, namespace: &str, text: impl FnOnce() -> String) -> bool {
    lens.namespace.as_deref().is_none_or(|wanted| wanted == namespace)
        && lens.filter.as_ref().is_none_or(|filter| filter.admits(&text()))
}

fn plain(text: impl Into<String>) -> Cell {
    Cell::Text(text.into(), Tone::Plain)
}

fn muted(text: impl Into<String>) -> Cell {
    Cell::Text(text.into(), Tone::Muted)
}

/// RPS, errors, p50 and p99; a dash for what is not known.
fn figures(rates: Option<Rates>) -> [Cell; 4] {
    [
        Cell::Text(rps(rates), if rates.is_some_and(|rates| rates.rps > 0.0) { Tone::Plain } else { Tone::Muted }),
        errors(rates),
        plain(latency(rates.and_then(|rates| rates.p50))),
        plain(latency(rates.and_then(|rates| rates.p99))),
    ]
}

pub fn rps(rates: Option<Rates>) -> String {
    match rates.map(|rates| rates.rps) {
        None => "-".to_owned(),
        Some(rps) if rps >= 100_000.0 => format!("{:.0}k", rps / 1000.0),
        Some(rps) if rps >= 10_000.0 => format!("{:.1}k", rps / 1000.0),
        Some(rps) if rps >= 100.0 => format!("{rps:.0}"),
        Some(rps) => format!("{rps:.1}"),
    }
}

pub fn errors(rates: Option<Rates>) -> Cell {
    match rates.and_then(|rates| rates.error_rate) {
        None => muted("-"),
        Some(rate) => {
            let tone = match rate {
                rate if rate >= 0.05 => Tone::Bad,
                rate if rate >= 0.01 => Tone::Warn,
                rate if rate > 0.0 => Tone::Plain,
                _ => Tone::Muted,
            };
            Cell::Text(percent(rate), tone)
        }
    }
}

/// A share, 0 to 1, in percent.
pub fn percent(share: f64) -> String {
    let percent = share * 100.0;
    match percent {
        _ if percent == 0.0 => "0%".to_owned(),
        _ if percent < 0.1 => "<0.1%".to_owned(),
        _ if percent < 10.0 && percent.fract() != 0.0 => format!("{percent:.1}%"),
        _ => format!("{percent:.0}%"),
    }
}

pub fn latency(duration: Option<Duration>) -> String {
    match duration.map(|duration| duration.as_secs_f64() * 1000.0) {
        None => "-".to_owned(),
        Some(ms) if ms < 10.0 => format!("{ms:.1}ms"),
        Some(ms) if ms < 1000.0 => format!("{ms:.0}ms"),
        Some(ms) => format!("{:.1}s", ms / 1000.0),
    }
}

pub fn age(seconds: i64) -> String {
    match seconds.max(0) {
        s if s < 120 => format!("{s}s"),
        s if s < 7200 => format!("{}m", s / 60),
        s if s < 172_800 => format!("{}h", s / 3600),
        s => format!("{}d", s / 86400),
    }
}
