//! How long a change takes from the API to the first right answer, whether any answer is wrong
//! on the way, and what thousands of routes cost. Takes minutes, so only on request:
//!
//!     GWPROXY_TEST_PROPAGATION=3000 cargo test --release -p gwproxy --test propagation -- --nocapture
//!
//! The number is how many routes are created, changed and deleted one by one. With
//! `GWPROXY_TEST_PROPAGATION_AMONG=100,5000,10000` that happens again among that many others,
//! 300 at a time. It prints a report; only wrong answers and wrong counts fail it.

#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

#[path = "common/gateway.rs"]
mod common;

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use common::Backend;
use futures::{StreamExt, stream};
use http_body_util::{BodyExt, Empty};
use hyper::{Request, client::conn::http1::SendRequest};
use hyper_util::rt::TokioIo;
use kube::{
    Api, Client,
    api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams, PostParams},
    runtime::{WatchStreamExt, watcher},
};
use serde_json::{Value, json};

const PLATFORM: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: { name: gwproxy }
spec: { controllerName: gwtop.dev/gwproxy }
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: edge, namespace: default }
spec:
  gatewayClassName: gwproxy
  listeners: [{ name: http, port: 8080, protocol: HTTP }]
---
";
const FOREIGN: &str = "example.com/other";

fn service(name: &str, address: SocketAddr) -> String {
    format!(
        "
apiVersion: v1
kind: Service
metadata: {{ name: {name}, namespace: default }}
spec: {{ ports: [{{ name: http, port: 80 }}] }}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{ name: {name}-1, namespace: default, labels: {{ kubernetes.io/service-name: {name} }} }}
addressType: IPv4
endpoints: [{{ addresses: [\"127.0.0.1\"] }}]
ports: [{{ name: http, port: {}, protocol: TCP }}]
---
",
        address.port()
    )
}

fn route(name: &str, host: &str) -> DynamicObject {
    serde_json::from_value(json!({
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": { "name": name, "namespace": "default" },
        "spec": {
            "parentRefs": [{ "name": "edge" }],
            "hostnames": [host],
            "rules": [{ "backendRefs": [{ "name": "a", "port": 80 }] }],
        },
    }))
    .unwrap()
}

fn api(client: &Client, kind: &str) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("gateway.networking.k8s.io", "v1", kind));
    Api::namespaced_with(client.clone(), "default", &resource)
}

/// `gwproxy local` in a process of its own, so that its memory and its time are its own.
struct Process {
    child: Child,
    client: Client,
    address: SocketAddr,
    metrics: SocketAddr,
    _dir: tempfile::TempDir,
    _lock: std::net::TcpListener,
}

impl Process {
    async fn start(manifests: &str) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let (pool, lock) = common::pool();
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("manifests")).unwrap();
        fs::write(dir.path().join("manifests/all.yaml"), manifests).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_gwproxy"));
        command.arg("local").arg("--data").arg(dir.path().join("data"));
        command.arg("--manifests").arg(dir.path().join("manifests")).args(["--address-pool", &pool.to_string()]);
        command.args(["--api", "127.0.0.1:0", "--metrics", "127.0.0.1:0", "--workers", "2"]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let kubeconfig = dir.path().join("data/kubeconfig");
        let (client, edge) = programmed(&kubeconfig).await;
        let ip = edge["status"]["addresses"][0]["value"].as_str().unwrap();
        let metrics = edge["metadata"]["annotations"].as_object().unwrap().values().find_map(|value| {
            value.as_str()?.strip_prefix("http://")?.strip_suffix("/metrics")?.parse::<SocketAddr>().ok()
        });
        let address = format!("{ip}:8080").parse().unwrap();
        Self { child, client, address, metrics: metrics.unwrap(), _dir: dir, _lock: lock }
    }

    fn proc(&self, file: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{file}", self.child.id())).unwrap()
    }

    /// In MiB, now and at most so far.
    fn memory(&self) -> (u64, u64) {
        let status = self.proc("status");
        let field = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
        };
        (field("VmRSS:"), field("VmHWM:"))
    }

    /// Processor time since its start, in clock ticks of 10 ms.
    fn ticks(&self) -> u64 {
        let stat = self.proc("stat");
        let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }

    async fn metric(&self, wanted: &str) -> Vec<(String, f64)> {
        let text = common::get(self.metrics, "metrics", "/metrics", &[]).await.1;
        let lines = text.lines().filter(|line| line.starts_with(wanted)).filter_map(|line| line.rsplit_once(' '));
        lines.map(|(name, value)| (name.to_owned(), value.parse().unwrap())).collect()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn programmed(kubeconfig: &Path) -> (Client, Value) {
    for _ in 0..1200 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        if !kubeconfig.is_file() {
            continue;
        }
        let client = common::client(kubeconfig).await;
        let Ok(edge) = api(&client, "Gateway").get("edge").await else { continue };
        let edge = serde_json::to_value(edge).unwrap();
        if common::condition(&edge["status"]["conditions"], "Programmed").0 == "True" {
            return (client, edge);
        }
    }
    panic!("gwproxy local did not come up within 60 s");
}

/// One connection that asks for one host after the other.
struct Prober {
    sender: SendRequest<Empty<Bytes>>,
    asked: u64,
    wrong: Vec<String>,
}

impl Prober {
    async fn connect(address: SocketAddr) -> Self {
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self { sender, asked: 0, wrong: Vec::new() }
    }

    /// Status and the name of the backend that answered.
    async fn ask(&mut self, host: &str) -> (u16, String) {
        self.asked += 1;
        self.sender.ready().await.unwrap();
        let request = Request::get("/").header("host", host).body(Empty::new()).unwrap();
        let response = self.sender.send_request(request).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let name = if status == 200 { String::from_utf8_lossy(&body).lines().next().map(str::to_owned) } else { None };
        (status, name.unwrap_or_default())
    }

    /// Until the answer is `after`; every answer until then has to be `before`.
    async fn until(&mut self, host: &str, before: (u16, &str), after: (u16, &str)) {
        let begun = Instant::now();
        loop {
            let (status, name) = self.ask(host).await;
            if (status, &*name) == after {
                return;
            }
            if (status, &*name) != before {
                self.wrong.push(format!("{host}: {status} {name}"));
            }
            assert!(begun.elapsed() < Duration::from_secs(30), "{host} is still {status} {name} after 30 s");
        }
    }
}

fn told(what: &str, times: &mut [Duration]) {
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    let (half, most, last) = (at(0.5), at(0.99), at(1.0));
    println!("  {what:<9} {:>5} times   p50 {half:>8.1?}   p99 {most:>8.1?}   longest {last:>8.1?}", times.len());
}

/// Creates, changes and deletes routes one by one, each from the write's start to the first
/// right answer.
async fn one_by_one(process: &Process, prober: &mut Prober, count: usize) {
    let routes = api(&process.client, "HTTPRoute");
    let host = |at: usize| format!("r{at}.example.com");
    let mut times = Vec::new();
    for at in 0..count {
        let begun = Instant::now();
        routes.create(&PostParams::default(), &route(&format!("r{at}"), &host(at))).await.unwrap();
        prober.until(&host(at), (404, ""), (200, "a")).await;
        times.push(begun.elapsed());
    }
    told("created", &mut times);
    times.clear();
    for at in 0..count {
        let patch = json!([{ "op": "replace", "path": "/spec/rules/0/backendRefs/0/name", "value": "b" }]);
        let patch = Patch::Json::<()>(serde_json::from_value(patch).unwrap());
        let begun = Instant::now();
        routes.patch(&format!("r{at}"), &PatchParams::default(), &patch).await.unwrap();
        prober.until(&host(at), (200, "a"), (200, "b")).await;
        times.push(begun.elapsed());
    }
    told("changed", &mut times);
    times.clear();
    for at in 0..count {
        let begun = Instant::now();
        routes.delete(&format!("r{at}"), &DeleteParams::default()).await.unwrap();
        prober.until(&host(at), (200, "b"), (404, "")).await;
        times.push(begun.elapsed());
    }
    told("deleted", &mut times);
}

/// The bounds of a histogram that 50 and 99 % of what came in between stay within, by the
/// counters of its buckets.
fn within(before: &[(String, f64)], after: &[(String, f64)]) -> (String, String) {
    let counts: Vec<_> = after.iter().zip(before).map(|((name, after), (_, before))| (name, after - before)).collect();
    let all = counts.last().map_or(0.0, |(_, count)| *count);
    let bound = |share: f64| {
        let bucket = counts.iter().find(|(_, count)| *count >= all * share).map(|(name, _)| name.as_str());
        let seconds = bucket.and_then(|name| name.split("le=\"").nth(1)).and_then(|rest| rest.split('"').next());
        seconds.unwrap_or("?").to_owned()
    };
    (bound(0.5), bound(0.99))
}

/// Until the Gateway says that so many routes are attached.
async fn counted(process: &Process, count: usize) -> Duration {
    let begun = Instant::now();
    let gateways = api(&process.client, "Gateway");
    while gateways.get("edge").await.unwrap().data["status"]["listeners"][0]["attachedRoutes"] != count {
        assert!(begun.elapsed() < Duration::from_secs(60), "the Gateway never counted {count} routes");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    begun.elapsed()
}

async fn create(process: &Process, count: usize) {
    let routes = api(&process.client, "HTTPRoute");
    stream::iter(0..count)
        .for_each_concurrent(32, |at| {
            let routes = routes.clone();
            async move {
                let route = route(&format!("bulk{at}"), &format!("bulk{at}.example.com"));
                routes.create(&PostParams::default(), &route).await.unwrap();
            }
        })
        .await;
}

async fn delete(process: &Process, count: usize) {
    let routes = api(&process.client, "HTTPRoute");
    stream::iter(0..count)
        .for_each_concurrent(32, |at| {
            let routes = routes.clone();
            async move { drop(routes.delete(&format!("bulk{at}"), &DeleteParams::default()).await.unwrap()) }
        })
        .await;
}

/// Until every route has heard that it is accepted.
async fn all_accepted(process: &Process, count: usize) {
    let routes = api(&process.client, "HTTPRoute");
    loop {
        let all = routes.list(&ListParams::default()).await.unwrap();
        let accepted = |route: &&DynamicObject| {
            common::condition(&route.data["status"]["parents"][0]["conditions"], "Accepted").0 == "True"
        };
        if all.items.iter().filter(accepted).count() == count {
            return;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Counts what anybody writes of the Gateway.
fn gateway_writes(client: &Client) -> Arc<AtomicU64> {
    let writes = Arc::new(AtomicU64::new(0));
    let (count, watched) = (Arc::clone(&writes), api(client, "Gateway"));
    tokio::spawn(async move {
        let mut changes = watcher(watched, watcher::Config::default()).applied_objects().boxed();
        while changes.next().await.is_some() {
            count.fetch_add(1, Relaxed);
        }
    });
    writes
}

/// Requests on other connections, which a change of routes must never disturb.
fn load(address: SocketAddr, stop: &Arc<AtomicBool>) -> Vec<tokio::task::JoinHandle<Prober>> {
    let prober = |_| {
        let stop = Arc::clone(stop);
        tokio::spawn(async move {
            let mut prober = Prober::connect(address).await;
            while !stop.load(Relaxed) {
                let (status, name) = prober.ask("steady.example.com").await;
                if (status, &*name) != (200, "a") {
                    prober.wrong.push(format!("steady: {status} {name}"));
                }
                tokio::time::sleep(Duration::from_micros(500)).await;
            }
            prober
        })
    };
    (0..4).map(prober).collect()
}

/// The status of a route that another controller serves too.
async fn foreign(process: &Process) -> Value {
    let routes = api(&process.client, "HTTPRoute");
    routes.get("shared").await.unwrap().data["status"]["parents"][0].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn routes_come_change_and_go() {
    let Some(count) = std::env::var("GWPROXY_TEST_PROPAGATION").ok().and_then(|count| count.parse::<usize>().ok())
    else {
        return;
    };
    let among = std::env::var("GWPROXY_TEST_PROPAGATION_AMONG").unwrap_or_default();
    let among: Vec<usize> = among.split(',').filter_map(|count| count.parse().ok()).collect();
    let (a, b) = (Backend::start("a").await, Backend::start("b").await);
    let process =
        Process::start(&[PLATFORM.to_owned(), service("a", a.address), service("b", b.address)].concat()).await;
    let mut prober = Prober::connect(process.address).await;
    let routes = api(&process.client, "HTTPRoute");
    routes.create(&PostParams::default(), &route("steady", "steady.example.com")).await.unwrap();
    let mut shared = route("shared", "shared.example.com");
    shared.data["spec"]["parentRefs"] = json!([{ "name": "theirs" }, { "name": "edge" }]);
    routes.create(&PostParams::default(), &shared).await.unwrap();
    let theirs = json!({ "status": { "parents": [{
        "parentRef": { "name": "theirs" }, "controllerName": FOREIGN,
        "conditions": [{ "type": "Accepted", "status": "True", "reason": "Accepted", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z" }],
    }] } });
    routes.patch_status("shared", &PatchParams::default(), &Patch::Merge(theirs)).await.unwrap();
    prober.until("steady.example.com", (404, ""), (200, "a")).await;
    let said = foreign(&process).await;
    assert_eq!(said["controllerName"], FOREIGN);
    counted(&process, 2).await;
    println!("one by one, from the write to the first right answer:");
    one_by_one(&process, &mut prober, count).await;

    println!("the same under load:");
    let stop = Arc::new(AtomicBool::new(false));
    let steady = load(process.address, &stop);
    one_by_one(&process, &mut prober, count.min(1000)).await;
    stop.store(true, Relaxed);
    let (mut asked, mut wrong) = (0, Vec::new());
    for prober in steady {
        let mut prober = prober.await.unwrap();
        asked += prober.asked;
        wrong.append(&mut prober.wrong);
    }
    counted(&process, 2).await;

    println!("1000 routes at once, until the Gateway counts them right:");
    let writes = gateway_writes(&process.client);
    tokio::time::sleep(Duration::from_secs(3)).await;
    let before = writes.load(Relaxed);
    create(&process, 1000).await;
    let up = counted(&process, 1002).await;
    all_accepted(&process, 1002).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let between = writes.load(Relaxed);
    delete(&process, 1000).await;
    let down = counted(&process, 2).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    println!("  up {up:.2?} with {} writes, down {down:.2?} with {}", between - before, writes.load(Relaxed) - between);

    for others in among {
        let begun = Instant::now();
        create(&process, others).await;
        let created = begun.elapsed();
        all_accepted(&process, others + 2).await;
        counted(&process, others + 2).await;
        println!(
            "among {others} routes: created in {created:.2?}, all with their status after {:.2?}",
            begun.elapsed()
        );
        let apply = "gwproxy_config_apply_seconds_bucket";
        let before = process.metric(apply).await;
        one_by_one(&process, &mut prober, 300).await;
        let (half, most) = within(&before, &process.metric(apply).await);
        println!("  watch event to live table: p50 within {half} s, p99 within {most} s");
        counted(&process, others + 2).await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        let before = process.ticks();
        tokio::time::sleep(Duration::from_secs(20)).await;
        let idle = (process.ticks() - before) as f64 / 20.0;
        let (now, most) = process.memory();
        println!("  idle {idle:.2} % of a core; the process has {now} MiB, had {most} MiB at most");
        delete(&process, others).await;
        counted(&process, 2).await;
    }
    let said_now = foreign(&process).await;
    println!("{} answers, {} of them wrong", prober.asked + asked, prober.wrong.len() + wrong.len());
    assert!(prober.wrong.is_empty() && wrong.is_empty(), "wrong: {:?} {wrong:?}", prober.wrong);
    assert_eq!(said, said_now, "what another controller wrote was touched");
}
