use super::*;

#[tokio::test]
async fn routes_and_headers() {
    let echo = Echo::start().await;
    let plane = Plane::with(|registry| {
        let mut edited = forward(registry, &[echo.address]);
        edited.request_headers = HeaderEdits {
            set: vec![(HeaderName::from_static("x-set"), HeaderValue::from_static("one"))],
            add: vec![(HeaderName::from_static("x-add"), HeaderValue::from_static("two"))],
            remove: vec![HeaderName::from_static("x-gone")],
        };
        edited.response_headers.set.push((HeaderName::from_static("x-answer"), HeaderValue::from_static("yes")));
        vec![("shop.example", "/", edited)]
    })
    .await;
    let request = Request::get("/a?b=c")
        .header("host", "SHOP.example:8080")
        .header("x-set", "zero")
        .header("x-add", "zero")
        .header("x-gone", "zero")
        .header("connection", "x-hop")
        .header("x-hop", "zero")
        .header("x-forwarded-for", "192.0.2.1")
        .header("x-forwarded-proto", "https");
    let (status, headers, text) = plane.send(request).await;
    assert_eq!(status, 200);
    assert_eq!(headers["x-answer"], "yes");
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("GET /a?b=c HTTP/1.1"));
    for line in [
        "host: SHOP.example:8080",
        "x-set: one",
        "x-add: zero",
        "x-add: two",
        "x-forwarded-for: 192.0.2.1, 127.0.0.1",
        "x-forwarded-proto: http",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
    assert!(text.contains("x-request-id: "), "{text}");
    assert!(!text.contains("x-gone") && !text.contains("x-hop"), "{text}");
    assert_eq!(plane.send(Request::get("/a").header("host", "other.example")).await.0, 404);
    assert_eq!(plane.count(&["gwproxy_requests_total", "code=\"404\"", "reason=\"no_rule\""]).await, 1.0);
}

#[test]
fn prefixes_are_replaced_as_the_spec_says() {
    for (path, matched, replacement, expected) in [
        ("/foo/bar", "/foo", "/xyz", "/xyz/bar"),
        ("/foo/bar", "/foo", "/xyz/", "/xyz/bar"),
        ("/foo", "/foo", "/xyz", "/xyz"),
        ("/foo/", "/foo", "/xyz", "/xyz/"),
        ("/foo/bar", "/foo", "", "/bar"),
        ("/foo/", "/foo", "", "/"),
        ("/foo", "/foo", "", "/"),
        ("/foo/", "/foo", "/", "/"),
        ("/foo", "/foo", "/", "/"),
        ("/bar", "", "/xyz", "/xyz/bar"),
    ] {
        let edit = PathEdit::Prefix(replacement.into());
        assert_eq!(filter::edited_path(&edit, path, matched.len()), expected, "{path} {matched} {replacement}");
    }
}

#[test]
fn redirects_name_ports_only_where_needed() {
    let base = Redirect { scheme: None, hostname: None, path: None, port: None, status: StatusCode::FOUND };
    let uri = "/a/b?q=1".parse().unwrap();
    for (redirect, tls, port, expected) in [
        (base.clone(), false, 80, "http://h/a/b?q=1"),
        (base.clone(), false, 8080, "http://h:8080/a/b?q=1"),
        (base.clone(), true, 443, "https://h/a/b?q=1"),
        (Redirect { scheme: Some("https"), ..base.clone() }, false, 8080, "https://h/a/b?q=1"),
        (Redirect { scheme: Some("http"), port: Some(80), ..base.clone() }, true, 443, "http://h/a/b?q=1"),
        (Redirect { port: Some(8443), ..base.clone() }, true, 443, "https://h:8443/a/b?q=1"),
        (Redirect { hostname: Some("x".into()), ..base.clone() }, false, 80, "http://x/a/b?q=1"),
        (Redirect { path: Some(PathEdit::Prefix("/z".into())), ..base.clone() }, false, 80, "http://h/z/b?q=1"),
        (Redirect { path: Some(PathEdit::Full("/z".into())), ..base }, false, 80, "http://h/z?q=1"),
    ] {
        assert_eq!(filter::location(&redirect, tls, "h", port, &uri, 2), expected, "{redirect:?}");
    }
}

#[tokio::test]
async fn rewrites_reach_the_backend() {
    let echo = Echo::start().await;
    let plane = Plane::with(|registry| {
        let mut backend = backend(registry, endpoints(&[echo.address], UpstreamProtocol::Http1));
        backend.rewrite = Some(Rewrite {
            hostname: Some("inner.example".parse().unwrap()),
            path: Some(PathEdit::Prefix("/v2".into())),
        });
        vec![("", "/api", rule(Outcome::Forward(Picker::new([(1, backend)]))))]
    })
    .await;
    let (_, _, text) = plane.get("/api/x?y=z").await;
    assert!(text.starts_with("GET /v2/x?y=z HTTP/1.1\n"), "{text}");
    assert!(text.contains("host: inner.example\n"), "{text}");
}

#[tokio::test]
async fn mirrors_get_the_body_and_cost_nothing() {
    let (echo, copy) = (Echo::start().await, Echo::start().await);
    let plane = Plane::with(|registry| {
        let mut mirrored = forward(registry, &[echo.address]);
        for addresses in [[copy.address], [free()]] {
            mirrored.mirrors.push(Mirror {
                backend: Key::new("shop", "copy"),
                endpoints: endpoints(&addresses, UpstreamProtocol::Http1),
                tls: None,
                numerator: 1,
                denominator: 1,
                sent: Arc::default(),
            });
        }
        vec![("", "/", mirrored)]
    })
    .await;
    let body = "x".repeat(100_000);
    let (status, _, text) = plane.send_body(Request::post("/m").header("host", "h"), &body).await;
    assert_eq!(status, 200);
    assert!(text.ends_with(&body));
    for _ in 0..200 {
        if copy.served.load(Relaxed) == 1 && copy.last.lock().unwrap().ends_with(&body) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(copy.last.lock().unwrap().ends_with(&body), "the mirror has {}", copy.last.lock().unwrap().len());
    assert_eq!(plane.count(&["gwproxy_requests_mirrored_total"]).await, 2.0);
}

#[tokio::test]
async fn slow_backends_are_timed_out_and_recorded() {
    let echo = Echo::start().await;
    let plane = Plane::with(|registry| {
        let mut limited = forward(registry, &[echo.address]);
        limited.timeouts.backend_request = Some(Duration::from_millis(100));
        vec![("", "/", limited)]
    })
    .await;
    let slow = Request::get("/").header("host", "h").header("x-wait", "3000");
    assert_eq!(plane.send(slow).await.0, 504);
    assert_eq!(plane.get("/").await.0, 200);
    assert_eq!(plane.count(&["gwproxy_requests_total", "code=\"504\""]).await, 1.0);
    assert_eq!(plane.count(&["gwproxy_upstream_failures_total", "reason=\"timeout\""]).await, 1.0);
}

#[tokio::test]
async fn clients_that_leave_are_counted() {
    let echo = Echo::start().await;
    let plane = Plane::with(|registry| vec![("", "/", forward(registry, &[echo.address]))]).await;
    let mut stream = TcpStream::connect(plane.address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: h\r\nx-wait: 60000\r\n\r\n").await.unwrap();
    while echo.served.load(Relaxed) == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(stream);
    assert_eq!(plane.count(&["gwproxy_requests_total", "code=\"499\""]).await, 1.0);
}

#[tokio::test]
async fn refused_connections_go_to_the_next_endpoint() {
    let echo = Echo::start().await;
    let dead = free();
    let plane = Plane::with(|registry| vec![("", "/", forward(registry, &[dead, echo.address]))]).await;
    let mut client = Client::connect(plane.address).await;
    for _ in 0..20 {
        let request = Request::post("/").header("host", "h").body(Full::from("body")).unwrap();
        let (status, _, text) = client.send(request).await;
        assert_eq!(status, 200);
        assert!(text.ends_with("body"));
    }
    assert!(plane.count(&["gwproxy_upstream_failures_total", "reason=\"connect\""]).await > 0.0);
    let lost = Plane::with(|registry| vec![("", "/", forward(registry, &[dead]))]).await;
    let (status, headers, _) = lost.get("/").await;
    assert_eq!((status.as_u16(), headers["content-type"].to_str().unwrap()), (503, "text/plain; charset=utf-8"));
}

#[tokio::test]
async fn a_restarted_backend_loses_no_request() {
    let first = Echo::start().await;
    let address = first.address;
    let plane = Plane::with(|registry| vec![("", "/", forward(registry, &[address]))]).await;
    let mut client = Client::connect(plane.address).await;
    let get = || Request::get("/").header("host", "h").body(Full::default()).unwrap();
    assert_eq!(client.send(get()).await.0, 200);
    drop(first);
    tokio::time::sleep(Duration::from_millis(20)).await;
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&address.into()).unwrap();
    socket.listen(64).unwrap();
    socket.set_nonblocking(true).unwrap();
    let _second = Echo::at(TcpListener::from_std(socket.into()).unwrap());
    assert_eq!(client.send(get()).await.0, 200);
}

#[tokio::test]
async fn h2c_on_both_sides() {
    let echo = Echo::start().await;
    let plane = Plane::with(|registry| {
        let target = endpoints(&[echo.address], UpstreamProtocol::Http2);
        vec![("h", "/", rule(Outcome::Forward(Picker::new([(1, backend(registry, target))]))))]
    })
    .await;
    let stream = TcpStream::connect(plane.address).await.unwrap();
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let sends = (0..50).map(|turn| {
        let mut sender = sender.clone();
        async move {
            let request = Request::post(format!("http://h/{turn}")).body(Full::<Bytes>::from("payload")).unwrap();
            whole(sender.send_request(request).await.unwrap()).await
        }
    });
    for (turn, (status, _, text)) in futures::future::join_all(sends).await.into_iter().enumerate() {
        assert_eq!(status, 200);
        assert!(text.starts_with(&format!("POST http://h/{turn} HTTP/2.0\n")) && text.ends_with("payload"), "{text}");
    }
    assert_eq!(plane.get("/").await.0, 404, "another host");
    let (status, _, text) = plane.send(Request::get("/").header("host", "h")).await;
    assert!(status == 200 && text.contains("HTTP/2.0"), "{text}");
}

#[tokio::test]
async fn upgrades_are_tunnelled() {
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = socket.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap().to_lowercase();
        assert!(head.contains("connection: upgrade") && head.contains("upgrade: websocket"), "{head}");
        let answer = b"HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n";
        stream.write_all(answer).await.unwrap();
        let (mut read, mut write) = stream.split();
        let _ = tokio::io::copy(&mut read, &mut write).await;
    });
    let plane = Plane::with(|registry| vec![("", "/", forward(registry, &[address]))]).await;
    let mut stream = TcpStream::connect(plane.address).await.unwrap();
    let ask = b"GET /ws HTTP/1.1\r\nhost: h\r\nconnection: keep-alive, Upgrade\r\nupgrade: websocket\r\n\r\n";
    stream.write_all(ask).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    assert!(head.starts_with("HTTP/1.1 101 ") && head.contains("upgrade: websocket"), "{head}");
    for _ in 0..3 {
        stream.write_all(b"ping").await.unwrap();
        let mut back = [0; 4];
        stream.read_exact(&mut back).await.unwrap();
        assert_eq!(&back, b"ping");
    }
    drop(stream);
    assert_eq!(plane.count(&["gwproxy_requests_total", "code=\"101\""]).await, 1.0);
    assert_eq!(plane.count(&["gwproxy_request_bytes_total"]).await, 12.0);
}

#[tokio::test]
async fn malformed_requests_are_refused() {
    let echo = Echo::start().await;
    let plane = Plane::with(|registry| vec![("", "/", forward(registry, &[echo.address]))]).await;
    let huge = format!("GET / HTTP/1.1\r\nhost: h\r\nx-big: {}\r\n\r\n", "x".repeat(200_000));
    for (bytes, code) in [
        ("GET / HTTP/1.1\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nhost: a b\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nhost: a:x\r\n\r\n", "400"),
        ("nonsense\r\n\r\n", "400"),
        ("CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\n\r\n", "405"),
        (huge.as_str(), "431"),
    ] {
        let mut stream = TcpStream::connect(plane.address).await.unwrap();
        // The rest of what is refused half-way may meet a closed connection.
        let _ = stream.write_all(bytes.as_bytes()).await;
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(std::str::from_utf8(&answer).unwrap(), format!("HTTP/1.1 {code}"), "{:.60}", bytes);
    }
    assert_eq!(echo.served.load(Relaxed), 0);
    // A head that never ends, and a connection that never says a word.
    for start in ["GET / HT", ""] {
        let mut stream = TcpStream::connect(plane.address).await.unwrap();
        stream.write_all(start.as_bytes()).await.unwrap();
        let end = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut Vec::new())).await;
        assert!(end.is_ok(), "{start:?} holds its connection for ever");
    }
}

#[tokio::test]
async fn big_bodies_stream_both_ways() {
    const CHUNK: usize = 64 * 1024;
    // Several times what the kernel buffers on the way.
    const CHUNKS: usize = 4096;
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let (stream, _) = socket.accept().await.unwrap();
        let service = hyper::service::service_fn(|request: Request<Incoming>| async {
            Ok::<_, hyper::Error>(Response::new(request.into_body()))
        });
        let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    });
    let plane = Plane::with(|registry| vec![("", "/", forward(registry, &[address]))]).await;
    let mut stream = TcpStream::connect(plane.address).await.unwrap();
    let head = format!("POST / HTTP/1.1\r\nhost: h\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", CHUNK * CHUNKS);
    stream.write_all(head.as_bytes()).await.unwrap();
    let (mut read, mut write) = stream.into_split();
    let sent = Arc::new(AtomicU64::new(0));
    let progress = Arc::clone(&sent);
    tokio::spawn(async move {
        for _ in 0..CHUNKS {
            write.write_all(&[b'x'; CHUNK]).await.unwrap();
            progress.fetch_add(CHUNK as u64, Relaxed);
        }
        // Kept open: the end of the request is its length.
        std::future::pending::<()>().await;
    });
    // Nobody reads yet: what is under way stays bounded by buffers, far below the whole.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let ahead = sent.load(Relaxed);
    assert!(ahead < (CHUNK * CHUNKS) as u64 / 2, "{ahead} bytes were taken from a client whose response is not read");
    let mut buffer = vec![0; CHUNK];
    let mut total = 0;
    loop {
        match read.read(&mut buffer).await.unwrap() {
            0 => break,
            got => total += got,
        }
    }
    assert!(total > CHUNK * CHUNKS, "{total}");
    assert_eq!(plane.count(&["gwproxy_response_bytes_total"]).await, (CHUNK * CHUNKS) as f64);
    assert_eq!(plane.count(&["gwproxy_request_bytes_total"]).await, (CHUNK * CHUNKS) as f64);
}

#[tokio::test]
async fn trailers_pass() {
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let (stream, _) = socket.accept().await.unwrap();
        let service = hyper::service::service_fn(|_: Request<Incoming>| async {
            let trailers =
                ::http::HeaderMap::from_iter([(HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"))]);
            let body = Full::new(Bytes::from_static(b"data")).with_trailers(async { Some(Ok(trailers)) });
            Ok::<_, hyper::Error>(Response::new(body))
        });
        let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        let _ = builder.serve_connection(TokioIo::new(stream), service).await;
    });
    let plane = Plane::with(|registry| {
        let target = endpoints(&[address], UpstreamProtocol::Http2);
        vec![("", "/", rule(Outcome::Forward(Picker::new([(1, backend(registry, target))]))))]
    })
    .await;
    let stream = TcpStream::connect(plane.address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::post("http://h/").header("te", "trailers").body(Full::<Bytes>::from("x")).unwrap();
    let body = sender.send_request(request).await.unwrap().into_body().collect().await.unwrap();
    assert_eq!(body.trailers().unwrap()["grpc-status"], "0");
}

#[tokio::test]
async fn what_is_no_request_is_counted() {
    let plane = Plane::with(|registry| vec![("", "/", forward(registry, &[free()]))]).await;
    let huge = format!("GET / HTTP/1.1\r\nhost: h\r\nx: {}\r\n\r\n", "x".repeat(600 * 1024));
    for (request, status) in [("NO HTTP AT ALL\r\n\r\n", "400"), (huge.as_str(), "431")] {
        let mut stream = TcpStream::connect(plane.address).await.unwrap();
        // The rest of what is too long may meet a closed connection.
        let _ = stream.write_all(request.as_bytes()).await;
        let mut head = [0; 12];
        stream.read_exact(&mut head).await.unwrap();
        assert_eq!(std::str::from_utf8(&head).unwrap(), format!("HTTP/1.1 {status}"));
        drop(stream);
        for _ in 0..100 {
            if plane.registry.render().contains(&format!("code=\"{status}\"")) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(plane.count(&["gwproxy_requests_total", &format!("code=\"{status}\"")]).await, 1.0, "{status}");
    }
}

#[tokio::test]
async fn a_silent_tunnel_is_cut() {
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = socket.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let answer = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nhello";
        stream.write_all(answer).await.unwrap();
        std::future::pending::<()>().await;
    });
    let options = ServeOptions { tunnel_idle: Duration::from_millis(100), ..options() };
    let plane = Plane::on(options, |registry| vec![("", "/", forward(registry, &[address]))]).await;
    let mut stream = TcpStream::connect(plane.address).await.unwrap();
    let ask = b"GET / HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    stream.write_all(ask).await.unwrap();
    let mut all = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut all)).await;
    read.expect("the tunnel ends").unwrap();
    assert!(all.ends_with(b"hello"), "{}", String::from_utf8_lossy(&all));
    assert_eq!(plane.count(&["gwproxy_response_bytes_total", "backend=\"web\""]).await, 5.0);
}

/// hyper's servers cannot send them on, so what counts is that the answer itself arrives.
#[tokio::test]
async fn interim_responses_are_left_out_and_the_final_one_arrives() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await?;
            let mut head = [0; 4096];
            while stream.read(&mut head).await? > 0 {
                stream
                    .write_all(b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n")
                    .await?;
                tokio::time::sleep(Duration::from_millis(20)).await;
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndone").await?;
            }
        }
        #[allow(unreachable_code, reason = "names the type of the errors")]
        Ok::<_, std::io::Error>(())
    });
    let plane = Plane::with(|registry| vec![("", "/", forward(registry, &[address]))]).await;
    for _ in 0..3 {
        let (status, headers, text) = plane.get("/").await;
        assert_eq!((status.as_u16(), text.as_str()), (200, "done"));
        assert!(!headers.contains_key("link"), "{headers:?}");
    }
}
