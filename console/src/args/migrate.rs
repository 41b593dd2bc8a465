//! The flags of `gwtop migrate`.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};
use gwtop::{
    migrate::{Layout, live::Endpoint},
    settings,
};

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
    /// Send the same safe requests to both proxies and compare status, headers and bodies: an
    /// address (ports 80 and 443) or a URL each
    #[arg(long, num_args = 2, value_names = ["OLD", "NEW"], value_parser = Endpoint::parse)]
    pub(crate) live: Vec<Endpoint>,
    /// Follow the progress of the cluster's Ingresses instead, until none is left
    #[arg(long, conflicts_with_all = ["filename", "live", "prove", "replay", "report", "plan", "output_dir", "dry_run"])]
    pub(crate) watch: bool,
    /// How often --watch looks
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = settings::duration, requires = "watch")]
    pub(crate) interval: Duration,
    /// Percent below which the run fails
    #[arg(long, value_name = "PERCENT", value_parser = settings::percent)]
    pub(crate) min_fidelity: Option<f64>,
    #[arg(long, value_enum)]
    pub(crate) dry_run: Option<DryRun>,
    /// Tell of every field, not only of those that are not exact
    #[arg(short, long)]
    pub(crate) verbose: bool,
}
