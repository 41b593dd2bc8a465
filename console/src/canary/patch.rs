//! What is written on the route: each patch applies only to the object that it was made from.

use json_patch::Patch;
use serde_json::{Value, json};

use super::{
    plan::{Header, Stage},
    record::{self, Phase, Record, Ref},
};
use crate::intent::{
    plan::{operations, set_weight, test_backend, test_uid},
    weights::{self, Backend, Pair, Refusal},
};

pub mod extra;
#[cfg(test)]
mod tests;

/// Where the traffic shall be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Goal {
    Step(Stage),
    /// The weights that somebody else wrote.
    Keep,
    /// Failed: the canary gets nothing, the stable backend all that the two had.
    Stable,
    /// Stopped by the operator: every weight as the run found it.
    Original,
    /// The weights stay; the run ends here.
    Finish,
}

/// A patch and the record that it leaves, none when it takes the record away.
#[derive(Debug, Clone, PartialEq)]
pub struct Write {
    pub patch: Patch,
    pub record: Option<Record>,
    pub stable: u64,
    pub canary: u64,
}

/// The first record of a run, from the route as it is.
pub fn begin(
    route: &Value,
    pair: &Pair,
    steps: &[f64],
    header: Option<&Header>,
    [id, holder, settings]: [&str; 3],
) -> Result<Record, Refusal> {
    let refs = weights::backends(route, pair.rule)?;
    if pair.total() == 0 {
        return Err(Refusal::AllZero(pair.stable.to_string(), pair.canary.to_string()));
    }
    if pair.total() > weights::MAX_WEIGHT {
        return Err(Refusal::TooLarge(pair.total()));
    }
    let largest = refs.iter().map(Backend::effective).max().unwrap_or(1);
    Ok(Record {
        v: record::VERSION,
        id: id.to_owned(),
        seq: 0,
        fence: 0,
        holder: holder.to_owned(),
        phase: Phase::Claimed,
        percent: pair.percent(),
        refs: refs
            .iter()
            .map(|backend| Ref { identity: backend.identity(), orig: backend.weight, last: backend.effective() })
            .collect(),
        scale: weights::scale(pair.total(), largest, steps),
        stable: pair.stable.identity(),
        canary: pair.canary.identity(),
        settings: settings.to_owned(),
        stage: None,
        header: header.cloned(),
        filters: route.pointer(&format!("/spec/rules/{}/filters", pair.rule)).is_some(),
        evidence: None,
    })
}

/// Merge patch that claims the route: refused by the API if anyone wrote since it was read.
pub fn claim(route: &Value, annotation: &str, record: &Record) -> Value {
    json!({"metadata": {
        "resourceVersion": route.pointer("/metadata/resourceVersion"),
        "annotations": {annotation: record.text()},
    }})
}

/// The patch towards `goal`: weights, mirror and header rule, and the record, all or nothing. `record` is what the route's annotation says now.
pub fn write(route: &Value, annotation: &str, pair: &Pair, record: &Record, goal: Goal) -> Result<Write, Refusal> {
    let refs = weights::backends(route, pair.rule)?;
    let wanted = wanted(&refs, pair, record, goal);
    let find = |backend: &Backend| wanted[backend.index].map_or(backend.effective(), |weight| weight.unwrap_or(1));
    let (stable, canary) = (find(&pair.stable), find(&pair.canary));
    if stable + canary == 0 {
        return Err(Refusal::AllZero(pair.stable.to_string(), pair.canary.to_string()));
    }
    let after = match goal {
        Goal::Step(_) | Goal::Keep => Some(Record {
            seq: record.seq + 1,
            phase: Phase::Stepping,
            percent: match goal {
                Goal::Step(stage) => stage.percent().unwrap_or(record.percent),
                _ => weights::percent_of(canary, stable + canary),
            },
            stage: match goal {
                Goal::Step(Stage::Mirror) => Some("mirror".to_owned()),
                Goal::Step(Stage::Header) => Some("header".to_owned()),
                Goal::Step(Stage::Weight(_)) => None,
                _ => record.stage.clone(),
            },
            refs: refs
                .iter()
                .map(|backend| Ref {
                    identity: backend.identity(),
                    orig: record.find(backend).map_or(backend.weight, |known| known.orig),
                    last: find(backend),
                })
                .collect(),
            ..record.clone()
        }),
        Goal::Stable | Goal::Original | Goal::Finish => None,
    };

    let mut patch: Vec<Value> = test_uid(route).into_iter().collect();
    if let Some(generation) = route.pointer("/metadata/generation") {
        patch.push(json!({"op": "test", "path": "/metadata/generation", "value": generation}));
    }
    let path = format!("/metadata/annotations/{}", annotation.replace('~', "~0").replace('/', "~1"));
    if let Some(text) = record::text(route, annotation) {
        patch.push(json!({"op": "test", "path": path, "value": text}));
    }
    let touched = refs.iter().filter(|backend| {
        wanted[backend.index].is_some() || backend.index == pair.stable.index || backend.index == pair.canary.index
    });
    for backend in touched {
        patch.extend(test_backend(route, pair.rule, backend)?);
    }
    for backend in &refs {
        match wanted[backend.index] {
            Some(Some(weight)) => patch.push(set_weight(pair.rule, backend.index, weight)),
            Some(None) if backend.weight.is_some() => patch.push(json!({
                "op": "remove", "path": format!("/spec/rules/{}/backendRefs/{}/weight", pair.rule, backend.index),
            })),
            _ => {}
        }
    }
    if goal != Goal::Keep {
        let stage = if let Goal::Step(stage) = goal { Some(stage) } else { None };
        patch.extend(extra::operations(route, pair, record, stage)?);
    }
    match &after {
        Some(record) => patch.push(json!({"op": "add", "path": path, "value": record.text()})),
        None if record::text(route, annotation).is_some() => patch.push(json!({"op": "remove", "path": path})),
        None => {}
    }
    Ok(Write { patch: operations(patch), record: after, stable, canary })
}

/// For each backend: `None` to leave it, `Some(None)` to take its weight away.
fn wanted(refs: &[Backend], pair: &Pair, record: &Record, goal: Goal) -> Vec<Option<Option<u64>>> {
    let is = |backend: &Backend, other: &Backend| backend.index == other.index;
    // Others are multiplied with the pair, unless somebody changed them meanwhile.
    let ours = |backend: &Backend| record.last(backend) == Some(backend.effective());
    let original = |backend: &Backend| record.find(backend).map(|known| known.orig);
    let total = record.total();
    match goal {
        Goal::Keep | Goal::Step(Stage::Mirror | Stage::Header) => vec![None; refs.len()],
        Goal::Step(Stage::Weight(percent)) => {
            let (stable, canary) = weights::split(total * record.scale, percent);
            refs.iter()
                .map(|backend| {
                    if is(backend, &pair.stable) {
                        Some(Some(stable))
                    } else if is(backend, &pair.canary) {
                        Some(Some(canary))
                    } else if record.scale > 1 && ours(backend) {
                        original(backend).map(|orig| Some(orig.unwrap_or(1) * record.scale))
                    } else {
                        None
                    }
                })
                .collect()
        }
        Goal::Stable | Goal::Original => {
            // Where others were changed by somebody, theirs still count in multiplied units.
            let moved = record.scale > 1
                && refs
                    .iter()
                    .any(|backend| !is(backend, &pair.stable) && !is(backend, &pair.canary) && !ours(backend));
            let scale = if moved { record.scale } else { 1 };
            refs.iter()
                .map(|backend| {
                    let orig = original(backend);
                    match goal {
                        Goal::Stable if is(backend, &pair.stable) => Some(Some(total * scale)),
                        Goal::Stable if is(backend, &pair.canary) => Some(Some(0)),
                        _ if is(backend, &pair.stable) || is(backend, &pair.canary) => {
                            orig.map(|orig| if scale > 1 { Some(orig.unwrap_or(1) * scale) } else { orig })
                        }
                        _ if record.scale > 1 && ours(backend) && !moved => orig,
                        _ => None,
                    }
                })
                .collect()
        }
        Goal::Finish => {
            // Back to the smaller numbers if they can say the same.
            let divisible = record.scale > 1
                && refs.iter().all(|backend| ours(backend) && backend.effective().is_multiple_of(record.scale));
            refs.iter().map(|backend| divisible.then(|| Some(backend.effective() / record.scale))).collect()
        }
    }
}
