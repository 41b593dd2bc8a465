//! What no well-meaning client sends: it is answered or cut off, and nobody else notices.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::*;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const JSON: [(&str, &str); 1] = [("content-type", "application/json")];
const SOON: Duration = Duration::from_secs(20);

/// HTTP/1.1 by hand.
async fn connect(home: &Home) -> TlsStream<TcpStream> {
    let mut roots = rustls::RootCertStore::empty();
    let authority = std::fs::read(home.dir.path().join("data/ca.crt")).unwrap();
    roots.add(rustls_pki_types::pem::PemObject::from_pem_slice(&authority).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = builder.with_root_certificates(roots).with_no_client_auth();
    let stream = TcpStream::connect(home.api.address).await.unwrap();
    let name = "localhost".try_into().unwrap();
    tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
}

fn head(home: &Home, line: &str, more: &str) -> String {
    let token = std::fs::read_to_string(home.dir.path().join("data/token")).unwrap();
    format!("{line} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n{more}\r\n")
}

/// What is answered to the bytes, which may be cut off while they are sent.
async fn answer(home: &Home, bytes: Vec<u8>) -> String {
    let (mut read, mut write) = tokio::io::split(connect(home).await);
    let sending = tokio::spawn(async move {
        let _ = write.write_all(&bytes).await;
        write
    });
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    let reading = async {
        while !String::from_utf8_lossy(&answer).contains("\r\n\r\n") {
            match read.read(&mut buffer).await {
                Ok(1..) => answer.extend_from_slice(&buffer),
                _ => break,
            }
        }
    };
    tokio::time::timeout(SOON, reading).await.expect("an answer in time");
    sending.abort();
    String::from_utf8_lossy(&answer).into_owned()
}

fn map(name: &str, data: impl Into<Value>) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data.into()})
}

async fn is_well(home: &Home) {
    let (code, _) = tokio::time::timeout(SOON, home.send("GET", MAPS, &[], "")).await.expect("others are answered");
    assert_eq!(code, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_too_large_are_refused_before_they_have_arrived() {
    let home = Home::start().await;
    let body = map("big", json!({"a": "x".repeat(10_000_000)})).to_string();
    let more = format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
    let answer = answer(&home, (head(&home, &format!("POST {MAPS}"), &more) + &body).into_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains("Request entity too large: limit is 3145728"), "{answer}");
    is_well(&home).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_no_objects_are_told_why() {
    let home = Home::start().await;
    let nested = |open: &str, close: &str, levels: usize| open.repeat(levels) + "1" + &close.repeat(levels);
    let prefix = r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"deep"},"data":"#;
    let bombs = [
        (format!("{prefix}{}}}", nested("{\"a\":", "}", 100_000)), "application/json"),
        ("[".repeat(2_000_000), "application/json"),
        (format!("a: {}", "[".repeat(100_000)), "application/yaml"),
        (format!("{}x", "- ".repeat(100_000)), "application/yaml"),
        // Aliases that would grow to more than fits anywhere.
        (
            (1..30).fold("a0: &a0 [x]\n".to_owned(), |yaml, at| {
                let before = format!("*a{}", at - 1);
                yaml + &format!("a{at}: &a{at} [{}]\n", vec![before; 10].join(", "))
            }),
            "application/yaml",
        ),
        (String::new(), "application/json"),
        ("not json".into(), "application/json"),
        ("[]".into(), "application/json"),
    ];
    for (bomb, kind) in bombs {
        let (code, status) = home.send("POST", MAPS, &[("content-type", kind)], bomb.clone()).await;
        assert_eq!((code, &status["kind"]), (400, &json!("Status")), "{} bytes of {kind}: {status}", bomb.len());
    }
    for kind in ["text/plain", "application/xml", "application/cbor", "foo"] {
        let (code, status) = home.send("POST", MAPS, &[("content-type", kind)], map("a", json!({})).to_string()).await;
        assert_eq!((code, &status["reason"]), (415, &json!("UnsupportedMediaType")), "{kind}");
    }
    is_well(&home).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_said_twice_are_warned_of_or_refused() {
    let home = Home::start().await;
    let twice = r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"twice"},"data":{"a":"1","a":"2"}}"#;
    let (code, status) = home.send("POST", &format!("{MAPS}?fieldValidation=Strict"), &JSON, twice).await;
    assert_eq!(code, 400, "{status}");
    assert!(status["message"].as_str().unwrap().contains(r#"duplicate field "data.a""#), "{status}");
    let (code, made) = home.send("POST", MAPS, &JSON, twice).await;
    assert_eq!((code, &made["data"]["a"]), (201, &json!("2")), "the last one counts: {made}");
    let invalid =
        b"{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"utf\"},\"data\":{\"a\":\"\xff\"}}";
    let (code, made) = home.send("POST", MAPS, &JSON, invalid.to_vec()).await;
    assert_eq!((code, &made["data"]["a"]), (201, &json!("\u{fffd}")), "{made}");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_in_paths_are_what_they_are() {
    let home = Home::start().await;
    for (path, expected) in [
        ("a%2Fb", 404),
        ("a%20b", 404),
        ("..", 400),
        ("%2e%2e", 400),
        ("a%00b", 404),
        ("A", 404),
        ("a%2Fb/status", 404),
        (&*"x".repeat(500), 404),
    ] {
        let answer = answer(&home, head(&home, &format!("GET {MAPS}/{path}"), "").into_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {expected} ")), "{path}: {answer}");
        assert!(answer.contains(r#""kind":"Status""#), "{path}: {answer}");
    }
    let (code, status) = home.send("POST", MAPS, &JSON, map("a/b", json!({})).to_string()).await;
    assert_eq!((code, &status["reason"]), (422, &json!("Invalid")));
    is_well(&home).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn selectors_and_patches_of_ten_thousand_terms_are_taken() {
    let home = Home::start().await;
    home.send("POST", MAPS, &JSON, map("a", json!({})).to_string()).await;
    let selector = vec!["a!=b"; 10_000].join(",");
    let (code, list) = home.send("GET", &format!("{MAPS}?labelSelector={selector}"), &[], "").await;
    assert_eq!(code, 200, "{list}");
    assert!(list["items"].as_array().unwrap().iter().any(|item| item["metadata"]["name"] == "a"));
    let patch = |count: usize| {
        let operation = |at: usize| json!({"op": "add", "path": format!("/data/k{}", at % 10), "value": "x"});
        std::iter::once(json!({"op": "add", "path": "/data", "value": {}}))
            .chain((1..count).map(operation))
            .collect::<Value>()
            .to_string()
    };
    let kind = [("content-type", "application/json-patch+json")];
    let (code, patched) = home.send("PATCH", &format!("{MAPS}/a"), &kind, patch(10_000)).await;
    assert_eq!((code, &patched["data"]["k9"]), (200, &json!("x")));
    let (code, status) = home.send("PATCH", &format!("{MAPS}/a"), &kind, patch(10_001)).await;
    assert_eq!(code, 413);
    let said = "Request entity too large: The allowed maximum operations in a JSON patch is 10000, got 10001";
    assert_eq!(status["message"], said);
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_that_are_too_large_are_refused() {
    let home = Home::start().await;
    let fits =
        answer(&home, head(&home, &format!("GET {MAPS}"), &format!("X-A: {}\r\n", "a".repeat(300_000))).into()).await;
    assert!(fits.starts_with("HTTP/1.1 200 "), "{fits}");
    let large = head(&home, &format!("GET {MAPS}"), &format!("X-A: {}\r\n", "a".repeat(1_200_000)));
    let large = answer(&home, large.into()).await;
    assert!(large.starts_with("HTTP/1.1 431 "), "{large}");
    let long = answer(&home, head(&home, &format!("GET {MAPS}?a={}", "a".repeat(100_000)), "").into()).await;
    assert!(long.starts_with("HTTP/1.1 414 "), "{long}");
    is_well(&home).await;
}

fn impatient() -> Service {
    let short = Duration::from_millis(400);
    let limits = Limits { handshake: short, headers: short, body: short, stall: short, connections: 30 };
    Service { limits, ..Service::default() }
}

/// Reads until the server ends the connection.
async fn end(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut told = Vec::new();
    let _ = tokio::time::timeout(SOON, stream.read_to_end(&mut told)).await.expect("the server ends it");
    String::from_utf8_lossy(&told).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_clients_are_cut_off() {
    let home = Home::start_as(tempfile::tempdir().unwrap(), impatient()).await;
    let mut silent = TcpStream::connect(home.api.address).await.unwrap();
    assert_eq!(end(&mut silent).await, "", "no handshake");
    let mut half = TcpStream::connect(home.api.address).await.unwrap();
    half.write_all(&[0x16, 3, 1, 2, 0]).await.unwrap();
    end(&mut half).await;
    let mut head_only = connect(&home).await;
    head_only.write_all(b"GET /version HTTP/1.1\r\nHost:").await.unwrap();
    end(&mut head_only).await;
    let mut body = connect(&home).await;
    let more = "Content-Type: application/json\r\nContent-Length: 100\r\nConnection: close\r\n";
    body.write_all((head(&home, &format!("POST {MAPS}"), more) + "{").as_bytes()).await.unwrap();
    let told = end(&mut body).await;
    assert!(told.starts_with("HTTP/1.1 400 ") && told.contains("did not arrive in time"), "{told}");
    is_well(&home).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_make_way() {
    let patient = Limits { connections: 30, ..Limits::default() };
    let service = Service { limits: patient, ..Service::default() };
    let home = Home::start_as(tempfile::tempdir().unwrap(), service).await;
    let mut watch = connect(&home).await;
    watch.write_all(head(&home, &format!("GET {MAPS}?watch=true"), "").as_bytes()).await.unwrap();
    let mut buffer = [0; 1000];
    assert!(watch.read(&mut buffer).await.unwrap() > 0);
    let mut idle = Vec::new();
    for at in 0..2000 {
        idle.push(TcpStream::connect(home.api.address).await.unwrap());
        if at % 400 == 0 {
            is_well(&home).await;
        }
    }
    is_well(&home).await;
    home.send("POST", MAPS, &JSON, map("seen", json!({})).to_string()).await;
    let mut told = String::new();
    while !told.contains("\"seen\"") {
        let length = tokio::time::timeout(SOON, watch.read(&mut buffer)).await.expect("the watch goes on").unwrap();
        assert!(length > 0, "the watch was ended for idle connections");
        told.push_str(&String::from_utf8_lossy(&buffer[..length]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_that_stops_reading_is_dropped_and_others_see_all() {
    let home = Home::start_as(tempfile::tempdir().unwrap(), impatient()).await;
    let mut deaf = Vec::new();
    for _ in 0..3 {
        let mut stream = connect(&home).await;
        stream.write_all(head(&home, &format!("GET {MAPS}?watch=true"), "").as_bytes()).await.unwrap();
        deaf.push(stream);
    }
    let revision = home.api.store.revision();
    let request = http::Request::get(format!("{MAPS}?watch=true&resourceVersion={revision}")).body(Vec::new()).unwrap();
    let lines = futures::AsyncBufReadExt::lines(home.client.request_stream(request).await.unwrap());
    let keen =
        tokio::spawn(async move { futures::StreamExt::collect::<Vec<_>>(futures::StreamExt::take(lines, 60)).await });
    let running = async || {
        let (_, metrics) = home.send("GET", "/metrics", &[], "").await;
        let metrics = metrics.as_str().unwrap().to_owned();
        let line = metrics
            .lines()
            .find(|line| line.starts_with("apiserver_longrunning_requests{") && line.contains("configmaps"));
        line.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).unwrap_or(0)
    };
    for at in 0..60 {
        let (code, _) =
            home.send("POST", MAPS, &JSON, map(&format!("m{at}"), json!({"a": "x".repeat(900_000)})).to_string()).await;
        assert_eq!(code, 201);
    }
    let seen = tokio::time::timeout(SOON, keen).await.expect("the keen one is not held up").unwrap();
    assert_eq!(seen.iter().filter(|line| line.as_ref().is_ok_and(|line| line.contains("ADDED"))).count(), 60);
    let gone = async {
        while running().await > 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(SOON, gone).await.expect("the deaf ones are dropped");
    drop(deaf);
}
