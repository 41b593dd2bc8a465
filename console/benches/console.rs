//! What the console costs: `cargo bench -p gwtop --bench console`.
//!
//! The built binary in a terminal of its own on a local API with `GWTOP_BENCH_ROUTES` routes
//! (10,000 if not said), first when nothing happens and then under 200 updates a second. Printed,
//! not asserted: a figure of one machine is not a test.

#![allow(clippy::unwrap_used)] // a benchmark that cannot go on ends

#[path = "../tests/common/terminal.rs"]
mod terminal;

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use futures::StreamExt as _;
use gwproxy::local::{
    Api as Local, ApiOptions,
    admit::{Admit, Admitted},
};
use kube::{
    Api, Client, Config,
    api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};
use terminal::Terminal;

const UPDATES_A_SECOND: u64 = 200;
const KEYS: usize = 200;

struct AdmitAll;

impl Admit for AdmitAll {
    fn admit(&self, _: &str, _: &str, _: &mut Value, _: Option<&Value>) -> Admitted {
        Admitted::default()
    }
}

fn route(number: usize) -> DynamicObject {
    let route = json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": {"name": format!("route-{number:05}"), "namespace": "default"},
        "spec": {
            "parentRefs": [{"name": "web"}], "hostnames": [format!("h{number}.example.com")],
            "rules": [{"matches": [{"path": {"type": "PathPrefix", "value": "/"}}], "backendRefs": [
                {"name": format!("app-{}-v1", number % 100), "port": 80, "weight": 90},
                {"name": format!("app-{}-v2", number % 100), "port": 80, "weight": 10}]}],
        },
    });
    serde_json::from_value(route).unwrap()
}

fn status(number: usize, round: u64) -> Value {
    // One in fifty is broken, and which ones changes.
    let broken = (number as u64 + round).is_multiple_of(50);
    let condition = |kind: &str, good: bool| {
        json!({"type": kind, "status": if good { "True" } else { "False" }, "observedGeneration": 1,
            "reason": if good { kind } else { "BackendNotFound" }, "message": format!("round {round}"),
            "lastTransitionTime": "2026-01-01T00:00:00Z"})
    };
    json!({"status": {"parents": [{"parentRef": {"name": "web"}, "controllerName": "example.com/controller",
        "conditions": [condition("Accepted", true), condition("ResolvedRefs", !broken)]}]}})
}

#[tokio::main]
async fn main() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let count = std::env::var("GWTOP_BENCH_ROUTES").ok().and_then(|text| text.parse().ok()).unwrap_or(10_000);
    let folder = tempfile::tempdir().unwrap();
    let kubeconfig = folder.path().join("kubeconfig");
    let options = ApiOptions {
        service: gwproxy::local::Service::default(),
        listen: "127.0.0.1:0".parse().unwrap(),
        data: folder.path().join("data"),
        kubeconfig: kubeconfig.clone(),
        admit: Arc::new(AdmitAll),
    };
    let local = Local::start(options).await.unwrap_or_else(|error| panic!("{error}"));
    let loaded = Kubeconfig::read_from(&kubeconfig).unwrap();
    let client = Client::try_from(Config::from_custom_kubeconfig(loaded, &KubeConfigOptions::default()).await.unwrap());
    let gvk = GroupVersionKind::gvk("gateway.networking.k8s.io", "v1", "HTTPRoute");
    let routes: Api<DynamicObject> = Api::namespaced_with(client.unwrap(), "default", &ApiResource::from_gvk(&gvk));
    futures::stream::iter(0..count)
        .for_each_concurrent(32, |number| {
            let routes = routes.clone();
            async move {
                routes.create(&PostParams::default(), &route(number)).await.unwrap();
                let name = format!("route-{number:05}");
                routes.patch_status(&name, &PatchParams::default(), &Patch::Merge(status(number, 0))).await.unwrap();
            }
        })
        .await;

    let state = folder.path().to_owned();
    let config = kubeconfig.to_str().unwrap().to_owned();
    let begun = Instant::now();
    let mut terminal = Terminal::start(&["--kubeconfig", &config], &state, (120, 40));
    until(&terminal, "Routes");
    println!("first frame after {:.1} ms, {count} routes", begun.elapsed().as_secs_f64() * 1000.0);
    until(&terminal, &format!("Routes {count}"));
    println!("all routes listed after {:.2} s", begun.elapsed().as_secs_f64());
    tokio::time::sleep(Duration::from_secs(5)).await;

    let pid = terminal.pid();
    report("idle", &mut terminal, pid).await;
    let stop = Arc::new(AtomicBool::new(false));
    let written = Arc::new(AtomicU64::new(0));
    let updates = tokio::spawn(update(routes.clone(), count, Arc::clone(&stop), Arc::clone(&written)));
    tokio::time::sleep(Duration::from_secs(3)).await;
    let before = (written.load(Relaxed), Instant::now());
    report("under updates", &mut terminal, pid).await;
    let rate = (written.load(Relaxed) - before.0) as f64 / before.1.elapsed().as_secs_f64();
    println!("  {rate:.0} updates a second were written meanwhile");
    stop.store(true, Relaxed);
    updates.await.unwrap();
    terminal.press("\x03");
    terminal.ends();
    drop(local);
}

async fn update(routes: Api<DynamicObject>, count: usize, stop: Arc<AtomicBool>, written: Arc<AtomicU64>) {
    let mut due = tokio::time::interval(Duration::from_micros(1_000_000 / UPDATES_A_SECOND));
    let mut number = 0_usize;
    while !stop.load(Relaxed) {
        due.tick().await;
        let (routes, written) = (routes.clone(), Arc::clone(&written));
        number += 1;
        let (at, round) = (number * 7919 % count, number as u64);
        tokio::spawn(async move {
            let patch = Patch::Merge(status(at, round));
            if routes.patch_status(&format!("route-{at:05}"), &PatchParams::default(), &patch).await.is_ok() {
                written.fetch_add(1, Relaxed);
            }
        });
    }
}

/// Processor time, memory, and how long it takes from a key to the screen that it asks for.
async fn report(what: &str, terminal: &mut Terminal, pid: u32) {
    println!("{what}:");
    let (cpu, begun) = (processor(pid), Instant::now());
    tokio::time::sleep(Duration::from_secs(10)).await;
    let share = (processor(pid) - cpu).as_secs_f64() / begun.elapsed().as_secs_f64();
    println!("  {:.1} % of a core, {} MiB resident", share * 100.0, resident(pid));
    let mut times = Vec::new();
    for turn in 0..KEYS {
        let (key, wanted) = if turn % 2 == 0 { ("?", "Keys and commands") } else { ("q", "ROUTE  ") };
        let begun = Instant::now();
        terminal.press(key);
        until(terminal, wanted);
        times.push(begun.elapsed());
        tokio::time::sleep(Duration::from_millis(7)).await;
    }
    times.sort();
    let of = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1000.0;
    println!("  key to screen: p50 {:.1} ms, p90 {:.1} ms, p99 {:.1} ms", of(0.5), of(0.9), of(0.99));
}

fn until(terminal: &Terminal, wanted: &str) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !terminal.text().contains(wanted) {
        assert!(Instant::now() < deadline, "no {wanted:?}:\n{}", terminal.text());
        std::thread::sleep(Duration::from_micros(300));
    }
}

fn processor(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<u64> =
        stat.rsplit(')').next().unwrap().split_whitespace().filter_map(|field| field.parse().ok()).collect();
    // utime and stime; the state before them is no number. In hundredths of a second on Linux.
    Duration::from_millis((fields[10] + fields[11]) * 10)
}

fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() / 1024
}
