//! A write that can be shown before it is sent: target, JSON patch, diff, inverse.

use json_patch::Patch;
use serde_json::{Value, json};

pub use super::weights::Refusal;
use super::weights::{self, Backend, MAX_WEIGHT, Pair};
use crate::model::key::{Kind, ObjectKey};

#[cfg(test)]
mod tests;

#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    pub target: ObjectKey,
    /// One sentence for the confirmation and the audit file.
    pub summary: String,
    pub patch: Patch,
    /// Undoes `patch`, with `test` operations on what `patch` wrote.
    pub inverse: Patch,
    pub diff: Vec<DiffLine>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiffLine {
    pub change: Change,
    pub text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    Same,
    Removed,
    Added,
}

/// Moves traffic between two backends of a rule. The patch applies only to the object that
/// was read: same object, same backends, same weights.
pub fn weights(route: &Value, rule: usize, stable: &str, canary: &str, canary_percent: f64) -> Result<Plan, Refusal> {
    if !(0.0..=100.0).contains(&canary_percent) {
        return Err(Refusal::Percent(canary_percent));
    }
    let pair = weights::pair(route, Some(rule), Some(stable), Some(canary))?;
    let mut total = pair.total();
    if total == 0 {
        return Err(Refusal::AllZero(pair.stable.to_string(), pair.canary.to_string()));
    }
    if total > MAX_WEIGHT {
        return Err(Refusal::TooLarge(total));
    }
    if !weights::expressible(total, canary_percent) {
        if weights::backends(route, rule)?.len() > 2 {
            return Err(Refusal::Resolution { total, percent: canary_percent });
        }
        // Nobody else's share depends on the sum of the only two.
        total *= weights::scale(total, total, &[canary_percent]);
    }
    let (to_stable, to_canary) = weights::split(total, canary_percent);
    let changes = [(&pair.stable, to_stable), (&pair.canary, to_canary)];
    let target = target(route)?;
    Ok(Plan {
        summary: format!(
            "{target} rule {rule}: {canary} {} -> {} %, weights {} {} -> {to_stable}, {} {} -> {to_canary}",
            short(pair.percent()),
            short(weights::percent_of(to_canary, total)),
            pair.stable.name,
            pair.stable.effective(),
            pair.canary.name,
            pair.canary.effective(),
        ),
        patch: patch(route, rule, &changes)?,
        inverse: inverse(route, rule, &changes)?,
        diff: diff(&pair, &changes),
        target,
    })
}

/// A share without needless decimals.
pub fn short(percent: f64) -> String {
    let rounded = (percent * 10.0).round() / 10.0;
    if rounded.fract() == 0.0 { format!("{rounded:.0}") } else { format!("{rounded:.1}") }
}

/// Key of a route from its own JSON.
pub fn target(route: &Value) -> Result<ObjectKey, Refusal> {
    let text = |pointer: &str| {
        route.pointer(pointer).and_then(Value::as_str).ok_or_else(|| Refusal::Unreadable(pointer.to_owned()))
    };
    // Items of a list do not always say what they are.
    let kind = route.get("kind").and_then(Value::as_str).and_then(Kind::route).unwrap_or(Kind::HttpRoute);
    Ok(ObjectKey::new(kind, text("/metadata/namespace")?, text("/metadata/name")?))
}

pub(crate) fn operations(operations: Vec<Value>) -> Patch {
    serde_json::from_value(Value::Array(operations)).expect("operations built here are RFC 6902")
}

/// `test` operations that hold only for this object.
pub(crate) fn test_uid(route: &Value) -> Option<Value> {
    let uid = route.pointer("/metadata/uid")?;
    Some(json!({"op": "test", "path": "/metadata/uid", "value": uid}))
}

pub(crate) fn backend_path(rule: usize, index: usize) -> String {
    format!("/spec/rules/{rule}/backendRefs/{index}")
}

/// `test` operations on who stands at this position and the weight last seen. An absent
/// field cannot be tested for: then the whole reference is.
pub(crate) fn test_backend(route: &Value, rule: usize, backend: &Backend) -> Result<Vec<Value>, Refusal> {
    let path = backend_path(rule, backend.index);
    let reference = route.pointer(&path).ok_or_else(|| Refusal::Unreadable(path.clone()))?;
    if backend.weight.is_none() {
        return Ok(vec![json!({"op": "test", "path": path, "value": reference})]);
    }
    Ok(["name", "namespace", "port", "weight"]
        .into_iter()
        .filter_map(|field| {
            let value = reference.get(field)?;
            Some(json!({"op": "test", "path": format!("{path}/{field}"), "value": value}))
        })
        .collect())
}

pub(crate) fn set_weight(rule: usize, index: usize, weight: u64) -> Value {
    json!({"op": "add", "path": format!("{}/weight", backend_path(rule, index)), "value": weight})
}

fn patch(route: &Value, rule: usize, changes: &[(&Backend, u64)]) -> Result<Patch, Refusal> {
    let mut patch: Vec<Value> = test_uid(route).into_iter().collect();
    for (backend, _) in changes {
        patch.extend(test_backend(route, rule, backend)?);
    }
    patch.extend(changes.iter().map(|(backend, weight)| set_weight(rule, backend.index, *weight)));
    Ok(operations(patch))
}

fn inverse(route: &Value, rule: usize, changes: &[(&Backend, u64)]) -> Result<Patch, Refusal> {
    let mut patch: Vec<Value> = test_uid(route).into_iter().collect();
    for (backend, weight) in changes {
        let path = backend_path(rule, backend.index);
        let reference = route.pointer(&path).ok_or_else(|| Refusal::Unreadable(path.clone()))?;
        for field in ["name", "namespace", "port"] {
            if let Some(value) = reference.get(field) {
                patch.push(json!({"op": "test", "path": format!("{path}/{field}"), "value": value}));
            }
        }
        patch.push(json!({"op": "test", "path": format!("{path}/weight"), "value": weight}));
    }
    for (backend, _) in changes {
        patch.push(match backend.weight {
            Some(weight) => set_weight(rule, backend.index, weight),
            None => json!({"op": "remove", "path": format!("{}/weight", backend_path(rule, backend.index))}),
        });
    }
    Ok(operations(patch))
}

fn diff(pair: &Pair, changes: &[(&Backend, u64)]) -> Vec<DiffLine> {
    let line = |change, text: String| DiffLine { change, text };
    let mut lines = vec![line(Change::Same, format!("spec.rules[{}].backendRefs:", pair.rule))];
    let mut ordered: Vec<_> = changes.iter().collect();
    ordered.sort_by_key(|(backend, _)| backend.index);
    for (backend, weight) in ordered {
        lines.push(line(Change::Same, format!("- name: {}  # [{}]", backend.name, backend.index)));
        match backend.weight {
            Some(old) if old == *weight => lines.push(line(Change::Same, format!("  weight: {old}"))),
            Some(old) => {
                lines.push(line(Change::Removed, format!("  weight: {old}")));
                lines.push(line(Change::Added, format!("  weight: {weight}")));
            }
            None => lines.push(line(Change::Added, format!("  weight: {weight}"))),
        }
    }
    lines
}
