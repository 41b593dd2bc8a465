//! `gwtop status`: one screen of what is wrong, for people and pipelines.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use super::{Answer, Findings, Made, Scope, exported, reference, yaml};
use crate::{
    exit::Exit,
    finding::{Finding, Object, Report, Severity},
    model::{
        health::{Condition, Health, Verdict},
        key::{Kind, ObjectKey},
        store::Store,
    },
    print,
    rows::routes,
    triage::triage,
};

const SCHEMA: &str = "gwtop.dev/status/v1";

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Line {
    kind: &'static str,
    namespace: String,
    name: String,
    healthy: bool,
    reason: String,
    /// The rule that found the reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    finding: Option<&'static str>,
}

/// Only these objects, where labels were asked for.
pub type Chosen = Option<BTreeSet<ObjectKey>>;

pub fn answer(store: &Store, now: Timestamp, scope: &Scope, chosen: &Chosen, output: Findings, context: &str) -> Made {
    let mut report = triage(store, Some(now));
    let admitted =
        |key: &ObjectKey| scope.admits(&key.namespace) && chosen.as_ref().is_none_or(|chosen| chosen.contains(key));
    let mut keys: Vec<ObjectKey> = store.gateways().map(|one| one.key.clone()).collect();
    keys.extend(store.listener_sets().map(|one| one.key.clone()));
    keys.extend(store.routes().map(|one| one.key.clone()));
    keys.retain(admitted);
    let own: BTreeSet<Object> = keys.iter().map(Object::from).collect();
    report
        .findings
        .retain(|one| own.contains(&one.object) || (chosen.is_none() && scope.admits(&one.object.namespace)));
    let mut lines: Vec<(Line, &ObjectKey)> = keys.iter().map(|key| (line(key, store, &report), key)).collect();
    // Problems first.
    lines.sort_by(|(a, _), (b, _)| {
        (a.healthy, a.kind, &a.namespace, &a.name).cmp(&(b.healthy, b.kind, &b.namespace, &b.name))
    });
    let healthy = lines.iter().all(|(line, _)| line.healthy) && report.count(Severity::Error) == 0;
    let exit = if healthy { Exit::Ok } else { Exit::ProblemsFound };
    if let Some(text) = exported(&report, output, "gwtop status") {
        return Ok(Answer::new(text, exit));
    }
    let document = || {
        let items: Vec<&Line> = lines.iter().map(|(line, _)| line).collect();
        json!({"schema": SCHEMA, "context": context, "healthy": healthy, "items": items, "findings": report.findings})
    };
    let text = match output {
        Findings::Json => super::json(&document()),
        Findings::Yaml => yaml(&document()),
        Findings::Jsonl => lines.iter().map(|(line, _)| format!("{}\n", json!(line))).collect(),
        Findings::Name => {
            lines.iter().filter(|(line, _)| !line.healthy).map(|(_, key)| reference(key) + "\n").collect()
        }
        _ => screen(&lines, &report, output == Findings::Wide, scope),
    };
    Ok(Answer::new(text, exit))
}

fn screen(lines: &[(Line, &ObjectKey)], report: &Report, wide: bool, scope: &Scope) -> String {
    if lines.is_empty() && report.findings.is_empty() {
        let hint = if scope.namespace.is_some() { "; -A looks in all namespaces" } else { "" };
        return format!("no Gateway and no route there{hint}\n");
    }
    let rows: Vec<Vec<String>> = lines
        .iter()
        .map(|(line, _)| {
            let health = if line.healthy { "✓ ok" } else { "✗ bad" };
            let mut row = vec![health.to_owned(), line.kind.to_owned(), line.namespace.clone(), line.name.clone()];
            row.push(line.finding.unwrap_or("").to_owned());
            row.push(line.reason.clone());
            row
        })
        .collect();
    let mut text = print::table(&["HEALTH", "KIND", "NAMESPACE", "NAME", "RULE", "REASON"], &rows);
    // What is wrong with other objects than those of the table, and what may become a problem.
    let told = |one: &&Finding| {
        let of_line = lines.iter().any(|(line, key)| line.finding == Some(one.id) && Object::from(*key) == one.object);
        !of_line && (wide || one.severity >= Severity::Unknown)
    };
    let others: Vec<Vec<String>> = report
        .findings
        .iter()
        .filter(told)
        .map(|one| {
            let severity = format!("{} {}", one.severity.glyph(), one.severity.word());
            vec![severity, one.id.to_owned(), one.object.to_string(), one.title.clone()]
        })
        .collect();
    if !others.is_empty() {
        text += "\n";
        text += &print::table(&["FINDING", "RULE", "OBJECT", "WHAT"], &others);
    }
    let bad = lines.iter().filter(|(line, _)| !line.healthy).count();
    text += &format!(
        "\n{bad} of {} are not well; {} errors, {} warnings{}\n",
        lines.len(),
        report.count(Severity::Error),
        report.count(Severity::Warning),
        if bad > 0 { "; `gwtop why KIND/NAME` goes from an object to the cause" } else { "" },
    );
    text
}

fn line(key: &ObjectKey, store: &Store, report: &Report) -> Line {
    let own = Object::from(key);
    let found = report.findings.iter().find(|one| one.object == own && one.severity == Severity::Error);
    let (verdict, said) = said(key, store);
    let reason = match (found, verdict.health) {
        (Some(finding), _) => finding.title.clone(),
        (None, Health::Ok) => String::new(),
        (None, _) => said.unwrap_or(verdict.reason),
    };
    Line {
        kind: key.kind.name(),
        namespace: key.namespace.clone(),
        name: key.name.clone(),
        healthy: found.is_none() && verdict.health == Health::Ok,
        reason,
        finding: found.map(|finding| finding.id),
    }
}

/// What the controllers make of it, and the condition that says the worst.
fn said(key: &ObjectKey, store: &Store) -> (Verdict, Option<String>) {
    let unknown = || Verdict::new(Health::Unknown, "NoStatus");
    let (verdict, generation, conditions): (Verdict, i64, Vec<(String, &Condition)>) = match key.kind {
        Kind::Gateway => match store.gateway(key) {
            Some(one) => (one.verdict(), one.generation, one.conditions.iter().map(|of| (String::new(), of)).collect()),
            None => return (unknown(), None),
        },
        Kind::ListenerSet => match store.listener_set(key) {
            Some(one) => (one.verdict(), one.generation, one.conditions.iter().map(|of| (String::new(), of)).collect()),
            None => return (unknown(), None),
        },
        _ => match store.route(key) {
            Some(route) => {
                let of_parents = route.parents.iter().flat_map(|parent| {
                    parent.conditions.iter().map(|condition| (format!("{}: ", parent.label()), condition))
                });
                (routes::verdict(route, store), route.generation, of_parents.collect())
            }
            None => return (unknown(), None),
        },
    };
    let worst = conditions
        .into_iter()
        .filter(|(_, condition)| condition.verdict(generation).health == verdict.health)
        .map(|(of, condition)| match verdict.health {
            Health::Stale => format!("{of}{} is of an older version", condition.kind),
            _ => format!("{of}{}={} {}: {}", condition.kind, condition.status, condition.reason, condition.message),
        });
    let silent = verdict.reason == "NoStatus";
    let worst = if silent { Some("no controller has answered".to_owned()) } else { worst.into_iter().next() };
    (verdict, worst)
}

/// The objects that carry the labels.
pub async fn labelled(
    connection: &crate::cluster::connect::Connection,
    labels: &str,
) -> Result<BTreeSet<ObjectKey>, super::Refusal> {
    use crate::cluster::read::{Failure, list};
    let mut chosen = BTreeSet::new();
    for kind in Kind::ROUTES.into_iter().chain([Kind::Gateway, Kind::ListenerSet]) {
        match list(connection, kind, None, Some(labels)).await {
            Ok(objects) => {
                chosen.extend(objects.iter().filter_map(|one: &Value| crate::model::store::key_of(kind, one)));
            }
            Err(Failure::NotFound(_) | Failure::Denied(_)) => {}
            Err(failure) => {
                let exit = if matches!(failure, Failure::Rejected(_)) { Exit::Usage } else { Exit::Unreachable };
                let why = format!("cannot list {} by labels {labels}: {failure}", kind.plural());
                return Err(super::Refusal { why, exit });
            }
        }
    }
    Ok(chosen)
}
