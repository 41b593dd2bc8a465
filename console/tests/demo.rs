//! The whole loop as a user meets it: the built binary, real sockets, a real terminal.

#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

#[path = "common/terminal.rs"]
mod terminal;

use std::{
    net::TcpStream,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use gwtop::cluster::connect::{ConnectOptions, Connection, connect};
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind};
use terminal::Terminal;

/// The demo in a terminal, and a client of its API.
struct Demo {
    terminal: Terminal,
    state: tempfile::TempDir,
    runtime: tokio::runtime::Runtime,
}

impl Demo {
    fn start() -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let state = tempfile::tempdir().unwrap();
        let terminal = Terminal::start(&["demo"], state.path(), (120, 40));
        Self { terminal, state, runtime }
    }

    fn kubeconfig(&self) -> std::path::PathBuf {
        self.state.path().join("gwtop/demo/kubeconfig")
    }

    fn weights(&self) -> Vec<u64> {
        self.runtime.block_on(async {
            let connection = self.connect().await;
            let kind = GroupVersionKind::gvk("gateway.networking.k8s.io", "v1", "HTTPRoute");
            let routes: Api<DynamicObject> =
                Api::namespaced_with(connection.client, "my-app", &ApiResource::from_gvk(&kind));
            let route = routes.get("app-canary").await.unwrap();
            let backends = route.data["spec"]["rules"][0]["backendRefs"].as_array().unwrap().clone();
            backends.iter().map(|backend| backend["weight"].as_u64().unwrap()).collect()
        })
    }

    async fn connect(&self) -> Connection {
        let options = ConnectOptions { kubeconfig: Some(self.kubeconfig()), ..ConnectOptions::default() };
        connect(&options).await.unwrap()
    }

    /// Host and port of the local API.
    fn api(&self) -> String {
        let url = self.runtime.block_on(self.connect()).cluster_url;
        url.split_once("://").unwrap().1.to_owned()
    }

    fn await_weights(&self, wanted: [u64; 2]) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while self.weights() != wanted {
            assert!(
                Instant::now() < deadline,
                "weights are {:?}, not {wanted:?}\n{}",
                self.weights(),
                self.terminal.text()
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

#[test]
fn an_operator_steps_a_canary_by_hand_and_rolls_it_back() {
    let mut demo = Demo::start();
    demo.terminal.until("canary route with traffic", |text| text.contains("app-canary") && text.contains("95"));

    // Three broken routes, named by their reasons, without a key pressed.
    let text = demo.terminal.until("broken routes", |text| text.contains("BackendNotFound"));
    assert!(text.contains("NotAllowedByListeners"), "{text}");
    assert!(text.contains("RefNotPermitted"), "{text}");

    demo.terminal.press("/app-canary\r");
    demo.terminal.until("filtered list", |text| !text.contains("refunds"));
    demo.terminal.press("p");
    demo.terminal.until("canary panel", |text| text.contains("app-v2") && text.contains("app-v1"));
    demo.terminal.press("+");
    demo.terminal.press("\r");
    let diff = demo
        .terminal
        .until("diff with the context's name", |text| text.contains("gwtop-demo") && text.contains("weight"));
    assert!(diff.contains("app-canary"), "{diff}");
    demo.terminal.press("y");
    demo.await_weights([90, 10]);
    demo.terminal.press("R");
    demo.terminal.until("confirmation of the rollback", |text| text.contains("gwtop-demo"));
    demo.terminal.press("y");
    demo.await_weights([100, 0]);

    let api = demo.api();
    demo.terminal.press("\x03");
    let status = demo.terminal.ends();
    assert!(status.success() && demo.terminal.restored(), "{status:?}");
    assert!(TcpStream::connect(&api).is_err(), "the local API still listens on {api}");
    assert!(!demo.kubeconfig().exists(), "the kubeconfig was left behind");
}

#[test]
fn the_story_holds_and_leaves_nothing_behind() {
    let state = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_gwtop"))
        .args(["demo", "--headless"])
        .env("XDG_STATE_HOME", state.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let talk = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}\n{talk}");
    assert!(said.contains("healthy canary reached its maximum"), "{said}");
    assert!(said.contains("failing canary was rolled back"), "{said}");
    assert!(!state.path().join("gwtop/demo/kubeconfig").exists(), "the kubeconfig was left behind");
}
