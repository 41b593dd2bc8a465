//! The listener: connections in, and an orderly end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::LocalError;
use super::rest::Rest;

/// Connections at once; more wait to be accepted.
const CONNECTIONS: usize = 2048;
const HANDSHAKE: Duration = Duration::from_secs(10);
const HEADERS: Duration = Duration::from_secs(30);
/// How long requests may take to end after the server was told to stop.
const GRACE: Duration = Duration::from_secs(5);

pub(super) async fn bind(address: SocketAddr) -> Result<TcpListener, LocalError> {
    if !address.ip().is_loopback() {
        return Err(LocalError::NotLoopback { address });
    }
    TcpListener::bind(address).await.map_err(|source| match source.kind() {
        std::io::ErrorKind::AddrInUse => LocalError::InUse { address },
        _ => LocalError::Bind { address, source },
    })
}

/// Serves until `rest.stop` is cancelled and the requests have ended.
pub(super) async fn serve(listener: TcpListener, tls: Arc<rustls::ServerConfig>, rest: Rest) {
    let acceptor = TlsAcceptor::from(tls);
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADERS);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(HEADERS).max_concurrent_streams(1000);
    let builder = Arc::new(builder);
    let graceful = GracefulShutdown::new();
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = rest.stop.cancelled() => break,
            accepted = accept(&listener, &room) => accepted,
            Some(_) = connections.join_next() => continue,
        };
        let Some((stream, permit)) = accepted else { continue };
        let (acceptor, builder, rest, watcher) = (acceptor.clone(), builder.clone(), rest.clone(), graceful.watcher());
        connections.spawn(async move {
            let _permit = permit;
            let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await else { return };
            let service = service_fn(move |request| {
                let rest = rest.clone();
                async move { Ok::<_, std::convert::Infallible>(rest.answer(request).await) }
            });
            let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
            if let Err(error) = watcher.watch(connection).await {
                tracing::debug!(%error, "a connection to the local API broke");
            }
        });
    }
    drop(listener);
    if tokio::time::timeout(GRACE, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests to the local API did not end in time; they are cut off");
    }
    connections.shutdown().await;
}

async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> Option<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let permit = room.clone().acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => {
            let _ = stream.set_nodelay(true);
            Some((stream, permit))
        }
        Err(error) => {
            // Out of file descriptors, most likely: it passes when connections end.
            tracing::warn!(%error, "the local API cannot accept a connection");
            tokio::time::sleep(Duration::from_millis(100)).await;
            None
        }
    }
}
