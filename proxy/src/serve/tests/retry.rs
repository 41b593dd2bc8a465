//! Requests that are sent again, and the time they have.

use super::*;
use crate::table::Retry;

/// Answers each request with the next of `answers`, over and over the last; a 0 closes the
/// connection without an answer, a 1 never answers.
struct Moody {
    address: SocketAddr,
    bodies: Arc<std::sync::Mutex<Vec<String>>>,
}

impl Moody {
    async fn start(answers: &'static [u16]) -> Self {
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = socket.local_addr().unwrap();
        let bodies = Arc::new(std::sync::Mutex::new(Vec::new()));
        let (noted, turn) = (Arc::clone(&bodies), Arc::new(AtomicU64::new(0)));
        tokio::spawn(async move {
            while let Ok((stream, _)) = socket.accept().await {
                let (noted, turn) = (Arc::clone(&noted), Arc::clone(&turn));
                tokio::spawn(async move {
                    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                        let (noted, turn) = (Arc::clone(&noted), Arc::clone(&turn));
                        async move {
                            let body = request.into_body().collect().await.map(|body| body.to_bytes());
                            let body = body.map_err(std::io::Error::other)?;
                            noted.lock().unwrap().push(String::from_utf8(body.to_vec()).unwrap());
                            let turn = turn.fetch_add(1, Relaxed) as usize;
                            match answers[turn.min(answers.len() - 1)] {
                                0 => Err(std::io::Error::other("moody")),
                                1 => std::future::pending().await,
                                code => {
                                    let mut response = Response::new(Full::from("told"));
                                    *response.status_mut() = StatusCode::from_u16(code).unwrap();
                                    Ok::<Response<Full<Bytes>>, std::io::Error>(response)
                                }
                            }
                        }
                    });
                    let builder = hyper::server::conn::http1::Builder::new();
                    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { address, bodies }
    }

    fn asked(&self) -> usize {
        self.bodies.lock().unwrap().len()
    }

    async fn plane(&self, codes: &[u16], attempts: u32, timeouts: Timeouts) -> Plane {
        let (address, codes) = (self.address, codes.to_vec());
        Plane::with(move |registry| {
            let mut again = forward(registry, &[address]);
            again.retry = Some(Box::new(Retry { codes, attempts, backoff: Duration::from_millis(20) }));
            again.timeouts = timeouts;
            vec![("", "/", again)]
        })
        .await
    }
}

#[tokio::test]
async fn attempts_count_after_the_first() {
    for (answers, codes, attempts, status, asked) in [
        (&[500, 500, 200][..], &[500][..], 3, 200, 3),
        (&[500, 500, 500, 500, 200], &[500], 3, 500, 4),
        (&[503, 200], &[500], 3, 503, 1),
        (&[0, 0, 200], &[], 2, 200, 3),
        (&[0, 0, 0, 200], &[], 2, 502, 3),
    ] {
        let moody = Moody::start(answers).await;
        let plane = moody.plane(codes, attempts, Timeouts::default()).await;
        let began = std::time::Instant::now();
        let request = Request::post("/").header("host", "h");
        assert_eq!(plane.send_body(request, "once more").await.0.as_u16(), status, "{answers:?}");
        assert_eq!(moody.asked(), asked, "{answers:?}");
        assert!(moody.bodies.lock().unwrap().iter().all(|body| body == "once more"), "{answers:?}");
        // At least the backoff before each.
        assert!(began.elapsed() >= Duration::from_millis(20) * (asked as u32 - 1), "{answers:?}");
        let retries = plane.count(&["gwproxy_upstream_retries_total"]).await;
        assert_eq!(retries, (asked - 1) as f64, "{answers:?}");
        assert_eq!(plane.count(&["gwproxy_requests_total", "backend=\"web\""]).await, 1.0, "one request, one sample");
    }
}

#[tokio::test]
async fn a_body_too_long_to_keep_goes_once() {
    let moody = Moody::start(&[500, 200]).await;
    let plane = moody.plane(&[500], 3, Timeouts::default()).await;
    let request = Request::post("/").header("host", "h");
    assert_eq!(plane.send_body(request, &"x".repeat(200_000)).await.0, 500);
    assert_eq!(moody.asked(), 1);
    assert_eq!(moody.bodies.lock().unwrap()[0].len(), 200_000);
}

#[tokio::test]
async fn each_attempt_has_its_time_and_all_have_theirs() {
    let moody = Moody::start(&[1, 200]).await;
    let each = Timeouts { request: None, backend_request: Some(Duration::from_millis(150)) };
    let plane = moody.plane(&[], 1, each).await;
    assert_eq!(plane.get("/").await.0, 200, "the second attempt answers in time");
    assert_eq!(moody.asked(), 2);

    let moody = Moody::start(&[1]).await;
    let plane = moody.plane(&[], 1, each).await;
    assert_eq!(plane.get("/").await.0, 504);
    assert_eq!(moody.asked(), 2);

    let whole = Timeouts { request: Some(Duration::from_millis(250)), backend_request: each.backend_request };
    let moody = Moody::start(&[1]).await;
    let plane = moody.plane(&[], 50, whole).await;
    let began = std::time::Instant::now();
    assert_eq!(plane.get("/").await.0, 504);
    assert!(began.elapsed() >= Duration::from_millis(250));
    assert!(moody.asked() <= 3, "{} attempts in the time of two", moody.asked());
}

#[tokio::test]
async fn endpoints_that_refuse_are_left_for_others() {
    let echo = Echo::start().await;
    let addresses = [free(), echo.address];
    let plane = Plane::with(|registry| {
        let mut again = forward(registry, &addresses);
        again.retry = Some(Box::new(Retry { codes: vec![], attempts: 1, backoff: Duration::from_millis(1) }));
        vec![("", "/", again)]
    })
    .await;
    for _ in 0..10 {
        assert_eq!(plane.get("/").await.0, 200);
    }
}
