//! The examples as a reader would load them, with real services behind and real requests.

#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

#[path = "common/gateway.rs"]
mod common;

use std::{collections::BTreeMap, net::SocketAddr, sync::atomic::Ordering::Relaxed};

use bytes::Bytes;
use common::{Backend, Gateway, condition, example, get, parent, send};
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use k8s_openapi::ByteString;

#[tokio::test(flavor = "multi_thread")]
async fn getting_started() {
    let echo = Backend::start("echo").await;
    let files = ["b-getting-started/echo-server.yaml", "b-getting-started/gateway.yaml"]
        .map(|path| (path, example(path, &[(19086, echo.address)])));
    let gateway =
        Gateway::start(&files.each_ref().map(|(path, text)| (path.rsplit('/').next().unwrap(), &**text))).await;
    assert!(gateway.local.problems.is_empty(), "{:?}", gateway.local.problems);
    let address = SocketAddr::new(gateway.address("demo", "demo-gateway").await, 8080);
    let route = gateway.until("HTTPRoute", "demo", "echo-route", |route| parent(route, "Accepted").0 == "True").await;
    assert_eq!(parent(&route, "ResolvedRefs").1, "ResolvedRefs", "{route:#}");
    assert_eq!(route["status"]["parents"][0]["controllerName"], gwproxy::contract::CONTROLLER_NAME);
    let (status, text) = get(address, "anything", "/echo/x?y", &[]).await;
    assert!(status == 200 && text.starts_with("echo\nGET /echo/x?y\n"), "{status} {text}");
    assert_eq!(get(address, "anything", "/echoes", &[]).await.0, 404, "a prefix ends at a path element");
    let seen =
        gateway.until("Gateway", "demo", "demo-gateway", |g| g["status"]["listeners"][0]["attachedRoutes"] == 1).await;
    assert_eq!(condition(&seen["status"]["listeners"][0]["conditions"], "Programmed").0, "True");
    gateway.local.stop().await;
    assert!(tokio::net::TcpStream::connect(address).await.is_err(), "the port is open after the end");
}

#[tokio::test(flavor = "multi_thread")]
async fn canary_by_weight_and_by_header() {
    let (v1, v2) = (Backend::start("v1").await, Backend::start("v2").await);
    let ports = [(19081, v1.address), (19082, v2.address)];
    let files = ["4.2-canary/00-gateway.yaml", "4.2-canary/app-canary.yaml", "4.2-canary/services.yaml"]
        .map(|path| (path, example(path, &ports)));
    let gateway =
        Gateway::start(&files.each_ref().map(|(path, text)| (path.rsplit('/').next().unwrap(), &**text))).await;
    assert!(gateway.local.problems.is_empty(), "{:?}", gateway.local.problems);
    let address = SocketAddr::new(gateway.address("gateway-system", "prod-gateway").await, 8080);
    for name in ["app-canary", "app-canary-header"] {
        gateway.until("HTTPRoute", "my-app", name, |route| parent(route, "ResolvedRefs").0 == "True").await;
    }
    let mut canary = 0;
    for _ in 0..200 {
        let (status, text) = get(address, "app.example.com", "/", &[]).await;
        assert_eq!(status, 200);
        canary += u32::from(text.starts_with("v2\n"));
    }
    assert!((9..=11).contains(&canary), "{canary} of 200 requests went to v2, which has 5 %");
    // Every one of them was copied to v2 beside its share.
    for _ in 0..200 {
        if v2.answered.load(Relaxed) == 200 + u64::from(canary) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(v2.answered.load(Relaxed), 200 + u64::from(canary), "the mirror copies every request");
    let (_, text) = get(address, "app.example.com", "/", &[("x-canary", "true")]).await;
    assert!(text.starts_with("v2\n"), "{text}");
    let metrics = gateway.metrics().await;
    let counted = |backend: &str| -> u64 {
        metrics
            .lines()
            .filter(|line| {
                line.starts_with("gwproxy_requests_total{")
                    && line.contains("route=\"app-canary\"")
                    && line.contains(&format!("backend=\"{backend}\""))
                    && line.contains("code=\"200\"")
            })
            .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
            .sum()
    };
    assert_eq!((counted("app-v1"), counted("app-v2")), (u64::from(200 - canary), u64::from(canary)), "{metrics}");
    gateway.local.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn payments_by_header_query_and_mirror() {
    let (main, canary, replay) =
        (Backend::start("main").await, Backend::start("canary").await, Backend::start("replay").await);
    let ports = [(19083, main.address), (19084, canary.address), (19085, replay.address)];
    let files = ["2.3-httproute/00-gateway.yaml", "2.3-httproute/payment-route.yaml", "2.3-httproute/services.yaml"]
        .map(|path| (path, example(path, &ports)));
    let gateway =
        Gateway::start(&files.each_ref().map(|(path, text)| (path.rsplit('/').next().unwrap(), &**text))).await;
    assert!(gateway.local.problems.is_empty(), "{:?}", gateway.local.problems);
    let route = gateway
        .until("HTTPRoute", "payment", "payment-service-route", |route| parent(route, "ResolvedRefs").0 == "True")
        .await;
    assert_eq!(parent(&route, "Accepted").0, "True", "{route:#}");
    let parents = &route["spec"]["parentRefs"][0];
    let (space, name) = (parents["namespace"].as_str().unwrap(), parents["name"].as_str().unwrap());
    let seen = gateway
        .until("Gateway", space, name, |g| condition(&g["status"]["conditions"], "Programmed").0 == "True")
        .await;
    let port = seen["spec"]["listeners"]
        .as_array()
        .unwrap()
        .iter()
        .find(|listener| listener["name"] == parents["sectionName"])
        .map_or(8080, |listener| listener["port"].as_u64().unwrap()) as u16;
    let address = SocketAddr::new(seen["status"]["addresses"][0]["value"].as_str().unwrap().parse().unwrap(), port);

    let mut to_canary = 0;
    for _ in 0..100 {
        let (status, text) =
            get(address, "pay.example.com", "/api/payments/1", &[("x-api-version", "v2"), ("x-internal-debug", "1")])
                .await;
        assert_eq!(status, 200, "{text}");
        assert!(text.contains("x-request-source: gateway\n") && !text.contains("x-internal-debug"), "{text}");
        to_canary += u32::from(text.starts_with("canary\n"));
    }
    assert!((9..=11).contains(&to_canary), "{to_canary} of 100 requests went to the canary, which has 10 %");
    let (_, text) = get(address, "payment.example.com", "/api/payments/test?env=test", &[]).await;
    assert!(text.starts_with("main\n"), "{text}");
    let before = replay.answered.load(Relaxed);
    let (status, _) = get(address, "pay.example.com", "/api/payments/2", &[]).await;
    assert_eq!(status, 200);
    for _ in 0..200 {
        if replay.answered.load(Relaxed) > before {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(replay.answered.load(Relaxed), before + 1, "the third rule mirrors");
    assert_eq!(send(address, "GET", "other.example.com", "/api/payments/2", &[]).await.0, 404);
    gateway.local.stop().await;
}

/// Classes of others are left alone; a listener that cannot be served says why, and its
/// neighbours are served.
#[tokio::test(flavor = "multi_thread")]
async fn classes_and_listeners() {
    let text = example("2.1-gatewayclass/gatewayclasses.yaml", &[]);
    let gateway = Gateway::start(&[("classes.yaml", &text)]).await;
    assert!(gateway.local.problems.is_empty(), "{:?}", gateway.local.problems);
    let classes = gateway.api("GatewayClass", "").list(&Default::default()).await.unwrap().items;
    assert!(!classes.is_empty());
    for class in classes {
        let name = class.metadata.name.clone().unwrap();
        if class.data["spec"]["controllerName"] == gwproxy::contract::CONTROLLER_NAME {
            gateway
                .until("GatewayClass", "", &name, |c| condition(&c["status"]["conditions"], "Accepted").0 == "True")
                .await;
        } else {
            assert_ne!(condition(&class.data["status"]["conditions"], "Accepted").0, "True", "{name} is not ours");
        }
    }
    gateway.local.stop().await;

    let files = ["2.2-gateway/00-namespaces.yaml", "2.2-gateway/production-gateway.yaml", "2.2-gateway/redirect.yaml"]
        .map(|path| (path, example(path, &[])));
    // The example asks for an address of the default pool; here it takes one of its own.
    let (pool, lock) = common::pool();
    let own = pool.hosts().nth(20).unwrap().to_string();
    let production = files[1].1.clone();
    let asked = production.lines().find_map(|line| line.trim().strip_prefix("value: ")).unwrap_or_default().to_owned();
    let production = production.replace(&asked, &own);
    let gateway =
        Gateway::start_on(&[("0.yaml", &files[0].1), ("1.yaml", &production), ("2.yaml", &files[2].1)], pool, lock)
            .await;
    assert!(gateway.local.problems.is_empty(), "{:?}", gateway.local.problems);
    let seen =
        gateway.until("Gateway", "gateway-system", "production-gateway", |g| !g["status"]["listeners"].is_null()).await;
    let listener = |name: &str| {
        let all = seen["status"]["listeners"].as_array().unwrap();
        all.iter().find(|listener| listener["name"] == name).unwrap()["conditions"].clone()
    };
    assert_eq!(condition(&listener("http"), "Programmed").0, "True", "{seen:#}");
    assert_eq!(condition(&listener("https"), "ResolvedRefs").1, "InvalidCertificateRef", "{seen:#}");
    assert_eq!(condition(&listener("mysql-tcp"), "Programmed").0, "True", "{seen:#}");

    // The redirect that the article's comment promises.
    let plain = SocketAddr::new(own.parse().unwrap(), 8080);
    gateway.until("HTTPRoute", "redirects", "to-https", |route| parent(route, "Accepted").0 == "True").await;
    let (status, headers, _) = send(plain, "GET", "www.example.com", "/a?b", &[]).await;
    assert_eq!((status, &*headers["location"]), (301, "https://www.example.com:8443/a?b"));

    // With the certificate that it waits for, the listener serves.
    let made = rcgen::generate_simple_self_signed(["www.example.com".to_owned()]).unwrap();
    let secret = k8s_openapi::api::core::v1::Secret {
        metadata: kube::api::ObjectMeta { name: Some("example-com-tls".to_owned()), ..Default::default() },
        type_: Some("kubernetes.io/tls".to_owned()),
        string_data: None,
        data: Some(BTreeMap::from([
            ("tls.crt".to_owned(), ByteString(made.cert.pem().into_bytes())),
            ("tls.key".to_owned(), ByteString(made.signing_key.serialize_pem().into_bytes())),
        ])),
        immutable: None,
    };
    let secrets: kube::Api<k8s_openapi::api::core::v1::Secret> =
        kube::Api::namespaced(gateway.client.clone(), "cert-manager");
    secrets.create(&Default::default(), &secret).await.unwrap();
    gateway
        .until("Gateway", "gateway-system", "production-gateway", |g| {
            let all = g["status"]["listeners"].as_array().unwrap();
            let https = all.iter().find(|listener| listener["name"] == "https").unwrap();
            condition(&https["conditions"], "Programmed").0 == "True"
        })
        .await;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let stream = tokio::net::TcpStream::connect((own.as_str(), 8443)).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
    let stream = connector.connect("www.example.com".try_into().unwrap(), stream).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = hyper::Request::get("/").header("host", "www.example.com").body(Empty::<Bytes>::new()).unwrap();
    assert_eq!(sender.send_request(request).await.unwrap().status(), 404, "no route is attached to it");
    gateway.local.stop().await;
}
