//! The whole loop as a user meets it: the built binary, real sockets, a real terminal.

#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

use std::{
    io::{Read, Write},
    net::TcpStream,
    num::NonZero,
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use gwtop::cluster::connect::{ConnectOptions, Connection, connect};
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind};
use portable_pty::{CommandBuilder, MasterPty, PtySize, native_pty_system};

/// The demo in a terminal of its own, with a state directory of its own.
struct Demo {
    screen: Arc<Mutex<vt100::Parser>>,
    keys: Box<dyn Write + Send>,
    child: Box<dyn portable_pty::Child + Send + Sync>,
    state: tempfile::TempDir,
    runtime: tokio::runtime::Runtime,
    _master: Box<dyn MasterPty + Send>,
}

impl Demo {
    fn start() -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let state = tempfile::tempdir().unwrap();
        let size = PtySize { rows: 40, cols: 120, pixel_width: 0, pixel_height: 0 };
        let pair = native_pty_system().openpty(size).unwrap();
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_gwtop"));
        command.arg("demo");
        command.env("XDG_STATE_HOME", state.path());
        command.env("TERM", "xterm-256color");
        command.env("LANG", "C.UTF-8");
        let child = pair.slave.spawn_command(command).unwrap();
        drop(pair.slave);
        let mut output = pair.master.try_clone_reader().unwrap();
        let screen = Arc::new(Mutex::new(vt100::Parser::new(NonZero::new(40).unwrap(), NonZero::new(120).unwrap(), 0)));
        let parser = screen.clone();
        std::thread::spawn(move || {
            let mut bytes = [0; 16384];
            while let Ok(count) = output.read(&mut bytes) {
                if count == 0 {
                    break;
                }
                parser.lock().unwrap().process(&bytes[..count]);
            }
        });
        let keys = pair.master.take_writer().unwrap();
        Self { screen, keys, child, state, runtime, _master: pair.master }
    }

    fn text(&self) -> String {
        self.screen.lock().unwrap().screen().contents()
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    /// Waits until the screen satisfies `wanted`; panics with the screen after a minute.
    fn until(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let text = self.text();
            if wanted(&text) {
                return text;
            }
            assert!(Instant::now() < deadline, "no {what} on the screen after 60 s:\n{text}");
            std::thread::sleep(Duration::from_millis(50));
        }
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
            assert!(Instant::now() < deadline, "weights are {:?}, not {wanted:?}\n{}", self.weights(), self.text());
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn an_operator_steps_a_canary_by_hand_and_rolls_it_back() {
    let mut demo = Demo::start();
    demo.until("canary route with traffic", |text| text.contains("app-canary") && text.contains("95"));

    // Three broken routes, named by their reasons, without a key pressed.
    let text = demo.until("broken routes", |text| text.contains("BackendNotFound"));
    assert!(text.contains("NotAllowedByListeners"), "{text}");
    assert!(text.contains("RefNotPermitted"), "{text}");

    demo.press("/app-canary\r");
    demo.until("filtered list", |text| !text.contains("refunds"));
    demo.press("p");
    demo.until("canary panel", |text| text.contains("app-v2") && text.contains("app-v1"));
    demo.press("+");
    demo.press("\r");
    let diff =
        demo.until("diff with the context's name", |text| text.contains("gwtop-demo") && text.contains("weight"));
    assert!(diff.contains("app-canary"), "{diff}");
    demo.press("y");
    demo.await_weights([90, 10]);
    demo.press("R");
    demo.until("confirmation of the rollback", |text| text.contains("gwtop-demo"));
    demo.press("y");
    demo.await_weights([100, 0]);

    let api = demo.api();
    demo.press("\x03");
    let deadline = Instant::now() + Duration::from_secs(20);
    let status = loop {
        if let Some(status) = demo.child.try_wait().unwrap() {
            break status;
        }
        assert!(Instant::now() < deadline, "still running 20 s after Ctrl-C:\n{}", demo.text());
        std::thread::sleep(Duration::from_millis(50));
    };
    assert!(status.success(), "{status:?}");
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
