//! `gwtop canary` as a process, against the local API over real HTTP. What stands in for a
//! gateway here accepts routes and counts requests as the route's weights say, so that each
//! test decides how the backends behave.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

use std::{
    net::SocketAddr,
    path::Path,
    process::Stdio,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use gwproxy::local::{
    Api as Local, ApiOptions,
    admit::{Admit, Admitted},
};
use kube::{
    Api, Client, Config,
    api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    net::TcpListener,
    process::{Child, ChildStdout, Command},
    time::timeout,
};

const LONG: Duration = Duration::from_secs(60);

struct AdmitAll;

impl Admit for AdmitAll {
    fn admit(&self, _: &str, _: &str, _: &mut Value, _: Option<&Value>) -> Admitted {
        Admitted::default()
    }
}

#[derive(Default)]
struct Behaviour {
    /// Of a thousand requests to the canary, how many fail.
    canary_fails: AtomicU64,
    stable_fails: AtomicU64,
    metrics_gone: AtomicBool,
    idle: AtomicBool,
    text: Mutex<String>,
}

struct World {
    local: Option<Local>,
    folder: tempfile::TempDir,
    routes: Api<DynamicObject>,
    behaviour: Arc<Behaviour>,
    metrics: String,
}

fn route(name: &str, weights: [u64; 2]) -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": name, "namespace": "default", "annotations": {"team": "shop"}},
        "spec": {
            "parentRefs": [{"name": "gw"}],
            "hostnames": ["shop.example"],
            "rules": [{
                "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
                "backendRefs": [
                    {"name": "app-v1", "port": 8080, "weight": weights[0]},
                    {"name": "app-v2", "port": 8080, "weight": weights[1]},
                ],
            }],
        },
    })
}

impl World {
    async fn new() -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let kubeconfig = folder.path().join("kubeconfig");
        let local = serve_api(folder.path(), "127.0.0.1:0".parse().unwrap()).await;
        let loaded = Kubeconfig::read_from(&kubeconfig).unwrap();
        let config = Config::from_custom_kubeconfig(loaded, &KubeConfigOptions::default()).await.unwrap();
        let client = Client::try_from(config).unwrap();
        let gvk = GroupVersionKind::gvk("gateway.networking.k8s.io", "v1", "HTTPRoute");
        let resource = ApiResource::from_gvk_with_plural(&gvk, "httproutes");
        let routes: Api<DynamicObject> = Api::namespaced_with(client, "default", &resource);
        let behaviour = Arc::new(Behaviour::default());
        let metrics = serve(behaviour.clone()).await;
        tokio::spawn(gateway(routes.clone(), behaviour.clone()));
        Self { local: Some(local), folder, routes, behaviour, metrics }
    }

    async fn with(weights: [u64; 2]) -> Self {
        let world = Self::new().await;
        world.create(&route("app", weights)).await;
        world
    }

    async fn create(&self, route: &Value) {
        let object = serde_json::from_value(route.clone()).unwrap();
        self.routes.create(&PostParams::default(), &object).await.unwrap();
    }

    async fn get(&self) -> Value {
        serde_json::to_value(self.routes.get("app").await.unwrap()).unwrap()
    }

    async fn weights(&self) -> [u64; 2] {
        let route = self.get().await;
        [0, 1].map(|at| route["spec"]["rules"][0]["backendRefs"][at]["weight"].as_u64().unwrap())
    }

    /// The route is as it was made but for the weights, and no record is left.
    async fn left(&self, weights: [u64; 2]) {
        let now = self.get().await;
        let made = route("app", weights);
        assert_eq!(now["spec"], made["spec"]);
        assert_eq!(now["metadata"]["annotations"], made["metadata"]["annotations"]);
    }

    fn start(&self, args: &[&str]) -> Canary {
        let mut child = Command::new(env!("CARGO_BIN_EXE_gwtop"))
            .args(["canary", "-o", "json", "--scrape-every", "150ms", "--metrics-url", &self.metrics])
            .args(["--kubeconfig".as_ref(), self.folder.path().join("kubeconfig").as_os_str()])
            .args(args)
            .env("XDG_STATE_HOME", self.folder.path().join("state"))
            .env("HOME", self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Canary { child, lines, seen: Vec::new() }
    }

    /// Two steps, to 40 %.
    fn steps(&self) -> Canary {
        self.start(&["app", "--step", "20", "--max", "40", "--interval", "1s", "--min-requests", "50", "--hold", "2s"])
    }
}

async fn serve_api(folder: &Path, listen: SocketAddr) -> Local {
    let options = ApiOptions {
        listen,
        data: folder.join("data"),
        kubeconfig: folder.join("kubeconfig"),
        admit: Arc::new(AdmitAll),
    };
    Local::start(options).await.unwrap_or_else(|error| panic!("{error}"))
}

/// Accepts routes, and counts a hundred requests every 50 ms.
async fn gateway(routes: Api<DynamicObject>, behaviour: Arc<Behaviour>) {
    let mut counts = [[0_u64; 2]; 2];
    let mut known = None;
    loop {
        tokio::time::sleep(Duration::from_millis(50)).await;
        // Traffic goes on as last told when the API is away.
        if let Ok(Ok(route)) = timeout(Duration::from_secs(1), routes.get("app")).await {
            known = Some(route);
        }
        let Some(route) = known.clone() else { continue };
        let generation = route.metadata.generation.unwrap_or_default();
        let condition = |kind: &str| {
            json!({"type": kind, "status": "True", "reason": kind, "message": "", "observedGeneration": generation,
                "lastTransitionTime": "2026-01-01T00:00:00Z"})
        };
        let parent = json!({"parentRef": {"name": "gw"}, "controllerName": "x/y",
            "conditions": [condition("Accepted"), condition("ResolvedRefs")]});
        if route.data.pointer("/status/parents/0/conditions/0/observedGeneration") != Some(&json!(generation)) {
            let status = json!({"status": {"parents": [parent]}});
            let _ = routes.patch_status("app", &PatchParams::default(), &Patch::Merge(status)).await;
        }
        let weight = |at: usize| {
            route.data.pointer(&format!("/spec/rules/0/backendRefs/{at}/weight")).and_then(Value::as_u64).unwrap_or(1)
        };
        let (stable, canary) = (weight(0), weight(1));
        if stable + canary == 0 || behaviour.idle.load(Ordering::SeqCst) {
            continue;
        }
        let to_canary = 100 * canary / (stable + canary);
        let fails = [&behaviour.stable_fails, &behaviour.canary_fails].map(|fails| fails.load(Ordering::SeqCst));
        for (at, requests) in [100 - to_canary, to_canary].into_iter().enumerate() {
            let failed = (requests * fails[at]).div_ceil(1000);
            counts[at][0] += requests - failed;
            counts[at][1] += failed;
        }
        let text: String = ["app-v1", "app-v2"]
            .iter()
            .zip(counts)
            .flat_map(|(backend, counts)| {
                ["200", "503"].into_iter().zip(counts).map(move |(code, count)| {
                    format!(
                        "gwproxy_requests_total{{route_kind=\"HTTPRoute\",route_namespace=\"default\",route=\"app\",rule=\"0\",\
                         backend_namespace=\"default\",backend=\"{backend}\",backend_port=\"8080\",code=\"{code}\"}} {count}\n"
                    )
                })
            })
            .collect();
        *behaviour.text.lock().unwrap() = text;
    }
}

async fn serve(behaviour: Arc<Behaviour>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let behaviour = behaviour.clone();
            tokio::spawn(async move {
                let mut request = [0; 2048];
                let _ = stream.read(&mut request).await;
                let text = behaviour.text.lock().unwrap().clone();
                let status = if behaviour.metrics_gone.load(Ordering::SeqCst) { "503 Gone" } else { "200 OK" };
                let answer =
                    format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{text}", text.len());
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
    format!("http://{address}/metrics")
}

struct Canary {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    seen: Vec<Value>,
}

impl Canary {
    /// Reads until a line of this phase.
    async fn until(&mut self, phase: &str) -> Value {
        loop {
            let line = timeout(LONG, self.lines.next_line()).await.expect("a line in time").unwrap();
            let Some(line) = line else { panic!("ended before {phase}: {:#?}", self.seen) };
            let line: Value = serde_json::from_str(&line).expect("every line is JSON");
            assert_eq!(line["schema"], "gwtop.dev/canary/v1");
            self.seen.push(line.clone());
            if line["phase"] == phase {
                return line;
            }
        }
    }

    async fn ends(&mut self) -> (i32, Value) {
        while let Some(line) = timeout(LONG, self.lines.next_line()).await.expect("a line in time").unwrap() {
            self.seen.push(serde_json::from_str(&line).expect("every line is JSON"));
        }
        let code = timeout(LONG, self.child.wait()).await.expect("the end in time").unwrap().code().unwrap_or(-1);
        let last = self.seen.last().cloned().unwrap_or_default();
        assert_eq!(last["finished"], code, "{:#?}", self.seen);
        (code, last)
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().unwrap().to_string();
        assert!(std::process::Command::new("kill").args([name, &id]).status().unwrap().success());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_canary_reaches_its_maximum() {
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
    let journal = std::fs::read_dir(world.folder.path().join("state/gwtop/canary")).unwrap().count();
    assert_eq!(journal, 1);
}

/// Such a step raises no generation: what the watch showed before it looks as new.
#[tokio::test(flavor = "multi_thread")]
async fn a_first_step_that_changes_no_weight_is_a_step() {
    for _ in 0..4 {
        let world = World::with([80, 20]).await;
        let mut canary = world.start(&["--step", "20", "--max", "20", "--interval", "1s", "--min-requests", "20"]);
        let (code, last) = canary.ends().await;
        assert_eq!((code, &last["phase"]), (0, &"Done".into()), "{:#?}", canary.seen);
        world.left([80, 20]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_canary_is_rolled_back() {
    let world = World::with([9, 1]).await;
    let mut canary = world.steps();
    canary.until("Observe").await;
    world.behaviour.canary_fails.store(500, Ordering::SeqCst);
    let (code, last) = canary.ends().await;
    assert_eq!((code, last["phase"].as_str()), (3, Some("RolledBack")), "{:#?}", canary.seen);
    world.left([10, 0]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_both_are_bad_nothing_is_blamed_and_nothing_advances() {
    let world = World::with([100, 0]).await;
    world.behaviour.canary_fails.store(500, Ordering::SeqCst);
    world.behaviour.stable_fails.store(500, Ordering::SeqCst);
    let mut canary = world.steps();
    canary.until("Hold").await;
    assert_eq!(world.weights().await, [80, 20]);
    assert_eq!(canary.ends().await.0, 7);
    world.left([100, 0]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_run_left_is_taken_up_by_the_next() {
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

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_run_left_can_be_undone() {
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

#[tokio::test(flavor = "multi_thread")]
async fn two_operators_and_a_signal() {
    let world = World::with([9, 1]).await;
    let mut first = world.steps();
    first.until("Observe").await;
    let before = world.weights().await;
    let mut second = world.steps();
    assert_eq!(second.ends().await.0, 6, "{:#?}", second.seen);
    assert_eq!(world.weights().await, before);
    first.signal("-TERM");
    assert_eq!(first.ends().await.0, 5, "{:#?}", first.seen);
    world.left([9, 1]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_elses_weights_are_left_alone() {
    let world = World::with([100, 0]).await;
    let mut canary = world.steps();
    canary.until("Observe").await;
    let edit: json_patch::Patch = serde_json::from_value(json!([
        {"op": "replace", "path": "/spec/rules/0/backendRefs/0/weight", "value": 70},
        {"op": "replace", "path": "/spec/rules/0/backendRefs/1/weight", "value": 30},
    ]))
    .unwrap();
    world.routes.patch("app", &PatchParams::default(), &Patch::Json::<()>(edit)).await.unwrap();
    let (code, last) = canary.ends().await;
    assert_eq!((code, last["phase"].as_str()), (6, Some("Conflict")), "{:#?}", canary.seen);
    assert_eq!(world.weights().await, [70, 30]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_of_something_else_does_not_disturb() {
    let world = World::with([100, 0]).await;
    let mut canary = world.steps();
    canary.until("Observe").await;
    let edit = json!({"spec": {"hostnames": ["other.example"]}});
    world.routes.patch("app", &PatchParams::default(), &Patch::Merge(edit)).await.unwrap();
    assert_eq!(canary.ends().await.0, 0, "{:#?}", canary.seen);
    assert_eq!(world.weights().await, [60, 40]);
    assert_eq!(world.get().await["spec"]["hostnames"], json!(["other.example"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_route_stays_deleted() {
    let world = World::with([100, 0]).await;
    let mut canary = world.steps();
    canary.until("Observe").await;
    world.routes.delete("app", &DeleteParams::default()).await.unwrap();
    assert_eq!(canary.ends().await.0, 9, "{:#?}", canary.seen);
    assert!(world.routes.get_opt("app").await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_waits_for_an_api_that_is_away() {
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

#[tokio::test(flavor = "multi_thread")]
async fn without_data_nothing_passes() {
    let world = World::with([100, 0]).await;
    let mut canary = world.steps();
    canary.until("Observe").await;
    world.behaviour.metrics_gone.store(true, Ordering::SeqCst);
    canary.until("Hold").await;
    assert_eq!(world.weights().await, [80, 20]);
    assert_eq!(canary.ends().await.0, 7, "{:#?}", canary.seen);
    world.left([100, 0]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn checks_that_fail_stop_a_run_before_and_during_it() {
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

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_writes_nothing() {
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

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_meant_is_refused_with_what_could() {
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

#[tokio::test(flavor = "multi_thread")]
async fn a_detached_run_leaves_the_canary_live_and_another_goes_on_from_there() {
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

#[tokio::test(flavor = "multi_thread")]
async fn a_held_run_still_rolls_a_bad_canary_back() {
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

#[tokio::test(flavor = "multi_thread")]
async fn status_tells_the_well_from_the_unwell() {
    let world = World::with([100, 0]).await;
    let status = async || {
        let output = Command::new(env!("CARGO_BIN_EXE_gwtop"))
            .args(["status", "-o", "json", "--kubeconfig"])
            .arg(world.folder.path().join("kubeconfig"))
            .env("XDG_STATE_HOME", world.folder.path().join("state"))
            .output()
            .await
            .unwrap();
        let answer: Value = serde_json::from_slice(&output.stdout).expect("status is JSON");
        (output.status.code().unwrap(), answer)
    };
    let accepted = async {
        while status().await.0 != 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(LONG, accepted).await.expect("the route is accepted");
    world.create(&route("nobodys", [1, 1])).await;
    let (code, answer) = status().await;
    assert_eq!((code, &answer["healthy"]), (1, &json!(false)));
    assert_eq!(answer["items"][0]["name"], "nobodys", "problems first");
}

/// Forwards to the API; while `deaf`, requests get through and answers do not.
async fn proxy(api: SocketAddr, deaf: Arc<AtomicBool>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let deaf = deaf.clone();
            tokio::spawn(async move {
                let Ok(server) = tokio::net::TcpStream::connect(api).await else { return };
                let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
                    (client.into_split(), server.into_split());
                let requests = tokio::io::copy(&mut from_client, &mut to_server);
                let answers = async {
                    let mut bytes = [0; 16 * 1024];
                    while let Ok(count @ 1..) = from_server.read(&mut bytes).await {
                        if deaf.load(Ordering::SeqCst) || to_client.write_all(&bytes[..count]).await.is_err() {
                            break;
                        }
                    }
                };
                tokio::select! {
                    _ = requests => {}
                    () = answers => {}
                }
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_whose_answer_is_lost_is_not_made_twice() {
    let world = World::with([100, 0]).await;
    let api = world.local.as_ref().unwrap().address;
    let deaf = Arc::new(AtomicBool::new(false));
    let through = proxy(api, deaf.clone()).await;
    let path = world.folder.path().join("kubeconfig");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace(&api.to_string(), &through.to_string())).unwrap();
    let mut canary = world.steps();
    canary.until("Observe").await;
    deaf.store(true, Ordering::SeqCst);
    canary.until("Frozen").await;
    assert_eq!(world.weights().await, [60, 40], "the second step was written, and nobody was told");
    deaf.store(false, Ordering::SeqCst);
    assert_eq!(canary.ends().await.0, 0, "{:#?}", canary.seen);
    world.left([60, 40]).await;
    let audit = std::fs::read_to_string(world.folder.path().join("state/gwtop/audit.jsonl")).unwrap();
    let second = audit.lines().filter(|line| line.contains("app-v2:8080 40") && !line.contains(r#""op":"remove""#));
    assert_eq!(second.count(), 1, "{audit}");
}
