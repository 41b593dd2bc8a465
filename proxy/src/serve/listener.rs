//! Sockets: opened without taking a port from anyone, accepted from, drained.

use std::{
    io,
    net::{SocketAddr, TcpListener as StdListener},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering::Relaxed},
    },
    time::Duration,
};

use socket2::{Domain, Socket as RawSocket, Type};
use tokio::net::{TcpListener, TcpStream};

use super::{drain::Drain, http, tls, worker::Shared};
use crate::{
    metrics::{Handshake, ListenerLabels},
    table::Bind,
};

const BACKLOG: i32 = 4096;

/// What a new connection of this address gets.
#[derive(Debug)]
pub(super) struct Socket {
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

/// One SO_REUSEPORT socket a worker. A bind without that option comes first: it fails when
/// another process listens there, even one that shares its port.
pub(super) fn open(address: SocketAddr, workers: usize) -> io::Result<Vec<StdListener>> {
    let probe = raw(address)?;
    probe.bind(&address.into())?;
    probe.listen(1)?;
    drop(probe);
    (0..workers)
        .map(|_| {
            let socket = raw(address)?;
            socket.set_reuse_port(true)?;
            socket.bind(&address.into())?;
            socket.listen(BACKLOG)?;
            socket.set_nonblocking(true)?;
            Ok(socket.into())
        })
        .collect()
}

fn raw(address: SocketAddr) -> io::Result<RawSocket> {
    let socket = RawSocket::new(Domain::for_address(address), Type::STREAM, None)?;
    // Connections of an earlier process in TIME_WAIT do not hold the port.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    Ok(socket)
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
    let Some((bind, socket)) =
        shared.with_live(|live| Some((Arc::clone(live.bind(address)?), Arc::clone(live.sockets.get(&address)?))))
    else {
        // Removed between the swap and the end of the accept loop.
        return;
    };
    // Without it small responses wait for acknowledgements; serving works all the same.
    let _ = stream.set_nodelay(true);
    socket.connections.fetch_add(1, Relaxed);
    shared.connections.set(shared.connections.get() + 1);
    let open = Open { gauge: Arc::clone(&socket.connections), shared: Rc::clone(shared) };
    let connection = http::Connection::new(bind, peer, socket.tls.is_some(), Rc::clone(drain), Rc::clone(shared), open);
    let shared = Rc::clone(shared);
    match &socket.tls {
        None => {
            tokio::task::spawn_local(http::serve_plain(stream, connection));
        }
        Some(settings) => {
            let settings = Arc::clone(settings);
            tokio::task::spawn_local(async move {
                let accepting = tls::accept(&settings, stream);
                let result = match tokio::time::timeout(shared.options.handshake_timeout, accepting).await {
                    Ok(Ok(stream)) => {
                        shared.registry.handshake(Handshake::Ok);
                        return http::serve_tls(stream, connection).await;
                    }
                    Ok(Err(error)) => {
                        tracing::debug!(%error, %peer, %address, "TLS handshake failed");
                        Handshake::Failed
                    }
                    Err(_) => Handshake::Timeout,
                };
                shared.registry.handshake(result);
            });
        }
    }
}
