//! The command line. Only clap: what flags mean is in `settings` and `canary`.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use gwtop::settings;

pub(crate) mod canary;
pub(crate) mod check;
pub(crate) mod migrate;
pub(crate) mod query;
pub(crate) mod run;

/// The operations console for the Kubernetes Gateway API.
///
/// Without a command it opens the console.
#[derive(Debug, Parser)]
#[command(name = "gwtop", version, args_override_self = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// The flags of kubectl.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Options of every command")]
pub(crate) struct Global {
    /// Kubeconfig to use instead of $KUBECONFIG and ~/.kube/config
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig
    #[arg(long, global = true)]
    pub(crate) context: Option<String>,
    /// Cluster of the kubeconfig, instead of the context's
    #[arg(long, global = true)]
    pub(crate) cluster: Option<String>,
    /// User of the kubeconfig, instead of the context's
    #[arg(long, global = true)]
    pub(crate) user: Option<String>,
    /// Namespace, instead of the context's
    #[arg(short, long, global = true)]
    pub(crate) namespace: Option<String>,
    /// How long one call to the API may take
    #[arg(long, global = true, value_name = "TIME", default_value = "10s", value_parser = settings::duration)]
    pub(crate) request_timeout: Duration,
    /// Prometheus URL of a proxy, instead of discovery; may be given several times
    #[arg(long = "metrics-url", global = true, value_name = "URL")]
    pub(crate) metrics_urls: Vec<String>,
    /// Theme of the console: a name (dark, light, high-contrast, mono) or a file
    #[arg(long, global = true, value_name = "NAME|FILE", env = "GWTOP_THEME")]
    pub(crate) theme: Option<String>,
    /// Colours of the console; auto heeds NO_COLOR and what the terminal can do
    #[arg(long, global = true, value_enum, default_value = "auto")]
    pub(crate) color: When,
    /// The console writes nothing
    #[arg(long, global = true)]
    pub(crate) readonly: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum When {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Step a canary's weight by JSON patches, judge every step, roll back by itself
    Canary(Box<canary::Canary>),
    /// Check Gateways, routes and what they stand on; asks every listener too
    Check(Box<check::Check>),
    /// Start a live gateway with no cluster and open the console on it
    Demo(Demo),
    /// Tell what a check is about and what to do
    Explain(check::Explain),
    /// Turn Ingresses into Gateway API objects, with a report and a proof
    Migrate(Box<migrate::Migrate>),
    /// Write what the console would hear to a file, until interrupted
    Record(Record),
    /// Look at a recording in the console: pause, go back, jump to problems
    Replay(Replay),
    /// What stands in the way of an upgrade of Kubernetes
    Preflight(Box<check::Preflight>),
    #[command(flatten)]
    Question(query::Question),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Text,
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct Record {
    /// A file that does not exist yet
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// How long; until interrupted if not given
    #[arg(long = "for", value_name = "TIME", value_parser = settings::duration)]
    pub(crate) time: Option<Duration>,
}

#[derive(Debug, Args)]
pub(crate) struct Replay {
    /// A file that `gwtop record` wrote, or ctrl-s in the console
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Write pictures of its first problem to this folder
    #[arg(long, value_name = "DIR", hide = true)]
    pub(crate) pictures: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Play the story without a terminal and check it
    #[arg(long)]
    pub(crate) headless: bool,
    /// Write pictures of the console on the running demo to this folder
    #[arg(long, value_name = "DIR", hide = true, conflicts_with = "headless")]
    pub(crate) pictures: Option<PathBuf>,
    /// Play an incident instead and record it to this file
    #[arg(long, value_name = "FILE", hide = true, conflicts_with_all = ["headless", "pictures"])]
    pub(crate) incident: Option<PathBuf>,
}
