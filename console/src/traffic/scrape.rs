//! Where the metrics are, and fetching them.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use futures::future::join_all;
use gwproxy::contract;
use kube::Client;
use serde_json::Value;
use tokio::{sync::mpsc, time::MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::parse::{Sample, parse};
use crate::{
    cluster::{connect::Connection, read},
    model::key::Kind,
};

#[cfg(test)]
mod tests;

/// The label that every implementation puts on what it makes for a Gateway.
const GATEWAY_NAME_LABEL: &str = "gateway.networking.k8s.io/gateway-name";
/// How often discovery looks for new pods and Gateways.
const REDISCOVER: Duration = Duration::from_secs(15);
const TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Clone)]
pub enum Source {
    Url(String),
    /// Through the API server's pod proxy: nothing but the kubeconfig is needed.
    PodProxy {
        client: Client,
        namespace: String,
        pod: String,
        port: u16,
        path: String,
    },
}

impl Source {
    pub fn name(&self) -> String {
        match self {
            Self::Url(url) => url.clone(),
            Self::PodProxy { namespace, pod, port, path, .. } => format!("pod {namespace}/{pod}:{port}{path}"),
        }
    }
}

/// One fetch of one source.
#[derive(Debug, Clone)]
pub struct Scrape {
    pub at: Instant,
    pub source: String,
    pub samples: Result<Vec<Sample>, String>,
}

/// The sources there are: the given URLs if any, else those that Gateways name in the
/// annotation, else the pods that carry a Gateway's name.
pub async fn discover(connection: &Connection, urls: &[String]) -> Result<Vec<Source>, read::Failure> {
    if !urls.is_empty() {
        return Ok(urls.iter().cloned().map(Source::Url).collect());
    }
    let gateways = read::list(connection, Kind::Gateway, None, None).await?;
    let annotated: BTreeSet<String> = gateways
        .iter()
        .filter_map(|gateway| gateway.get("metadata")?.get("annotations")?.get(contract::METRICS_URL_ANNOTATION))
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    if !annotated.is_empty() {
        return Ok(annotated.into_iter().map(Source::Url).collect());
    }
    match read::list_pods(connection, GATEWAY_NAME_LABEL).await {
        Ok(pods) => Ok(pods.iter().filter_map(|pod| pod_source(connection, pod)).collect()),
        // An API without pods, or without leave to read them, has no pods to scrape.
        Err(read::Failure::NotFound(_) | read::Failure::Denied(_)) => Ok(Vec::new()),
        Err(failure) => Err(failure),
    }
}

fn pod_source(connection: &Connection, pod: &Value) -> Option<Source> {
    let text = |pointer: &str| pod.pointer(pointer).and_then(Value::as_str);
    if text("/status/phase") != Some("Running") {
        return None;
    }
    let annotated = text("/metadata/annotations/prometheus.io~1port").and_then(|port| port.parse().ok());
    let port = annotated.or_else(|| metrics_port(pod))?;
    Some(Source::PodProxy {
        client: connection.client.clone(),
        namespace: text("/metadata/namespace")?.to_owned(),
        pod: text("/metadata/name")?.to_owned(),
        port,
        path: text("/metadata/annotations/prometheus.io~1path").unwrap_or(contract::admin::METRICS).to_owned(),
    })
}

/// The container port whose name says that metrics are there.
fn metrics_port(pod: &Value) -> Option<u16> {
    let containers = pod.pointer("/spec/containers")?.as_array()?;
    let ports = containers.iter().filter_map(|container| container.get("ports")?.as_array()).flatten();
    ports
        .filter(|port| {
            port.get("name").and_then(Value::as_str).is_some_and(|name| name.contains("metrics") || name == "admin")
        })
        .find_map(|port| u16::try_from(port.get("containerPort")?.as_u64()?).ok())
}

/// Scrapes these sources until cancelled or until nobody listens.
pub fn spawn(sources: Vec<Source>, interval: Duration, cancel: CancellationToken) -> mpsc::Receiver<Scrape> {
    let (sender, receiver) = mpsc::channel(256);
    tokio::spawn(run(Plan::Fixed(sources), interval, sender, cancel));
    receiver
}

/// Scrapes whatever [`discover`] finds, and looks again now and then.
pub fn follow(
    connection: &Connection,
    urls: Vec<String>,
    interval: Duration,
    cancel: CancellationToken,
) -> mpsc::Receiver<Scrape> {
    let (sender, receiver) = mpsc::channel(256);
    tokio::spawn(run(Plan::Discovered(connection.clone(), urls), interval, sender, cancel));
    receiver
}

enum Plan {
    Fixed(Vec<Source>),
    Discovered(Connection, Vec<String>),
}

async fn run(plan: Plan, interval: Duration, sender: mpsc::Sender<Scrape>, cancel: CancellationToken) {
    let http = match reqwest::Client::builder().timeout(TIMEOUT).build() {
        Ok(http) => http,
        Err(error) => {
            tracing::error!(%error, "cannot make an HTTP client for the metrics");
            return;
        }
    };
    let mut ticks = tokio::time::interval(interval.max(Duration::from_millis(100)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut sources = Vec::new();
    let mut discovered: Option<Instant> = None;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = cancel.cancelled() => return,
            () = sender.closed() => return,
        }
        match &plan {
            Plan::Fixed(fixed) if discovered.is_none() => {
                sources.clone_from(fixed);
                discovered = Some(Instant::now());
            }
            Plan::Discovered(connection, urls)
                if sources.is_empty() || discovered.is_none_or(|at| at.elapsed() > REDISCOVER) =>
            {
                match discover(connection, urls).await {
                    Ok(found) => sources = found,
                    // The known sources may well answer while the API does not.
                    Err(error) if sources.is_empty() => {
                        let samples = Err(format!("cannot look for metrics: {error}"));
                        let scrape = Scrape { at: Instant::now(), source: "discovery".to_owned(), samples };
                        if sender.send(scrape).await.is_err() {
                            return;
                        }
                    }
                    Err(error) => tracing::warn!(%error, "cannot look for metrics; keeping the known sources"),
                }
                discovered = Some(Instant::now());
            }
            _ => {}
        }
        for scrape in join_all(sources.iter().map(|source| fetch(&http, source))).await {
            if sender.send(scrape).await.is_err() {
                return;
            }
        }
    }
}

/// One fetch, within the time limit.
pub async fn fetch(http: &reqwest::Client, source: &Source) -> Scrape {
    let text = match source {
        Source::Url(url) => fetch_url(http, url).await,
        Source::PodProxy { client, namespace, pod, port, path } => {
            let url = format!("/api/v1/namespaces/{namespace}/pods/{pod}:{port}/proxy{path}");
            match http::Request::get(url).body(Vec::new()) {
                Ok(request) => match tokio::time::timeout(TIMEOUT, client.request_text(request)).await {
                    Ok(answer) => answer.map_err(|error| error.to_string()),
                    Err(_) => Err(format!("no answer within {TIMEOUT:?}")),
                },
                Err(error) => Err(error.to_string()),
            }
        }
    };
    Scrape { at: Instant::now(), source: source.name(), samples: text.map(|text| parse(&text)) }
}

async fn fetch_url(http: &reqwest::Client, url: &str) -> Result<String, String> {
    let answer = http.get(url).send().await.map_err(|error| innermost(&error))?;
    let status = answer.status();
    if !status.is_success() {
        return Err(format!("HTTP {status}"));
    }
    answer.text().await.map_err(|error| innermost(&error))
}

pub(crate) fn innermost(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
