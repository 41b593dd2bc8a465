//! `gwproxy local` under a service manager, and the commands beside it.

#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

#[path = "common/gateway.rs"]
mod common;

use std::{
    io::Write,
    os::unix::net::UnixDatagram,
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

const UNIT: &str = include_str!("../../assets/systemd/gwproxy-local.service");

fn gwproxy(args: &[&str], dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gwproxy"));
    command.args(args).arg("--data").arg(dir.join("data")).env("HOME", dir).stdin(Stdio::null());
    command
}

fn start(dir: &Path, socket: &UnixDatagram, more: &[&str]) -> Child {
    let mut command = gwproxy(&["local", "--api", "127.0.0.1:0", "--metrics", "127.0.0.1:0"], dir);
    command.args(more).env("NOTIFY_SOCKET", dir.join("notify")).env("WATCHDOG_USEC", "400000");
    let child = command.stderr(Stdio::null()).spawn().unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let told = hear(socket);
    assert!(told.starts_with("READY=1\nSTATUS=API on 127.0.0.1:"), "{told}");
    child
}

fn hear(socket: &UnixDatagram) -> String {
    let mut bytes = [0; 500];
    let length = socket.recv(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes[..length]).into_owned()
}

fn ran(mut command: Command) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

fn terminate(child: &mut Child) -> Option<i32> {
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    child.wait().unwrap().code()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_manager_hears_that_it_is_ready_alive_and_stopping() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let dir = tempfile::tempdir().unwrap();
    let socket = UnixDatagram::bind(dir.path().join("notify")).unwrap();
    let mut child = start(dir.path(), &socket, &[]);
    let kubeconfig = dir.path().join("data/kubeconfig");
    let before = common::client(&kubeconfig).await;
    assert!(before.apiserver_version().await.is_ok(), "ready is when the API answers");
    for _ in 0..3 {
        assert_eq!(hear(&socket), "WATCHDOG=1");
    }
    let (code, said, _) = ran(gwproxy(&["rotate-token"], dir.path()));
    assert!(code == Some(0) && said.contains("the one before is refused"), "{said}");
    assert!(before.apiserver_version().await.is_err(), "the old token works");
    assert!(common::client(&kubeconfig).await.apiserver_version().await.is_ok(), "the new token works");
    assert_eq!(terminate(&mut child), Some(0));
    let mut told = hear(&socket);
    while told == "WATCHDOG=1" {
        told = hear(&socket);
    }
    assert_eq!(told, "STOPPING=1");
}

#[test]
fn objects_move_between_a_running_and_a_stopped_data_folder() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (code, _, said) = ran(gwproxy(&["export"], one.path()));
    assert!(code == Some(2) && said.contains("is no data folder"), "{said}");
    let socket = UnixDatagram::bind(one.path().join("notify")).unwrap();
    let mut child = start(one.path(), &socket, &[]);
    let manifest = "
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: ConfigMap, metadata: {name: kept, namespace: shop}, data: {a: '1'}}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: NOT, namespace: shop}}
";
    let import = |dir: &Path, text: &str| {
        let file = dir.join("in.yaml");
        std::fs::File::create(&file).unwrap().write_all(text.as_bytes()).unwrap();
        ran(gwproxy(&["import", &file.to_string_lossy()], dir))
    };
    let (code, said, refused) = import(one.path(), manifest);
    assert_eq!(code, Some(1), "{said}{refused}");
    assert!(
        said.contains("ConfigMap shop/kept created\n") && refused.contains("ConfigMap shop/NOT: "),
        "{said}{refused}"
    );
    let (code, exported, said) = ran(gwproxy(&["export", "--namespace", "shop"], one.path()));
    assert_eq!(code, Some(0), "{said}");
    assert!(exported.contains("name: kept") && !exported.contains("resourceVersion"), "{exported}");
    assert_eq!(terminate(&mut child), Some(0));
    let (_, stopped, _) = ran(gwproxy(&["export", "--namespace", "shop"], one.path()));
    assert_eq!(stopped, exported, "the same, whether a server runs or not");
    let (code, _, said) = import(two.path(), "{apiVersion: v1, kind: Namespace, metadata: {name: shop}}");
    assert_eq!(code, Some(0), "{said}");
    let (code, _, said) = import(two.path(), &exported);
    assert_eq!(code, Some(0), "{said}");
    let (_, moved, _) = ran(gwproxy(&["export", "-n", "shop", "configmaps"], two.path()));
    assert_eq!(moved, exported);
}

/// The unit's command line is one that this binary takes, and it is told what the unit waits for.
#[test]
fn the_unit_starts_what_is_there() {
    let line = UNIT.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
    let mut words = line.split(' ');
    assert!(words.next().unwrap().ends_with("/gwproxy"));
    let mut help = Command::new(env!("CARGO_BIN_EXE_gwproxy"));
    let known = ran({
        help.args(["local", "--help"]);
        help
    });
    assert_eq!(words.next(), Some("local"));
    for flag in words.filter(|word| word.starts_with("--")) {
        assert!(known.1.contains(flag), "{flag} is not a flag of gwproxy local");
    }
    for wanted in ["Type=notify", "WatchdogSec=", "NoNewPrivileges=yes", "ProtectSystem=strict", "DynamicUser=yes"] {
        assert!(UNIT.contains(wanted), "{wanted}");
    }
}
