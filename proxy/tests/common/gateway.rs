//! A local gateway in a folder of its own, services to stand behind it, and a client.

#![allow(dead_code, clippy::unwrap_used)] // each test takes what it needs; a failed unwrap is a failed test

use std::{
    collections::BTreeMap,
    convert::Infallible,
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use gwproxy::start::{Local, LocalOptions, Service};
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use kube::{
    Api, Client, Config,
    api::{ApiResource, DynamicObject, GroupVersionKind},
    config::{KubeConfigOptions, Kubeconfig},
};

/// Answers with its name and what arrived, one header a line, and counts.
pub struct Backend {
    pub address: SocketAddr,
    pub answered: Arc<AtomicU64>,
}

impl Backend {
    pub async fn start(name: &'static str) -> Self {
        Self::start_on("127.0.0.1:0", name).await
    }

    pub async fn start_on(address: &str, name: &'static str) -> Self {
        let listener = tokio::net::TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let answered = Arc::new(AtomicU64::new(0));
        let count = answered.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let count = count.clone();
                tokio::spawn(async move {
                    let service = service_fn(move |request: Request<Incoming>| {
                        count.fetch_add(1, Relaxed);
                        let mut text = format!("{name}\n{} {}\n", request.method(), request.uri());
                        for (header, value) in request.headers() {
                            text.push_str(&format!("{header}: {}\n", value.to_str().unwrap_or("?")));
                        }
                        async move { Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(text)))) }
                    });
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self { address, answered }
    }
}

/// An address pool that no other test of this machine uses, for as long as the lock lives.
pub fn pool() -> (ipnet::IpNet, TcpListener) {
    for third in 128..=250 {
        if let Ok(lock) = TcpListener::bind((Ipv4Addr::new(127, 0, third, 254), 47_264)) {
            return (format!("127.0.{third}.0/24").parse().unwrap(), lock);
        }
    }
    panic!("every address pool is taken");
}

pub struct Gateway {
    pub local: Local,
    pub client: Client,
    pub dir: PathBuf,
    pub manifests: PathBuf,
    options: LocalOptions,
    _lock: TcpListener,
    _temp: Option<tempfile::TempDir>,
}

impl Gateway {
    /// `manifests` is a folder's content by file name.
    pub async fn start(manifests: &[(&str, &str)]) -> Self {
        let (pool, lock) = pool();
        Self::start_on(manifests, pool, lock).await
    }

    pub async fn start_on(manifests: &[(&str, &str)], pool: ipnet::IpNet, lock: TcpListener) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let temp = tempfile::tempdir().unwrap();
        let folder = temp.path().join("manifests");
        fs::create_dir(&folder).unwrap();
        for (name, text) in manifests {
            fs::write(folder.join(name), text).unwrap();
        }
        let options = LocalOptions {
            service: Service::default(),
            manifests: Some(folder.clone()),
            data: Some(temp.path().join("data")),
            api: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            address_pool: pool,
            metrics: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            access_log: None,
            kubeconfig: None,
            workers: Some(2),
        };
        let local = Local::start(options.clone()).await.unwrap();
        let client = client(&local.kubeconfig).await;
        let dir = temp.path().to_owned();
        Self { local, client, dir, manifests: folder, options, _lock: lock, _temp: Some(temp) }
    }

    /// Stops, and starts again on the same data.
    pub async fn restart(self) -> Self {
        let Self { local, dir, manifests, options, _lock, _temp, .. } = self;
        local.stop().await;
        let local = Local::start(options.clone()).await.unwrap();
        let client = client(&local.kubeconfig).await;
        Self { local, client, dir, manifests, options, _lock, _temp }
    }

    pub fn api(&self, kind: &str, namespace: &str) -> Api<DynamicObject> {
        let (group, version) = match kind {
            "Gateway" | "GatewayClass" | "ListenerSet" | "ReferenceGrant" => ("gateway.networking.k8s.io", "v1"),
            route if route.ends_with("Route") => ("gateway.networking.k8s.io", "v1"),
            "EndpointSlice" => ("discovery.k8s.io", "v1"),
            _ => ("", "v1"),
        };
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        if namespace.is_empty() {
            Api::all_with(self.client.clone(), &resource)
        } else {
            Api::namespaced_with(self.client.clone(), namespace, &resource)
        }
    }

    /// Waits until the object is as `wanted`, and returns it.
    pub async fn until(
        &self,
        kind: &str,
        namespace: &str,
        name: &str,
        wanted: impl Fn(&serde_json::Value) -> bool,
    ) -> serde_json::Value {
        let api = self.api(kind, namespace);
        let mut last = serde_json::Value::Null;
        for _ in 0..400 {
            if let Ok(object) = api.get(name).await {
                last = serde_json::to_value(object).unwrap();
                if wanted(&last) {
                    return last;
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{kind} {namespace}/{name} did not come to be as wanted within 20 s: {last:#}");
    }

    /// The address of a Gateway, once it is programmed.
    pub async fn address(&self, namespace: &str, name: &str) -> std::net::IpAddr {
        let gateway = self
            .until("Gateway", namespace, name, |gateway| {
                condition(&gateway["status"]["conditions"], "Programmed").0 == "True"
            })
            .await;
        gateway["status"]["addresses"][0]["value"].as_str().unwrap().parse().unwrap()
    }

    pub async fn metrics(&self) -> String {
        get(self.local.metrics, "metrics", "/metrics", &[]).await.1
    }
}

pub async fn client(kubeconfig: &Path) -> Client {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    Client::try_from(config).unwrap()
}

/// Status and reason.
pub fn condition(conditions: &serde_json::Value, wanted: &str) -> (String, String) {
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    conditions
        .as_array()
        .into_iter()
        .flatten()
        .find(|condition| condition["type"] == wanted)
        .map_or_else(Default::default, |condition| (text(&condition["status"]), text(&condition["reason"])))
}

/// The condition of a route's first parent.
pub fn parent(route: &serde_json::Value, wanted: &str) -> (String, String) {
    condition(&route["status"]["parents"][0]["conditions"], wanted)
}

pub async fn get(address: SocketAddr, host: &str, path: &str, headers: &[(&str, &str)]) -> (u16, String) {
    let (status, _, text) = send(address, "GET", host, path, headers).await;
    (status, text)
}

/// One request on a connection of its own.
pub async fn send(
    address: SocketAddr,
    method: &str,
    host: &str,
    path: &str,
    headers: &[(&str, &str)],
) -> (u16, BTreeMap<String, String>, String) {
    let client =
        hyper_util::client::legacy::Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build_http();
    let mut request = Request::builder().method(method).uri(format!("http://{address}{path}")).header("host", host);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = client.request(request.body(Full::<Bytes>::default()).unwrap()).await.unwrap();
    let (head, body) = response.into_parts();
    let headers = head
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap_or_default().to_owned()))
        .collect();
    let body = body.collect().await.unwrap().to_bytes();
    (head.status.as_u16(), headers, String::from_utf8_lossy(&body).into_owned())
}

/// An example's file, its placeholder ports replaced by those of real services.
pub fn example(path: &str, ports: &[(u16, SocketAddr)]) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets/examples").join(path);
    let mut text = fs::read_to_string(file).unwrap();
    for (placeholder, address) in ports {
        text = text.replace(&format!("port: {placeholder}"), &format!("port: {}", address.port()));
    }
    text
}
