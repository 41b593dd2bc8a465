//! What the console knows of the cluster. Pure: no I/O, no clock, no terminal.

pub mod gateway;
pub mod health;
pub mod json;
pub mod key;
pub mod manifests;
pub mod neighbours;
pub mod object;
pub mod policy;
pub mod secret;
pub mod store;
pub mod timeline;
pub mod topology;
