//! What comes out is accepted by the local API, served by gwproxy, and answers as nginx does.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use gwtop::{
    cluster::{connect::Connection, read},
    migrate::{
        Migration, Options,
        command::live::{replay, text},
        emit,
        live::Endpoint,
    },
    model::key::{Kind, ObjectKey},
};
use serde_json::{Value, json};

use super::{
    real_nginx, run,
    serving::{echo, free_port, local},
};

/// The output with ports that a test may open, and what it refers to: class, namespaces, Services
/// whose one endpoint says who it is.
fn servable(migration: &Migration, port: u16) -> String {
    let mut objects: Vec<Value> = migration.objects.iter().map(|made| made.value.clone()).collect();
    let mut namespaces = BTreeSet::new();
    let mut services: BTreeMap<(String, String), BTreeSet<u64>> = BTreeMap::new();
    for object in &mut objects {
        let namespace = object["metadata"]["namespace"].as_str().unwrap().to_owned();
        for listener in object.pointer_mut("/spec/listeners").and_then(Value::as_array_mut).into_iter().flatten() {
            assert_eq!(listener["port"], 80, "only plain listeners are served here");
            listener["port"] = json!(port);
        }
        for rule in object.pointer("/spec/rules").and_then(Value::as_array).into_iter().flatten() {
            for backend in rule["backendRefs"].as_array().into_iter().flatten() {
                let of = backend["namespace"].as_str().unwrap_or(&namespace).to_owned();
                let key = (of, backend["name"].as_str().unwrap().to_owned());
                services.entry(key).or_default().insert(backend["port"].as_u64().unwrap());
            }
        }
        namespaces.insert(namespace);
    }
    namespaces.extend(services.keys().map(|(namespace, _)| namespace.clone()));
    let mut all: Vec<Value> = namespaces
        .iter()
        .filter(|name| *name != "default")
        .map(|name| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}))
        .collect();
    all.push(json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass",
        "metadata": {"name": migration.options.class()}, "spec": {"controllerName": "gwtop.dev/gwproxy"}}));
    for ((namespace, name), ports) in services {
        let list: Vec<Value> = ports.iter().map(|port| json!({"name": format!("p{port}"), "port": port})).collect();
        all.push(json!({"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": namespace, "name": name}, "spec": {"ports": list}}));
        for port in ports {
            let address = echo(format!("{namespace}/{name}:{port}"));
            all.push(json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
                "metadata": {"namespace": namespace, "name": format!("{name}-{port}"), "labels": {"kubernetes.io/service-name": name}},
                "addressType": "IPv4", "ports": [{"name": format!("p{port}"), "port": address.port(), "protocol": "TCP"}],
                "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": true}}]}));
        }
    }
    all.extend(objects);
    all.iter().map(|object| format!("---\n{}", emit::yaml(object))).collect()
}

async fn programmed(connection: &Connection, gateway: &ObjectKey) {
    let begun = Instant::now();
    loop {
        if let Ok(object) = read::get(connection, gateway).await {
            let conditions =
                object.pointer("/status/conditions").and_then(Value::as_array).cloned().unwrap_or_default();
            if conditions.iter().any(|one| one["type"] == "Programmed" && one["status"] == "True") {
                return;
            }
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "the Gateway is not programmed");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn has_nginx() -> bool {
    let there = Command::new("nginx").arg("-v").stderr(Stdio::null()).status().is_ok();
    if !there {
        eprintln!("no nginx here: its answers are not compared");
    }
    there
}

fn case(name: &str) -> Migration {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/migrate");
    let text = fs::read_to_string(folder.join(format!("{name}.in.yaml"))).unwrap();
    run(&text, &Options::default())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_output_is_served_and_answers_as_nginx_does() {
    if !has_nginx() {
        return;
    }
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    for (name, least) in [("article", 10), ("path-types", 30), ("rewrite-forms", 50)] {
        let migration = case(name);
        let port = free_port();
        // `local` fails on any manifest that the API refuses.
        let (served, connection, _dir) = local(&servable(&migration, port)).await;
        let gateway =
            ObjectKey::new(Kind::Gateway, &migration.options.gateway_namespace, &migration.options.gateway_name);
        programmed(&connection, &gateway).await;
        let place = tempfile::tempdir().unwrap();
        let (_nginx, old) = real_nginx(&migration, place.path());
        let endpoint = |port| Endpoint::parse(&format!("http://127.0.0.1:{port}")).unwrap();
        let endpoints = [endpoint(old), endpoint(port)];
        let replayed = replay(&migration, &[], &endpoints, Duration::from_secs(10)).await.unwrap();
        assert!(replayed.findings.is_empty(), "{name}:\n{}", text(&replayed));
        assert!(replayed.equal >= least, "{name}: {}", text(&replayed));
        eprintln!("{name}: {}", text(&replayed));
        served.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_proxy_that_answers_otherwise_is_told() {
    if !has_nginx() {
        return;
    }
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let migration = case("article");
    let place = tempfile::tempdir().unwrap();
    let (_nginx, old) = real_nginx(&migration, place.path());
    let other = echo("somebody else".to_owned());
    let endpoint = |port| Endpoint::parse(&format!("http://127.0.0.1:{port}")).unwrap();
    let endpoints = [endpoint(old), endpoint(other.port())];
    let replayed = replay(&migration, &[], &endpoints, Duration::from_secs(10)).await.unwrap();
    let parts: BTreeSet<_> = replayed.findings.iter().map(|one| one.title.as_str()).collect();
    // Bodies where both serve, the status where nginx has no location.
    assert_eq!(parts, BTreeSet::from(["body differs", "status differs"]), "{}", text(&replayed));
    let nobody = [endpoint(old), endpoint(free_port())];
    let replayed = replay(&migration, &[], &nobody, Duration::from_secs(10)).await.unwrap();
    assert_eq!(replayed.findings.len(), replayed.asked);
}
