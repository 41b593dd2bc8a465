//! All Kubernetes I/O of the console. Knows nothing of terminals.
