//! Exit codes, the same for every command.

use serde::{Serialize, Serializer};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done, or healthy.
    Ok = 0,
    ProblemsFound = 1,
    /// Wrong usage, or refused before anything was written.
    Usage = 2,
    RolledBack = 3,
    RollbackFailed = 4,
    /// Stopped by the operator or a signal, and rolled back.
    Stopped = 5,
    /// The lock was lost, or someone else wrote.
    Conflict = 6,
    Inconclusive = 7,
    /// API unreachable or not authorised.
    Unreachable = 8,
    TargetGone = 9,
    /// Left by the operator with the canary live.
    Detached = 10,
    Internal = 70,
}

impl Exit {
    pub const ALL: [Self; 12] = [
        Self::Ok,
        Self::ProblemsFound,
        Self::Usage,
        Self::RolledBack,
        Self::RollbackFailed,
        Self::Stopped,
        Self::Conflict,
        Self::Inconclusive,
        Self::Unreachable,
        Self::TargetGone,
        Self::Detached,
        Self::Internal,
    ];
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// As the number that the process ends with.
impl Serialize for Exit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(*self as u8)
    }
}
