//! From flags and environment to a client whose API answers.

use std::{
    collections::HashMap,
    env,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use kube::{
    Client, Config,
    api::ApiResource,
    config::{KubeConfigOptions, Kubeconfig, KubeconfigError},
};

use crate::{
    model::key::Kind,
    settings::{demo_kubeconfig, state_home},
};

/// A client pinned to one context; whoever writes shows `context` first.
#[derive(Clone)]
pub struct Connection {
    pub client: Client,
    pub context: String,
    pub cluster_url: String,
    pub namespace: String,
    /// How long a single call may take.
    pub request_timeout: Duration,
    /// Forms of kinds that were found to be served.
    pub versions: Arc<Mutex<HashMap<Kind, ApiResource>>>,
}

#[derive(Debug, Clone)]
pub struct ConnectOptions {
    pub kubeconfig: Option<PathBuf>,
    pub context: Option<String>,
    pub cluster: Option<String>,
    pub user: Option<String>,
    pub namespace: Option<String>,
    pub request_timeout: Duration,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            kubeconfig: None,
            context: None,
            cluster: None,
            user: None,
            namespace: None,
            request_timeout: Duration::from_secs(10),
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error(
        "no kubeconfig: looked at $KUBECONFIG, ~/.kube/config, the service account of a pod and {}\n\
         Start a gateway to look at with `gwtop demo`, or name a cluster with --kubeconfig FILE",
        local.display()
    )]
    NoKubeconfig { local: PathBuf },
    #[error("cannot use kubeconfig {}: {source}", path.display())]
    Kubeconfig { path: PathBuf, source: Box<KubeconfigError> },
    #[error("cannot make a client for {url}: {source}")]
    Client { url: String, source: Box<kube::Error> },
    #[error(
        "cannot reach the Kubernetes API at {url} (context {context}): {reason}\nCheck that it runs and that --context names the right cluster"
    )]
    Unreachable { url: String, context: String, reason: String },
    #[error("the Kubernetes API at {url} (context {context}) refuses the credentials: {reason}")]
    Unauthorised { url: String, context: String, reason: String },
}

/// Where `gwproxy local` leaves its kubeconfig unless told otherwise.
pub fn local_kubeconfig() -> PathBuf {
    state_home().join("gwproxy/local/kubeconfig")
}

/// A client, without asking the API whether it is there.
pub async fn configure(options: &ConnectOptions) -> Result<Connection, ConnectError> {
    let (mut config, context) = config(options).await?;
    // A retried write whose first try went through fails its own `test`: each caller decides.
    config.default_retry = false;
    config.connect_timeout = Some(options.request_timeout);
    let cluster_url = config.cluster_url.to_string().trim_end_matches('/').to_owned();
    let namespace = options.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
    let client = Client::try_from(config)
        .map_err(|source| ConnectError::Client { url: cluster_url.clone(), source: Box::new(source) })?;
    Ok(Connection {
        client,
        context,
        cluster_url,
        namespace,
        request_timeout: options.request_timeout,
        versions: Arc::default(),
    })
}

/// As [`configure`], and fails at once if the API does not answer.
pub async fn connect(options: &ConnectOptions) -> Result<Connection, ConnectError> {
    let connection = configure(options).await?;
    ping(&connection).await?;
    Ok(connection)
}

/// Whether the API answers.
pub async fn ping(connection: &Connection) -> Result<(), ConnectError> {
    let (url, context) = (connection.cluster_url.clone(), connection.context.clone());
    let answer = tokio::time::timeout(connection.request_timeout, connection.client.apiserver_version()).await;
    match answer {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(kube::Error::Api(status))) if matches!(status.code, 401 | 403) => {
            Err(ConnectError::Unauthorised { url, context, reason: status.message.clone() })
        }
        Ok(Err(kube::Error::Api(status))) if status.code == 404 => Ok(()),
        Ok(Err(error)) => Err(ConnectError::Unreachable { url, context, reason: reason(&error) }),
        Err(_) => {
            let reason = format!("no answer within {:?}", connection.request_timeout);
            Err(ConnectError::Unreachable { url, context, reason })
        }
    }
}

/// The innermost cause: the outer ones repeat that a request failed.
pub(super) fn reason(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

/// Contexts of the kubeconfig that would be used, the current one marked.
pub fn contexts(options: &ConnectOptions) -> Result<Vec<String>, String> {
    let from_env = || Kubeconfig::read().map_err(|error| error.to_string());
    let kubeconfig = match &options.kubeconfig {
        Some(path) => Kubeconfig::read_from(path).map_err(|error| error.to_string())?,
        None => from_env()?,
    };
    let current = options.context.clone().or(kubeconfig.current_context);
    let sign = |name: &str| if current.as_deref() == Some(name) { "*" } else { " " };
    Ok(kubeconfig.contexts.iter().map(|one| format!("{} {}", sign(&one.name), one.name)).collect())
}

async fn config(options: &ConnectOptions) -> Result<(Config, String), ConnectError> {
    if let Some(path) = &options.kubeconfig {
        return from_file(path, options).await;
    }
    if env::var_os("KUBECONFIG").is_some_and(|value| !value.is_empty()) {
        let path = PathBuf::from(env::var_os("KUBECONFIG").unwrap_or_default());
        let failed = |source| ConnectError::Kubeconfig { path: path.clone(), source: Box::new(source) };
        if let Some(kubeconfig) = Kubeconfig::from_env().map_err(failed)? {
            return from_kubeconfig(kubeconfig, &path, options).await;
        }
    }
    let home = env::home_dir().map(|home| home.join(".kube/config"));
    if let Some(path) = home.filter(|path| path.is_file()) {
        return from_file(&path, options).await;
    }
    if let Ok(config) = Config::incluster() {
        return Ok((config, "in-cluster".to_owned()));
    }
    let local = local_kubeconfig();
    match [local.clone(), demo_kubeconfig()].into_iter().find(|path| path.is_file()) {
        Some(path) => from_file(&path, options).await,
        None => Err(ConnectError::NoKubeconfig { local }),
    }
}

async fn from_file(path: &Path, options: &ConnectOptions) -> Result<(Config, String), ConnectError> {
    let kubeconfig = Kubeconfig::read_from(path)
        .map_err(|source| ConnectError::Kubeconfig { path: path.to_owned(), source: Box::new(source) })?;
    from_kubeconfig(kubeconfig, path, options).await
}

async fn from_kubeconfig(
    kubeconfig: Kubeconfig,
    path: &Path,
    options: &ConnectOptions,
) -> Result<(Config, String), ConnectError> {
    let context = options
        .context
        .clone()
        .or_else(|| kubeconfig.current_context.clone())
        .filter(|context| !context.is_empty())
        .unwrap_or_else(|| path.display().to_string());
    let choice = KubeConfigOptions {
        context: options.context.clone(),
        cluster: options.cluster.clone(),
        user: options.user.clone(),
    };
    let config = Config::from_custom_kubeconfig(kubeconfig, &choice)
        .await
        .map_err(|source| ConnectError::Kubeconfig { path: path.to_owned(), source: Box::new(source) })?;
    Ok((config, context))
}
