//! `gwtop canary` on the article's own canary route, served by gwproxy.

#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

#[path = "../../proxy/tests/common/gateway.rs"]
mod gateway;

use std::{
    net::SocketAddr,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use gateway::{Backend, Gateway, example, get, parent};

#[tokio::test(flavor = "multi_thread")]
async fn the_canary_of_the_article_is_stepped() {
    let (v1, v2) = (Backend::start("v1").await, Backend::start("v2").await);
    let ports = [(19081, v1.address), (19082, v2.address)];
    let files = ["00-gateway.yaml", "app-canary.yaml", "services.yaml"]
        .map(|name| (name, example(&format!("4.2-canary/{name}"), &ports)));
    let gateway = Gateway::start(&files.each_ref().map(|(name, text)| (*name, &**text))).await;
    assert!(gateway.local.problems.is_empty(), "{:?}", gateway.local.problems);
    let address = SocketAddr::new(gateway.address("gateway-system", "prod-gateway").await, 8080);
    let before =
        gateway.until("HTTPRoute", "my-app", "app-canary", |route| parent(route, "ResolvedRefs").0 == "True").await;
    gateway
        .until("Gateway", "gateway-system", "prod-gateway", |g| {
            !g["metadata"]["annotations"][gwproxy::contract::METRICS_URL_ANNOTATION].is_null()
        })
        .await;

    let bad = Arc::new(AtomicU64::new(0));
    let load: Vec<_> = (0..8)
        .map(|_| {
            let bad = bad.clone();
            tokio::spawn(async move {
                loop {
                    let (status, _) = get(address, "app.example.com", "/", &[]).await;
                    bad.fetch_add(u64::from(status != 200), Relaxed);
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            })
        })
        .collect();
    // The mirror of the route gives v2 a copy of everything: only the metrics can tell them apart.
    let check = format!("http://{}/healthz", v2.address);
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_gwtop"))
        .args(["canary", "my-app/app-canary", "--step", "5", "--max", "15", "--interval", "1s"])
        .args(["--min-requests", "20", "--check", &check, "--max-error-rate", "1%", "--max-p99", "5s", "-o", "json"])
        .args(["--scrape-every", "200ms"])
        .arg("--kubeconfig")
        .arg(&gateway.local.kubeconfig)
        .env("XDG_STATE_HOME", &gateway.dir)
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    load.iter().for_each(tokio::task::JoinHandle::abort);
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()), "{said}");
    let mut wanted = before["spec"].clone();
    wanted["rules"][0]["backendRefs"][0]["weight"] = 85.into();
    wanted["rules"][0]["backendRefs"][1]["weight"] = 15.into();
    let after = gateway.until("HTTPRoute", "my-app", "app-canary", |_| true).await;
    assert_eq!(after["spec"], wanted, "nothing but the weights changed");
    assert_eq!(bad.load(Relaxed), 0, "requests that were not answered with 200");
    gateway.local.stop().await;
}
