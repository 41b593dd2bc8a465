//! gwproxy: a Gateway API implementation whose metrics separate every route, rule and backend.
//!
//! Public are the [`contract`] with whoever watches it and the functions that start it.

pub mod contract;
pub mod local;

mod compile;
mod metrics;
mod resources;
mod table;
mod types;
