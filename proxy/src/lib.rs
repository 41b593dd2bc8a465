//! gwproxy: a Gateway API implementation whose metrics separate every route, rule and backend.
//!
//! Public are the [`contract`] with whoever watches it and the functions that start it.

pub mod contract;
pub mod local;
pub mod start;

mod admin;
mod compile;
mod metrics;
mod provision;
mod resources;
mod serve;
mod status;
mod table;
mod types;
