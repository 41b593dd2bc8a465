//! `gwtop migrate` on a cluster: the built binary and gwproxy's local API.

use std::{
    path::PathBuf,
    process::{Command, Output},
};

use super::serving::local;

const OBJECTS: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Namespace
metadata: {name: gateway-system}
---
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {ports: [{name: web, port: 8080}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: cart, namespace: shop}
spec:
  ingressClassName: nginx
  rules:
  - host: cart.test
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: cart, port: {name: web}}}}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: other, namespace: shop}
spec:
  ingressClassName: traefik
  rules:
  - host: other.test
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: cart, port: {number: 8080}}}}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: elsewhere, namespace: default}
spec:
  ingressClassName: nginx
  rules:
  - host: elsewhere.test
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: x, port: {number: 80}}}}]}
"#;

async fn gwtop(kubeconfig: PathBuf, args: &[&str]) -> (i32, String, String) {
    let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
    let run = move || -> Output {
        let home = tempfile::tempdir().unwrap();
        Command::new(env!("CARGO_BIN_EXE_gwtop"))
            .args(args)
            .env_clear()
            .env("HOME", home.path())
            .env("XDG_STATE_HOME", home.path().join("state"))
            .env("KUBECONFIG", kubeconfig)
            .output()
            .unwrap()
    };
    let output = tokio::task::spawn_blocking(run).await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_is_read_by_namespace_and_class_and_its_api_takes_the_output() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let (served, _connection, dir) = local(OBJECTS).await;
    let kubeconfig = dir.path().join("kubeconfig");
    let (code, out, err) = gwtop(kubeconfig.clone(), &["migrate", "-n", "shop", "--dry-run=server"]).await;
    assert_eq!(code, 0, "{err}");
    // The port's name is looked up in the Service of the cluster.
    assert!(out.contains("cart.test") && out.contains("port: 8080"), "{out}");
    assert!(!out.contains("other.test") && !out.contains("elsewhere.test"), "{out}");
    let (code, out, err) = gwtop(kubeconfig.clone(), &["migrate", "-A"]).await;
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("cart.test") && out.contains("elsewhere.test") && !out.contains("other.test"), "{out}");
    let (code, out, _) = gwtop(kubeconfig.clone(), &["migrate", "-n", "shop", "--ingress-class", "traefik"]).await;
    assert_eq!(code, 0);
    assert!(out.contains("other.test") && !out.contains("cart.test"), "{out}");
    // A Gateway's namespace that is not there is the server's to refuse.
    let args = ["migrate", "-n", "shop", "--dry-run=server", "--gateway-namespace", "nowhere"];
    let (code, _, err) = gwtop(kubeconfig, &args).await;
    assert_eq!(code, 1, "{err}");
    assert!(err.contains("refused by the server: Gateway nowhere/ingress"), "{err}");
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_is_followed_until_nothing_is_left() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let (served, connection, dir) = local(OBJECTS).await;
    let kubeconfig = dir.path().join("kubeconfig");
    let args = ["migrate", "--watch", "-n", "shop", "--interval", "1s", "-o", "json"];
    let watched = tokio::spawn(async move { gwtop(kubeconfig, &args).await });
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    let request = http::Request::delete("/apis/networking.k8s.io/v1/namespaces/shop/ingresses/cart").body(Vec::new());
    connection.client.request_text(request.unwrap()).await.unwrap();
    let (code, out, err) = tokio::time::timeout(std::time::Duration::from_secs(60), watched).await.unwrap().unwrap();
    assert_eq!(code, 0, "{err}");
    let phases: Vec<serde_json::Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |at: usize| phases[at]["ingresses"][0]["phase"].as_str().unwrap().to_owned();
    assert_eq!((of(0).as_str(), of(phases.len() - 1).as_str()), ("waiting", "deleted"), "{out}");
    assert!(phases.iter().all(|one| one["ingresses"].as_array().unwrap().len() == 1), "{out}");
    served.stop().await;
}
