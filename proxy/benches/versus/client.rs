//! The load: one thread, requests written as they are, answers read to their end.

use std::{
    cell::{Cell, RefCell},
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use color_eyre::{Result, eyre::eyre};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore, client::Resumption};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    task::spawn_local,
};

use crate::{
    peers::{Local, WEBSOCKET_KEY, position},
    proxies::{GRPC_HOST, HOST, Listens, host},
};

/// What is asked for, and how.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Ask {
    /// Kept connections; the path says how long the answer is.
    Http1 {
        path: &'static str,
        connections: usize,
    },
    /// A connection for each request.
    Connect {
        connections: usize,
    },
    Tls {
        connections: usize,
        connect: bool,
        resume: bool,
    },
    Http2 {
        streams: usize,
    },
    Grpc {
        streams: usize,
    },
    WebSocket {
        connections: usize,
    },
    Tcp {
        connections: usize,
    },
    /// Each request for the host of another route.
    Routes {
        routes: usize,
        connections: usize,
    },
}

#[derive(Default)]
struct Count {
    done: Cell<u64>,
    failed: Cell<u64>,
    stop: Cell<bool>,
    measuring: Cell<bool>,
    /// In tenths of a microsecond.
    times: RefCell<Vec<u32>>,
}

impl Count {
    fn took(&self, since: Instant) {
        self.done.set(self.done.get() + 1);
        if self.measuring.get() {
            let tenths = u32::try_from(since.elapsed().as_nanos() / 100).unwrap_or(u32::MAX);
            self.times.borrow_mut().push(tenths);
        }
    }
}

#[derive(Debug, Clone)]
pub struct Measured {
    pub requests: u64,
    pub failed: u64,
    pub cpu: Duration,
    pub wall: Duration,
    /// Sorted, in tenths of a microsecond.
    pub times: Vec<u32>,
}

impl Measured {
    pub fn cpu_micros(&self) -> f64 {
        self.cpu.as_nanos() as f64 / 1e3 / self.requests.max(1) as f64
    }

    /// Microseconds.
    pub fn percentile(&self, share: f64) -> f64 {
        let at = (self.times.len() as f64 * share) as usize;
        self.times.get(at.min(self.times.len().saturating_sub(1))).map_or(0.0, |tenths| f64::from(*tenths) / 10.0)
    }
}

/// Client settings for TLS, kept between the rounds.
pub struct Tls {
    fresh: Arc<ClientConfig>,
    resuming: Arc<ClientConfig>,
}

impl Tls {
    pub fn new(chain: &str) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(chain.as_bytes()).map_err(|error| eyre!("{error}"))?)?;
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let mut fresh = config.clone();
        fresh.resumption = Resumption::disabled();
        Ok(Self { fresh: Arc::new(fresh), resuming: Arc::new(config) })
    }
}

/// Drives `ask` for `warm` and then for `measured`, during which `cpu` is read at both ends.
/// `rate` is the requests a second that are offered whatever comes back; `None` offers the next
/// request when the last one is answered.
pub async fn drive(
    ask: Ask,
    to: Listens,
    tls: &Tls,
    (warm, measured): (Duration, Duration),
    rate: Option<f64>,
    cpu: impl Fn() -> Result<Duration>,
) -> Result<Measured> {
    let count = Rc::new(Count::default());
    let tasks: Vec<_> = start(ask, to, tls, rate, &count)?;
    tokio::time::sleep(warm).await;
    let (cpu_before, done_before, began) = (cpu()?, count.done.get(), Instant::now());
    count.measuring.set(true);
    tokio::time::sleep(measured).await;
    count.measuring.set(false);
    let (cpu_after, done_after, wall) = (cpu()?, count.done.get(), began.elapsed());
    count.stop.set(true);
    for task in tasks {
        task.abort();
        // Cut or ended: the figures are taken.
        let _ = task.await;
    }
    let mut times = count.times.take();
    times.sort_unstable();
    Ok(Measured {
        requests: done_after - done_before,
        failed: count.failed.get(),
        cpu: cpu_after.saturating_sub(cpu_before),
        wall,
        times,
    })
}

type Task = tokio::task::JoinHandle<()>;

fn start(ask: Ask, to: Listens, tls: &Tls, rate: Option<f64>, count: &Rc<Count>) -> Result<Vec<Task>> {
    let missing = || eyre!("this proxy does not do that");
    let run = |work: std::pin::Pin<Box<dyn Future<Output = Result<()>>>>| {
        let count = Rc::clone(count);
        spawn_local(async move {
            if let Err(error) = work.await
                && !count.stop.get()
            {
                if count.failed.get() == 0 {
                    eprintln!("  a client failed: {error}");
                }
                count.failed.set(count.failed.get() + 1);
            }
        })
    };
    let get = |host: &str, path: &str| {
        Bytes::from(format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nuser-agent: versus\r\naccept: */*\r\n\r\n"))
    };
    let mut tasks = Vec::new();
    match ask {
        Ask::Http1 { path, connections } => {
            for index in 0..connections {
                let pace = rate.map(|rate| Pace::new(rate, index, connections));
                tasks.push(run(Box::pin(keep_asking(to.http1, vec![get(HOST, path)], pace, Rc::clone(count)))));
            }
        }
        Ask::Routes { routes, connections } => {
            for index in 0..connections {
                // Every connection walks through all of them, in an order that a cache of the
                // last one does not help.
                let mine = (0..routes).map(|at| get(&host((at * 7919 + index * 104_729) % routes), "/api/small"));
                tasks.push(run(Box::pin(keep_asking(to.http1, mine.collect(), None, Rc::clone(count)))));
            }
        }
        Ask::Connect { connections } => {
            for _ in 0..connections {
                let (request, count) = (get(HOST, "/api/small"), Rc::clone(count));
                tasks.push(run(Box::pin(async move {
                    while !count.stop.get() {
                        let began = Instant::now();
                        let mut stream = connect(to.http1).await?;
                        let mut buffer = Vec::new();
                        exchange(&mut stream, &request, &mut buffer).await?;
                        count.took(began);
                        // No TIME_WAIT: the ports of the client would run out.
                        stream.set_zero_linger()?;
                    }
                    Ok(())
                })));
            }
        }
        Ask::Tls { connections, connect: each, resume } => {
            let address = to.tls.ok_or_else(missing)?;
            let config = if resume { &tls.resuming } else { &tls.fresh };
            for _ in 0..connections {
                let (request, count, config) = (get(HOST, "/api/small"), Rc::clone(count), Arc::clone(config));
                tasks.push(run(Box::pin(async move {
                    let connector = tokio_rustls::TlsConnector::from(config);
                    let name = ServerName::try_from(HOST)?;
                    while !count.stop.get() {
                        let began = Instant::now();
                        let stream = connect(address).await?;
                        let mut stream = connector.connect(name.clone(), stream).await?;
                        let mut buffer = Vec::new();
                        exchange(&mut stream, &request, &mut buffer).await?;
                        count.took(began);
                        while !each && !count.stop.get() {
                            let began = Instant::now();
                            exchange(&mut stream, &request, &mut buffer).await?;
                            count.took(began);
                        }
                        stream.get_ref().0.set_zero_linger()?;
                    }
                    Ok(())
                })));
            }
        }
        Ask::Http2 { streams } | Ask::Grpc { streams } => {
            let grpc = matches!(ask, Ask::Grpc { .. });
            let address = if grpc { to.grpc } else { to.http2 }.ok_or_else(missing)?;
            tasks.push(run(Box::pin(multiplexed(address, streams, grpc, Rc::clone(count)))));
        }
        Ask::WebSocket { connections } => {
            for _ in 0..connections {
                let count = Rc::clone(count);
                tasks.push(run(Box::pin(async move {
                    let mut stream = connect(to.http1).await?;
                    let key = std::str::from_utf8(WEBSOCKET_KEY)?;
                    let switch = format!(
                        "GET /api/socket HTTP/1.1\r\nhost: {HOST}\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
                         sec-websocket-version: 13\r\nsec-websocket-key: {key}\r\n\r\n"
                    );
                    stream.write_all(switch.as_bytes()).await?;
                    let mut head = Vec::new();
                    while position(&head, b"\r\n\r\n").is_none() {
                        if stream.read_buf(&mut head).await? == 0 {
                            return Err(eyre!("closed before the switch of protocols"));
                        }
                    }
                    if !head.starts_with(b"HTTP/1.1 101") {
                        return Err(eyre!("no switch of protocols: {}", String::from_utf8_lossy(&head)));
                    }
                    // A masked text frame; proxies do not look into it.
                    let mut frame = vec![0x81, 0x80 | 64, 1, 2, 3, 4];
                    frame.resize(6 + 64, b'x');
                    echo(stream, &frame, &count).await
                })));
            }
        }
        Ask::Tcp { connections } => {
            let address = to.tcp.ok_or_else(missing)?;
            for _ in 0..connections {
                let count = Rc::clone(count);
                tasks.push(run(Box::pin(async move { echo(connect(address).await?, &[b'x'; 1024], &count).await })));
            }
        }
    }
    Ok(tasks)
}

/// When the requests of one connection are due.
struct Pace {
    next: Instant,
    every: Duration,
}

impl Pace {
    fn new(rate: f64, index: usize, connections: usize) -> Self {
        let every = Duration::from_secs_f64(connections as f64 / rate);
        Self { next: Instant::now() + every.mul_f64(index as f64 / connections as f64), every }
    }

    /// Waits, and says since when the request counts: one that is sent late because the last
    /// answer was late has waited since it was due.
    async fn due(&mut self, idle_since: Instant) -> Instant {
        let due = self.next;
        self.next += self.every;
        if due > idle_since {
            tokio::time::sleep_until(due.into()).await;
            // The timer's own lateness, up to a millisecond, is no proxy's.
            return Instant::now();
        }
        due
    }
}

async fn keep_asking(to: SocketAddr, requests: Vec<Bytes>, mut pace: Option<Pace>, count: Rc<Count>) -> Result<()> {
    let mut stream = connect(to).await?;
    let mut buffer = Vec::new();
    let mut last = Instant::now();
    for request in requests.iter().cycle() {
        if count.stop.get() {
            break;
        }
        let began = match &mut pace {
            Some(pace) => pace.due(last).await,
            None => Instant::now(),
        };
        exchange(&mut stream, request, &mut buffer).await?;
        count.took(began);
        last = Instant::now();
    }
    Ok(())
}

pub async fn connect(to: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(to).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// One request and its whole answer.
pub async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    request: &[u8],
    buffer: &mut Vec<u8>,
) -> Result<()> {
    stream.write_all(request).await?;
    stream.flush().await?;
    buffer.clear();
    buffer.reserve(16 * 1024);
    let end = loop {
        if stream.read_buf(buffer).await? == 0 {
            return Err(eyre!("closed before an answer"));
        }
        if let Some(end) = position(buffer, b"\r\n\r\n") {
            break end + 4;
        }
    };
    if !buffer.starts_with(b"HTTP/1.1 200") {
        return Err(eyre!("not served: {}", String::from_utf8_lossy(&buffer[..end])));
    }
    let head = std::str::from_utf8(&buffer[..end])?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    let mut left =
        (end + length.ok_or_else(|| eyre!("an answer without length:\n{head}"))?).saturating_sub(buffer.len());
    while left > 0 {
        buffer.clear();
        buffer.reserve(64 * 1024);
        match stream.read_buf(buffer).await? {
            0 => return Err(eyre!("closed within an answer")),
            read => left = left.saturating_sub(read),
        }
    }
    Ok(())
}

async fn echo(mut stream: TcpStream, message: &[u8], count: &Count) -> Result<()> {
    let mut back = vec![0; message.len()];
    while !count.stop.get() {
        let began = Instant::now();
        stream.write_all(message).await?;
        stream.read_exact(&mut back).await?;
        count.took(began);
    }
    Ok(())
}

/// `streams` requests at a time on one connection.
async fn multiplexed(to: SocketAddr, streams: usize, grpc: bool, count: Rc<Count>) -> Result<()> {
    let stream = TokioIo::new(connect(to).await?);
    let (sender, connection) = http2::Builder::new(Local).handshake::<_, Full<Bytes>>(stream).await?;
    let connection = spawn_local(connection);
    let one = |mut sender: http2::SendRequest<Full<Bytes>>, count: Rc<Count>| async move {
        while !count.stop.get() {
            let began = Instant::now();
            let request = if grpc {
                http::Request::post(format!("http://{GRPC_HOST}/echo.Echo/Say"))
                    .header("content-type", "application/grpc")
                    .header("te", "trailers")
                    .body(Full::from(Bytes::from_static(
                        b"\0\0\0\0\x40 sixty-four bytes of a message, as small calls have them, fill it",
                    )))?
            } else {
                http::Request::get(format!("http://{HOST}/api/small")).body(Full::default())?
            };
            let response = sender.send_request(request).await?;
            let ok = response.status().is_success();
            let body = response.into_body().collect().await?;
            let fine = !grpc
                || body
                    .trailers()
                    .is_some_and(|trailers| trailers.get("grpc-status").is_some_and(|status| status == "0"));
            if !ok || !fine {
                return Err(eyre!("not served"));
            }
            count.took(began);
        }
        Ok(())
    };
    let all = futures::future::try_join_all((0..streams).map(|_| one(sender.clone(), Rc::clone(&count)))).await;
    connection.abort();
    all.map(drop)
}
