//! Real requests at a steady rate, with a slow wave on top as traffic has it.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use color_eyre::eyre::Result;
use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior},
};

/// Requests of one kind, per second on average.
struct Stream {
    method: reqwest::Method,
    host: &'static str,
    path: &'static str,
    rps: f64,
}

/// What became of the requests, for the story's proof.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) answered: AtomicU64,
    /// No answer at all: the gateway dropped the request.
    pub(super) lost: AtomicU64,
}

pub(super) struct Load {
    pub(super) tally: Arc<Tally>,
    _streams: JoinSet<()>,
}

impl Load {
    pub(super) fn start(gateway: SocketAddr) -> Result<Self> {
        let streams = [
            (reqwest::Method::GET, "app.example.com", "/", 220.0),
            (reqwest::Method::GET, "shop.example.com", "/products?page=2", 90.0),
            (reqwest::Method::POST, "shop.example.com", "/checkout", 20.0),
            (reqwest::Method::GET, "shop.example.com", "/basket/7", 4.0),
            (reqwest::Method::GET, "pay.example.com", "/refunds", 3.0),
        ];
        // Loopback is never behind a proxy, and a redirect is an answer to count, not to follow.
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(Duration::from_secs(10))
            .pool_max_idle_per_host(64)
            .build()?;
        let tally = Arc::new(Tally::default());
        let mut running = JoinSet::new();
        for (method, host, path, rps) in streams {
            running.spawn(run(client.clone(), gateway, Stream { method, host, path, rps }, tally.clone()));
        }
        Ok(Self { tally, _streams: running })
    }
}

async fn run(client: reqwest::Client, gateway: SocketAddr, stream: Stream, tally: Arc<Tally>) {
    const TICK: Duration = Duration::from_millis(20);
    let url = format!("http://{gateway}{}", stream.path);
    let begun = Instant::now();
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut due = 0.0;
    let mut requests = JoinSet::new();
    loop {
        ticks.tick().await;
        while requests.try_join_next().is_some() {}
        let wave = 1.0 + 0.25 * (begun.elapsed().as_secs_f64() / 9.0).sin();
        due += stream.rps * wave * TICK.as_secs_f64();
        while due >= 1.0 {
            due -= 1.0;
            // A gateway that stops answering must not grow this task without bound.
            if requests.len() >= 512 {
                break;
            }
            let request = client.request(stream.method.clone(), &url).header("host", stream.host);
            let tally = tally.clone();
            requests.spawn(async move {
                let outcome = match request.send().await {
                    Ok(response) => response.bytes().await.map(drop),
                    Err(error) => Err(error),
                };
                match outcome {
                    Ok(()) => tally.answered.fetch_add(1, Ordering::Relaxed),
                    Err(error) => {
                        tracing::warn!(%error, host = stream.host, "request lost");
                        tally.lost.fetch_add(1, Ordering::Relaxed)
                    }
                };
            });
        }
    }
}
