//! The built binary: how it starts, how it refuses to, how it ends.

#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

#[path = "common/gateway.rs"]
mod common;

use std::{
    net::TcpListener,
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, GroupVersionKind, PostParams},
};
use serde_json::json;

fn gwproxy(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gwproxy"));
    command.arg("local").env("XDG_STATE_HOME", dir).env("HOME", dir).stdin(Stdio::null());
    command.args(["--api", "127.0.0.1:0", "--metrics", "127.0.0.1:0"]);
    command
}

fn refused(mut command: Command) -> (Option<i32>, String) {
    let Output { status, stderr, .. } = command.output().unwrap();
    (status.code(), String::from_utf8(stderr).unwrap())
}

/// Running, with a client of its API; the caller ends it.
#[allow(clippy::zombie_processes)]
async fn running(dir: &Path) -> (Child, Client) {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let kubeconfig = dir.join("gwproxy/local/kubeconfig");
    let _ = std::fs::remove_file(&kubeconfig);
    let child = gwproxy(dir).stderr(Stdio::null()).spawn().unwrap();
    for _ in 0..400 {
        if kubeconfig.is_file() {
            let client = common::client(&kubeconfig).await;
            if client.apiserver_version().await.is_ok() {
                return (child, client);
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("gwproxy local did not come up within 20 s");
}

fn config_maps(client: &Client) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", "ConfigMap"));
    Api::namespaced_with(client.clone(), "default", &resource)
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment_it_has_every_acknowledged_write() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged: Vec<String> = Vec::new();
    for round in 0..3 {
        let (mut child, client) = running(dir.path()).await;
        let maps = config_maps(&client);
        for name in &acknowledged {
            assert!(maps.get_opt(name).await.unwrap().is_some(), "{name} was acknowledged and is gone");
        }
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                let maps = maps.clone();
                tokio::spawn(async move {
                    let mut done = Vec::new();
                    for at in 0.. {
                        let name = format!("w-{round}-{writer}-{at}");
                        let body = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name } });
                        let object = serde_json::from_value(body).unwrap();
                        match maps.create(&PostParams::default(), &object).await {
                            Ok(_) => done.push(name),
                            Err(_) => break,
                        }
                    }
                    done
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(150 + 137 * round)).await;
        child.kill().unwrap();
        child.wait().unwrap();
        for writer in writers {
            acknowledged.extend(writer.await.unwrap());
        }
    }
    assert!(acknowledged.len() > 20, "{} writes are too few to tell", acknowledged.len());
    let (mut child, client) = running(dir.path()).await;
    let maps = config_maps(&client);
    for name in &acknowledged {
        assert!(maps.get_opt(name).await.unwrap().is_some(), "{name} was acknowledged and is gone");
    }
    let status = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(status.success());
    assert_eq!(child.wait().unwrap().code(), Some(0), "SIGTERM ends it in order");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_start_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for flag in ["--api", "--metrics"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gwproxy"));
        command.args(["local", flag, &address]).env("XDG_STATE_HOME", dir.path()).stdin(Stdio::null());
        let other = if flag == "--api" { "--metrics" } else { "--api" };
        command.args([other, "127.0.0.1:0"]);
        let (code, said) = refused(command);
        assert_eq!(code, Some(2), "{flag}: {said}");
        assert!(said.contains(&address) && said.contains("in use") && said.contains(flag), "{flag}: {said}");
    }
    let mut command = gwproxy(dir.path());
    command.args(["--manifests", "/nowhere/at/all"]);
    let (code, said) = refused(command);
    assert!(code == Some(2) && said.contains("/nowhere/at/all"), "{code:?} {said}");
    let mut command = gwproxy(dir.path());
    command.args(["--address-pool", "lots"]);
    let (code, said) = refused(command);
    assert!(code == Some(2) && said.contains("lots"), "{code:?} {said}");
    let mut command = gwproxy(dir.path());
    command.args(["--tls-cert-file", "/nowhere/tls.crt", "--tls-private-key-file", "/nowhere/tls.key"]);
    let (code, said) = refused(command);
    assert!(code == Some(2) && said.contains("/nowhere/tls.crt"), "{code:?} {said}");

    let (mut child, _client) = running(dir.path()).await;
    let (code, said) = refused(gwproxy(dir.path()));
    assert!(said.contains(&child.id().to_string()), "names the process that has the directory: {code:?} {said}");
    assert_ne!(code, Some(0));
    child.kill().unwrap();
    child.wait().unwrap();
}

fn validate(arguments: &[&str], input: &str) -> (Option<i32>, String) {
    use std::io::Write;
    let mut command = Command::new(env!("CARGO_BIN_EXE_gwproxy"));
    command.arg("validate").args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // Who does not read its input is gone before all is written.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

#[test]
fn validate_reads_files_folders_and_standard_input() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: edge }
spec: { gatewayClassName: gwproxy, listeners: [{ name: http, port: 80, protocol: HTTP }] }
";
    let route = "
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: r }
spec: { parentRefs: [{ name: edge, sectionName: gone }] }
";
    let folder = dir.path().join("manifests");
    std::fs::create_dir(&folder).unwrap();
    let path = folder.to_str().unwrap();
    assert_eq!(validate(&["-f", path], "").0, Some(2), "an empty folder is nothing to look at");
    std::fs::write(folder.join("gateway.yaml"), gateway).unwrap();
    assert_eq!(validate(&["-f", path], "").0, Some(0));
    let (code, text) = validate(&["-f", path, "-", "-o", "json"], route);
    let report: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &report["valid"]), (Some(1), &json!(false)), "{text}");
    assert!(text.contains("NoMatchingParent"), "{text}");
    let (code, text) = validate(&["-f", path, "-f", "-", "-o", "yaml"], route);
    assert_eq!(code, Some(1));
    assert!(text.contains("schema: gwtop.dev/validate/v1"), "{text}");
    let (code, text) = validate(&["-f", "/does/not/exist"], "");
    assert_eq!(code, Some(2));
    assert!(text.contains("/does/not/exist cannot be read"), "{text}");
}
