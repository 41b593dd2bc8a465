//! Runs that die, are taken up, and are told things by others.

use super::world::*;

pub async fn what_a_killed_run_left_is_taken_up_by_the_next() {
    let world = World::with([100, 0]).await;
    let mut first = world.steps();
    first.until("Observe").await;
    first.signal("-KILL");
    first.child.wait().await.unwrap();
    assert_eq!(world.weights().await, [80, 20]);
    let mut other = world.start(&["app", "--step", "10", "--max", "40"]);
    assert_eq!(other.ends().await.0, 2, "other settings are not taken up unasked");
    assert_eq!(world.weights().await, [80, 20]);
    let mut second = world.steps();
    assert!(second.until("Claim").await["message"].as_str().unwrap().contains("taken over"));
    assert_eq!(second.ends().await.0, 0, "{:#?}", second.seen);
    world.left([60, 40]).await;
}

pub async fn what_a_killed_run_left_can_be_undone() {
    let world = World::with([9, 1]).await;
    let mut first = world.steps();
    first.until("Observe").await;
    first.signal("-KILL");
    first.child.wait().await.unwrap();
    let mut second = world.start(&["app", "--rollback"]);
    assert_eq!(second.ends().await.0, 5, "{:#?}", second.seen);
    world.left([9, 1]).await;
    assert_eq!(world.start(&["app", "--rollback"]).ends().await.0, 2, "nothing is left to undo");
}

pub async fn two_operators_and_a_signal() {
    let world = World::with([9, 1]).await;
    let args = ["app", "--step", "20", "--interval", "1m"];
    let mut first = world.start(&args);
    first.until("Observe").await;
    let before = world.weights().await;
    let mut second = world.start(&args);
    assert_eq!(second.ends().await.0, 6, "{:#?}", second.seen);
    assert_eq!(world.weights().await, before);
    first.signal("-TERM");
    assert_eq!(first.ends().await.0, 5, "{:#?}", first.seen);
    world.left([9, 1]).await;
}

pub async fn a_detached_run_leaves_the_canary_live_and_another_goes_on_from_there() {
    let world = World::with([100, 0]).await;
    let mut first =
        world.start(&["app", "--step", "20", "--max", "40", "--interval", "1m", "--on-interrupt", "detach"]);
    first.until("Observe").await;
    first.signal("-INT");
    assert_eq!(first.ends().await.0, 10, "{:#?}", first.seen);
    assert_eq!(world.weights().await, [80, 20]);
    let mut second =
        world.start(&["app", "--step", "30", "--max", "30", "--interval", "1s", "--min-requests", "50", "--take-over"]);
    assert_eq!(second.ends().await.0, 0, "{:#?}", second.seen);
    world.left([70, 30]).await;
}

/// The run's own words, as the Lease has them.
async fn state(world: &World) -> serde_json::Value {
    let (_, text) = world.canary(&["status", "app", "-o", "json"]).await;
    serde_json::from_str::<serde_json::Value>(&text).unwrap()["items"][0].clone()
}

pub async fn a_run_is_told_by_others_what_to_do() {
    let world = World::with([100, 0]).await;
    let mut canary = world.start(&["app", "--steps", "20,30,40", "--interval", "30s", "--soak", "1s", "--promote"]);
    canary.until("Observe").await;
    assert_eq!(world.canary(&["pause", "app"]).await.0, 0);
    canary.until("Paused").await;
    // One step although it is paused, and not before it passed.
    assert_eq!(world.canary(&["step"]).await.0, 0);
    canary.until("Judge").await;
    canary.until("Observe").await;
    assert_eq!(world.weights().await, [70, 30]);
    let seen = state(&world).await;
    assert_eq!((&seen["alive"], &seen["orphaned"]), (&true.into(), &false.into()), "{seen}");
    assert_eq!(seen["record"]["percent"], 30.0);
    assert_eq!(world.canary(&["resume"]).await.0, 0);
    canary.until("Resumed").await;
    assert_eq!(world.canary(&["promote"]).await.0, 0);
    canary.until("Promote").await;
    assert_eq!(canary.ends().await.0, 0, "{:#?}", canary.seen);
    world.left([0, 100]).await;
    assert_eq!(world.canary(&["pause"]).await.0, 2, "nothing is left to tell");
    assert_eq!(world.canary(&["gc"]).await.0, 0);
    assert_eq!(world.canary(&["status", "-w"]).await.0, 2, "its Lease was cleared away");
}

pub async fn who_waits_gets_the_runs_own_exit_code() {
    let world = World::with([100, 0]).await;
    let mut canary = world.start(&["app", "--step", "20", "--interval", "1m"]);
    canary.until("Observe").await;
    let (waited, _) = tokio::join!(world.canary(&["status", "app", "-w"]), async {
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        world.behaviour.canary_fails.store(500, std::sync::atomic::Ordering::SeqCst);
        canary.ends().await
    });
    assert_eq!(waited.0, 3, "{}", waited.1);

    let world = World::with([100, 0]).await;
    let mut canary = world.start(&["app", "--step", "20", "--interval", "1m"]);
    canary.until("Observe").await;
    let (told, ended) = tokio::join!(world.canary(&["rollback", "app"]), canary.ends());
    assert_eq!((told.0, ended.0), (5, 5));
    world.left([100, 0]).await;
}

pub async fn a_step_to_approve_waits_and_is_judged_while_it_waits() {
    let world = World::with([100, 0]).await;
    let args = ["app", "--steps", "20,40", "--interval", "500ms", "--approve-at", "10"];
    let mut canary = world.start(&args);
    canary.until("Approval").await;
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    assert_eq!(world.weights().await, [80, 20]);
    assert_eq!(world.canary(&["step", "app"]).await.0, 0);
    assert_eq!(canary.ends().await.0, 0, "{:#?}", canary.seen);
    world.left([60, 40]).await;

    let world = World::with([100, 0]).await;
    let mut canary = world.start(&args);
    canary.until("Approval").await;
    world.behaviour.canary_fails.store(500, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(canary.ends().await.0, 3, "{:#?}", canary.seen);
    world.left([100, 0]).await;
}

/// Killed in every state that writes or waits; then undone, or resumed, by another process.
pub async fn killed_at_any_state_a_run_is_undone_or_taken_up() {
    let phases = ["Preflight", "Claim", "Apply", "Converge", "Observe", "Judge", "Approval", "Promote", "Soak"];
    let undone = phases.map(|phase| (phase, true));
    let resumed = ["Claim", "Converge", "Approval", "Soak"].map(|phase| (phase, false));
    let cases: Vec<_> = undone.into_iter().chain(resumed).collect();
    // Most of the time is waiting.
    for cases in cases.chunks(5) {
        futures::future::join_all(cases.iter().map(|(phase, undo)| killed(phase, *undo))).await;
    }
}

async fn killed(phase: &str, undo: bool) {
    let world = World::with([100, 0]).await;
    let mut canary = world.start(&["app", "--steps", "50", "--promote", "--interval", "1s", "--approve-at", "50"]);
    if matches!(phase, "Judge" | "Promote" | "Soak") {
        canary.until("Approval").await;
        world.canary(&["step"]).await;
    }
    canary.until(phase).await;
    canary.signal("-KILL");
    canary.child.wait().await.unwrap();
    // Its last write may still be on its way.
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    if world.get().await["metadata"]["annotations"].as_object().unwrap().len() == 1 {
        assert_eq!(phase, "Preflight");
        world.left([100, 0]).await;
        return;
    }
    assert_eq!(world.canary(&["status"]).await.0, 1, "{phase}: an orphan is a problem");
    if undo {
        assert_eq!(world.canary(&["gc", "--rollback-expired"]).await.0, 0, "{phase}");
        world.left([100, 0]).await;
        return;
    }
    // From the arguments on its Lease; nothing of it is known here.
    let resumed = world.canary(&["resume", "app", "-o", "json"]);
    let approve = async {
        loop {
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
            if state(&world).await["state"]["phase"] == "Approval" {
                world.canary(&["step"]).await;
                tokio::time::sleep(std::time::Duration::from_secs(3)).await;
            }
        }
    };
    let (code, text) = tokio::select! {
        ended = resumed => ended,
        () = approve => unreachable!("goes on for ever"),
    };
    assert_eq!(code, 0, "{phase}: {text}");
    world.left([0, 100]).await;
}

pub async fn a_clock_that_jumps_takes_no_route_from_the_living() {
    use k8s_openapi::api::coordination::v1::Lease;
    let world = World::with([100, 0]).await;
    let mut first = world.start(&["app", "--step", "20", "--interval", "1m"]);
    first.until("Observe").await;
    let leases = kube::Api::<Lease>::namespaced(world.client.clone(), "default");
    let name = leases.list(&Default::default()).await.unwrap().items[0].metadata.name.clone().unwrap();
    first.signal("-KILL");
    first.child.wait().await.unwrap();
    let stamp = |time: &str| serde_json::json!({"spec": {"holderIdentity": "elsewhere/1/2/3", "renewTime": time}});
    let renew = async |time: &str| {
        let patch = kube::api::Patch::Merge(stamp(time));
        leases.patch(&name, &Default::default(), &patch).await.unwrap();
    };
    // It renews by a clock that is years behind: it looks dead, and lives.
    renew("2020-01-01T00:00:00.000000Z").await;
    let (undone, ()) = tokio::join!(world.canary(&["rollback"]), async {
        tokio::time::sleep(std::time::Duration::from_secs(5)).await;
        renew("2020-01-01T00:00:10.000000Z").await;
    });
    assert_eq!(undone.0, 6, "{}", undone.1);
    assert_eq!(world.weights().await, [80, 20]);
    // It renewed by a clock that is ahead, and says no more: it looks alive, and is dead.
    renew("2099-01-01T00:00:00.000000Z").await;
    assert_eq!(world.start(&["app", "--rollback"]).ends().await.0, 5);
    world.left([100, 0]).await;
}
