//! The local API: a durable Kubernetes-style API server on loopback.

pub mod admit;
mod auth;
mod crd;
mod discovery;
mod garbage;
mod go;
mod kinds;
mod kubeconfig;
mod limits;
mod managed;
mod names;
mod openapi;
mod patch;
mod proto;
mod rest;
pub mod schema;
pub mod seed;
mod selector;
mod server;
mod status;
mod store;
mod table;
mod tls;
pub mod validate;
mod verbs;
mod watch;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::json;
use tokio_util::sync::{CancellationToken, DropGuard};

pub use self::admit::Admit;
pub use self::kinds::{Column, Kind, Registry, Rules};
pub use self::kubeconfig::CONTEXT;
pub use self::patch::Patch;
pub use self::selector::Selector;
pub use self::status::StatusError;
pub use self::store::{Event, Key, Snapshot, Store, StoreError, Txn, Unreachable};
pub use self::verbs::{DeleteOptions, FieldValidation, Propagation, Resources, Target, WriteOptions, Written};

#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{address} is in use: choose another address for the local API (--api)")]
    InUse { address: SocketAddr },
    #[error("the local API cannot listen on {address}: {source}: choose another address (--api)")]
    Bind { address: SocketAddr, source: std::io::Error },
    #[error(
        "the local API listens on loopback only, and {address} is not: choose an address such as 127.0.0.1:6480 (--api)"
    )]
    NotLoopback { address: SocketAddr },
    #[error("{path}: {source}: check that you may write there")]
    File { path: PathBuf, source: std::io::Error },
    #[error("{path} is a kubeconfig of something else and is not overwritten: move it away or name another file")]
    ForeignKubeconfig { path: PathBuf },
    #[error("the certificate of the local API: {reason}: remove {path} and ca.crt beside it to have new ones made")]
    Certificate { path: PathBuf, reason: String },
    #[error("the namespaces that exist from the start cannot be written: {0}")]
    Start(#[from] StatusError),
}

/// How to start the local API.
pub struct ApiOptions {
    /// A loopback address; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The directory that holds everything durable.
    pub data: PathBuf,
    /// Where to write the kubeconfig.
    pub kubeconfig: PathBuf,
    pub admit: Arc<dyn Admit>,
}

/// The running server. Dropping it stops it without waiting.
pub struct Api {
    pub address: SocketAddr,
    pub kubeconfig: PathBuf,
    pub store: Arc<Store>,
    /// The verbs, for whoever writes from within the process.
    pub resources: Resources,
    stop: DropGuard,
    task: tokio::task::JoinHandle<()>,
}

impl Api {
    /// Opens the store, writes the kubeconfig and serves. The port is open when it returns.
    pub async fn start(options: ApiOptions) -> Result<Self, LocalError> {
        let ApiOptions { listen, data, kubeconfig, admit } = options;
        let listener = server::bind(listen).await?;
        let address = listener.local_addr().map_err(|source| LocalError::Bind { address: listen, source })?;
        let store = Arc::new(Store::open(&data)?);
        let auth = Arc::new(auth::Auth::open(&data)?);
        let tls = tls::Tls::open(&data)?;
        let resources =
            Resources { store: store.clone(), registry: Arc::new(Registry::builtin()), admit, shapes: Arc::default() };
        create_namespaces(&resources).await?;
        crd::builtin::describe(&resources).await?;
        crd::settle(&resources).await?;
        kubeconfig::write(&kubeconfig, address, &tls.authority, auth.token())?;
        let stop = CancellationToken::new();
        tokio::spawn(crd::follow(resources.clone(), stop.clone()));
        tokio::spawn(garbage::collect(resources.clone(), stop.clone()));
        let rest = rest::Rest { resources: resources.clone(), auth, stop: stop.clone() };
        let task = tokio::spawn(server::serve(listener, tls.server, rest));
        Ok(Self { address, kubeconfig, store, resources, stop: stop.drop_guard(), task })
    }

    /// Ends watches and requests, then closes the store.
    pub async fn stop(self) {
        self.stop.disarm().cancel();
        if self.task.await.is_err() {
            tracing::error!("the local API ended with a panic");
        }
        self.store.close().await;
    }
}

async fn create_namespaces(resources: &Resources) -> Result<(), StatusError> {
    let Some(kind) = resources.registry.find("", "v1", "namespaces") else { return Ok(()) };
    let target = Target { kind, version: "v1".into(), namespace: String::new() };
    for name in ["default", "kube-node-lease", "kube-public", "kube-system"] {
        let body = json!({"metadata": {"name": name}});
        match resources.create(&target, body, WriteOptions::default()).await {
            Err(error) if error.code() != 409 => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
