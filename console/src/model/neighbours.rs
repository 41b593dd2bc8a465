//! What routes and Gateways lean on: grants, Services, endpoints, pools, and Ingresses that are left over.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    health::Condition,
    json::{generation, list, map, strings, text, text_at},
    key::{Kind, ObjectKey},
    topology::Reference,
};

/// A ReferenceGrant.
#[derive(Debug, Clone, PartialEq)]
pub struct Grant {
    pub key: ObjectKey,
    pub from: Vec<GrantFrom>,
    pub to: Vec<GrantTo>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantFrom {
    pub group: String,
    pub kind: String,
    pub namespace: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantTo {
    pub group: String,
    pub kind: String,
    /// None for all objects of the kind.
    pub name: Option<String>,
}

impl Grant {
    pub fn read(key: ObjectKey, object: &Value) -> Self {
        let from = list(object, "/spec/from").iter().map(|of| GrantFrom {
            group: text(of, "group"),
            kind: text(of, "kind"),
            namespace: text(of, "namespace"),
        });
        let to = list(object, "/spec/to").iter().map(|of| GrantTo {
            group: text(of, "group"),
            kind: text(of, "kind"),
            name: text_at(of, "/name").filter(|name| !name.is_empty()),
        });
        Self { from: from.collect(), to: to.collect(), key }
    }

    /// Whether objects of `kind` in `namespace` may refer to this object.
    pub fn permits(&self, kind: Kind, namespace: &str, to: &Reference) -> bool {
        self.key.namespace == to.namespace
            && self
                .from
                .iter()
                .any(|from| from.group == kind.group() && from.kind == kind.name() && from.namespace == namespace)
            && self.to.iter().any(|of| {
                of.group == to.group && of.kind == to.kind && of.name.as_ref().is_none_or(|name| *name == to.name)
            })
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Service {
    pub key: ObjectKey,
    /// `ClusterIP`, `ExternalName` and so on.
    pub kind: String,
    pub external_name: Option<String>,
    pub ports: Vec<ServicePort>,
    /// Empty: endpoints are not made from pods.
    pub selector: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePort {
    pub name: String,
    pub port: u16,
    pub protocol: String,
    pub app_protocol: Option<String>,
    /// As written: a number or a name.
    pub target: Option<String>,
}

impl Service {
    pub fn read(key: ObjectKey, object: &Value) -> Self {
        let port = |of: &Value| ServicePort {
            name: text(of, "name"),
            port: of.get("port").and_then(Value::as_u64).and_then(|port| u16::try_from(port).ok()).unwrap_or_default(),
            protocol: text_at(of, "/protocol").unwrap_or_else(|| "TCP".to_owned()),
            app_protocol: text_at(of, "/appProtocol"),
            target: of
                .get("targetPort")
                .map(|target| target.as_str().map_or_else(|| target.to_string(), str::to_owned)),
        };
        Self {
            kind: text_at(object, "/spec/type").unwrap_or_else(|| "ClusterIP".to_owned()),
            external_name: text_at(object, "/spec/externalName"),
            ports: list(object, "/spec/ports").iter().map(port).collect(),
            selector: map(object.pointer("/spec/selector")),
            key,
        }
    }
}

/// One EndpointSlice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoints {
    pub service: String,
    pub ready: usize,
    pub total: usize,
    /// Names of the ports that the endpoints have; an unnamed port is empty.
    pub ports: Vec<String>,
}

impl Endpoints {
    pub fn read(key: &ObjectKey, slice: &Value) -> Self {
        let label = slice.pointer("/metadata/labels/kubernetes.io~1service-name").and_then(Value::as_str);
        let all = list(slice, "/endpoints");
        // Absent means ready, as the API documents.
        let ready = all.iter().filter(|endpoint| endpoint.pointer("/conditions/ready") != Some(&Value::Bool(false)));
        Self {
            service: label.unwrap_or(&key.name).to_owned(),
            ready: ready.count(),
            total: all.len(),
            ports: list(slice, "/ports").iter().map(|port| text(port, "name")).collect(),
        }
    }
}

/// An InferencePool: pods that serve a model, behind an endpoint picker.
#[derive(Debug, Clone, PartialEq)]
pub struct Pool {
    pub key: ObjectKey,
    pub picker: Option<Reference>,
    /// By the Gateway that they speak of, as far as it is told.
    pub parents: Vec<(String, Vec<Condition>)>,
    pub generation: i64,
}

impl Pool {
    pub fn read(key: ObjectKey, object: &Value) -> Self {
        let picker = object.pointer("/spec/endpointPickerRef").or_else(|| object.pointer("/spec/extensionRef"));
        let statuses = if list(object, "/status/parents").is_empty() { "/status/parent" } else { "/status/parents" };
        let parents = list(object, statuses).iter().map(|status| {
            let of = status.get("parentRef").map(|of| Reference::read(of, "", "Gateway", &key.namespace));
            (of.map(|of| format!("{}/{}", of.namespace, of.name)).unwrap_or_default(), Condition::all(Some(status)))
        });
        Self {
            picker: picker.map(|of| Reference::read(of, "", "Service", &key.namespace)),
            parents: parents.collect(),
            generation: generation(object),
            key,
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Ingress {
    pub key: ObjectKey,
    pub class: Option<String>,
    pub hosts: Vec<String>,
}

impl Ingress {
    pub fn read(key: ObjectKey, object: &Value) -> Self {
        let annotated = || text_at(object, "/metadata/annotations/kubernetes.io~1ingress.class");
        let mut hosts: Vec<String> =
            list(object, "/spec/rules").iter().map(|rule| text(rule, "host")).filter(|host| !host.is_empty()).collect();
        hosts.extend(list(object, "/spec/tls").iter().flat_map(|tls| strings(tls, "/hosts")));
        hosts.sort();
        hosts.dedup();
        Self { class: text_at(object, "/spec/ingressClassName").or_else(annotated), hosts, key }
    }
}
