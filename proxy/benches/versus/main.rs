//! gwproxy and its rivals side by side. How to run and read it: docs/performance.md.

use std::{
    cell::Cell,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use clap::Parser;
use color_eyre::{
    Result,
    eyre::{WrapErr, eyre},
};
use tokio::{runtime::LocalOptions, time::sleep};

use client::{Ask, Measured, Tls, drive};
use figures::Column;
use machine::Running;
use peers::Backend;
use proxies::{Certificate, HOST, Job, Listens, Proxy};

mod api;
mod client;
mod curves;
mod figures;
mod idle;
mod instructions;
mod machine;
mod peers;
mod proxies;

#[derive(Debug, Parser)]
#[command(name = "versus")]
struct Args {
    /// Workloads, or `all`; `list` names them
    #[arg(long, value_delimiter = ',', default_value = "small")]
    workloads: Vec<String>,
    /// Rivals, of those that are installed [default: all]
    #[arg(long, value_delimiter = ',')]
    rivals: Option<Vec<String>>,
    /// Another gwproxy to compare with, as NAME=PATH
    #[arg(long)]
    also: Vec<String>,
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Seconds that one round of one proxy is measured
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    #[arg(long, default_value_t = 0)]
    proxy_core: usize,
    /// For the load and the backend
    #[arg(long)]
    load_core: Option<usize>,
    #[arg(long, default_value_t = 21_000)]
    port: u16,
    /// Idle connections of the workload `idle`
    #[arg(long, default_value_t = 10_000)]
    idle: usize,
    /// Where to append what was measured, a line of JSON a workload
    #[arg(long)]
    json: Option<PathBuf>,
    /// Measure nothing: draw the curves of what --json has written into this folder
    #[arg(long, requires = "json")]
    curves: Option<PathBuf>,
    /// cargo says so to every bench
    #[arg(long, hide = true)]
    bench: bool,
    #[arg(long, hide = true)]
    role: Option<String>,
    #[arg(long, hide = true)]
    at: Option<SocketAddr>,
    #[arg(long, hide = true)]
    to: Option<SocketAddr>,
}

const C: usize = 32;
/// Name, routes in the table, what is asked.
const WORKLOADS: &[(&str, usize, Ask)] = &[
    ("small", 1, Ask::Http1 { path: "/api/small", connections: C }),
    ("16k", 1, Ask::Http1 { path: "/api/16k", connections: C }),
    ("1m", 1, Ask::Http1 { path: "/api/1m", connections: 8 }),
    ("connect", 1, Ask::Connect { connections: C }),
    ("tls", 1, Ask::Tls { connections: C, connect: false, resume: false }),
    ("tls-full", 1, Ask::Tls { connections: 16, connect: true, resume: false }),
    ("tls-resumed", 1, Ask::Tls { connections: 16, connect: true, resume: true }),
    ("h2", 1, Ask::Http2 { streams: 1 }),
    ("h2-100", 1, Ask::Http2 { streams: 100 }),
    ("grpc", 1, Ask::Grpc { streams: 32 }),
    ("websocket", 1, Ask::WebSocket { connections: C }),
    ("tcp", 1, Ask::Tcp { connections: C }),
    ("routes-1", 1, Ask::Routes { routes: 1, connections: C }),
    ("routes-100", 100, Ask::Routes { routes: 100, connections: C }),
    ("routes-5000", 5_000, Ask::Routes { routes: 5_000, connections: C }),
    ("routes-50000", 50_000, Ask::Routes { routes: 50_000, connections: C }),
    ("connections-1", 1, Ask::Http1 { path: "/api/small", connections: 1 }),
    ("connections-512", 1, Ask::Http1 { path: "/api/small", connections: 512 }),
];
/// The same load for all: half of what the slowest can do.
const PACED: &str = "paced";
const IDLE: &str = "idle";
const INSTRUCTIONS: &str = "instructions";
/// Not the data plane: the local API.
const API: &str = "api";

fn main() -> Result<()> {
    let args = Args::parse();
    if let (Some(into), Some(json)) = (&args.curves, &args.json) {
        return curves::draw(json, into);
    }
    // Whoever installed one before us decides.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    match (args.role.as_deref(), args.at, args.to) {
        (Some("backend"), Some(at), _) => runtime.block_on(peers::backend(Backend::at(at.port()))),
        (Some("floor"), Some(at), Some(to)) => runtime.block_on(peers::floor(at, to)),
        (Some(other), ..) => Err(eyre!("no such role: {other}")),
        (None, ..) => runtime.block_on(compare(&args)),
    }
}

/// A proxy that runs for the length of one workload.
struct Contestant {
    running: Running,
    listens: Listens,
    dir: PathBuf,
}

struct Bench<'a> {
    args: &'a Args,
    proxies: Vec<Proxy>,
    dir: PathBuf,
    backend: Backend,
    certificate: Certificate,
    tls: Tls,
    next_port: Cell<u16>,
}

async fn compare(args: &Args) -> Result<()> {
    let names: Vec<&str> = WORKLOADS.iter().map(|(name, ..)| *name).chain([PACED, IDLE, INSTRUCTIONS, API]).collect();
    let wanted: Vec<&str> = match args.workloads.as_slice() {
        [one] if one == "list" => {
            println!("{}", names.join("\n"));
            return Ok(());
        }
        [one] if one == "all" => names.clone(),
        some => some.iter().map(String::as_str).collect(),
    };
    if let Some(unknown) = wanted.iter().find(|name| !names.contains(name)) {
        return Err(eyre!("no workload {unknown}; there are {}", names.join(", ")));
    }
    let own = Path::new(env!("CARGO_BIN_EXE_gwproxy"));
    let mut proxies = vec![Proxy::own("gwproxy", own)];
    for also in &args.also {
        let (name, path) = also.split_once('=').ok_or_else(|| eyre!("--also wants NAME=PATH, not {also}"))?;
        proxies.push(Proxy::own(name, Path::new(path)));
    }
    let mut missing = Vec::new();
    for (name, rival) in Proxy::rivals()? {
        if args.rivals.as_ref().is_some_and(|wanted| !wanted.iter().any(|one| one == name)) {
            continue;
        }
        match rival {
            Some(rival) => proxies.push(rival),
            None => missing.push(name),
        }
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let load_core = args.load_core.unwrap_or(usize::from(cores > 1));
    machine::pin(load_core)?;

    println!("{}, {}", jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M UTC"), machine::processor());
    println!(
        "proxy on core {}, load and backend on core {load_core}; load average {}",
        args.proxy_core,
        machine::load()
    );
    for proxy in &proxies {
        println!("{}: {}", proxy.name, proxy.version);
    }
    if !missing.is_empty() {
        println!("missing, because not installed: {}", missing.join(", "));
    }
    if args.rounds < figures::ROUNDS_LEAST {
        println!("fewer than {} rounds: no ratios", figures::ROUNDS_LEAST);
    }

    let dir = tempfile::tempdir()?;
    let backend = Backend::at(args.port);
    let backend_args = ["--role", "backend", "--at", &backend.http1.to_string()].map(str::to_owned);
    let backend_log = dir.path().join("backend.log");
    let _backend = Running::start(load_core, &std::env::current_exe()?, &backend_args, &backend_log)?;
    let certificate = Certificate::new()?;
    let tls = Tls::new(&certificate.chain)?;
    let next_port = Cell::new(args.port + 10);
    let bench = Bench { args, proxies, dir: dir.path().to_owned(), backend, certificate, tls, next_port };
    for name in wanted {
        let columns = match name {
            IDLE => {
                idle::report(&bench).await?;
                continue;
            }
            INSTRUCTIONS => {
                instructions::report(&bench).await?;
                continue;
            }
            API => {
                api::report(&bench).await?;
                continue;
            }
            PACED => bench.paced().await?,
            name => {
                let (_, routes, ask) =
                    WORKLOADS.iter().find(|(known, ..)| *known == name).ok_or_else(|| eyre!("{name}"))?;
                bench.run(*ask, *routes, None).await?
            }
        };
        println!("\n## {name} (load average {})\n", machine::load());
        println!("{}", figures::table(&columns, name == PACED));
        println!("{}", figures::rounds(&columns));
        if let Some(own) = columns.first()
            && let Some(why) = own.unserved()
        {
            return Err(eyre!("{name}: gwproxy {why}"));
        }
        if let Some(file) = &args.json {
            use std::io::Write as _;
            let mut out = fs::OpenOptions::new().create(true).append(true).open(file)?;
            writeln!(out, "{}", figures::json(name, &columns))?;
        }
    }
    Ok(())
}

/// Waits until what a start leaves to do is done: gwproxy writes the status of every route after
/// it serves them, in the same process.
async fn settled(running: &Running) -> Result<()> {
    let until = Instant::now() + Duration::from_secs(120);
    let mut before = running.cpu()?;
    let mut quiet = 0;
    while quiet < 3 && Instant::now() < until {
        sleep(Duration::from_millis(200)).await;
        let now = running.cpu()?;
        quiet = if now.saturating_sub(before) < Duration::from_millis(4) { quiet + 1 } else { 0 };
        before = now;
    }
    Ok(())
}

impl Bench<'_> {
    async fn start(&self, proxy: &Proxy, routes: usize) -> Result<Contestant> {
        let port = self.next_port.replace(self.next_port.get() + 10);
        let dir = self.dir.join(format!("{}-{port}", proxy.name));
        let (backend, certificate) = (self.backend, &self.certificate);
        let job = Job { core: self.args.proxy_core, dir: &dir, backend, certificate, port, routes };
        let (mut running, listens) = proxy.start(&job)?;
        // A big table takes its time, and callgrind many times that.
        let patience = if proxy.under.is_empty() { 20 } else { 180 };
        let until = Instant::now() + Duration::from_secs(patience + routes as u64 / 50);
        let last = format!("GET /api/small HTTP/1.1\r\nhost: {}\r\n\r\n", proxies::host(routes.max(1) - 1));
        loop {
            let first = format!("GET /api/small HTTP/1.1\r\nhost: {HOST}\r\n\r\n");
            let answers = async {
                let mut stream = client::connect(listens.http1).await?;
                client::exchange(&mut stream, first.as_bytes(), &mut Vec::new()).await?;
                client::exchange(&mut stream, last.as_bytes(), &mut Vec::new()).await
            };
            match tokio::time::timeout(Duration::from_secs(1), answers).await {
                Ok(Ok(())) => {
                    settled(&running).await?;
                    return Ok(Contestant { running, listens, dir });
                }
                _ if running.has_ended() || Instant::now() > until => {
                    return Err(proxies::said(&dir)).wrap_err_with(|| format!("{} did not start", proxy.name));
                }
                _ => sleep(Duration::from_millis(50)).await,
            }
        }
    }

    /// Round after round, each proxy once a round; the others stand still meanwhile.
    async fn run(&self, ask: Ask, routes: usize, rate: Option<f64>) -> Result<Vec<Column>> {
        let mut contestants = Vec::new();
        let mut columns = Vec::new();
        for proxy in &self.proxies {
            let started = self.start(proxy, routes).await;
            let missing = started.as_ref().err().map(|error| {
                eprintln!("{error:?}");
                format!("{error}")
            });
            columns.push(Column { name: proxy.name.clone(), rounds: Vec::new(), rss: 0, missing });
            contestants.push(started.ok());
        }
        let times =
            (Duration::from_secs_f64((self.args.seconds / 3.0).min(0.3)), Duration::from_secs_f64(self.args.seconds));
        for _ in 0..self.args.rounds {
            for (contestant, column) in contestants.iter_mut().zip(&mut columns) {
                let Some(Contestant { running, listens, dir }) = contestant else { continue };
                if column.missing.is_some() {
                    continue;
                }
                match drive(ask, *listens, &self.tls, times, rate, || running.cpu()).await {
                    Ok(measured) => column.rounds.push(measured),
                    Err(error) => column.missing = Some(error.to_string()),
                }
                if running.has_ended() {
                    eprintln!("{}: {}", column.name, proxies::said(dir));
                    column.missing = Some("it ended during the run".to_owned());
                }
            }
        }
        for (contestant, column) in contestants.iter().zip(&mut columns) {
            column.rss = contestant.as_ref().map_or(0, |contestant| contestant.running.rss());
        }
        Ok(columns)
    }

    async fn paced(&self) -> Result<Vec<Column>> {
        let ask = Ask::Http1 { path: "/api/small", connections: C };
        let most = self.run(ask, 1, None).await?;
        let rates = most.iter().filter(|column| column.missing.is_none()).map(|column| {
            let rate = |round: &Measured| round.requests as f64 / round.wall.as_secs_f64();
            figures::median(&column.rounds.iter().map(rate).collect::<Vec<_>>())
        });
        let rate = rates.fold(f64::INFINITY, f64::min) / 2.0;
        println!("\npaced: {rate:.0} requests a second");
        self.run(ask, 1, Some(rate)).await
    }
}
