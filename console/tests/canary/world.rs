//! A local API over real HTTP, and what stands in for a gateway: it accepts routes and counts
//! requests as the route's weights say, so that each test decides how the backends behave.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::Path,
    process::Stdio,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use gwproxy::local::{
    Api as Local, ApiOptions,
    admit::{Admit, Admitted},
};
use kube::{
    Api, Client, Config, ResourceExt as _,
    api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    net::TcpListener,
    process::{Child, ChildStdout, Command},
    time::timeout,
};

use super::chaos::Chaos;

pub const LONG: Duration = Duration::from_secs(60);

struct AdmitAll;

impl Admit for AdmitAll {
    fn admit(&self, _: &str, _: &str, _: &mut Value, _: Option<&Value>) -> Admitted {
        Admitted::default()
    }
}

#[derive(Default)]
pub struct Behaviour {
    /// Of a thousand requests to the canary, how many fail.
    pub canary_fails: AtomicU64,
    pub stable_fails: AtomicU64,
    pub metrics_gone: AtomicBool,
    /// How often its metrics were asked for.
    pub scrapes: AtomicU64,
    pub idle: AtomicBool,
    /// Of a thousand requests to the canary, how many take long.
    pub canary_slow: AtomicU64,
    /// Requests a tick that reach the canary whatever its weight is.
    pub sticky: AtomicU64,
    /// What every counter of the gateway began with: it ran for long before.
    pub counted_before: AtomicU64,
    /// The gateway begins to count anew.
    pub restart: AtomicBool,
    /// Kind and name of the routes that have traffic.
    pub watched: Mutex<Vec<(String, String)>>,
    pub text: Mutex<String>,
}

pub struct World {
    pub client: Client,
    pub local: Option<Local>,
    pub folder: tempfile::TempDir,
    pub routes: Api<DynamicObject>,
    pub behaviour: Arc<Behaviour>,
    pub metrics: String,
}

pub fn route(name: &str, weights: [u64; 2]) -> Value {
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

pub fn routes(client: &Client, kind: &str) -> Api<DynamicObject> {
    let gvk = GroupVersionKind::gvk("gateway.networking.k8s.io", "v1", kind);
    let resource = ApiResource::from_gvk_with_plural(&gvk, &format!("{}s", kind.to_lowercase()));
    Api::namespaced_with(client.clone(), "default", &resource)
}

impl World {
    pub async fn new() -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let kubeconfig = folder.path().join("kubeconfig");
        let local = serve_api(folder.path(), "127.0.0.1:0".parse().unwrap()).await;
        let loaded = Kubeconfig::read_from(&kubeconfig).unwrap();
        let config = Config::from_custom_kubeconfig(loaded, &KubeConfigOptions::default()).await.unwrap();
        let client = Client::try_from(config).unwrap();
        let routes = routes(&client, "HTTPRoute");
        let behaviour = Arc::new(Behaviour::default());
        behaviour.watched.lock().unwrap().push(("HTTPRoute".to_owned(), "app".to_owned()));
        let metrics = serve(behaviour.clone()).await;
        tokio::spawn(gateway(client.clone(), behaviour.clone()));
        Self { client, local: Some(local), folder, routes, behaviour, metrics }
    }

    pub async fn with(weights: [u64; 2]) -> Self {
        let world = Self::new().await;
        world.create(&route("app", weights)).await;
        world
    }

    pub async fn create(&self, route: &Value) {
        let object = serde_json::from_value(route.clone()).unwrap();
        let routes = routes(&self.client, route["kind"].as_str().unwrap());
        routes.create(&PostParams::default(), &object).await.unwrap();
    }

    /// Until the gateway has counted requests of the route.
    pub async fn counted(&self) {
        let counted = async {
            while !self.behaviour.text.lock().unwrap().contains("app-v2") {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(LONG, counted).await.expect("requests in time");
    }

    /// Another replica of the gateway, as busy as the first, and where its metrics are.
    pub async fn replica(&self) -> (Arc<Behaviour>, String) {
        let (first, replica) = (self.behaviour.clone(), Arc::new(Behaviour::default()));
        let url = serve(replica.clone()).await;
        let own = replica.clone();
        tokio::spawn(async move {
            loop {
                let text = first.text.lock().unwrap().clone();
                *own.text.lock().unwrap() = text;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        (replica, url)
    }

    /// As `create`, and the route gets traffic.
    pub async fn serve(&self, route: &Value) {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        self.behaviour.watched.lock().unwrap().push((text(&route["kind"]), text(&route["metadata"]["name"])));
        self.create(route).await;
    }

    pub async fn patch(&self, operations: Value) {
        let patch = serde_json::from_value(operations).unwrap();
        self.routes.patch("app", &PatchParams::default(), &Patch::Json::<()>(patch)).await.unwrap();
    }

    /// Another subcommand of `canary`, to its end: exit code and what it said on stdout.
    pub async fn canary(&self, args: &[&str]) -> (i32, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_gwtop"))
            .arg("canary")
            .args(args)
            .args(["--kubeconfig".as_ref(), self.folder.path().join("kubeconfig").as_os_str()])
            .env("XDG_STATE_HOME", self.folder.path().join("state"))
            .env("HOME", self.folder.path())
            .env("USER", "tester")
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .await
            .unwrap();
        (output.status.code().unwrap_or(-1), String::from_utf8(output.stdout).unwrap())
    }

    /// All later commands reach the API through what can be made to fail.
    pub async fn through_chaos(&self) -> Arc<Chaos> {
        let path = self.folder.path().join("kubeconfig");
        let text = std::fs::read_to_string(&path).unwrap();
        let api = self.local.as_ref().unwrap().address;
        let (chaos, url) = Chaos::start(api).await;
        let line = text.lines().find(|line| line.trim_start().starts_with("server:")).unwrap();
        std::fs::write(&path, text.replace(line.trim(), &format!("server: {url}"))).unwrap();
        chaos
    }

    /// Waits until the run's Lease says this of it: what is on stdout may not be there yet.
    pub async fn told(&self, field: &str) {
        let leases = kube::Api::<k8s_openapi::api::coordination::v1::Lease>::namespaced(self.client.clone(), "default");
        let told = async {
            loop {
                let all = leases.list(&Default::default()).await.unwrap();
                let mut states = all.items.iter().flat_map(|lease| lease.annotations().values());
                if states.any(|text| serde_json::from_str(text).is_ok_and(|state: Value| !state[field].is_null())) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(LONG, told).await.expect("the Lease in time");
    }

    pub async fn get(&self) -> Value {
        serde_json::to_value(self.routes.get("app").await.unwrap()).unwrap()
    }

    pub async fn weights(&self) -> [u64; 2] {
        let route = self.get().await;
        [0, 1].map(|at| route["spec"]["rules"][0]["backendRefs"][at]["weight"].as_u64().unwrap())
    }

    /// The route is as it was made but for the weights, and no record is left.
    pub async fn left(&self, weights: [u64; 2]) {
        let now = self.get().await;
        let made = route("app", weights);
        assert_eq!(now["spec"], made["spec"]);
        assert_eq!(now["metadata"]["annotations"], made["metadata"]["annotations"]);
    }

    pub fn start(&self, args: &[&str]) -> Canary {
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
    pub fn steps(&self) -> Canary {
        self.start(&["app", "--step", "20", "--max", "40", "--interval", "1s", "--min-requests", "50", "--hold", "30s"])
    }
}

pub async fn serve_api(folder: &Path, listen: SocketAddr) -> Local {
    let options = ApiOptions {
        service: gwproxy::local::Service::default(),
        listen,
        data: folder.join("data"),
        kubeconfig: folder.join("kubeconfig"),
        admit: Arc::new(AdmitAll),
    };
    Local::start(options).await.unwrap_or_else(|error| panic!("{error}"))
}

/// Accepts routes, and counts a hundred requests a route for every 50 ms, however long a busy
/// machine took to come back here.
async fn gateway(client: Client, behaviour: Arc<Behaviour>) {
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    let mut known: BTreeMap<(String, String), DynamicObject> = BTreeMap::new();
    let (begun, mut ticks) = (Instant::now(), 0);
    loop {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let past = (begun.elapsed().as_millis() / 50) as u64;
        let due = past - std::mem::replace(&mut ticks, past);
        if behaviour.restart.swap(false, Ordering::SeqCst) {
            behaviour.counted_before.store(0, Ordering::SeqCst);
            counts.clear();
        }
        let watched = behaviour.watched.lock().unwrap().clone();
        for (kind, name) in watched {
            let routes = routes(&client, &kind);
            // Traffic goes on as last told when the API is away.
            match timeout(Duration::from_secs(1), routes.get_opt(&name)).await {
                Ok(Ok(Some(route))) => {
                    known.insert((kind.clone(), name.clone()), route);
                }
                Ok(Ok(None)) => {
                    known.remove(&(kind.clone(), name.clone()));
                }
                _ => {}
            }
            let Some(route) = known.get(&(kind.clone(), name.clone())) else { continue };
            accept(&routes, route).await;
            if !behaviour.idle.load(Ordering::SeqCst) {
                count(&kind, route, due, &behaviour, &mut counts);
            }
        }
        let text: String = counts.iter().map(|(series, count)| format!("{series} {count}\n")).collect();
        *behaviour.text.lock().unwrap() = text;
    }
}

async fn accept(routes: &Api<DynamicObject>, route: &DynamicObject) {
    let generation = route.metadata.generation.unwrap_or_default();
    let condition = |kind: &str| {
        json!({"type": kind, "status": "True", "reason": kind, "message": "", "observedGeneration": generation,
            "lastTransitionTime": "2026-01-01T00:00:00Z"})
    };
    let parent = json!({"parentRef": {"name": "gw"}, "controllerName": "x/y",
        "conditions": [condition("Accepted"), condition("ResolvedRefs")]});
    if route.data.pointer("/status/parents/0/conditions/0/observedGeneration") != Some(&json!(generation)) {
        let status = json!({"status": {"parents": [parent]}});
        let name = route.metadata.name.as_deref().unwrap_or_default();
        let _ = routes.patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await;
    }
}

/// The requests of a route in so many ticks: a tenth of them bear the header, if a rule asks for one.
fn count(kind: &str, route: &DynamicObject, ticks: u64, behaviour: &Behaviour, counts: &mut BTreeMap<String, u64>) {
    let name = route.metadata.name.as_deref().unwrap_or_default();
    let of = |flag: &AtomicU64| flag.load(Ordering::SeqCst);
    for (rule, object) in route.data["spec"]["rules"].as_array().unwrap().iter().enumerate() {
        let requests = if object.pointer("/matches/0/headers").is_some() { 10 } else { 100 } * ticks;
        let refs: Vec<(String, u64)> = object["backendRefs"]
            .as_array()
            .unwrap()
            .iter()
            .map(|backend| (backend["name"].as_str().unwrap().to_owned(), backend["weight"].as_u64().unwrap_or(1)))
            .collect();
        let total: u64 = refs.iter().map(|(_, weight)| weight).sum();
        for (backend, weight) in &refs {
            let canary = backend == "app-v2";
            let sticky = if canary { of(&behaviour.sticky) * ticks } else { 0 };
            let requests = (requests * weight).checked_div(total).unwrap_or(0) + sticky;
            let fails = of(if canary { &behaviour.canary_fails } else { &behaviour.stable_fails });
            let failed = (requests * fails).div_ceil(1000);
            let slow = if canary { requests * of(&behaviour.canary_slow) / 1000 } else { 0 };
            let labels = format!(
                "route_kind=\"{kind}\",route_namespace=\"default\",route=\"{name}\",rule=\"{rule}\",\
                 backend_namespace=\"default\",backend=\"{backend}\",backend_port=\"8080\""
            );
            let before = of(&behaviour.counted_before);
            let mut add = |series: String, more: u64| *counts.entry(series).or_insert(before) += more;
            add(format!("gwproxy_requests_total{{{labels},code=\"200\"}}"), requests - failed);
            add(format!("gwproxy_requests_total{{{labels},code=\"503\"}}"), failed);
            for (bound, within) in [("0.1", requests - slow), ("1", requests), ("+Inf", requests)] {
                add(format!("gwproxy_request_duration_seconds_bucket{{{labels},le=\"{bound}\"}}"), within);
            }
        }
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
                behaviour.scrapes.fetch_add(1, Ordering::SeqCst);
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

pub struct Canary {
    pub child: Child,
    pub lines: Lines<BufReader<ChildStdout>>,
    pub seen: Vec<Value>,
}

impl Canary {
    /// Reads until a line of this phase.
    pub async fn until(&mut self, phase: &str) -> Value {
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

    pub async fn ends(&mut self) -> (i32, Value) {
        while let Some(line) = timeout(LONG, self.lines.next_line()).await.expect("a line in time").unwrap() {
            self.seen.push(serde_json::from_str(&line).expect("every line is JSON"));
        }
        let code = timeout(LONG, self.child.wait()).await.expect("the end in time").unwrap().code().unwrap_or(-1);
        let last = self.seen.last().cloned().unwrap_or_default();
        assert_eq!(last["finished"], code, "{:#?}", self.seen);
        (code, last)
    }

    pub fn signal(&self, name: &str) {
        let id = self.child.id().unwrap().to_string();
        assert!(std::process::Command::new("kill").args([name, &id]).status().unwrap().success());
    }
}
