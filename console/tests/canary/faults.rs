//! Whatever goes wrong around a run.

use std::{sync::atomic::Ordering, time::Duration};

use hyper::Method;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;

use super::chaos::{EDITED, Fault};
use super::world::*;

pub async fn somebody_elses_weights_are_left_alone() {
    let world = World::with([100, 0]).await;
    let mut canary = world.steps();
    canary.until("Observe").await;
    world
        .patch(json!([
            {"op": "replace", "path": "/spec/rules/0/backendRefs/0/weight", "value": 70},
            {"op": "replace", "path": "/spec/rules/0/backendRefs/1/weight", "value": 30},
        ]))
        .await;
    let (code, last) = canary.ends().await;
    assert_eq!((code, last["phase"].as_str()), (6, Some("Conflict")), "{:#?}", canary.seen);
    assert_eq!(world.weights().await, [70, 30]);
}

pub async fn an_edit_of_something_else_does_not_disturb() {
    let world = World::with([100, 0]).await;
    let mut canary = world.steps();
    canary.until("Observe").await;
    let edit = json!({"spec": {"hostnames": ["other.example"]}});
    world.routes.patch("app", &PatchParams::default(), &Patch::Merge(edit)).await.unwrap();
    assert_eq!(canary.ends().await.0, 0, "{:#?}", canary.seen);
    assert_eq!(world.weights().await, [60, 40]);
    assert_eq!(world.get().await["spec"]["hostnames"], json!(["other.example"]));
}

/// The edit comes between what the run knows and what it writes, so that its tests fail:
/// when it claims, steps, ends, and when it goes back.
pub async fn an_edit_just_before_a_write_is_kept_and_the_write_made() {
    let cases = [(0, 0), (1, 0), (2, 0), (3, 0), (2, 900)];
    futures::future::join_all(cases.map(|(after, fails)| async move {
        let world = World::with([100, 0]).await;
        let chaos = world.through_chaos().await;
        chaos.spoil_after(after, Method::PATCH, APP, 1, Fault::EditBefore);
        let mut canary = world.steps();
        canary.until("Observe").await;
        world.behaviour.canary_fails.store(fails, Ordering::SeqCst);
        let (code, _) = canary.ends().await;
        assert_eq!(*chaos.spoilt.lock().unwrap(), 1, "{after}");
        assert_eq!(code, if fails > 0 { 3 } else { 0 }, "{after}: {:#?}", canary.seen);
        assert_eq!(world.weights().await, if fails > 0 { [100, 0] } else { [60, 40] }, "{after}");
        let route = world.get().await;
        assert_eq!(route["spec"]["hostnames"], json!([EDITED]), "{after}");
        assert_eq!(route["metadata"]["annotations"], json!({"team": "shop"}), "{after}");
    }))
    .await;
}

pub async fn a_deleted_route_stays_deleted() {
    let world = World::with([100, 0]).await;
    let mut canary = world.steps();
    canary.until("Observe").await;
    world.routes.delete("app", &DeleteParams::default()).await.unwrap();
    assert_eq!(canary.ends().await.0, 9, "{:#?}", canary.seen);
    assert!(world.routes.get_opt("app").await.unwrap().is_none());
}

pub async fn a_rollback_waits_for_an_api_that_is_away() {
    let mut world = World::with([100, 0]).await;
    let mut canary = world.steps();
    canary.until("Observe").await;
    let local = world.local.take().unwrap();
    let address = local.address;
    local.stop().await;
    let frozen = canary.until("Frozen").await;
    assert!(frozen.get("finished").is_none());
    world.behaviour.canary_fails.store(900, Ordering::SeqCst);
    assert!(canary.until("Frozen").await["message"].as_str().unwrap().contains("roll back as soon as"));
    world.local = Some(serve_api(world.folder.path(), address).await);
    assert_eq!(canary.ends().await.0, 3, "{:#?}", canary.seen);
    world.left([100, 0]).await;
}

/// A weight edit in the middle of a run, by somebody else.
fn edit(stable: u64, canary: u64) -> serde_json::Value {
    json!([
        {"op": "replace", "path": "/spec/rules/0/backendRefs/0/weight", "value": stable},
        {"op": "replace", "path": "/spec/rules/0/backendRefs/1/weight", "value": canary},
    ])
}

const APP: &str = "/httproutes/app";

/// The second step is spoilt in every way; it is written once, and the run goes on.
pub async fn whatever_the_api_answers_a_step_is_written_once() {
    for fault in [
        Fault::Answer(409),
        Fault::Answer(422),
        Fault::Answer(429),
        Fault::Answer(500),
        Fault::DropBefore,
        Fault::DropAfter,
    ] {
        let world = World::with([100, 0]).await;
        let chaos = world.through_chaos().await;
        let mut canary = world.steps();
        canary.until("Observe").await;
        chaos.spoil(Method::PATCH, APP, 1, fault);
        let (code, last) = canary.ends().await;
        assert_eq!(*chaos.spoilt.lock().unwrap(), 1, "{fault:?}");
        if let Fault::Answer(422) = fault {
            // Nothing that we test for had changed: it is the change itself that is refused.
            assert_eq!((code, &last["phase"]), (7, &json!("RolledBack")), "{fault:?} {:#?}", canary.seen);
            world.left([100, 0]).await;
            continue;
        }
        assert_eq!(code, 0, "{fault:?} {:#?}", canary.seen);
        world.left([60, 40]).await;
        let steps = canary.seen.iter().filter(|line| line["phase"] == "Apply").count();
        assert_eq!(steps, 2, "{fault:?} {:#?}", canary.seen);
        // Claim, two steps and the end raise the record's own count by one each: nothing was written twice.
        let audit = std::fs::read_to_string(world.folder.path().join("state/gwtop/audit.jsonl")).unwrap();
        let tries =
            audit.lines().filter(|line| line.contains("app-v2:8080 40") && !line.contains("\"remove\"")).count();
        assert_eq!(tries, if let Fault::DropAfter = fault { 1 } else { 2 }, "{fault:?}: {audit}");
    }
}

/// A patch that went through although nobody was told, and an API that is away afterwards.
pub async fn a_write_whose_answer_is_lost_is_not_made_twice() {
    let world = World::with([100, 0]).await;
    let chaos = world.through_chaos().await;
    let mut canary = world.steps();
    canary.until("Observe").await;
    chaos.spoil(Method::PATCH, APP, 1, Fault::DropAfter);
    chaos.spoil(Method::GET, APP, 3, Fault::DropBefore);
    canary.until("Frozen").await;
    assert_eq!(world.weights().await, [60, 40], "the second step was written, and nobody was told");
    assert_eq!(canary.ends().await.0, 0, "{:#?}", canary.seen);
    world.left([60, 40]).await;
    let audit = std::fs::read_to_string(world.folder.path().join("state/gwtop/audit.jsonl")).unwrap();
    let second = audit.lines().filter(|line| line.contains("app-v2:8080 40") && !line.contains("\"remove\""));
    assert_eq!(second.count(), 1, "{audit}");
}

pub async fn a_rollback_is_tried_until_it_works() {
    let world = World::with([100, 0]).await;
    let chaos = world.through_chaos().await;
    let mut canary = world.steps();
    canary.until("Observe").await;
    chaos.spoil(Method::PATCH, APP, 4, Fault::Answer(500));
    chaos.spoil(Method::PATCH, APP, 2, Fault::Answer(403));
    chaos.spoil(Method::PATCH, APP, 1, Fault::DropAfter);
    world.behaviour.canary_fails.store(500, Ordering::SeqCst);
    assert_eq!(canary.ends().await.0, 3, "{:#?}", canary.seen);
    assert_eq!(*chaos.spoilt.lock().unwrap(), 7);
    world.left([100, 0]).await;
}

pub async fn a_rollback_that_cannot_be_written_is_said_aloud() {
    let world = World::with([100, 0]).await;
    let chaos = world.through_chaos().await;
    let mut canary = world.start(&["app", "--step", "20", "--interval", "1m", "--rollback-deadline", "3s"]);
    canary.until("Observe").await;
    chaos.spoil(Method::PATCH, APP, u32::MAX, Fault::Answer(403));
    world.behaviour.canary_fails.store(500, Ordering::SeqCst);
    let (code, last) = canary.ends().await;
    assert_eq!((code, &last["phase"]), (4, &json!("RollbackFailed")), "{:#?}", canary.seen);
    assert!(last["message"].as_str().unwrap().contains("MAY STILL HAVE TRAFFIC"));
    assert_eq!(world.weights().await, [80, 20]);
    chaos.spare();
    assert_eq!(world.canary(&["rollback", "app"]).await.0, 5);
    world.left([100, 0]).await;
}

pub async fn an_api_that_hangs_freezes_the_run() {
    let world = World::with([100, 0]).await;
    let chaos = world.through_chaos().await;
    let mut canary =
        world.start(&["app", "--step", "20", "--max", "40", "--interval", "1s", "--request-timeout", "500ms"]);
    canary.until("Observe").await;
    chaos.spoil(Method::PATCH, APP, 1, Fault::Hang);
    chaos.spoil(Method::GET, APP, 2, Fault::Hang);
    canary.until("Frozen").await;
    assert_eq!(world.weights().await, [80, 20]);
    assert_eq!(canary.ends().await.0, 0, "{:#?}", canary.seen);
    world.left([60, 40]).await;
}

pub async fn somebody_elses_weights_are_adopted_or_written_over_if_asked() {
    let world = World::with([100, 0]).await;
    let args = ["app", "--steps", "20,40", "--interval", "2s"];
    let mut canary = world.start(&[&args[..], &["--on-drift", "reassert"]].concat());
    canary.until("Observe").await;
    world.patch(edit(70, 30)).await;
    canary.until("Drift").await;
    canary.until("Apply").await;
    assert_eq!(world.weights().await, [80, 20]);
    assert_eq!(canary.ends().await.0, 0, "{:#?}", canary.seen);
    world.left([60, 40]).await;

    let world = World::with([100, 0]).await;
    let mut canary = world.start(&[&args[..], &["--on-drift", "adopt"]].concat());
    canary.until("Observe").await;
    world.patch(edit(70, 30)).await;
    canary.until("Drift").await;
    canary.until("Observe").await;
    assert_eq!(world.weights().await, [70, 30]);
    assert_eq!(canary.ends().await.0, 0, "{:#?}", canary.seen);
    world.left([60, 40]).await;
}

pub async fn backends_that_change_places_and_a_rule_before_ours_do_not_confuse() {
    let world = World::with([100, 0]).await;
    let mut canary = world.steps();
    canary.until("Observe").await;
    let found = world.get().await["spec"]["rules"][0].clone();
    let mut turned = found.clone();
    turned["backendRefs"].as_array_mut().unwrap().reverse();
    world.patch(json!([{"op": "replace", "path": "/spec/rules/0", "value": turned}])).await;
    let before = json!({"matches": [{"path": {"type": "PathPrefix", "value": "/x"}}], "backendRefs": [{"name": "other", "port": 8080}]});
    world.patch(json!([{"op": "add", "path": "/spec/rules/0", "value": before}])).await;
    assert_eq!(canary.ends().await.0, 0, "{:#?}", canary.seen);
    let rules = world.get().await["spec"]["rules"].clone();
    assert_eq!(rules[0]["matches"], before["matches"]);
    assert_eq!(
        (&rules[1]["backendRefs"][0]["name"], &rules[1]["backendRefs"][0]["weight"]),
        (&json!("app-v2"), &json!(40))
    );
    assert_eq!(rules[1]["backendRefs"][1]["weight"], 60);
}

pub async fn a_rule_that_is_renamed_or_loses_its_canary_ends_the_run() {
    for change in [
        json!([{"op": "add", "path": "/spec/rules/0/name", "value": "renamed"}]),
        json!([{"op": "remove", "path": "/spec/rules/0/backendRefs/1"}]),
    ] {
        let world = World::with([100, 0]).await;
        let mut canary = world.steps();
        canary.until("Observe").await;
        world.patch(change).await;
        let after = world.get().await;
        assert_eq!(canary.ends().await.0, 9, "{:#?}", canary.seen);
        assert_eq!(world.get().await["spec"], after["spec"], "nothing was written any more");
    }
}

/// All that speaks against the canary is counted between two scrapes, by a gateway that began
/// anew between them: far below what was seen of it last.
pub async fn counters_that_begin_anew_lose_nothing() {
    let world = World::new().await;
    world.behaviour.counted_before.store(1_000_000_000, Ordering::SeqCst);
    world.create(&route("app", [100, 0])).await;
    world.counted().await;
    let mut canary = world.start(&["app", "--step", "20", "--interval", "20s", "--hold", "1s", "--scrape-every", "3s"]);
    canary.until("Observe").await;
    let scrapes = || world.behaviour.scrapes.load(Ordering::SeqCst);
    let before = scrapes();
    while scrapes() == before {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    world.behaviour.canary_fails.store(1000, Ordering::SeqCst);
    world.behaviour.restart.store(true, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(500)).await;
    world.behaviour.canary_fails.store(0, Ordering::SeqCst);
    assert_eq!(canary.ends().await.0, 3, "{:#?}", canary.seen);
    world.left([100, 0]).await;

    // And a healthy one goes its way.
    let world = World::with([100, 0]).await;
    let mut canary = world.steps();
    canary.until("Observe").await;
    world.behaviour.restart.store(true, Ordering::SeqCst);
    assert_eq!(canary.ends().await.0, 0, "{:#?}", canary.seen);
    world.left([60, 40]).await;
}

pub async fn without_traffic_nothing_advances_and_it_is_said() {
    let idle = async || {
        let world = World::with([100, 0]).await;
        world.counted().await;
        world.behaviour.idle.store(true, Ordering::SeqCst);
        world
    };
    // No request shows how the traffic is split.
    let world = idle().await;
    let mut canary = world.start(&["app", "--step", "20", "--interval", "1s", "--hold", "2s", "--converge", "2s"]);
    let hold = canary.until("Hold").await;
    assert!(hold["message"].as_str().unwrap().contains("does not show the new weights"), "{hold}");
    assert_eq!(world.weights().await, [80, 20]);
    assert_eq!(canary.ends().await.0, 7, "{:#?}", canary.seen);
    assert!(canary.seen.iter().all(|line| line["phase"] != "Observe"), "{:#?}", canary.seen);
    world.left([100, 0]).await;

    // Nobody sends the header, which needs no split to be seen.
    let world = idle().await;
    let header = ["app", "--step", "20", "--header", "X-Canary: true", "--interval", "1s", "--hold", "2s"];
    let mut canary = world.start(&header);
    let hold = canary.until("Hold").await;
    assert!(hold["message"].as_str().unwrap().contains("no request reached the canary yet"), "{hold}");
    assert_eq!(canary.ends().await.0, 7, "{:#?}", canary.seen);
    world.left([100, 0]).await;
}

pub async fn a_canary_without_endpoints_is_rolled_back_at_once() {
    let world = World::with([100, 0]).await;
    let slices =
        kube::Api::<k8s_openapi::api::discovery::v1::EndpointSlice>::namespaced(world.client.clone(), "default");
    let slice = |ready: bool| {
        serde_json::from_value(json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": "app-v2-x", "labels": {"kubernetes.io/service-name": "app-v2"}},
            "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": ready}}],
        }))
        .unwrap()
    };
    slices.create(&Default::default(), &slice(true)).await.unwrap();
    let mut canary = world.start(&["app", "--step", "20", "--interval", "1m", "--check-every", "200ms"]);
    canary.until("Observe").await;
    slices.patch("app-v2-x", &PatchParams::default(), &Patch::Merge(&slice(false))).await.unwrap();
    let (code, last) = canary.ends().await;
    assert_eq!(code, 3, "{:#?}", canary.seen);
    assert!(last["message"].as_str().unwrap().contains("no ready endpoint"), "{last}");
    world.left([100, 0]).await;
    // And a new run is not begun.
    let mut again = world.start(&["app"]);
    assert_eq!(again.ends().await.0, 2);
    world.left([100, 0]).await;
}

pub async fn a_loss_of_metrics_is_met_as_asked() {
    for (policy, code, weights) in [("rollback", 7, [100, 0]), ("probe", 0, [60, 40])] {
        let world = World::with([100, 0]).await;
        let mut canary = world.start(&[
            "app",
            "--steps",
            "20,40",
            "--interval",
            "2s",
            "--check",
            "exec:true",
            "--check-every",
            "100ms",
            "--on-metrics-loss",
            policy,
        ]);
        canary.until("Observe").await;
        world.behaviour.metrics_gone.store(true, Ordering::SeqCst);
        assert_eq!(canary.ends().await.0, code, "{policy}: {:#?}", canary.seen);
        world.left(weights).await;
    }
}

pub async fn requests_that_still_reach_a_rolled_back_canary_are_shown() {
    let world = World::with([100, 0]).await;
    let mut canary = world.steps();
    canary.until("Observe").await;
    world.behaviour.sticky.store(3, Ordering::SeqCst);
    world.behaviour.canary_fails.store(500, Ordering::SeqCst);
    canary.until("Draining").await;
    assert_eq!(world.weights().await, [100, 0]);
    world.behaviour.sticky.store(0, Ordering::SeqCst);
    assert_eq!(canary.ends().await.0, 3, "{:#?}", canary.seen);
}
