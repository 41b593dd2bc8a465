//! What the operator wants, before anything is done about it. Pure.

pub mod plan;
pub mod weights;
