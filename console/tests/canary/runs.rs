//! Runs that end by themselves.

use std::{sync::atomic::Ordering, time::Duration};

use serde_json::{Value, json};

use super::world::*;

pub async fn a_healthy_canary_reaches_its_maximum() {
    let world = World::with([100, 0]).await;
    let mut canary = world.start(&["--step", "20", "--max", "40", "--interval", "1s", "--min-requests", "50"]);
    let (code, last) = canary.ends().await;
    assert_eq!(code, 0, "{:#?}", canary.seen);
    assert_eq!(last["phase"], "Done");
    world.left([60, 40]).await;
    let weights: Vec<_> = canary
        .seen
        .iter()
        .filter(|line| line["phase"] == "Apply")
        .map(|line| line["weight"].as_f64().unwrap())
        .collect();
    assert_eq!(weights, [20.0, 40.0]);
    let audit = std::fs::read_to_string(world.folder.path().join("state/gwtop/audit.jsonl")).unwrap();
    let applied = audit.lines().filter(|line| line.contains(r#""outcome":"applied""#)).count();
    assert_eq!(applied, 4, "claim, two steps, finish: {audit}");
    let (_, status) = world.canary(&["status", "app", "-o", "json"]).await;
    let status: Value = serde_json::from_str(&status).unwrap();
    let ended = &status["items"][0];
    assert_eq!((&ended["holder"], &ended["state"]["finished"]), (&json!(""), &json!(0)), "the lease was given back");
    let journal = std::fs::read_dir(world.folder.path().join("state/gwtop/canary")).unwrap().count();
    assert_eq!(journal, 1);
}

/// Such a step raises no generation: what the watch showed before it looks as new.
pub async fn a_first_step_that_changes_no_weight_is_a_step() {
    for _ in 0..4 {
        let world = World::with([80, 20]).await;
        let mut canary = world.start(&["--step", "20", "--max", "20", "--interval", "1s", "--min-requests", "20"]);
        let (code, last) = canary.ends().await;
        assert_eq!((code, &last["phase"]), (0, &"Done".into()), "{:#?}", canary.seen);
        world.left([80, 20]).await;
    }
}

pub async fn a_bad_canary_is_rolled_back() {
    let world = World::with([9, 1]).await;
    let mut canary = world.steps();
    canary.until("Observe").await;
    world.behaviour.canary_fails.store(500, Ordering::SeqCst);
    let (code, last) = canary.ends().await;
    assert_eq!((code, last["phase"].as_str()), (3, Some("RolledBack")), "{:#?}", canary.seen);
    world.left([10, 0]).await;
}

pub async fn when_both_are_bad_nothing_is_blamed_and_nothing_advances() {
    let world = World::with([100, 0]).await;
    world.behaviour.canary_fails.store(500, Ordering::SeqCst);
    world.behaviour.stable_fails.store(500, Ordering::SeqCst);
    let mut canary = world.steps();
    canary.until("Hold").await;
    assert_eq!(world.weights().await, [80, 20]);
    assert_eq!(canary.ends().await.0, 7);
    world.left([100, 0]).await;
}

pub async fn without_data_nothing_passes() {
    let world = World::with([100, 0]).await;
    let mut canary = world.start(&["app", "--step", "20", "--max", "40", "--interval", "4s", "--hold", "2s"]);
    canary.until("Observe").await;
    world.behaviour.metrics_gone.store(true, Ordering::SeqCst);
    canary.until("Hold").await;
    assert_eq!(world.weights().await, [80, 20]);
    assert_eq!(canary.ends().await.0, 7, "{:#?}", canary.seen);
    world.left([100, 0]).await;
}

pub async fn checks_that_fail_stop_a_run_before_and_during_it() {
    let world = World::with([100, 0]).await;
    let untouched = world.get().await["metadata"]["generation"].clone();
    let closed = ["app", "--check", "http://127.0.0.1:1/healthz", "--check-every", "50ms"];
    let mut canary = world.start(&closed);
    assert_eq!(canary.ends().await.0, 2);
    assert_eq!(world.get().await["metadata"]["generation"], untouched);

    // The metrics page doubles as a health page that can be switched off.
    let mut canary = world.start(&[
        "app",
        "--check",
        &world.metrics,
        "--check-every",
        "50ms",
        "--no-metrics",
        "--step",
        "20",
        "--interval",
        "5s",
    ]);
    canary.until("Observe").await;
    world.behaviour.metrics_gone.store(true, Ordering::SeqCst);
    assert_eq!(canary.ends().await.0, 3, "{:#?}", canary.seen);
    world.left([100, 0]).await;
}

pub async fn a_dry_run_writes_nothing() {
    let world = World::with([100, 0]).await;
    world.behaviour.idle.store(true, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let before = world.get().await;
    let mut canary = world.start(&["app", "--step", "25", "--max", "50", "--dry-run"]);
    assert_eq!(canary.ends().await.0, 0, "{:#?}", canary.seen);
    assert_eq!(world.get().await, before);
    let plans: Vec<_> = canary.seen.iter().filter(|line| line["phase"] == "Plan").collect();
    assert_eq!(plans.len(), 2);
    assert!(plans[0]["patch"].as_array().unwrap().iter().any(|operation| operation["op"] == "test"));
}

pub async fn what_cannot_be_meant_is_refused_with_what_could() {
    let world = World::with([100, 0]).await;
    let refused = async |args: &[&str], words: &[&str]| {
        let mut canary = world.start(args);
        let (code, last) = canary.ends().await;
        assert_eq!(code, 2, "{args:?}: {last}");
        for word in words {
            assert!(last["message"].as_str().unwrap().contains(word), "{args:?}: {last}");
        }
    };
    refused(&["nope"], &["no HTTPRoute nope", "app"]).await;
    refused(&["app", "--rule", "4"], &["rule 4"]).await;
    refused(&["app", "--canary", "app-v9"], &["app-v9", "app-v1"]).await;
    refused(&["-n", "elsewhere"], &["elsewhere"]).await;
    let mut single = route("single", [1, 1]);
    single["spec"]["rules"][0]["backendRefs"].as_array_mut().unwrap().pop();
    world.create(&single).await;
    refused(&["single"], &["two"]).await;
    let mut bare = route("bare", [1, 1]);
    for reference in bare["spec"]["rules"][0]["backendRefs"].as_array_mut().unwrap() {
        reference.as_object_mut().unwrap().remove("weight");
    }
    world.create(&bare).await;
    refused(&["bare"], &["--adopt", "50 %"]).await;
    refused(&[], &["app", "bare"]).await;
    assert_eq!(world.weights().await, [100, 0]);
    let leases = world.folder.path().join("state/gwtop/audit.jsonl");
    assert!(!leases.exists(), "nothing was written");
}

pub async fn a_held_run_still_rolls_a_bad_canary_back() {
    let world = World::with([100, 0]).await;
    let mut canary =
        world.start(&["app", "--step", "20", "--interval", "1s", "--min-requests", "50", "--on-interrupt", "hold"]);
    canary.until("Observe").await;
    canary.signal("-TERM");
    canary.until("Paused").await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(world.weights().await, [80, 20], "held beyond its interval");
    world.behaviour.canary_fails.store(500, Ordering::SeqCst);
    assert_eq!(canary.ends().await.0, 3, "{:#?}", canary.seen);
    world.left([100, 0]).await;
}

/// A pipeline reads the last line of stdout, whatever kept the run from beginning.
pub async fn a_run_that_cannot_begin_has_a_last_line_too() {
    let mut world = World::with([100, 0]).await;
    let (code, last) = world.start(&["app", "--steps", "5,1"]).ends().await;
    assert_eq!((code, &last["phase"]), (2, &serde_json::json!("Refused")), "{last}");
    assert!(!last["message"].as_str().unwrap().is_empty());
    world.local.take().unwrap().stop().await;
    let (code, last) = world.start(&["shop/app"]).ends().await;
    assert_eq!((code, &last["phase"]), (8, &serde_json::json!("Unreachable")), "{last}");
    assert_eq!(last["route"], "shop/app");
    for action in ["rollback", "resume", "gc"] {
        let (code, text) = world.canary(&[action, "-o", "json"]).await;
        let last: serde_json::Value = serde_json::from_str(text.lines().last().unwrap_or_default()).unwrap();
        assert_eq!((code, &last["finished"]), (8, &serde_json::json!(8)), "{action}: {text}");
    }
}
