//! Connections to endpoints, kept by the worker that opened them.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    future::Future,
    io,
    net::SocketAddr,
    rc::Rc,
    time::Duration,
};

use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;

use super::{ServeOptions, body::RequestBody, worker::Shared};
use crate::metrics::Failure;

/// Idle connections kept for one endpoint, by one worker.
const IDLE_MOST: usize = 1024;
pub(super) const STREAM_WINDOW: u32 = 1 << 20;
/// Several times a stream's: one stream that nobody reads must not stop the others.
pub(super) const CONNECTION_WINDOW: u32 = 4 << 20;
pub(super) const SEND_BUFFER: usize = 256 * 1024;

pub(super) type Http1 = http1::SendRequest<RequestBody>;
pub(super) type Http2 = http2::SendRequest<RequestBody>;
/// Held while the connection is opened, so that a burst of requests opens one.
type SharedHttp2 = Rc<tokio::sync::Mutex<Option<Http2>>>;

pub(super) struct Pool {
    http1: RefCell<HashMap<SocketAddr, Vec<Idle>>>,
    http2: RefCell<HashMap<SocketAddr, SharedHttp2>>,
    /// Seconds since the start, by the worker's tick: no clock call per request.
    now: Cell<u64>,
    idle: u64,
    connect_timeout: Duration,
}

struct Idle {
    sender: Http1,
    since: u64,
}

/// An HTTP/1.1 connection in use.
pub(super) struct Lease {
    pub sender: Http1,
    pub address: SocketAddr,
    pub shared: Rc<Shared>,
}

impl Lease {
    /// The response was read to its end.
    pub(super) fn give_back(self) {
        let pool = &self.shared.pool;
        if self.sender.is_closed() {
            return;
        }
        let mut all = pool.http1.borrow_mut();
        let idle = all.entry(self.address).or_default();
        if idle.len() < IDLE_MOST {
            idle.push(Idle { sender: self.sender, since: pool.now.get() });
        }
    }
}

/// Runs what belongs to this worker on this worker.
#[derive(Clone, Copy)]
pub(super) struct Local;

impl<F> hyper::rt::Executor<F> for Local
where
    F: Future + 'static,
    F::Output: 'static,
{
    fn execute(&self, task: F) {
        tokio::task::spawn_local(task);
    }
}

impl Pool {
    pub(super) fn new(options: &ServeOptions) -> Self {
        Self {
            http1: RefCell::default(),
            http2: RefCell::default(),
            now: Cell::new(0),
            idle: options.upstream_idle.as_secs().max(1),
            connect_timeout: options.connect_timeout,
        }
    }

    /// Once a second: closes what was idle for too long.
    pub(super) fn tick(&self) {
        let now = self.now.get() + 1;
        self.now.set(now);
        self.http1.borrow_mut().retain(|_, idle| {
            idle.retain(|one| !one.sender.is_closed() && now - one.since <= self.idle);
            !idle.is_empty()
        });
        self.http2.borrow_mut().retain(|_, shared| match shared.try_lock() {
            Ok(sender) => sender.as_ref().is_some_and(|sender| !sender.is_closed()),
            Err(_) => true,
        });
    }

    /// The connection that was used last, as it is the likeliest to live.
    pub(super) fn idle(&self, address: SocketAddr) -> Option<Http1> {
        let mut all = self.http1.borrow_mut();
        let idle = all.get_mut(&address)?;
        // Closed ones go, and those whose last exchange is not quite over stay.
        for at in (0..idle.len()).rev() {
            if idle[at].sender.is_ready() {
                return Some(idle.swap_remove(at).sender);
            }
            if idle[at].sender.is_closed() {
                idle.swap_remove(at);
            }
        }
        None
    }

    pub(super) async fn connect(&self, address: SocketAddr) -> Result<TcpStream, Failure> {
        let stream = match tokio::time::timeout(self.connect_timeout, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                return Err(if error.kind() == io::ErrorKind::TimedOut {
                    Failure::ConnectTimeout
                } else {
                    Failure::Connect
                });
            }
            Err(_) => return Err(Failure::ConnectTimeout),
        };
        // Serving works without it, only slower.
        let _ = stream.set_nodelay(true);
        Ok(stream)
    }

    pub(super) async fn open_http1(&self, address: SocketAddr) -> Result<Http1, Failure> {
        let stream = self.connect(address).await?;
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(64 * 1024)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|_| Failure::Connect)?;
        // Errors reach the request that is on the connection.
        tokio::task::spawn_local(async move {
            let _ = connection.with_upgrades().await;
        });
        Ok(sender)
    }

    /// The connection of this endpoint, and whether it was opened just now.
    pub(super) async fn http2(&self, address: SocketAddr) -> Result<(Http2, bool), Failure> {
        let shared = Rc::clone(self.http2.borrow_mut().entry(address).or_default());
        let mut current = shared.lock().await;
        if let Some(sender) = current.as_ref().filter(|sender| !sender.is_closed()) {
            return Ok((sender.clone(), false));
        }
        let stream = self.connect(address).await?;
        let (sender, connection) = http2::Builder::new(Local)
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(SEND_BUFFER)
            .keep_alive_interval(Duration::from_secs(20))
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|_| Failure::Connect)?;
        tokio::task::spawn_local(async move {
            let _ = connection.await;
        });
        *current = Some(sender.clone());
        Ok((sender, true))
    }
}
