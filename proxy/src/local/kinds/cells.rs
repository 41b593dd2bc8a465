//! The columns that `kubectl get` shows, and how their cells are read from an object.

use serde_json::Value;

use crate::local::table::{age, jsonpath};

type Read = fn(&Value) -> Value;

/// One column after the name.
#[derive(Clone)]
pub struct Column {
    pub name: String,
    pub kind: String,
    /// 0 is always shown, 1 with `-o wide` only.
    pub priority: i64,
    cell: Cell,
}

#[derive(Clone)]
enum Cell {
    /// As a CustomResourceDefinition's `additionalPrinterColumns` say it.
    Path(String),
    Read(Read),
}

impl Column {
    pub fn path(name: &str, kind: &str, path: &str) -> Self {
        Self { name: name.into(), kind: kind.into(), priority: 0, cell: Cell::Path(path.into()) }
    }

    /// The age column of custom resources.
    pub fn created() -> Self {
        Self::path("Age", "date", ".metadata.creationTimestamp")
    }

    /// The age column of the kinds that kubectl knows by their Go type.
    pub fn age() -> Self {
        read("Age", "string", |object| since(&object["metadata"]["creationTimestamp"]))
    }

    pub fn wide(mut self) -> Self {
        self.priority = 1;
        self
    }

    /// What the column shows of this object.
    pub fn value(&self, object: &Value) -> Value {
        match &self.cell {
            Cell::Read(read) => read(object),
            Cell::Path(path) => match (jsonpath(object, path).first(), self.kind.as_str()) {
                (None | Some(Value::Null), _) => Value::Null,
                (Some(found), "date") => since(found),
                (Some(Value::String(found)), _) => found.as_str().into(),
                (Some(found), "string") => found.to_string().into(),
                (Some(found), _) => (*found).clone(),
            },
        }
    }
}

fn read(name: &str, kind: &str, cell: Read) -> Column {
    Column { name: name.into(), kind: kind.into(), priority: 0, cell: Cell::Read(cell) }
}

fn since(time: &Value) -> Value {
    match time.as_str() {
        Some(time) => age(time).into(),
        None => "<unknown>".into(),
    }
}

fn or(value: &Value, none: &str) -> Value {
    match value {
        Value::String(text) if !text.is_empty() => text.as_str().into(),
        Value::Null | Value::String(_) => none.into(),
        other => other.to_string().into(),
    }
}

fn number(value: &Value) -> Value {
    value.as_i64().unwrap_or(0).into()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn size(value: &Value) -> Value {
    value.as_object().map_or(0, serde_json::Map::len).into()
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

fn join(parts: Vec<String>, none: &str) -> Value {
    if parts.is_empty() { none.into() } else { parts.join(",").into() }
}

fn pairs(labels: &Value) -> Value {
    let labels = labels.as_object().into_iter().flatten();
    join(labels.map(|(key, value)| format!("{key}={}", text(value))).collect(), "<none>")
}

/// At most three of the parts, as kubectl shows endpoints.
fn few(parts: Vec<String>, none: &str) -> Value {
    let more = parts.len().saturating_sub(3);
    let shown = parts.into_iter().take(3).collect::<Vec<_>>();
    match (more, join(shown, none)) {
        (0, shown) => shown,
        (more, shown) => format!("{} + {more} more...", text(&shown)).into(),
    }
}

fn containers(template: &Value, field: &str) -> Value {
    join(list(&template["spec"]["containers"]).iter().map(|container| text(&container[field])).collect(), "<none>")
}

pub(super) fn namespace() -> Vec<Column> {
    vec![read("Status", "string", |o| or(&o["status"]["phase"], "")), Column::age()]
}

pub(super) fn service() -> Vec<Column> {
    vec![
        read("Type", "string", |o| or(&o["spec"]["type"], "ClusterIP")),
        read("Cluster-IP", "string", |o| or(&o["spec"]["clusterIP"], "<none>")),
        read("External-IP", "string", |o| {
            let mut found: Vec<String> = list(&o["status"]["loadBalancer"]["ingress"])
                .iter()
                .map(|ingress| text(if ingress["ip"].is_null() { &ingress["hostname"] } else { &ingress["ip"] }))
                .chain(list(&o["spec"]["externalIPs"]).iter().map(text))
                .collect();
            if o["spec"]["type"] == "ExternalName" {
                found = vec![text(&o["spec"]["externalName"])];
            }
            join(found, if o["spec"]["type"] == "LoadBalancer" { "<pending>" } else { "<none>" })
        }),
        read("Port(s)", "string", |o| {
            let ports = list(&o["spec"]["ports"]).iter().map(|port| {
                let node = if port["nodePort"].is_null() { String::new() } else { format!(":{}", port["nodePort"]) };
                format!("{}{node}/{}", port["port"], text(&port["protocol"]))
            });
            join(ports.collect(), "<none>")
        }),
        Column::age(),
        read("Selector", "string", |o| pairs(&o["spec"]["selector"])).wide(),
    ]
}

pub(super) fn endpoints() -> Vec<Column> {
    vec![
        read("Endpoints", "string", |o| {
            let mut found = Vec::new();
            for subset in list(&o["subsets"]) {
                for port in list(&subset["ports"]) {
                    for address in list(&subset["addresses"]) {
                        found.push(format!("{}:{}", text(&address["ip"]), port["port"]));
                    }
                }
            }
            few(found, "<none>")
        }),
        Column::age(),
    ]
}

pub(super) fn endpoint_slice() -> Vec<Column> {
    vec![
        read("AddressType", "string", |o| or(&o["addressType"], "")),
        read("Ports", "string", |o| few(list(&o["ports"]).iter().map(|port| text(&port["port"])).collect(), "<unset>")),
        read("Endpoints", "string", |o| {
            let addresses = list(&o["endpoints"]).iter().flat_map(|endpoint| list(&endpoint["addresses"]));
            few(addresses.map(text).collect(), "<unset>")
        }),
        Column::age(),
    ]
}

pub(super) fn secret() -> Vec<Column> {
    vec![read("Type", "string", |o| or(&o["type"], "")), read("Data", "integer", |o| size(&o["data"])), Column::age()]
}

pub(super) fn config_map() -> Vec<Column> {
    let entries: Read = |o| {
        let data = [&o["data"], &o["binaryData"]];
        data.iter().filter_map(|data| data.as_object()).map(serde_json::Map::len).sum::<usize>().into()
    };
    vec![read("Data", "integer", entries), Column::age()]
}

pub(super) fn service_account() -> Vec<Column> {
    vec![read("Secrets", "integer", |o| list(&o["secrets"]).len().into()), Column::age()]
}

pub(super) fn pod() -> Vec<Column> {
    vec![
        read("Ready", "string", |o| {
            let ready = list(&o["status"]["containerStatuses"]).iter().filter(|status| status["ready"] == true).count();
            format!("{ready}/{}", list(&o["spec"]["containers"]).len()).into()
        }),
        read("Status", "string", |o| {
            if !o["metadata"]["deletionTimestamp"].is_null() {
                return "Terminating".into();
            }
            or(if o["status"]["reason"].is_null() { &o["status"]["phase"] } else { &o["status"]["reason"] }, "")
        }),
        read("Restarts", "string", |o| {
            let statuses = list(&o["status"]["containerStatuses"]).iter();
            statuses.map(|status| status["restartCount"].as_i64().unwrap_or(0)).sum::<i64>().to_string().into()
        }),
        Column::age(),
        read("IP", "string", |o| or(&o["status"]["podIP"], "<none>")).wide(),
        read("Node", "string", |o| or(&o["spec"]["nodeName"], "<none>")).wide(),
        read("Nominated Node", "string", |o| or(&o["status"]["nominatedNodeName"], "<none>")).wide(),
        read("Readiness Gates", "string", |o| {
            let gates = list(&o["spec"]["readinessGates"]);
            if gates.is_empty() { "<none>".into() } else { format!("0/{}", gates.len()).into() }
        })
        .wide(),
    ]
}

pub(super) fn node() -> Vec<Column> {
    vec![
        read("Status", "string", |o| {
            let ready = jsonpath(o, ".status.conditions[?(@.type==\"Ready\")].status").first().map(|found| text(found));
            match ready.as_deref() {
                Some("True") => "Ready".into(),
                Some(_) => "NotReady".into(),
                None => "Unknown".into(),
            }
        }),
        read("Roles", "string", |o| {
            let labels = o["metadata"]["labels"].as_object().into_iter().flatten();
            let roles = labels.filter_map(|(key, _)| key.strip_prefix("node-role.kubernetes.io/"));
            join(roles.map(str::to_owned).collect(), "<none>")
        }),
        Column::age(),
        read("Version", "string", |o| or(&o["status"]["nodeInfo"]["kubeletVersion"], "")),
    ]
}

pub(super) fn event() -> Vec<Column> {
    vec![
        read("Last Seen", "string", |o| {
            let times = [&o["series"]["lastObservedTime"], &o["lastTimestamp"], &o["eventTime"], &o["firstTimestamp"]];
            since(times.into_iter().find(|time| time.is_string()).unwrap_or(&Value::Null))
        }),
        read("Type", "string", |o| or(&o["type"], "")),
        read("Reason", "string", |o| or(&o["reason"], "")),
        read("Object", "string", |o| {
            let about = if o["involvedObject"].is_null() { &o["regarding"] } else { &o["involvedObject"] };
            format!("{}/{}", text(&about["kind"]).to_ascii_lowercase(), text(&about["name"])).into()
        }),
        read("Message", "string", |o| {
            or(if o["message"].is_null() { &o["note"] } else { &o["message"] }, "").as_str().unwrap_or("").trim().into()
        }),
    ]
}

pub(super) fn deployment() -> Vec<Column> {
    vec![
        read("Ready", "string", |o| {
            format!("{}/{}", number(&o["status"]["readyReplicas"]), number(&o["spec"]["replicas"])).into()
        }),
        read("Up-to-date", "string", |o| number(&o["status"]["updatedReplicas"])),
        read("Available", "string", |o| number(&o["status"]["availableReplicas"])),
        Column::age(),
        read("Containers", "string", |o| containers(&o["spec"]["template"], "name")).wide(),
        read("Images", "string", |o| containers(&o["spec"]["template"], "image")).wide(),
        read("Selector", "string", |o| pairs(&o["spec"]["selector"]["matchLabels"])).wide(),
    ]
}

pub(super) fn replica_set() -> Vec<Column> {
    vec![
        read("Desired", "integer", |o| number(&o["spec"]["replicas"])),
        read("Current", "integer", |o| number(&o["status"]["replicas"])),
        read("Ready", "integer", |o| number(&o["status"]["readyReplicas"])),
        Column::age(),
        read("Containers", "string", |o| containers(&o["spec"]["template"], "name")).wide(),
        read("Images", "string", |o| containers(&o["spec"]["template"], "image")).wide(),
        read("Selector", "string", |o| pairs(&o["spec"]["selector"]["matchLabels"])).wide(),
    ]
}

pub(super) fn daemon_set() -> Vec<Column> {
    vec![
        read("Desired", "integer", |o| number(&o["status"]["desiredNumberScheduled"])),
        read("Current", "integer", |o| number(&o["status"]["currentNumberScheduled"])),
        read("Ready", "integer", |o| number(&o["status"]["numberReady"])),
        read("Up-to-date", "integer", |o| number(&o["status"]["updatedNumberScheduled"])),
        read("Available", "integer", |o| number(&o["status"]["numberAvailable"])),
        read("Node Selector", "string", |o| pairs(&o["spec"]["template"]["spec"]["nodeSelector"])),
        Column::age(),
    ]
}

pub(super) fn ingress() -> Vec<Column> {
    vec![
        read("Class", "string", |o| or(&o["spec"]["ingressClassName"], "<none>")),
        read("Hosts", "string", |o| {
            few(list(&o["spec"]["rules"]).iter().map(|rule| text(&or(&rule["host"], "*"))).collect(), "*")
        }),
        read("Address", "string", |o| {
            let ingress = list(&o["status"]["loadBalancer"]["ingress"]).iter();
            join(ingress.map(|i| text(if i["ip"].is_null() { &i["hostname"] } else { &i["ip"] })).collect(), "")
        }),
        read("Ports", "string", |o| if list(&o["spec"]["tls"]).is_empty() { "80".into() } else { "80, 443".into() }),
        Column::age(),
    ]
}

pub(super) fn ingress_class() -> Vec<Column> {
    vec![
        read("Controller", "string", |o| or(&o["spec"]["controller"], "")),
        read("Parameters", "string", |o| {
            let parameters = &o["spec"]["parameters"];
            if parameters.is_null() {
                return "<none>".into();
            }
            let group = text(&parameters["apiGroup"]);
            let dot = if group.is_empty() { "" } else { "." };
            format!("{}{dot}{group}/{}", text(&parameters["kind"]), text(&parameters["name"])).into()
        }),
        Column::age(),
    ]
}

pub(super) fn network_policy() -> Vec<Column> {
    vec![read("Pod-Selector", "string", |o| pairs(&o["spec"]["podSelector"]["matchLabels"])), Column::age()]
}

pub(super) fn lease() -> Vec<Column> {
    vec![read("Holder", "string", |o| or(&o["spec"]["holderIdentity"], "")), Column::age()]
}

pub(super) fn custom_resource_definition() -> Vec<Column> {
    vec![read("Created At", "date", |o| or(&o["metadata"]["creationTimestamp"], "<unknown>"))]
}
