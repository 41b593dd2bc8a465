//! What a gRPC client sees, on real HTTP/2 frames.

use super::*;

type H2 = hyper::client::conn::http2::SendRequest<Full<Bytes>>;

async fn connect(address: SocketAddr) -> H2 {
    let stream = TcpStream::connect(address).await.unwrap();
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

fn call(host: &str, method: &str) -> Request<Full<Bytes>> {
    Request::post(format!("http://{host}{method}"))
        .header("content-type", "application/grpc+proto")
        .header("te", "trailers")
        .body(Full::from("\0\0\0\0\0"))
        .unwrap()
}

#[tokio::test]
async fn failures_are_told_in_its_own_way() {
    let plane = Plane::with(|registry| {
        let mut nowhere = backend(registry, endpoints(&[free()], UpstreamProtocol::Http2));
        nowhere.series = series(registry, "checkout", "nowhere");
        let mut failing = backend(registry, endpoints(&[], UpstreamProtocol::Http2));
        failing.target = Target::Fail(StatusCode::INTERNAL_SERVER_ERROR, "the backend reference does not resolve");
        let forward = |backend| rule(Outcome::Forward(Picker::new([(1, backend)])));
        vec![("h", "/gone.Service", forward(nowhere)), ("h", "/bad.Service", forward(failing))]
    })
    .await;
    let mut sender = connect(plane.address).await;
    for (host, method, status, code) in [
        ("h", "/gone.Service/Call", "14", "503"),
        ("h", "/bad.Service/Call", "14", "500"),
        ("h", "/other.Service/Call", "12", "404"),
        ("other", "/gone.Service/Call", "12", "404"),
    ] {
        let response = sender.send_request(call(host, method)).await.unwrap();
        assert_eq!(response.status(), 200, "{method}");
        assert_eq!(response.headers()["grpc-status"], status, "{method}");
        assert_eq!(response.headers()["content-type"], "application/grpc", "{method}");
        assert!(!response.headers()["grpc-message"].is_empty(), "{method}");
        assert!(hyper::body::Body::is_end_stream(response.body()), "{method}: trailers without a body");
        // What the metrics say does not depend on how the client is told.
        assert!(plane.count(&["gwproxy_requests_total", &format!("code=\"{code}\"")]).await >= 1.0, "{method}");
    }
    // Who does not speak gRPC gets plain HTTP.
    let request = Request::post("http://h/bad.Service/Call").body(Full::default()).unwrap();
    assert_eq!(sender.send_request(request).await.unwrap().status(), 500);
}

/// Keeps every stream open until all that are wanted have come.
#[tokio::test]
async fn streams_beyond_one_connection_get_another() {
    const CALLS: usize = 250;
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = socket.local_addr().unwrap();
    let (connections, arrived) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (accepted, calls) = (Arc::clone(&connections), Arc::clone(&arrived));
    tokio::spawn(async move {
        while let Ok((stream, _)) = socket.accept().await {
            accepted.fetch_add(1, Relaxed);
            let calls = Arc::clone(&calls);
            tokio::spawn(async move {
                let service = hyper::service::service_fn(move |_: Request<Incoming>| {
                    let calls = Arc::clone(&calls);
                    async move {
                        calls.fetch_add(1, Relaxed);
                        while calls.load(Relaxed) < CALLS as u64 {
                            tokio::time::sleep(Duration::from_millis(5)).await;
                        }
                        Ok::<_, hyper::Error>(Response::new(Full::<Bytes>::default()))
                    }
                });
                let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                // Fewer than asked of it: the proxy has to keep to that.
                builder.max_concurrent_streams(50);
                let _ = builder.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    let options = ServeOptions { workers: 1, ..options() };
    let plane = Plane::on(options, |registry| {
        let target = endpoints(&[address], UpstreamProtocol::Http2);
        vec![("h", "/", rule(Outcome::Forward(Picker::new([(1, backend(registry, target))]))))]
    })
    .await;
    let sender = connect(plane.address).await;
    let sends = (0..CALLS).map(|_| {
        let mut sender = sender.clone();
        async move { sender.send_request(call("h", "/a.B/C")).await.unwrap().status() }
    });
    let all = tokio::time::timeout(Duration::from_secs(20), futures::future::join_all(sends)).await;
    let all = all.expect("calls that wait for each other need connections enough");
    assert!(all.iter().all(|status| *status == 200));
    let opened = connections.load(Relaxed);
    assert!((5..=8).contains(&opened), "{opened} connections for {CALLS} calls of which one takes 50");
}
