//! What a run asks of others and what they hear: owners, webhooks, queries, Events, reports.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::world::*;

/// A server that keeps what it is sent, and answers by path.
#[derive(Default)]
struct Ear {
    heard: Mutex<Vec<(String, String, String)>>,
    answers: Mutex<HashMap<String, (u16, String)>>,
}

impl Ear {
    async fn open() -> (Arc<Self>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let ear = Arc::new(Self::default());
        let hearing = ear.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let ear = hearing.clone();
                tokio::spawn(async move {
                    let mut text = Vec::new();
                    let (head, length) = loop {
                        let mut bytes = [0; 4096];
                        let count = stream.read(&mut bytes).await.unwrap_or(0);
                        text.extend_from_slice(&bytes[..count]);
                        if let Some(end) = text.windows(4).position(|four| four == b"\r\n\r\n") {
                            let head = String::from_utf8_lossy(&text[..end]).to_lowercase();
                            let length = head
                                .lines()
                                .find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok())
                                .unwrap_or(0);
                            break (String::from_utf8_lossy(&text[..end]).into_owned(), end + 4 + length);
                        }
                        if count == 0 {
                            return;
                        }
                    };
                    while text.len() < length {
                        let mut bytes = [0; 4096];
                        match stream.read(&mut bytes).await {
                            Ok(count @ 1..) => text.extend_from_slice(&bytes[..count]),
                            _ => break,
                        }
                    }
                    let path = head.split([' ', '?']).nth(1).unwrap_or_default().to_owned();
                    let body = String::from_utf8_lossy(&text[head.len() + 4..]).into_owned();
                    ear.heard.lock().unwrap().push((path.clone(), head, body));
                    let answer = ear.answers.lock().unwrap().get(&path).cloned();
                    let (code, body) = answer.unwrap_or((200, String::new()));
                    let answer = format!(
                        "HTTP/1.1 {code} X\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
                        body.len()
                    );
                    let _ = stream.write_all(answer.as_bytes()).await;
                });
            }
        });
        (ear, url)
    }

    fn says(&self, path: &str, code: u16, body: &str) {
        self.answers.lock().unwrap().insert(path.to_owned(), (code, body.to_owned()));
    }

    fn heard(&self, path: &str) -> Vec<(String, String)> {
        let all = self.heard.lock().unwrap();
        all.iter().filter(|(one, ..)| one == path).map(|(_, head, body)| (head.clone(), body.clone())).collect()
    }
}

pub async fn who_else_writes_the_route_is_named_before_anything_is_written() {
    let world = World::new().await;
    let mut owned = route("app", [100, 0]);
    let id = "storefront:gateway.networking.k8s.io/HTTPRoute:default/app";
    owned["metadata"]["annotations"]["argocd.argoproj.io/tracking-id"] = json!(id);
    world.create(&owned).await;
    let before = world.get().await["metadata"]["generation"].clone();
    let args = ["app", "--steps", "20", "--interval", "500ms"];
    let mut canary = world.start(&args);
    let (code, last) = canary.ends().await;
    assert_eq!(code, 2);
    let message = last["message"].as_str().unwrap();
    assert!(message.contains("Argo CD") && message.contains("argocd app set storefront"), "{message}");
    assert_eq!(world.get().await["metadata"]["generation"], before);
    let mut canary = world.start(&[&args[..], &["--force"]].concat());
    assert_eq!(canary.ends().await.0, 0, "{:#?}", canary.seen);
}

pub async fn webhooks_are_signed_and_may_say_no() {
    let world = World::with([100, 0]).await;
    let (ear, url) = Ear::open().await;
    let secret = world.folder.path().join("secret");
    std::fs::write(&secret, "s3cret\n").unwrap();
    let hooks: Vec<String> =
        ["pre", "step", "post", "rollback"].iter().map(|when| format!("{when}={url}/{when}")).collect();
    let notify = format!("{url}/notify");
    let mut args = vec!["app", "--steps", "20", "--interval", "500ms", "--webhook-secret-file"];
    args.extend([secret.to_str().unwrap(), "--notify", &notify]);
    for hook in &hooks {
        args.extend(["--webhook", hook]);
    }
    let mut canary = world.start(&args);
    assert_eq!(canary.ends().await.0, 0, "{:#?}", canary.seen);
    for (path, times) in [("/pre", 1), ("/step", 1), ("/post", 1), ("/rollback", 0)] {
        assert_eq!(ear.heard(path).len(), times, "{path}");
    }
    let (head, body) = ear.heard("/post").remove(0);
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, b"s3cret");
    let signature: String =
        aws_lc_rs::hmac::sign(&key, body.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(head.contains(&format!("x-gwtop-signature-256: sha256={signature}")), "{head}");
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((&body["webhook"], &body["phase"], &body["finished"]), (&json!("post"), &json!("Done"), &json!(0)));
    // Slack's shape, at the start and at the end.
    let said: Vec<Value> = ear.heard("/notify").iter().map(|(_, body)| serde_json::from_str(body).unwrap()).collect();
    assert!(said.len() >= 2 && said.last().unwrap()["text"].as_str().unwrap().contains("*Done*"), "{said:?}");
    // Nothing secret is left where others can read it.
    let leases = kube::Api::<k8s_openapi::api::coordination::v1::Lease>::namespaced(world.client.clone(), "default");
    let lease = json!(leases.list(&Default::default()).await.unwrap().items).to_string();
    assert!(lease.contains("canary-arguments") && !lease.contains(&url), "{lease}");

    ear.says("/step", 403, "");
    let world = World::with([100, 0]).await;
    let mut canary = world.start(&args);
    let (code, last) = canary.ends().await;
    assert_eq!(code, 2, "{:#?}", canary.seen);
    assert!(last["message"].as_str().unwrap().contains("webhook step"), "{last}");
    world.left([100, 0]).await;
    ear.says("/pre", 500, "");
    let mut canary = world.start(&args);
    assert_eq!(canary.ends().await.0, 2);
    let annotations = world.get().await["metadata"]["annotations"].clone();
    assert_eq!(annotations, json!({"team": "shop"}), "not even claimed");
}

pub async fn queries_judge_and_no_data_is_never_a_pass() {
    let (ear, url) = Ear::open().await;
    let number = |value: &str| {
        let result = json!([{"metric": {}, "value": [1, value]}]);
        json!({"status": "success", "data": {"resultType": "vector", "result": result}}).to_string()
    };
    let args = [
        "app",
        "--steps",
        "20",
        "--interval",
        "500ms",
        "--hold",
        "2s",
        "--check-every",
        "100ms",
        "--prometheus-url",
        &url,
        "--query",
        "lag=max(lag{app=\"v2\"})",
        "--query-max",
        "lag=5",
    ];
    ear.says("/api/v1/query", 200, &number("4"));
    let world = World::with([100, 0]).await;
    let mut canary = world.start(&args);
    assert_eq!(canary.ends().await.0, 0, "{:#?}", canary.seen);
    world.left([80, 20]).await;
    assert!(ear.heard("/api/v1/query")[0].0.contains("query=max%28lag"), "{:?}", ear.heard("/api/v1/query")[0]);

    ear.says("/api/v1/query", 200, &number("6"));
    let world = World::with([100, 0]).await;
    let mut canary = world.start(&args);
    let (code, last) = canary.ends().await;
    assert_eq!(code, 3, "{:#?}", canary.seen);
    assert!(last["message"].as_str().unwrap().contains("lag is 6"), "{last}");
    world.left([100, 0]).await;

    for (code, body) in [(200, number("NaN")), (503, String::new())] {
        ear.says("/api/v1/query", code, &body);
        let world = World::with([100, 0]).await;
        let mut canary = world.start(&args);
        assert_eq!(canary.ends().await.0, 7, "{:#?}", canary.seen);
        world.left([100, 0]).await;
    }
}

pub async fn the_route_has_events_and_a_slow_canary_is_caught() {
    let world = World::with([100, 0]).await;
    let mut canary = world.start(&["app", "--steps", "20,40", "--interval", "10s"]);
    canary.until("Observe").await;
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    world.behaviour.canary_slow.store(300, std::sync::atomic::Ordering::SeqCst);
    let (code, last) = canary.ends().await;
    assert_eq!(code, 3, "{:#?}", canary.seen);
    assert!(last["message"].as_str().unwrap().contains("take longer than"), "{last}");
    world.left([100, 0]).await;
    let events = kube::Api::<k8s_openapi::api::events::v1::Event>::namespaced(world.client.clone(), "default");
    let events = events.list(&Default::default()).await.unwrap().items;
    let reasons: Vec<&str> = events.iter().filter_map(|event| event.reason.as_deref()).collect();
    for wanted in ["Claim", "Apply", "Observe", "RollingBack", "RolledBack"] {
        assert!(reasons.contains(&wanted), "{reasons:?}");
    }
    let last = events.iter().find(|event| event.reason.as_deref() == Some("RolledBack")).unwrap();
    assert_eq!(last.type_.as_deref(), Some("Warning"));
    assert_eq!(last.regarding.as_ref().unwrap().kind.as_deref(), Some("HTTPRoute"));
    assert_eq!(last.regarding.as_ref().unwrap().uid, world.routes.get("app").await.unwrap().metadata.uid);
}

pub async fn a_command_and_a_service_can_be_the_check() {
    let world = World::with([100, 0]).await;
    let flag = world.folder.path().join("well");
    std::fs::write(&flag, "").unwrap();
    let check = format!("exec:test -e {}", flag.display());
    let mut canary =
        world.start(&["app", "--steps", "20", "--interval", "1m", "--check", &check, "--check-every", "100ms"]);
    canary.until("Observe").await;
    std::fs::remove_file(&flag).unwrap();
    assert_eq!(canary.ends().await.0, 3, "{:#?}", canary.seen);
    world.left([100, 0]).await;
    // One that never ends is one that fails.
    let mut canary =
        world.start(&["app", "--check", "exec:sleep 60", "--check-timeout", "100ms", "--check-every", "50ms"]);
    let (code, last) = canary.ends().await;
    assert_eq!(code, 2);
    assert!(last["message"].as_str().unwrap().contains("does not end within"), "{last}");
    let mut canary = world.start(&["app", "--check", "service:nobody:80//healthz", "--check-every", "50ms"]);
    let (code, last) = canary.ends().await;
    assert_eq!(code, 2);
    assert!(last["message"].as_str().unwrap().contains("service nobody:80/healthz"), "{last}");
    world.left([100, 0]).await;
}

pub async fn metrics_that_blend_the_two_backends_refuse_the_run() {
    let world = World::with([100, 0]).await;
    let (ear, url) = Ear::open().await;
    let text = "envoy_cluster_upstream_rq_xx{envoy_response_code_class=\"2\",envoy_cluster_name=\"httproute/default/app/rule/0\"} 5\n";
    ear.says("/stats/prometheus", 200, text);
    let metrics = format!("{url}/stats/prometheus");
    let (code, said) = world.canary(&["app", "-o", "json", "--metrics-url", &metrics]).await;
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("do not tell app-v2:8080 from app-v1:8080") && said.contains("filter"), "{said}");
    world.left([100, 0]).await;
}
