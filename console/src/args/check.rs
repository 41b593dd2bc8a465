//! The flags of `gwtop check`, `gwtop preflight` and `gwtop explain`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use gwtop::{
    check::{self, catalogue::Suite, command},
    finding::Severity,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FailOn {
    Error,
    Warning,
    Info,
    Never,
}

#[derive(Debug, Args)]
#[command(
    after_help = "EXIT CODES\n  0 nothing as grave as --fail-on  1 findings  2 usage\n  8 API unreachable, or something could not be looked at"
)]
pub(crate) struct Check {
    /// File, folder or - for stdin; may be given several times
    #[arg(short, long = "filename", value_name = "FILE|DIR|-")]
    pub(crate) filename: Vec<PathBuf>,
    /// Look at the files only, not at the cluster
    #[arg(long, requires = "filename")]
    pub(crate) offline: bool,
    /// All namespaces
    #[arg(short = 'A', long)]
    pub(crate) all_namespaces: bool,
    /// Only these checks: ids, or beginnings of them
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// Not these checks
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    pub(crate) skip: Vec<String>,
    /// JSON of an earlier run: what it found is left out
    #[arg(long, value_name = "FILE")]
    pub(crate) baseline: Option<PathBuf>,
    /// Findings as grave as this make the exit code 1
    #[arg(long, value_enum, default_value = "error")]
    pub(crate) fail_on: FailOn,
    /// Class of Ingresses that is moved away from; may be given several times
    #[arg(long, value_name = "CLASS", default_value = "nginx")]
    pub(crate) ingress_class: Vec<String>,
    /// Do not ask listeners and DNS
    #[arg(long)]
    pub(crate) no_network: bool,
    #[arg(short, long, value_enum, default_value = "text")]
    pub(crate) output: command::Output,
}

#[derive(Debug, Args)]
pub(crate) struct Preflight {
    /// Release of Kubernetes that is upgraded to
    #[arg(long, value_name = "RELEASE", default_value = "1.36", value_parser = release)]
    pub(crate) target: (u32, u32),
    #[command(flatten)]
    pub(crate) check: Check,
}

#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// Id of a check, such as RT002; without it all are listed
    pub(crate) id: Option<String>,
}

fn release(text: &str) -> Result<(u32, u32), String> {
    let mut parts = text.trim_start_matches('v').split('.').map(str::parse);
    match (parts.next(), parts.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => Ok((major, minor)),
        _ => Err("write it like 1.36".to_owned()),
    }
}

impl Check {
    /// The checks, and what is done with what they find.
    pub(crate) fn split(
        self,
        namespace: Option<String>,
        suite: Suite,
        target: (u32, u32),
    ) -> (check::Options, command::Run) {
        let fail_on = match self.fail_on {
            FailOn::Error => Some(Severity::Error),
            FailOn::Warning => Some(Severity::Warning),
            FailOn::Info => Some(Severity::Info),
            FailOn::Never => None,
        };
        let options =
            check::Options { suite, target, only: self.only, skip: self.skip, ingress_classes: self.ingress_class };
        let run = command::Run {
            output: self.output,
            fail_on,
            baseline: self.baseline,
            files: self.filename,
            all_namespaces: self.all_namespaces,
            namespace,
            network: !self.no_network,
        };
        (options, run)
    }
}
