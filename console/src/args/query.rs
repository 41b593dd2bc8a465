//! Flags of the commands that answer questions.

use clap::{Args, Subcommand};
use gwtop::{
    query::{Findings, Output, Scope},
    screen::Tab,
};

#[derive(Debug, Subcommand)]
pub(crate) enum Question {
    /// Everything about one object on one page
    Describe(Describe),
    /// Events of Gateways, routes and what they stand on
    Events(Events),
    /// Objects of a kind with their health
    Get(Get),
    /// What is wrong, worst first; exits 1 if something is
    Status(Status),
    /// Traffic by route, backend or Gateway, busiest first
    Top(Top),
    /// What hangs on what, from the class down to the endpoints
    Tree(Tree),
    /// Why an object does not work: the first broken hop, its evidence and the fix
    Why(Why),
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Where {
    /// All namespaces
    #[arg(short = 'A', long)]
    pub(crate) all_namespaces: bool,
    /// Print again whenever the answer changes
    #[arg(short, long)]
    pub(crate) watch: bool,
}

impl Where {
    pub(crate) fn scope(&self, namespace: &str) -> Scope {
        Scope { namespace: (!self.all_namespaces).then(|| namespace.to_owned()), watch: self.watch }
    }
}

#[derive(Debug, Args)]
#[command(after_help = "EXIT CODES\n  0 all well  1 something is wrong  2 usage  8 API unreachable")]
pub(crate) struct Status {
    #[command(flatten)]
    pub(crate) place: Where,
    /// Only objects with these labels
    #[arg(short = 'l', long, value_name = "LABELS", conflicts_with = "watch")]
    pub(crate) selector: Option<String>,
    #[arg(short, long, value_enum, default_value = "text")]
    pub(crate) output: Findings,
}

#[derive(Debug, Args)]
#[command(
    after_help = "EXIT CODES\n  0 the way is open  1 it is broken  2 usage, or no such object  8 API unreachable"
)]
pub(crate) struct Why {
    /// NAME of a route or Gateway, NAMESPACE/NAME, or KIND/NAME
    #[arg(required = true, num_args = 1..=2, value_name = "OBJECT")]
    pub(crate) object: Vec<String>,
    /// Print again whenever the answer changes
    #[arg(short, long)]
    pub(crate) watch: bool,
    #[arg(short, long, value_enum, default_value = "text")]
    pub(crate) output: Findings,
}

#[derive(Debug, Args)]
pub(crate) struct Tree {
    /// NAME of a route or Gateway, NAMESPACE/NAME, or KIND/NAME; without it everything
    #[arg(num_args = 0..=2, value_name = "OBJECT")]
    pub(crate) object: Vec<String>,
    #[command(flatten)]
    pub(crate) place: Where,
    #[arg(short, long, value_enum, default_value = "text")]
    pub(crate) output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct Get {
    /// A kind by any name that kubectl takes, and names of objects
    #[arg(required = true, value_name = "KIND [NAME]...")]
    pub(crate) what: Vec<String>,
    #[command(flatten)]
    pub(crate) place: Where,
    #[arg(short, long, value_enum, default_value = "text")]
    pub(crate) output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct Describe {
    /// NAME of a route or Gateway, NAMESPACE/NAME, or KIND/NAME
    #[arg(required = true, num_args = 1..=2, value_name = "OBJECT")]
    pub(crate) object: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Events {
    /// NAME of a route or Gateway, NAMESPACE/NAME, or KIND/NAME; without it those of all
    #[arg(num_args = 0..=2, value_name = "OBJECT")]
    pub(crate) object: Vec<String>,
    #[command(flatten)]
    pub(crate) place: Where,
    #[arg(short, long, value_enum, default_value = "text")]
    pub(crate) output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum By {
    Routes,
    Backends,
    Gateways,
}

impl By {
    pub(crate) const fn tab(self) -> Tab {
        match self {
            Self::Routes => Tab::Routes,
            Self::Backends => Tab::Backends,
            Self::Gateways => Tab::Gateways,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Top {
    #[arg(value_enum, default_value = "routes")]
    pub(crate) by: By,
    #[command(flatten)]
    pub(crate) place: Where,
    #[arg(short, long, value_enum, default_value = "text")]
    pub(crate) output: Output,
}
