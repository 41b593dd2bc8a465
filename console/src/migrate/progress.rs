//! How far a fleet of Ingresses has come. Pure: read from what a cluster says now.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;

use crate::check::{
    Options, ingresses,
    seen::{GATEWAY, INGRESS, Item, Seen, list, text},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// No route has some of its hosts.
    Waiting,
    /// Routes have its hosts, and are not served yet.
    Deployed,
    /// Ingress and routes both serve.
    Both,
    /// Names point to the Gateways alone.
    Shifted,
    /// Seen before, and no longer there.
    Deleted,
}

impl Phase {
    pub const ALL: [Self; 5] = [Self::Waiting, Self::Deployed, Self::Both, Self::Shifted, Self::Deleted];

    pub const fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Deployed => "deployed",
            Self::Both => "both",
            Self::Shifted => "shifted",
            Self::Deleted => "deleted",
        }
    }

    pub const fn glyph(self) -> &'static str {
        match self {
            Self::Waiting => "·",
            Self::Deployed => "◔",
            Self::Both => "◑",
            Self::Shifted => "◕",
            Self::Deleted => "●",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    pub ingress: String,
    pub phase: Phase,
    /// What keeps it from the next phase.
    pub next: String,
}

/// One row for each Ingress that is moved, and for those of `before` that are gone.
pub fn rows(seen: &Seen, options: &Options, before: &BTreeSet<String>) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut there = BTreeSet::new();
    for ingress in
        seen.of(INGRESS).iter().filter(|one| seen.wanted(one.namespace()) && ingresses::migrated(seen, options, one))
    {
        // A solver comes and goes by itself.
        if ingress.label(ingresses::SOLVER).is_some() {
            continue;
        }
        let name = format!("{}/{}", ingress.namespace(), ingress.name());
        let (phase, next) = phase(seen, ingress);
        there.insert(name.clone());
        rows.push(Row { ingress: name, phase, next });
    }
    let gone = before.iter().filter(|name| !there.contains(*name));
    rows.extend(gone.map(|name| Row { ingress: name.clone(), phase: Phase::Deleted, next: String::new() }));
    rows.sort_by(|a, b| (a.phase, &a.ingress).cmp(&(b.phase, &b.ingress)));
    rows
}

fn phase(seen: &Seen, ingress: &Item) -> (Phase, String) {
    let hosts = ingresses::hosts(ingress);
    if hosts.is_empty() {
        return (Phase::Waiting, "it has no host: only you know what serves its requests".to_owned());
    }
    let all: BTreeSet<String> = crate::check::routes::hosts(seen);
    if let Some(host) = hosts.iter().find(|host| !ingresses::served(host, &all)) {
        return (Phase::Waiting, format!("no route has {host}"));
    }
    let live = accepted_hosts(seen);
    if let Some(host) = hosts.iter().find(|host| !ingresses::served(host, &live)) {
        return (Phase::Deployed, format!("no programmed Gateway has accepted a route of {host}"));
    }
    let addresses: BTreeSet<&str> = seen
        .of(GATEWAY)
        .iter()
        .flat_map(|gateway| gateway.list("/status/addresses"))
        .map(|one| text(one, "value"))
        .collect();
    for host in hosts.iter().filter(|host| !host.starts_with('*')) {
        match seen.names.get(host) {
            Some(Ok(points)) if points.iter().all(|one| addresses.contains(one.as_str())) => {}
            Some(Ok(points)) => {
                let points: Vec<_> = points.iter().map(String::as_str).collect();
                return (Phase::Both, format!("{host} points to {}", points.join(", ")));
            }
            Some(Err(why)) => return (Phase::Both, format!("{host} cannot be resolved: {why}")),
            None => return (Phase::Both, format!("where {host} points was not asked")),
        }
    }
    (Phase::Shifted, "delete the Ingress when its traffic is gone".to_owned())
}

/// Hosts of routes that a programmed Gateway has accepted with all references.
fn accepted_hosts(seen: &Seen) -> BTreeSet<String> {
    let holds = |holder: &Value, wanted: &str| {
        list(holder, "/conditions").iter().any(|one| text(one, "type") == wanted && text(one, "status") == "True")
    };
    let mut all = BTreeSet::new();
    for route in seen.routes() {
        let served = route.list("/status/parents").iter().any(|parent| {
            let reference = &parent["parentRef"];
            let namespace = reference.get("namespace").and_then(Value::as_str).unwrap_or_else(|| route.namespace());
            let programmed = match reference.get("kind").and_then(Value::as_str) {
                None | Some("Gateway") => seen
                    .get(GATEWAY, namespace, text(reference, "name"))
                    .is_some_and(|gateway| holds(&gateway.value["status"], "Programmed")),
                // The Gateway of a ListenerSet speaks through its own status.
                Some(_) => true,
            };
            programmed && holds(parent, "Accepted") && holds(parent, "ResolvedRefs")
        });
        if served {
            all.extend(route.list("/spec/hostnames").iter().filter_map(Value::as_str).map(str::to_ascii_lowercase));
        }
    }
    all
}

/// How many are in each phase, as a bar and as words.
pub fn summary(rows: &[Row]) -> String {
    let count = |phase| rows.iter().filter(|row| row.phase == phase).count();
    let words: Vec<String> = Phase::ALL.into_iter().map(|phase| format!("{} {}", count(phase), phase.word())).collect();
    let done = count(Phase::Shifted) + count(Phase::Deleted);
    let width = 30;
    let full = if rows.is_empty() { width } else { done * width / rows.len() };
    format!("[{}{}] {done} of {} moved: {}", "█".repeat(full), "░".repeat(width - full), rows.len(), words.join(", "))
}

pub fn table(rows: &[Row]) -> String {
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| vec![format!("{} {}", row.phase.glyph(), row.phase.word()), row.ingress.clone(), row.next.clone()])
        .collect();
    format!("{}{}\n", crate::print::table(&["PHASE", "INGRESS", "NEXT"], &cells), summary(rows))
}
