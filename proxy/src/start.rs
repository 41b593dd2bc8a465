//! Starting it all: the functions that commands, the demo and the tests call.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use color_eyre::{
    Result,
    eyre::{Report, WrapErr},
};
use ipnet::IpNet;
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use tokio::{
    runtime::{Builder, Runtime},
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

pub use crate::local::{AuditOptions, Service, TlsOptions};
use crate::{
    admin::{self, Admin},
    contract,
    local::{Api, ApiOptions, LocalError, StoreError, schema::Schemas, seed},
    metrics::Registry,
    serve::{AccessLogTarget, DataPlane, ServeOptions},
};

mod control;
mod home;
mod retry;

use control::Control;
pub use home::{Home, rotate_token};

pub const DEFAULT_API: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 6480);
pub const DEFAULT_METRICS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 6481);
pub const DEFAULT_ADDRESS_POOL: &str = "127.0.64.0/24";

/// How long requests in flight have, once asked to stop.
const GRACE: Duration = Duration::from_secs(10);
const API_ANSWERS_WITHIN: Duration = Duration::from_secs(10);

/// A start that was refused, before anything was written.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("{0}")]
    Usage(String),
    #[error("{0}")]
    Unreachable(String),
    #[error("{0} objects were refused; the others are there")]
    Refused(usize),
}

/// A gateway on one host without Kubernetes: local API, manifests, proxy.
#[derive(Debug, Clone)]
pub struct LocalOptions {
    /// A folder that is loaded at start and followed.
    pub manifests: Option<PathBuf>,
    /// Where the API keeps its objects; `None` is `$XDG_STATE_HOME/gwproxy/local`.
    pub data: Option<PathBuf>,
    /// Port 0 takes a free one; so it does for `metrics`.
    pub api: SocketAddr,
    pub address_pool: IpNet,
    pub metrics: SocketAddr,
    /// A file, or `-` for stdout.
    pub access_log: Option<PathBuf>,
    /// Where to write the kubeconfig; `None` is `kubeconfig` in the data directory.
    pub kubeconfig: Option<PathBuf>,
    /// Serving threads; `None` is one a core.
    pub workers: Option<usize>,
    /// Certificate, audit log and bounds of the API.
    pub service: Service,
}

/// The host provisioner against any Kubernetes API.
#[derive(Debug, Clone)]
pub struct ControllerOptions {
    /// `None` is what kubectl would use, or the cluster this runs in.
    pub kubeconfig: Option<PathBuf>,
    pub context: Option<String>,
    pub address_pool: IpNet,
    pub metrics: SocketAddr,
    pub access_log: Option<PathBuf>,
    pub workers: Option<usize>,
}

/// A running local gateway. Dropping it cuts everything; [`Local::stop`] drains.
pub struct Local {
    pub kubeconfig: PathBuf,
    pub api: SocketAddr,
    pub metrics: SocketAddr,
    /// What of the manifests could not be applied at start; later problems are logged.
    pub problems: Vec<String>,
    server: Option<Api>,
    engine: Engine,
}

impl Local {
    /// When it returns, the API answers, the manifests are in it and the proxy watches it.
    pub async fn start(options: LocalOptions) -> Result<Self> {
        if let Some(dir) = &options.manifests
            && !dir.is_dir()
        {
            return Err(usage(format!("--manifests {} is not a folder; name a folder of YAML files", dir.display())));
        }
        let data = match &options.data {
            Some(data) => data.clone(),
            None => default_data()?,
        };
        std::fs::create_dir_all(&data).wrap_err_with(|| format!("cannot make the data folder {}", data.display()))?;
        let control = ControlRuntime::new()?;
        let api = ApiOptions {
            listen: options.api,
            kubeconfig: options.kubeconfig.clone().unwrap_or_else(|| data.join("kubeconfig")),
            data,
            admit: Arc::new(Schemas::new()?),
            service: options.service,
        };
        let server = control.run(async move { Api::start(api).await.map_err(refusal) }).await?;
        let (kubeconfig, address) = (server.kubeconfig.clone(), server.address);

        let engine = EngineOptions {
            address_pool: options.address_pool,
            metrics: options.metrics,
            access_log: options.access_log,
            workers: options.workers,
        };
        let (own, manifests, cancel) = (server.own.clone(), options.manifests, control.cancel.clone());
        let started = control
            .run(async move {
                let own: Kubeconfig = serde_json::from_value(own)?;
                let own = Config::from_custom_kubeconfig(own, &KubeConfigOptions::default()).await?;
                let client = Client::try_from(own)?;
                let loaded = match manifests {
                    Some(dir) => Some((seed::load(&client, &dir).await, dir)),
                    None => None,
                };
                let problems =
                    loaded.iter().flat_map(|(loaded, _)| &loaded.problems).map(ToString::to_string).collect();
                let parts = engine.start(client.clone(), cancel.clone()).await?;
                if let Some((loaded, dir)) = loaded {
                    tokio::spawn(async move { seed::follow(client, &dir, loaded, cancel, |_| {}).await });
                }
                Ok((problems, parts))
            })
            .await;
        match started {
            Ok((problems, parts)) => {
                let engine = Engine { metrics: parts.admin.address, control, parts: Some(parts) };
                Ok(Self { kubeconfig, api: address, metrics: engine.metrics, problems, server: Some(server), engine })
            }
            Err(error) => {
                // The data directory has to be free again when this returns.
                control
                    .run(async move {
                        server.stop().await;
                        Ok(())
                    })
                    .await?;
                Err(error)
            }
        }
    }

    /// Whether the control threads answer within `limit`.
    pub async fn is_alive(&self, limit: Duration) -> bool {
        let answer = self.engine.control.run(async {
            tokio::task::yield_now().await;
            Ok(())
        });
        matches!(timeout(limit, answer).await, Ok(Ok(())))
    }

    /// Finishes what is in flight, then ends everything: no port, no lock and no task is left.
    pub async fn stop(mut self) {
        self.engine.stop().await;
        if let Some(server) = self.server.take() {
            let stop = async move {
                server.stop().await;
                Ok(())
            };
            let stopped = self.engine.control.run(stop).await;
            if let Err(error) = stopped {
                tracing::error!("the local API did not stop: {error}");
            }
        }
    }
}

/// A running host provisioner.
pub struct Controller {
    pub metrics: SocketAddr,
    engine: Engine,
}

impl Controller {
    /// Fails when the API does not answer; afterwards it may come and go.
    pub async fn start(options: ControllerOptions) -> Result<Self> {
        let control = ControlRuntime::new()?;
        let engine = EngineOptions {
            address_pool: options.address_pool,
            metrics: options.metrics,
            access_log: options.access_log,
            workers: options.workers,
        };
        let cancel = control.cancel.clone();
        let parts = control
            .run(async move {
                let client = client(options.kubeconfig.as_deref(), options.context).await?;
                let unreachable = |why: String| {
                    let hint = "check --kubeconfig and --context, or that the API server runs";
                    Report::new(StartError::Unreachable(format!("the Kubernetes API does not answer: {why}; {hint}")))
                };
                match timeout(API_ANSWERS_WITHIN, client.apiserver_version()).await {
                    Err(_) => return Err(unreachable(format!("nothing heard in {API_ANSWERS_WITHIN:?}"))),
                    Ok(Err(error)) => return Err(unreachable(error.to_string())),
                    Ok(Ok(_)) => {}
                }
                engine.start(client, cancel).await
            })
            .await?;
        let engine = Engine { metrics: parts.admin.address, control, parts: Some(parts) };
        Ok(Self { metrics: engine.metrics, engine })
    }

    pub async fn stop(mut self) {
        self.engine.stop().await;
    }
}

/// What the operator can put right is a matter of usage; a broken store or certificate is not.
fn refusal(error: LocalError) -> Report {
    match error {
        LocalError::InUse { .. }
        | LocalError::Bind { .. }
        | LocalError::CertificateFile { .. }
        | LocalError::NoToken { .. }
        | LocalError::ForeignKubeconfig { .. }
        | LocalError::Store(StoreError::InUse { .. }) => usage(error.to_string()),
        error => error.into(),
    }
}

fn usage(message: String) -> Report {
    Report::new(StartError::Usage(message))
}

fn default_data() -> Result<PathBuf> {
    let state = std::env::var_os("XDG_STATE_HOME").filter(|dir| !dir.is_empty()).map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".local/state"));
    let state = state.or_else(home);
    let state = state
        .ok_or_else(|| usage("no place for the data: neither XDG_STATE_HOME nor HOME is set; use --data".to_owned()))?;
    Ok(state.join("gwproxy/local"))
}

async fn client(kubeconfig: Option<&Path>, context: Option<String>) -> Result<Client> {
    let options = KubeConfigOptions { context, ..KubeConfigOptions::default() };
    let config = match kubeconfig {
        Some(path) => {
            let file = Kubeconfig::read_from(path).map_err(|error| usage(format!("--kubeconfig: {error}")))?;
            Config::from_custom_kubeconfig(file, &options)
                .await
                .map_err(|error| usage(format!("{}: {error}", path.display())))?
        }
        None if options.context.is_some() => {
            Config::from_kubeconfig(&options).await.map_err(|error| usage(format!("--context: {error}")))?
        }
        None => Config::infer().await.map_err(|error| usage(format!("no kubeconfig: {error}; use --kubeconfig")))?,
    };
    Ok(Client::try_from(config)?)
}

/// Control has threads of its own: a long compile delays no request, and no frame of a console.
struct ControlRuntime {
    runtime: Option<Runtime>,
    cancel: CancellationToken,
}

impl ControlRuntime {
    fn new() -> Result<Self> {
        // Whoever installed a provider before us decides.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let runtime =
            Builder::new_multi_thread().worker_threads(2).thread_name("gwproxy-control").enable_all().build()?;
        Ok(Self { runtime: Some(runtime), cancel: CancellationToken::new() })
    }

    async fn run<T: Send + 'static>(&self, work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
        match &self.runtime {
            Some(runtime) => runtime.spawn(work).await?,
            None => Err(Report::msg("stopped already")),
        }
    }
}

impl Drop for ControlRuntime {
    fn drop(&mut self) {
        self.cancel.cancel();
        if let Some(runtime) = self.runtime.take() {
            // Dropping it would wait, which is not allowed on the caller's runtime.
            runtime.shutdown_background();
        }
    }
}

struct Engine {
    metrics: SocketAddr,
    control: ControlRuntime,
    parts: Option<Parts>,
}

struct Parts {
    admin: Admin,
    control: JoinHandle<()>,
}

impl Engine {
    async fn stop(&mut self) {
        self.control.cancel.cancel();
        let Some(Parts { admin, control }) = self.parts.take() else { return };
        if let Err(error) = control.await {
            tracing::error!("the control loop ended badly: {error}");
        }
        admin.stop().await;
    }
}

struct EngineOptions {
    address_pool: IpNet,
    metrics: SocketAddr,
    access_log: Option<PathBuf>,
    workers: Option<usize>,
}

impl EngineOptions {
    async fn start(self, client: Client, cancel: CancellationToken) -> Result<Parts> {
        let access_log = self.access_log.as_ref().map(|path| {
            if path.as_os_str() == "-" { AccessLogTarget::Stdout } else { AccessLogTarget::File(path.clone()) }
        });
        let mut serve = ServeOptions { access_log, ..ServeOptions::default() };
        if let Some(workers) = self.workers {
            serve.workers = workers.max(1);
        }
        let registry = Registry::new(serve.workers);
        let data_plane = DataPlane::start(serve, Arc::clone(&registry)).wrap_err("cannot start serving")?;
        let ready = Arc::new(AtomicBool::new(false));
        let admin = admin::start(self.metrics, Arc::clone(&registry), Arc::clone(&ready), data_plane.table()).await;
        let admin = admin.map_err(|error| {
            usage(format!("cannot listen on {} for metrics: {error}; choose another --metrics", self.metrics))
        })?;
        let control = Control {
            client,
            controller: contract::CONTROLLER_NAME.to_owned(),
            pool: self.address_pool,
            metrics_url: metrics_url(admin.address),
            registry,
            data_plane,
            on_applied: Box::new(move || ready.store(true, Ordering::Relaxed)),
        };
        Ok(Parts { admin, control: tokio::spawn(control.run(cancel, GRACE)) })
    }
}

fn metrics_url(address: SocketAddr) -> String {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        ip => ip,
    };
    format!("http://{}{}", SocketAddr::new(ip, address.port()), contract::admin::METRICS)
}
