//! Kinds, rules, several routes, and stages beside weights.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use super::world::*;

fn other(kind: &str, name: &str, weights: [u64; 2]) -> Value {
    let mut route = route(name, weights);
    route["kind"] = json!(kind);
    if !matches!(kind, "HTTPRoute" | "GRPCRoute") {
        route["spec"]["rules"][0].as_object_mut().unwrap().remove("matches");
        route["spec"].as_object_mut().unwrap().remove("hostnames");
    }
    if kind == "GRPCRoute" {
        route["spec"]["rules"][0]["matches"] = json!([{"method": {"service": "shop.Cart", "method": "Add"}}]);
    }
    if kind == "TLSRoute" {
        route["spec"]["hostnames"] = json!(["shop.example"]);
    }
    route
}

async fn left(world: &World, made: &Value, weights: [u64; 2]) {
    let routes = routes(&world.client, made["kind"].as_str().unwrap());
    let now = routes.get(made["metadata"]["name"].as_str().unwrap()).await.unwrap();
    let mut expected = made.clone();
    for (at, weight) in weights.into_iter().enumerate() {
        expected["spec"]["rules"][0]["backendRefs"][at]["weight"] = json!(weight);
    }
    assert_eq!(now.data["spec"], expected["spec"]);
    let annotations = json!(now.metadata.annotations);
    assert_eq!(annotations, expected["metadata"]["annotations"]);
}

pub async fn every_kind_of_route_is_stepped() {
    let world = World::new().await;
    for kind in ["GRPCRoute", "TLSRoute", "TCPRoute", "UDPRoute"] {
        let made = other(kind, "app", [100, 0]);
        world.serve(&made).await;
        let name = format!("{}/app", kind.to_lowercase());
        let mut canary = world.start(&[&name, "--steps", "20,40", "--interval", "500ms"]);
        assert_eq!(canary.ends().await.0, 0, "{kind}: {:#?}", canary.seen);
        left(&world, &made, [60, 40]).await;
    }
    // By what it matches, and back.
    let mut canary = world.start(&["grpcroute/app", "--rule", "shop.Cart/Add", "--step", "60", "--max", "60"]);
    canary.until("Observe").await;
    canary.signal("-TERM");
    assert_eq!(canary.ends().await.0, 5);
    left(&world, &other("GRPCRoute", "app", [60, 40]), [60, 40]).await;
}

pub async fn two_of_many_backends_and_a_rule_by_its_name() {
    let world = World::new().await;
    let mut made = route("app", [90, 0]);
    let rules = made["spec"]["rules"].as_array_mut().unwrap();
    rules[0]["name"] = json!("split");
    rules[0]["backendRefs"].as_array_mut().unwrap().insert(1, json!({"name": "app-v0", "port": 8080, "weight": 10}));
    rules.insert(
        0,
        json!({"backendRefs": [{"name": "x", "port": 1, "weight": 1}, {"name": "y", "port": 1, "weight": 1}]}),
    );
    world.create(&made).await;
    let base = ["app", "--steps", "20", "--interval", "500ms"];
    let mut canary = world.start(&base);
    assert_eq!(canary.ends().await.0, 2, "two rules and three backends: {:#?}", canary.seen);
    let named = ["--rule", "split", "--stable", "app-v1", "--canary", "app-v2"];
    let mut canary = world.start(&[&base[..], &named].concat());
    assert_eq!(canary.ends().await.0, 0, "{:#?}", canary.seen);
    made["spec"]["rules"][1]["backendRefs"][0]["weight"] = json!(72);
    made["spec"]["rules"][1]["backendRefs"][2]["weight"] = json!(18);
    assert_eq!(world.get().await["spec"], made["spec"]);
}

pub async fn a_tenth_of_a_percent_and_back_to_the_weights_that_were() {
    let world = World::with([1, 1]).await;
    let mut canary = world.start(&["app", "--steps", "50.1,60", "--interval", "1m"]);
    let applied = canary.until("Apply").await;
    assert!((applied["weight"].as_f64().unwrap() - 50.1).abs() < 0.06, "{applied}");
    canary.signal("-INT");
    assert_eq!(canary.ends().await.0, 5, "{:#?}", canary.seen);
    world.left([1, 1]).await;

    let world = World::with([1, 0]).await;
    let mut canary = world.start(&["app", "--steps", "0.1,5", "--interval", "1m"]);
    canary.until("Apply").await;
    let [of_stable, of_canary] = world.weights().await;
    assert!(of_canary == 1 && (950..1050).contains(&of_stable), "{of_stable} {of_canary}");
    canary.signal("-INT");
    assert_eq!(canary.ends().await.0, 5, "{:#?}", canary.seen);
    world.left([1, 0]).await;
}

pub async fn several_routes_move_together_or_not_at_all() {
    let world = World::with([100, 0]).await;
    let second = other("TCPRoute", "second", [10, 0]);
    world.serve(&second).await;
    let args = ["app", "tcproute/second", "--steps", "20,40", "--interval", "1s"];
    let mut canary = world.start(&args);
    assert_eq!(canary.ends().await.0, 0, "{:#?}", canary.seen);
    world.left([60, 40]).await;
    left(&world, &second, [6, 4]).await;

    // The second cannot be written at its second step: the first is put back, and all of it undone.
    let world = World::with([100, 0]).await;
    world.serve(&second).await;
    let chaos = world.through_chaos().await;
    let mut canary = world.start(&args);
    canary.until("Observe").await;
    let path = "/tcproutes/second";
    // The rehearsal goes through.
    chaos.spoil_after(1, hyper::Method::PATCH, path, 1, super::chaos::Fault::Answer(400));
    let compensated = canary.until("Compensate").await;
    assert!(compensated["message"].as_str().unwrap().contains("default/app put back"), "{compensated}");
    assert_eq!(canary.ends().await.0, 7, "{:#?}", canary.seen);
    world.left([100, 0]).await;
    left(&world, &second, [10, 0]).await;
}

pub async fn a_bad_canary_of_one_route_takes_all_back_and_a_missing_route_refuses_all() {
    let world = World::with([100, 0]).await;
    let second = other("TCPRoute", "second", [10, 0]);
    world.serve(&second).await;
    let mut canary = world.start(&["app", "tcproute/second", "--steps", "20,40", "--interval", "1m"]);
    canary.until("Observe").await;
    world.behaviour.canary_fails.store(300, Ordering::SeqCst);
    assert_eq!(canary.ends().await.0, 3, "{:#?}", canary.seen);
    world.left([100, 0]).await;
    left(&world, &second, [10, 0]).await;
    let mut canary = world.start(&["app", "tcproute/third"]);
    assert_eq!(canary.ends().await.0, 2);
    world.left([100, 0]).await;
}

pub async fn header_and_mirror_come_before_users_and_leave_nothing() {
    let world = World::with([100, 0]).await;
    let args = [
        "app",
        "--steps",
        "20",
        "--interval",
        "500ms",
        "--header",
        "X-Canary: true",
        "--mirror",
        "--check",
        "exec:true",
        "--check-every",
        "100ms",
    ];
    let mut canary = world.start(&args);
    canary.until("Apply").await;
    let mirrored = world.get().await["spec"].clone();
    assert_eq!(mirrored["rules"][0]["filters"][0]["requestMirror"]["backendRef"]["name"], "app-v2", "{mirrored}");
    assert_eq!(world.weights().await, [100, 0]);
    canary.until("Apply").await;
    let routed = world.get().await["spec"]["rules"].clone();
    assert_eq!(routed[0]["matches"][0]["headers"][0]["value"], "true", "{routed}");
    assert_eq!(routed[0]["backendRefs"][0]["name"], "app-v2");
    assert!(routed[1].get("filters").is_none() && routed.as_array().unwrap().len() == 2, "{routed}");
    assert_eq!(canary.ends().await.0, 0, "{:#?}", canary.seen);
    world.left([80, 20]).await;

    // Bad for those who asked for it: nobody else ever saw it.
    let world = World::with([100, 0]).await;
    let mut canary = world.start(&args);
    canary.until("Apply").await;
    canary.until("Apply").await;
    world.behaviour.canary_fails.store(500, Ordering::SeqCst);
    assert_eq!(canary.ends().await.0, 3, "{:#?}", canary.seen);
    world.left([100, 0]).await;

    // Killed in the middle of it, and undone by another.
    let world = World::with([100, 0]).await;
    let mut canary = world.start(&args);
    canary.until("Apply").await;
    canary.until("Apply").await;
    canary.signal("-KILL");
    canary.child.wait().await.unwrap();
    assert_eq!(world.canary(&["rollback"]).await.0, 5);
    world.left([100, 0]).await;
}

pub async fn a_promotion_soaks_and_says_what_to_commit() {
    let world = World::with([100, 0]).await;
    let report = world.folder.path().join("report.md");
    let mut canary = world.start(&[
        "app",
        "--steps",
        "50",
        "--promote",
        "--interval",
        "500ms",
        "--soak",
        "1s",
        "--report",
        report.to_str().unwrap(),
    ]);
    canary.until("Promote").await;
    canary.until("Soak").await;
    let (code, last) = canary.ends().await;
    assert_eq!(code, 0, "{:#?}", canary.seen);
    world.left([0, 100]).await;
    let diff = last["diff"].as_str().unwrap();
    assert!(diff.contains("httproutes/default/app.yaml") && diff.contains("weight: 100"), "{diff}");
    let report = std::fs::read_to_string(report).unwrap();
    assert!(report.contains("**Done**") && report.contains("```diff"), "{report}");
}

pub async fn a_plan_file_has_the_flags_and_the_command_line_wins() {
    let world = World::with([100, 0]).await;
    let file = world.folder.path().join("plan.yaml");
    std::fs::write(&file, "route: app\nsteps: [20, 30]\ninterval: 1h\nmax-error-rate: 2%\n").unwrap();
    let plan = file.to_str().unwrap();
    let mut canary = world.start(&["--plan", plan, "--interval", "500ms"]);
    assert_eq!(canary.ends().await.0, 0, "{:#?}", canary.seen);
    world.left([70, 30]).await;
    std::fs::write(&file, "stepz: 5\n").unwrap();
    assert_eq!(world.canary(&["--plan", plan]).await.0, 2);
}

pub async fn a_dry_run_tells_exposure_and_asks_the_api_if_told_to() {
    let world = World::with([100, 0]).await;
    let mut canary = world.start(&["app", "--steps", "0.5,50", "--dry-run=server"]);
    assert_eq!(canary.ends().await.0, 0, "{:#?}", canary.seen);
    world.left([100, 0]).await;
    let exposure = canary.seen.iter().find(|line| line["phase"] == "Exposure").unwrap();
    let message = exposure["message"].as_str().unwrap();
    assert!(message.contains("requests per second") && message.contains("at 0.5 %"), "{message}");
    assert_eq!(canary.seen.iter().filter(|line| line["phase"] == "Plan").count(), 2);

    let chaos = world.through_chaos().await;
    chaos.spoil(hyper::Method::PATCH, "/httproutes/app", 1, super::chaos::Fault::Answer(422));
    let mut canary = world.start(&["app", "--dry-run=server"]);
    assert_eq!(canary.ends().await.0, 2, "{:#?}", canary.seen);
    world.left([100, 0]).await;
}
