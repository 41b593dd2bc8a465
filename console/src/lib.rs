//! gwtop: the operations console for the Kubernetes Gateway API.

pub mod canary;
pub mod cluster;
pub mod exit;
pub mod intent;
pub mod model;
pub mod settings;
pub mod traffic;
