//! What was measured, as tables. Absolute times of a machine that others use too mean little:
//! what counts is the ratio of two proxies within one round.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::client::Measured;

/// A ratio of fewer rounds is not printed.
pub const ROUNDS_LEAST: usize = 5;

/// The rounds of one proxy at one workload.
pub struct Column {
    pub name: String,
    pub rounds: Vec<Measured>,
    pub rss: u64,
    /// Why there is nothing.
    pub missing: Option<String>,
}

pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => sorted[odd / 2],
        even => f64::midpoint(sorted[even / 2 - 1], sorted[even / 2]),
    }
}

fn spread(values: &[f64]) -> (f64, f64) {
    values.iter().fold((f64::INFINITY, 0.0), |(low, high), value| (value.min(low), value.max(high)))
}

impl Column {
    fn of(&self, figure: impl Fn(&Measured) -> f64) -> Vec<f64> {
        self.rounds.iter().map(figure).collect()
    }

    /// Why these are no figures: a comparison with what was not served says nothing.
    pub fn unserved(&self) -> Option<String> {
        let failed: u64 = self.rounds.iter().map(|round| round.failed).sum();
        let empty = self.rounds.iter().any(|round| round.requests == 0);
        match &self.missing {
            Some(why) => Some(why.clone()),
            None if failed > 0 => Some(format!("failed {failed} clients")),
            None => empty.then(|| "answered nothing in a round".to_owned()),
        }
    }

    /// The first one's figure over this one's, round by round.
    fn ratios(&self, own: &Self, figure: impl Fn(&Measured) -> f64) -> Vec<f64> {
        own.rounds.iter().zip(&self.rounds).map(|(own, other)| figure(own) / figure(other)).collect()
    }
}

fn cpu(measured: &Measured) -> f64 {
    measured.cpu_micros()
}

fn p99(measured: &Measured) -> f64 {
    measured.percentile(0.99)
}

/// One workload as a table in Markdown; the first column is what the others are compared with.
/// With `paced` all were offered the same load, and only then latencies are compared.
pub fn table(columns: &[Column], paced: bool) -> String {
    let Some(own) = columns.first() else { return String::new() };
    let mut text = String::from(
        "| proxy | requests | CPU us/request | p50 us | p99 us | p99.9 us | RSS MB | first's CPU / this one's | spread |",
    );
    text.push_str(if paced { " first's p99 / this one's | spread |\n" } else { "\n" });
    text.push_str(if paced { "|-|-|-|-|-|-|-|-|-|-|-|\n" } else { "|-|-|-|-|-|-|-|-|-|\n" });
    for column in columns {
        if let Some(why) = &column.missing {
            let _ = writeln!(text, "| {} | {why} |", column.name);
            continue;
        }
        let at = |share: f64| median(&column.of(|measured| measured.percentile(share)));
        let requests: u64 = column.rounds.iter().map(|round| round.requests).sum();
        let failed: u64 = column.rounds.iter().map(|round| round.failed).sum();
        let failed = if failed > 0 { format!(" ({failed} clients FAILED)") } else { String::new() };
        let _ = write!(
            text,
            "| {} | {requests}{failed} | {:.1} | {:.0} | {:.0} | {:.0} | {:.1} |",
            column.name,
            median(&column.of(cpu)),
            at(0.5),
            at(0.99),
            at(0.999),
            column.rss as f64 / 1e6,
        );
        let figures: &[fn(&Measured) -> f64] = if paced { &[cpu, p99] } else { &[cpu] };
        for figure in figures {
            let ratios = column.ratios(own, figure);
            if std::ptr::eq(column, own) {
                text.push_str(" 1 | |");
            } else if ratios.len() < ROUNDS_LEAST {
                text.push_str(" fewer than 5 rounds | |");
            } else {
                let (low, high) = spread(&ratios);
                let _ = write!(text, " **{:.2}** | {low:.2} - {high:.2} |", median(&ratios));
            }
        }
        text.push('\n');
    }
    text
}

/// The ratios one by one, for who wants to see what the median hides.
pub fn rounds(columns: &[Column]) -> String {
    let Some(own) = columns.first().filter(|own| own.rounds.len() >= ROUNDS_LEAST) else { return String::new() };
    let mut text = String::new();
    for column in columns.iter().skip(1).filter(|column| column.missing.is_none()) {
        let ratios: Vec<String> = column.ratios(own, cpu).iter().map(|ratio| format!("{ratio:.2}")).collect();
        let _ = writeln!(text, "CPU ratio to {}, round by round: {}", column.name, ratios.join(" "));
    }
    text
}

/// The same for programs.
pub fn json(workload: &str, columns: &[Column]) -> Value {
    let proxies: Vec<Value> = columns
        .iter()
        .map(|column| {
            json!({
                "name": column.name, "missing": column.missing, "rss": column.rss,
                "rounds": column.rounds.iter().map(|round| json!({
                    "requests": round.requests, "failed": round.failed, "cpu_us": round.cpu_micros(),
                    "seconds": round.wall.as_secs_f64(), "p50_us": round.percentile(0.5),
                    "p99_us": round.percentile(0.99), "p999_us": round.percentile(0.999),
                })).collect::<Vec<_>>(),
            })
        })
        .collect();
    json!({"workload": workload, "proxies": proxies})
}
