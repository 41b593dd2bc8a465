//! Reads what checks look at: the cluster's objects with what is denied, files, and the answers of
//! listeners.

use std::{
    collections::{BTreeMap, BTreeSet, hash_map::DefaultHasher},
    hash::{Hash as _, Hasher as _},
    io::Read as _,
    net::SocketAddr,
    time::Duration,
};

use futures::StreamExt as _;
use k8s_openapi::ByteString;
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, GroupVersionKind, ListParams},
};
use serde_json::Value;

use super::{
    Options, certificates, ingresses,
    probe::{Got, Probe, Probed, plan},
    seen::{
        ADMISSION_POLICY, Access, BACKEND_TLS_POLICY, CRD, DAEMON_SET, DEPLOYMENT, ENDPOINT_SLICE, GATEWAY,
        GATEWAY_API, GATEWAY_CLASS, GRPC_ROUTE, HELM_RELEASE, HTTP_ROUTE, INGRESS, INGRESS_CLASS, Item, Kind,
        LISTENER_SET, NAMESPACE, REFERENCE_GRANT, Requested, SECRET, SERVICE, Seen, TCP_ROUTE, TLS_ROUTE, UDP_ROUTE,
        text,
    },
};
use crate::{
    ask::{Question, ask},
    cluster::connect::Connection,
    migrate::command::Read,
    yaml::Node,
};

/// Kind, plural, whether it is in namespaces.
const KINDS: [(Kind, &str, bool); 18] = [
    (GATEWAY_CLASS, "gatewayclasses", false),
    (GATEWAY, "gateways", true),
    (LISTENER_SET, "listenersets", true),
    (HTTP_ROUTE, "httproutes", true),
    (GRPC_ROUTE, "grpcroutes", true),
    (TLS_ROUTE, "tlsroutes", true),
    (TCP_ROUTE, "tcproutes", true),
    (UDP_ROUTE, "udproutes", true),
    (REFERENCE_GRANT, "referencegrants", true),
    (BACKEND_TLS_POLICY, "backendtlspolicies", true),
    (NAMESPACE, "namespaces", false),
    (SERVICE, "services", true),
    (ENDPOINT_SLICE, "endpointslices", true),
    (INGRESS, "ingresses", true),
    (INGRESS_CLASS, "ingressclasses", false),
    (DEPLOYMENT, "deployments", true),
    (DAEMON_SET, "daemonsets", true),
    (CRD, "customresourcedefinitions", false),
];

/// Versions of the kinds of the Gateway API that can be read, the best first.
const VERSIONS: [&str; 4] = ["v1", "v1beta1", "v1alpha3", "v1alpha2"];
const PAGE: u32 = 500;
const AT_ONCE: usize = 8;

fn denied(error: &kube::Error) -> Access {
    match error {
        kube::Error::Api(status) if status.code == 404 => Access::Missing,
        kube::Error::Api(status) => Access::Denied(status.message.clone()),
        other => Access::Denied(other.to_string()),
    }
}

struct Cluster<'a> {
    connection: &'a Connection,
    /// Version by plural.
    served: BTreeMap<String, String>,
}

impl Cluster<'_> {
    fn client(&self) -> Client {
        self.connection.client.clone()
    }

    async fn within<T>(&self, call: impl Future<Output = kube::Result<T>>) -> Result<T, Access> {
        match tokio::time::timeout(self.connection.request_timeout, call).await {
            Ok(answer) => answer.map_err(|error| denied(&error)),
            Err(_) => Err(Access::Denied(format!("no answer within {:?}", self.connection.request_timeout))),
        }
    }

    /// Which versions of the Gateway API are served, and what they have.
    async fn discover(&mut self) -> Result<(), Access> {
        let groups = self.within(self.client().list_api_groups()).await?;
        let group = groups.groups.iter().find(|group| group.name == GATEWAY_API).ok_or(Access::Missing)?;
        for version in VERSIONS.iter().filter(|version| group.versions.iter().any(|one| one.version == **version)) {
            let list = self.within(self.client().list_api_group_resources(&format!("{GATEWAY_API}/{version}"))).await?;
            for resource in list.resources {
                self.served.entry(resource.name).or_insert_with(|| (*version).to_owned());
            }
        }
        Ok(())
    }

    async fn list(
        &self,
        kind: Kind,
        plural: &str,
        namespace: Option<&str>,
        labels: Option<&str>,
    ) -> Result<Vec<Value>, Access> {
        let version = match kind.0 {
            GATEWAY_API => self.served.get(plural).ok_or(Access::Missing)?,
            _ => "v1",
        };
        let name = if kind == HELM_RELEASE { "Secret" } else { kind.1 };
        let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(kind.0, version, name), plural);
        let api: Api<DynamicObject> = match namespace {
            Some(namespace) => Api::namespaced_with(self.client(), namespace, &resource),
            None => Api::all_with(self.client(), &resource),
        };
        let mut all = Vec::new();
        let mut params = ListParams::default().limit(PAGE);
        if let Some(labels) = labels {
            params = params.labels(labels);
        }
        loop {
            let page = self.within(api.list(&params)).await?;
            for object in &page.items {
                let mut value = serde_json::to_value(object).map_err(|error| Access::Denied(error.to_string()))?;
                value["apiVersion"] = resource.api_version.clone().into();
                value["kind"] = resource.kind.clone().into();
                all.push(value);
            }
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => return Ok(all),
            }
        }
    }

    async fn secret(&self, namespace: &str, name: &str) -> Result<Value, Access> {
        let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("", "v1", "Secret"), "secrets");
        let api: Api<DynamicObject> = Api::namespaced_with(self.client(), namespace, &resource);
        let object = self.within(api.get(name)).await?;
        serde_json::to_value(&object).map_err(|error| Access::Denied(error.to_string()))
    }
}

/// Reads a cluster into `seen`. `namespace` limits it to one, and to those that its objects refer to.
pub async fn cluster(seen: &mut Seen, connection: &Connection, namespace: Option<&str>) {
    seen.live = true;
    seen.namespace = namespace.unwrap_or_default().to_owned();
    let mut cluster = Cluster { connection, served: BTreeMap::new() };
    let discovered = cluster.discover().await;
    if let Ok(version) = cluster.within(connection.client.apiserver_version()).await {
        let number = |text: &str| text.trim_end_matches('+').parse().ok();
        seen.version = number(&version.major).zip(number(&version.minor));
    }
    let mut namespaces: Vec<Option<String>> = vec![namespace.map(str::to_owned)];
    let mut done: BTreeSet<Option<String>> = BTreeSet::new();
    // Routes name Gateways of other namespaces, those name Secrets and may belong to a third.
    for _ in 0..3 {
        for namespace in std::mem::take(&mut namespaces) {
            if done.insert(namespace.clone()) {
                read(seen, &cluster, namespace.as_deref(), discovered.as_ref().err(), done.len() == 1).await;
            }
        }
        if namespace.is_none() {
            break;
        }
        namespaces = referred(seen).into_iter().map(Some).filter(|one| !done.contains(one)).collect();
    }
    if namespace.is_none()
        && let Ok(policies) = cluster.list(ADMISSION_POLICY, "validatingadmissionpolicies", None, None).await
    {
        policies.into_iter().for_each(|value| seen.put(ADMISSION_POLICY, Item::live(value)));
    }
    secrets(seen, &cluster).await;
}

async fn read(seen: &mut Seen, cluster: &Cluster<'_>, namespace: Option<&str>, missing: Option<&Access>, first: bool) {
    for (kind, plural, namespaced) in KINDS {
        if !namespaced && !first {
            continue;
        }
        let answer = match missing.filter(|_| kind.0 == GATEWAY_API) {
            Some(missing) => Err(missing.clone()),
            None => cluster.list(kind, plural, namespace.filter(|_| namespaced), None).await,
        };
        match answer {
            Ok(values) => {
                values.into_iter().for_each(|value| seen.put(kind, Item::live(value)));
                if first {
                    seen.set_access(kind, Access::Listed);
                }
            }
            Err(access) => seen.set_access(kind, access),
        }
    }
}

/// Namespaces that references lead to.
fn referred(seen: &Seen) -> BTreeSet<String> {
    fn look(value: &Value, into: &mut BTreeSet<String>) {
        match value {
            Value::Object(fields) => {
                if let (Some(namespace), true) =
                    (fields.get("namespace").and_then(Value::as_str), fields.contains_key("name"))
                {
                    into.insert(namespace.to_owned());
                }
                fields.values().for_each(|inner| look(inner, into));
            }
            Value::Array(items) => items.iter().for_each(|item| look(item, into)),
            _ => {}
        }
    }
    let mut all = BTreeSet::new();
    for item in seen.routes().chain(seen.of(GATEWAY)).chain(seen.of(LISTENER_SET)) {
        look(&item.value["spec"], &mut all);
    }
    all
}

async fn secrets(seen: &mut Seen, cluster: &Cluster<'_>) {
    let holders = seen.of(GATEWAY).iter().chain(seen.of(LISTENER_SET));
    let named: BTreeSet<(String, String)> = holders
        .flat_map(certificates::named)
        .map(|(_, _, namespace, name)| (namespace.to_owned(), name.to_owned()))
        .collect();
    for (namespace, name) in named {
        match cluster.secret(&namespace, &name).await {
            Ok(value) => seen.put(SECRET, Item::live(value)),
            Err(Access::Denied(why)) => {
                seen.denied.insert((namespace, name), why);
            }
            Err(_) => {}
        }
    }
}

/// What only an upgrade asks about: Helm's releases, and the server's metric of deprecated APIs.
pub async fn upgrade(seen: &mut Seen, connection: &Connection, namespace: Option<&str>) {
    let cluster = Cluster { connection, served: BTreeMap::new() };
    match cluster.list(HELM_RELEASE, "secrets", namespace, Some("owner=helm,status=deployed")).await {
        Ok(secrets) => {
            for secret in &secrets {
                let of = format!(
                    "Helm release {}/{}",
                    text(&secret["metadata"], "namespace"),
                    text(&secret["metadata"], "name")
                );
                match release(secret) {
                    Ok(manifest) => {
                        let mut read = Read::default();
                        read.text(&of, &manifest);
                        files(seen, read, "", true);
                    }
                    Err(why) => seen.broken.push((of, 1, why)),
                }
            }
            seen.set_access(HELM_RELEASE, Access::Listed);
        }
        Err(access) => seen.set_access(HELM_RELEASE, access),
    }
    let request = http::Request::get("/metrics").body(Vec::new());
    seen.requested = match request {
        Ok(request) => match cluster.within(connection.client.request_text(request)).await {
            Ok(text) => Some(Ok(requested(&text))),
            // Not a kube-apiserver: it has no such metric.
            Err(Access::Missing) => None,
            Err(Access::Denied(why)) => Some(Err(why)),
            Err(Access::Listed) => None,
        },
        Err(_) => None,
    };
}

/// The manifest of a release: JSON, packed by gzip, written in base64, twice.
fn release(secret: &Value) -> Result<String, String> {
    let once: ByteString =
        serde_json::from_value(secret["data"]["release"].clone()).map_err(|error| error.to_string())?;
    let text = String::from_utf8(once.0).map_err(|error| error.to_string())?;
    let packed: ByteString = serde_json::from_value(Value::from(text)).map_err(|error| error.to_string())?;
    let mut json = Vec::new();
    // A release is at most a megabyte in etcd; unpacked it is bounded so that a bomb does no harm.
    flate2::read::GzDecoder::new(packed.0.as_slice())
        .take(64 << 20)
        .read_to_end(&mut json)
        .map_err(|error| error.to_string())?;
    let release: Value = serde_json::from_slice(&json).map_err(|error| error.to_string())?;
    Ok(text_of(&release, "manifest"))
}

fn text_of(value: &Value, field: &str) -> String {
    text(value, field).to_owned()
}

/// Samples of `apiserver_requested_deprecated_apis` that are 1.
fn requested(metrics: &str) -> Vec<Requested> {
    let lines = metrics.lines().filter_map(|line| line.strip_prefix("apiserver_requested_deprecated_apis{"));
    lines
        .filter_map(|line| {
            let (labels, value) = line.rsplit_once('}')?;
            let label = |name: &str| {
                let (_, rest) = labels.split_once(&format!("{name}=\""))?;
                Some(rest.split('"').next().unwrap_or_default().to_owned())
            };
            (value.trim() == "1").then(|| Requested {
                group: label("group").unwrap_or_default(),
                version: label("version").unwrap_or_default(),
                resource: label("resource").unwrap_or_default(),
                removed: label("removed_release").unwrap_or_default(),
            })
        })
        .collect()
}

/// A kind that checks know, by group and name.
pub fn kind_of(group: &str, name: &str) -> Option<Kind> {
    if (group, name) == SECRET {
        return Some(SECRET);
    }
    KINDS.into_iter().map(|(kind, ..)| kind).find(|kind| *kind == (group, name))
}

/// Adds objects of files; they take the place of the cluster's. `aside`: only to be looked at for
/// the versions that they are written in.
pub fn files(seen: &mut Seen, read: Read, namespace: &str, aside: bool) {
    seen.broken.extend(read.broken);
    let mut queue: Vec<(String, Node)> = read.sources.into_iter().map(|source| (source.file, source.node)).collect();
    queue.reverse();
    while let Some((file, node)) = queue.pop() {
        let kind = node.text_at(&["kind"]).unwrap_or_default();
        if let (true, Some(items)) = (kind.ends_with("List"), node.get("items")) {
            queue.extend(items.items().iter().rev().map(|item| (file.clone(), item.clone())));
            continue;
        }
        let mut value = node.value();
        let version = node.text_at(&["apiVersion"]).unwrap_or_default();
        if kind.is_empty() || version.is_empty() {
            seen.broken.push((file, node.line, "it has no apiVersion and kind".to_owned()));
            continue;
        }
        let group = version.split_once('/').map_or("", |(group, _)| group);
        let mut known = KINDS.into_iter().find(|((of, name), ..)| *of == group && *name == kind);
        if group.is_empty() && kind == "Secret" {
            known = Some((SECRET, "secrets", true));
        }
        if let Some((.., true)) = known
            && text(&value["metadata"], "namespace").is_empty()
        {
            value["metadata"]["namespace"] = namespace.into();
        }
        let item = Item { value, file: Some(file), node: Some(node) };
        match known.filter(|_| !aside) {
            Some((kind, ..)) => seen.overlay(kind, item),
            None => seen.others.push(item),
        }
    }
    if !aside {
        seen.files = true;
    }
}

/// Asks listeners what the routes say that they answer.
pub async fn probe(seen: &mut Seen, timeout: Duration) {
    let probes = plan(seen);
    let mut found: BTreeMap<String, Result<std::net::IpAddr, String>> = BTreeMap::new();
    for address in probes.iter().map(|probe| &probe.address) {
        if !found.contains_key(address) {
            let resolved = match address.parse() {
                Ok(address) => Ok(address),
                Err(_) => {
                    lookup(address).await.and_then(|all| all.into_iter().next().ok_or_else(|| "no address".to_owned()))
                }
            };
            found.insert(address.clone(), resolved);
        }
    }
    let asked = probes.into_iter().map(|probe| {
        let address = found.get(&probe.address).cloned().unwrap_or_else(|| Err("no address".to_owned()));
        async move {
            let got = match address {
                Ok(address) => one(&probe, SocketAddr::new(address, probe.port), timeout).await,
                Err(why) => Err(format!("{}: {why}", probe.address)),
            };
            Probed { probe, got }
        }
    });
    seen.probes = Some(futures::stream::iter(asked).buffered(AT_ONCE).collect().await);
}

async fn one(probe: &Probe, to: SocketAddr, timeout: Duration) -> Result<Got, String> {
    let usual = if probe.tls { 443 } else { 80 };
    let question = Question {
        to,
        tls: probe.tls,
        host: &probe.host,
        host_port: (probe.port != usual).then_some(probe.port),
        method: "GET",
        target: &probe.target,
        headers: &probe.headers,
    };
    let heard = ask(&question, timeout).await?;
    let header =
        |name: &str| heard.headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let mut hash = DefaultHasher::new();
    heard.body.hash(&mut hash);
    Ok(Got {
        status: heard.status,
        location: header("location"),
        shape: format!("{:?} {:?} {:x}", header("server"), header("content-type"), hash.finish()),
        certificate: heard.certificate.as_deref().map(certificates::Certificate::of_der),
    })
}

async fn lookup(name: &str) -> Result<Vec<std::net::IpAddr>, String> {
    let found = tokio::net::lookup_host((name, 0)).await.map_err(|error| error.to_string())?;
    Ok(found.map(|address| address.ip()).collect())
}

/// Why a cluster says nothing about Ingresses, if it does not.
pub fn unreadable(seen: &Seen) -> Option<String> {
    match seen.access(INGRESS) {
        Some(Access::Denied(why)) => Some(format!("Ingresses cannot be read: {why}")),
        Some(Access::Missing) => Some("the cluster does not serve Ingresses".to_owned()),
        _ => None,
    }
}

/// Where hosts point to that an Ingress and a route both serve.
pub async fn names(seen: &mut Seen, options: &Options, timeout: Duration) {
    for host in ingresses::both(seen, options) {
        let answer = match tokio::time::timeout(timeout, lookup(&host)).await {
            Ok(Ok(addresses)) => Ok(addresses.iter().map(ToString::to_string).collect()),
            Ok(Err(why)) => Err(why),
            Err(_) => Err(format!("no answer within {timeout:?}")),
        };
        seen.names.insert(host, answer);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use serde_json::json;

    use super::*;

    #[test]
    fn a_release_of_helm_is_unpacked() {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        packed
            .write_all(json!({"manifest": "apiVersion: batch/v1beta1\nkind: CronJob\n"}).to_string().as_bytes())
            .unwrap();
        let inner = serde_json::to_value(ByteString(packed.finish().unwrap())).unwrap();
        let outer = serde_json::to_value(ByteString(inner.as_str().unwrap().as_bytes().to_vec())).unwrap();
        let secret = json!({"data": {"release": outer}});
        assert!(release(&secret).unwrap().starts_with("apiVersion: batch/v1beta1"));
        assert!(release(&json!({"data": {"release": "bm90IGd6aXA="}})).is_err());
    }

    #[test]
    fn only_samples_of_one_are_requests() {
        let text = "# HELP x\napiserver_requested_deprecated_apis{group=\"batch\",removed_release=\"1.25\",resource=\"cronjobs\",subresource=\"\",version=\"v1beta1\"} 1\napiserver_requested_deprecated_apis{group=\"a\",version=\"v1\"} 0\n";
        let all = requested(text);
        assert_eq!(all.len(), 1);
        assert_eq!((all[0].resource.as_str(), all[0].removed.as_str()), ("cronjobs", "1.25"));
    }
}
