//! What this process says about the objects it acts on.

pub mod conditions;
pub mod features;
pub mod infrastructure;
mod pace;
mod policies;
pub mod write;
