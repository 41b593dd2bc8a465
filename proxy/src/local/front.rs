//! What every request passes: health, bounds, counting and the audit log; behind it is REST.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, RETRY_AFTER, USER_AGENT};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use serde_json::Value;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::audit::{Audit, Subject};
use super::info::Info;
use super::metrics::{Labels, Metrics};
use super::patch::Patch;
use super::rest::{Body, Peer, Rest};
use super::status::StatusError;

/// Requests at once, as a kube-apiserver's defaults have them; watches are not among them.
const READING: usize = 400;
const MUTATING: usize = 200;
/// How long a request waits for others to end before it is turned away.
const PATIENCE: Duration = Duration::from_secs(5);
const AUDIT_ID: HeaderName = HeaderName::from_static("audit-id");

pub(super) struct Front {
    pub(super) rest: Rest,
    pub(super) metrics: Arc<Metrics>,
    pub(super) audit: Option<Arc<Audit>>,
    reading: Semaphore,
    mutating: Semaphore,
}

/// Counts one more while it lives.
struct Counted<'a>(&'a AtomicI64);

impl<'a> Counted<'a> {
    fn new(gauge: &'a AtomicI64) -> Self {
        gauge.fetch_add(1, Relaxed);
        Self(gauge)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl Front {
    pub(super) fn new(rest: Rest, metrics: Arc<Metrics>, audit: Option<Arc<Audit>>) -> Self {
        let (reading, mutating) = (Semaphore::new(READING), Semaphore::new(MUTATING));
        Self { rest, metrics, audit, reading, mutating }
    }

    pub(super) async fn answer<B>(self: Arc<Self>, mut request: Request<B>, peer: SocketAddr) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: std::fmt::Display,
    {
        let started = Instant::now();
        let header = |name: HeaderName| request.headers().get(name).and_then(|value| value.to_str().ok());
        // Clients may name the event, to find it again.
        let id = header(AUDIT_ID).filter(|id| !id.is_empty() && id.len() <= 64).map(str::to_owned);
        let content_type = header(CONTENT_TYPE).unwrap_or_default();
        let apply = Patch::is_apply(content_type.split(';').next().unwrap_or_default().trim());
        let subject = Subject {
            id: id.unwrap_or_else(|| uuid::Uuid::new_v4().to_string()),
            info: Info::of(&request),
            uri: request.uri().path_and_query().map(ToString::to_string).unwrap_or_default(),
            agent: header(USER_AGENT).unwrap_or_default().to_owned(),
            source: Some(peer.ip()),
            received: jiff::Timestamp::now(),
            known: self.rest.auth.check_token(request.headers()).is_ok(),
        };
        let registry = &self.rest.resources.registry;
        let known = registry.resource(&subject.info.group, &subject.info.resource).is_some();
        let labels = Labels::of(&subject.info, known, apply);
        request.extensions_mut().insert(Peer(peer.ip()));
        let mut response = self.bounded(request, &subject).await;
        let code = response.status().as_u16();
        let watch = subject.info.verb == "watch" && code == 200;
        self.metrics.record(labels.clone(), code, (!watch).then(|| started.elapsed()));
        if let Ok(id) = HeaderValue::from_str(&subject.id) {
            response.headers_mut().insert(AUDIT_ID, id);
        }
        if watch {
            self.log(&subject, "ResponseStarted", code, None);
            self.metrics.long_running(&labels, 1);
            let (parts, body) = response.into_parts();
            let end = Watched { body, front: self, subject, labels };
            return Response::from_parts(parts, end.boxed_unsync());
        }
        let whole = http_body::Body::size_hint(response.body()).exact().is_some();
        if self.audit.is_some() && code >= 400 && whole {
            // A Status tells in the log what it told the client.
            let (parts, body) = response.into_parts();
            let bytes = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
            let status = serde_json::from_slice::<Value>(&bytes).ok().filter(|status| status["kind"] == "Status");
            self.log(&subject, "ResponseComplete", code, status.as_ref());
            return Response::from_parts(parts, Full::new(bytes).boxed_unsync());
        }
        self.log(&subject, "ResponseComplete", code, None);
        response
    }

    fn log(&self, subject: &Subject, stage: &str, code: u16, status: Option<&Value>) {
        if let Some(audit) = &self.audit {
            audit.log(subject, stage, code, status);
        }
    }

    async fn bounded<B>(&self, request: Request<B>, subject: &Subject) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: std::fmt::Display,
    {
        if let Some(response) = self.health(&request, subject.known) {
            return response;
        }
        // Strangers are answered at once and take nobody's place. What others answer may take long.
        let long = subject.info.verb == "watch" || ["proxy", "log"].contains(&subject.info.subresource.as_str());
        if !subject.known || long {
            return self.rest.answer(request).await;
        }
        if subject.info.path == "/metrics" && subject.info.verb == "get" {
            return match self.rest.auth.check_host(&request) {
                Ok(()) => {
                    let kind = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores";
                    plain(200, kind, self.metrics.render(&self.rest.resources.store))
                }
                Err(error) => status(&error),
            };
        }
        let (room, gauge) = match subject.info.is_mutating() {
            true => (&self.mutating, &self.metrics.mutating),
            false => (&self.reading, &self.metrics.reading),
        };
        let permit: Option<SemaphorePermit<'_>> =
            tokio::time::timeout(PATIENCE, room.acquire()).await.ok().and_then(Result::ok);
        if permit.is_none() {
            self.metrics.turned_away.fetch_add(1, Relaxed);
            let mut response = status(&StatusError::too_many_requests());
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
            return response;
        }
        let _counted = Counted::new(gauge);
        self.rest.answer(request).await
    }

    /// `/livez`, `/readyz` and `/healthz`, whole or one check of them.
    fn health<B>(&self, request: &Request<B>, known: bool) -> Option<Response<Body>> {
        let path = request.uri().path().trim_end_matches('/');
        let mut parts = path.trim_start_matches('/').splitn(2, '/');
        let endpoint = parts.next().filter(|name| ["livez", "readyz", "healthz"].contains(name))?;
        let store = &self.rest.resources.store;
        let mut checks = vec![("ping", true), ("log", true)];
        if endpoint == "readyz" {
            checks.push(("storage", store.can_write()));
            checks.push(("shutdown", !self.rest.stop.is_cancelled()));
        }
        let text = "text/plain; charset=utf-8";
        if let Some(name) = parts.next() {
            // Single checks are for whoever has the token.
            if !known {
                return Some(status(&StatusError::unauthorized()));
            }
            return Some(match checks.iter().find(|(check, _)| *check == name) {
                Some((_, true)) => plain(200, text, "ok"),
                Some((_, false)) => plain(500, text, "internal server error: reason withheld\n"),
                None => plain(404, text, "404 page not found\n"),
            });
        }
        let query = request.uri().query().unwrap_or_default();
        let excluded: Vec<&str> = query.split('&').filter_map(|pair| pair.strip_prefix("exclude=")).collect();
        let verbose = query.split('&').any(|pair| pair == "verbose" || pair.starts_with("verbose="));
        let (mut lines, mut sound) = (String::new(), true);
        for (name, passes) in checks {
            let line = match passes {
                _ if excluded.contains(&name) => format!("[+]{name} excluded: ok\n"),
                true => format!("[+]{name} ok\n"),
                false => {
                    sound = false;
                    format!("[-]{name} failed: reason withheld\n")
                }
            };
            lines.push_str(&line);
        }
        Some(match (sound, verbose) {
            (false, _) => plain(500, text, format!("{lines}{endpoint} check failed\n")),
            (true, true) => plain(200, text, format!("{lines}{endpoint} check passed\n")),
            (true, false) => plain(200, text, "ok"),
        })
    }
}

fn plain(code: u16, kind: &'static str, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Full::new(body.into()).boxed_unsync());
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}

fn status(error: &StatusError) -> Response<Body> {
    plain(error.code(), "application/json", error.to_value().to_string())
}

/// The body of a watch: tells when it has ended, however that comes.
struct Watched {
    body: Body,
    front: Arc<Front>,
    subject: Subject,
    labels: Labels,
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.front.metrics.long_running(&self.labels, -1);
        self.front.log(&self.subject, "ResponseComplete", 200, None);
    }
}
