//! Bytes passed on: TCP, datagrams, TLS by server name.

use tokio::net::UdpSocket;

use super::{lifecycle::certificate, *};
use crate::table::{StreamBackend, StreamRule};

/// A backend by name, its weight and its endpoints.
type Weighted<'a> = (&'a str, u32, &'a [SocketAddr]);

pub(super) fn stream_series(registry: &Registry, kind: &str, backend: &str) -> Arc<Series> {
    registry.series(SeriesKey {
        gateway_namespace: "infra".into(),
        gateway: "edge".into(),
        listener: "l4".into(),
        route_kind: kind.into(),
        route_namespace: "shop".into(),
        route: "bytes".into(),
        rule: "0".into(),
        backend_namespace: if backend.is_empty() { "" } else { "shop" }.into(),
        backend: backend.into(),
        backend_port: if backend.is_empty() { "" } else { "80" }.into(),
    })
}

pub(super) fn stream_rule(registry: &Registry, kind: &'static str, backends: &[Weighted<'_>]) -> Arc<StreamRule> {
    let backends = backends.iter().map(|(name, weight, addresses)| {
        let target = match addresses {
            [] => Target::Fail(StatusCode::INTERNAL_SERVER_ERROR, "nothing there"),
            addresses => Target::Endpoints(endpoints(addresses, UpstreamProtocol::Http1)),
        };
        let series = stream_series(registry, kind, name);
        (*weight, StreamBackend { key: Key::new("shop", *name), port: 80, target, tls: None, series })
    });
    Arc::new(StreamRule {
        route: RouteId { kind, key: Key::new("shop", "bytes"), rule: 0, rule_name: None },
        backends: Picker::new(backends),
        unserved: stream_series(registry, kind, ""),
    })
}

pub(super) fn l4_listener(
    registry: &Registry,
    protocol: Protocol,
    tls: Option<Arc<ServerTls>>,
    rules: &[(&str, Arc<StreamRule>)],
) -> Arc<Listener> {
    let mut streams = HostMap::default();
    for (host, rule) in rules {
        streams.insert(host, Arc::clone(rule));
    }
    Arc::new(Listener {
        gateway: Key::new("infra", "edge"),
        name: "l4".into(),
        protocol,
        tls,
        routes: HostMap::default(),
        streams,
        unmatched: registry.series(SeriesKey { listener: "l4".into(), ..SeriesKey::default() }),
    })
}

pub(super) fn l4_bind(
    registry: &Registry,
    address: SocketAddr,
    protocol: Protocol,
    listeners: Vec<(&str, Arc<Listener>)>,
) -> Arc<Bind> {
    let mut map = HostMap::default();
    for (host, listener) in listeners {
        map.insert(host, listener);
    }
    Arc::new(Bind {
        address,
        protocol,
        accept_proxy: false,
        listeners: map,
        unmatched: registry.series(SeriesKey::default()),
    })
}

fn tcp_table(registry: &Registry, address: SocketAddr, rule: &Arc<StreamRule>) -> Table {
    let listener = l4_listener(registry, Protocol::Tcp, None, &[("", Arc::clone(rule))]);
    Table { generation: 1, binds: vec![l4_bind(registry, address, Protocol::Tcp, vec![("", listener)])] }
}

fn udp_table(registry: &Registry, address: SocketAddr, rule: &Arc<StreamRule>, generation: u64) -> Table {
    let listener = l4_listener(registry, Protocol::Udp, None, &[("", Arc::clone(rule))]);
    Table { generation, binds: vec![l4_bind(registry, address, Protocol::Udp, vec![("", listener)])] }
}

/// A server that greets with its name and a line end, sends back what it gets, and after the end
/// of that says goodbye.
async fn tcp_echo(name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = stream.into_split();
                write.write_all(format!("{name}\n").as_bytes()).await?;
                tokio::io::copy(&mut read, &mut write).await?;
                write.write_all(b"bye").await
            });
        }
    });
    address
}

async fn line(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    loop {
        match stream.read_u8().await {
            Ok(b'\n') | Err(_) => return String::from_utf8(text).unwrap(),
            Ok(byte) => text.push(byte),
        }
    }
}

async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..500 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never: {what}");
}

/// Sum of the samples of which every part is in the line.
fn sample(registry: &Registry, parts: &[&str]) -> f64 {
    let text = registry.render();
    let lines = text.lines().filter(|line| !line.starts_with('#') && parts.iter().all(|part| line.contains(part)));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

#[tokio::test]
async fn tcp_passes_both_ways_and_each_way_ends_by_itself() {
    let echo = tcp_echo("one").await;
    let registry = Registry::new(2);
    let data = DataPlane::start(options(), Arc::clone(&registry)).unwrap();
    let address = free();
    let rule = stream_rule(&registry, "TCPRoute", &[("web", 1, &[echo])]);
    assert!(data.apply(tcp_table(&registry, address, &rule)).await[&address.into()].is_ok());
    let mut client = TcpStream::connect(address).await.unwrap();
    assert_eq!(line(&mut client).await, "one");
    eventually("open", || sample(&registry, &["gwproxy_connections_in_flight{", "backend=\"web\""]) == 1.0).await;
    assert_eq!(sample(&registry, &["gwproxy_active_connections{", "listener=\"l4\""]), 1.0);
    client.write_all(b"hello").await.unwrap();
    // The client has said all; the answer comes nevertheless.
    client.shutdown().await.unwrap();
    let mut rest = String::new();
    client.read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest, "hellobye");
    eventually("closed", || sample(&registry, &["gwproxy_connections_in_flight{", "backend=\"web\""]) == 0.0).await;
    assert_eq!(sample(&registry, &["gwproxy_connections_total{", "route_kind=\"TCPRoute\"", "backend=\"web\""]), 1.0);
    assert_eq!(sample(&registry, &["gwproxy_request_bytes_total{", "backend=\"web\""]), 5.0);
    assert_eq!(sample(&registry, &["gwproxy_response_bytes_total{", "backend=\"web\""]), 12.0);
    assert_eq!(sample(&registry, &["gwproxy_requests_in_flight{"]), 0.0);
    assert!(!registry.render().contains("gwproxy_request_duration_seconds_count{"), "a connection is no request");
    eventually("gone", || sample(&registry, &["gwproxy_active_connections{", "listener=\"l4\""]) == 0.0).await;
}

#[tokio::test]
async fn tcp_is_shared_by_weight_and_what_cannot_be_served_is_reset() {
    let (one, two) = (tcp_echo("one").await, tcp_echo("two").await);
    let registry = Registry::new(1);
    let data = DataPlane::start(ServeOptions { workers: 1, ..options() }, Arc::clone(&registry)).unwrap();
    let address = free();
    // The first endpoint of the first backend refuses; the second one takes its connections.
    let rule = stream_rule(&registry, "TCPRoute", &[("a", 6, &[free(), one]), ("b", 3, &[two]), ("gone", 1, &[])]);
    data.apply(tcp_table(&registry, address, &rule)).await;
    let mut counts = std::collections::BTreeMap::<String, u32>::new();
    for _ in 0..100 {
        // A reset may come before the connection is known to be there.
        let greeted = match TcpStream::connect(address).await {
            Ok(mut client) => line(&mut client).await,
            Err(_) => String::new(),
        };
        *counts.entry(greeted).or_default() += 1;
    }
    let counts: Vec<_> = counts.into_iter().collect();
    assert_eq!(counts, [(String::new(), 10), ("one".to_owned(), 60), ("two".to_owned(), 30)]);
    assert_eq!(sample(&registry, &["gwproxy_upstream_failures_total{", "backend=\"a\"", "reason=\"connect\""]), 30.0);
    let nothing = stream_rule(&registry, "TCPRoute", &[("a", 0, &[one])]);
    data.apply(tcp_table(&registry, address, &nothing)).await;
    let refused = async { TcpStream::connect(address).await?.read(&mut [0; 8]).await };
    assert_eq!(refused.await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    assert_eq!(sample(&registry, &["gwproxy_connections_total{", "reason=\"no_backend\""]), 1.0);
}

#[tokio::test]
async fn tcp_keeps_its_connections_when_the_table_changes() {
    let (one, two) = (tcp_echo("one").await, tcp_echo("two").await);
    let registry = Registry::new(2);
    let data = DataPlane::start(options(), Arc::clone(&registry)).unwrap();
    let address = free();
    let first = stream_rule(&registry, "TCPRoute", &[("a", 1, &[one])]);
    data.apply(tcp_table(&registry, address, &first)).await;
    let mut old = TcpStream::connect(address).await.unwrap();
    assert_eq!(line(&mut old).await, "one");
    let second = stream_rule(&registry, "TCPRoute", &[("b", 1, &[two])]);
    data.apply(tcp_table(&registry, address, &second)).await;
    let mut new = TcpStream::connect(address).await.unwrap();
    assert_eq!(line(&mut new).await, "two");
    old.write_all(b"still here\n").await.unwrap();
    assert_eq!(line(&mut old).await, "still here");
    // The port goes: nobody new comes in, and who is in may finish.
    data.apply(Table { generation: 3, binds: vec![] }).await;
    assert!(TcpStream::connect(address).await.is_err());
    old.write_all(b"and now\n").await.unwrap();
    assert_eq!(line(&mut old).await, "and now");
}

/// A reader that does not read stops the writer: what is under way is bounded by buffers, not
/// by how much there is to send.
#[tokio::test]
async fn tcp_holds_up_a_writer_whose_reader_is_slow() {
    const LOT: usize = 64 * 1024 * 1024;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let server = listener.local_addr().unwrap();
    let written = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&written);
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let chunk = vec![7; 64 * 1024];
        while (count.load(Relaxed) as usize) < LOT {
            stream.write_all(&chunk).await.unwrap();
            count.fetch_add(chunk.len() as u64, Relaxed);
        }
    });
    let registry = Registry::new(2);
    let data = DataPlane::start(options(), Arc::clone(&registry)).unwrap();
    let address = free();
    let rule = stream_rule(&registry, "TCPRoute", &[("a", 1, &[server])]);
    data.apply(tcp_table(&registry, address, &rule)).await;
    let mut client = TcpStream::connect(address).await.unwrap();
    let mut first = [0; 1];
    client.read_exact(&mut first).await.unwrap();
    let mut before = u64::MAX;
    while before != written.load(Relaxed) {
        before = written.load(Relaxed);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!((before as usize) < LOT, "the server could send {before} bytes that nobody read");
    let mut all = Vec::new();
    client.read_to_end(&mut all).await.unwrap();
    assert_eq!(all.len() + 1, LOT);
}

/// Answers each datagram with its name and what came.
async fn udp_echo(name: &'static str) -> SocketAddr {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = vec![0; 65536];
        while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            let answer = [name.as_bytes(), b" ", &buffer[..length]].concat();
            socket.send_to(&answer, from).await.unwrap();
        }
    });
    address
}

async fn ask(client: &UdpSocket, text: &str) -> String {
    client.send(text.as_bytes()).await.unwrap();
    let mut buffer = vec![0; 65536];
    match tokio::time::timeout(Duration::from_secs(5), client.recv(&mut buffer)).await {
        Ok(Ok(length)) => String::from_utf8(buffer[..length].to_vec()).unwrap(),
        Ok(Err(error)) => format!("{error}"),
        Err(_) => "nothing".to_owned(),
    }
}

/// A client that takes answers from the address that it sent to, and from no other.
async fn udp_client(to: SocketAddr) -> UdpSocket {
    let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    client.connect(to).await.unwrap();
    client
}

fn free_udp() -> SocketAddr {
    std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn datagrams_of_a_client_stay_with_their_endpoint() {
    let (one, two) = (udp_echo("one").await, udp_echo("two").await);
    let registry = Registry::new(2);
    let data = DataPlane::start(options(), Arc::clone(&registry)).unwrap();
    let address = free_udp();
    let rule = stream_rule(&registry, "UDPRoute", &[("a", 7, &[one]), ("b", 3, &[two])]);
    let socket = Socket { address, transport: crate::table::Transport::Udp };
    assert!(data.apply(udp_table(&registry, address, &rule, 1)).await[&socket].is_ok());
    let mut counts = std::collections::BTreeMap::<String, u32>::new();
    let mut clients = Vec::new();
    for _ in 0..100 {
        let client = udp_client(address).await;
        let first = ask(&client, "x").await;
        for _ in 0..3 {
            assert_eq!(ask(&client, "x").await, first, "a flow keeps its endpoint");
        }
        *counts.entry(first).or_default() += 1;
        clients.push(client);
    }
    // Two workers, each of which is at most one away from its share.
    assert!((69..=71).contains(&counts["one x"]), "{counts:?}");
    assert_eq!(counts["one x"] + counts["two x"], 100);
    assert_eq!(sample(&registry, &["gwproxy_connections_in_flight{", "route_kind=\"UDPRoute\""]), 100.0);
    assert_eq!(sample(&registry, &["gwproxy_active_connections{", "listener=\"l4\""]), 100.0);
    // An answer may be there before it is counted.
    let bytes = |of: &str| sample(&registry, &[of, "route_kind=\"UDPRoute\""]);
    eventually("400 bytes in", || bytes("gwproxy_request_bytes_total{") == 400.0).await;
    eventually("2000 bytes out", || bytes("gwproxy_response_bytes_total{") == 2000.0).await;
    // Whole, however large.
    let large = "y".repeat(20_000);
    assert!(ask(&clients[0], &large).await.ends_with(&large));
    assert_eq!(ask(&clients[0], "").await.trim_end().len(), 3, "an empty datagram is one too");

    // The endpoint of some is no longer offered: they go to the other, who stays stays.
    let rule = stream_rule(&registry, "UDPRoute", &[("b", 1, &[two])]);
    data.apply(udp_table(&registry, address, &rule, 2)).await;
    for client in &clients {
        assert_eq!(ask(client, "z").await, "two z");
    }
    assert_eq!(sample(&registry, &["gwproxy_connections_in_flight{", "route_kind=\"UDPRoute\""]), 100.0);
    assert_eq!(
        sample(&registry, &["gwproxy_connections_total{", "backend=\"b\""]),
        100.0,
        "those before and those that came over"
    );
    // The socket goes, with its flows, and can be had again at once.
    data.apply(Table { generation: 3, binds: vec![] }).await;
    eventually("no flow left", || sample(&registry, &["gwproxy_active_connections{"]) == 0.0).await;
    let outcomes = data.apply(udp_table(&registry, address, &rule, 4)).await;
    assert!(outcomes[&socket].is_ok(), "{outcomes:?}");
    assert_eq!(ask(&clients[0], "again").await, "two again");
}

#[tokio::test]
async fn silent_flows_end_and_dead_endpoints_are_left() {
    let one = udp_echo("one").await;
    let registry = Registry::new(1);
    let options = ServeOptions { workers: 1, datagram_idle: Duration::from_millis(200), ..options() };
    let data = DataPlane::start(options, Arc::clone(&registry)).unwrap();
    let address = free_udp();
    // The first pick is an endpoint that nobody listens on.
    let rule = stream_rule(&registry, "UDPRoute", &[("a", 1, &[free_udp(), one])]);
    data.apply(udp_table(&registry, address, &rule, 1)).await;
    let client = udp_client(address).await;
    client.send(b"lost").await.unwrap();
    eventually("the refusal is counted", || sample(&registry, &["gwproxy_upstream_failures_total{"]) == 1.0).await;
    assert_eq!(ask(&client, "x").await, "one x", "the next datagram goes to another endpoint");
    eventually("the flow ends", || sample(&registry, &["gwproxy_connections_in_flight{", "backend=\"a\""]) == 0.0)
        .await;
    assert_eq!(sample(&registry, &["gwproxy_connections_total{", "backend=\"a\""]), 2.0);
    // Nothing to send to: counted, and nobody waits.
    let nothing = stream_rule(&registry, "UDPRoute", &[("gone", 1, &[])]);
    data.apply(udp_table(&registry, address, &nothing, 2)).await;
    client.send(b"lost").await.unwrap();
    eventually("counted", || sample(&registry, &["gwproxy_upstream_failures_total{", "backend=\"gone\""]) == 1.0).await;
}

#[tokio::test]
async fn a_port_for_datagrams_is_taken_from_nobody() {
    let other = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = other.local_addr().unwrap();
    let registry = Registry::new(1);
    let data = DataPlane::start(ServeOptions { workers: 1, ..options() }, Arc::clone(&registry)).unwrap();
    let rule = stream_rule(&registry, "UDPRoute", &[]);
    let outcomes = data.apply(udp_table(&registry, address, &rule, 1)).await;
    assert!(matches!(outcomes.values().next(), Some(Err(BindError::InUse(_)))), "{outcomes:?}");
    // The same port for TCP is another socket.
    let tcp = stream_rule(&registry, "TCPRoute", &[]);
    let outcomes = data.apply(tcp_table(&registry, address, &tcp)).await;
    assert!(outcomes[&address.into()].is_ok(), "{outcomes:?}");
}

pub(super) fn client_config(
    root: &rustls_pki_types::CertificateDer<'static>,
    alpn: &[&[u8]],
) -> Arc<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(root.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    Arc::new(config)
}

pub(super) async fn secure(
    address: SocketAddr,
    name: &'static str,
    config: Arc<rustls::ClientConfig>,
) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    tokio_rustls::TlsConnector::from(config).connect(name.try_into().unwrap(), stream).await
}

/// A TLS server with its own certificate that greets with its name.
async fn tls_server(host: &str, name: &'static str) -> (SocketAddr, rustls_pki_types::CertificateDer<'static>) {
    let made = rcgen::generate_simple_self_signed([host.to_owned()]).unwrap();
    let der = made.cert.der().clone();
    let key = rustls_pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![der.clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut stream = acceptor.accept(stream).await?;
                stream.write_all(format!("{name}\n").as_bytes()).await?;
                stream.shutdown().await
            });
        }
    });
    (address, der)
}

async fn greeting(mut stream: tokio_rustls::client::TlsStream<TcpStream>) -> String {
    let mut text = vec![0; 64];
    let length = stream.read(&mut text).await.unwrap();
    String::from_utf8(text[..length].to_vec()).unwrap()
}

#[tokio::test]
async fn one_port_passes_through_terminates_and_speaks_http() {
    let (wide, wide_root) = tls_server("x.pass.example", "wide").await;
    let (exact, exact_root) = tls_server("abc.pass.example", "exact").await;
    let plain = tcp_echo("plain").await;
    let web = Echo::start().await;
    let registry = Registry::new(2);
    let options = ServeOptions { handshake_timeout: Duration::from_millis(500), ..options() };
    let data = DataPlane::start(options, Arc::clone(&registry)).unwrap();
    let address = free();
    let (end_tls, end_root) = certificate("end.example");
    let (web_tls, web_root) = certificate("web.example");
    let rule = |name: &'static str, to| stream_rule(&registry, "TLSRoute", &[(name, 1, &[to])]);
    let pass = l4_listener(
        &registry,
        Protocol::Tls,
        None,
        &[("*.pass.example", rule("wide", wide)), ("abc.pass.example", rule("exact", exact))],
    );
    let end = l4_listener(&registry, Protocol::Tls, Some(end_tls), &[("end.example", rule("plain", plain))]);
    let rules = vec![("", "/", forward(&registry, &[web.address]))];
    let https = bind(&registry, address, Some(web_tls), rules).listeners.values().next().unwrap().clone();
    let listeners = vec![("*.pass.example", pass), ("end.example", end), ("web.example", https)];
    let bind = l4_bind(&registry, address, Protocol::Tls, listeners);
    assert!(data.apply(Table { generation: 1, binds: vec![bind] }).await[&address.into()].is_ok());

    // The certificates are those of the servers behind: TLS goes through unopened.
    let through = secure(address, "x.pass.example", client_config(&wide_root, &[])).await.unwrap();
    assert_eq!(greeting(through).await, "wide\n");
    let through = secure(address, "abc.pass.example", client_config(&exact_root, &[])).await.unwrap();
    assert_eq!(greeting(through).await, "exact\n");
    // Terminated: whatever a client offers by ALPN, the bytes are not HTTP's.
    for alpn in [&[][..], &[&b"mqtt"[..]]] {
        let ended = secure(address, "end.example", client_config(&end_root, alpn)).await.unwrap();
        assert_eq!(ended.get_ref().1.alpn_protocol(), None);
        assert_eq!(greeting(ended).await, "plain\n");
    }
    let stream = secure(address, "web.example", client_config(&web_root, &[b"http/1.1"])).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get("/").header("host", "web.example").body(Full::<Bytes>::default()).unwrap();
    assert_eq!(whole(sender.send_request(request).await.unwrap()).await.0, 200);
    // Names that nobody has, none at all, and what is no TLS: ended, and nobody else is hurt.
    for name in ["other.example", "pass.example"] {
        let error = secure(address, name, client_config(&wide_root, &[])).await.unwrap_err();
        let kinds = [io::ErrorKind::ConnectionReset, io::ErrorKind::UnexpectedEof];
        assert!(kinds.contains(&error.kind()), "{name}: {error}");
    }
    for first in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"\x16\x03\x01\x00\x00"] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(first).await.unwrap();
        assert!(matches!(stream.read(&mut [0; 8]).await, Ok(0) | Err(_)));
    }
    // One byte at a time is slow, not wrong; half a hello is given up.
    let mut slow = TcpStream::connect(address).await.unwrap();
    slow.write_all(b"\x16\x03\x01").await.unwrap();
    assert!(matches!(slow.read(&mut [0; 8]).await, Ok(0) | Err(_)));
    eventually("the timeout is counted", || sample(&registry, &["gwproxy_tls_handshakes_total", "timeout"]) == 1.0)
        .await;
    assert_eq!(sample(&registry, &["gwproxy_connections_total{", "route_kind=\"TLSRoute\""]), 4.0);
}
