//! What a machine is told, and what it asks for.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    canary::{Order, patch::Goal, plan::OnDrift, verdict::Verdict},
    exit::Exit,
};

#[derive(Debug, Clone, Copy)]
pub struct Timing {
    pub converge: Duration,
    pub hold: Duration,
    pub rollback: Duration,
    pub api: Duration,
    /// How long requests that still reach a rolled back canary are waited for.
    pub drain: Duration,
    pub on_drift: OnDrift,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Preflight,
    Claim,
    Apply,
    Converge,
    Observe,
    Hold,
    /// Passed, and waiting for a person.
    Approval,
    Finish,
    RollingBack,
    /// The weights are back; connections and sessions may still hold on to the canary.
    Draining,
    Frozen,
    Ended,
}

impl State {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Preflight => "Preflight",
            Self::Claim => "Claim",
            Self::Apply => "Apply",
            Self::Converge => "Converge",
            Self::Observe => "Observe",
            Self::Hold => "Hold",
            Self::Approval => "Approval",
            Self::Finish => "Finish",
            Self::RollingBack => "RollingBack",
            Self::Draining => "Draining",
            Self::Frozen => "Frozen",
            Self::Ended => "Ended",
        }
    }
}

/// Why a run goes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reason {
    Failed(String),
    Operator(String),
    Inconclusive(String),
    /// Failed before the canary got any traffic of this run.
    Refused(String),
}

impl Reason {
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Failed(text) | Self::Operator(text) | Self::Inconclusive(text) | Self::Refused(text) => text,
        }
    }

    pub(super) fn goal(&self) -> Goal {
        match self {
            Self::Failed(_) | Self::Inconclusive(_) => Goal::Stable,
            Self::Operator(_) | Self::Refused(_) => Goal::Original,
        }
    }

    pub(super) fn exit(&self) -> Exit {
        match self {
            Self::Failed(_) => Exit::RolledBack,
            Self::Operator(_) => Exit::Stopped,
            Self::Inconclusive(_) => Exit::Inconclusive,
            Self::Refused(_) => Exit::Usage,
        }
    }
}

/// How a run begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// This step is the first to write; `live` if the canary has traffic already.
    Fresh {
        step: usize,
        live: bool,
    },
    /// An earlier run wrote this step and died.
    Resume {
        step: usize,
    },
    Undo(Reason),
}

#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    Ready(Start),
    Claimed(String),
    /// The weights of the current step are acknowledged.
    Written(String),
    Finished(String),
    RolledBack(String),
    /// This attempt at it failed.
    RollbackFailed(String),
    Converged(String),
    Probe(Result<(), String>),
    Evidence(Verdict),
    /// Nothing reaches the canary any more, or nobody can tell.
    Drained(String),
    /// There is nothing to judge by, and the run is not to wait for it.
    GiveUp(String),
    /// Someone else changed the weights.
    Drift(String),
    /// Another run owns the route.
    FenceLost(String),
    Gone(String),
    /// We cannot say that we live: nothing is advanced.
    LeaseStale(String),
    LeaseFresh,
    /// The API does not answer.
    Lost(String),
    /// It does again; whether the write under way when it went was made.
    Back {
        written: bool,
    },
    /// The API will not let us.
    Denied(String),
    /// The API does not admit what we want to write.
    Rejected(String),
    Order(Order),
    /// An order from another process.
    Told {
        order: Order,
        by: String,
    },
    /// The canary can take no traffic: nothing is waited for.
    Broken(String),
    Tick,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    Claim,
    Write {
        step: usize,
    },
    /// Leave the weights that somebody else wrote, and record them as ours.
    Adopt,
    /// Counts from here on are the step's.
    Observe,
    RollBack(Goal),
    Finish,
    Reconnect,
    Report {
        phase: &'static str,
        message: String,
    },
    End {
        exit: Exit,
        phase: &'static str,
        message: String,
    },
}
