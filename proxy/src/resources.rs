//! The objects this process acts on: watched from an API, kept in one typed [`Set`].

pub mod change;
pub mod changes;
pub mod cluster;
pub mod set;

pub use change::{Effect, Kind};
pub use changes::Changes;
pub use set::{RouteView, Set};
