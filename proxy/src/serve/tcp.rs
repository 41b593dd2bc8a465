//! Connections whose bytes are passed on: TCP, TLS by server name, TLS that was terminated.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf, copy_bidirectional_with_sizes},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

use super::{
    dial,
    hello::Rewound,
    proxy_protocol::{self, Ends},
    tls,
    worker::Shared,
};
use crate::{
    metrics::{Failure, Series},
    table::{Endpoints, StreamRule, Target},
};

/// Bytes on their way in each direction of a connection: all that a slow reader holds up.
const BUFFER: usize = 16 * 1024;
/// Endpoints that are tried for one connection.
const ATTEMPTS: usize = 4;
/// After this long without a byte the kernel asks whether the other side is still there.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// One side, whatever is around its socket.
pub(super) trait Side: AsyncRead + AsyncWrite + Unpin {
    fn socket(&self) -> &TcpStream;
}

impl Side for TlsStream<TcpStream> {
    fn socket(&self) -> &TcpStream {
        self.get_ref().0
    }
}

impl Side for TcpStream {
    fn socket(&self) -> &TcpStream {
        self
    }
}

impl Side for Rewound {
    fn socket(&self) -> &TcpStream {
        self.stream()
    }
}

impl Side for tls::Stream {
    fn socket(&self) -> &TcpStream {
        self.get_ref().0.stream()
    }
}

/// Ends a connection so that the other side sees it was no regular end.
pub(super) fn reset(stream: &TcpStream) {
    // Where the option is refused, the connection just ends.
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

pub(super) fn keep_alive(stream: &TcpStream) {
    // Without it the connection of a client that vanished stays until the other side ends it.
    let _ = SockRef::from(stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE));
}

/// Counts one connection of a series from here to its end.
struct Counted {
    series: Arc<Series>,
    worker: usize,
}

impl Counted {
    fn new(series: &Arc<Series>, worker: usize) -> Self {
        series.opened(worker);
        Self { series: Arc::clone(series), worker }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.series.closed(self.worker);
    }
}

/// Passes bytes on in both directions until both have ended, or one broke. Each direction ends
/// by itself; a side that reads slowly slows the other down.
pub(super) async fn forward(mut client: impl Side, ends: Ends, rule: &StreamRule, shared: &Shared) {
    keep_alive(client.socket());
    let Some(backend) = rule.backends.pick(shared.index) else {
        drop(Counted::new(&rule.unserved, shared.index));
        return reset(client.socket());
    };
    let counted = Counted::new(&backend.series, shared.index);
    let Target::Endpoints(endpoints) = &backend.target else {
        backend.series.failed(shared.index, Failure::Connect);
        return reset(client.socket());
    };
    let Some(mut upstream) = connect(endpoints, &backend.series, shared).await else {
        return reset(client.socket());
    };
    keep_alive(&upstream);
    if let Some(version) = endpoints.proxy
        && upstream.write_all(&proxy_protocol::header(version, ends)).await.is_err()
    {
        backend.series.failed(shared.index, Failure::Reset);
        return reset(client.socket());
    }
    let Some(tls) = &backend.tls else {
        return pass(&mut client, Metered { stream: upstream, counted }).await;
    };
    match Box::pin(dial::secure(tls, upstream, shared.options.connect_timeout)).await {
        Ok(upstream) => pass(&mut client, Metered { stream: upstream, counted }).await,
        Err(failure) => {
            backend.series.failed(shared.index, failure);
            reset(client.socket());
        }
    }
}

async fn pass<S: Side>(client: &mut impl Side, mut upstream: Metered<S>) {
    if copy_bidirectional_with_sizes(client, &mut upstream, BUFFER, BUFFER).await.is_err() {
        reset(client.socket());
        reset(upstream.stream.socket());
    }
}

/// A connection to one of the endpoints; another one is tried where one does not answer.
async fn connect(endpoints: &Endpoints, series: &Series, shared: &Shared) -> Option<TcpStream> {
    let mut refused: Vec<SocketAddr> = Vec::new();
    let mut next = endpoints.addresses.pick(shared.index).copied();
    for _ in 0..ATTEMPTS {
        let address = next?;
        match shared.pool.connect(address).await {
            Ok(stream) => {
                series.connected(shared.index);
                return Some(stream);
            }
            Err(failure) => series.failed(shared.index, failure),
        }
        refused.push(address);
        // Not by another pick: the turns of others would go to those that refused.
        next = endpoints.addresses.entries().find(|address| !refused.contains(address)).copied();
    }
    None
}

/// The endpoint's side: what passes is counted as it passes, since a connection may last for days.
struct Metered<S> {
    stream: S,
    counted: Counted,
}

impl<S: Side> AsyncRead for Metered<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, into);
        self.counted.series.sent(self.counted.worker, (into.filled().len() - before) as u64);
        polled
    }
}

impl<S: Side> AsyncWrite for Metered<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        if let Poll::Ready(Ok(written)) = &polled {
            self.counted.series.received(self.counted.worker, *written as u64);
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A connection that no rule takes.
pub(super) fn refuse(stream: &TcpStream, unmatched: &Arc<Series>, shared: &Rc<Shared>) {
    drop(Counted::new(unmatched, shared.index));
    reset(stream);
}
