//! HTTP on an accepted connection: from a request's head to the response that is sent.

use std::{cell::Cell, convert::Infallible, net::SocketAddr, pin::Pin, rc::Rc, sync::Arc, time::Instant};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header, request::Parts};
use http_body::Body;
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
    upgrade::OnUpgrade,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpStream, time::Sleep};

use super::{
    accesslog::Entry,
    body::{RequestBody, ResponseBody},
    drain::{Closing, Drain, Opaque},
    filter, forward, mirror,
    record::Record,
    request, tls,
    upstream::{CONNECTION_WINDOW, Local, SEND_BUFFER, STREAM_WINDOW},
    worker::Shared,
};
use crate::{
    metrics::{Failure, Series},
    table::{
        Backend, Bind, Endpoints, Found, Outcome, RequestHead, Rule, Target, UpstreamProtocol, route::PathMatcher,
    },
};

/// Most bytes of a request's head.
const HEAD_MOST: usize = 64 * 1024;
const STREAMS_MOST: u32 = 256;

/// What all requests of a connection share.
pub(super) struct Connection {
    /// Of the moment of accepting: serves what comes after its socket was removed.
    bind: Arc<Bind>,
    peer: HeaderValue,
    tls: bool,
    drain: Rc<Drain>,
    shared: Rc<Shared>,
    _open: Box<dyn std::any::Any>,
}

impl Connection {
    /// `open` lives as long as the connection and every tunnel that came out of it.
    pub(super) fn new(
        bind: Arc<Bind>,
        peer: SocketAddr,
        tls: bool,
        drain: Rc<Drain>,
        shared: Rc<Shared>,
        open: impl std::any::Any,
    ) -> Rc<Self> {
        let peer = HeaderValue::try_from(peer.ip().to_canonical().to_string())
            .unwrap_or_else(|_| HeaderValue::from_static("unknown"));
        Rc::new(Self { bind, peer, tls, drain, shared, _open: Box::new(open) })
    }
}

impl<I, S, B> Closing for http1::UpgradeableConnection<I, S>
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
    S: hyper::service::HttpService<Incoming, ResBody = B>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn graceful(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<I, S, B> Closing for http2::Connection<I, S, Local>
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
    S: hyper::service::HttpService<Incoming, ResBody = B>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    S::Future: 'static,
    B: Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn graceful(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// HTTP/1.1, or HTTP/2 by prior knowledge: its preface begins with a method nobody else uses.
pub(super) async fn serve_plain(stream: TcpStream, connection: Rc<Connection>) {
    let mut first = [0; 4];
    let limit = connection.shared.options.header_timeout;
    let drain = Rc::clone(&connection.drain);
    let look = async {
        loop {
            match stream.peek(&mut first).await {
                Ok(0) | Err(_) => return None,
                Ok(read) if read < 4 && b"PRI "[..read] == first[..read] => {
                    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
                }
                Ok(read) => return Some(first[..read] == *b"PRI "),
            }
        }
    };
    let mut h2 = None;
    drain.run(Opaque(Box::pin(async { h2 = tokio::time::timeout(limit, look).await.ok().flatten() }))).await;
    match h2 {
        Some(true) => serve_h2(TokioIo::new(stream), connection).await,
        Some(false) => serve_h1(TokioIo::new(stream), connection).await,
        None => {}
    }
}

pub(super) async fn serve_tls(stream: tls::Stream, connection: Rc<Connection>) {
    if tls::is_h2(&stream) {
        serve_h2(TokioIo::new(stream), connection).await;
    } else {
        serve_h1(TokioIo::new(stream), connection).await;
    }
}

async fn serve_h1<I>(io: I, connection: Rc<Connection>)
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let drain = Rc::clone(&connection.drain);
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(connection.shared.options.header_timeout)
        .max_buf_size(HEAD_MOST)
        .serve_connection(io, service_fn(move |request| handle(Rc::clone(&connection), request)))
        .with_upgrades();
    drain.run(Box::pin(served)).await;
}

async fn serve_h2<I>(io: I, connection: Rc<Connection>)
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin + 'static,
{
    let drain = Rc::clone(&connection.drain);
    let served = http2::Builder::new(Local)
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(STREAMS_MOST)
        .max_header_list_size(HEAD_MOST as u32)
        .max_send_buf_size(SEND_BUFFER)
        .keep_alive_interval(std::time::Duration::from_secs(30))
        .serve_connection(io, service_fn(move |request| handle(Rc::clone(&connection), request)));
    drain.run(Box::pin(served)).await;
}

enum Routed {
    Rule { rule: Arc<Rule>, matched: usize },
    Nowhere { series: Arc<Series>, status: StatusCode, text: &'static str },
}

impl Connection {
    /// Everything that needs the table, without waiting.
    fn route(&self, host: &str, parts: &Parts) -> Routed {
        self.shared.with_live(|live| {
            let bind = live.bind(self.bind.address).unwrap_or(&self.bind);
            let head = RequestHead {
                host,
                method: &parts.method,
                path: parts.uri.path(),
                query: parts.uri.query(),
                headers: &parts.headers,
            };
            match bind.find(&head) {
                Found::NoListener(bind) => Routed::Nowhere {
                    series: Arc::clone(&bind.unmatched),
                    status: StatusCode::NOT_FOUND,
                    text: "no listener takes this host\n",
                },
                Found::NoRule(listener) => Routed::Nowhere {
                    series: Arc::clone(&listener.unmatched),
                    status: StatusCode::NOT_FOUND,
                    text: "no route takes this request\n",
                },
                Found::Rule { listener, found } => match &found.rule.outcome {
                    Outcome::Forward(backends) if backends.entries().next().is_none() => Routed::Nowhere {
                        series: Arc::clone(&listener.unmatched),
                        status: StatusCode::INTERNAL_SERVER_ERROR,
                        text: "every backend of this route has weight 0\n",
                    },
                    _ => Routed::Rule {
                        rule: Arc::clone(&found.rule),
                        matched: match &found.path {
                            PathMatcher::Prefix(prefix) => prefix.len(),
                            PathMatcher::Exact(exact) => exact.len(),
                            PathMatcher::Regex(_) => 0,
                        },
                    },
                },
            }
        })
    }

    fn begin(&self, series: &Arc<Series>, started: Instant, parts: &Parts, host: &str) -> Record {
        let log = self.shared.log.as_ref().map(|_| Entry::new(parts, host));
        Record::begin(Rc::clone(&self.shared), Arc::clone(series), started, log)
    }

    /// Whether the client should not use this connection again.
    fn mark(&self, response: &mut Response<ResponseBody>, version: Version) {
        if version < Version::HTTP_2 && self.drain.ending() {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
    }
}

fn text(mut record: Record, status: StatusCode, text: &'static str) -> Response<ResponseBody> {
    record.code = status.as_u16();
    let mut response = Response::new(ResponseBody::Text { text: Some(Bytes::from_static(text.as_bytes())), record });
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

async fn handle(connection: Rc<Connection>, request: Request<Incoming>) -> Result<Response<ResponseBody>, Infallible> {
    let started = Instant::now();
    let (parts, body) = request.into_parts();
    let version = parts.version;
    let refused = |status, why| text(connection.begin(&connection.bind.unmatched, started, &parts, ""), status, why);
    let mut response = if parts.method == Method::CONNECT {
        refused(StatusCode::METHOD_NOT_ALLOWED, "CONNECT is not served here\n")
    } else {
        match request::authority(&parts) {
            Err(why) => {
                tracing::debug!(why, "bad request");
                refused(StatusCode::BAD_REQUEST, "the request does not name a valid host\n")
            }
            Ok(authority) => {
                let host = authority.host();
                match connection.route(&host, &parts) {
                    Routed::Nowhere { series, status, text: why } => {
                        text(connection.begin(&series, started, &parts, &host), status, why)
                    }
                    Routed::Rule { rule, matched } => match &rule.outcome {
                        Outcome::Respond(status, why, series) => {
                            text(connection.begin(series, started, &parts, &host), *status, why)
                        }
                        Outcome::Redirect(redirect, series) => {
                            let record = connection.begin(series, started, &parts, &host);
                            let port = connection.bind.address.port();
                            let to = filter::location(redirect, connection.tls, &host, port, &parts.uri, matched);
                            let mut response = text(record, redirect.status, "");
                            if let Ok(location) = HeaderValue::try_from(to) {
                                response.headers_mut().insert(header::LOCATION, location);
                            }
                            filter::edit(response.headers_mut(), &rule.response_headers);
                            response
                        }
                        Outcome::Forward(backends) => match backends.pick() {
                            None => refused(StatusCode::INTERNAL_SERVER_ERROR, "this route has no backend\n"),
                            Some(backend) => {
                                let record = connection.begin(&backend.series, started, &parts, &host);
                                match &backend.target {
                                    Target::Fail(status, why) => text(record, *status, why),
                                    Target::Endpoints(endpoints) => {
                                        let authority = HeaderValue::try_from(authority.text).ok();
                                        drop(host);
                                        let mut parts = parts;
                                        if let Some(authority) = authority {
                                            parts.headers.insert(header::HOST, authority);
                                        }
                                        let step = Step { rule: &rule, backend, endpoints, matched, started };
                                        proxy(&connection, step, parts, body, record).await
                                    }
                                }
                            }
                        },
                    },
                }
            }
        }
    };
    connection.mark(&mut response, version);
    Ok(response)
}

/// Where a request goes on its way to an endpoint.
#[derive(Clone, Copy)]
struct Step<'a> {
    rule: &'a Rule,
    backend: &'a Backend,
    endpoints: &'a Endpoints,
    matched: usize,
    started: Instant,
}

async fn proxy(
    connection: &Rc<Connection>,
    step: Step<'_>,
    mut parts: Parts,
    incoming: Incoming,
    mut record: Record,
) -> Response<ResponseBody> {
    let Step { rule, backend, endpoints, matched, started } = step;
    let shared = &connection.shared;
    let upgrade = request::upgrade(&parts).filter(|_| endpoints.protocol == UpstreamProtocol::Http1);
    let client = upgrade.as_ref().and_then(|_| parts.extensions.remove::<OnUpgrade>());

    request::strip_hop_by_hop(&mut parts.headers);
    // The client was told to continue when its body was asked for.
    parts.headers.remove(header::EXPECT);
    request::forwarded(&mut parts.headers, &connection.peer, connection.tls);
    if !parts.headers.contains_key(&request::X_REQUEST_ID) {
        parts.headers.insert(&request::X_REQUEST_ID, shared.ids.next());
    }
    record.forwarded(&parts.headers);
    filter::edit(&mut parts.headers, &rule.request_headers);
    filter::edit(&mut parts.headers, &backend.request_headers);
    for rewrite in backend.rewrite.iter().chain(if backend.rewrite.is_none() { rule.rewrite.as_ref() } else { None }) {
        filter::rewrite(rewrite, &mut parts.uri, &mut parts.headers, matched);
    }

    let mut body = if incoming.is_end_stream() {
        RequestBody::Empty
    } else {
        let bytes = Rc::new(Cell::new(0));
        record.request_bytes = Some(Rc::clone(&bytes));
        RequestBody::Stream { incoming, bytes, copies: Vec::new() }
    };
    for mirror in rule.mirrors.iter().chain(&backend.mirrors).filter(|mirror| mirror::chosen(mirror)) {
        record.mirrored();
        let sender = mirror::start(mirror, &parts, &body, shared);
        if let (Some(sender), RequestBody::Stream { copies, .. }) = (sender, &mut body) {
            copies.push(sender);
        }
    }
    if let (Some(protocol), Some(_)) = (upgrade, &client) {
        parts.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        parts.headers.insert(header::UPGRADE, protocol);
    }

    let request = forward::addressed(Request::from_parts(parts, body), endpoints.protocol);
    let limit = match (rule.timeouts.request, rule.timeouts.backend_request) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    };
    let mut deadline = limit.map(|limit| Box::pin(tokio::time::sleep_until((started + limit).into())));
    let sent = match &mut deadline {
        None => Some(forward::send(request, endpoints, &mut record).await),
        Some(deadline) => Box::pin(before(deadline, forward::send(request, endpoints, &mut record))).await,
    };
    let (response, lease) = match sent {
        Some(Ok(answer)) => answer,
        Some(Err((status, why))) => return text(record, status, why),
        None => {
            record.failed(Failure::Timeout);
            return text(record, StatusCode::GATEWAY_TIMEOUT, "the backend did not answer in time\n");
        }
    };
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return switched(connection, response, client, record, step);
    }
    record.code = response.status().as_u16();
    let (mut head, incoming) = response.into_parts();
    head.version = Version::HTTP_11;
    request::strip_hop_by_hop(&mut head.headers);
    filter::edit(&mut head.headers, &rule.response_headers);
    filter::edit(&mut head.headers, &backend.response_headers);
    Response::from_parts(head, ResponseBody::Upstream { incoming, lease, deadline, record, whole: false })
}

async fn before<F: Future>(deadline: &mut Pin<Box<Sleep>>, work: F) -> Option<F::Output> {
    tokio::select! {
        biased;
        done = work => Some(done),
        () = deadline.as_mut() => None,
    }
}

/// The endpoint agreed to another protocol: from here on bytes are carried both ways.
fn switched(
    connection: &Rc<Connection>,
    mut response: Response<Incoming>,
    client: Option<OnUpgrade>,
    mut record: Record,
    step: Step<'_>,
) -> Response<ResponseBody> {
    let Some(client) = client else {
        record.failed(Failure::Reset);
        return text(record, StatusCode::BAD_GATEWAY, "the backend switched protocols without being asked\n");
    };
    let upstream = hyper::upgrade::on(&mut response);
    record.code = StatusCode::SWITCHING_PROTOCOLS.as_u16();
    let protocol = response.headers().get(header::UPGRADE).cloned();
    let mut answer = Response::new(ResponseBody::Tunnel);
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *answer.headers_mut() = std::mem::take(response.headers_mut());
    request::strip_hop_by_hop(answer.headers_mut());
    filter::edit(answer.headers_mut(), &step.rule.response_headers);
    filter::edit(answer.headers_mut(), &step.backend.response_headers);
    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    if let Some(protocol) = protocol {
        answer.headers_mut().insert(header::UPGRADE, protocol);
    }
    let (connection, sent) = (Rc::clone(connection), Rc::new(Cell::new(0)));
    record.request_bytes = Some(Rc::clone(&sent));
    tokio::task::spawn_local(async move {
        let drain = Rc::clone(&connection.drain);
        let carry = async {
            let Ok((client, upstream)) = tokio::try_join!(client, upstream) else {
                return record.reason("upgrade_failed");
            };
            let (mut client, mut upstream) = (TokioIo::new(client), TokioIo::new(upstream));
            // How a tunnel ends is the business of the two that talk through it.
            if let Ok((up, down)) = tokio::io::copy_bidirectional(&mut client, &mut upstream).await {
                sent.set(up);
                record.response_bytes = down;
            }
        };
        drain.run(Opaque(Box::pin(carry))).await;
        // The connection counts as open until here.
        drop(connection);
    });
    answer
}
