//! The commands that answer questions, as a script runs them: the built binary against a live API
//! whose controller is gwproxy.

#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

#[path = "common/serving.rs"]
mod serving;

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, PostParams};
use serde_json::Value;

const MANIFESTS: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: gwproxy}
spec: {controllerName: gwtop.dev/gwproxy}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Namespace
metadata: {name: far}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: web, namespace: shop}
spec:
  gatewayClassName: gwproxy
  listeners: [{name: http, port: PORT, protocol: HTTP, hostname: '*.shop.test'}]
---
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {ports: [{port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: cart-1, namespace: shop, labels: {kubernetes.io/service-name: cart}}
addressType: IPv4
endpoints: [{addresses: ['127.0.0.1'], conditions: {ready: true}}]
ports: [{name: '', port: 9, protocol: TCP}]
---
apiVersion: v1
kind: Service
metadata: {name: other, namespace: far}
spec: {ports: [{port: 80}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: fine, namespace: shop, labels: {team: a}}
spec:
  parentRefs: [{name: web}]
  hostnames: [fine.shop.test]
  rules: [{backendRefs: [{name: cart, port: 80}]}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: unserved, namespace: shop, labels: {team: b}}
spec:
  parentRefs: [{name: web}]
  hostnames: [unserved.shop.test]
  rules: [{backendRefs: [{name: other, namespace: far, port: 80}]}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: elsewhere, namespace: shop}
spec:
  parentRefs: [{name: web}]
  hostnames: [elsewhere.test]
  rules: [{backendRefs: [{name: cart, port: 80}]}]
";

struct Answer {
    code: i32,
    out: String,
    err: String,
}

fn command(kubeconfig: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gwtop"));
    command.args(args).env("KUBECONFIG", kubeconfig).env("XDG_STATE_HOME", kubeconfig.parent().unwrap());
    command
}

fn gwtop(kubeconfig: &Path, args: &[&str]) -> Answer {
    let output = command(kubeconfig, args).output().unwrap();
    Answer {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

fn json(answer: &Answer) -> Value {
    serde_json::from_str(&answer.out).unwrap_or_else(|error| panic!("{error}: {}\n{}", answer.out, answer.err))
}

/// Until the controller has said what it has to say.
fn settled(kubeconfig: &Path) {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let answer = gwtop(kubeconfig, &["get", "httproutes", "-n", "shop", "-o", "json"]);
        let all = json(&answer);
        let said = |route: &Value| route["status"]["parents"][0]["conditions"].is_array();
        if all["items"].as_array().unwrap().iter().all(said) {
            return;
        }
        assert!(Instant::now() < deadline, "{}", answer.out);
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_are_answered_for_people_and_for_scripts() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let manifests = MANIFESTS.replace("PORT", &serving::free_port().to_string());
    let (local, connection, dir) = serving::local(&manifests).await;
    let config = dir.path().join("kubeconfig");
    tokio::task::spawn_blocking({
        let config = config.clone();
        move || {
            settled(&config);
            status(&config);
            why(&config);
            lists(&config);
            wrong(&config);
        }
    })
    .await
    .unwrap();

    // A mended route is told without being asked for again.
    let mut watching = command(&config, &["why", "shop/unserved", "-w"]).stdout(Stdio::piped()).spawn().unwrap();
    let (heard, says) = std::sync::mpsc::channel();
    let out = watching.stdout.take().unwrap();
    std::thread::spawn(move || BufReader::new(out).lines().map_while(Result::ok).try_for_each(|line| heard.send(line)));
    let until = |wanted: &str| {
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut all = Vec::new();
        while let Ok(line) = says.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            all.push(line);
            if all.last().unwrap().contains(wanted) {
                return;
            }
        }
        panic!("no {wanted:?} in {all:#?}");
    };
    until("broken at its grant");
    let kind = GroupVersionKind::gvk("gateway.networking.k8s.io", "v1beta1", "ReferenceGrant");
    let grants: Api<DynamicObject> =
        Api::namespaced_with(connection.client.clone(), "far", &ApiResource::from_gvk(&kind));
    let grant = serde_json::json!({
        "apiVersion": "gateway.networking.k8s.io/v1beta1", "kind": "ReferenceGrant",
        "metadata": {"name": "shop", "namespace": "far"},
        "spec": {
            "from": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": "shop"}],
            "to": [{"group": "", "kind": "Service", "name": "other"}],
        },
    });
    grants.create(&PostParams::default(), &serde_json::from_value(grant).unwrap()).await.unwrap();
    until("broken at its endpoints");
    watching.kill().unwrap();
    watching.wait().unwrap();
    local.stop().await;
}

fn status(config: &Path) {
    let bad = gwtop(config, &["status", "-n", "shop"]);
    assert_eq!(bad.code, 1, "{}", bad.out);
    let lines: Vec<&str> = bad.out.lines().collect();
    assert!(lines[1].contains("elsewhere") && lines[2].contains("unserved"), "problems are first:\n{}", bad.out);
    assert!(lines[3].starts_with("✓ ok"), "{}", bad.out);

    let all = json(&gwtop(config, &["status", "-A", "-o", "json"]));
    assert_eq!((&all["schema"], &all["healthy"]), (&"gwtop.dev/status/v1".into(), &false.into()));
    let unserved = all["items"].as_array().unwrap().iter().find(|item| item["name"] == "unserved").unwrap();
    assert_eq!((&unserved["healthy"], &unserved["finding"]), (&false.into(), &"GWT206".into()));

    let well = gwtop(config, &["status", "-n", "shop", "-l", "team=a"]);
    assert_eq!(well.code, 0, "{}", well.out);
    assert!(well.out.contains("fine") && !well.out.contains("unserved"), "{}", well.out);

    let names = gwtop(config, &["status", "-n", "shop", "-o", "name"]);
    assert_eq!(
        names.out,
        "httproute.gateway.networking.k8s.io/elsewhere\nhttproute.gateway.networking.k8s.io/unserved\n"
    );
    let sarif = json(&gwtop(config, &["status", "-A", "-o", "sarif"]));
    let ids = sarif["runs"][0]["results"].as_array().unwrap().iter().map(|one| &one["ruleId"]);
    assert!(ids.clone().any(|id| id == "GWT206"), "{sarif:#}");
    let junit = gwtop(config, &["status", "-A", "-o", "junit"]);
    assert!(junit.out.contains("<failure") && junit.out.contains("GWT206"), "{}", junit.out);
}

fn why(config: &Path) {
    for object in [&["shop/unserved"][..], &["httproute/shop/unserved"], &["HTTPRoute", "shop/unserved"]] {
        let broken = gwtop(config, &[&["why"], object].concat());
        assert_eq!(broken.code, 1, "{}", broken.err);
        assert!(broken.out.contains("✗ broken at its grant"), "{}", broken.out);
        // The fix is ready to be pasted.
        assert!(broken.out.contains("kind: ReferenceGrant"), "{}", broken.out);
    }
    let host = gwtop(config, &["why", "elsewhere", "-n", "shop"]);
    assert!(host.out.contains("elsewhere.test") && host.out.contains("*.shop.test"), "{}", host.out);
    let open = gwtop(config, &["why", "fine", "-n", "shop"]);
    assert_eq!(open.code, 0, "{}", open.out);
    assert!(open.out.contains("✓ requests can reach its backends"), "{}", open.out);
    let data = json(&gwtop(config, &["why", "shop/unserved", "-o", "json"]));
    let at = usize::try_from(data["broken"].as_u64().unwrap()).unwrap();
    assert_eq!(data["hops"][at]["step"], "grant");
    assert_eq!(gwtop(config, &["why", "gateway/web", "-n", "shop"]).code, 0);
}

fn lists(config: &Path) {
    let tree = gwtop(config, &["tree", "-n", "shop"]).out;
    for part in [
        "GatewayClass gwproxy",
        "└─ Gateway shop/web",
        "HTTPRoute shop/fine",
        "Service shop/cart:80  100%  ✓ 1/1 ready",
    ] {
        assert!(tree.contains(part), "no {part}:\n{tree}");
    }
    let gateways = gwtop(config, &["get", "gtw", "-A"]).out;
    assert!(gateways.starts_with("NAMESPACE") && gateways.contains("gwproxy"), "{gateways}");
    let one = json(&gwtop(config, &["get", "httproute", "fine", "-n", "shop", "-o", "json"]));
    assert_eq!(one["metadata"]["name"], "fine");
    let lines = gwtop(config, &["get", "httproutes", "-n", "shop", "-o", "jsonl"]).out;
    assert!(lines.lines().count() == 3 && lines.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()));
    let described = gwtop(config, &["describe", "shop/unserved"]).out;
    for part in ["Conditions:", "RefNotPermitted", "broken at its grant", "Events:"] {
        assert!(described.contains(part), "no {part}:\n{described}");
    }
    let top = json(&gwtop(config, &["top", "gateways", "-A", "-o", "json"]));
    assert_eq!(top["items"][0]["name"], "web");
}

fn wrong(config: &Path) {
    for (args, word) in [
        (&["why", "fine"][..], "add -n shop"),
        (&["why", "nobody", "-n", "shop"], "gwtop get httproutes -A"),
        (&["get", "nonsense"], "httproutes"),
        (&["get", "httproute", "nobody", "-n", "shop"], "no HTTPRoute nobody"),
        (&["describe", "gateway/nobody", "-n", "shop"], "no Gateway nobody"),
    ] {
        let answer = gwtop(config, args);
        assert_eq!((answer.code, answer.out.as_str()), (2, ""), "{args:?}: {}", answer.err);
        assert!(answer.err.contains(word), "{args:?}: {}", answer.err);
    }
    // Nobody reads to the end.
    let mut child = command(config, &["get", "httproutes", "-A", "-o", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let ended = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&ended.stderr), "");
}
