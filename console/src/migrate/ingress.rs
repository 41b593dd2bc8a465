//! Ingresses and what belongs to them, read from nodes. A field that cannot be read spoils the
//! path it stands in and nothing else.

use std::collections::BTreeMap;

use super::annotation::PREFIX;
use crate::yaml::{Data, Node, join};

/// An object of the input and where it stands.
#[derive(Debug, Clone)]
pub struct Source {
    pub file: String,
    pub line: u32,
    pub node: Node,
}

#[derive(Debug, Default)]
pub struct Input {
    pub ingresses: Vec<Ingress>,
    /// Ports of Services by namespace, name and port name.
    pub services: BTreeMap<(String, String), Vec<(String, u64)>>,
    /// The controller's own settings and its streams.
    pub config_maps: Vec<Source>,
    /// Documents that cannot be read: file, line, reason.
    pub broken: Vec<(String, u32, String)>,
    /// Objects that are no input of a migration.
    pub others: usize,
}

#[derive(Debug, Clone)]
pub struct Ingress {
    pub file: String,
    pub line: u32,
    pub namespace: String,
    pub name: String,
    pub class: Option<String>,
    pub created: Option<String>,
    /// Without prefix: name, line, value. Only those of the controller.
    pub annotations: Vec<(String, u32, String)>,
    pub default_backend: Option<Result<Backend, String>>,
    pub rules: Vec<Rule>,
    pub tls: Vec<Tls>,
    pub node: Node,
}

#[derive(Debug, Clone)]
pub struct Rule {
    pub field: String,
    /// Empty for any host.
    pub host: String,
    pub paths: Vec<Path>,
}

#[derive(Debug, Clone)]
pub struct Path {
    pub field: String,
    pub line: u32,
    pub path: String,
    pub kind: PathKind,
    pub backend: Result<Backend, String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathKind {
    Exact,
    Prefix,
    ImplementationSpecific,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Backend {
    Service { name: String, port: u64 },
    Resource { group: String, kind: String, name: String },
}

#[derive(Debug, Clone)]
pub struct Tls {
    pub field: String,
    pub hosts: Vec<String>,
    pub secret: Option<String>,
}

impl Ingress {
    pub fn key(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    pub fn annotation(&self, name: &str) -> Option<&str> {
        self.annotations.iter().find(|(known, ..)| known == name).map(|(.., value)| value.trim())
    }

    /// A flag as the controller reads it.
    pub fn flag(&self, name: &str) -> Option<bool> {
        match self.annotation(name)? {
            "true" | "True" | "TRUE" | "t" | "T" | "1" => Some(true),
            "false" | "False" | "FALSE" | "f" | "F" | "0" => Some(false),
            _ => None,
        }
    }

    pub fn on(&self, name: &str) -> bool {
        self.flag(name) == Some(true)
    }
}

impl Input {
    /// Sorts objects into what they are to a migration. `default_namespace` is for those without.
    pub fn new(sources: Vec<Source>, default_namespace: &str) -> Self {
        let mut input = Self::default();
        let mut ingresses = Vec::new();
        let mut queue: std::collections::VecDeque<Source> = sources.into();
        while let Some(source) = queue.pop_front() {
            let kind = source.node.text_at(&["kind"]).unwrap_or_default();
            if let (true, Some(items)) = (kind.ends_with("List"), source.node.get("items")) {
                let of = kind.trim_end_matches("List");
                for item in items.items().iter().rev() {
                    let mut node = item.clone();
                    // Items of a typed list need not repeat their kind.
                    if let (Data::Map(fields), None, false) = (&mut node.data, item.get("kind"), of.is_empty()) {
                        let kind = Node { line: item.line, data: Data::Scalar(of.into()) };
                        fields.push(("kind".to_owned(), item.line, kind));
                    }
                    queue.push_front(Source { file: source.file.clone(), line: item.line, node });
                }
                continue;
            }
            match kind.as_str() {
                "Ingress" => ingresses.push(source),
                "Service" => {
                    let key = (namespace(&source.node, default_namespace), name(&source.node));
                    let ports = source.node.at(&["spec", "ports"]).map(Node::items).unwrap_or_default();
                    let ports = ports.iter().filter_map(|port| {
                        Some((port.text_at(&["name"]).unwrap_or_default(), port.number_at(&["port"])?))
                    });
                    input.services.insert(key, ports.collect());
                }
                "ConfigMap" => input.config_maps.push(source),
                _ => input.others += 1,
            }
        }
        input.ingresses = ingresses.into_iter().map(|one| ingress(one, default_namespace, &input.services)).collect();
        input
    }
}

fn name(node: &Node) -> String {
    node.text_at(&["metadata", "name"]).unwrap_or_default()
}

fn namespace(node: &Node, default: &str) -> String {
    node.text_at(&["metadata", "namespace"]).unwrap_or_else(|| default.to_owned())
}

fn ingress(source: Source, default: &str, services: &BTreeMap<(String, String), Vec<(String, u64)>>) -> Ingress {
    let Source { file, line, node } = source;
    let namespace = namespace(&node, default);
    let annotations = node.at(&["metadata", "annotations"]).map(Node::fields).unwrap_or_default();
    let spec = node.get("spec");
    let class = spec
        .and_then(|spec| spec.text_at(&["ingressClassName"]))
        .or_else(|| node.text_at(&["metadata", "annotations", "kubernetes.io/ingress.class"]));
    let mut rules = Vec::new();
    for (at, rule) in spec.and_then(|spec| spec.get("rules")).map(Node::items).unwrap_or_default().iter().enumerate() {
        let field = format!("spec.rules[{at}]");
        let paths = rule.at(&["http", "paths"]).map(Node::items).unwrap_or_default();
        let paths = paths.iter().enumerate().map(|(at, one)| Path {
            field: format!("{field}.http.paths[{at}]"),
            line: one.line,
            path: one.text_at(&["path"]).filter(|path| !path.is_empty()).unwrap_or_else(|| "/".to_owned()),
            kind: match one.text_at(&["pathType"]).as_deref() {
                Some("Exact") => PathKind::Exact,
                Some("Prefix") => PathKind::Prefix,
                _ => PathKind::ImplementationSpecific,
            },
            backend: match one.get("backend") {
                Some(node) => backend(node, &namespace, services),
                None => Err("the path has no backend".to_owned()),
            },
        });
        rules.push(Rule {
            host: rule.text_at(&["host"]).unwrap_or_default().to_ascii_lowercase(),
            paths: paths.collect(),
            field,
        });
    }
    let tls = spec.and_then(|spec| spec.get("tls")).map(Node::items).unwrap_or_default().iter().enumerate();
    let tls = tls.map(|(at, one)| Tls {
        field: format!("spec.tls[{at}]"),
        hosts: one
            .get("hosts")
            .map(Node::items)
            .unwrap_or_default()
            .iter()
            .filter_map(Node::text)
            .map(|host| host.to_ascii_lowercase())
            .collect(),
        secret: one.text_at(&["secretName"]).filter(|secret| !secret.is_empty()),
    });
    let default_backend = spec.and_then(|spec| spec.get("defaultBackend").or_else(|| spec.get("backend")));
    Ingress {
        name: name(&node),
        created: node.text_at(&["metadata", "creationTimestamp"]),
        class,
        annotations: annotations
            .iter()
            .filter_map(|(name, line, value)| {
                Some((name.strip_prefix(PREFIX)?.to_owned(), *line, value.text().unwrap_or_default()))
            })
            .collect(),
        default_backend: default_backend.map(|node| backend(node, &namespace, services)),
        rules,
        tls: tls.collect(),
        namespace,
        file,
        line,
        node,
    }
}

fn backend(
    node: &Node,
    namespace: &str,
    services: &BTreeMap<(String, String), Vec<(String, u64)>>,
) -> Result<Backend, String> {
    if let Some(resource) = node.get("resource").filter(|node| !node.is_null()) {
        return Ok(Backend::Resource {
            group: resource.text_at(&["apiGroup"]).unwrap_or_default(),
            kind: resource.text_at(&["kind"]).ok_or("the resource has no kind")?,
            name: resource.text_at(&["name"]).ok_or("the resource has no name")?,
        });
    }
    // v1 names service.name and service.port, v1beta1 had serviceName and servicePort.
    let service = node.text_at(&["service", "name"]).or_else(|| node.text_at(&["serviceName"]));
    let name = service.filter(|name| !name.is_empty()).ok_or("the backend names no service")?;
    let old = node.text_at(&["servicePort"]);
    let number =
        node.number_at(&["service", "port", "number"]).or_else(|| old.as_ref().and_then(|port| port.parse().ok()));
    let port = match (number, node.text_at(&["service", "port", "name"]).or(old)) {
        (Some(port), _) => port,
        (None, None) => return Err(format!("the backend names no port of Service {name}")),
        (None, Some(port)) => {
            let known = services.get(&(namespace.to_owned(), name.clone()));
            let known = known.ok_or_else(|| {
                format!("port {port:?} has a name only, and Service {namespace}/{name} is not in the input: add it with another -f, or write the number")
            })?;
            let found = known.iter().find(|(known, _)| *known == port).map(|(_, number)| *number);
            found.ok_or_else(|| format!("Service {namespace}/{name} has no port named {port:?}: correct the name"))?
        }
    };
    if !(1..=65535).contains(&port) {
        return Err(format!("{port} is no port of Service {name}: ports are 1 to 65535"));
    }
    Ok(Backend::Service { name, port })
}

/// The path of an annotation, as the report spells it.
pub fn annotation_field(name: &str) -> String {
    join("metadata.annotations", &format!("{PREFIX}{name}"))
}
