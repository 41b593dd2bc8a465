//! The kubeconfig that tells clients where the server is and how to be let in.

use std::path::Path;

use serde_json::{Value, json};

use super::LocalError;
use super::auth::{read_secret, write_secret};

/// Name of the context, the cluster and the user in the kubeconfig.
pub const CONTEXT: &str = "gwproxy-local";

/// The content of a kubeconfig. `authority` is PEM; `name` is asked for instead of the server's.
pub(super) fn document(server: &str, authority: &str, name: Option<&str>, token: &str) -> Value {
    let authority = k8s_openapi::ByteString(authority.as_bytes().to_vec());
    let mut cluster = json!({"server": server, "certificate-authority-data": authority});
    if let Some(name) = name {
        cluster["tls-server-name"] = name.into();
    }
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": CONTEXT,
        "clusters": [{"name": CONTEXT, "cluster": cluster}],
        "users": [{"name": CONTEXT, "user": {"token": token}}],
        "contexts": [{"name": CONTEXT, "context": {"cluster": CONTEXT, "user": CONTEXT, "namespace": "default"}}],
    })
}

/// Writes the file, unless there is one with contexts of somebody else.
pub(super) fn write(path: &Path, config: &Value) -> Result<(), LocalError> {
    if let Some(present) = read_secret(path)?
        && !is_ours(&serde_saphyr::from_str(&present).unwrap_or_default())
    {
        return Err(LocalError::ForeignKubeconfig { path: path.to_owned() });
    }
    if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
        std::fs::create_dir_all(dir).map_err(|source| LocalError::File { path: dir.to_owned(), source })?;
    }
    let yaml = serde_saphyr::to_string(config).map_err(|error| LocalError::File {
        path: path.to_owned(),
        source: std::io::Error::other(error.to_string()),
    })?;
    write_secret(path, yaml.as_bytes())
}

/// Puts another token into a kubeconfig that [`write`] wrote. Returns whether there is one.
pub(super) fn replace_token(path: &Path, token: &str) -> Result<bool, LocalError> {
    let Some(present) = read_secret(path)? else { return Ok(false) };
    let mut config: Value = serde_saphyr::from_str(&present).unwrap_or_default();
    if is_ours(&config) && config["users"][0]["user"]["token"] != token {
        config["users"][0]["user"]["token"] = token.into();
    }
    write(path, &config).map(|()| true)
}

fn is_ours(config: &Value) -> bool {
    config["contexts"].as_array().is_some_and(|all| all.iter().all(|context| context["name"] == CONTEXT))
}
