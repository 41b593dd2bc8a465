//! gwtop: the operations console for the Kubernetes Gateway API.

pub mod canary;
pub mod cluster;
pub mod exit;
pub mod intent;
pub mod model;
pub mod print;
pub mod settings;
pub mod status;
pub mod traffic;
