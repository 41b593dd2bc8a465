//! `gwtop canary`: weights stepped by JSON patches, every step judged, rolled back by itself.
//!
//! `machine` decides, `verdict` judges, `patch` and `record` say what is written: all pure.
//! `drive` does the I/O, for the command as for the console.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::exit::Exit;

pub mod command;
pub mod diff;
pub mod drive;
pub mod journal;
pub mod machine;
pub mod operate;
pub mod owners;
pub mod patch;
pub mod plan;
pub mod progress;
pub mod record;
pub mod report;
pub mod settings;
pub mod verdict;

pub use settings::Settings;

/// Version of the JSON lines.
pub const SCHEMA: &str = "gwtop.dev/canary/v1";

/// What a signal does to a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum OnInterrupt {
    /// Give the stable backend its share back, then end.
    Rollback,
    /// Stop advancing but go on judging; a second signal ends the run with the canary live.
    Hold,
    /// End at once and leave the canary live for the next run to take up.
    Detach,
}

/// What the operator may ask of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    Pause,
    Resume,
    Rollback,
    /// Go on as soon as the current step passes: without waiting for its time, or for
    /// approval, or although the run is paused.
    Step,
    /// As `Step`, and to 100 %.
    Promote,
    /// End now and leave the canary live.
    Stop,
}

/// One change of state, as it is printed, recorded and drawn.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Transition {
    pub schema: &'static str,
    pub time: Timestamp,
    pub run: String,
    pub context: String,
    /// `namespace/name`.
    pub route: String,
    pub rule: usize,
    pub stable: String,
    pub canary: String,
    pub phase: &'static str,
    /// From 1; 0 before the first.
    pub step: u32,
    pub steps: u32,
    /// Percent of the pair's traffic that the canary is given.
    pub weight: f64,
    pub message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence: Option<verdict::Evidence>,
    /// What to change in the manifest once the run has ended well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diff: Option<String>,
    /// Patch that was or would be sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patch: Option<serde_json::Value>,
    /// Why the run goes back, from when that is decided: whoever takes the run up goes back too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollback: Option<machine::Reason>,
    /// On the last line only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished: Option<Exit>,
}

impl Transition {
    /// What a run can say of itself before it knows its route.
    fn blank(settings: &Settings, run: &str, context: &str) -> Self {
        let route = settings.routes.first().map_or_else(
            || settings.namespace.clone(),
            |route| match route.namespace.as_ref().unwrap_or(&settings.namespace).as_str() {
                "" => route.name.clone(),
                namespace => format!("{namespace}/{}", route.name),
            },
        );
        Self {
            schema: SCHEMA,
            time: Timestamp::now(),
            run: run.to_owned(),
            context: context.to_owned(),
            route,
            rule: 0,
            stable: settings.stable.clone().unwrap_or_default(),
            canary: settings.canary.clone().unwrap_or_default(),
            phase: "Preflight",
            step: 0,
            steps: 0,
            weight: 0.0,
            message: String::new(),
            evidence: None,
            diff: None,
            patch: None,
            rollback: None,
            finished: None,
        }
    }
}

/// A run under way. It goes on if nobody listens any more.
#[derive(Debug)]
pub struct Run {
    pub events: tokio::sync::mpsc::Receiver<Transition>,
    pub commands: tokio::sync::mpsc::Sender<Order>,
    /// The figures as they are, between transitions.
    pub progress: tokio::sync::watch::Receiver<progress::Progress>,
}
