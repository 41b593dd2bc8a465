//! The demo's services: real HTTP servers on loopback that count what they answer and can be
//! told to fail.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use color_eyre::eyre::{Result, WrapErr};
use http_body_util::Full;
use hyper::{Request, Response, StatusCode, body::Incoming, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpListener, task::JoinSet};

/// One Service of the demo: how many endpoints, and how long they take to answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Profile {
    pub(super) namespace: &'static str,
    pub(super) service: &'static str,
    pub(super) endpoints: usize,
    pub(super) typical: Duration,
}

pub(super) const PROFILES: [Profile; 4] = [
    Profile { namespace: "my-app", service: "app-v1", endpoints: 3, typical: Duration::from_millis(6) },
    Profile { namespace: "my-app", service: "app-v2", endpoints: 2, typical: Duration::from_millis(5) },
    Profile { namespace: "shop", service: "catalog", endpoints: 2, typical: Duration::from_millis(3) },
    Profile { namespace: "shop", service: "checkout", endpoints: 1, typical: Duration::from_millis(18) },
];

/// What one Service has done, shared by its endpoints.
#[derive(Debug, Default)]
pub(super) struct Conduct {
    pub(super) answered: AtomicU64,
    /// Share of requests to fail, in parts per million.
    failing_ppm: AtomicU32,
    turn: AtomicU64,
}

impl Conduct {
    pub(super) fn fail(&self, share: f64) {
        self.failing_ppm.store((share.clamp(0.0, 1.0) * 1e6) as u32, Ordering::Relaxed);
    }

    /// A number below one million that differs from call to call and needs no seed.
    fn draw(&self) -> u32 {
        let mut x = self.turn.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        x ^= x >> 29;
        x = x.wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x ^= x >> 32;
        (x % 1_000_000) as u32
    }
}

pub(super) struct Backends {
    pub(super) endpoints: BTreeMap<&'static str, Vec<SocketAddr>>,
    conduct: BTreeMap<&'static str, Arc<Conduct>>,
    // Dropping the set closes every server.
    _servers: JoinSet<()>,
}

impl Backends {
    pub(super) async fn start() -> Result<Self> {
        let mut servers = JoinSet::new();
        let mut endpoints: BTreeMap<&'static str, Vec<SocketAddr>> = BTreeMap::new();
        let mut conduct = BTreeMap::new();
        for profile in PROFILES {
            let shared = Arc::new(Conduct::default());
            conduct.insert(profile.service, shared.clone());
            for index in 0..profile.endpoints {
                let listener = TcpListener::bind(("127.0.0.1", 0))
                    .await
                    .wrap_err("no free port on 127.0.0.1 for a demo service")?;
                endpoints.entry(profile.service).or_default().push(listener.local_addr()?);
                servers.spawn(serve(listener, profile, index, shared.clone()));
            }
        }
        Ok(Self { endpoints, conduct, _servers: servers })
    }

    pub(super) fn conduct(&self, service: &str) -> Option<Arc<Conduct>> {
        self.conduct.get(service).cloned()
    }

    pub(super) fn answered(&self, service: &str) -> u64 {
        self.conduct.get(service).map_or(0, |conduct| conduct.answered.load(Ordering::Relaxed))
    }
}

async fn serve(listener: TcpListener, profile: Profile, index: usize, conduct: Arc<Conduct>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors, most likely: let the others finish first.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        while connections.try_join_next().is_some() {}
        let _ = stream.set_nodelay(true);
        let conduct = conduct.clone();
        connections.spawn(async move {
            let service = service_fn(move |request| answer(request, profile, index, conduct.clone()));
            let _ = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    profile: Profile,
    index: usize,
    conduct: Arc<Conduct>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let failing = conduct.draw() < conduct.failing_ppm.load(Ordering::Relaxed);
    let status = if failing { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK };
    // A failing version fails its health check outright once half of its answers are errors.
    if request.uri().path() == "/healthz" {
        let ill = conduct.failing_ppm.load(Ordering::Relaxed) >= 500_000;
        return Ok(respond(if ill { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK }, "{}\n".into()));
    }
    // Half of the requests near the typical time, a tail of one in fifty at three times it.
    let draw = conduct.draw();
    let share = if draw.is_multiple_of(50) { 3.0 } else { 0.6 + f64::from(draw) / 1_250_000.0 };
    tokio::time::sleep(profile.typical.mul_f64(share)).await;
    conduct.answered.fetch_add(1, Ordering::Relaxed);
    let body = format!(
        "{{\"service\":\"{}\",\"pod\":\"{}-{index}\",\"path\":\"{}\",\"ok\":{}}}\n",
        profile.service,
        profile.service,
        request.uri().path().escape_default(),
        !failing
    );
    Ok(respond(status, body))
}

fn respond(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(hyper::header::CONTENT_TYPE, hyper::header::HeaderValue::from_static("application/json"));
    response
}
