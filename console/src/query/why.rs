//! `gwtop why`: from an object to the first hop that is broken, with evidence and fix.

use jiff::Timestamp;
use serde_json::json;

use super::{Answer, Findings, Made, exported, yaml};
use crate::{
    exit::Exit,
    finding::{Finding, Object, Report, Severity, human},
    model::{
        key::{Kind, ObjectKey},
        store::Store,
    },
    triage::{Triage, chain::Chain},
};

const SCHEMA: &str = "gwtop.dev/why/v1";

pub fn answer(store: &Store, now: Timestamp, words: &[String], namespace: &str, output: Findings) -> Made {
    let key = super::find(store, words, namespace)?;
    let triage = Triage::new(store, Some(now));
    let chain = triage.why(&key);
    let findings = match &chain {
        Some(chain) => chain.findings.clone(),
        None => concerning(&triage.all(), &key, store),
    };
    let report = Report { findings, checks: Vec::new() };
    let broken = report.count(Severity::Error) > 0 || chain.as_ref().is_some_and(|chain| chain.broken.is_some());
    let exit = if broken { Exit::ProblemsFound } else { Exit::Ok };
    if let Some(text) = exported(&report, output, "gwtop why") {
        return Ok(Answer::new(text, exit));
    }
    let document = || {
        let mut all =
            json!({"schema": SCHEMA, "object": Object::from(&key), "healthy": !broken, "findings": report.findings});
        if let Some(chain) = &chain {
            all["hostnames"] = json!(chain.hostnames);
            all["hops"] = json!(chain.hops);
            all["broken"] = json!(chain.broken);
        }
        all
    };
    let text = match output {
        Findings::Json => super::json(&document()),
        Findings::Yaml => yaml(&document()),
        Findings::Jsonl => match &chain {
            Some(chain) => chain.hops.iter().map(|hop| format!("{}\n", json!(hop))).collect(),
            None => report.findings.iter().map(|one| format!("{}\n", json!(one))).collect(),
        },
        Findings::Name => report.findings.iter().map(|one| format!("{} {}\n", one.id, one.object)).collect(),
        _ => match &chain {
            Some(chain) => told(chain, output == Findings::Wide),
            None => alone(&key, &report),
        },
    };
    Ok(Answer::new(text, exit))
}

/// What was found of the object itself, and for a Gateway of its class and ListenerSets.
fn concerning(report: &Report, key: &ObjectKey, store: &Store) -> Vec<Finding> {
    let mut own = vec![Object::from(key)];
    if let Some(gateway) = store.gateway(key) {
        own.push(Object::from(&ObjectKey::new(Kind::GatewayClass, "", &gateway.class)));
        own.extend(store.listener_sets().filter(|set| set.parent == *key).map(|set| Object::from(&set.key)));
    }
    report.findings.iter().filter(|one| own.contains(&one.object)).cloned().collect()
}

fn alone(key: &ObjectKey, report: &Report) -> String {
    let mut text = format!("{}\n", Object::from(key));
    if report.findings.is_empty() {
        return text + "✓ nothing is wrong with it\n";
    }
    text.push('\n');
    text + &findings(report.findings.iter())
}

/// The way as far as it matters: all hops where `wide`, else the broken ones among their kind.
pub fn told(chain: &Chain, wide: bool) -> String {
    let hosts = if chain.hostnames.is_empty() { "every host".to_owned() } else { chain.hostnames.join(" ") };
    let mut text = format!("{}  {hosts}\n", chain.route);
    text += &match chain.broken.map(|at| &chain.hops[at]) {
        Some(hop) => format!("✗ broken at its {}: {}\n\n", hop.step.word(), hop.says),
        None if chain.findings.is_empty() => "✓ requests can reach its backends\n\n".to_owned(),
        None => format!("✓ requests can reach its backends; {} things to know\n\n", chain.findings.len()),
    };
    let width = chain.hops.iter().map(|hop| hop.subject.chars().count()).max().unwrap_or_default().min(48);
    for (at, hop) in chain.hops.iter().enumerate() {
        let mark = if chain.broken == Some(at) { "→" } else { " " };
        let id = hop.id.map(|id| format!("  [{id}]")).unwrap_or_default();
        text += &format!(
            "{mark} {} {:<10}  {:<width$}  {}{id}\n",
            hop.standing.glyph(),
            hop.step.word(),
            hop.subject,
            hop.says
        );
    }
    let shown = chain.findings.iter().filter(|one| wide || one.severity > Severity::Info);
    let rest = findings(shown);
    if !rest.is_empty() {
        text.push('\n');
        text += &rest;
    }
    text
}

fn findings<'a>(all: impl Iterator<Item = &'a Finding>) -> String {
    all.map(|one| format!("{}    more  {}\n", human::finding(one), one.docs())).collect::<Vec<_>>().join("\n")
}
