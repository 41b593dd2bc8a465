//! One JSON line a request, formatted and written by a thread of its own. A writer that falls
//! behind costs lines, counted, never a request's time.

use std::{
    fs::OpenOptions,
    io::{self, BufWriter, Write},
    net::SocketAddr,
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    time::SystemTime,
};

use http::{HeaderName, HeaderValue, Method, Version, header};
use serde::Serialize;

use super::{AccessLogTarget, request};
use crate::metrics::{Registry, Sample, Series};

/// Lines that may wait for the writer.
const WAITING: usize = 16 * 1024;

#[derive(Clone)]
pub(super) struct Log {
    lines: SyncSender<(Arc<Series>, Box<Entry>)>,
    registry: Arc<Registry>,
}

/// What the worker notes; cheap to make, formatted elsewhere.
pub(super) struct Entry {
    pub at: SystemTime,
    pub method: Method,
    pub host: Box<str>,
    pub path: http::uri::Uri,
    pub version: Version,
    pub user_agent: Option<HeaderValue>,
    pub forwarded_for: Option<HeaderValue>,
    pub request_id: Option<HeaderValue>,
    pub endpoint: Option<SocketAddr>,
    pub failure: Option<&'static str>,
    pub sample: Sample,
}

impl Entry {
    pub(super) fn new(parts: &http::request::Parts, host: &str) -> Box<Self> {
        let header = |name: &HeaderName| parts.headers.get(name).cloned();
        Box::new(Self {
            at: SystemTime::now(),
            method: parts.method.clone(),
            host: host.into(),
            path: parts.uri.clone(),
            version: parts.version,
            user_agent: header(&header::USER_AGENT),
            forwarded_for: header(&request::X_FORWARDED_FOR),
            request_id: header(&request::X_REQUEST_ID),
            endpoint: None,
            failure: None,
            sample: Sample { code: 0, duration: Default::default(), request_bytes: 0, response_bytes: 0 },
        })
    }
}

impl Log {
    pub(super) fn push(&self, series: &Arc<Series>, entry: Box<Entry>) {
        if self.lines.try_send((Arc::clone(series), entry)).is_err() {
            self.registry.access_log_dropped();
        }
    }
}

/// The writer ends with the last worker.
pub(super) fn start(target: &AccessLogTarget, registry: &Arc<Registry>) -> io::Result<Log> {
    let out: Box<dyn Write + Send> = match target {
        AccessLogTarget::Stdout => Box::new(io::stdout()),
        AccessLogTarget::File(path) => Box::new(OpenOptions::new().create(true).append(true).open(path)?),
    };
    let (lines, waiting) = sync_channel(WAITING);
    let counted = Arc::clone(registry);
    std::thread::Builder::new().name("gwproxy-log".into()).spawn(move || write(&waiting, out, &counted))?;
    Ok(Log { lines, registry: Arc::clone(registry) })
}

fn write(waiting: &Receiver<(Arc<Series>, Box<Entry>)>, out: Box<dyn Write + Send>, registry: &Registry) {
    let mut out = BufWriter::with_capacity(64 * 1024, out);
    let mut failing = false;
    while let Ok(first) = waiting.recv() {
        let mut next = Some(first);
        let mut written = Ok(());
        while let Some((series, entry)) = next {
            let one = line(&mut out, &series, &entry);
            if one.is_err() {
                registry.access_log_dropped();
            }
            written = written.and(one);
            next = waiting.try_recv().ok();
        }
        // Flushed whenever nothing waits, so that a quiet log is up to date.
        let result = written.and_then(|()| out.flush());
        if let (Err(error), false) = (&result, failing) {
            tracing::warn!(%error, "cannot write the access log; lines are dropped and counted until it works again");
        }
        failing = result.is_err();
    }
}

#[derive(Serialize)]
struct Line<'a> {
    ts: String,
    gateway: String,
    listener: &'a str,
    route: String,
    rule: &'a str,
    backend: String,
    endpoint: Option<SocketAddr>,
    method: &'a str,
    host: &'a str,
    path: &'a str,
    protocol: &'static str,
    status: u16,
    duration_ms: f64,
    request_bytes: u64,
    response_bytes: u64,
    user_agent: Option<&'a str>,
    forwarded_for: Option<&'a str>,
    request_id: Option<&'a str>,
    failure: Option<&'static str>,
}

fn line(out: &mut impl Write, series: &Series, entry: &Entry) -> io::Result<()> {
    let key = &series.key;
    let named = |namespace: &str, name: &str| match name {
        "" => String::new(),
        name => format!("{namespace}/{name}"),
    };
    let text = |value: &'_ Option<HeaderValue>| value.as_ref().and_then(|value| value.to_str().ok().map(str::to_owned));
    let at = jiff::Timestamp::try_from(entry.at).unwrap_or_default();
    let (user_agent, forwarded_for, request_id) =
        (text(&entry.user_agent), text(&entry.forwarded_for), text(&entry.request_id));
    let line = Line {
        ts: format!("{at:.3}"),
        gateway: named(&key.gateway_namespace, &key.gateway),
        listener: &key.listener,
        route: named(&key.route_namespace, &key.route),
        rule: &key.rule,
        backend: match named(&key.backend_namespace, &key.backend) {
            name if name.is_empty() => name,
            name => format!("{name}:{}", key.backend_port),
        },
        endpoint: entry.endpoint,
        method: entry.method.as_str(),
        host: &entry.host,
        path: entry.path.path_and_query().map_or("", |path| path.as_str()),
        protocol: match entry.version {
            Version::HTTP_2 => "HTTP/2",
            Version::HTTP_10 => "HTTP/1.0",
            _ => "HTTP/1.1",
        },
        status: entry.sample.code,
        duration_ms: entry.sample.duration.as_micros() as f64 / 1000.0,
        request_bytes: entry.sample.request_bytes,
        response_bytes: entry.sample.response_bytes,
        user_agent: user_agent.as_deref(),
        forwarded_for: forwarded_for.as_deref(),
        request_id: request_id.as_deref(),
        failure: entry.failure,
    };
    serde_json::to_writer(&mut *out, &line)?;
    out.write_all(b"\n")
}
