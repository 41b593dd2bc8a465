//! `gwtop migrate`: files or a cluster in, manifests, report and proof out.

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
    time::Duration,
};

use kube::{
    Api,
    api::{ApiResource, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams},
};
use serde_json::Value;

use super::{
    Migration, Options, emit,
    ingress::Source,
    live::Endpoint,
    migrate,
    nginx::Request,
    plan,
    prove::{Proof, prove},
    render,
};
use crate::{
    cluster::connect::Connection,
    exit::Exit,
    yaml::{self, Node},
};

pub mod live;
pub mod watch;

/// What a run is asked for beside the conversion itself.
#[derive(Debug, Clone, Default)]
pub struct Run {
    pub json: bool,
    pub output_dir: Option<PathBuf>,
    /// Files whose ending says what is written: `.json`, `.sarif`, `.html`, anything else text.
    pub reports: Vec<PathBuf>,
    pub plan: Option<PathBuf>,
    pub prove: bool,
    pub replay: Vec<PathBuf>,
    /// Percent.
    pub min_fidelity: Option<f64>,
    pub verbose: bool,
    pub server_dry_run: bool,
    /// The old proxy and the new one, to be asked the same.
    pub live: Option<[Endpoint; 2]>,
    /// How long one request of `live` may take.
    pub timeout: Duration,
}

/// Sources and what of them cannot be read.
#[derive(Debug, Default)]
pub struct Read {
    pub sources: Vec<Source>,
    pub broken: Vec<(String, u32, String)>,
}

impl Read {
    pub fn text(&mut self, file: &str, text: &str) {
        for document in yaml::documents(text) {
            match document.node {
                Ok(node) => {
                    self.sources.push(Source { file: file.to_owned(), line: document.line.max(node.line), node });
                }
                Err(why) => self.broken.push((file.to_owned(), document.line, why)),
            }
        }
    }

    /// A file, a folder with everything below it, or `-` for stdin.
    pub fn path(&mut self, path: &Path) -> Result<(), String> {
        let cannot = |error: std::io::Error| format!("cannot read {}: {error}", path.display());
        if path == Path::new("-") {
            let mut text = Vec::new();
            std::io::stdin().read_to_end(&mut text).map_err(cannot)?;
            self.text("<stdin>", &String::from_utf8_lossy(&text));
        } else if path.is_dir() {
            let mut entries: Vec<PathBuf> =
                fs::read_dir(path).map_err(cannot)?.filter_map(Result::ok).map(|entry| entry.path()).collect();
            entries.sort();
            for entry in entries {
                let manifest = entry.extension().is_some_and(|kind| kind == "yaml" || kind == "yml" || kind == "json");
                if manifest || entry.is_dir() {
                    self.path(&entry)?;
                }
            }
        } else {
            let bytes = fs::read(path).map_err(cannot)?;
            let file = path.display().to_string();
            match String::from_utf8(bytes) {
                Ok(text) => self.text(&file, &text),
                Err(_) => self.broken.push((file, 1, "it is no UTF-8 text".to_owned())),
            }
        }
        Ok(())
    }
}

/// Ingresses, Services and the controller's ConfigMaps of a cluster.
pub async fn read_cluster(connection: &Connection, namespace: Option<&str>) -> Result<Read, String> {
    let mut read = Read::default();
    for (group, kind, plural, everywhere) in [
        ("networking.k8s.io", "Ingress", "ingresses", false),
        ("", "Service", "services", false),
        ("", "ConfigMap", "configmaps", true),
    ] {
        let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, "v1", kind), plural);
        let api: Api<DynamicObject> = match namespace {
            Some(namespace) if !everywhere => Api::namespaced_with(connection.client.clone(), namespace, &resource),
            _ => Api::all_with(connection.client.clone(), &resource),
        };
        let list = tokio::time::timeout(connection.request_timeout, api.list(&ListParams::default())).await;
        let list = match list {
            Ok(Ok(list)) => list,
            // The controller's settings may be out of reach: its defaults are taken then.
            Ok(Err(error)) if kind != "Ingress" => {
                eprintln!("gwtop: cannot list {plural}: {error}: going on without them");
                continue;
            }
            Ok(Err(error)) => return Err(format!("cannot list {plural} at {}: {error}", connection.cluster_url)),
            Err(_) => return Err(format!("{} gives no answer", connection.cluster_url)),
        };
        for object in &list.items {
            let mut value = serde_json::to_value(object).map_err(|error| error.to_string())?;
            value["kind"] = Value::from(kind);
            read.sources.push(Source { file: connection.context.clone(), line: 0, node: Node::of(&value) });
        }
    }
    Ok(read)
}

/// Converts, writes what was asked for and says how it went. `cluster` is for a server dry run.
pub async fn run(read: Read, namespace: &str, options: &Options, run: &Run, cluster: Option<&Connection>) -> Exit {
    let migration = migrate(read.sources, read.broken, namespace, options);
    if migration.input.ingresses.is_empty() && migration.objects.is_empty() && migration.failed.is_empty() {
        eprintln!("gwtop: no Ingress of class {} in the input", options.ingress_classes.join(", "));
        return Exit::Usage;
    }
    let mut requests = Vec::new();
    for file in &run.replay {
        match fs::read_to_string(file) {
            Ok(text) => requests.extend(replayed(&text)),
            Err(error) => return usage(&format!("cannot read {}: {error}", file.display())),
        }
    }
    let proof = (run.prove || !run.replay.is_empty()).then(|| prove(&migration, &requests));
    if let Err(why) = write(&migration, proof.as_ref(), run) {
        return usage(&why);
    }
    eprint!("{}", render::text(&migration, proof.as_ref(), run.verbose));
    let mut unlike = false;
    if let Some(endpoints) = &run.live {
        match live::replay(&migration, &requests, endpoints, run.timeout).await {
            Ok(replay) => {
                eprint!("{}", live::text(&replay));
                unlike = !replay.findings.is_empty();
            }
            Err(why) => return usage(&why),
        }
    }
    let mut refused = false;
    if let (true, Some(connection)) = (run.server_dry_run, cluster) {
        for problem in dry_run(connection, &migration).await {
            eprintln!("refused by the server: {problem}");
            refused = true;
        }
    }
    let poor = run.min_fidelity.is_some_and(|least| 100.0 * migration.fidelity() < least);
    if poor {
        eprintln!("gwtop: fidelity is below --min-fidelity {}", run.min_fidelity.unwrap_or_default());
    }
    let differs = proof.is_some_and(|proof| !proof.unexplained.is_empty());
    if refused || poor || differs || unlike || !migration.failed.is_empty() || !migration.invalid.is_empty() {
        Exit::ProblemsFound
    } else {
        Exit::Ok
    }
}

fn usage(why: &str) -> Exit {
    eprintln!("gwtop: {why}");
    Exit::Usage
}

fn write(migration: &Migration, proof: Option<&Proof>, run: &Run) -> Result<(), String> {
    let put = |path: &Path, text: &str| {
        fs::write(path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))
    };
    if let Some(folder) = &run.output_dir {
        fs::create_dir_all(folder).map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
        for made in &migration.objects {
            let text = |pointer: &str| made.value.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
            let (namespace, name) = (text("/metadata/namespace"), text("/metadata/name"));
            let file = format!("{}-{namespace}-{name}.yaml", text("/kind").to_ascii_lowercase());
            // Names come from the input: none of them may lead out of the folder.
            put(&folder.join(file.replace(['/', '\\'], "-")), &emit::document(made))?;
        }
    } else if run.json {
        let items: Vec<_> = migration.objects.iter().map(|made| &made.value).collect();
        println!("{}", serde_json::json!({"apiVersion": "v1", "kind": "List", "items": items}));
    } else {
        print!("{}", emit::documents(&migration.objects));
    }
    for path in &run.reports {
        let text = match path.extension().and_then(|kind| kind.to_str()) {
            Some("json") => format!("{:#}\n", render::json(migration, proof)),
            Some("sarif") => format!("{:#}\n", render::sarif(migration)),
            Some("html") => render::html(migration, proof),
            _ => render::text(migration, proof, true),
        };
        put(path, &text)?;
    }
    if let Some(path) = &run.plan {
        let manifests = run.output_dir.as_ref().map_or("manifests.yaml".to_owned(), |dir| dir.display().to_string());
        put(path, &plan::markdown(migration, &manifests))?;
    }
    Ok(())
}

/// Server-side apply of every object, with nothing kept.
async fn dry_run(connection: &Connection, migration: &Migration) -> Vec<String> {
    let mut problems = Vec::new();
    for made in &migration.objects {
        let text = |pointer: &str| made.value.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let (kind, name, namespace) = (text("/kind"), text("/metadata/name"), text("/metadata/namespace"));
        let plural = match kind {
            "BackendTLSPolicy" => "backendtlspolicies".to_owned(),
            kind => format!("{}s", kind.to_ascii_lowercase()),
        };
        let gvk = GroupVersionKind::gvk("gateway.networking.k8s.io", "v1", kind);
        let resource = ApiResource::from_gvk_with_plural(&gvk, &plural);
        let api: Api<DynamicObject> = Api::namespaced_with(connection.client.clone(), namespace, &resource);
        let params = PatchParams::apply("gwtop-migrate").dry_run();
        let patch = Patch::Apply(&made.value);
        let call = api.patch(name, &params, &patch);
        match tokio::time::timeout(connection.request_timeout, call).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => problems.push(format!("{kind} {namespace}/{name}: {error}")),
            Err(_) => problems.push(format!("{kind} {namespace}/{name}: no answer")),
        }
    }
    problems
}

/// Requests of an access log: lines of JSON with `host`, `method` and `uri`, or of the combined
/// format, whose host stands before the client's address or is missing.
pub fn replayed(log: &str) -> Vec<Request> {
    log.lines().filter_map(|line| json_line(line).or_else(|| combined_line(line))).collect()
}

fn json_line(line: &str) -> Option<Request> {
    let value: Value = serde_json::from_str(line.trim()).ok()?;
    let text = |names: &[&str]| names.iter().find_map(|name| value[*name].as_str()).map(str::to_owned);
    let host = text(&["host", "vhost", "http_host", "authority"])?.to_ascii_lowercase();
    Some(Request {
        tls: text(&["scheme"]).is_some_and(|scheme| scheme == "https"),
        host: host.split(':').next().unwrap_or_default().to_owned(),
        method: text(&["method", "request_method"]).unwrap_or_else(|| "GET".to_owned()),
        target: text(&["uri", "request_uri", "path"]).filter(|target| target.starts_with('/'))?,
        headers: Vec::new(),
    })
}

fn combined_line(line: &str) -> Option<Request> {
    let (before, rest) = line.split_once('"')?;
    let request = rest.split('"').next()?;
    let mut parts = request.split(' ');
    let (method, target) = (parts.next()?, parts.next()?);
    let host = before
        .split(' ')
        .next()
        .filter(|first| first.chars().any(|c| c.is_ascii_alphabetic()) && !first.contains("::"))?;
    if !target.starts_with('/') || !method.bytes().all(|c| c.is_ascii_uppercase()) {
        return None;
    }
    let host = host.split(':').next().unwrap_or_default().to_ascii_lowercase();
    Some(Request { tls: false, host, method: method.to_owned(), target: target.to_owned(), headers: Vec::new() })
}
