//! The local API answers as a kube-apiserver does: scripts of requests in `answers/*.yaml`, each
//! with the answers of a kube-apiserver 1.36 beside it (`answers/*.json`).
//!
//! `GWTOP_TEST_KUBECONFIG=FILE` points the same scripts at any cluster; with
//! `GWTOP_TEST_RECORD=1` its answers are written down as the expected ones. `GWTOP_TEST_SCRIPT`
//! picks one script.
#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

#[path = "answers/normal.rs"]
mod normal;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use gwproxy::local::schema::Schemas;
use gwproxy::local::{Api, ApiOptions, Service};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Steps whose answers are known to differ; lines with `#` say why.
const KNOWN: &str = include_str!("answers/differs.txt");

const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    name: String,
    /// Method and path; `{namespace}` is the script's own, `{x}` what a step saved as `x`.
    #[serde(rename = "do")]
    request: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// Sent as JSON.
    body: Option<Value>,
    /// Sent as it is.
    raw: Option<String>,
    /// Name to JSON pointer into the answer.
    #[serde(default)]
    save: BTreeMap<String, String>,
    /// JSON pointers of the answer that are compared; all of it when empty.
    #[serde(default)]
    only: Vec<String>,
    /// Ask again until the answer has `True` here: JSON pointer.
    wait: Option<String>,
    /// Compare `managedFields` too.
    #[serde(default)]
    managed: bool,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Answer {
    name: String,
    code: u16,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
    body: Value,
}

struct Server {
    client: Client,
    _api: Option<(Api, tempfile::TempDir)>,
}

impl Server {
    async fn start() -> Self {
        if let Some(path) = std::env::var_os("GWTOP_TEST_KUBECONFIG") {
            return Self { client: client(Path::new(&path)).await, _api: None };
        }
        let dir = tempfile::tempdir().unwrap();
        let options = ApiOptions {
            listen: "127.0.0.1:0".parse().unwrap(),
            data: dir.path().join("data"),
            kubeconfig: dir.path().join("kubeconfig"),
            admit: Arc::new(Schemas::new().unwrap()),
            service: Service::default(),
        };
        let api = Api::start(options).await.unwrap();
        Self { client: client(&api.kubeconfig).await, _api: Some((api, dir)) }
    }

    async fn send(&self, request: http::Request<kube::client::Body>) -> (u16, Vec<String>, Value) {
        let response = self.client.send(request).await.unwrap();
        let code = response.status().as_u16();
        let warnings = response.headers().get_all(http::header::WARNING).iter();
        let warnings = warnings.map(|value| value.to_str().unwrap().to_owned()).collect();
        let watch = response.headers().get(http::header::TRANSFER_ENCODING).is_some();
        let body = response.into_body().collect_bytes().await.unwrap();
        let text = String::from_utf8_lossy(&body).into_owned();
        let body = serde_json::from_str(&text).unwrap_or_else(|_| {
            let lines: Result<Vec<Value>, _> = text.lines().map(serde_json::from_str).collect();
            lines.ok().filter(|lines| watch || lines.len() > 1).map_or(Value::String(text.clone()), Value::Array)
        });
        (code, warnings, body)
    }
}

async fn client(kubeconfig: &Path) -> Client {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    Client::try_from(config).unwrap()
}

fn fill(text: &str, saved: &BTreeMap<String, String>) -> String {
    saved.iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("{{{name}}}"), value))
}

async fn run(server: &Server, script: &Path) -> Vec<Answer> {
    let text = std::fs::read_to_string(script).unwrap();
    let steps: Vec<Step> =
        serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", script.display()));
    let plain = format!("answers-{}", script.file_stem().unwrap().to_str().unwrap());
    // A cluster remembers the run before.
    let namespace = format!("{plain}-{:x}", std::process::id());
    let mut saved = BTreeMap::from([("namespace".to_owned(), namespace.clone())]);
    let mut answers = Vec::new();
    for step in steps {
        let line = fill(&step.request, &saved);
        let (method, path) = line.split_once(' ').unwrap();
        let mut request = http::Request::builder().method(method).uri(path);
        for (name, value) in &step.headers {
            request = request.header(name, value);
        }
        if step.body.is_some() && !step.headers.keys().any(|name| name.eq_ignore_ascii_case("content-type")) {
            request = request.header("content-type", "application/json");
        }
        let body = step.raw.or(step.body.map(|body| body.to_string())).unwrap_or_default();
        let request = request.body(fill(&body, &saved).into_bytes()).unwrap();
        let answer = tokio::time::timeout(PATIENCE, async {
            loop {
                let answer = server.send(request.clone().map(kube::client::Body::from)).await;
                let there = |at: &String| answer.2.pointer(at).is_some_and(|value| value == "True");
                if step.wait.as_ref().is_none_or(there) {
                    return answer;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        })
        .await;
        let (code, warnings, body) = answer.unwrap_or_else(|_| (0, Vec::new(), "no end of the answer".into()));
        for (name, pointer) in &step.save {
            let value = body.pointer(pointer).unwrap_or_else(|| panic!("{}: no {pointer} in {body:#}", step.name));
            saved.insert(name.clone(), value.as_str().map_or_else(|| value.to_string(), str::to_owned));
        }
        let mut body = normal::normal(body, &(namespace.clone(), plain.clone()), step.managed);
        if !step.only.is_empty() && code < 400 {
            body = step.only.iter().map(|at| (at.clone(), body.pointer(at).cloned().unwrap_or_default())).collect();
        }
        answers.push(Answer { name: step.name, code, warnings, body });
    }
    if std::env::var_os("GWTOP_TEST_KUBECONFIG").is_some() {
        tidy(server, &namespace).await;
    }
    answers
}

/// Nobody collects a namespace's content where no controller runs: the script's namespaces go by
/// hand, and what they held with the cluster.
async fn tidy(server: &Server, namespace: &str) {
    let path = format!("/api/v1/namespaces/{namespace}");
    let services = http::Request::delete(format!("{path}/services")).body(kube::client::Body::empty()).unwrap();
    server.send(services).await;
    let delete = http::Request::delete(&path).body(kube::client::Body::empty()).unwrap();
    let (_, _, found) = server.send(delete).await;
    if found["kind"] == "Namespace" {
        let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}, "spec": {"finalizers": []}});
        let request = http::Request::put(format!("{path}/finalize")).header("content-type", "application/json");
        server.send(request.body(kube::client::Body::from(body.to_string().into_bytes())).unwrap()).await;
    }
}

fn scripts() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/answers");
    let only = std::env::var("GWTOP_TEST_SCRIPT").unwrap_or_default();
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .filter(|path| only.is_empty() || path.file_stem().unwrap().to_str() == Some(only.as_str()))
        .collect();
    found.sort();
    found
}

#[tokio::test]
async fn every_script_is_answered_as_a_kube_apiserver_does() {
    let server = Server::start().await;
    let record = std::env::var_os("GWTOP_TEST_RECORD").is_some();
    let mut known: BTreeSet<String> = KNOWN.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect();
    let mut differences = Vec::new();
    let mut compared = 0;
    let scripts = scripts();
    let all = futures::future::join_all(scripts.iter().map(|script| run(&server, script))).await;
    for (script, answers) in scripts.iter().zip(all) {
        let golden = script.with_extension("json");
        if record {
            std::fs::write(&golden, serde_json::to_string_pretty(&answers).unwrap() + "\n").unwrap();
            continue;
        }
        let text = std::fs::read_to_string(&golden).unwrap_or_else(|error| panic!("{}: {error}", golden.display()));
        let expected: Vec<Answer> = serde_json::from_str(&text).unwrap();
        assert_eq!(expected.len(), answers.len(), "{}: record its answers anew", script.display());
        for (expected, answer) in expected.iter().zip(&answers) {
            compared += 1;
            let mut found = Vec::new();
            normal::compare("", &json!(expected), &json!(answer), &mut found);
            let step = format!("{}: {}", script.file_name().unwrap().to_str().unwrap(), answer.name);
            if known.remove(&step) == found.is_empty() {
                let found = if found.is_empty() {
                    "  is as it should be: take it out of differs.txt".into()
                } else {
                    found.join("\n")
                };
                differences.push(format!("{step}\n{found}"));
            }
        }
    }
    if std::env::var("GWTOP_TEST_SCRIPT").is_err() && !record {
        differences.extend(known.iter().map(|step| format!("{step}\n  is in differs.txt and in no script")));
    }
    assert!(differences.is_empty(), "{} of {compared} answers differ:\n{}", differences.len(), differences.join("\n"));
    assert!(record || compared > 0, "no script found");
}
