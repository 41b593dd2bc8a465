//! Sockets: opened without taking a port from anyone, accepted from, drained.

use std::{
    io,
    net::{SocketAddr, TcpListener as StdListener, UdpSocket as StdUdpSocket},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use socket2::{Domain, Socket as RawSocket, Type};
use tokio::net::{TcpListener, TcpStream};

use super::{
    drain::{Drain, Opaque},
    hello::{self, Rewound},
    http,
    proxy_protocol::{self, Ends},
    tcp, tls,
    worker::Shared,
};
use crate::{
    metrics::{Handshake, ListenerLabels},
    table::{self, Bind, Protocol, Transport},
};

const BACKLOG: i32 = 4096;

/// What a new connection of a socket gets.
#[derive(Debug)]
pub(super) struct Serving {
    pub tls: Option<Arc<tls::Settings>>,
    pub connections: Arc<AtomicI64>,
}

/// The listener behind a bind, or all of them: which one takes a connection shows only with
/// its first request.
pub(super) fn labels(bind: &Bind) -> ListenerLabels {
    let mut names: Vec<&str> = bind.listeners.values().map(|listener| listener.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let gateway = bind.listeners.values().map(|listener| &listener.gateway).min();
    ListenerLabels {
        gateway_namespace: gateway.map(|key| key.namespace.clone()).unwrap_or_default(),
        gateway: gateway.map(|key| key.name.clone()).unwrap_or_default(),
        listener: names.join(","),
    }
}

/// An open socket of one worker.
pub(super) enum Opened {
    Connections(StdListener),
    Datagrams(StdUdpSocket),
}

/// One SO_REUSEPORT socket a worker. A bind without that option comes first: it fails when
/// another process listens there, even one that shares its port.
pub(super) fn open(socket: table::Socket, workers: usize) -> io::Result<Vec<Opened>> {
    let probe = raw(socket)?;
    probe.bind(&socket.address.into())?;
    if socket.transport == Transport::Tcp {
        probe.listen(1)?;
    }
    drop(probe);
    let each = |_| {
        let opened = raw(socket)?;
        opened.set_reuse_port(true)?;
        opened.bind(&socket.address.into())?;
        opened.set_nonblocking(true)?;
        Ok(match socket.transport {
            Transport::Tcp => {
                opened.listen(BACKLOG)?;
                Opened::Connections(opened.into())
            }
            Transport::Udp => Opened::Datagrams(opened.into()),
        })
    };
    (0..workers).map(each).collect()
}

fn raw(socket: table::Socket) -> io::Result<RawSocket> {
    let type_ = match socket.transport {
        Transport::Tcp => Type::STREAM,
        Transport::Udp => Type::DGRAM,
    };
    let opened = RawSocket::new(Domain::for_address(socket.address), type_, None)?;
    if socket.transport == Transport::Tcp {
        // Connections of an earlier process in TIME_WAIT do not hold the port. For datagrams the
        // option would take the port from whoever has it.
        opened.set_reuse_address(true)?;
    }
    if socket.address.is_ipv6() {
        opened.set_only_v6(true)?;
    }
    Ok(opened)
}

pub(super) async fn accept(socket: TcpListener, address: SocketAddr, drain: Rc<Drain>, shared: Rc<Shared>) {
    loop {
        tokio::select! {
            biased;
            () = drain.stop_signal() => break,
            accepted = socket.accept() => match accepted {
                Ok((stream, peer)) => start(stream, peer, address, &drain, &shared),
                // The client left already.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    // Out of descriptors or memory: connections that end will free some.
                    tracing::warn!(%error, %address, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
        }
    }
    // Clients whose connection the kernel has completed would meet a reset: serve them.
    while let Ok(Ok((stream, peer))) = tokio::time::timeout(Duration::ZERO, socket.accept()).await {
        start(stream, peer, address, &drain, &shared);
    }
    drop(socket);
    drain.accept_loop_ended();
}

/// Counts one connection from here to its end.
struct Open {
    gauge: Arc<AtomicI64>,
    shared: Rc<Shared>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.gauge.fetch_sub(1, Relaxed);
        self.shared.connections.set(self.shared.connections.get() - 1);
    }
}

fn start(stream: TcpStream, peer: SocketAddr, address: SocketAddr, drain: &Rc<Drain>, shared: &Rc<Shared>) {
    let key = table::Socket::from(address);
    let Some((bind, socket)) =
        shared.with_live(|live| Some((Arc::clone(live.bind(key)?), Arc::clone(live.sockets.get(&key)?))))
    else {
        // Removed between the swap and the end of the accept loop.
        return;
    };
    // Without it small responses wait for acknowledgements; serving works all the same.
    let _ = stream.set_nodelay(true);
    socket.connections.fetch_add(1, Relaxed);
    shared.connections.set(shared.connections.get() + 1);
    let open = Open { gauge: Arc::clone(&socket.connections), shared: Rc::clone(shared) };
    let accepted = Accepted { peer, bind, drain: Rc::clone(drain), shared: Rc::clone(shared), open };
    if accepted.bind.accept_proxy {
        drop(tokio::task::spawn_local(behind_proxy(stream, socket, accepted)));
    } else {
        greet(stream, &socket, accepted);
    }
}

/// A connection that another proxy speaks for.
async fn behind_proxy(mut stream: TcpStream, socket: Arc<Serving>, mut accepted: Accepted) {
    let limit = accepted.shared.options.header_timeout;
    match tokio::time::timeout(limit, proxy_protocol::read(&mut stream)).await {
        Ok(Ok(client)) => accepted.peer = client.unwrap_or(accepted.peer),
        Ok(Err(error)) => {
            tracing::debug!(%error, peer = %accepted.peer, address = %accepted.bind.address, "no PROXY header");
            return tcp::refuse(&stream, &accepted.bind.unmatched, &accepted.shared);
        }
        Err(_) => return tcp::refuse(&stream, &accepted.bind.unmatched, &accepted.shared),
    }
    greet(stream, &socket, accepted);
}

fn greet(stream: TcpStream, socket: &Serving, accepted: Accepted) {
    match (accepted.bind.protocol, &socket.tls) {
        (Protocol::Http, _) => drop(tokio::task::spawn_local(http::serve_plain(stream, accepted.http(false)))),
        (Protocol::Https, Some(settings)) => {
            drop(tokio::task::spawn_local(https(stream, Arc::clone(settings), accepted)));
        }
        (Protocol::Https | Protocol::Tls, settings) => {
            drop(tokio::task::spawn_local(by_server_name(stream, settings.clone(), accepted)));
        }
        (Protocol::Tcp | Protocol::Udp, _) => drop(tokio::task::spawn_local(accepted.pass_on(stream))),
    }
}

/// A connection that nothing was read of yet.
struct Accepted {
    peer: SocketAddr,
    bind: Arc<Bind>,
    drain: Rc<Drain>,
    shared: Rc<Shared>,
    open: Open,
}

impl Accepted {
    fn ends(&self) -> Ends {
        Ends { client: self.peer, local: self.bind.address }
    }

    fn http(self, tls: bool) -> Rc<http::Connection> {
        http::Connection::new(self.bind, self.peer, tls, self.drain, self.shared, self.open)
    }

    /// To the backends of the socket's only listener.
    async fn pass_on(self, stream: TcpStream) {
        let ends = self.ends();
        let Self { bind, drain, shared, open, .. } = self;
        let listener = bind.listeners.find("").next();
        match listener.and_then(|listener| listener.streams.find("").next()) {
            Some(rule) => drain.run(Opaque(Box::pin(tcp::forward(stream, ends, rule, &shared)))).await,
            None => {
                let unmatched = listener.map_or(&bind.unmatched, |listener| &listener.unmatched);
                tcp::refuse(&stream, unmatched, &shared);
            }
        }
        drop(open);
    }

    /// Waits for `handshake`, counts how it ends and tells nobody else.
    async fn handshake<T>(&self, handshake: impl Future<Output = io::Result<T>>) -> Option<T> {
        let result = match tokio::time::timeout(self.shared.options.handshake_timeout, handshake).await {
            Ok(Ok(done)) => {
                self.shared.registry.handshake(Handshake::Ok);
                return Some(done);
            }
            Ok(Err(error)) => {
                tracing::debug!(%error, peer = %self.peer, address = %self.bind.address, "TLS handshake failed");
                Handshake::Failed
            }
            Err(_) => Handshake::Timeout,
        };
        self.shared.registry.handshake(result);
        None
    }
}

async fn https(stream: TcpStream, settings: Arc<tls::Settings>, accepted: Accepted) {
    let stream = Rewound::new(Bytes::new(), stream);
    if let Some(stream) = accepted.handshake(tls::accept_http(&settings, stream)).await {
        http::serve_tls(stream, accepted.http(true)).await;
    }
}

/// What a socket of several kinds of listener does with a connection shows with its first message.
async fn by_server_name(stream: TcpStream, settings: Option<Arc<tls::Settings>>, accepted: Accepted) {
    let limit = accepted.shared.options.handshake_timeout;
    let (stream, name) = match tokio::time::timeout(limit, hello::read(stream)).await {
        Ok(Ok(read)) => read,
        Ok(Err(error)) => {
            tracing::debug!(%error, peer = %accepted.peer, address = %accepted.bind.address, "no server name");
            return accepted.shared.registry.handshake(Handshake::Failed);
        }
        Err(_) => return accepted.shared.registry.handshake(Handshake::Timeout),
    };
    let Some(listener) = accepted.bind.listeners.find(&name).next().cloned() else {
        return tcp::refuse(stream.stream(), &accepted.bind.unmatched, &accepted.shared);
    };
    let terminating = settings.filter(|_| listener.tls.is_some());
    match (listener.protocol, terminating) {
        (Protocol::Https, Some(settings)) => {
            if let Some(stream) = accepted.handshake(tls::accept_http(&settings, stream)).await {
                http::serve_tls(stream, accepted.http(true)).await;
            }
        }
        (_, terminating) => {
            let Some(rule) = listener.streams.find(&name).next() else {
                return tcp::refuse(stream.stream(), &listener.unmatched, &accepted.shared);
            };
            let (drain, ends) = (Rc::clone(&accepted.drain), accepted.ends());
            match terminating {
                None => drain.run(Opaque(Box::pin(tcp::forward(stream, ends, rule, &accepted.shared)))).await,
                Some(settings) => {
                    let Some(stream) = accepted.handshake(tls::accept(&settings.bytes, stream)).await else { return };
                    drain.run(Opaque(Box::pin(tcp::forward(stream, ends, rule, &accepted.shared)))).await;
                }
            }
        }
    }
}
