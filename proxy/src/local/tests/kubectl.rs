use std::process::{Command, Output, Stdio};

use super::*;

const MANIFEST: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r, namespace: shop}
spec:
  hostnames: [a.example]
  rules: [{backendRefs: [{name: a, port: 80, weight: 90}, {name: b, port: 80, weight: 10}]}]
---
apiVersion: v1
kind: Service
metadata: {name: s, namespace: shop}
spec: {ports: [{name: http, port: 80}, {name: more, port: 81}]}
";

fn kubectl(home: &Home, args: &[&str], input: &str) -> Output {
    use std::io::Write;
    let mut child = Command::new("kubectl")
        .env("KUBECONFIG", &home.api.kubeconfig)
        .env("HOME", home.dir.path())
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn ok(home: &Home, args: &[&str], input: &str) -> String {
    let output = kubectl(home, args, input);
    assert!(output.status.success(), "kubectl {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_works_as_on_a_cluster() {
    if Command::new("kubectl").args(["version", "--client"]).output().is_err() {
        eprintln!("kubectl is not installed: skipped");
        return;
    }
    let home = Home::start().await;
    assert!(ok(&home, &["create", "namespace", "shop"], "").contains("namespace/shop created"));
    let applied = ok(&home, &["apply", "-f", "-"], MANIFEST);
    assert!(applied.contains("httproute.gateway.networking.k8s.io/r created") && applied.contains("service/s created"));
    assert!(ok(&home, &["apply", "-f", "-"], MANIFEST).contains("/r unchanged\nservice/s unchanged"));
    let changed = MANIFEST.replace("weight: 90", "weight: 80").replace(", {name: more, port: 81}", "");
    assert!(ok(&home, &["apply", "-f", "-"], &changed).contains("/r configured\nservice/s configured"));
    let ports = ["get", "service", "s", "-n", "shop", "-o", "jsonpath={.spec.ports[*].port}"];
    assert_eq!(ok(&home, &ports, ""), "80");

    let table = ok(&home, &["get", "httproutes", "-A"], "");
    let words: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(words[0], ["NAMESPACE", "NAME", "HOSTNAMES", "AGE"]);
    assert_eq!(words[1][..3], ["shop", "r", "[\"a.example\"]"]);
    let route = ["httproute", "r", "-n", "shop"];
    let with = |before: &[&'static str], after: &[&'static str]| [before, &route, after].concat();
    assert!(ok(&home, &with(&["describe"], &[]), "").contains("Hostnames:\n    a.example"));
    ok(&home, &with(&["label"], &["tier=front"]), "");
    ok(&home, &with(&["annotate"], &["note=x"]), "");
    assert!(
        ok(&home, &["get", "httproutes", "-n", "shop", "-l", "tier in (front)", "-o", "name"], "").contains("/r\n")
    );
    let weight = "/spec/rules/0/backendRefs/0/weight";
    let step = |from: u8| {
        format!(r#"[{{"op":"test","path":"{weight}","value":{from}}},{{"op":"replace","path":"{weight}","value":70}}]"#)
    };
    let patch = |text: &str| kubectl(&home, &[&["patch"], &route[..], &["--type=json", "-p", text]].concat(), "");
    assert!(patch(&step(80)).status.success());
    let refused = patch(&step(80));
    assert!(!refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("The request is invalid"));
    ok(&home, &["delete", "httproute", "r", "-n", "shop"], "");
    let gone = kubectl(&home, &with(&["get"], &[]), "");
    let error = String::from_utf8_lossy(&gone.stderr).into_owned();
    assert_eq!(error.trim(), "Error from server (NotFound): httproutes.gateway.networking.k8s.io \"r\" not found");
    ok(&home, &["delete", "namespace", "shop"], "");
    assert!(ok(&home, &["get", "services", "-A", "-o", "name"], "").is_empty());
    ok(&home, &["create", "deployment", "d", "--image=x", "--replicas=2", "--port=80"], "");
    let shown =
        ok(&home, &["get", "deployment", "d", "-o", "jsonpath={.spec.replicas} {.spec.template.spec.containers}"], "");
    assert!(shown.starts_with("2 [") && shown.contains(r#""containerPort":80"#), "{shown}");
    ok(&home, &["create", "secret", "generic", "s", "--from-literal=p=q"], "");
    assert_eq!(ok(&home, &["get", "secret", "s", "-o", "jsonpath={.data.p}"], ""), "cQ==");
    assert_eq!(ok(&home, &["auth", "can-i", "patch", "httproutes"], "").trim(), "yes");
}

const DEPLOYMENT: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: d, namespace: default}
spec:
  replicas: 2
  selector: {matchLabels: {a: b}}
  template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: x}]}}
";

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_applies_by_fields() {
    if Command::new("kubectl").args(["version", "--client"]).output().is_err() {
        eprintln!("kubectl is not installed: skipped");
        return;
    }
    let home = Home::start().await;
    let apply = ["apply", "--server-side", "-f", "-"];
    ok(&home, &["apply", "-f", "-"], DEPLOYMENT);
    // From client-side to server-side apply: what was applied before is kubectl's own.
    let changed = DEPLOYMENT.replace("replicas: 2", "replicas: 3");
    assert!(ok(&home, &apply, &changed).contains("deployment.apps/d serverside-applied"));
    let patch = ["patch", "deployment", "d", "--type=merge", "--field-manager=hpa", "-p", r#"{"spec":{"replicas":5}}"#];
    ok(&home, &patch, "");
    let refused = kubectl(&home, &apply, &changed);
    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    let wanted = "Apply failed with 1 conflict: conflict with \"hpa\" using apps/v1: .spec.replicas";
    assert!(!refused.status.success() && error.contains(wanted), "{error}");
    ok(&home, &[&apply[..], &["--force-conflicts"]].concat(), &changed);
    let revision = ["get", "deployment", "d", "-o", "jsonpath={.metadata.resourceVersion} {.spec.replicas}"];
    let before = ok(&home, &revision, "");
    assert!(before.ends_with(" 3"), "{before}");
    ok(&home, &apply, &changed);
    assert_eq!(ok(&home, &revision, ""), before);
    let owners =
        ["get", "deployment", "d", "--show-managed-fields", "-o", "jsonpath={.metadata.managedFields[*].manager}"];
    let owners = ok(&home, &owners, "");
    assert!(owners.split(' ').any(|owner| owner == "kubectl") && !owners.contains("hpa"), "{owners}");
}
