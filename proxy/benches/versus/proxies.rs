//! gwproxy and its rivals, each with the same job: a table by host and path, one header set,
//! `X-Forwarded-For`, counters per route where the program has them, no access log, connections
//! kept on both sides, one core.

use std::{
    fmt::Write as _,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use color_eyre::{Result, eyre::eyre};

use crate::{
    machine::{Running, find, version},
    peers::Backend,
};

mod envoy;
mod gateway;
mod haproxy;
mod nginx;

/// Of the route that the load asks for; others have names of their own.
pub const HOST: &str = "shop.example";

/// One host has routes of one kind only.
pub const GRPC_HOST: &str = "grpc.example";

/// Host of the route with this number; 0 is [`HOST`].
pub fn host(route: usize) -> String {
    if route == 0 { HOST.to_owned() } else { format!("r{route}.example") }
}

#[derive(Debug, Clone)]
pub enum Kind {
    /// gwproxy itself.
    Own,
    Nginx,
    Haproxy,
    Envoy,
    /// Bytes to the backend, unread.
    Floor,
}

#[derive(Debug, Clone)]
pub struct Proxy {
    pub name: String,
    pub kind: Kind,
    pub program: PathBuf,
    pub version: String,
    /// A program that it is run by, with arguments.
    pub under: Vec<String>,
}

/// Where a proxy listens for each kind of client; `None` is what it cannot do.
#[derive(Debug, Clone, Copy)]
pub struct Listens {
    pub http1: SocketAddr,
    pub http2: Option<SocketAddr>,
    pub tls: Option<SocketAddr>,
    pub grpc: Option<SocketAddr>,
    pub tcp: Option<SocketAddr>,
}

/// What a proxy is started with.
pub struct Job<'a> {
    pub core: usize,
    pub dir: &'a Path,
    pub backend: Backend,
    pub certificate: &'a Certificate,
    /// Distinct for each proxy of a run; it may use this port and the nine after it.
    pub port: u16,
    /// Routes in the table.
    pub routes: usize,
}

impl Job<'_> {
    fn on(&self, offset: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port + offset))
    }

    fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let file = self.dir.join(name);
        fs::write(&file, text)?;
        Ok(file)
    }
}

pub struct Certificate {
    pub chain: String,
    pub key: String,
}

impl Certificate {
    pub fn new() -> Result<Self> {
        let made = rcgen::generate_simple_self_signed([HOST.to_owned()])?;
        Ok(Self { chain: made.cert.pem(), key: made.signing_key.serialize_pem() })
    }
}

impl Proxy {
    pub fn own(name: &str, program: &Path) -> Self {
        let version = version(program, "--version").unwrap_or_default();
        Self { name: name.to_owned(), kind: Kind::Own, program: program.to_owned(), version, under: Vec::new() }
    }

    /// Every rival by its name: installed, or `Err` with what is missing.
    pub fn rivals() -> Result<Vec<(&'static str, Option<Self>)>> {
        let installed = |name: &'static str, kind, flag| {
            let proxy = find(name).map(|program| {
                let version = version(&program, flag).unwrap_or_default();
                Self { name: name.to_owned(), kind, program, version, under: Vec::new() }
            });
            (name, proxy)
        };
        let floor = Self {
            name: "floor".to_owned(),
            kind: Kind::Floor,
            program: std::env::current_exe()?,
            version: "bytes passed on, unread".to_owned(),
            under: Vec::new(),
        };
        Ok(vec![
            installed("nginx", Kind::Nginx, "-v"),
            installed("haproxy", Kind::Haproxy, "-v"),
            installed("envoy", Kind::Envoy, "--version"),
            ("floor", Some(floor)),
        ])
    }

    pub fn start(&self, job: &Job<'_>) -> Result<(Running, Listens)> {
        fs::create_dir_all(job.dir)?;
        let (args, listens) = match self.kind {
            Kind::Own => gateway::prepare(job)?,
            Kind::Nginx => nginx::prepare(job)?,
            Kind::Haproxy => haproxy::prepare(job)?,
            Kind::Envoy => envoy::prepare(job)?,
            Kind::Floor => {
                let listens = Listens { http1: job.on(0), http2: None, tls: None, grpc: None, tcp: Some(job.on(1)) };
                let args = ["--role", "floor", "--at"].map(str::to_owned).into_iter();
                let args = args.chain([job.on(0).to_string(), "--to".to_owned(), job.backend.http1.to_string()]);
                (args.collect(), listens)
            }
        };
        let log = job.dir.join("log");
        let running = match self.under.split_first() {
            None => Running::start(job.core, &self.program, &args, &log)?,
            Some((by, own)) => {
                let program = self.program.display().to_string();
                let args: Vec<String> = own.iter().cloned().chain([program]).chain(args).collect();
                Running::start(job.core, Path::new(by), &args, &log)?
            }
        };
        Ok((running, listens))
    }
}

/// What the process said, when it did not come up.
pub fn said(dir: &Path) -> color_eyre::Report {
    let log = fs::read_to_string(dir.join("log")).unwrap_or_default();
    let mut last = String::new();
    for line in log.lines().rev().take(8).collect::<Vec<_>>().into_iter().rev() {
        let _ = write!(last, "\n  {line}");
    }
    eyre!("it does not answer; it said:{last}")
}
