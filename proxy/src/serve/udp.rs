//! Datagrams: a flow is what one client address sends to one socket. It keeps its endpoint
//! until it has been silent for a while, or the endpoint is no longer offered.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering::Relaxed},
    },
    time::Duration,
};

use socket2::SockRef;
use tokio::{
    io::Interest,
    net::UdpSocket,
    task::{AbortHandle, JoinSet},
    time::Instant,
};

use super::{drain::Drain, worker::Shared};
use crate::{
    metrics::{Failure, Series},
    table::{Socket, StreamBackend, StreamRule, Target, Transport},
};

/// Largest datagram.
const LARGEST: usize = 64 * 1024;
/// Flows of one socket on one worker; the one that was silent longest makes room.
const FLOWS_MOST: usize = 8192;
/// Datagrams of one socket that are taken before others get their turn.
const BURST: usize = 64;

/// One socket on one worker. The kernel gives all datagrams of a client to the same worker.
struct Listening {
    socket: UdpSocket,
    address: Socket,
    shared: Rc<Shared>,
    /// With the task that sends its answers back.
    flows: RefCell<HashMap<SocketAddr, (Rc<Flow>, AbortHandle)>>,
    /// For answers: one at a time is under way on this thread.
    scratch: RefCell<Box<[u8]>>,
}

struct Flow {
    client: SocketAddr,
    endpoint: SocketAddr,
    /// Connected: the kernel takes answers from the endpoint alone.
    upstream: UdpSocket,
    series: Arc<Series>,
    worker: usize,
    gauge: Arc<AtomicI64>,
    last: Cell<Instant>,
    /// The table that was seen to offer the endpoint.
    generation: Cell<u64>,
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.series.closed(self.worker);
        self.gauge.fetch_sub(1, Relaxed);
    }
}

/// Serves until the drain asks for the end; then the socket is closed and its flows are over.
pub(super) async fn serve(socket: UdpSocket, address: SocketAddr, drain: Rc<Drain>, shared: Rc<Shared>) {
    let listening = Rc::new(Listening {
        socket,
        address: Socket { address, transport: Transport::Udp },
        shared,
        flows: RefCell::default(),
        scratch: RefCell::new(vec![0; LARGEST].into()),
    });
    let mut answers = JoinSet::new();
    let mut buffer = vec![0; LARGEST];
    loop {
        tokio::select! {
            biased;
            () = drain.stop_signal() => break,
            Some(_) = answers.join_next(), if !answers.is_empty() => {}
            readable = listening.socket.readable() => {
                if let Err(error) = readable {
                    tracing::warn!(%error, %address, "cannot receive datagrams");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
                for _ in 0..BURST {
                    match listening.socket.try_recv_from(&mut buffer) {
                        Ok((length, client)) => listening.received(client, &buffer[..length], &mut answers),
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                        // An answer that a client did not want comes back as an error here.
                        Err(_) => {}
                    }
                }
            }
        }
    }
    answers.shutdown().await;
    listening.flows.borrow_mut().clear();
    drop(listening);
    drain.accept_loop_ended();
}

impl Listening {
    fn received(self: &Rc<Self>, client: SocketAddr, datagram: &[u8], answers: &mut JoinSet<()>) {
        let Some(flow) = self.flow(client, answers) else { return };
        flow.last.set(Instant::now());
        // Past the runtime, which does not know of a new socket yet that it can be written to.
        match SockRef::from(&flow.upstream).send(datagram) {
            Ok(sent) => flow.series.received(flow.worker, sent as u64),
            // The way is full: datagrams are lost then, as on any router.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => {
                flow.series.failed(flow.worker, Failure::Connect);
                self.end(&flow);
            }
        }
    }

    /// The flow of this client, begun where there is none.
    fn flow(self: &Rc<Self>, client: SocketAddr, answers: &mut JoinSet<()>) -> Option<Rc<Flow>> {
        let (rule, unmatched, gauge, generation) = self.shared.with_live(|live| {
            let bind = live.bind(self.address)?;
            let listener = bind.listeners.find("").next();
            let rule = listener.and_then(|listener| listener.streams.find("").next()).cloned();
            let unmatched = listener.map_or(&bind.unmatched, |listener| &listener.unmatched);
            let gauge = Arc::clone(&live.sockets.get(&self.address)?.connections);
            Some((rule, Arc::clone(unmatched), gauge, live.table.generation))
        })?;
        let known = self.flows.borrow().get(&client).map(|(flow, _)| Rc::clone(flow));
        if let Some(flow) = known {
            if flow.generation.get() == generation || rule.as_ref().is_some_and(|rule| offers(rule, flow.endpoint)) {
                flow.generation.set(generation);
                return Some(flow);
            }
            self.end(&flow);
        }
        let worker = self.shared.index;
        let Some(rule) = rule else {
            unmatched.opened(worker);
            unmatched.closed(worker);
            return None;
        };
        let Some(backend) = rule.backends.pick(worker) else {
            rule.unserved.opened(worker);
            rule.unserved.closed(worker);
            return None;
        };
        match begin(client, backend, worker, gauge, generation) {
            Ok(flow) => {
                let flow = Rc::new(flow);
                self.make_room();
                let answering = answers.spawn_local(Rc::clone(self).answer(Rc::clone(&flow)));
                self.flows.borrow_mut().insert(client, (Rc::clone(&flow), answering));
                Some(flow)
            }
            Err(error) => {
                tracing::debug!(%error, %client, backend = %backend.key, "datagram dropped");
                backend.series.opened(worker);
                backend.series.failed(worker, Failure::Connect);
                backend.series.closed(worker);
                None
            }
        }
    }

    fn make_room(&self) {
        let oldest = {
            let flows = self.flows.borrow();
            if flows.len() < FLOWS_MOST {
                return;
            }
            flows.values().map(|(flow, _)| flow).min_by_key(|flow| flow.last.get()).cloned()
        };
        if let Some(flow) = oldest {
            self.end(&flow);
        }
    }

    fn end(&self, flow: &Rc<Flow>) {
        let mut flows = self.flows.borrow_mut();
        if flows.get(&flow.client).is_some_and(|(current, _)| Rc::ptr_eq(current, flow))
            && let Some((_, answering)) = flows.remove(&flow.client)
        {
            answering.abort();
        }
    }

    /// Sends answers back, out of the socket that the client sent to.
    async fn answer(self: Rc<Self>, flow: Rc<Flow>) {
        let idle = self.shared.options.datagram_idle;
        loop {
            let until = flow.last.get() + idle;
            match tokio::time::timeout_at(until, flow.upstream.ready(Interest::READABLE | Interest::ERROR)).await {
                Err(_) if flow.last.get() + idle > until => continue,
                Err(_) | Ok(Err(_)) => break,
                Ok(Ok(_)) => {}
            }
            // That nobody listens there comes as an error alone, without anything to read.
            let refused = matches!(flow.upstream.take_error(), Ok(Some(_)) | Err(_));
            if refused || !self.pass_back(&flow) {
                flow.series.failed(flow.worker, Failure::Connect);
                break;
            }
        }
        self.end(&flow);
    }

    /// `false` when the endpoint does not want the flow.
    fn pass_back(&self, flow: &Flow) -> bool {
        // Seen already.
        let _ = flow.upstream.try_io(Interest::ERROR, || Err::<(), _>(io::ErrorKind::WouldBlock.into()));
        let mut scratch = self.scratch.borrow_mut();
        for _ in 0..BURST {
            match flow.upstream.try_recv(&mut scratch) {
                Ok(length) => {
                    flow.last.set(Instant::now());
                    // A client that cannot be reached any more loses its answer.
                    if SockRef::from(&self.socket).send_to(&scratch[..length], &flow.client.into()).is_ok() {
                        flow.series.sent(flow.worker, length as u64);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                Err(_) => return false,
            }
        }
        true
    }
}

fn offers(rule: &StreamRule, endpoint: SocketAddr) -> bool {
    rule.backends.entries().any(|backend| match &backend.target {
        Target::Endpoints(endpoints) => endpoints.addresses.entries().any(|address| *address == endpoint),
        Target::Fail(..) => false,
    })
}

fn begin(
    client: SocketAddr,
    backend: &StreamBackend,
    worker: usize,
    gauge: Arc<AtomicI64>,
    generation: u64,
) -> io::Result<Flow> {
    let endpoint = match &backend.target {
        Target::Endpoints(endpoints) => endpoints.addresses.pick(worker).copied(),
        Target::Fail(..) => None,
    };
    let endpoint = endpoint.ok_or(io::ErrorKind::NotFound)?;
    let any: IpAddr = if endpoint.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let upstream = std::net::UdpSocket::bind((any, 0))?;
    upstream.connect(endpoint)?;
    upstream.set_nonblocking(true)?;
    let upstream = UdpSocket::from_std(upstream)?;
    backend.series.opened(worker);
    backend.series.connected(worker);
    gauge.fetch_add(1, Relaxed);
    Ok(Flow {
        client,
        endpoint,
        upstream,
        series: Arc::clone(&backend.series),
        worker,
        gauge,
        last: Cell::new(Instant::now()),
        generation: Cell::new(generation),
    })
}
