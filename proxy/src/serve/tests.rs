//! Real HTTP on loopback against in-process endpoints.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use ::http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::*;
use crate::{
    metrics::{Series, SeriesKey},
    table::{
        Backend, Endpoints, HeaderEdits, HostMap, Listener, Mirror, Outcome, PathEdit, Picker, Protocol, Redirect,
        Rewrite, RouteId, RouteMatch, Routes, Rule, ServerTls, Target, Timeouts, UpstreamProtocol, route::PathMatcher,
    },
    types::Key,
};

mod backend_tls;
mod cors;
mod grpc;
mod lifecycle;
mod proxied;
mod requests;
mod retry;
mod streams;

/// A port that was free a moment ago.
fn free() -> SocketAddr {
    std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

fn options() -> ServeOptions {
    ServeOptions {
        workers: 2,
        drain_linger: Duration::from_millis(50),
        drain_timeout: Duration::from_secs(5),
        header_timeout: Duration::from_millis(400),
        ..ServeOptions::default()
    }
}

fn series(registry: &Registry, route: &str, backend: &str) -> Arc<Series> {
    registry.series(SeriesKey {
        gateway_namespace: "infra".into(),
        gateway: "edge".into(),
        listener: "http".into(),
        route_kind: if route.is_empty() { "" } else { "HTTPRoute" }.into(),
        route_namespace: if route.is_empty() { "" } else { "shop" }.into(),
        route: route.into(),
        rule: if route.is_empty() { "" } else { "0" }.into(),
        backend_namespace: if backend.is_empty() { "" } else { "shop" }.into(),
        backend: backend.into(),
        backend_port: if backend.is_empty() { "" } else { "80" }.into(),
    })
}

fn endpoints(addresses: &[SocketAddr], protocol: UpstreamProtocol) -> Arc<Endpoints> {
    Arc::new(Endpoints { protocol, proxy: None, addresses: Picker::new(addresses.iter().map(|address| (1, *address))) })
}

fn backend(registry: &Registry, target: Arc<Endpoints>) -> Backend {
    Backend {
        key: Key::new("shop", "web"),
        port: 80,
        target: Target::Endpoints(target),
        redirect: None,
        tls: None,
        request_headers: HeaderEdits::default(),
        response_headers: HeaderEdits::default(),
        rewrite: None,
        mirrors: Vec::new(),
        series: series(registry, "checkout", "web"),
    }
}

fn rule(outcome: Outcome) -> Rule {
    Rule {
        route: RouteId { kind: "HTTPRoute", key: Key::new("shop", "checkout"), rule: 0, rule_name: None },
        request_headers: HeaderEdits::default(),
        response_headers: HeaderEdits::default(),
        mirrors: Vec::new(),
        cors: None,
        timeouts: Timeouts::default(),
        retry: None,
        outcome,
        series: Registry::new(2).series(SeriesKey::default()),
    }
}

fn forward(registry: &Registry, addresses: &[SocketAddr]) -> Rule {
    let target = endpoints(addresses, UpstreamProtocol::Http1);
    rule(Outcome::Forward(Picker::new([(1, backend(registry, target))])))
}

fn bind(
    registry: &Registry,
    address: SocketAddr,
    tls: Option<Arc<ServerTls>>,
    rules: Vec<(&str, &str, Rule)>,
) -> Arc<Bind> {
    let mut by_host = std::collections::BTreeMap::<&str, Vec<RouteMatch>>::new();
    for (order, (host, path, rule)) in rules.into_iter().enumerate() {
        by_host.entry(host).or_default().push(RouteMatch {
            path: PathMatcher::prefix(path),
            method: None,
            headers: vec![],
            query: vec![],
            rule: Arc::new(rule),
            created: 0,
            order,
        });
    }
    let mut routes = HostMap::default();
    for (host, matches) in by_host {
        routes.insert(host, Arc::new(Routes::new(matches)));
    }
    let protocol = if tls.is_some() { Protocol::Https } else { Protocol::Http };
    let listener = Listener {
        gateway: Key::new("infra", "edge"),
        name: "http".into(),
        protocol,
        tls,
        routes,
        streams: HostMap::default(),
        unmatched: series(registry, "", ""),
    };
    let mut listeners = HostMap::default();
    listeners.insert("", Arc::new(listener));
    Arc::new(Bind { address, protocol, accept_proxy: false, listeners, unmatched: series(registry, "", "") })
}

struct Plane {
    data: DataPlane,
    registry: Arc<Registry>,
    address: SocketAddr,
}

impl Plane {
    /// One HTTP listener for all hosts with these rules by host and path prefix.
    async fn with(rules: impl FnOnce(&Registry) -> Vec<(&'static str, &'static str, Rule)>) -> Self {
        Self::on(options(), rules).await
    }

    async fn on(
        options: ServeOptions,
        rules: impl FnOnce(&Registry) -> Vec<(&'static str, &'static str, Rule)>,
    ) -> Self {
        let registry = Registry::new(options.workers);
        let data = DataPlane::start(options, Arc::clone(&registry)).unwrap();
        let plane = Self { data, address: free(), registry };
        let rules = rules(&plane.registry);
        plane.apply(rules).await;
        plane
    }

    async fn apply(&self, rules: Vec<(&'static str, &'static str, Rule)>) {
        let table = Table { generation: 1, binds: vec![bind(&self.registry, self.address, None, rules)] };
        for (address, outcome) in self.data.apply(table).await {
            outcome.unwrap_or_else(|error| panic!("{address}: {error}"));
        }
    }

    async fn get(&self, path: &str) -> (StatusCode, ::http::HeaderMap, String) {
        self.send(Request::get(path).header("host", "shop.example")).await
    }

    async fn send(&self, request: ::http::request::Builder) -> (StatusCode, ::http::HeaderMap, String) {
        self.send_body(request, "").await
    }

    async fn send_body(
        &self,
        request: ::http::request::Builder,
        body: &str,
    ) -> (StatusCode, ::http::HeaderMap, String) {
        let mut client = Client::connect(self.address).await;
        client.send(request.body(Full::from(body.to_owned())).unwrap()).await
    }

    /// Text of the metrics once nothing is in flight: a record ends just after its response.
    async fn settled(&self) -> String {
        for _ in 0..200 {
            let text = self.registry.render();
            let mut flying = text.lines().filter(|line| line.starts_with("gwproxy_requests_in_flight{"));
            if flying.all(|line| line.ends_with(" 0")) {
                return text;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("requests stay in flight:\n{}", self.registry.render());
    }

    /// Sum of the samples whose line holds all of `parts`.
    async fn count(&self, parts: &[&str]) -> f64 {
        let text = self.settled().await;
        let lines = text.lines().filter(|line| parts.iter().all(|part| line.contains(part)) && !line.starts_with('#'));
        lines.map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()).sum()
    }
}

/// One keep-alive connection.
struct Client(hyper::client::conn::http1::SendRequest<Full<Bytes>>);

impl Client {
    async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection.with_upgrades());
        Self(sender)
    }

    async fn raw(&mut self, request: Request<Full<Bytes>>) -> hyper::Result<Response<Incoming>> {
        self.0.ready().await?;
        self.0.send_request(request).await
    }

    async fn send(&mut self, request: Request<Full<Bytes>>) -> (StatusCode, ::http::HeaderMap, String) {
        whole(self.raw(request).await.unwrap()).await
    }
}

async fn whole(response: Response<Incoming>) -> (StatusCode, ::http::HeaderMap, String) {
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (head.status, head.headers, String::from_utf8(body.to_vec()).unwrap())
}

/// Answers with what it was asked: request line, headers, body.
struct Echo {
    address: SocketAddr,
    served: Arc<AtomicU64>,
    last: Arc<std::sync::Mutex<String>>,
    task: tokio::task::JoinHandle<()>,
}

impl Echo {
    async fn start() -> Self {
        Self::at(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap())
    }

    fn at(socket: TcpListener) -> Self {
        let address = socket.local_addr().unwrap();
        let (served, last) = (Arc::new(AtomicU64::new(0)), Arc::new(std::sync::Mutex::new(String::new())));
        let (count, note) = (Arc::clone(&served), Arc::clone(&last));
        let task = tokio::spawn(async move {
            // Connections end with the task.
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = socket.accept().await {
                let (count, note) = (Arc::clone(&count), Arc::clone(&note));
                connections.spawn(async move {
                    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                        let (count, note) = (Arc::clone(&count), Arc::clone(&note));
                        async move {
                            let (head, body) = request.into_parts();
                            let body = body.collect().await?.to_bytes();
                            count.fetch_add(1, Relaxed);
                            if let Some(wait) = head.headers.get("x-wait") {
                                let wait = wait.to_str().unwrap().parse().unwrap();
                                tokio::time::sleep(Duration::from_millis(wait)).await;
                            }
                            let mut text = format!("{} {} {:?}\n", head.method, head.uri, head.version);
                            for (name, value) in &head.headers {
                                text.push_str(&format!("{name}: {}\n", value.to_str().unwrap_or("?")));
                            }
                            text.push_str(&String::from_utf8_lossy(&body));
                            *note.lock().unwrap() = text.clone();
                            Ok::<_, hyper::Error>(Response::new(Full::new(Bytes::from(text))))
                        }
                    });
                    let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { address, served, last, task }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.task.abort();
    }
}
