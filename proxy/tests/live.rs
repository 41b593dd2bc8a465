//! What changes while it serves.

#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

#[path = "common/gateway.rs"]
mod common;

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use common::{Backend, Gateway, condition, get, parent};
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper_util::rt::TokioIo;
use kube::api::{DeleteParams, Patch, PatchParams};
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

fn split(header: &str) -> String {
    format!(
        "
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{ name: split, namespace: default }}
spec:
  parentRefs: [{{ name: edge }}]
  rules:
    - filters:
        - type: RequestHeaderModifier
          requestHeaderModifier: {{ set: [{{ name: x-from, value: {header} }}] }}
      backendRefs:
        - {{ name: a, port: 80, weight: 50 }}
        - {{ name: b, port: 80, weight: 50 }}
"
    )
}

async fn two() -> (Backend, Backend, Gateway, SocketAddr) {
    let (a, b) = (Backend::start("a").await, Backend::start("b").await);
    let services = service("a", a.address) + &service("b", b.address);
    let gateway =
        Gateway::start(&[("platform.yaml", PLATFORM), ("services.yaml", &services), ("split.yaml", &split("one"))])
            .await;
    assert!(gateway.local.problems.is_empty(), "{:?}", gateway.local.problems);
    let address = SocketAddr::new(gateway.address("default", "edge").await, 8080);
    gateway.until("HTTPRoute", "default", "split", |route| parent(route, "ResolvedRefs").0 == "True").await;
    (a, b, gateway, address)
}

fn weights(a: u32, b: u32) -> Patch<()> {
    Patch::Json(
        serde_json::from_value(json!([
            { "op": "test", "path": "/spec/rules/0/backendRefs/0/name", "value": "a" },
            { "op": "replace", "path": "/spec/rules/0/backendRefs/0/weight", "value": a },
            { "op": "replace", "path": "/spec/rules/0/backendRefs/1/weight", "value": b },
        ]))
        .unwrap(),
    )
}

/// Requests at a steady rate on kept connections; whatever is not a 200 is lost.
async fn load(address: SocketAddr, rps: u32, stop: Arc<AtomicBool>) -> (u64, u64) {
    const CONNECTIONS: u32 = 10;
    let (answered, lost) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let mut tasks = Vec::new();
    for _ in 0..CONNECTIONS {
        let (answered, lost, stop) = (answered.clone(), lost.clone(), stop.clone());
        tasks.push(tokio::spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_secs(1) * CONNECTIONS / rps);
            let mut sender = None;
            while !stop.load(Relaxed) {
                ticks.tick().await;
                let open = match sender.take() {
                    Some(open) => open,
                    None => {
                        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
                        let (open, connection) =
                            hyper::client::conn::http1::handshake::<_, Empty<Bytes>>(TokioIo::new(stream))
                                .await
                                .unwrap();
                        tokio::spawn(connection);
                        open
                    }
                };
                let mut open: hyper::client::conn::http1::SendRequest<Empty<Bytes>> = open;
                let request = Request::get("/").header("host", "h").body(Empty::new()).unwrap();
                let fine = match open.send_request(request).await {
                    Ok(response) => response.status() == 200 && response.into_body().collect().await.is_ok(),
                    Err(_) => false,
                };
                if fine { &answered } else { &lost }.fetch_add(1, Relaxed);
                if open.ready().await.is_ok() {
                    sender = Some(open);
                }
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    (answered.load(Relaxed), lost.load(Relaxed))
}

/// `GWPROXY_SOAK=1` makes it 1,000 requests a second for a minute.
#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_weight_patches_lose_no_request() {
    let soak = std::env::var_os("GWPROXY_SOAK").is_some();
    let (rps, pause) = if soak { (1000, Duration::from_millis(600)) } else { (300, Duration::from_millis(30)) };
    let (a, b, gateway, address) = two().await;
    let stop = Arc::new(AtomicBool::new(false));
    let running = tokio::spawn(load(address, rps, stop.clone()));
    let routes = gateway.api("HTTPRoute", "default");
    for step in 1..=100 {
        routes.patch("split", &PatchParams::default(), &weights(100 - step, step)).await.unwrap();
        tokio::time::sleep(pause).await;
    }
    let last = gateway
        .until("HTTPRoute", "default", "split", |route| {
            let seen = &route["status"]["parents"][0]["conditions"][0]["observedGeneration"];
            *seen == route["metadata"]["generation"]
        })
        .await;
    assert_eq!(last["metadata"]["generation"], 101, "every patch is a generation");
    // The last patch gave everything to b: a gets nothing that begins from here on.
    let mut quiet = false;
    for _ in 0..40 {
        let before = a.answered.load(Relaxed);
        tokio::time::sleep(Duration::from_millis(500)).await;
        quiet = a.answered.load(Relaxed) == before;
        if quiet {
            break;
        }
    }
    assert!(quiet, "a has weight 0 and is still sent requests");
    stop.store(true, Relaxed);
    let (answered, lost) = running.await.unwrap();
    println!("{answered} requests answered, {lost} lost, {} by b", b.answered.load(Relaxed));
    assert_eq!(lost, 0, "of {} requests", answered + lost);
    assert!(answered > 500, "{answered} requests are too few to tell");
    gateway.local.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_keeps_objects_and_addresses_and_writes_nothing_new() {
    let (_a, _b, gateway, address) = two().await;
    gateway.api("HTTPRoute", "default").patch("split", &PatchParams::default(), &weights(7, 93)).await.unwrap();
    let settled = |route: &serde_json::Value| {
        route["status"]["parents"][0]["conditions"][0]["observedGeneration"] == route["metadata"]["generation"]
    };
    gateway.until("HTTPRoute", "default", "split", settled).await;
    let gateway = gateway.restart().await;
    assert_eq!(SocketAddr::new(gateway.address("default", "edge").await, 8080), address);
    let route = gateway.until("HTTPRoute", "default", "split", settled).await;
    assert_eq!(
        route["spec"]["rules"][0]["backendRefs"][1]["weight"], 93,
        "the manifest did not change, so neither does it"
    );
    // The status of before the restart is true again once the port is bound.
    for _ in 0..200 {
        if tokio::net::TcpStream::connect(address).await.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(get(address, "h", "/", &[]).await.0, 200);
    // Once settled, nothing is written any more.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let versions = async || {
        let mut all = Vec::new();
        for kind in ["GatewayClass", "Gateway", "HTTPRoute"] {
            for object in gateway.api(kind, "").list(&Default::default()).await.unwrap().items {
                all.push((kind, object.metadata.name, object.metadata.resource_version));
            }
        }
        all
    };
    let before = versions().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(versions().await, before);
    gateway.local.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edited_manifest_keeps_what_an_operator_patched() {
    let (_a, _b, gateway, address) = two().await;
    gateway.api("HTTPRoute", "default").patch("split", &PatchParams::default(), &weights(20, 80)).await.unwrap();
    fs::write(gateway.manifests.join("split.yaml"), split("two")).unwrap();
    let route = gateway
        .until("HTTPRoute", "default", "split", |route| {
            route["spec"]["rules"][0]["filters"][0]["requestHeaderModifier"]["set"][0]["value"] == "two"
        })
        .await;
    let kept: Vec<_> = [0, 1].map(|at| route["spec"]["rules"][0]["backendRefs"][at]["weight"].clone()).into();
    assert_eq!(kept, [20, 80]);
    for _ in 0..200 {
        if get(address, "h", "/", &[]).await.1.contains("x-from: two\n") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(get(address, "h", "/", &[]).await.1.contains("x-from: two\n"));

    // A file that breaks takes nothing away; one that goes takes what came from it.
    fs::write(gateway.manifests.join("split.yaml"), "kind: [").unwrap();
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(get(address, "h", "/", &[]).await.0, 200);
    fs::remove_file(gateway.manifests.join("split.yaml")).unwrap();
    for _ in 0..200 {
        if gateway.api("HTTPRoute", "default").get_opt("split").await.unwrap().is_none() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(gateway.api("HTTPRoute", "default").get_opt("split").await.unwrap().is_none());
    assert!(gateway.api("Service", "default").get_opt("a").await.unwrap().is_some(), "another file's");
    gateway.local.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_manifests_are_named_and_the_rest_goes_on() {
    let bad = "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: { name: bad }\nspec:\n  rules:\n    - backendRefs:\n        - { name: a, port: 80, weight: -1 }\n";
    let unknown = "apiVersion: example.com/v1\nkind: Nobody\nmetadata: { name: x }\n";
    let gateway = Gateway::start(&[("bad.yaml", bad), ("platform.yaml", PLATFORM), ("unknown.yaml", unknown)]).await;
    let problems = gateway.local.problems.join("\n");
    assert!(problems.contains("bad.yaml") && problems.contains("weight"), "{problems}");
    assert!(problems.contains("unknown.yaml") && problems.contains("Nobody"), "{problems}");
    gateway.address("default", "edge").await;
    gateway.local.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exhausted_pool_and_a_taken_port_are_said_and_heal() {
    let (pool, lock) = common::pool();
    let only: std::net::IpAddr = pool.hosts().next().unwrap();
    let other = PLATFORM.rsplit("---").next().unwrap().replace("name: edge", "name: late");
    let taken = TcpListener::bind((only, 8080)).unwrap();
    let one = format!("{only}/32").parse().unwrap();
    let gateway = Gateway::start_on(&[("a.yaml", PLATFORM), ("b.yaml", &other)], one, lock).await;
    // Whichever came first has the address.
    let late = async |reason: &str| {
        for _ in 0..400 {
            for name in ["edge", "late"] {
                let object = gateway.api("Gateway", "default").get(name).await.unwrap();
                if condition(&object.data["status"]["conditions"], "Programmed").1 == reason {
                    return object.metadata.name.unwrap();
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("no Gateway says {reason}");
    };
    let without = late("AddressNotAssigned").await;
    let with = if without == "edge" { "late" } else { "edge" };
    let seen = gateway
        .until("Gateway", "default", with, |g| {
            condition(&g["status"]["listeners"][0]["conditions"], "Programmed").0 == "False"
        })
        .await;
    assert!(seen.to_string().contains("in use"), "{seen:#}");
    drop(taken);
    gateway.address("default", with).await;
    // Its end gives the address to the one that waited.
    gateway.api("Gateway", "default").delete(with, &DeleteParams::default()).await.unwrap();
    assert_eq!(gateway.address("default", &without).await, only);
    gateway.local.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_of_other_controllers_stay() {
    let (_a, _b, gateway, _) = two().await;
    let routes = gateway.api("HTTPRoute", "default");
    let mut route = serde_json::to_value(routes.get("split").await.unwrap()).unwrap();
    let foreign = json!({
        "parentRef": { "group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "theirs" },
        "controllerName": "example.com/other",
        "conditions": [{
            "type": "Accepted", "status": "True", "reason": "Accepted", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1,
        }],
    });
    let parents = route["status"]["parents"].as_array_mut().unwrap();
    parents.insert(0, foreign.clone());
    let status = json!({ "status": { "parents": parents } });
    routes.patch_status("split", &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
    routes.patch("split", &PatchParams::default(), &weights(1, 1)).await.unwrap();
    let route = gateway
        .until("HTTPRoute", "default", "split", |route| {
            route["status"]["parents"].as_array().into_iter().flatten().any(|parent| {
                parent["controllerName"] == gwproxy::contract::CONTROLLER_NAME
                    && parent["conditions"][0]["observedGeneration"] == route["metadata"]["generation"]
            })
        })
        .await;
    assert!(route["status"]["parents"].as_array().unwrap().contains(&foreign), "{route:#}");
    gateway.local.stop().await;
}

/// On one host nothing is made for a Gateway; what its infrastructure says is told all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn infrastructure_is_told_by_an_object_that_follows_the_gateway() {
    let gateway = Gateway::start(&[("gateway.yaml", PLATFORM)]).await;
    gateway.address("default", "edge").await;
    let edge = gateway.api("Gateway", "default");
    let say = async |infrastructure: serde_json::Value| {
        let patch = json!({ "spec": { "infrastructure": infrastructure } });
        edge.patch("edge", &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    };
    say(json!({ "labels": { "team": "a" }, "annotations": { "note": "x" } })).await;
    let account = gateway.until("ServiceAccount", "default", "gwproxy-edge", |_| true).await;
    let metadata = &account["metadata"];
    assert_eq!(metadata["labels"]["gateway.networking.k8s.io/gateway-name"], "edge");
    assert_eq!((&metadata["labels"]["team"], &metadata["annotations"]["note"]), (&json!("a"), &json!("x")));
    say(json!({ "labels": { "team": "b" }, "annotations": null })).await;
    let account = gateway
        .until("ServiceAccount", "default", "gwproxy-edge", |account| account["metadata"]["labels"]["team"] == "b")
        .await;
    assert!(account["metadata"]["annotations"].is_null(), "{account:#}");
    say(json!(null)).await;
    let accounts = gateway.api("ServiceAccount", "default");
    for _ in 0..400 {
        if accounts.get_opt("gwproxy-edge").await.unwrap().is_none() {
            return gateway.local.stop().await;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("what nobody asks for any more stays");
}

/// One Gateway on an address of each family, before endpoints of each family.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_address_families_are_served() {
    if TcpListener::bind("[::1]:0").is_err() {
        eprintln!("skipped: this machine has no IPv6 loopback");
        return;
    }
    let port = loop {
        let six = TcpListener::bind("[::1]:0").unwrap();
        let port = six.local_addr().unwrap().port();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            break port;
        }
    };
    let (four, six) = (Backend::start("four").await, Backend::start_on("[::1]:0", "six").await);
    let manifests = format!(
        "
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {{ name: gwproxy }}
spec: {{ controllerName: gwtop.dev/gwproxy }}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{ name: edge, namespace: default }}
spec:
  gatewayClassName: gwproxy
  addresses: [{{ value: \"::1\" }}, {{ value: 127.0.0.1 }}]
  listeners: [{{ name: http, port: {port}, protocol: HTTP }}]
---
{}
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{ name: app-2, namespace: default, labels: {{ kubernetes.io/service-name: app }} }}
addressType: IPv6
endpoints: [{{ addresses: [\"::1\"] }}]
ports: [{{ name: http, port: {}, protocol: TCP }}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{ name: app, namespace: default }}
spec:
  parentRefs: [{{ name: edge }}]
  rules: [{{ backendRefs: [{{ name: app, port: 80 }}] }}]
",
        service("app", four.address),
        six.address.port()
    );
    let gateway = Gateway::start(&[("all.yaml", &manifests)]).await;
    assert!(gateway.local.problems.is_empty(), "{:?}", gateway.local.problems);
    gateway.until("HTTPRoute", "default", "app", |route| parent(route, "ResolvedRefs").0 == "True").await;
    for address in ["127.0.0.1", "::1"] {
        let address = SocketAddr::new(address.parse().unwrap(), port);
        let mut names = std::collections::BTreeSet::new();
        for _ in 0..8 {
            let (status, text) = get(address, "any.example", "/", &[]).await;
            assert_eq!(status, 200, "{text}");
            assert!(text.contains(&format!("x-forwarded-for: {}\n", address.ip())), "{text}");
            names.extend(text.lines().next().map(str::to_owned));
        }
        assert_eq!(names.into_iter().collect::<Vec<_>>(), ["four", "six"], "through {address}");
    }
    gateway.local.stop().await;
}
