//! What the console knows of the cluster. Pure: no I/O, no clock, no terminal.

pub mod health;
pub mod key;
pub mod store;
pub mod topology;
