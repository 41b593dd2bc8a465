//! The listener: connections in, and an orderly end.

mod connections;
mod stalling;

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body_util::BodyExt;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use self::connections::{Busy, Connections};
use self::stalling::Stalling;
use super::LocalError;
use super::front::Front;
use super::limits::{HEADERS, Limits};
use super::rest::Body;

/// How long requests may take to end after the server was told to stop.
const GRACE: Duration = Duration::from_secs(5);

pub(super) async fn bind(address: SocketAddr) -> Result<TcpListener, LocalError> {
    TcpListener::bind(address).await.map_err(|source| match source.kind() {
        std::io::ErrorKind::AddrInUse => LocalError::InUse { address },
        _ => LocalError::Bind { address, source },
    })
}

/// Serves until the server is told to stop and the requests have ended.
pub(super) async fn serve(listener: TcpListener, tls: Arc<rustls::ServerConfig>, front: Arc<Front>, limits: Limits) {
    let acceptor = TlsAcceptor::from(tls);
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(limits.headers).max_buf_size(HEADERS);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(limits.headers)
        .max_concurrent_streams(250)
        .max_header_list_size(u32::try_from(HEADERS).unwrap_or(u32::MAX));
    let builder = Arc::new(builder);
    let graceful = GracefulShutdown::new();
    let open = Connections::new(limits.connections);
    let stop = front.rest.stop.clone();
    let mut tasks = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
            Some(_) = tasks.join_next() => continue,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, most likely: an idle connection makes room.
                tracing::warn!(%error, "the local API cannot accept a connection");
                open.evict();
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let entered = tokio::select! {
            () = stop.cancelled() => break,
            entered = open.enter() => entered,
        };
        let Some(connection) = entered else { continue };
        let _ = stream.set_nodelay(true);
        let (acceptor, builder, front, watcher) =
            (acceptor.clone(), builder.clone(), front.clone(), graceful.watcher());
        tasks.spawn(async move {
            let evicted = connection.evicted();
            let serving = async {
                let stream = Stalling::new(stream, limits.stall);
                let Ok(Ok(stream)) = tokio::time::timeout(limits.handshake, acceptor.accept(stream)).await else {
                    return;
                };
                let service = service_fn(|request| {
                    let (front, busy) = (front.clone(), connection.busy());
                    async move {
                        let response = front.answer(request, peer).await;
                        let held = response.map(|body| Held { body, _busy: busy }.boxed_unsync());
                        Ok::<Response<Body>, std::convert::Infallible>(held)
                    }
                });
                let serving = builder.serve_connection(TokioIo::new(stream), service).into_owned();
                if let Err(error) = watcher.watch(serving).await {
                    tracing::debug!(%error, "a connection to the local API broke");
                }
            };
            tokio::select! {
                () = serving => {}
                () = evicted.cancelled() => {}
            }
        });
    }
    drop(listener);
    if tokio::time::timeout(GRACE, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests to the local API did not end in time; they are cut off");
    }
    tasks.shutdown().await;
}

/// A body whose connection is not idle until it has ended.
struct Held {
    body: Body,
    _busy: Busy,
}

impl http_body::Body for Held {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}
