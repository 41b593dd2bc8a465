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
    assert_eq!(ok(&home, &["auth", "can-i", "patch", "httproutes"], "").trim(), "yes");
}
