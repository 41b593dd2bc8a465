//! The data plane: threads that serve the table. No lock and no Kubernetes on the way of a
//! request; everything it needs was resolved when the table was compiled.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use tokio::sync::{Mutex, mpsc, oneshot};

use crate::{
    metrics::Registry,
    table::{Bind, Socket, Table},
};

mod accesslog;
mod answer;
mod body;
mod clients;
mod dial;
mod drain;
pub(crate) mod filter;
mod forward;
mod hello;
mod http;
mod listener;
mod mirror;
mod proxy;
mod proxy_protocol;
mod record;
mod replay;
mod request;
mod stream;
mod tcp;
#[cfg(test)]
mod tests;
mod tls;
mod tunnel;
mod udp;
mod upstream;
mod worker;

use listener::{Opened, Serving};

#[derive(Debug, Clone)]
pub enum AccessLogTarget {
    Stdout,
    File(PathBuf),
}

#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// Threads that serve. The registry has to be made for at least as many.
    pub workers: usize,
    pub access_log: Option<AccessLogTarget>,
    /// How long a connection of a removed socket, or of a process that ends, may stay idle
    /// before it is closed; responses ask for its end at once.
    pub drain_linger: Duration,
    /// How long connections of a removed socket have to finish before they are cut.
    pub drain_timeout: Duration,
    /// For the head of a request, and for an idle connection.
    pub header_timeout: Duration,
    pub handshake_timeout: Duration,
    pub connect_timeout: Duration,
    /// How long an idle connection to an endpoint is kept.
    pub upstream_idle: Duration,
    /// How long a tunnel, such as a WebSocket, may be silent before it is cut.
    pub tunnel_idle: Duration,
    /// How long a flow of datagrams may be silent before it is forgotten.
    pub datagram_idle: Duration,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            access_log: None,
            drain_linger: Duration::from_secs(1),
            drain_timeout: Duration::from_secs(60),
            header_timeout: Duration::from_secs(60),
            handshake_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(5),
            upstream_idle: Duration::from_secs(30),
            tunnel_idle: Duration::from_secs(3600),
            datagram_idle: Duration::from_secs(60),
        }
    }
}

/// Why a socket of the table does not listen.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error("{0} is in use by another process; stop it or choose another port or address")]
    InUse(SocketAddr),
    #[error("{0} is not an address of this machine; add it to an interface or choose another")]
    NotLocal(SocketAddr),
    #[error("no permission to listen on {0}; ports below 1024 need CAP_NET_BIND_SERVICE")]
    NoPermission(SocketAddr),
    #[error("cannot listen on {address}: {source}")]
    Other {
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
    #[error("no usable certificate on {address}: {reason}")]
    Certificate { address: SocketAddr, reason: String },
}

impl BindError {
    fn new(address: SocketAddr, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::AddrInUse => Self::InUse(address),
            io::ErrorKind::AddrNotAvailable => Self::NotLocal(address),
            io::ErrorKind::PermissionDenied => Self::NoPermission(address),
            _ => Self::Other { address, source },
        }
    }
}

/// What the workers serve right now: swapped whole, so that a new connection never meets the
/// TLS settings of one table and the routes of another.
#[derive(Debug, Default)]
struct Live {
    table: Arc<Table>,
    sockets: HashMap<Socket, Arc<Serving>>,
}

impl Live {
    fn bind(&self, socket: impl Into<Socket>) -> Option<&Arc<Bind>> {
        self.table.bind(socket)
    }
}

/// The running data plane. Dropping it without [`DataPlane::shutdown`] cuts every connection.
#[derive(Debug)]
pub struct DataPlane {
    registry: Arc<Registry>,
    live: Arc<ArcSwap<Live>>,
    table: Arc<ArcSwap<Table>>,
    workers: Vec<Worker>,
    /// One apply at a time.
    applying: Mutex<()>,
}

#[derive(Debug)]
struct Worker {
    commands: mpsc::UnboundedSender<worker::Command>,
    thread: JoinHandle<()>,
}

impl DataPlane {
    /// Spawns the workers, which serve nothing until the first [`DataPlane::apply`].
    pub fn start(options: ServeOptions, registry: Arc<Registry>) -> io::Result<Self> {
        let count = options.workers.clamp(1, registry.workers());
        let log = options.access_log.as_ref().map(|target| accesslog::start(target, &registry)).transpose()?;
        let live = Arc::new(ArcSwap::from_pointee(Live::default()));
        let options = Arc::new(options);
        let workers = (0..count)
            .map(|index| {
                let (commands, inbox) = mpsc::unbounded_channel();
                let seed = worker::Seed {
                    index,
                    options: Arc::clone(&options),
                    live: Arc::clone(&live),
                    registry: Arc::clone(&registry),
                    log: log.clone(),
                };
                let (started, outcome) = std::sync::mpsc::sync_channel(1);
                let thread = std::thread::Builder::new()
                    .name(format!("gwproxy-{index}"))
                    .spawn(move || worker::run(seed, inbox, &started))?;
                outcome.recv().map_err(io::Error::other)??;
                Ok(Worker { commands, thread })
            })
            .collect::<io::Result<_>>()?;
        let table = Arc::new(ArcSwap::from_pointee(Table::default()));
        Ok(Self { registry, live, table, workers, applying: Mutex::new(()) })
    }

    /// The table of the last apply, for those who show it.
    pub fn table(&self) -> Arc<ArcSwap<Table>> {
        Arc::clone(&self.table)
    }

    /// Swaps the table, then rebinds: sockets that stay keep listening and keep their
    /// connections, new ones are opened, removed ones are drained. Resolves when every worker
    /// has the new table live, with the outcome of every socket of the table.
    pub async fn apply(&self, table: Table) -> BTreeMap<Socket, Result<(), BindError>> {
        let _one_at_a_time = self.applying.lock().await;
        let before = self.live.load_full();
        let table = Arc::new(table);
        let mut outcomes = BTreeMap::new();
        let mut sockets = HashMap::new();
        let mut certificates = Vec::new();
        let mut opened: Vec<Vec<(Socket, Opened)>> = self.workers.iter().map(|_| vec![]).collect();
        let mut removed = before.sockets.keys().copied().collect::<std::collections::BTreeSet<_>>();
        for bind in &table.binds {
            let (address, socket) = (bind.address, bind.socket());
            let known = before.sockets.get(&socket);
            let terminates = bind.listeners.values().any(|listener| listener.tls.is_some());
            let tls = match terminates {
                false => Ok(None),
                true => tls::settings(bind, known.and_then(|socket| socket.tls.as_ref())).map(Some),
            };
            let tls = match tls {
                Ok(tls) => tls,
                Err(reason) => {
                    outcomes.insert(socket, Err(BindError::Certificate { address, reason }));
                    // A broken Secret is no reason to take away what serves.
                    if let Some(known) = known.filter(|socket| socket.tls.is_some()) {
                        removed.remove(&socket);
                        certificates.extend(known.tls.iter().flat_map(|tls| tls.expiries.iter().cloned()));
                        sockets.insert(socket, Arc::clone(known));
                    }
                    continue;
                }
            };
            if known.is_none() {
                match listener::open(socket, self.workers.len()) {
                    Ok(each) => {
                        for (worker, one) in opened.iter_mut().zip(each) {
                            worker.push((socket, one));
                        }
                    }
                    Err(error) => {
                        outcomes.insert(socket, Err(BindError::new(address, error)));
                        continue;
                    }
                }
            }
            removed.remove(&socket);
            if let Some(tls) = &tls {
                certificates.extend(tls.expiries.iter().cloned());
            }
            let connections = self.registry.connections(listener::labels(bind));
            sockets.insert(socket, Arc::new(Serving { tls, connections }));
            outcomes.insert(socket, Ok(()));
        }
        self.registry.set_certificates(certificates);
        self.registry.set_generation(table.generation);
        // The table first: what a new socket accepts has to find its routes.
        self.live.store(Arc::new(Live { table: Arc::clone(&table), sockets }));
        self.table.store(table);
        let removed: Vec<Socket> = removed.into_iter().collect();
        let mut acknowledged = Vec::new();
        for (worker, open) in self.workers.iter().zip(opened) {
            let (done, ack) = oneshot::channel();
            let remove = removed.clone();
            if worker.commands.send(worker::Command::Rebind { open, remove, done }).is_ok() {
                acknowledged.push(ack);
            }
        }
        for ack in acknowledged {
            for (socket, error) in ack.await.unwrap_or_default() {
                outcomes.insert(socket, Err(BindError::new(socket.address, error)));
            }
        }
        outcomes
    }

    /// Stops accepting, lets requests in flight finish for up to `grace`, then cuts the rest.
    pub async fn shutdown(self, grace: Duration) {
        let deadline = Instant::now() + grace;
        for worker in &self.workers {
            // A worker that is gone has nothing left to shut down.
            let _ = worker.commands.send(worker::Command::Shutdown { deadline });
        }
        let threads: Vec<_> = self.workers.into_iter().map(|worker| worker.thread).collect();
        let joined = tokio::task::spawn_blocking(move || {
            for thread in threads {
                if thread.join().is_err() {
                    tracing::error!("a worker of the data plane had panicked");
                }
            }
        });
        let _ = joined.await;
    }
}
