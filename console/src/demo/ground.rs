//! Everything the demo stands on, in one process: local API, gwproxy, services, load.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use color_eyre::eyre::{Context, Result, bail, eyre};
use futures::{StreamExt, TryStreamExt};
use gwproxy::{
    contract::METRICS_URL_ANNOTATION,
    start::{Local, LocalOptions, Service},
};
use kube::{
    Api, ResourceExt,
    api::{ApiResource, DynamicObject, GroupVersionKind},
    runtime::{WatchStreamExt, watcher},
};
use serde_json::{Value, json};
use tokio::task::AbortHandle;

use super::{
    backends::{Backends, Conduct, PROFILES},
    load::Load,
};
use crate::{
    cluster::connect::{ConnectOptions, Connection, connect},
    settings,
};

/// `kubectl annotate service app-v2 gwtop.dev/demo-error-rate=0.3` makes the canary fail.
pub(super) const ERROR_RATE_ANNOTATION: &str = "gwtop.dev/demo-error-rate";
pub(super) const NAMESPACE: &str = "my-app";
pub(super) const ROUTE: &str = "app-canary";
pub(super) const STABLE: &str = "app-v1";
pub(super) const CANARY: &str = "app-v2";

const MANIFESTS: [(&str, &str); 4] = [
    ("10-platform.yaml", include_str!("../../../assets/demo/10-platform.yaml")),
    ("20-my-app.yaml", include_str!("../../../assets/demo/20-my-app.yaml")),
    ("30-shop.yaml", include_str!("../../../assets/demo/30-shop.yaml")),
    ("40-broken.yaml", include_str!("../../../assets/demo/40-broken.yaml")),
];

pub(super) struct Ground {
    pub(super) backends: Backends,
    pub(super) load: Load,
    pub(super) connection: Connection,
    pub(super) kubeconfig: PathBuf,
    pub(super) gateway: SocketAddr,
    local: Local,
    faults: AbortHandle,
    link: PathBuf,
    /// Held for as long as the pool is ours.
    _pool: Option<std::net::TcpListener>,
    /// Objects, manifests and kubeconfig; removed with the demo.
    _dir: tempfile::TempDir,
}

impl Ground {
    pub(super) async fn start() -> Result<Self> {
        let (pool, lock) = claim_pool();
        let port = free_port(pool).wrap_err("no free port for the demo's Gateway")?;
        let backends = Backends::start().await?;
        let dir = tempfile::Builder::new().prefix("gwtop-demo-").tempdir().wrap_err("no temporary directory")?;
        let manifests = dir.path().join("manifests");
        fs::create_dir(&manifests)?;
        for (name, text) in MANIFESTS {
            fs::write(manifests.join(name), text.replace("${PORT}", &port.to_string()))?;
        }
        fs::write(manifests.join("15-endpoints.json"), serde_json::to_vec_pretty(&endpoint_slices(&backends))?)?;

        let kubeconfig = dir.path().join("kubeconfig");
        let local = Local::start(LocalOptions {
            service: Service::default(),
            manifests: Some(manifests),
            data: Some(dir.path().join("data")),
            api: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            address_pool: pool,
            metrics: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            access_log: None,
            kubeconfig: Some(kubeconfig.clone()),
            workers: None,
        })
        .await?;
        if let Some(problem) = local.problems.first() {
            bail!("the demo's own manifests were refused: {problem}");
        }
        name_context(&kubeconfig)?;
        let connection =
            connect(&ConnectOptions { kubeconfig: Some(kubeconfig.clone()), ..ConnectOptions::default() }).await?;
        let gateway = await_gateway(&connection, port).await?;
        let load = Load::start(gateway)?;
        let conduct = backends.conduct(CANARY).ok_or_else(|| eyre!("no demo service {CANARY}"))?;
        let faults = tokio::spawn(follow_faults(connection.clone(), conduct)).abort_handle();
        let link = publish(&kubeconfig)?;
        Ok(Self { backends, load, connection, kubeconfig, gateway, local, faults, link, _pool: lock, _dir: dir })
    }

    pub(super) async fn stop(self) {
        self.faults.abort();
        // Only our own link: a demo started after this one may have replaced it.
        if fs::read_link(&self.link).is_ok_and(|target| target == self.kubeconfig) {
            let _ = fs::remove_file(&self.link);
        }
        drop(self.load);
        self.local.stop().await;
    }

    pub(super) fn link(&self) -> &Path {
        &self.link
    }
}

/// A pool no other demo uses: whoever binds the lock port of its last address owns it.
/// Where loopback has only 127.0.0.1, as on macOS, that one address is the pool.
fn claim_pool() -> (ipnet::IpNet, Option<std::net::TcpListener>) {
    const LOCK_PORT: u16 = 47_264;
    for third in 65..=127 {
        if let Ok(lock) = std::net::TcpListener::bind((Ipv4Addr::new(127, 0, third, 254), LOCK_PORT))
            && let Ok(pool) = ipnet::Ipv4Net::new(Ipv4Addr::new(127, 0, third, 0), 24)
        {
            return (pool.into(), Some(lock));
        }
    }
    (ipnet::Ipv4Net::from(Ipv4Addr::LOCALHOST).into(), None)
}

/// 8080 where it is free, as people expect, else any.
fn free_port(pool: ipnet::IpNet) -> std::io::Result<u16> {
    let first = pool.hosts().next().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    if std::net::TcpListener::bind((first, 8080)).is_ok() {
        return Ok(8080);
    }
    std::net::TcpListener::bind((first, 0))?.local_addr().map(|address| address.port())
}

/// Endpoints of one Service may differ in port only across slices: one slice an endpoint.
fn endpoint_slices(backends: &Backends) -> Value {
    let items: Vec<Value> = PROFILES
        .iter()
        .flat_map(|profile| {
            let endpoints = backends.endpoints.get(profile.service).into_iter().flatten().enumerate();
            endpoints.map(move |(index, address)| {
                json!({
                    "apiVersion": "discovery.k8s.io/v1",
                    "kind": "EndpointSlice",
                    "metadata": {
                        "name": format!("{}-{index}", profile.service),
                        "namespace": profile.namespace,
                        "labels": { "kubernetes.io/service-name": profile.service },
                    },
                    "addressType": "IPv4",
                    "ports": [{ "name": "http", "port": address.port(), "protocol": "TCP" }],
                    "endpoints": [{ "addresses": [address.ip()], "conditions": { "ready": true } }],
                })
            })
        })
        .collect();
    json!({ "apiVersion": "v1", "kind": "List", "items": items })
}

/// Renames the context and makes the canary's namespace its default, so that
/// `gwtop canary --step 5` needs no more words.
fn name_context(kubeconfig: &Path) -> Result<()> {
    let text = fs::read_to_string(kubeconfig)?;
    let mut config: Value = serde_saphyr::from_str(&text).wrap_err("the local API's kubeconfig")?;
    config["current-context"] = json!("gwtop-demo");
    let context = &mut config["contexts"][0];
    context["name"] = json!("gwtop-demo");
    context["context"]["namespace"] = json!(NAMESPACE);
    fs::write(kubeconfig, serde_json::to_vec_pretty(&config)?)?;
    fs::set_permissions(kubeconfig, fs::Permissions::from_mode(0o600))?;
    Ok(())
}

/// Where a second terminal finds the demo that was started last.
fn publish(kubeconfig: &Path) -> Result<PathBuf> {
    let link = settings::demo_kubeconfig();
    let parent = link.parent().ok_or_else(|| eyre!("{} has no parent", link.display()))?;
    fs::create_dir_all(parent).wrap_err_with(|| format!("cannot create {}", parent.display()))?;
    let fresh = parent.join(format!(".kubeconfig-{}", std::process::id()));
    let _ = fs::remove_file(&fresh);
    symlink(kubeconfig, &fresh)?;
    fs::rename(&fresh, &link)?;
    Ok(link)
}

pub(super) fn api(connection: &Connection, gvk: (&str, &str, &str), namespace: &str) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(gvk.0, gvk.1, gvk.2));
    Api::namespaced_with(connection.client.clone(), namespace, &resource)
}

async fn await_gateway(connection: &Connection, port: u16) -> Result<SocketAddr> {
    let gateways = api(connection, ("gateway.networking.k8s.io", "v1", "Gateway"), "gateway-system");
    let mut objects = watcher(gateways, watcher::Config::default()).default_backoff().applied_objects().boxed();
    let programmed = async {
        while let Some(gateway) = objects.try_next().await? {
            let status = &gateway.data["status"];
            let ready = status["conditions"]
                .as_array()
                .is_some_and(|all| all.iter().any(|c| c["type"] == "Programmed" && c["status"] == "True"));
            let address = status["addresses"][0]["value"].as_str().and_then(|value| value.parse::<IpAddr>().ok());
            // Without it nothing that happens to the canary can be judged.
            let measured = gateway.annotations().contains_key(METRICS_URL_ANNOTATION);
            if let (true, true, Some(address)) = (ready, measured, address) {
                return Ok(SocketAddr::new(address, port));
            }
        }
        bail!("the watch of Gateways ended")
    };
    tokio::time::timeout(Duration::from_secs(20), programmed)
        .await
        .map_err(|_| eyre!("the demo's Gateway was not programmed within 20 s"))?
}

/// Makes the canary fail as its Service's annotation says, for as long as it says so.
async fn follow_faults(connection: Connection, conduct: Arc<Conduct>) {
    let services = api(&connection, ("", "v1", "Service"), NAMESPACE);
    let config = watcher::Config::default().fields(&format!("metadata.name={CANARY}"));
    let mut objects = watcher(services, config).default_backoff().applied_objects().boxed();
    while let Some(service) = objects.next().await {
        if let Ok(service) = service {
            let share = service.annotations().get(ERROR_RATE_ANNOTATION).and_then(|text| text.parse().ok());
            conduct.fail(share.unwrap_or(0.0));
        }
    }
}
