//! A run that only says what it would do.

use serde_json::{Value, json};

use super::{Teller, Transition, preflight::Ready};
use crate::{
    canary::{
        Settings,
        patch::{self, Goal},
        record,
    },
    exit::Exit,
};

/// What would be written, worked out on the object as it is; nothing is sent.
pub(super) async fn run(teller: &Teller, settings: &Settings, ready: Ready) {
    let Ready { key, mut route, annotation, pair, mut record, .. } = ready;
    let steps = settings.steps();
    let line = |phase, step: usize, weight: f64, message: String, patch: Option<Value>, finished| Transition {
        route: key.to_string(),
        rule: pair.rule,
        stable: pair.stable.to_string(),
        canary: pair.canary.to_string(),
        phase,
        step: step as u32,
        weight,
        message,
        patch,
        finished,
        ..teller.blank(settings)
    };
    let claim = patch::claim(&route, &annotation, &record);
    let mut lines = vec![line(
        "Claim",
        0,
        record.percent,
        format!("would claim {key} rule {}", pair.rule),
        Some(claim.clone()),
        None,
    )];
    json_patch::merge(&mut route, &claim);
    let mut failed = None;
    for (index, percent) in steps.iter().enumerate() {
        let planned = record::resolve(&route, &annotation, &record.stable, &record.canary)
            .and_then(|pair| patch::write(&route, &annotation, &pair, &record, Goal::Step(*percent)));
        match planned {
            Ok(write) => {
                let message = format!(
                    "would set {} to {} and {} to {}",
                    pair.stable.name, write.stable, pair.canary.name, write.canary
                );
                lines.push(line("Plan", index + 1, *percent, message, Some(json!(write.patch)), None));
                if json_patch::patch(&mut route, &write.patch).is_err() {
                    failed = Some("the patch does not apply to what was read".to_owned());
                    break;
                }
                record = write.record.unwrap_or(record);
            }
            Err(refusal) => {
                failed = Some(refusal.to_string());
                break;
            }
        }
    }
    lines.push(match failed {
        None => line("DryRun", 0, pair.percent(), "nothing was written".to_owned(), None, Some(Exit::Ok)),
        Some(why) => line("Refused", 0, pair.percent(), why, None, Some(Exit::Usage)),
    });
    for line in lines {
        // The plan of a thousand steps is longer than the queue.
        let _ = teller.events.send(line).await;
    }
}
