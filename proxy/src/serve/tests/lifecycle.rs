use super::*;
use crate::table::CertificatePem;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn swaps_under_load_lose_nothing_and_metrics_are_exact() {
    let echo = Echo::start().await;
    let plane = Arc::new(Plane::with(|registry| vec![("", "/", forward(registry, &[echo.address]))]).await);
    let over = Arc::new(AtomicBool::new(false));
    let swapping = tokio::spawn({
        let (plane, over, address) = (Arc::clone(&plane), Arc::clone(&over), echo.address);
        async move {
            let mut swaps = 0;
            while !over.load(Relaxed) {
                plane.apply(vec![("", "/", forward(&plane.registry, &[address]))]).await;
                swaps += 1;
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            swaps
        }
    });
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let plane = Arc::clone(&plane);
            tokio::spawn(async move {
                let mut client = Client::connect(plane.address).await;
                for _ in 0..500 {
                    let request = Request::get("/").header("host", "h").body(Full::default()).unwrap();
                    let (status, headers, _) = client.send(request).await;
                    assert_eq!(status, 200);
                    assert!(!headers.contains_key("connection"));
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    over.store(true, Relaxed);
    assert!(swapping.await.unwrap() > 5);
    assert_eq!(plane.count(&["gwproxy_requests_total", "code=\"200\""]).await, 4000.0);
    assert_eq!(plane.count(&["gwproxy_request_duration_seconds_count"]).await, 4000.0);
    assert_eq!(plane.count(&["gwproxy_requests_total"]).await, 4000.0);
    assert_eq!(echo.served.load(Relaxed), 4000);
}

#[tokio::test]
async fn ports_of_others_are_reported() {
    let registry = Registry::new(2);
    let data = DataPlane::start(options(), Arc::clone(&registry)).unwrap();
    let other = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    // Even from one that would share.
    other.set_reuse_port(true).unwrap();
    other.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    other.listen(1).unwrap();
    let taken = other.local_addr().unwrap().as_socket().unwrap();
    let (good, foreign) = (free(), SocketAddr::from(([192, 0, 2, 1], 8080)));
    let binds = || {
        let mut binds: Vec<_> =
            [taken, good, foreign].into_iter().map(|address| bind(&registry, address, None, vec![])).collect();
        binds.sort_by_key(|bind| bind.address);
        Table { generation: 1, binds }
    };
    let outcomes = data.apply(binds()).await;
    assert!(matches!(outcomes[&taken.into()], Err(BindError::InUse(address)) if address == taken), "{outcomes:?}");
    assert!(matches!(outcomes[&foreign.into()], Err(BindError::NotLocal(_))), "{outcomes:?}");
    assert!(outcomes[&good.into()].is_ok(), "{outcomes:?}");
    let mut client = Client::connect(good).await;
    assert_eq!(client.send(Request::get("/").header("host", "h").body(Full::default()).unwrap()).await.0, 404);
    drop(other);
    let outcomes = data.apply(binds()).await;
    assert!(outcomes[&taken.into()].is_ok(), "the next apply tries again: {outcomes:?}");
    // The old connection lives on.
    assert_eq!(client.send(Request::get("/").header("host", "h").body(Full::default()).unwrap()).await.0, 404);
}

#[tokio::test]
async fn removed_listeners_finish_what_they_have() {
    let echo = Echo::start().await;
    let plane = Plane::with(|registry| vec![("", "/", forward(registry, &[echo.address]))]).await;
    let (mut busy, mut idle) = (Client::connect(plane.address).await, Client::connect(plane.address).await);
    let quick = || Request::get("/").header("host", "h").body(Full::default()).unwrap();
    assert_eq!(idle.send(quick()).await.0, 200);
    let slow = tokio::spawn(async move {
        let request = Request::get("/").header("host", "h").header("x-wait", "300").body(Full::default()).unwrap();
        busy.send(request).await
    });
    while echo.served.load(Relaxed) < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(plane.data.apply(Table { generation: 2, binds: vec![] }).await.is_empty());
    assert!(TcpStream::connect(plane.address).await.is_err(), "the socket is closed");
    let (status, headers, _) = slow.await.unwrap();
    assert_eq!((status.as_u16(), headers["connection"].to_str().unwrap()), (200, "close"));
    let gone = async {
        while !idle.0.is_closed() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(3), gone).await.expect("the idle connection is closed");
    plane.settled().await;
    // And the address can be had again at once.
    plane.apply(vec![("", "/", forward(&plane.registry, &[echo.address]))]).await;
    assert_eq!(plane.get("/").await.0, 200);
}

#[tokio::test]
async fn shutdown_lets_requests_finish_and_cuts_the_rest() {
    let echo = Echo::start().await;
    let plane = Plane::with(|registry| vec![("", "/", forward(registry, &[echo.address]))]).await;
    let send = |wait: &'static str| {
        let address = plane.address;
        tokio::spawn(async move {
            let mut client = Client::connect(address).await;
            let request = Request::get("/").header("host", "h").header("x-wait", wait).body(Full::default()).unwrap();
            client.raw(request).await.map(|response| response.status())
        })
    };
    let (soon, never) = (send("200"), send("60000"));
    while echo.served.load(Relaxed) < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    plane.data.shutdown(Duration::from_secs(1)).await;
    assert_eq!(soon.await.unwrap().unwrap(), 200);
    assert!(never.await.unwrap().is_err());
}

pub(super) fn certificate(host: &str) -> (Arc<ServerTls>, rustls_pki_types::CertificateDer<'static>) {
    let made = rcgen::generate_simple_self_signed([host.to_owned()]).unwrap();
    let pem = CertificatePem {
        secret: Key::new("infra", "tls"),
        chain: made.cert.pem().into_bytes(),
        key: made.signing_key.serialize_pem().into_bytes(),
    };
    (Arc::new(ServerTls { certificates: vec![pem], clients: None }), made.cert.der().clone())
}

#[tokio::test]
async fn https_by_server_name_and_alpn() {
    let echo = Echo::start().await;
    let registry = Registry::new(2);
    let data = DataPlane::start(options(), Arc::clone(&registry)).unwrap();
    let (tls, root) = certificate("shop.example");
    let address = free();
    let rules = vec![("", "/", forward(&registry, &[echo.address]))];
    let outcomes = data.apply(Table { generation: 1, binds: vec![bind(&registry, address, Some(tls), rules)] }).await;
    assert!(outcomes[&address.into()].is_ok(), "{outcomes:?}");
    let mut roots = rustls::RootCertStore::empty();
    roots.add(root).unwrap();
    for (alpn, version) in [(&b"h2"[..], "h2"), (&b"http/1.1"[..], "h1")] {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots.clone())
            .with_no_client_auth();
        config.alpn_protocols = vec![alpn.to_vec()];
        let stream = TcpStream::connect(address).await.unwrap();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let stream = connector.connect("shop.example".try_into().unwrap(), stream).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(alpn));
        let (status, _, text) = if version == "h2" {
            let (mut sender, connection) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
            tokio::spawn(connection);
            let request = Request::get("https://shop.example/").body(Full::<Bytes>::default()).unwrap();
            whole(sender.send_request(request).await.unwrap()).await
        } else {
            let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
            tokio::spawn(connection);
            let request = Request::get("/").header("host", "shop.example").body(Full::<Bytes>::default()).unwrap();
            whole(sender.send_request(request).await.unwrap()).await
        };
        assert_eq!(status, 200);
        assert!(text.contains("x-forwarded-proto: https\n") && text.contains("host: shop.example\n"), "{text}");
    }
    let mut plain = TcpStream::connect(address).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\nhost: h\r\n\r\n").await.unwrap();
    let _ = plain.read_to_end(&mut Vec::new()).await;
    // The client hears of the failure before it is counted.
    let mut text = registry.render();
    for _ in 0..200 {
        if text.contains("gwproxy_tls_handshakes_total{result=\"failed\"} 1") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        text = registry.render();
    }
    assert!(text.contains("gwproxy_tls_handshakes_total{result=\"ok\"} 2"), "{text}");
    assert!(text.contains("gwproxy_tls_handshakes_total{result=\"failed\"} 1"), "{text}");
    assert!(text.contains("gwproxy_certificate_expiry_timestamp_seconds{"), "{text}");
}

#[tokio::test]
async fn access_log_and_admin_tell_what_happened() {
    let echo = Echo::start().await;
    let file = tempfile::NamedTempFile::new().unwrap();
    let options = ServeOptions { access_log: Some(AccessLogTarget::File(file.path().into())), ..options() };
    let plane = Plane::on(options, |registry| vec![("", "/", forward(registry, &[echo.address]))]).await;
    let request = Request::builder().method(Method::PUT).uri("/a?b").header("host", "H.example:1");
    assert_eq!(plane.send_body(request.header("user-agent", "ua \"x\""), "12345").await.0, 200);
    let mut line = String::new();
    for _ in 0..200 {
        line = std::fs::read_to_string(file.path()).unwrap();
        if line.ends_with('\n') {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    for (field, value) in [
        ("gateway", "infra/edge"),
        ("route", "shop/checkout"),
        ("backend", "shop/web:80"),
        ("method", "PUT"),
        ("host", "h.example"),
        ("path", "/a?b"),
        ("user_agent", "ua \"x\""),
        ("protocol", "HTTP/1.1"),
        ("endpoint", &echo.address.to_string()),
    ] {
        assert_eq!(line[field], value, "{line}");
    }
    assert_eq!(line["forwarded_for"], "127.0.0.1", "{line}");
    assert!(line["request_id"].as_str().is_some_and(|id| !id.is_empty()), "a made id is logged too: {line}");
    assert_eq!((&line["status"], &line["request_bytes"]), (&200.into(), &5.into()), "{line}");

    let ready = Arc::new(AtomicBool::new(false));
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let admin = crate::admin::start(listen, Arc::clone(&plane.registry), Arc::clone(&ready), plane.data.table());
    let admin = admin.await.unwrap();
    let mut client = Client::connect(admin.address).await;
    let get = |path: &str| Request::get(path).header("host", "admin").body(Full::default()).unwrap();
    assert_eq!(client.send(get("/readyz")).await.0, 503);
    ready.store(true, Relaxed);
    assert_eq!(client.send(get("/readyz")).await.0, 200);
    assert_eq!(client.send(get("/livez")).await.0, 200);
    assert!(client.send(get("/metrics")).await.2.contains("gwproxy_requests_total{"));
    let table: serde_json::Value = serde_json::from_str(&client.send(get("/table")).await.2).unwrap();
    assert_eq!(table["binds"][0]["listeners"][0]["hosts"][0]["matches"][0]["rule"]["route"], "shop/checkout");
    drop(client);
    admin.stop().await;
}
