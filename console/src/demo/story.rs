//! The demo without a terminal: a healthy canary goes to its maximum, then the canary starts
//! failing and the engine rolls it back. Both are read back from the API and from what the
//! services counted; the engine's word is not taken for it.

use std::{sync::atomic::Ordering, time::Duration};

use color_eyre::eyre::{Result, WrapErr, bail};
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams};
use serde_json::json;

use super::ground::{CANARY, ERROR_RATE_ANNOTATION, Ground, NAMESPACE, ROUTE, STABLE};
use crate::{
    canary::{self, Settings},
    exit::Exit,
};

/// Long enough for hundreds of requests of the demo's load.
const COUNTED: Duration = Duration::from_secs(3);

/// Weights and what the services counted, at one moment.
struct Reading {
    stable_weight: u64,
    canary_weight: u64,
    canary_share: f64,
    requests: u64,
}

pub(super) async fn play(ground: &Ground) -> Result<Exit> {
    println!("== a healthy canary is stepped to its maximum");
    let promoted = run(ground, 15.0, 50.0, false).await?;
    let healthy = read(ground).await?;
    report("after the healthy run", &healthy);
    let reached = promoted == Exit::Ok
        && (healthy.stable_weight, healthy.canary_weight) == (50, 50)
        && (healthy.canary_share - 0.5).abs() < 0.05
        && healthy.requests > 100;

    println!("== the canary starts failing, and is rolled back");
    let stopped = run(ground, 15.0, 95.0, true).await?;
    let failed = read(ground).await?;
    report("after the failing run", &failed);
    let rolled_back = stopped == Exit::RolledBack
        && (failed.stable_weight, failed.canary_weight) == (100, 0)
        && failed.canary_share == 0.0
        && failed.requests > 100;

    let lost = ground.load.tally.lost.load(Ordering::Relaxed);
    let answered = ground.load.tally.answered.load(Ordering::Relaxed);
    println!("== {answered} requests answered, {lost} lost");
    for (what, holds) in [
        ("healthy canary reached its maximum", reached),
        ("failing canary was rolled back", rolled_back),
        ("no request was lost", lost == 0),
    ] {
        println!("{} {what}", if holds { "✔" } else { "✘" });
    }
    Ok(if reached && rolled_back && lost == 0 { Exit::Ok } else { Exit::ProblemsFound })
}

/// One run of the engine, printed as it goes.
async fn run(ground: &Ground, step: f64, max: f64, failing: bool) -> Result<Exit> {
    let healthz = ground.backends.endpoints.get(CANARY).and_then(|all| all.first());
    let Some(healthz) = healthz else { bail!("{CANARY} has no endpoint") };
    let settings = Settings {
        step,
        max,
        interval: Duration::from_secs(4),
        checks: vec![canary::plan::Check::Url(format!("http://{healthz}/healthz"))],
        probe_every: Duration::from_secs(1),
        scrape_every: Duration::from_secs(1),
        ..Settings::new(NAMESPACE, Some(ROUTE.to_owned()))
    };
    let mut run = canary::drive::spawn(ground.connection.clone(), settings);
    while let Some(transition) = run.events.recv().await {
        println!("{}", canary::journal::text(&transition));
        if failing && transition.phase == "Observe" {
            set_error_rate(ground, Some("0.3")).await?;
        }
        if let Some(exit) = transition.finished {
            if failing {
                set_error_rate(ground, None).await?;
            }
            return Ok(exit);
        }
    }
    bail!("the canary engine ended without an outcome")
}

/// What an operator would do by `kubectl annotate`.
async fn set_error_rate(ground: &Ground, rate: Option<&str>) -> Result<()> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", "Service"));
    let services: Api<DynamicObject> = Api::namespaced_with(ground.connection.client.clone(), NAMESPACE, &resource);
    let patch = Patch::Merge(json!({ "metadata": { "annotations": { ERROR_RATE_ANNOTATION: rate } } }));
    services.patch(CANARY, &PatchParams::default(), &patch).await.wrap_err("annotating the canary's Service")?;
    Ok(())
}

async fn read(ground: &Ground) -> Result<Reading> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("gateway.networking.k8s.io", "v1", "HTTPRoute"));
    let routes: Api<DynamicObject> = Api::namespaced_with(ground.connection.client.clone(), NAMESPACE, &resource);
    let route = routes.get(ROUTE).await?;
    let weight = |name: &str| {
        route.data["spec"]["rules"][0]["backendRefs"]
            .as_array()
            .and_then(|all| all.iter().find(|backend| backend["name"] == name))
            .and_then(|backend| backend["weight"].as_u64())
            .unwrap_or(1)
    };
    // Requests that were on their way when the weights changed are not the new weights' doing.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let before = (ground.backends.answered(STABLE), ground.backends.answered(CANARY));
    tokio::time::sleep(COUNTED).await;
    let stable = ground.backends.answered(STABLE) - before.0;
    let canary = ground.backends.answered(CANARY) - before.1;
    let requests = stable + canary;
    Ok(Reading {
        stable_weight: weight(STABLE),
        canary_weight: weight(CANARY),
        canary_share: if requests == 0 { 0.0 } else { canary as f64 / requests as f64 },
        requests,
    })
}

fn report(when: &str, reading: &Reading) {
    println!(
        "   {when}: weights {STABLE}={} {CANARY}={}; of {} requests {:.1} % reached {CANARY}",
        reading.stable_weight,
        reading.canary_weight,
        reading.requests,
        reading.canary_share * 100.0
    );
}
