//! PROXY headers, and certificates that break while they serve.

use super::{
    backend_tls,
    lifecycle::certificate,
    streams::{client_config, l4_bind, l4_listener, secure, stream_series},
    *,
};
use crate::table::{CertificatePem, ProxyHeader, StreamBackend, StreamRule, UpstreamTls};

fn introduced(server: SocketAddr, proxy: Option<ProxyHeader>) -> Arc<Endpoints> {
    Arc::new(Endpoints { protocol: UpstreamProtocol::Http1, proxy, addresses: Picker::new([(1, server)]) })
}

/// A TCP socket before `server`, with PROXY headers as given.
fn tcp(
    registry: &Registry,
    address: SocketAddr,
    server: SocketAddr,
    accept_proxy: bool,
    send: Option<ProxyHeader>,
) -> Table {
    let backend = StreamBackend {
        key: Key::new("shop", "a"),
        port: 80,
        target: Target::Endpoints(introduced(server, send)),
        tls: None,
        series: stream_series(registry, "TCPRoute", "a"),
    };
    let rule = Arc::new(StreamRule {
        route: RouteId { kind: "TCPRoute", key: Key::new("shop", "bytes"), rule: 0, rule_name: None },
        backends: Picker::new([(1, backend)]),
        unserved: stream_series(registry, "TCPRoute", ""),
    });
    let listener = l4_listener(registry, Protocol::Tcp, None, &[("", rule)]);
    let bind = Arc::into_inner(l4_bind(registry, address, Protocol::Tcp, vec![("", listener)])).unwrap();
    Table { generation: 1, binds: vec![Arc::new(Bind { accept_proxy, ..bind })] }
}

/// What a server behind gets to read when a client says `first` before its own words.
async fn passed(accept: bool, send: Option<ProxyHeader>, first: &[u8]) -> Vec<u8> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let server = listener.local_addr().unwrap();
    let registry = Registry::new(2);
    let data = DataPlane::start(options(), Arc::clone(&registry)).unwrap();
    let address = free();
    data.apply(tcp(&registry, address, server, accept, send)).await;
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(&[first, b"hello"].concat()).await.unwrap();
    let _ = client.shutdown().await;
    let mut read = Vec::new();
    if let Ok(accepted) = tokio::time::timeout(Duration::from_secs(1), listener.accept()).await {
        accepted.unwrap().0.read_to_end(&mut read).await.unwrap();
    }
    read
}

#[tokio::test]
async fn proxy_headers_are_taken_and_passed_on() {
    let header = b"PROXY TCP4 192.0.2.7 192.0.2.1 1234 443\r\n";
    assert_eq!(passed(true, None, header).await, b"hello", "taken off");
    let text = String::from_utf8(passed(true, Some(ProxyHeader::V1), header).await).unwrap();
    assert!(text.starts_with("PROXY TCP4 192.0.2.7 127.0.0.1 1234 ") && text.ends_with("\r\nhello"), "{text}");
    let added = passed(false, Some(ProxyHeader::V2), b"").await;
    assert!(added.starts_with(b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\x01\x7f\0\0\x01"), "{added:?}");
    assert_eq!(added.len(), 16 + 12 + 5);
    assert_eq!(passed(true, None, b"no header here, ").await, b"", "refused");
}

#[tokio::test]
async fn a_request_behind_a_proxy_is_its_clients() {
    let echo = Echo::start().await;
    let registry = Registry::new(2);
    let data = DataPlane::start(options(), Arc::clone(&registry)).unwrap();
    let address = free();
    let rules = vec![("", "/", forward(&registry, &[echo.address]))];
    let bind = Arc::into_inner(bind(&registry, address, None, rules)).unwrap();
    data.apply(Table { generation: 1, binds: vec![Arc::new(Bind { accept_proxy: true, ..bind })] }).await;
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(b"PROXY TCP6 2001:db8::7 2001:db8::1 1234 80\r\n").await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains("x-forwarded-for: 2001:db8::7\n"), "{answer}");
    let mut silent = TcpStream::connect(address).await.unwrap();
    silent.write_all(b"PROXY TCP4 1.2").await.unwrap();
    assert!(matches!(silent.read(&mut [0; 8]).await, Ok(0) | Err(_)), "half a header is not waited for for ever");
}

/// A server behind a PROXY header: answers each request with the header of its connection.
async fn introduced_server() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut header = Vec::new();
                while !header.ends_with(b"\r\n") {
                    header.push(stream.read_u8().await?);
                }
                let header = String::from_utf8(header).unwrap();
                let service = hyper::service::service_fn(move |_| {
                    let text = Bytes::from(header.clone());
                    async { Ok::<_, hyper::Error>(Response::new(Full::new(text))) }
                });
                let served = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                drop(served.await);
                Ok::<_, std::io::Error>(())
            });
        }
    });
    address
}

#[tokio::test]
async fn a_connection_that_names_a_client_is_that_clients_alone() {
    let server = introduced_server().await;
    let options = ServeOptions { workers: 1, ..options() };
    let plane = Plane::on(options, |registry| {
        let backend = backend(registry, introduced(server, Some(ProxyHeader::V1)));
        vec![("", "/", rule(Outcome::Forward(Picker::new([(1, backend)]))))]
    })
    .await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        let stream = TcpStream::connect(plane.address).await.unwrap();
        let from = stream.local_addr().unwrap();
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        clients.push((from, sender));
    }
    for _ in 0..4 {
        for (from, sender) in &mut clients {
            let request = Request::get("/").header("host", "h").body(Full::<Bytes>::default()).unwrap();
            let (status, _, text) = whole(sender.send_request(request).await.unwrap()).await;
            assert_eq!(status, 200);
            let expected = format!("PROXY TCP4 127.0.0.1 127.0.0.1 {} {}\r\n", from.port(), plane.address.port());
            assert_eq!(text, expected);
        }
    }
    assert_eq!(plane.count(&["gwproxy_upstream_connects_total"]).await, 3.0, "kept between requests");
}

/// TLS that the listener ends goes on under TLS of its own, where a policy says so.
#[tokio::test]
async fn decrypted_bytes_are_encrypted_again() {
    let authority = backend_tls::Authority::new();
    let server = backend_tls::endpoint(&authority.sign("backend.example", None), None, b"http/1.1").await;
    for (hostname, reached) in [("backend.example", true), ("else.example", false)] {
        let registry = Registry::new(2);
        let data = DataPlane::start(options(), Arc::clone(&registry)).unwrap();
        let address = free();
        let settings = backend_tls::settings(&authority, UpstreamProtocol::Http1);
        let settings = crate::table::upstream_tls::Settings { protocol: None, hostname: hostname.into(), ..settings };
        let backend = StreamBackend {
            key: Key::new("shop", "a"),
            port: 443,
            target: Target::Endpoints(introduced(server, None)),
            tls: Some(Arc::new(UpstreamTls::new(settings))),
            series: stream_series(&registry, "TLSRoute", "a"),
        };
        let rule = Arc::new(StreamRule {
            route: RouteId { kind: "TLSRoute", key: Key::new("shop", "bytes"), rule: 0, rule_name: None },
            backends: Picker::new([(1, backend)]),
            unserved: stream_series(&registry, "TLSRoute", ""),
        });
        let (tls, root) = certificate("shop.example");
        let listener = l4_listener(&registry, Protocol::Tls, Some(tls), &[("shop.example", rule)]);
        let bind = l4_bind(&registry, address, Protocol::Tls, vec![("shop.example", listener)]);
        data.apply(Table { generation: 1, binds: vec![bind] }).await;
        let mut stream = secure(address, "shop.example", client_config(&root, &[])).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        let read = stream.read_to_string(&mut answer).await;
        assert_eq!(answer.ends_with("backend.example HTTP/1.1 0"), reached, "{read:?} {answer}");
        let failed = registry.render().lines().any(|line| {
            line.starts_with("gwproxy_upstream_failures_total") && line.contains("tls") && line.ends_with(" 1")
        });
        assert_eq!(failed, !reached);
    }
}

#[tokio::test]
async fn a_broken_certificate_takes_no_served_one_away() {
    let echo = Echo::start().await;
    let registry = Registry::new(2);
    let data = DataPlane::start(options(), Arc::clone(&registry)).unwrap();
    let address = free();
    let (tls, root) = certificate("shop.example");
    let table = |tls: Arc<ServerTls>, generation| {
        let rules = vec![("", "/", forward(&registry, &[echo.address]))];
        Table { generation, binds: vec![bind(&registry, address, Some(tls), rules)] }
    };
    assert!(data.apply(table(tls, 1)).await[&address.into()].is_ok());
    let broken = CertificatePem { secret: Key::new("infra", "tls"), chain: b"no".to_vec(), key: b"no".to_vec() };
    let outcomes = data.apply(table(Arc::new(ServerTls { certificates: vec![broken], clients: None }), 2)).await;
    assert!(matches!(outcomes[&address.into()], Err(BindError::Certificate { .. })), "{outcomes:?}");
    let stream = secure(address, "shop.example", client_config(&root, &[b"http/1.1"])).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get("/").header("host", "shop.example").body(Full::<Bytes>::default()).unwrap();
    assert_eq!(whole(sender.send_request(request).await.unwrap()).await.0, 200);
    assert!(registry.render().contains("gwproxy_certificate_expiry_timestamp_seconds{"));
}
