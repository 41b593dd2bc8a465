//! gwproxy: a Gateway API implementation whose metrics separate every route, rule and backend.
//!
//! Public are the [`contract`] with whoever watches it, the functions that start it, and
//! what would serve, asked offline ([`prove`], [`validate`]).

pub mod contract;
pub mod local;
pub mod notify;
pub mod prove;
pub mod start;
pub mod validate;

mod admin;
mod compile;
mod metrics;
mod provision;
mod resources;
mod serve;
mod status;
mod table;
mod types;
