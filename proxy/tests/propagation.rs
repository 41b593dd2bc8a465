//! How long a change takes from the API to the first right answer, and whether any answer is
//! wrong on the way. Takes minutes, so only on request:
//!
//!     GWPROXY_TEST_PROPAGATION=3000 cargo test --release -p gwproxy --test propagation -- --nocapture

#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

#[path = "common/gateway.rs"]
mod common;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use common::{Backend, Gateway};
use futures::StreamExt;
use http_body_util::{BodyExt, Empty};
use hyper::{Request, client::conn::http1::SendRequest};
use hyper_util::rt::TokioIo;
use kube::{
    api::{DeleteParams, Patch, PatchParams, PostParams},
    runtime::{WatchStreamExt, watcher},
};
use serde_json::json;

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

/// One connection that asks for one host after the other.
struct Prober(SendRequest<Empty<Bytes>>);

impl Prober {
    async fn connect(address: SocketAddr) -> Self {
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self(sender)
    }

    /// Status and the name of the backend that answered.
    async fn ask(&mut self, host: &str) -> (u16, String) {
        self.0.ready().await.unwrap();
        let request = Request::get("/").header("host", host).body(Empty::new()).unwrap();
        let response = self.0.send_request(request).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8_lossy(&body).lines().next().unwrap_or_default().to_owned())
    }

    /// Until the answer is `after`; every answer until then has to be `before`.
    async fn until(&mut self, host: &str, before: &(u16, &str), after: &(u16, &str)) {
        loop {
            let (status, name) = self.ask(host).await;
            let name = if status == 200 { name } else { String::new() };
            if (status, &*name) == *after {
                return;
            }
            assert_eq!((status, &*name), *before, "wrong answer for {host}");
        }
    }
}

fn told(what: &str, times: &mut [Duration]) {
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    let (half, most, last) = (at(0.5), at(0.99), at(1.0));
    println!("{what}: {} times, median {half:.1?}, p99 {most:.1?}, longest {last:.1?}", times.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn routes_come_change_and_go() {
    let Some(count) = std::env::var("GWPROXY_TEST_PROPAGATION").ok().and_then(|count| count.parse::<usize>().ok())
    else {
        return;
    };
    let (a, b) = (Backend::start("a").await, Backend::start("b").await);
    let manifests = [PLATFORM.to_owned(), service("a", a.address), service("b", b.address)].concat();
    let gateway = Gateway::start(&[("all.yaml", &manifests)]).await;
    let address = SocketAddr::new(gateway.address("default", "edge").await, 8080);
    let mut prober = Prober::connect(address).await;
    let routes = gateway.api("HTTPRoute", "default");

    let writes = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&writes);
    let resource = kube::api::ApiResource::from_gvk(&kube::api::GroupVersionKind::gvk(
        "gateway.networking.k8s.io",
        "v1",
        "Gateway",
    ));
    let watched = kube::Api::<kube::api::DynamicObject>::all_with(gateway.client.clone(), &resource);
    tokio::spawn(async move {
        let mut changes = watcher(watched, watcher::Config::default()).applied_objects().boxed();
        while changes.next().await.is_some() {
            seen.fetch_add(1, Relaxed);
        }
    });
    tokio::time::sleep(Duration::from_millis(500)).await;

    let host = |at: usize| format!("r{at}.example.com");
    let route = |at: usize| {
        serde_json::from_value::<kube::api::DynamicObject>(json!({
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "HTTPRoute",
            "metadata": { "name": format!("r{at}"), "namespace": "default" },
            "spec": {
                "parentRefs": [{ "name": "edge" }],
                "hostnames": [host(at)],
                "rules": [{ "backendRefs": [{ "name": "a", "port": 80 }] }],
            },
        }))
        .unwrap()
    };
    let mut times = Vec::new();
    for at in 0..count {
        let begun = Instant::now();
        routes.create(&PostParams::default(), &route(at)).await.unwrap();
        prober.until(&host(at), &(404, ""), &(200, "a")).await;
        times.push(begun.elapsed());
    }
    told("created", &mut times);
    let counted = Instant::now();
    gateway.until("Gateway", "default", "edge", |edge| edge["status"]["listeners"][0]["attachedRoutes"] == count).await;
    println!("attachedRoutes right after {:.1?}, {} changes of the Gateway", counted.elapsed(), writes.load(Relaxed));

    let mut times = Vec::new();
    for at in 0..count {
        let patch = json!([{ "op": "replace", "path": "/spec/rules/0/backendRefs/0/name", "value": "b" }]);
        let patch = Patch::Json::<()>(serde_json::from_value(patch).unwrap());
        let begun = Instant::now();
        routes.patch(&format!("r{at}"), &PatchParams::default(), &patch).await.unwrap();
        prober.until(&host(at), &(200, "a"), &(200, "b")).await;
        times.push(begun.elapsed());
    }
    told("changed", &mut times);

    let mut times = Vec::new();
    for at in 0..count {
        let begun = Instant::now();
        routes.delete(&format!("r{at}"), &DeleteParams::default()).await.unwrap();
        prober.until(&host(at), &(200, "b"), &(404, "")).await;
        times.push(begun.elapsed());
    }
    told("deleted", &mut times);
    let counted = Instant::now();
    gateway.until("Gateway", "default", "edge", |edge| edge["status"]["listeners"][0]["attachedRoutes"] == 0).await;
    let text = gateway.metrics().await;
    for line in text.lines().filter(|line| {
        line.starts_with("gwproxy_config_apply_seconds_sum") || line.starts_with("gwproxy_config_apply_seconds_count")
    }) {
        println!("{line}");
    }
    println!("attachedRoutes 0 after {:.1?}, {} changes of the Gateway", counted.elapsed(), writes.load(Relaxed));
    gateway.local.stop().await;
}
