//! The API of a data directory for one command, whether a server runs on it or not.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use color_eyre::Result;
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};

use super::{client, default_data, refusal, usage};
use crate::local::{self, Api, ApiOptions, LocalError, Service, StoreError, schema::Schemas};

/// A client of the API, and the server where none was running.
pub struct Home {
    pub client: Client,
    server: Option<(Api, PathBuf)>,
}

impl Home {
    /// Takes the API of the kubeconfig, or that of the data directory: the one that runs on it,
    /// or one of its own until [`Home::close`]. `create` makes a directory that is not there.
    pub async fn open(kubeconfig: Option<PathBuf>, data: Option<PathBuf>, create: bool) -> Result<Self> {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        if let Some(path) = kubeconfig {
            return Ok(Self { client: client(Some(&path), None).await?, server: None });
        }
        let data = data.map_or_else(default_data, Ok)?;
        if !create && !data.join("objects.redb").exists() {
            return Err(usage(format!("{} is no data folder of gwproxy local; name one (--data)", data.display())));
        }
        let kubeconfig = data.join(format!("kubeconfig.{}", std::process::id()));
        let options = ApiOptions {
            listen: (std::net::Ipv4Addr::LOCALHOST, 0).into(),
            data: data.clone(),
            kubeconfig: kubeconfig.clone(),
            admit: Arc::new(Schemas::new()?),
            service: Service::default(),
        };
        match Api::start(options).await {
            Ok(server) => {
                let own: Kubeconfig = serde_json::from_value(server.own.clone())?;
                let config = Config::from_custom_kubeconfig(own, &KubeConfigOptions::default()).await?;
                Ok(Self { client: Client::try_from(config)?, server: Some((server, kubeconfig)) })
            }
            Err(LocalError::Store(StoreError::InUse { .. })) => {
                let running = data.join("kubeconfig");
                if !running.exists() {
                    let shown = data.display();
                    return Err(usage(format!("the kubeconfig of {shown} is elsewhere: name it (--kubeconfig)")));
                }
                Ok(Self { client: client(Some(&running), None).await?, server: None })
            }
            Err(error) => Err(refusal(error)),
        }
    }

    pub async fn close(self) {
        if let Some((server, kubeconfig)) = self.server {
            server.stop().await;
            let _ = std::fs::remove_file(kubeconfig);
        }
    }
}

/// Makes a new token. Returns what to tell the operator.
pub fn rotate_token(data: Option<PathBuf>, kubeconfig: Option<PathBuf>) -> Result<String> {
    let data = data.map_or_else(default_data, Ok)?;
    let kubeconfig = kubeconfig.unwrap_or_else(|| data.join("kubeconfig"));
    let written = local::rotate_token(&data, &kubeconfig).map_err(refusal)?;
    Ok(told(&kubeconfig, written))
}

fn told(kubeconfig: &Path, written: bool) -> String {
    let shown = kubeconfig.display();
    if written {
        format!("new token in {shown}; the one before is refused")
    } else {
        format!("new token, and no kubeconfig at {shown}: the server writes its own within a second")
    }
}
