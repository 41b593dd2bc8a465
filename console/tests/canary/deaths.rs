//! Runs that are cut off, killed in the middle of trouble, or asked what to do.

use std::{sync::atomic::Ordering, time::Duration};

use hyper::Method;
use serde_json::json;

use super::{chaos::Fault, terminal::Terminal, world::*};

const APP: &str = "/httproutes/app";

/// Past the deadline the run ends; what it says depends on what the canary is.
pub async fn an_api_that_stays_away_ends_the_run() {
    for (fails, code, phase) in [(0, 8, "Unreachable"), (900, 4, "RollbackFailed")] {
        let world = World::with([100, 0]).await;
        let chaos = world.through_chaos().await;
        let args = ["app", "--steps", "20,40", "--interval", "1s", "--api-deadline", "4s"];
        let mut canary = world.start(&args);
        canary.until("Observe").await;
        chaos.spoil(Method::PATCH, APP, u32::MAX, Fault::DropBefore);
        chaos.spoil(Method::GET, APP, u32::MAX, Fault::DropBefore);
        canary.until("Frozen").await;
        world.behaviour.canary_fails.store(fails, Ordering::SeqCst);
        let (ended, last) = canary.ends().await;
        assert_eq!((ended, &last["phase"]), (code, &json!(phase)), "{:#?}", canary.seen);
        assert_eq!(world.weights().await, [80, 20]);
        chaos.spare();
        assert_eq!(world.canary(&["gc", "--rollback-expired"]).await.0, 0);
        world.left([100, 0]).await;
    }
}

/// Two replicas of the gateway are counted; one goes for good in the middle of a step. It is the
/// one that is asked first, so that each round of scrapes begins with its silence.
pub async fn a_replica_that_vanishes_takes_nothing_from_the_verdict() {
    let world = World::with([100, 0]).await;
    let (_replica, url) = world.replica().await;
    let mut canary = world.start(&["app", "--steps", "10,20,40", "--interval", "1s", "--metrics-url", &url]);
    canary.until("Observe").await;
    world.behaviour.metrics_gone.store(true, Ordering::SeqCst);
    assert_eq!(canary.ends().await.0, 0, "{:#?}", canary.seen);
    let missing = |line: &serde_json::Value| line["message"].as_str().unwrap().contains("metrics are missing");
    assert!(!canary.seen.iter().any(missing), "as long as one answers: {:#?}", canary.seen);
    world.left([60, 40]).await;

    // The one that is left is still judged by.
    let world = World::with([100, 0]).await;
    let (replica, url) = world.replica().await;
    let mut canary = world.start(&["app", "--step", "20", "--interval", "1m", "--metrics-url", &url]);
    canary.until("Observe").await;
    replica.metrics_gone.store(true, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(500)).await;
    world.behaviour.canary_fails.store(300, Ordering::SeqCst);
    assert_eq!(canary.ends().await.0, 3, "{:#?}", canary.seen);
    world.left([100, 0]).await;
}

pub async fn killed_while_it_waits_is_frozen_or_goes_back() {
    let cases = ["Hold", "Frozen", "RollingBack"].map(|phase| [(phase, true), (phase, false)]);
    futures::future::join_all(cases.into_iter().flatten().map(|(phase, undo)| killed(phase, undo))).await;
}

async fn killed(phase: &str, undo: bool) {
    let world = World::with([100, 0]).await;
    let chaos = world.through_chaos().await;
    let mut canary = world.start(&["app", "--steps", "20,40", "--interval", "1s"]);
    canary.until("Observe").await;
    match phase {
        "Hold" => world.behaviour.metrics_gone.store(true, Ordering::SeqCst),
        "Frozen" => {
            chaos.spoil(Method::PATCH, APP, u32::MAX, Fault::DropBefore);
            chaos.spoil(Method::GET, APP, u32::MAX, Fault::DropBefore);
        }
        _ => {
            chaos.spoil(Method::PATCH, APP, u32::MAX, Fault::Answer(500));
            world.behaviour.canary_fails.store(500, Ordering::SeqCst);
        }
    }
    canary.until(phase).await;
    if phase == "RollingBack" {
        world.told("rollback").await;
    }
    canary.signal("-KILL");
    canary.child.wait().await.unwrap();
    chaos.spare();
    world.behaviour.metrics_gone.store(false, Ordering::SeqCst);
    world.behaviour.canary_fails.store(0, Ordering::SeqCst);
    assert_eq!(world.weights().await, [80, 20], "{phase}: nothing is written any more");
    assert_eq!(world.canary(&["status"]).await.0, 1, "{phase}: an orphan is a problem");
    if undo {
        assert_eq!(world.canary(&["rollback", "app"]).await.0, 5, "{phase}");
        world.left([100, 0]).await;
        return;
    }
    let (code, text) = world.canary(&["resume", "app", "-o", "json"]).await;
    if phase == "RollingBack" {
        assert_eq!(code, 3, "{phase}: well now or not, it had failed: {text}");
        world.left([100, 0]).await;
    } else {
        assert_eq!(code, 0, "{phase}: {text}");
        world.left([60, 40]).await;
    }
}

pub async fn ctrl_c_in_a_terminal_pauses_and_asks() {
    let world = World::with([100, 0]).await;
    let state = world.folder.path().join("terminal");
    std::fs::create_dir(&state).unwrap();
    let config = world.folder.path().join("kubeconfig");
    let args = ["canary", "app", "--step", "20", "--interval", "1m", "--scrape-every", "150ms", "--metrics-url"];
    let more = [&world.metrics, "--kubeconfig", config.to_str().unwrap()];
    let args = [&args[..], &more[..]].concat();
    tokio::task::block_in_place(|| {
        let mut terminal = Terminal::start(&args, &state, (120, 40));
        terminal.until("a step under way", |text| text.contains("Observe"));
        terminal.press("\x03");
        terminal.until("question", |text| text.contains("Paused") && text.contains("r: roll back"));
        terminal.press("what\r");
        terminal.until("question again", |text| text.matches("r: roll back").count() == 2);
        terminal.press("c\r");
        terminal.until("going on", |text| text.contains("Resumed"));
        terminal.press("\x03");
        terminal.until("third question", |text| text.matches("r: roll back").count() == 3);
        terminal.press("r\r");
        assert_eq!(terminal.ends().exit_code(), 5, "{}", terminal.text());
        assert!(terminal.restored());
    });
    world.left([100, 0]).await;

    // Twice: whoever has to leave leaves.
    tokio::task::block_in_place(|| {
        let mut terminal = Terminal::start(&args, &state, (120, 40));
        terminal.until("a step under way", |text| text.contains("Observe"));
        terminal.press("\x03");
        terminal.until("question", |text| text.contains("r: roll back"));
        terminal.press("\x03");
        assert_eq!(terminal.ends().exit_code(), 10, "{}", terminal.text());
    });
    assert_eq!(world.weights().await, [80, 20]);
    assert_eq!(world.canary(&["rollback", "app"]).await.0, 5);
    world.left([100, 0]).await;
}
