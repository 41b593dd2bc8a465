//! `pods/proxy` and `services/proxy` with a server made here, and answers that are compressed.

use std::io::Read;

use axum::Router;
use axum::body::Body;
use axum::response::IntoResponse;
use http::{HeaderMap, Method, Uri};

use super::*;

/// Answers every request with what was asked of it. Returns its port.
async fn server() -> u16 {
    let router = Router::new()
        .route("/moved", axum::routing::get(|| async { (http::StatusCode::FOUND, [("location", "/there?x=1")]) }))
        .route("/teapot", axum::routing::get(|| async { (http::StatusCode::IM_A_TEAPOT, "short") }))
        .fallback(|method: Method, uri: Uri, headers: HeaderMap, body: String| async move {
            let header = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
            let said = json!({
                "line": format!("{method} {uri}"), "body": body, "own": header("x-own"),
                "token": header("authorization"), "for": header("x-forwarded-for"), "uri": header("x-forwarded-uri"),
            });
            (http::StatusCode::MULTI_STATUS, [("x-answer", "yes")], Body::from(said.to_string())).into_response()
        });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { axum::serve(listener, router).await });
    port
}

const CORE: &str = "/api/v1/namespaces/default";
const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

impl Home {
    async fn head(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> (u16, HeaderMap, Vec<u8>) {
        let mut request = http::Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.client.send(request.body(kube::client::Body::empty()).unwrap()).await.unwrap();
        let (code, headers) = (response.status().as_u16(), response.headers().clone());
        (code, headers, response.into_body().collect_bytes().await.unwrap().to_vec())
    }

    async fn pod_at(&self, name: &str, address: &str, port: u16) {
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"containers": [
            {"name": "a", "image": "i", "ports": [{"name": "web", "containerPort": port}]},
        ]}});
        assert_eq!(self.send("POST", &format!("{CORE}/pods"), &JSON, pod.to_string()).await.0, 201);
        let status = json!({"status": {"podIP": address, "podIPs": [{"ip": address}]}});
        let merge = [("content-type", "application/merge-patch+json")];
        let path = format!("{CORE}/pods/{name}/status");
        assert_eq!(self.send("PATCH", &path, &merge, status.to_string()).await.0, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_is_spoken_to_through_the_api() {
    let home = Home::start().await;
    let port = server().await;
    home.pod_at("p", "127.0.0.1", port).await;
    let pods = format!("{CORE}/pods");
    for id in ["p".to_owned(), format!("p:{port}"), "p:web".into(), format!("http:p:{port}"), ":p:".into()] {
        let (code, said) = home.send("GET", &format!("{pods}/{id}/proxy/a/b%20c?x=1&y=%2F"), &[], "").await;
        assert_eq!((code, &said["line"]), (207, &json!("GET /a/b%20c?x=1&y=%2F")), "{id}: {said}");
        assert_eq!(said["token"], Value::Null, "the token is this server's own");
        assert_eq!(said["uri"], format!("{pods}/{id}/proxy/a/b%20c"));
        assert_eq!(said["for"], "127.0.0.1");
    }
    for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
        let (code, said) = home.send(method, &format!("{pods}/p/proxy/"), &[("x-own", "1")], "hello").await;
        let wanted = (207, json!(format!("{method} /")), json!("hello"), json!("1"));
        assert_eq!((code, said["line"].clone(), said["body"].clone(), said["own"].clone()), wanted);
    }
    assert_eq!(home.send("POST", &format!("{pods}/p/proxy"), &[], "").await.1["line"], "POST /");
    assert_eq!(home.send("FOO", &format!("{pods}/p/proxy/"), &[], "").await.0, 405);
    let (code, headers, _) = home.head("GET", &format!("{pods}/p/proxy?x=1"), &[]).await;
    assert_eq!((code, headers["location"].to_str().unwrap()), (301, &*format!("{pods}/p/proxy/?x=1")));
    let (code, headers, _) = home.head("GET", &format!("{pods}/p/proxy/moved"), &[]).await;
    assert_eq!((code, headers["location"].to_str().unwrap()), (302, &*format!("{pods}/p/proxy/there?x=1")));
    let (code, headers, body) = home.head("GET", &format!("{pods}/p/proxy/teapot"), &[]).await;
    assert_eq!((code, headers["content-length"].to_str().unwrap(), &*body), (418, "5", &b"short"[..]));
    let (code, headers, _) = home.head("HEAD", &format!("{pods}/p/proxy/x"), &[]).await;
    assert_eq!((code, headers["x-answer"].to_str().unwrap()), (207, "yes"));

    home.pod_at("away", "169.254.1.1", port).await;
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for (path, code, message) in [
        ("none/proxy".to_owned(), 404, "pods \"none\" not found".to_owned()),
        ("foo:p:web/proxy/".into(), 400, "invalid pod request \"foo:p:web\"".into()),
        ("a:b:c:d/proxy/".into(), 400, "invalid pod request \"a:b:c:d\"".into()),
        ("away/proxy/".into(), 400, "address not allowed".into()),
        (
            format!("p:{closed}/proxy/"),
            503,
            format!("error trying to reach service: dial tcp 127.0.0.1:{closed}: connect: connection refused"),
        ),
        (
            format!("https:p:{port}/proxy/"),
            503,
            "error trying to reach service: tls: first record does not look like a TLS handshake".into(),
        ),
    ] {
        let (found, said) = home.send("GET", &format!("{pods}/{path}"), &[], "").await;
        assert_eq!((found, &said["message"]), (code, &json!(message)), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_is_spoken_to_through_its_endpoints() {
    let home = Home::start().await;
    let port = server().await;
    let services = format!("{CORE}/services");
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {"ports": [
        {"name": "http", "port": 80}, {"name": "two", "port": 81},
    ]}});
    assert_eq!(home.send("POST", &services, &JSON, service.to_string()).await.0, 201);
    let said = async |id: &str| {
        let (code, said) = home.send("GET", &format!("{services}/{id}/proxy/a?b=c"), &[], "").await;
        let text = if code == 207 { &said["line"] } else { &said["message"] };
        (code, text.as_str().unwrap().to_owned())
    };
    assert_eq!(said("s:http").await, (404, "services \"s\" not found".into()), "nobody speaks of endpoints");
    let slice = |name: &str, port: u16, ready: bool| {
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": name, "labels": {"kubernetes.io/service-name": "s"}},
            "ports": [{"name": "http", "port": port, "protocol": "TCP"}],
            "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": ready}}],
        })
    };
    let slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
    assert_eq!(home.send("POST", slices, &JSON, slice("s-1", 1, false).to_string()).await.0, 201);
    assert_eq!(said("s:http").await, (503, "no endpoints available for service \"s:http\"".into()));
    assert_eq!(home.send("POST", slices, &JSON, slice("s-2", port, true).to_string()).await.0, 201);
    for id in ["s:http", "s:80", "http:s:http"] {
        assert_eq!(said(id).await, (207, "GET /a?b=c".into()), "{id}");
    }
    for (id, code, message) in [
        ("s", 503, "no endpoints available for service \"s\""),
        ("s:two", 503, "no endpoints available for service \"s:two\""),
        ("s:99", 503, "no service port 99 found for service \"s\""),
        ("two:s:http", 400, "invalid service request \"two:s:http\""),
        ("none", 404, "services \"none\" not found"),
    ] {
        assert_eq!(said(id).await, (code, message.into()), "{id}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn large_answers_are_compressed_for_those_who_ask() {
    let home = Home::start().await;
    let maps = format!("{CORE}/configmaps");
    for (name, size) in [("small", 1000), ("large", 200_000)] {
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "x".repeat(size)}});
        assert_eq!(home.send("POST", &maps, &JSON, map.to_string()).await.0, 201);
    }
    // The client unpacks what it gets; what varies with its headers was packed.
    let packed = async |path: &str, accepted: &str| {
        let (_, headers, body) = home.head("GET", path, &[("accept-encoding", accepted)]).await;
        let mut plain = String::new();
        match headers.get("content-encoding") {
            Some(_) => flate2::read::GzDecoder::new(&body[..]).read_to_string(&mut plain).unwrap(),
            None => (&body[..]).read_to_string(&mut plain).unwrap(),
        };
        let _: Value = serde_json::from_str(&plain).unwrap();
        (headers.get("vary").is_some_and(|vary| vary == "Accept-Encoding"), plain.len() > 200_000)
    };
    let large = format!("{maps}/large");
    assert_eq!(packed(&large, "gzip").await, (true, true));
    assert_eq!(packed(&maps, "deflate, gzip").await, (true, true), "lists, too");
    assert_eq!(packed(&format!("{maps}/small"), "gzip").await, (false, false));
    for other in ["identity", "*", "gzip;q=0.5"] {
        assert_eq!(packed(&large, other).await, (false, true), "{other}");
    }
}
