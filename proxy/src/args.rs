//! The command line.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use gwproxy::local::portable::Selection;
use gwproxy::start::{
    AuditOptions, ControllerOptions, DEFAULT_ADDRESS_POOL, DEFAULT_API, DEFAULT_METRICS, LocalOptions, Service,
    TlsOptions,
};
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
    /// Write the objects of an API to stdout, as YAML without the fields that the server makes
    Export(ExportArgs),
    /// Create or update the objects of YAML files in an API
    Import(ImportArgs),
    /// Give the local API a new token; the one before is refused from then on
    RotateToken(RotateArgs),
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

/// Which API: one that runs, or a data folder that nobody serves just now
#[derive(Debug, ClapArgs)]
pub struct HomeArgs {
    /// A running API [default: the data folder]
    #[arg(long, value_name = "FILE", conflicts_with = "data")]
    pub kubeconfig: Option<PathBuf>,
    /// The data folder of gwproxy local [default: $XDG_STATE_HOME/gwproxy/local]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
}

#[derive(Debug, ClapArgs)]
pub struct ExportArgs {
    /// Kinds, such as httproutes or deployments.apps [default: all but Events and Leases]
    #[arg(value_name = "KIND", value_delimiter = ',')]
    kinds: Vec<String>,
    /// The namespace to export
    #[arg(short, long, value_name = "NAME", default_value = "default")]
    namespace: String,
    /// Everything, in all namespaces and in none
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Keep what the server wrote, status included
    #[arg(long)]
    server_fields: bool,
    #[command(flatten)]
    pub home: HomeArgs,
}

impl ExportArgs {
    pub fn selection(&self) -> Selection {
        Selection {
            kinds: self.kinds.clone(),
            namespace: (!self.all_namespaces).then(|| self.namespace.clone()),
            server_fields: self.server_fields,
        }
    }
}

#[derive(Debug, ClapArgs)]
pub struct ImportArgs {
    /// YAML or JSON files, or stdin (-)
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    #[command(flatten)]
    pub home: HomeArgs,
}

#[derive(Debug, ClapArgs)]
pub struct RotateArgs {
    /// The data folder of gwproxy local [default: $XDG_STATE_HOME/gwproxy/local]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Which kubeconfig to write the new token to [default: kubeconfig in the data folder]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
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
    /// Where to serve the Kubernetes API, always by TLS and with a token
    #[arg(long, value_name = "ADDRESS", default_value_t = DEFAULT_API)]
    api: SocketAddr,
    /// Where to write the kubeconfig [default: kubeconfig in the data folder]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// A name or address in the API's certificate, besides those of loopback
    #[arg(long, value_name = "NAME")]
    tls_san: Vec<String>,
    /// Certificate of the API, as PEM [default: self-made]
    #[arg(long, value_name = "FILE", requires = "tls_private_key_file")]
    tls_cert_file: Option<PathBuf>,
    /// Key of that certificate
    #[arg(long, value_name = "FILE", requires = "tls_cert_file")]
    tls_private_key_file: Option<PathBuf>,
    /// Write one JSON line an API request to this file
    #[arg(long, value_name = "FILE")]
    audit_log_path: Option<PathBuf>,
    /// Megabytes after which the audit log is rotated
    #[arg(long, value_name = "MB", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    audit_log_maxsize: u64,
    /// How many rotated audit logs are kept
    #[arg(long, value_name = "N", default_value_t = 10)]
    audit_log_maxbackup: u16,
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
        let LocalArgs {
            manifests, data, api, kubeconfig, common, tls_san, tls_cert_file, tls_private_key_file, ..
        } = args;
        let service = Service {
            tls: TlsOptions { files: tls_cert_file.zip(tls_private_key_file), names: tls_san },
            audit: args.audit_log_path.map(|path| AuditOptions {
                path,
                max_size: args.audit_log_maxsize << 20,
                max_backups: usize::from(args.audit_log_maxbackup),
            }),
            ..Service::default()
        };
        let Common { address_pool, metrics, access_log, workers } = common;
        Self {
            manifests,
            data,
            api,
            address_pool,
            metrics,
            access_log,
            kubeconfig,
            workers: workers.map(usize::from),
            service,
        }
    }
}

impl From<ControllerArgs> for ControllerOptions {
    fn from(args: ControllerArgs) -> Self {
        let ControllerArgs { kubeconfig, context, common } = args;
        let Common { address_pool, metrics, access_log, workers } = common;
        Self { kubeconfig, context, address_pool, metrics, access_log, workers: workers.map(usize::from) }
    }
}
