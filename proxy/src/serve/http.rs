//! HTTP on an accepted connection: from a request's head to the rule that takes it.

use std::{
    cell::OnceCell,
    convert::Infallible,
    net::SocketAddr,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header, request::Parts};
use http_body::Body;
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;

use super::{
    accesslog::Entry,
    answer,
    body::ResponseBody,
    drain::{Closing, Drain, Graceful, Opaque},
    proxy::{self, Taken},
    proxy_protocol::Ends,
    record::Record,
    request,
    stream::Io,
    tls,
    upstream::{CONNECTION_WINDOW, Local, SEND_BUFFER, STREAM_WINDOW},
    worker::Shared,
};
use crate::{
    metrics::Series,
    table::{Bind, Cors, Found, RequestHead, Rule, route::PathMatcher},
};

/// Most bytes of a request's head.
const HEAD_MOST: usize = 64 * 1024;
const STREAMS_MOST: u32 = 256;

/// What all requests of a connection share.
pub(super) struct Connection {
    /// Of the moment of accepting: serves what comes after its socket was removed.
    pub bind: Arc<Bind>,
    /// Upstream connections that begin with a PROXY header are this connection's as long as it is.
    pub ends: Rc<Ends>,
    pub peer: HeaderValue,
    pub tls: bool,
    /// What the client asked for when it opened TLS, in lower case.
    server_name: OnceCell<Box<str>>,
    pub drain: Rc<Drain>,
    pub shared: Rc<Shared>,
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
        let ends = Rc::new(Ends { client: peer, local: bind.address });
        let peer = HeaderValue::try_from(peer.ip().to_canonical().to_string())
            .unwrap_or_else(|_| HeaderValue::from_static("unknown"));
        let server_name = OnceCell::new();
        Rc::new(Self { bind, ends, peer, tls, server_name, drain, shared, _open: Box::new(open) })
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
        Some(false) => serve_h1(Io::new(stream), connection).await,
        None => {}
    }
}

pub(super) async fn serve_tls(stream: tls::Stream, connection: Rc<Connection>) {
    if let Some(name) = stream.get_ref().1.server_name() {
        // Nobody set it before: a connection opens TLS once.
        let _ = connection.server_name.set(name.to_ascii_lowercase().into());
    }
    if tls::is_h2(&stream) {
        serve_h2(TokioIo::new(stream), connection).await;
    } else {
        serve_h1(Io::new(stream), connection).await;
    }
}

async fn serve_h1<I>(io: I, connection: Rc<Connection>)
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let (drain, refused) = (Rc::clone(&connection.drain), Rc::clone(&connection));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(connection.shared.options.header_timeout)
        .max_buf_size(HEAD_MOST)
        .serve_connection(io, service_fn(move |request| handle(Rc::clone(&connection), request)))
        .with_upgrades();
    drain.run(Watched { served: Box::pin(served), connection: refused }).await;
}

/// Notices the requests that end a connection because they are none: they are answered before
/// anybody here sees them.
struct Watched<C> {
    served: Pin<Box<C>>,
    connection: Rc<Connection>,
}

impl<C: Closing + Future<Output = hyper::Result<()>>> Graceful for Watched<C> {
    fn close_when_idle(&mut self) {
        self.served.as_mut().graceful();
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.served.as_mut().poll(cx).map(|ended| match ended {
            Err(error) if error.is_parse() && !error.is_parse_version_h2() => {
                let (shared, series) =
                    (Rc::clone(&self.connection.shared), Arc::clone(&self.connection.bind.unmatched));
                let mut record = Record::begin(shared, series, Instant::now(), None, false);
                record.code = if error.is_parse_too_large() { 431 } else { 400 };
            }
            // How a connection failed says nothing else that its requests did not record.
            Ok(()) | Err(_) => {}
        })
    }
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

/// Whose answer a request gets.
enum Routed {
    Rule { rule: Arc<Rule>, matched: usize },
    Nowhere { series: Arc<Series>, status: StatusCode, text: &'static str },
}

impl Connection {
    fn find(&self, parts: &Parts) -> Routed {
        let refuse = |status, text| Routed::Nowhere { series: Arc::clone(&self.bind.unmatched), status, text };
        if parts.method == Method::CONNECT {
            return refuse(StatusCode::METHOD_NOT_ALLOWED, "CONNECT is not served here\n");
        }
        match request::authority(parts) {
            Ok(authority) => self.route(&authority.host(), parts),
            Err(why) => {
                tracing::debug!(why, "bad request");
                refuse(StatusCode::BAD_REQUEST, "the request does not name a valid host\n")
            }
        }
    }

    /// Everything that needs the table, without waiting.
    fn route(&self, host: &str, parts: &Parts) -> Routed {
        self.shared.with_live(|live| {
            let bind = live.bind(self.bind.address).unwrap_or(&self.bind);
            if let Some(misdirected) = self.misdirected(bind, host) {
                return misdirected;
            }
            let head = RequestHead {
                host,
                method: &parts.method,
                path: parts.uri.path(),
                query: parts.uri.query(),
                headers: &parts.headers,
            };
            let (series, text) = match bind.find(&head) {
                Found::Rule { found, .. } => {
                    let matched = match &found.path {
                        PathMatcher::Prefix(prefix) => prefix.len(),
                        PathMatcher::Exact(exact) => exact.len(),
                        PathMatcher::Regex(_) => 0,
                    };
                    return Routed::Rule { rule: Arc::clone(&found.rule), matched };
                }
                Found::NoListener(bind) => (&bind.unmatched, "no listener takes this host\n"),
                Found::NoRule(listener) => (&listener.unmatched, "no route takes this request\n"),
            };
            Routed::Nowhere { series: Arc::clone(series), status: StatusCode::NOT_FOUND, text }
        })
    }

    /// The listener that the server name chose has the connection to itself: requests for hosts
    /// of another have come to the wrong place (RFC 9110, 15.5.20).
    fn misdirected(&self, bind: &Bind, host: &str) -> Option<Routed> {
        let name = self.server_name.get().filter(|name| name.as_ref() != host)?;
        let chosen = bind.listeners.find(name).next()?;
        if bind.listeners.find(host).next().is_some_and(|wanted| Arc::ptr_eq(wanted, chosen)) {
            return None;
        }
        Some(Routed::Nowhere {
            series: Arc::clone(&chosen.unmatched),
            status: StatusCode::MISDIRECTED_REQUEST,
            text: "this connection was opened for another host\n",
        })
    }

    pub(super) fn begin(&self, series: &Arc<Series>, started: Instant, parts: &Parts) -> Record {
        let log = self.shared.log.as_ref().map(|_| {
            let host = request::authority(parts).map(|authority| authority.host().into_owned());
            Entry::new(parts, &host.unwrap_or_default())
        });
        Record::begin(Rc::clone(&self.shared), Arc::clone(series), started, log, answer::is_grpc(parts))
    }
}

async fn handle(connection: Rc<Connection>, request: Request<Incoming>) -> Result<Response<ResponseBody>, Infallible> {
    let started = Instant::now();
    let (parts, body) = request.into_parts();
    let version = parts.version;
    let mut response = match connection.find(&parts) {
        Routed::Nowhere { series, status, text } => {
            answer::text(connection.begin(&series, started, &parts), status, text)
        }
        Routed::Rule { rule, matched } => {
            let taken = Taken { rule: &rule, matched, started };
            match &rule.cors {
                None => proxy::take(&connection, taken, parts, body).await,
                Some(cors) => Box::pin(across_origins(&connection, cors, taken, parts, body)).await,
            }
        }
    };
    // The client should not use this connection again.
    if version < Version::HTTP_2 && connection.drain.ending() {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}

/// Of a rule that says which origins may read its answers.
async fn across_origins(
    connection: &Rc<Connection>,
    cors: &Cors,
    taken: Taken<'_>,
    parts: Parts,
    body: Incoming,
) -> Response<ResponseBody> {
    let Some(origin) = parts.headers.get(header::ORIGIN).cloned() else {
        return proxy::take(connection, taken, parts, body).await;
    };
    if answer::is_preflight(&parts) {
        let record = connection.begin(&taken.rule.series, taken.started, &parts);
        return answer::preflight(record, cors, &origin, &parts.headers);
    }
    let mut response = proxy::take(connection, taken, parts, body).await;
    answer::share(response.headers_mut(), cors, &origin);
    response
}
