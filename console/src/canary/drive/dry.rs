//! A run that only says what it would do.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{Context, preflight::Ready, target::Target, tell::Teller};
use crate::{
    canary::{
        Transition,
        patch::{self, Goal},
        plan::{Stage, short},
        record,
        settings::DryRun,
    },
    cluster::{
        read::Failure,
        send::{self, CANARY_MANAGER},
    },
    exit::Exit,
    traffic::{scrape, series::Traffic},
};

/// How long traffic is looked at to tell its rate.
const LOOK: Duration = Duration::from_secs(3);

/// What would be written, worked out on the objects as they are; nothing is stored.
pub(super) async fn run(context: &Arc<Context>, teller: &Teller, ready: Ready) {
    let mut outcome = Ok(());
    let rps = rate(context, &ready.targets).await;
    for target in &ready.targets {
        outcome = plan(context, teller, target).await;
        if outcome.is_err() {
            break;
        }
    }
    let target = &ready.targets[0];
    let line = |phase, message: String, finished| Transition {
        route: ready.targets.iter().map(|target| target.key.to_string()).collect::<Vec<_>>().join(","),
        rule: target.pair.rule,
        stable: target.pair.stable.to_string(),
        canary: target.pair.canary.to_string(),
        weight: target.pair.percent(),
        phase,
        message,
        finished,
        ..teller.blank()
    };
    let mut lines = Vec::new();
    if outcome.is_ok() {
        lines.push(line("Exposure", exposure(context, rps), None));
    }
    lines.push(match outcome {
        Ok(()) => line("DryRun", "nothing was written".to_owned(), Some(Exit::Ok)),
        Err(why) => line("Refused", why, Some(Exit::Usage)),
    });
    for line in lines {
        let _ = teller.events.send(line).await;
    }
}

/// Requests per second that both arms share, none if no metrics tell.
async fn rate(context: &Arc<Context>, targets: &[Target]) -> Option<f64> {
    let settings = &context.settings;
    if settings.no_metrics {
        return None;
    }
    let sources = scrape::discover(&context.connection, &settings.metrics_urls).await.ok()?;
    let http = super::checks::client(settings).ok()?;
    let mut traffic = Traffic::default();
    let start = Instant::now();
    for wait in [Duration::ZERO, LOOK] {
        tokio::time::sleep(wait).await;
        for source in &sources {
            traffic.apply(scrape::fetch(&http, source).await);
        }
    }
    let requests: Vec<f64> = targets
        .iter()
        .flat_map(|target| [&target.pair.stable, &target.pair.canary].map(|backend| target.counts(&traffic, backend)))
        .flatten()
        .map(|counts| counts.requests)
        .collect();
    (!requests.is_empty()).then(|| requests.iter().sum::<f64>() / start.elapsed().as_secs_f64())
}

/// How many users would see the canary, and how long a verdict would take.
fn exposure(context: &Context, rps: Option<f64>) -> String {
    let settings = &context.settings;
    let needed = settings.limits().needed();
    let steps = settings.steps();
    let (first, last) = (steps[0], steps[steps.len() - 1]);
    let Some(rps) = rps else {
        return format!("no metrics tell how many requests that is; each step takes {needed} of them without an error");
    };
    let mut seconds = 0.0;
    let mut requests = 0.0;
    for step in settings.plan() {
        let Stage::Weight(percent) = step.stage else {
            seconds += step.interval.as_secs_f64();
            continue;
        };
        let to_canary = rps * percent / 100.0;
        if to_canary <= 0.0 {
            return format!("no traffic: none of the {needed} requests that each step takes would come");
        }
        let takes = step.interval.as_secs_f64().max(needed as f64 / to_canary);
        seconds += takes;
        requests += takes * to_canary;
    }
    format!(
        "{rps:.1} requests per second: {:.2} of them to the canary at {} %, {:.2} at {} %; each step takes {needed} without an error, the run about {:.0} minutes and {requests:.0} requests to the canary",
        rps * first / 100.0,
        short(first),
        rps * last / 100.0,
        short(last),
        (seconds / 60.0).ceil(),
    )
}

async fn plan(context: &Arc<Context>, teller: &Teller, target: &Target) -> Result<(), String> {
    let Target { key, annotation, pair, record, .. } = target;
    let mut route = target.route.clone();
    let mut record = record.clone();
    let steps = context.settings.plan();
    let line = |phase, step: usize, weight: f64, message: String, patch: Option<Value>| Transition {
        route: key.to_string(),
        rule: pair.rule,
        stable: pair.stable.to_string(),
        canary: pair.canary.to_string(),
        phase,
        step: step as u32,
        steps: steps.len() as u32,
        weight,
        message,
        patch,
        ..teller.blank()
    };
    let claim = patch::claim(&route, annotation, &record);
    let message = format!("would claim {key} rule {}", pair.rule);
    let _ = teller.events.send(line("Claim", 0, record.percent, message, Some(claim.clone()))).await;
    json_patch::merge(&mut route, &claim);
    for (index, step) in steps.iter().enumerate() {
        let write = record::resolve(&route, annotation, &record.stable, &record.canary)
            .and_then(|pair| patch::write(&route, annotation, &pair, &record, Goal::Step(step.stage)))
            .map_err(|refusal| format!("{key}: {refusal}"))?;
        let message = match step.stage {
            Stage::Mirror => format!("would mirror requests to {}", pair.canary.name),
            Stage::Header => format!("would add a rule that gives requests with the header to {}", pair.canary.name),
            Stage::Weight(_) => {
                format!(
                    "would set {} to {} and {} to {}",
                    pair.stable.name, write.stable, pair.canary.name, write.canary
                )
            }
        };
        let weight = step.stage.percent().unwrap_or(record.percent);
        let _ = teller.events.send(line("Plan", index + 1, weight, message, Some(json!(write.patch)))).await;
        json_patch::patch(&mut route, &write.patch)
            .map_err(|_| format!("{key}: the patch does not apply to what was read"))?;
        if context.settings.dry_run == Some(DryRun::Server) {
            admitted(context, target, &route).await?;
        }
        record = write.record.unwrap_or(record);
    }
    Ok(())
}

/// Whether the API would admit the route as it would be after a step.
async fn admitted(context: &Context, target: &Target, route: &Value) -> Result<(), String> {
    let whole = json!([
        {"op": "test", "path": "/metadata/uid", "value": target.route.pointer("/metadata/uid")},
        {"op": "replace", "path": "/spec", "value": route.get("spec")},
    ]);
    let patch = serde_json::from_value(whole).map_err(|error| error.to_string())?;
    match send::rehearse(&context.connection, &target.key, CANARY_MANAGER, &patch).await {
        Ok(()) => Ok(()),
        Err(Failure::Unknown(why)) => Err(format!("{}: the API does not answer: {why}", target.key)),
        Err(failure) => Err(format!("{}: the API would not admit it: {failure}", target.key)),
    }
}
