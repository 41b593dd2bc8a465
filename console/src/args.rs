//! The command line. Only clap: what flags mean is in `settings` and `canary`.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use gwtop::{canary::OnInterrupt, migrate::Layout, settings};

/// The operations console for the Kubernetes Gateway API.
///
/// Without a command it opens the console.
#[derive(Debug, Parser)]
#[command(name = "gwtop", version)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// The flags of kubectl.
#[derive(Debug, Args)]
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
    Canary(Box<Canary>),
    /// Start a live gateway with no cluster and open the console on it
    Demo(Demo),
    /// Turn Ingresses into Gateway API objects, with a report and a proof
    Migrate(Box<Migrate>),
    /// Health of Gateways and routes; exits 1 if something is wrong
    Status(Status),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Text,
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Play the story without a terminal and check it
    #[arg(long)]
    pub(crate) headless: bool,
    /// Write pictures of the console on the running demo to this folder
    #[arg(long, value_name = "DIR", hide = true, conflicts_with = "headless")]
    pub(crate) pictures: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Status {
    /// All namespaces
    #[arg(short = 'A', long)]
    pub(crate) all_namespaces: bool,
    /// Only objects with these labels
    #[arg(short = 'l', long, value_name = "LABELS")]
    pub(crate) selector: Option<String>,
    #[arg(short, long, value_enum, default_value = "text")]
    pub(crate) output: Format,
}

#[derive(Debug, Args)]
#[command(
    after_help = "EXIT CODES\n  0 done  2 refused, nothing written  3 rolled back  4 ROLLBACK FAILED  5 stopped, rolled back\n  6 someone else wrote or holds the route  7 inconclusive, rolled back  8 API unreachable or not authorised\n  9 target gone  10 left with the canary live"
)]
pub(crate) struct Canary {
    /// HTTPRoute; may be left out where the namespace has one with two backends
    #[arg(value_name = "[NAMESPACE/]NAME")]
    pub(crate) route: Option<String>,
    /// Percent points of each step
    #[arg(long, default_value = "5", value_parser = settings::percent)]
    pub(crate) step: f64,
    /// Percent at which stepping ends
    #[arg(long, default_value = "50", value_parser = settings::percent)]
    pub(crate) max: f64,
    /// After the maximum, go to 100 %
    #[arg(long)]
    pub(crate) promote: bool,
    /// How long each step is observed
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = settings::duration)]
    pub(crate) interval: Duration,
    /// URL that must answer 2xx before and during each step
    #[arg(long, value_name = "URL")]
    pub(crate) check: Option<String>,
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = settings::duration)]
    pub(crate) check_timeout: Duration,
    /// Time between two checks
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = settings::duration)]
    pub(crate) check_every: Duration,
    /// Time between two looks at the metrics
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = settings::duration)]
    pub(crate) scrape_every: Duration,
    /// Share of 5xx answers that the canary may give
    #[arg(long, value_name = "SHARE", default_value = "1%", value_parser = settings::share)]
    pub(crate) max_error_rate: f64,
    /// Duration that 99 % of the canary's requests must not exceed
    #[arg(long, value_name = "TIME", value_parser = settings::duration)]
    pub(crate) max_p99: Option<Duration>,
    /// Requests that a pass takes; derived from --max-error-rate unless given
    #[arg(long, value_name = "N")]
    pub(crate) min_requests: Option<u64>,
    /// Judge by --check alone
    #[arg(long)]
    pub(crate) no_metrics: bool,
    /// How long to wait for evidence after the interval before rolling back
    #[arg(long, value_name = "TIME", default_value = "15m", value_parser = settings::duration)]
    pub(crate) hold: Duration,
    /// How long the data plane may take to show new weights
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = settings::duration)]
    pub(crate) converge: Duration,
    /// Index of the rule, from 0
    #[arg(long, value_name = "N")]
    pub(crate) rule: Option<usize>,
    /// Backend that keeps the rest of the traffic
    #[arg(long, value_name = "NAME")]
    pub(crate) stable: Option<String>,
    /// Backend that is given more and more
    #[arg(long, value_name = "NAME")]
    pub(crate) canary: Option<String>,
    /// Go on from weights that the manifest left out
    #[arg(long)]
    pub(crate) adopt: bool,
    /// Go on, with these settings, from what an earlier run left behind
    #[arg(long, conflicts_with = "rollback")]
    pub(crate) take_over: bool,
    /// Only undo what an earlier run left behind
    #[arg(long)]
    pub(crate) rollback: bool,
    /// Print every patch and write nothing
    #[arg(long, conflicts_with = "rollback")]
    pub(crate) dry_run: bool,
    #[arg(short, long, value_enum, default_value = "text")]
    pub(crate) output: Format,
    /// Do not name the cluster first; nothing is ever asked
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// What SIGINT, SIGTERM and SIGHUP do
    #[arg(long, value_enum, default_value = "rollback")]
    pub(crate) on_interrupt: OnInterrupt,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Manifests {
    Yaml,
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DryRun {
    /// The server's own validation of every object
    Server,
}

#[derive(Debug, Args)]
#[command(
    after_help = "EXIT CODES\n  0 everything is converted  1 something is left out, differs, or is below --min-fidelity\n  2 usage  8 API unreachable or not authorised"
)]
pub(crate) struct Migrate {
    /// File, folder or - for stdin; may be given several times. Without it the cluster is read
    #[arg(short, long = "filename", value_name = "FILE|DIR|-")]
    pub(crate) filename: Vec<PathBuf>,
    /// All namespaces
    #[arg(short = 'A', long)]
    pub(crate) all_namespaces: bool,
    /// Ingresses of this class; those without one are always taken
    #[arg(long, value_name = "CLASS", default_value = "nginx")]
    pub(crate) ingress_class: Vec<String>,
    /// Implementation that the output is for
    #[arg(long = "for", value_name = "PROFILE", default_value = "standard", value_parser = clap::builder::PossibleValuesParser::new(gwtop::migrate::profile::PROFILES.iter().map(|one| one.name)))]
    pub(crate) profile: String,
    /// GatewayClass, instead of the profile's
    #[arg(long, value_name = "NAME")]
    pub(crate) gateway_class: Option<String>,
    /// Where listeners go
    #[arg(long, value_enum, default_value = "shared")]
    pub(crate) layout: Layout,
    #[arg(long, value_name = "NAME", default_value = "ingress")]
    pub(crate) gateway: String,
    #[arg(long, value_name = "NAMESPACE", default_value = "gateway-system")]
    pub(crate) gateway_namespace: String,
    #[arg(short, long, value_enum, default_value = "yaml")]
    pub(crate) output: Manifests,
    /// One file for each object, instead of stdout
    #[arg(long, value_name = "DIR")]
    pub(crate) output_dir: Option<PathBuf>,
    /// Write the report; its ending says how: .json, .sarif, .html, .txt. May be given several times
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Vec<PathBuf>,
    /// Write the plan of the move, as Markdown
    #[arg(long, value_name = "FILE")]
    pub(crate) plan: Option<PathBuf>,
    /// Ask ingress-nginx's semantics and the new table the same requests
    #[arg(long)]
    pub(crate) prove: bool,
    /// Ask the requests of an access log too
    #[arg(long, value_name = "ACCESS-LOG")]
    pub(crate) replay: Vec<PathBuf>,
    /// Percent below which the run fails
    #[arg(long, value_name = "PERCENT", value_parser = settings::percent)]
    pub(crate) min_fidelity: Option<f64>,
    #[arg(long, value_enum)]
    pub(crate) dry_run: Option<DryRun>,
    /// Tell of every field, not only of those that are not exact
    #[arg(short, long)]
    pub(crate) verbose: bool,
}
