//! The local API: a durable Kubernetes-style API server on loopback.

pub mod admit;
mod audit;
mod auth;
mod crd;
mod discovery;
mod front;
mod garbage;
mod go;
mod info;
mod kinds;
mod kubeconfig;
mod limits;
mod managed;
mod metrics;
mod names;
mod openapi;
mod patch;
pub mod portable;
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

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};

pub use self::admit::Admit;
pub use self::audit::AuditOptions;
pub use self::kinds::{Column, Kind, Registry, Rules};
pub use self::kubeconfig::CONTEXT;
pub use self::limits::Limits;
pub use self::patch::Patch;
pub use self::selector::Selector;
pub use self::status::StatusError;
pub use self::store::{Event, Key, Snapshot, Store, StoreError, Txn, Unreachable};
pub use self::tls::TlsOptions;
pub use self::verbs::{DeleteOptions, FieldValidation, Propagation, Resources, Target, WriteOptions, Written};

#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{address} is in use: choose another address for the local API (--api)")]
    InUse { address: SocketAddr },
    #[error("the local API cannot listen on {address}: {source}: choose another address (--api)")]
    Bind { address: SocketAddr, source: std::io::Error },
    #[error("{path}: {source}: check that you may write there")]
    File { path: PathBuf, source: std::io::Error },
    #[error("data directory {dir} has no token: start gwproxy local on it first (--data)")]
    NoToken { dir: PathBuf },
    #[error("{path} is a kubeconfig of something else and is not overwritten: move it away or name another file")]
    ForeignKubeconfig { path: PathBuf },
    #[error("the certificate of the local API: {reason}: remove {path} and ca.crt beside it to have new ones made")]
    Certificate { path: PathBuf, reason: String },
    #[error("{path} cannot be shown as certificate: {reason}: check --tls-cert-file and --tls-private-key-file")]
    CertificateFile { path: PathBuf, reason: String },
    #[error("the namespaces that exist from the start cannot be written: {0}")]
    Start(#[from] StatusError),
}

/// How to start the local API.
pub struct ApiOptions {
    /// Port 0 takes a free one.
    pub listen: SocketAddr,
    /// The directory that holds everything durable.
    pub data: PathBuf,
    /// Where to write the kubeconfig.
    pub kubeconfig: PathBuf,
    pub admit: Arc<dyn Admit>,
    pub service: Service,
}

/// How the API meets others than the one who started it.
#[derive(Clone, Debug, Default)]
pub struct Service {
    pub tls: TlsOptions,
    pub audit: Option<AuditOptions>,
    pub limits: Limits,
}

/// The running server. Dropping it stops it without waiting.
pub struct Api {
    pub address: SocketAddr,
    pub kubeconfig: PathBuf,
    pub store: Arc<Store>,
    /// The verbs, for whoever writes from within the process.
    pub resources: Resources,
    /// A kubeconfig for this process' own clients: no rotation of the token concerns it.
    pub own: Value,
    audit: Option<Arc<audit::Audit>>,
    stop: DropGuard,
    task: tokio::task::JoinHandle<()>,
}

impl Api {
    /// Opens the store, writes the kubeconfig and serves. The port is open when it returns.
    pub async fn start(options: ApiOptions) -> Result<Self, LocalError> {
        let ApiOptions { listen, data, kubeconfig, admit, service } = options;
        let Service { mut tls, audit, limits } = service;
        let listener = server::bind(listen).await?;
        let address = listener.local_addr().map_err(|source| LocalError::Bind { address: listen, source })?;
        let store = Arc::new(Store::open(&data)?);
        let names = auth::Names { any_address: !address.ip().is_loopback(), names: tls.names.clone() };
        let auth = Arc::new(auth::Auth::open(&data, names)?);
        if !address.ip().is_loopback() && !address.ip().is_unspecified() {
            tls.names.push(address.ip().to_string());
        }
        // Whatever certificate is shown to others, the kubeconfig asks for the self-made one.
        let own_name = tls.files.as_ref().map(|_| tls::OWN_NAME);
        let tls = tls::Tls::open(&data, tls)?;
        let resources =
            Resources { store: store.clone(), registry: Arc::new(Registry::builtin()), admit, shapes: Arc::default() };
        create_namespaces(&resources).await?;
        crd::builtin::describe(&resources).await?;
        crd::settle(&resources).await?;
        let server = format!("https://{}", reachable(address));
        let config = |token: &str| kubeconfig::document(&server, &tls.authority, own_name, token);
        kubeconfig::write(&kubeconfig, &config(&auth.token()))?;
        let own = config(auth.own_token());
        let metrics = Arc::new(metrics::Metrics::default());
        let audit = audit.map(|options| audit::Audit::open(options, metrics.clone())).transpose()?.map(Arc::new);
        let stop = CancellationToken::new();
        tokio::spawn(crd::follow(resources.clone(), stop.clone()));
        tokio::spawn(garbage::collect(resources.clone(), stop.clone()));
        tokio::spawn(renew(auth.clone(), tls.shown, kubeconfig.clone(), stop.clone()));
        let rest = rest::Rest { resources: resources.clone(), auth, stop: stop.clone(), limits };
        let front = Arc::new(front::Front::new(rest, metrics, audit.clone()));
        let task = tokio::spawn(server::serve(listener, tls.server, front, limits));
        Ok(Self { address, kubeconfig, store, resources, own, audit, stop: stop.drop_guard(), task })
    }

    /// Ends watches and requests, then closes the store.
    pub async fn stop(self) {
        self.stop.disarm().cancel();
        if self.task.await.is_err() {
            tracing::error!("the local API ended with a panic");
        }
        self.store.close().await;
        if let Some(audit) = self.audit
            && tokio::task::spawn_blocking(move || audit.close()).await.is_err()
        {
            tracing::error!("the audit log was not closed");
        }
    }
}

/// Makes a new token for the data directory, and writes it into the kubeconfig. A running server
/// takes it at once and refuses the one before. Returns whether the kubeconfig was there.
pub fn rotate_token(data: &Path, kubeconfig: &Path) -> Result<bool, LocalError> {
    let path = data.join("token");
    if auth::read_secret(&path)?.is_none() {
        return Err(LocalError::NoToken { dir: data.to_owned() });
    }
    let token = auth::make(&path)?;
    kubeconfig::replace_token(kubeconfig, &token)
}

/// Where a client on this host finds the server.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// Keeps the certificate fresh, and the kubeconfig's token that of the data directory.
async fn renew(auth: Arc<auth::Auth>, shown: Arc<tls::Shown>, kubeconfig: PathBuf, stop: CancellationToken) {
    let mut written = auth.token();
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {}
        }
        shown.renew(SystemTime::now());
        let token = auth.token();
        if token != written {
            match kubeconfig::replace_token(&kubeconfig, &token) {
                Ok(_) => tracing::info!("the token was rotated"),
                Err(error) => tracing::error!(%error, "the token was rotated, and the kubeconfig has the old one"),
            }
            written = token;
        }
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
