//! The console in a terminal on a live API: recorded, saved after the fact, taken to another
//! context and back, and with the API gone for a while.

#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

#[path = "common/serving.rs"]
mod serving;
#[path = "common/terminal.rs"]
mod terminal;

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::Command,
};

use gwproxy::start::{Local, LocalOptions};
use gwtop::{
    model::{key::Kind, store::Change},
    recording::{self, Entry},
};
use serde_json::{Value, json};
use terminal::Terminal;

const MANIFESTS: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: gwproxy}
spec: {controllerName: gwtop.dev/gwproxy}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: web, namespace: default}
spec:
  gatewayClassName: gwproxy
  listeners: [{name: http, port: PORT, protocol: HTTP}]
---
apiVersion: v1
kind: Secret
metadata: {name: hidden, namespace: default}
type: kubernetes.io/tls
stringData: {tls.crt: none-of-your-business, tls.key: none-of-your-business}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: first, namespace: default}
spec:
  parentRefs: [{name: web}]
  rules: [{backendRefs: [{name: nobody, port: 80}]}]
";

fn options(dir: &Path, api: SocketAddr) -> LocalOptions {
    LocalOptions {
        manifests: Some(dir.join("manifests")),
        data: Some(dir.join("data")),
        api,
        address_pool: "127.0.0.1/32".parse().unwrap(),
        metrics: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        access_log: None,
        kubeconfig: Some(dir.join("kubeconfig")),
        workers: None,
        service: gwproxy::local::Service::default(),
    }
}

/// A second context, of a cluster that nobody serves.
fn add_context(kubeconfig: &Path) -> String {
    let mut config: Value = serde_saphyr::from_str(&fs::read_to_string(kubeconfig).unwrap()).unwrap();
    let first = config["contexts"][0]["name"].as_str().unwrap().to_owned();
    let push = |list: &mut Value, entry: Value| list.as_array_mut().unwrap().push(entry);
    push(&mut config["clusters"], json!({"name": "void", "cluster": {"server": "http://127.0.0.1:1"}}));
    let context = json!({"cluster": "void", "user": config["users"][0]["name"]});
    push(&mut config["contexts"], json!({"name": "far-away", "context": context}));
    fs::write(kubeconfig.with_file_name("two"), config.to_string()).unwrap();
    first
}

#[tokio::test(flavor = "multi_thread")]
async fn a_console_outlives_its_api_and_keeps_what_it_heard() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_owned();
    fs::create_dir(path.join("manifests")).unwrap();
    let manifests = MANIFESTS.replace("PORT", &serving::free_port().to_string());
    fs::write(path.join("manifests/all.yaml"), manifests).unwrap();
    let api = SocketAddr::from((Ipv4Addr::LOCALHOST, serving::free_port()));
    let local = Local::start(options(&path, api)).await.unwrap();
    let context = add_context(&path.join("kubeconfig"));

    let (terminal, context) = tokio::task::spawn_blocking({
        let path = path.clone();
        move || {
            record(&path);
            let two = path.join("two");
            let args = ["--kubeconfig", two.to_str().unwrap(), "--request-timeout", "2s"];
            let mut terminal = Terminal::start(&args, &path, (110, 30));
            terminal.until("the route", |text| text.contains("first") && text.contains("BackendNotFound"));
            elsewhere_and_back(&mut terminal, &context);
            save(&mut terminal, &path);
            (terminal, context)
        }
    })
    .await
    .unwrap();

    local.stop().await;
    let mut terminal = tokio::task::spawn_blocking(move || {
        let mut terminal = terminal;
        let text = terminal.until("the loss", |text| text.contains("API lost"));
        assert!(text.contains("first"), "what was known stays to be seen:\n{text}");
        // Keys are heard all the same.
        terminal.press("2");
        terminal.until("gateways", |text| text.contains("web"));
        terminal.press("1");
        terminal
    })
    .await
    .unwrap();
    let again = Local::start(options(&path, api)).await.unwrap();
    let second = path.join("manifests/second.yaml");
    let route = "
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: second, namespace: default}
spec: {parentRefs: [{name: web}], rules: [{backendRefs: [{name: nobody, port: 80}]}]}
";
    fs::write(second, route).unwrap();
    tokio::task::spawn_blocking(move || {
        terminal.until("the return", |text| text.contains("live") && text.contains("second"));
        terminal.press("5");
        terminal.until("its story", |text| text.contains("the API is back") && text.contains("created"));
        terminal.press("\x03");
        assert!(terminal.ends().success() && terminal.restored(), "{context}");
    })
    .await
    .unwrap();
    again.stop().await;
}

fn record(path: &Path) {
    let file = path.join("recorded.jsonl");
    let status = Command::new(env!("CARGO_BIN_EXE_gwtop"))
        .args(["record", file.to_str().unwrap(), "--for", "3s"])
        .env("KUBECONFIG", path.join("kubeconfig"))
        .status()
        .unwrap();
    assert!(status.success());
    let text = fs::read_to_string(&file).unwrap();
    assert!(!text.contains("none-of-your-business") && !text.contains("bm9uZS1vZi"), "the data of a Secret");
    let recording = recording::read(&text).unwrap();
    let of = |wanted: Kind| {
        recording.lines.iter().any(|line| {
            matches!(&line.entry, Entry::Change(Change::Replace(kind, objects)) if *kind == wanted && !objects.is_empty())
        })
    };
    assert!(of(Kind::HttpRoute) && of(Kind::Gateway) && of(Kind::Secret), "{text}");
    assert!(recording.lines.iter().any(|line| matches!(line.entry, Entry::Samples(_))), "{text}");
    // Nothing is written over.
    let again = Command::new(env!("CARGO_BIN_EXE_gwtop")).args(["record", file.to_str().unwrap()]).output().unwrap();
    assert!(!again.status.success());

    let mut terminal = Terminal::start(&["replay", file.to_str().unwrap()], path, (100, 30));
    terminal.until("the recording", |text| text.contains("recording") && text.contains("first"));
    terminal.press("q");
    assert!(terminal.ends().success() && terminal.restored());
}

fn elsewhere_and_back(terminal: &mut Terminal, context: &str) {
    terminal.press(":ctx\r");
    let text = terminal.until("both contexts", |text| text.contains("far-away") && text.contains(context));
    assert!(text.contains(&format!("* {context}")), "{text}");
    terminal.press(":ctx far-away\r");
    let text = terminal.until("nothing of it", |text| text.contains("API lost"));
    assert!(!text.contains("BackendNotFound"), "{text}");
    terminal.press(&format!(":ctx {context}\r"));
    terminal.until("the route again", |text| text.contains("live") && text.contains("BackendNotFound"));
}

fn save(terminal: &mut Terminal, path: &Path) {
    terminal.press("\x13");
    terminal.until("where", |text| text.contains("saved: gwtop replay"));
    let saved = fs::read_dir(path.join("gwtop/recordings")).unwrap().next().unwrap().unwrap().path();
    let text = fs::read_to_string(saved).unwrap();
    assert!(!text.contains("none-of-your-business") && !text.contains("bm9uZS1vZi"), "the data of a Secret");
    assert!(recording::read(&text).unwrap().cut.is_none());
    terminal.press("E");
    terminal.until("events", |text| text.contains("Events of HTTPRoute"));
    terminal.press("q");
}
