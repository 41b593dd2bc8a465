//! Findings: gravest first, each with its rule and its object.

use super::{Cell, Column, Row, admitted, column, muted, plain};
use crate::{
    finding::{Finding, Object, Severity},
    model::{
        health::{Health, Verdict},
        key::{Kind, ObjectKey},
    },
    screen::{Judged, Lens, RowKey},
};

pub(super) const COLUMNS: &[Column] =
    &[column("SEVERITY", 10, 0), column("WHAT", 20, 0).flex(), column("OBJECT", 20, 1).flex(), column("RULE", 7, 2)];

pub(super) fn rows(judged: &Judged, lens: &Lens) -> Vec<Row> {
    let findings = judged.report.findings.iter();
    findings
        .filter(|one| admitted(lens, &one.object.namespace, || format!("{} {} {}", one.id, one.object, one.title)))
        .map(|one| Row {
            key: RowKey::Finding(one.fingerprint(), key(&one.object)),
            verdict: verdict(one),
            rps: 0.0,
            created: None,
        })
        .collect()
}

pub(super) fn cells(row: &Row, judged: &Judged) -> Vec<Cell> {
    let RowKey::Finding(print, _) = &row.key else { return Vec::new() };
    let Some(one) = judged.find(print) else { return Vec::new() };
    vec![Cell::Status(row.verdict.clone()), plain(&one.title), muted(one.object.to_string()), muted(one.id)]
}

fn verdict(finding: &Finding) -> Verdict {
    let health = match finding.severity {
        Severity::Error => Health::Broken,
        Severity::Warning => Health::Degraded,
        Severity::Unknown => Health::Unknown,
        Severity::Info => Health::Ok,
    };
    Verdict::new(health, finding.severity.word())
}

/// The object as the store knows it. What is said of a kind as a whole has no name.
fn key(object: &Object) -> ObjectKey {
    let kind = Kind::parse(&format!("{}.{}", object.kind, object.group)).or_else(|| Kind::parse(&object.kind));
    ObjectKey::new(kind.unwrap_or(Kind::Namespace), &object.namespace, &object.name)
}
