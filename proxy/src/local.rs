//! The local API: a durable Kubernetes-style API server on loopback.

pub mod admit;
pub mod schema;
pub mod seed;
pub mod validate;
