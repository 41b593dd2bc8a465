//! Connections to endpoints, kept by the worker that opened them.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    future::{Future, poll_fn},
    hash::{Hash, Hasher},
    io,
    net::SocketAddr,
    pin::pin,
    rc::{Rc, Weak},
    sync::Arc,
    time::Duration,
};

use hyper::{
    client::conn::{http1, http2},
    rt::{Read, Write},
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{io::AsyncWriteExt, net::TcpStream};

use super::{
    ServeOptions,
    body::RequestBody,
    dial,
    proxy_protocol::{self, Ends},
    stream::Io,
    worker::Shared,
};
use crate::{
    metrics::Failure,
    table::{ProxyHeader, UpstreamTls},
};

/// Idle connections kept for one endpoint, by one worker.
const IDLE_MOST: usize = 1024;
pub(super) const STREAM_WINDOW: u32 = 1 << 20;
/// Several times a stream's: one stream that nobody reads must not stop the others.
pub(super) const CONNECTION_WINDOW: u32 = 4 << 20;
pub(super) const SEND_BUFFER: usize = 256 * 1024;
/// Requests at a time on one HTTP/2 connection, where the endpoint allows as many; then
/// another is opened, for one connection is one order of packets and one core of the endpoint.
const STREAMS_MOST: usize = 100;
/// Until the endpoint has said how many it allows: what it does not allow waits on this
/// connection, however free the next one is.
const STREAMS_FIRST: usize = 10;
/// HTTP/2 connections to one endpoint, by one worker.
const HTTP2_MOST: usize = 8;

pub(super) type Http1 = http1::SendRequest<RequestBody>;
pub(super) type Http2 = http2::SendRequest<RequestBody>;

/// Connections to one are as good as each other.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Peer {
    address: SocketAddr,
    tls: Option<Arc<UpstreamTls>>,
    client: Option<Introduced>,
}

impl Peer {
    pub(super) fn new(
        address: SocketAddr,
        tls: Option<&Arc<UpstreamTls>>,
        proxy: Option<ProxyHeader>,
        ends: &Rc<Ends>,
    ) -> Self {
        let client = proxy.map(|version| Introduced { version, ends: Rc::downgrade(ends) });
        Self { address, tls: tls.cloned(), client }
    }

    /// Whether a request can still come to use a connection to it.
    fn is_wanted(&self) -> bool {
        self.client.as_ref().is_none_or(|client| client.ends.strong_count() > 0)
    }
}

/// The client's connection that a connection is for, told of in a PROXY header. It lives no
/// longer than that: no other client may be taken for this one.
#[derive(Debug, Clone)]
struct Introduced {
    version: ProxyHeader,
    ends: Weak<Ends>,
}

impl PartialEq for Introduced {
    fn eq(&self, other: &Self) -> bool {
        // The place of a dead one is not given to another while it is pointed to.
        self.version == other.version && Weak::ptr_eq(&self.ends, &other.ends)
    }
}

impl Eq for Introduced {}

impl Hash for Introduced {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.version.hash(state);
        self.ends.as_ptr().hash(state);
    }
}

pub(super) struct Pool {
    http1: RefCell<HashMap<Peer, Vec<Idle>>>,
    http2: RefCell<HashMap<Peer, Rc<Multiplexed>>>,
    /// Seconds since the start, by the worker's tick: no clock call per request.
    now: Cell<u64>,
    idle: u64,
    connect_timeout: Duration,
}

struct Idle {
    sender: Http1,
    since: u64,
}

/// The HTTP/2 connections of one endpoint.
#[derive(Default)]
struct Multiplexed {
    open: RefCell<Vec<Rc<Connection>>>,
    /// Held while a connection is opened, so that a burst of requests opens one.
    opening: tokio::sync::Mutex<()>,
}

struct Connection {
    sender: Http2,
    streams: Cell<usize>,
    /// What the endpoint allows, as it last said.
    most: Rc<Cell<usize>>,
    used: Cell<u64>,
}

/// A place on an HTTP/2 connection.
pub(super) struct Stream(Rc<Connection>);

impl Stream {
    fn on(connection: &Rc<Connection>, now: u64) -> Self {
        connection.streams.set(connection.streams.get() + 1);
        connection.used.set(now);
        Self(Rc::clone(connection))
    }

    pub(super) fn sender(&self) -> Http2 {
        self.0.sender.clone()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.0.streams.set(self.0.streams.get() - 1);
    }
}

/// A connection in use, or a part of one.
pub(super) enum Lease {
    Http1 { sender: Http1, peer: Peer, shared: Rc<Shared> },
    Http2(#[allow(dead_code, reason = "held for its end")] Stream),
}

impl Lease {
    /// The response was read to its end.
    pub(super) fn give_back(self) {
        let Self::Http1 { sender, peer, shared } = self else { return };
        let pool = &shared.pool;
        if sender.is_closed() || !peer.is_wanted() {
            return;
        }
        let mut all = pool.http1.borrow_mut();
        let idle = all.entry(peer).or_default();
        if idle.len() < IDLE_MOST {
            idle.push(Idle { sender, since: pool.now.get() });
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
        self.http1.borrow_mut().retain(|peer, idle| {
            idle.retain(|one| !one.sender.is_closed() && now - one.since <= self.idle);
            !idle.is_empty() && peer.is_wanted()
        });
        self.http2.borrow_mut().retain(|peer, endpoint| {
            let mut open = endpoint.open.borrow_mut();
            let idle = if peer.is_wanted() { self.idle } else { 0 };
            open.retain(|one| !one.sender.is_closed() && (one.streams.get() > 0 || now - one.used.get() <= idle));
            !open.is_empty() || Rc::strong_count(endpoint) > 1
        });
    }

    /// The connection that was used last, as it is the likeliest to live.
    pub(super) fn idle(&self, peer: &Peer) -> Option<Http1> {
        let mut all = self.http1.borrow_mut();
        let idle = all.get_mut(peer)?;
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

    /// A connection to it, with the client told if it asks for that.
    async fn reach(&self, peer: &Peer) -> Result<TcpStream, Failure> {
        let mut stream = self.connect(peer.address).await?;
        if let Some(client) = &peer.client {
            let ends = client.ends.upgrade().ok_or(Failure::Connect)?;
            let header = proxy_protocol::header(client.version, *ends);
            stream.write_all(&header).await.map_err(|_| Failure::Reset)?;
        }
        Ok(stream)
    }

    pub(super) async fn open_http1(&self, peer: &Peer) -> Result<Http1, Failure> {
        let stream = self.reach(peer).await?;
        match &peer.tls {
            None => start_http1(Io::new(stream)).await,
            Some(tls) => {
                let secured = Box::pin(dial::secure(tls, stream, self.connect_timeout)).await?;
                start_http1(Io::new(secured)).await
            }
        }
    }

    /// A place on a connection to this endpoint, and whether that was opened just now.
    pub(super) async fn http2(&self, peer: &Peer) -> Result<(Stream, bool), Failure> {
        let endpoint = {
            let mut all = self.http2.borrow_mut();
            match all.get(peer) {
                Some(known) => Rc::clone(known),
                None => Rc::clone(all.entry(peer.clone()).or_default()),
            }
        };
        if let Some(stream) = self.place(&endpoint, false) {
            return Ok((stream, false));
        }
        let _one_at_a_time = endpoint.opening.lock().await;
        // Another request may have opened one meanwhile.
        if let Some(stream) = self.place(&endpoint, true) {
            return Ok((stream, false));
        }
        let stream = self.reach(peer).await?;
        let connection = match &peer.tls {
            None => start_http2(TokioIo::new(stream)).await?,
            Some(tls) => {
                let secured = Box::pin(dial::secure(tls, stream, self.connect_timeout)).await?;
                start_http2(TokioIo::new(secured)).await?
            }
        };
        let connection = Rc::new(connection);
        endpoint.open.borrow_mut().push(Rc::clone(&connection));
        Ok((Stream::on(&connection, self.now.get()), true))
    }

    /// On the first connection with room; where no more may be opened, on the emptiest.
    fn place(&self, endpoint: &Multiplexed, last: bool) -> Option<Stream> {
        let mut open = endpoint.open.borrow_mut();
        open.retain(|connection| !connection.sender.is_closed());
        let free = open.iter().find(|one| one.streams.get() < one.most.get().clamp(1, STREAMS_MOST));
        let chosen = match free {
            None if last && open.len() >= HTTP2_MOST => open.iter().min_by_key(|one| one.streams.get()),
            free => free,
        };
        chosen.map(|connection| Stream::on(connection, self.now.get()))
    }
}

async fn start_http1<I: Read + Write + Unpin + Send + 'static>(io: I) -> Result<Http1, Failure> {
    let handshake = http1::Builder::new().max_buf_size(64 * 1024).handshake(io).await;
    let (sender, connection) = handshake.map_err(|_| Failure::Connect)?;
    // Errors reach the request that is on the connection.
    tokio::task::spawn_local(async move {
        let _ = connection.with_upgrades().await;
    });
    Ok(sender)
}

async fn start_http2<I: Read + Write + Unpin + 'static>(io: I) -> Result<Connection, Failure> {
    let (sender, connection) = http2::Builder::new(Local)
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .initial_max_send_streams(STREAMS_FIRST)
        .keep_alive_interval(Duration::from_secs(20))
        .handshake(io)
        .await
        .map_err(|_| Failure::Connect)?;
    let most = Rc::new(Cell::new(STREAMS_FIRST));
    let said = Rc::clone(&most);
    tokio::task::spawn_local(async move {
        let mut connection = pin!(connection);
        poll_fn(|cx| {
            let polled = connection.as_mut().poll(cx);
            said.set(connection.current_max_send_streams());
            polled.map(drop)
        })
        .await;
    });
    Ok(Connection { sender, streams: Cell::new(0), most, used: Cell::new(0) })
}
