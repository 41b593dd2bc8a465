//! All Kubernetes I/O of the console. Knows nothing of terminals.

pub mod connect;
pub mod discover;
pub mod follow;
pub mod lease;
pub mod post;
pub mod read;
pub mod send;
pub mod snapshot;
pub mod watch;
