//! The kubeconfig that tells clients where the server is and how to be let in.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Value, json};

use super::LocalError;
use super::auth::{read_secret, write_secret};

/// Name of the context, the cluster and the user in the kubeconfig.
pub const CONTEXT: &str = "gwproxy-local";

/// Writes the file, unless there is one with contexts of somebody else.
pub(super) fn write(path: &Path, address: SocketAddr, authority: &str, token: &str) -> Result<(), LocalError> {
    if let Some(present) = read_secret(path)? {
        let present: Value = serde_saphyr::from_str(&present).unwrap_or_default();
        let ours =
            present["contexts"].as_array().is_some_and(|all| all.iter().all(|context| context["name"] == CONTEXT));
        if !ours {
            return Err(LocalError::ForeignKubeconfig { path: path.to_owned() });
        }
    }
    if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
        std::fs::create_dir_all(dir).map_err(|source| LocalError::File { path: dir.to_owned(), source })?;
    }
    let authority = k8s_openapi::ByteString(authority.as_bytes().to_vec());
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": CONTEXT,
        "clusters": [{
            "name": CONTEXT,
            "cluster": {"server": format!("https://{address}"), "certificate-authority-data": authority},
        }],
        "users": [{"name": CONTEXT, "user": {"token": token}}],
        "contexts": [{"name": CONTEXT, "context": {"cluster": CONTEXT, "user": CONTEXT, "namespace": "default"}}],
    });
    let yaml = serde_saphyr::to_string(&config).map_err(|error| LocalError::File {
        path: path.to_owned(),
        source: std::io::Error::other(error.to_string()),
    })?;
    write_secret(path, yaml.as_bytes())
}
