//! The process' own HTTP: metrics, health, and the table as it is served.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use arc_swap::ArcSwap;
use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::{
    contract::admin,
    metrics::Registry,
    table::{Bind, Endpoints, Listener, Outcome, Rule, StreamRule, Table, Target, route::PathMatcher},
    types::Key,
};

/// Ends with [`Admin::stop`] or when dropped.
#[derive(Debug)]
pub struct Admin {
    pub address: SocketAddr,
    stop: oneshot::Sender<()>,
    serving: tokio::task::JoinHandle<()>,
}

impl Admin {
    /// Answers what is being asked, then ends.
    pub async fn stop(self) {
        // Gone already when the server ended by itself.
        let _ = self.stop.send(());
        let _ = self.serving.await;
    }
}

#[derive(Clone)]
struct Shown {
    registry: Arc<Registry>,
    ready: Arc<AtomicBool>,
    table: Arc<ArcSwap<Table>>,
}

/// Serves on the caller's runtime, which is not a worker's: a scrape costs no request its time.
pub async fn start(
    listen: SocketAddr,
    registry: Arc<Registry>,
    ready: Arc<AtomicBool>,
    table: Arc<ArcSwap<Table>>,
) -> io::Result<Admin> {
    let socket = tokio::net::TcpListener::bind(listen).await?;
    let address = socket.local_addr()?;
    let router = Router::new()
        .route(admin::METRICS, get(metrics))
        .route(admin::READY, get(ready_state))
        .route(admin::LIVE, get(|| async { "ok\n" }))
        .route(admin::TABLE, get(dump))
        .with_state(Shown { registry, ready, table });
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(async move {
        let until = async {
            let _ = stopped.await;
        };
        if let Err(error) = axum::serve(socket, router).with_graceful_shutdown(until).await {
            tracing::error!(%error, "the admin server ended");
        }
    });
    Ok(Admin { address, stop, serving })
}

async fn metrics(State(shown): State<Shown>) -> impl IntoResponse {
    match tokio::task::spawn_blocking(move || shown.registry.render()).await {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn ready_state(State(shown): State<Shown>) -> impl IntoResponse {
    if shown.ready.load(Relaxed) {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready: no configuration has been applied yet\n")
    }
}

async fn dump(State(shown): State<Shown>) -> impl IntoResponse {
    let table = shown.table.load_full();
    match tokio::task::spawn_blocking(move || table_json(&table).to_string()).await {
        Ok(text) => ([(header::CONTENT_TYPE, "application/json")], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn table_json(table: &Table) -> Value {
    let binds: Vec<Value> = table.binds.iter().map(|bind| bind_json(bind)).collect();
    json!({ "generation": table.generation, "binds": binds })
}

fn bind_json(bind: &Bind) -> Value {
    let listeners: Vec<Value> =
        bind.listeners.iter().map(|(hostname, listener)| listener_json(&hostname, listener)).collect();
    json!({
        "address": bind.address,
        "protocol": format!("{:?}", bind.protocol).to_uppercase(),
        "listeners": listeners,
    })
}

fn listener_json(hostname: &str, listener: &Listener) -> Value {
    let hosts: Vec<Value> = listener
        .routes
        .iter()
        .map(|(hostname, routes)| {
            let matches: Vec<Value> = routes
                .matches()
                .iter()
                .map(|entry| {
                    let (kind, path) = match &entry.path {
                        PathMatcher::Exact(path) => ("Exact", path.as_str()),
                        PathMatcher::Prefix(path) if path.is_empty() => ("PathPrefix", "/"),
                        PathMatcher::Prefix(path) => ("PathPrefix", path.as_str()),
                        PathMatcher::Regex(path) => ("RegularExpression", path.as_str()),
                    };
                    json!({
                        "path": { "type": kind, "value": path },
                        "method": entry.method.as_ref().map(|method| method.as_str()),
                        "headers": entry.headers.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
                        "queryParams": entry.query.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
                        "rule": rule_json(&entry.rule),
                    })
                })
                .collect();
            json!({ "hostname": hostname, "matches": matches })
        })
        .collect();
    let streams: Vec<Value> = listener.streams.iter().map(|(hostname, rule)| stream_json(&hostname, rule)).collect();
    json!({
        "gateway": listener.gateway.to_string(),
        "name": listener.name,
        "hostname": hostname,
        "tls": listener.tls.as_ref().map(|tls| {
            tls.certificates.iter().map(|certificate| certificate.secret.to_string()).collect::<Vec<_>>()
        }),
        "protocol": format!("{:?}", listener.protocol).to_uppercase(),
        "hosts": hosts,
        "streams": streams,
    })
}

fn rule_json(rule: &Rule) -> Value {
    let outcome = match &rule.outcome {
        Outcome::Forward(backends) => {
            let backends = backends.weighted();
            let backends = backends.map(|(weight, one)| backend_json(&one.key, one.port, weight, &one.target));
            json!({ "backends": backends.collect::<Vec<_>>() })
        }
        Outcome::Redirect(redirect) => json!({ "redirect": redirect.status.as_u16() }),
        Outcome::Respond(status, why) => json!({ "status": status.as_u16(), "reason": why.trim_end() }),
    };
    json!({
        "route": rule.route.key.to_string(),
        "kind": rule.route.kind,
        "index": rule.route.rule,
        "name": rule.route.rule_name,
        "outcome": outcome,
    })
}

fn stream_json(hostname: &str, rule: &StreamRule) -> Value {
    let backends = rule.backends.weighted();
    let backends = backends.map(|(weight, one)| backend_json(&one.key, one.port, weight, &one.target));
    json!({
        "hostname": hostname,
        "route": rule.route.key.to_string(),
        "kind": rule.route.kind,
        "name": rule.route.rule_name,
        "backends": backends.collect::<Vec<_>>(),
    })
}

fn backend_json(key: &Key, port: u16, weight: u64, target: &Target) -> Value {
    match target {
        Target::Endpoints(endpoints) => json!({
            "service": key.to_string(), "port": port, "weight": weight, "endpoints": endpoints_json(endpoints),
        }),
        Target::Fail(status, why) => json!({
            "service": key.to_string(), "port": port, "weight": weight,
            "status": status.as_u16(), "reason": why.trim_end(),
        }),
    }
}

fn endpoints_json(endpoints: &Endpoints) -> Value {
    json!(endpoints.addresses.entries().collect::<Vec<_>>())
}
