//! A write that can be shown before it is sent: target, JSON patch, diff, inverse.

use json_patch::Patch;

use crate::model::key::ObjectKey;

#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    pub target: ObjectKey,
    /// One sentence for the confirmation and the audit file.
    pub summary: String,
    pub patch: Patch,
    /// Undoes `patch`, with `test` operations on what `patch` wrote.
    pub inverse: Patch,
    pub diff: Vec<DiffLine>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiffLine {
    pub change: Change,
    pub text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    Same,
    Removed,
    Added,
}
