//! One thread of the data plane: its own runtime, sockets, connections and upstream pool.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    io,
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    time::Instant,
};

use arc_swap::{ArcSwap, Cache};
use tokio::{
    runtime::{Builder, LocalOptions, LocalRuntime},
    sync::{mpsc, oneshot},
};

use super::{
    Live, ServeOptions,
    accesslog::Log,
    drain::Drain,
    listener::{self, Opened},
    request::Ids,
    udp,
    upstream::Pool,
};
use crate::{metrics::Registry, table::Socket};

pub(super) enum Command {
    Rebind {
        open: Vec<(Socket, Opened)>,
        remove: Vec<Socket>,
        /// Sockets that the runtime would not take.
        done: oneshot::Sender<Vec<(Socket, io::Error)>>,
    },
    Shutdown {
        deadline: Instant,
    },
}

pub(super) struct Seed {
    pub index: usize,
    pub options: Arc<ServeOptions>,
    pub live: Arc<ArcSwap<Live>>,
    pub registry: Arc<Registry>,
    pub log: Option<Log>,
}

impl Seed {
    /// Made once on the starting thread too, so that a machine that cannot give one says so there.
    pub(super) fn runtime(&self) -> io::Result<LocalRuntime> {
        Builder::new_current_thread().enable_all().build_local(LocalOptions::default())
    }
}

/// What every connection of a worker shares.
pub(super) struct Shared {
    pub index: usize,
    pub options: Arc<ServeOptions>,
    pub registry: Arc<Registry>,
    pub log: Option<Log>,
    pub pool: Pool,
    pub ids: Ids,
    live: RefCell<Cache<Arc<ArcSwap<Live>>, Arc<Live>>>,
    pub connections: Cell<usize>,
}

impl Shared {
    /// The table as of now; `look` must not wait.
    pub(super) fn with_live<T>(&self, look: impl FnOnce(&Arc<Live>) -> T) -> T {
        look(self.live.borrow_mut().load())
    }
}

/// The body of a worker's thread; `started` hears first whether it can work at all.
pub(super) fn run(
    seed: Seed,
    commands: mpsc::UnboundedReceiver<Command>,
    started: &std::sync::mpsc::SyncSender<io::Result<()>>,
) {
    // Whoever starts the data plane waits for the outcome: sending cannot fail.
    let runtime = match seed.runtime() {
        Ok(runtime) => runtime,
        Err(error) => return drop(started.send(Err(error))),
    };
    let _ = started.send(Ok(()));
    runtime.block_on(serve(seed, commands));
    // What outlived the grace period ends here.
    runtime.shutdown_background();
}

async fn serve(seed: Seed, mut commands: mpsc::UnboundedReceiver<Command>) {
    let shared = Rc::new(Shared {
        index: seed.index,
        pool: Pool::new(&seed.options),
        options: seed.options,
        registry: seed.registry,
        log: seed.log,
        ids: Ids::new(),
        live: RefCell::new(Cache::new(seed.live)),
        connections: Cell::new(0),
    });
    tokio::task::spawn_local(reap(Rc::clone(&shared)));
    let mut listening = HashMap::<Socket, Rc<Drain>>::new();
    while let Some(command) = commands.recv().await {
        match command {
            Command::Rebind { open, remove, done } => {
                let mut failed = Vec::new();
                for socket in remove {
                    if let Some(drain) = listening.remove(&socket) {
                        drain.stopped().await;
                        tokio::task::spawn_local(wind_down(drain, Rc::clone(&shared)));
                    }
                }
                for (socket, opened) in open {
                    match serve_socket(socket.address, opened, &shared) {
                        Ok(drain) => drop(listening.insert(socket, drain)),
                        Err(error) => failed.push((socket, error)),
                    }
                }
                // Nobody waits any more when the caller was dropped.
                let _ = done.send(failed);
            }
            Command::Shutdown { deadline } => {
                for drain in listening.values() {
                    drain.stopped().await;
                }
                let linger = (Instant::now() + shared.options.drain_linger).min(deadline);
                let quiet = async {
                    while shared.connections.get() > 0 {
                        if Instant::now() >= linger {
                            listening.values().for_each(|drain| drain.close());
                        }
                        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
                    }
                };
                // What is left when time is up is cut with the runtime.
                let _ = tokio::time::timeout_at(deadline.into(), quiet).await;
                return;
            }
        }
    }
}

fn serve_socket(address: SocketAddr, opened: Opened, shared: &Rc<Shared>) -> io::Result<Rc<Drain>> {
    let drain = Drain::new();
    match opened {
        Opened::Connections(socket) => {
            let socket = tokio::net::TcpListener::from_std(socket)?;
            tokio::task::spawn_local(listener::accept(socket, address, Rc::clone(&drain), Rc::clone(shared)));
        }
        Opened::Datagrams(socket) => {
            let socket = tokio::net::UdpSocket::from_std(socket)?;
            tokio::task::spawn_local(udp::serve(socket, address, Rc::clone(&drain), Rc::clone(shared)));
        }
    }
    Ok(drain)
}

/// Connections of a removed socket: asked to end, then closed when idle, then cut.
async fn wind_down(drain: Rc<Drain>, shared: Rc<Shared>) {
    tokio::time::sleep(shared.options.drain_linger).await;
    drain.close();
    tokio::time::sleep(shared.options.drain_timeout).await;
    drain.cut();
}

async fn reap(shared: Rc<Shared>) {
    let mut tick = tokio::time::interval(std::time::Duration::from_secs(1));
    loop {
        tick.tick().await;
        shared.pool.tick();
    }
}
