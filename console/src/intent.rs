//! What the operator wants, before anything is done about it. Pure.

pub mod command;
pub mod edit;
pub mod keymap;
pub mod plan;
pub mod weights;
