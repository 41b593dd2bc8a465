//! The command line of `gwtop canary`.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand};
use gwtop::{
    canary::{
        OnInterrupt,
        plan::{OnDrift, OnMetricsLoss},
        settings::DryRun,
    },
    settings,
};

use super::Format;

#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    args_override_self = true,
    after_help = "EXIT CODES\n  0 done  2 refused, nothing written  3 rolled back  4 ROLLBACK FAILED  5 stopped, rolled back\n  6 someone else wrote or holds the route  7 inconclusive, rolled back  8 API unreachable or not authorised\n  9 target gone  10 left with the canary live"
)]
pub(crate) struct Canary {
    #[command(subcommand)]
    pub(crate) action: Option<Action>,
    #[command(flatten)]
    pub(crate) run: Run,
}

/// Which run is meant; may be left out where the namespace has one.
#[derive(Debug, Args)]
pub(crate) struct Which {
    #[arg(value_name = "[KIND/][NAMESPACE/]NAME")]
    pub(crate) route: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Runs that are under way, that died, or that ended
    Status {
        #[command(flatten)]
        which: Which,
        /// All namespaces
        #[arg(short = 'A', long)]
        all_namespaces: bool,
        /// Wait for the end, and end with the run's own exit code
        #[arg(short, long)]
        wait: bool,
        #[arg(short, long, value_enum, default_value = "text")]
        output: Format,
    },
    /// Stop advancing; a bad canary is still rolled back
    Pause(Which),
    /// Advance again; takes up a run that died, from any machine
    Resume {
        #[command(flatten)]
        which: Which,
        #[arg(short, long, value_enum, default_value = "text")]
        output: Format,
    },
    /// Go on as soon as the current step passes; also approves it
    Step(Which),
    /// As step, and straight to 100 %
    Promote(Which),
    /// Give the stable backend its share back
    Rollback {
        #[command(flatten)]
        which: Which,
        #[arg(short, long, value_enum, default_value = "text")]
        output: Format,
    },
    /// List runs that died, and clear away Leases of those that ended
    Gc {
        /// All namespaces
        #[arg(short = 'A', long)]
        all_namespaces: bool,
        /// Roll back what died
        #[arg(long)]
        rollback_expired: bool,
        #[arg(short, long, value_enum, default_value = "text")]
        output: Format,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Run {
    /// Routes, moved together; may be left out where the namespace has one HTTPRoute with two backends
    #[arg(value_name = "[KIND/][NAMESPACE/]NAME")]
    pub(crate) routes: Vec<String>,
    /// TOML or YAML file with any of these flags; flags on the command line win
    #[arg(long, value_name = "FILE")]
    pub(crate) plan: Option<PathBuf>,

    /// Percent points of each step
    #[arg(long, default_value = "5", value_parser = settings::percent, help_heading = "Steps")]
    pub(crate) step: f64,
    /// Percent of each step, instead of --step and --max, down to 0.01
    #[arg(long, value_name = "N,N,…", value_delimiter = ',', value_parser = settings::percent, conflicts_with_all = ["step", "max"], help_heading = "Steps")]
    pub(crate) steps: Vec<f64>,
    /// Percent at which stepping ends
    #[arg(long, default_value = "50", value_parser = settings::percent, help_heading = "Steps")]
    pub(crate) max: f64,
    /// After the maximum, go to 100 %
    #[arg(long, help_heading = "Steps")]
    pub(crate) promote: bool,
    /// How long each step is observed
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = settings::duration, help_heading = "Steps")]
    pub(crate) interval: Duration,
    /// How long 100 % is observed; --interval unless given
    #[arg(long, value_name = "TIME", value_parser = settings::duration, help_heading = "Steps")]
    pub(crate) soak: Option<Duration>,
    /// Wait for `gwtop canary step` after the step that reaches this percent
    #[arg(long, value_name = "PERCENT", value_delimiter = ',', value_parser = settings::percent, help_heading = "Steps")]
    pub(crate) approve_at: Vec<f64>,
    /// Show the canary to requests with this header first, by a rule that is taken away again
    #[arg(long, value_name = "NAME: VALUE", help_heading = "Steps")]
    pub(crate) header: Option<String>,
    /// Show the canary copies of requests first
    #[arg(long, help_heading = "Steps")]
    pub(crate) mirror: bool,

    /// What must be well before and during each step: a URL, service:[NAMESPACE/]NAME[:PORT]//PATH, or exec:COMMAND
    #[arg(long = "check", value_name = "CHECK", help_heading = "Judgement")]
    pub(crate) checks: Vec<String>,
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = settings::duration, help_heading = "Judgement")]
    pub(crate) check_timeout: Duration,
    /// Time between two checks
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = settings::duration, help_heading = "Judgement")]
    pub(crate) check_every: Duration,
    /// PromQL expression that gives one number
    #[arg(long = "query", value_name = "NAME=EXPR", help_heading = "Judgement")]
    pub(crate) queries: Vec<String>,
    /// What a query must not exceed
    #[arg(long, value_name = "NAME=NUMBER", help_heading = "Judgement")]
    pub(crate) query_max: Vec<String>,
    /// What a query must not fall below
    #[arg(long, value_name = "NAME=NUMBER", help_heading = "Judgement")]
    pub(crate) query_min: Vec<String>,
    /// Prometheus server for --query
    #[arg(long, value_name = "URL", help_heading = "Judgement")]
    pub(crate) prometheus_url: Option<String>,
    /// Share of 5xx answers that the canary may give
    #[arg(long, value_name = "SHARE", default_value = "1%", value_parser = settings::share, help_heading = "Judgement")]
    pub(crate) max_error_rate: f64,
    /// Duration that 99 % of the canary's requests must not exceed
    #[arg(long, value_name = "TIME", value_parser = settings::duration, help_heading = "Judgement")]
    pub(crate) max_p99: Option<Duration>,
    /// Chance that a healthy rollout is rolled back, over all its steps, at most
    #[arg(long, value_name = "SHARE", default_value = "1%", value_parser = settings::share, help_heading = "Judgement")]
    pub(crate) alpha: f64,
    /// Chance that a step of a bad canary is passed, at most
    #[arg(long, value_name = "SHARE", default_value = "5%", value_parser = settings::share, help_heading = "Judgement")]
    pub(crate) beta: f64,
    /// How much more errors scatter than independent ones; weakens all evidence by as much
    #[arg(long, value_name = "FACTOR", default_value = "1", help_heading = "Judgement")]
    pub(crate) dispersion: f64,
    /// Requests that a pass takes at least, beside those that --beta makes
    #[arg(long, value_name = "N", help_heading = "Judgement")]
    pub(crate) min_requests: Option<u64>,
    /// Judge by --check and --query alone
    #[arg(long, help_heading = "Judgement")]
    pub(crate) no_metrics: bool,
    /// Time between two looks at the metrics
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = settings::duration, help_heading = "Judgement")]
    pub(crate) scrape_every: Duration,
    /// How long to wait for evidence after the interval before rolling back
    #[arg(long, value_name = "TIME", default_value = "15m", value_parser = settings::duration, help_heading = "Judgement")]
    pub(crate) hold: Duration,
    /// How long the data plane may take to show new weights
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = settings::duration, help_heading = "Judgement")]
    pub(crate) converge: Duration,

    /// The rule: its index from 0, its name, or the path or service/method of a match
    #[arg(long, value_name = "RULE", help_heading = "Target")]
    pub(crate) rule: Option<String>,
    /// Backend that keeps the rest of the traffic
    #[arg(long, value_name = "NAME", help_heading = "Target")]
    pub(crate) stable: Option<String>,
    /// Backend that is given more and more
    #[arg(long, value_name = "NAME", help_heading = "Target")]
    pub(crate) canary: Option<String>,
    /// Go on from weights that the manifest left out
    #[arg(long, help_heading = "Target")]
    pub(crate) adopt: bool,
    /// Go on, with these settings, from what an earlier run left behind
    #[arg(long, conflicts_with = "rollback", help_heading = "Target")]
    pub(crate) take_over: bool,
    /// Begin although something else writes the route
    #[arg(long, help_heading = "Target")]
    pub(crate) force: bool,
    /// Only undo what an earlier run left behind
    #[arg(long, help_heading = "Target")]
    pub(crate) rollback: bool,

    /// What SIGINT, SIGTERM and SIGHUP do: rollback if not given, but SIGINT in a terminal pauses and asks
    #[arg(long, value_enum, help_heading = "Trouble")]
    pub(crate) on_interrupt: Option<OnInterrupt>,
    /// What to do about weights that somebody else wrote
    #[arg(long, value_enum, default_value = "stop", help_heading = "Trouble")]
    pub(crate) on_drift: OnDrift,
    /// What to do when the metrics are gone
    #[arg(long, value_enum, default_value = "hold", help_heading = "Trouble")]
    pub(crate) on_metrics_loss: OnMetricsLoss,
    /// How long a rollback is tried for before it counts as failed
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = settings::duration, help_heading = "Trouble")]
    pub(crate) rollback_deadline: Duration,
    /// How long to wait for an API that does not answer
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = settings::duration, help_heading = "Trouble")]
    pub(crate) api_deadline: Duration,
    /// How long to wait for the last requests to a canary that was rolled back
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = settings::duration, help_heading = "Trouble")]
    pub(crate) drain: Duration,

    /// Print every patch and store nothing; `server` asks the API whether it would admit them
    #[arg(long, value_enum, num_args = 0..=1, require_equals = true, default_missing_value = "client", conflicts_with = "rollback", help_heading = "Output")]
    pub(crate) dry_run: Option<DryRun>,
    #[arg(short, long, value_enum, default_value = "text", help_heading = "Output")]
    pub(crate) output: Format,
    /// Do not name the cluster first; nothing is ever asked
    #[arg(short, long, help_heading = "Output")]
    pub(crate) yes: bool,
    /// Write a report here at the end: Markdown, or JSON for a name that ends so
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(crate) report: Option<PathBuf>,
    /// Called with JSON at pre, step, post or rollback; pre and step must be answered with 2xx
    #[arg(long = "webhook", value_name = "WHEN=URL|env:NAME", help_heading = "Output")]
    pub(crate) webhooks: Vec<String>,
    /// File with the key that webhook bodies are signed with (HMAC-SHA256, X-Gwtop-Signature-256)
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(crate) webhook_secret_file: Option<PathBuf>,
    /// Slack-compatible webhook that is told of starts, holds, approvals and ends
    #[arg(long, value_name = "URL|env:NAME", help_heading = "Output")]
    pub(crate) notify: Vec<String>,
}
