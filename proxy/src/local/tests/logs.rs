//! `pods/log`, with a kubelet made here.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

/// A kubelet that answers every request with what was asked of it.
async fn kubelet() -> SocketAddr {
    let key = rcgen::generate_simple_self_signed(["standin".to_owned()]).unwrap();
    let private = rustls_pki_types::PrivatePkcs8KeyDer::from(key.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![key.cert.der().clone()], private.into())
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let mut tls = acceptor.accept(socket).await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(tls.read_u8().await.unwrap());
            }
            let line = String::from_utf8(head).unwrap().lines().next().unwrap().to_owned();
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{line}", line.len());
            tls.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    address
}

impl Home {
    async fn make(&self, path: &str, object: &Value) {
        let json = [("content-type", "application/json")];
        let (code, answer) = self.send("POST", path, &json, object.to_string()).await;
        assert_eq!(code, 201, "{answer}");
    }

    async fn pod(&self, name: &str, node: Option<&str>, containers: &[&str]) -> String {
        let containers: Vec<Value> = containers.iter().map(|name| json!({"name": name, "image": "i"})).collect();
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
            "spec": {"nodeName": node, "containers": containers},
        });
        self.make("/api/v1/namespaces/default/pods", &pod).await;
        format!("/api/v1/namespaces/default/pods/{name}/log")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_asked_of_the_kubelet_of_the_node() {
    let home = Home::start().await;
    let kubelet = kubelet().await;
    home.make("/api/v1/nodes", &json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "here"}})).await;
    let status = json!({"status": {
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": kubelet.port()}},
    }});
    let merge = [("content-type", "application/merge-patch+json")];
    assert_eq!(home.send("PATCH", "/api/v1/nodes/here/status", &merge, status.to_string()).await.0, 200);

    let log = home.pod("one", Some("here"), &["main"]).await;
    let (code, said) = home.send("GET", &format!("{log}?tailLines=5&sinceTime=a%2Bb&x=y"), &[], "").await;
    assert_eq!(code, 200, "{said}");
    assert_eq!(said, "GET /containerLogs/default/one/main?sinceTime=a%2Bb&tailLines=5 HTTP/1.1");
    assert_eq!(home.send("GET", &format!("{log}?container=other"), &[], "").await.0, 400);
    assert_eq!(home.send("POST", &log, &[], "{}").await.0, 405);

    let two = home.pod("two", Some("here"), &["a", "b"]).await;
    let (code, said) = home.send("GET", &two, &[], "").await;
    assert_eq!(code, 400);
    assert_eq!(said["message"], "a container name must be specified for pod two, choose one of: [a b]");
    assert_eq!(home.send("GET", &format!("{two}?container=b"), &[], "").await.0, 200);

    let nowhere = home.pod("three", None, &["main"]).await;
    assert_eq!(home.send("GET", &nowhere, &[], "").await, (200, json!("")));
    assert_eq!(home.send("GET", "/api/v1/namespaces/default/pods/none/log", &[], "").await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kubelet_elsewhere_is_not_asked() {
    let home = Home::start().await;
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "away"}, "status": {
        "addresses": [{"type": "InternalIP", "address": "192.0.2.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
    }});
    home.make("/api/v1/nodes", &node).await;
    let log = home.pod("one", Some("away"), &["main"]).await;
    let (code, said) = home.send("GET", &log, &[], "").await;
    assert_eq!(code, 500);
    assert!(said["message"].as_str().unwrap().contains("\"away\" has no kubelet on this host"), "{said}");
}
