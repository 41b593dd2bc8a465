//! The API over real HTTP, through kube-rs and kubectl.

mod apply;
mod bad;
mod crds;
mod forwarded;
mod kubectl;
mod logs;
mod manifests;
mod service;
mod verbs;
mod watches;

use std::path::Path;
use std::sync::{Arc, LazyLock};

use kube::api::{Api as KubeApi, DynamicObject, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Client, Config};
use serde_json::{Value, json};

use super::admit::{Admitted, FieldError, FieldErrorKind};
use super::*;

/// Refuses `spec.bad` of routes and drops `spec.unknown`. The core kinds are as they always are.
struct Rule;

static CORE_KINDS: LazyLock<schema::Schemas> = LazyLock::new(|| schema::Schemas::new().unwrap());

impl Admit for Rule {
    fn schema(&self, group: &str, kind: &str) -> Option<Value> {
        (group != "gateway.networking.k8s.io").then(|| Admit::schema(&*CORE_KINDS, group, kind)).flatten()
    }

    fn decode(&self, group: &str, version: &str, kind: &str, object: &mut Value) -> Result<Vec<String>, String> {
        CORE_KINDS.decode(group, version, kind, object)
    }

    fn admit(&self, group: &str, kind: &str, object: &mut Value, old: Option<&Value>) -> Admitted {
        if group != "gateway.networking.k8s.io" {
            return CORE_KINDS.admit(group, kind, object, old);
        }
        let mut admitted = Admitted::default();
        if let Some(spec) = object["spec"].as_object_mut() {
            if spec.remove("unknown").is_some() {
                admitted.unknown.push("spec.unknown".into());
            }
            if spec.contains_key("bad") {
                let message = "Invalid value: true: must not be bad".into();
                admitted.errors.push(FieldError { field: "spec.bad".into(), kind: FieldErrorKind::Invalid, message });
            }
        }
        admitted
    }
}

struct Home {
    dir: tempfile::TempDir,
    api: Api,
    client: Client,
}

impl Home {
    async fn start() -> Self {
        Self::start_in(tempfile::tempdir().unwrap()).await
    }

    async fn start_in(dir: tempfile::TempDir) -> Self {
        Self::start_as(dir, Service::default()).await
    }

    async fn start_as(dir: tempfile::TempDir, service: Service) -> Self {
        let options = ApiOptions {
            listen: "127.0.0.1:0".parse().unwrap(),
            data: dir.path().join("data"),
            kubeconfig: dir.path().join("kubeconfig"),
            admit: Arc::new(Rule),
            service,
        };
        let api = Api::start(options).await.unwrap();
        let client = Client::try_from(config(&api.kubeconfig).await).unwrap();
        Self { dir, api, client }
    }

    async fn restart(self) -> Self {
        self.api.stop().await;
        Self::start_in(self.dir).await
    }

    fn routes(&self) -> KubeApi<DynamicObject> {
        KubeApi::default_namespaced_with(self.client.clone(), &route_kind())
    }

    async fn create_route(&self, name: &str, labels: Value) -> DynamicObject {
        self.routes().create(&PostParams::default(), &route(name, labels)).await.unwrap()
    }

    /// A raw request: its status code and body.
    async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<Vec<u8>>) -> (u16, Value) {
        let mut request = http::Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(kube::client::Body::from(body.into())).unwrap();
        let response = self.client.send(request).await.unwrap();
        let code = response.status().as_u16();
        let body = response.into_body().collect_bytes().await.unwrap();
        let text = String::from_utf8_lossy(&body).into_owned();
        (code, serde_json::from_slice(&body).unwrap_or(Value::String(text)))
    }
}

async fn config(path: &Path) -> Config {
    let kubeconfig = Kubeconfig::read_from(path).unwrap();
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    // What the server refuses is what the tests look at.
    config.default_retry = false;
    config
}

fn route_kind() -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk("gateway.networking.k8s.io", "v1", "HTTPRoute"))
}

fn route(name: &str, labels: impl Into<Value>) -> DynamicObject {
    let labels: Value = labels.into();
    let route = json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": {"name": name, "labels": labels},
        "spec": {"hostnames": ["a.example"], "rules": [{"backendRefs": [{"name": "s", "port": 80, "weight": 1}]}]},
    });
    serde_json::from_value(route).unwrap()
}

fn code<T: std::fmt::Debug>(result: Result<T, kube::Error>) -> (u16, String) {
    match result.unwrap_err() {
        kube::Error::Api(status) => (status.code, status.reason.clone()),
        other => panic!("{other}"),
    }
}

const ROUTES: &str = "/apis/gateway.networking.k8s.io/v1/namespaces/default/httproutes";
