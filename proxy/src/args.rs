//! The command line.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use gwproxy::start::{ControllerOptions, DEFAULT_ADDRESS_POOL, DEFAULT_API, DEFAULT_METRICS, LocalOptions};
use ipnet::IpNet;

/// A Gateway API implementation whose metrics separate every route, rule and backend.
#[derive(Debug, Parser)]
#[command(name = "gwproxy", version, arg_required_else_help = true)]
pub struct Args {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// A gateway on this host, without Kubernetes: a durable local API that kubectl speaks to,
    /// and the proxy that serves what is in it
    Local(LocalArgs),
    /// Serve the Gateways of a Kubernetes API on this host
    Controller(ControllerArgs),
    /// Say what gwproxy makes of manifests, without a cluster: the conditions of every object, as
    /// status would show them. Exit code 0: all valid; 1: problems; 2: nothing to look at
    Validate(ValidateArgs),
}

#[derive(Debug, ClapArgs)]
pub struct ValidateArgs {
    /// Files, folders, or - for standard input
    #[arg(short = 'f', long = "filename", value_name = "PATH", required = true, num_args = 1..)]
    pub files: Vec<PathBuf>,
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
    /// Addresses for the Gateways that name none themselves
    #[arg(long, value_name = "CIDR", default_value = DEFAULT_ADDRESS_POOL)]
    pub address_pool: IpNet,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Output {
    Table,
    Json,
    Yaml,
}

#[derive(Debug, ClapArgs)]
pub struct Common {
    /// Addresses for the Gateways that name none themselves
    #[arg(long, value_name = "CIDR", default_value = DEFAULT_ADDRESS_POOL)]
    address_pool: IpNet,
    /// Where to serve /metrics, /readyz and /table
    #[arg(long, value_name = "ADDRESS", default_value_t = DEFAULT_METRICS)]
    metrics: SocketAddr,
    /// Write one JSON line a request to this file, or to stdout (-)
    #[arg(long, value_name = "FILE")]
    access_log: Option<PathBuf>,
    /// Serving threads [default: one a core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    workers: Option<u16>,
}

#[derive(Debug, ClapArgs)]
pub struct LocalArgs {
    /// Folder of manifests to load and follow
    #[arg(long, value_name = "DIR")]
    manifests: Option<PathBuf>,
    /// Where the API keeps its objects [default: $XDG_STATE_HOME/gwproxy/local]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Where to serve the Kubernetes API; loopback only
    #[arg(long, value_name = "ADDRESS", default_value_t = DEFAULT_API)]
    api: SocketAddr,
    /// Where to write the kubeconfig [default: kubeconfig in the data folder]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, ClapArgs)]
pub struct ControllerArgs {
    /// Which API to serve [default: as kubectl finds it]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Which context of the kubeconfig
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    #[command(flatten)]
    common: Common,
}

impl From<LocalArgs> for LocalOptions {
    fn from(args: LocalArgs) -> Self {
        let LocalArgs { manifests, data, api, kubeconfig, common } = args;
        let Common { address_pool, metrics, access_log, workers } = common;
        Self { manifests, data, api, address_pool, metrics, access_log, kubeconfig, workers: workers.map(usize::from) }
    }
}

impl From<ControllerArgs> for ControllerOptions {
    fn from(args: ControllerArgs) -> Self {
        let ControllerArgs { kubeconfig, context, common } = args;
        let Common { address_pool, metrics, access_log, workers } = common;
        Self { kubeconfig, context, address_pool, metrics, access_log, workers: workers.map(usize::from) }
    }
}
