//! Manifests compiled offline to the very table that would serve them, and what it would do with
//! a request. No API, no socket: for tools that have to know before anything is applied.
//!
//! What the manifests only refer to is made up so that references resolve: the GatewayClass,
//! Namespaces, Services with an endpoint, certificates.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, OnceLock},
};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::{
    compile::{Addresses, ByKey, Compiled, Memory, Verdict, compile},
    contract::CONTROLLER_NAME,
    metrics::Registry,
    resources::Set,
    serve::filter,
    table::{
        Backend, Outcome, Rule, Target,
        route::{Found, PathMatcher, RequestHead},
    },
    types::Key,
};

/// Compiled manifests.
#[derive(Debug)]
pub struct Offline {
    compiled: Compiled,
    addresses: BTreeMap<String, IpAddr>,
    /// Everything that the compilation would say on the objects' status, and objects that cannot
    /// be read.
    pub problems: Vec<String>,
}

/// A request, as a client would send it to one of the Gateways.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ask<'a> {
    /// `namespace/name`.
    pub gateway: &'a str,
    pub port: u16,
    pub tls: bool,
    /// Lower case, without port.
    pub host: &'a str,
    pub method: &'a str,
    /// With query.
    pub target: &'a str,
    pub headers: &'a [(String, String)],
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Nothing listens on this port, or the request is none that could be sent.
    Nothing,
    /// No listener, or no rule of it, takes the request.
    NotFound,
    Redirect {
        rule: String,
        status: u16,
        location: String,
    },
    /// Answered by the rule itself, such as 500 where a backend is missing.
    Respond {
        rule: String,
        status: u16,
    },
    Forward(Forward),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forward {
    /// Namespace and name of the route, index of the rule.
    pub rule: String,
    pub to: Vec<Choice>,
    pub request_timeout: Option<std::time::Duration>,
    /// `namespace/name` of those that get a copy.
    pub mirrors: Vec<String>,
    /// Added to the answer.
    pub response_headers: Vec<(String, String)>,
}

/// One of the weighted backends and the request that it would get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    pub weight: u64,
    /// `namespace/name:port`, or the status answered in its place.
    pub backend: Result<String, u16>,
    pub host: String,
    /// With query.
    pub target: String,
    /// Set or added by filters.
    pub headers: Vec<(String, String)>,
}

impl Offline {
    pub fn compile(objects: &[Value]) -> Self {
        let mut problems = Vec::new();
        let mut set = Set::default();
        for object in objects {
            add(&mut set, object, &mut problems);
        }
        imagine(&mut set);
        let mut addresses = BTreeMap::new();
        let mut given = Addresses::new();
        for (at, key) in (1_u32..).zip(set.gateways.keys()) {
            let address = IpAddr::V4(Ipv4Addr::from_bits(Ipv4Addr::new(127, 64, 0, 0).to_bits() + at));
            addresses.insert(key.to_string(), address);
            given.insert(key.clone(), Ok(vec![address]));
        }
        let compiled = compile(&set, &given, &Registry::new(1), CONTROLLER_NAME, 1, &mut Memory::default());
        told(&compiled, &mut problems);
        Self { compiled, addresses, problems }
    }

    pub fn ask(&self, ask: &Ask<'_>) -> Answer {
        let Some(address) = self.addresses.get(ask.gateway) else { return Answer::Nothing };
        let Some(bind) = self.compiled.table.bind(SocketAddr::new(*address, ask.port)) else { return Answer::Nothing };
        let (Ok(uri), Ok(method)) = (ask.target.parse::<Uri>(), ask.method.parse::<Method>()) else {
            return Answer::Nothing;
        };
        let mut headers = HeaderMap::new();
        for (name, value) in ask.headers {
            let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(value)) else {
                return Answer::Nothing;
            };
            headers.append(name, value);
        }
        let Ok(host) = HeaderValue::from_str(ask.host) else { return Answer::Nothing };
        headers.insert(header::HOST, host);
        let head =
            RequestHead { host: ask.host, method: &method, path: uri.path(), query: uri.query(), headers: &headers };
        let Found::Rule { found, .. } = bind.find(&head) else { return Answer::NotFound };
        let matched = match &found.path {
            PathMatcher::Prefix(text) | PathMatcher::Exact(text) => text.len(),
            PathMatcher::Regex(_) => 0,
        };
        let rule = format!("{} rule {}", found.rule.route.key, found.rule.route.rule);
        match &found.rule.outcome {
            Outcome::Redirect(redirect) => Answer::Redirect {
                rule,
                status: redirect.status.as_u16(),
                location: filter::location(redirect, ask.tls, ask.host, ask.port, &uri, matched),
            },
            Outcome::Respond(status, ..) => Answer::Respond { rule, status: status.as_u16() },
            Outcome::Forward(backends) => {
                let to: Vec<_> = backends
                    .weighted()
                    .map(|(weight, backend)| choice(weight, backend, &found.rule, &uri, &headers, matched))
                    .collect();
                if to.is_empty() {
                    return Answer::Respond { rule, status: 500 };
                }
                let mut response = HeaderMap::new();
                filter::edit(&mut response, &found.rule.response_headers);
                Answer::Forward(Forward {
                    rule,
                    to,
                    request_timeout: found.rule.timeouts.request,
                    mirrors: found.rule.mirrors.iter().map(|mirror| mirror.backend.to_string()).collect(),
                    response_headers: listed(&response),
                })
            }
        }
    }
}

fn choice(weight: u64, backend: &Backend, rule: &Rule, uri: &Uri, headers: &HeaderMap, matched: usize) -> Choice {
    let (mut uri, mut headers) = (uri.clone(), headers.clone());
    filter::edit(&mut headers, &rule.request_headers);
    filter::edit(&mut headers, &backend.request_headers);
    if let Some(rewrite) = backend.rewrite.as_ref() {
        filter::rewrite(rewrite, &mut uri, &mut headers, matched);
    }
    let host = headers.remove(header::HOST).and_then(|host| host.to_str().map(str::to_owned).ok()).unwrap_or_default();
    Choice {
        weight,
        backend: match &backend.target {
            Target::Endpoints(_) => Ok(format!("{}:{}", backend.key, backend.port)),
            Target::Fail(status, _) => Err(status.as_u16()),
        },
        host,
        target: uri.to_string(),
        headers: listed(&headers),
    }
}

fn listed(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect()
}

fn add(set: &mut Set, object: &Value, problems: &mut Vec<String>) {
    fn read<T: DeserializeOwned>(object: &Value, problems: &mut Vec<String>) -> Option<Arc<T>> {
        match T::deserialize(object) {
            Ok(read) => Some(Arc::new(read)),
            Err(error) => {
                let name = object["metadata"]["name"].as_str().unwrap_or_default();
                problems
                    .push(format!("{} {name} cannot be read: {error}", object["kind"].as_str().unwrap_or_default()));
                None
            }
        }
    }
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
    let (key, name) = (Key::new(text("namespace"), text("name")), text("name"));
    macro_rules! keep {
        ($map:expr, $key:expr) => {
            if let Some(read) = read(object, problems) {
                $map.insert($key, read);
            }
        };
    }
    match object["kind"].as_str().unwrap_or_default() {
        "Gateway" => keep!(set.gateways, key),
        "ListenerSet" => keep!(set.listener_sets, key),
        "HTTPRoute" => keep!(set.http_routes, key),
        "GRPCRoute" => keep!(set.grpc_routes, key),
        "TLSRoute" => keep!(set.tls_routes, key),
        "TCPRoute" => keep!(set.tcp_routes, key),
        "UDPRoute" => keep!(set.udp_routes, key),
        "ReferenceGrant" => keep!(set.grants, key),
        "Namespace" => keep!(set.namespaces, name),
        _ => {}
    }
}

/// Adds what the objects refer to and nobody gave.
fn imagine(set: &mut Set) {
    fn made<T: DeserializeOwned>(value: Value) -> Option<Arc<T>> {
        serde_json::from_value(value).ok().map(Arc::new)
    }
    let classes: BTreeSet<_> = set.gateways.values().map(|gateway| gateway.spec.gateway_class_name.clone()).collect();
    for name in classes {
        if let Some(class) = made(json!({"metadata": {"name": name}, "spec": {"controllerName": CONTROLLER_NAME}})) {
            set.classes.insert(name, class);
        }
    }
    let mut namespaces: BTreeSet<String> = BTreeSet::new();
    namespaces.extend(set.gateways.keys().map(|key| key.namespace.clone()));
    namespaces.extend(set.routes().map(|(_, key, _)| key.namespace.clone()));
    for name in namespaces {
        if !set.namespaces.contains_key(&name)
            && let Some(namespace) =
                made(json!({"metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}}}))
        {
            set.namespaces.insert(name, namespace);
        }
    }
    let mut services: BTreeMap<Key, BTreeSet<(u64, &str)>> = BTreeMap::new();
    let mut secrets: BTreeSet<Key> = BTreeSet::new();
    let mut look = |protocol: &'static str, namespace: &str, spec: Option<Value>| {
        references(&spec.unwrap_or_default(), &mut |field, value| {
            let text = |field: &str| value[field].as_str();
            let Some(name) = text("name") else { return };
            let key = Key::new(text("namespace").unwrap_or(namespace), name);
            match field {
                "certificateRefs" => drop(secrets.insert(key)),
                "backendRefs" | "backendRef" if text("kind").is_none_or(|kind| kind == "Service") => {
                    services.entry(key).or_default().extend(value["port"].as_u64().map(|port| (port, protocol)));
                }
                _ => {}
            }
        });
    };
    set.gateways.iter().for_each(|(key, one)| look("TCP", &key.namespace, serde_json::to_value(&one.spec).ok()));
    set.listener_sets.iter().for_each(|(key, one)| look("TCP", &key.namespace, serde_json::to_value(&one.spec).ok()));
    set.http_routes.iter().for_each(|(key, one)| look("TCP", &key.namespace, serde_json::to_value(&one.spec).ok()));
    set.grpc_routes.iter().for_each(|(key, one)| look("TCP", &key.namespace, serde_json::to_value(&one.spec).ok()));
    set.tls_routes.iter().for_each(|(key, one)| look("TCP", &key.namespace, serde_json::to_value(&one.spec).ok()));
    set.tcp_routes.iter().for_each(|(key, one)| look("TCP", &key.namespace, serde_json::to_value(&one.spec).ok()));
    set.udp_routes.iter().for_each(|(key, one)| look("UDP", &key.namespace, serde_json::to_value(&one.spec).ok()));
    for (key, ports) in services {
        let metadata = |name: &str| json!({"namespace": key.namespace, "name": name, "labels": {"kubernetes.io/service-name": key.name}});
        let ports_of: Vec<_> = ports
            .iter()
            .map(|(port, protocol)| json!({"name": format!("{protocol}-{port}").to_lowercase(), "port": port, "protocol": protocol}))
            .collect();
        if let Some(service) = made(json!({"metadata": metadata(&key.name), "spec": {"ports": ports_of}})) {
            set.services.insert(key.clone(), service);
        }
        let slice = json!({
            "metadata": metadata(&format!("{}-1", key.name)),
            "addressType": "IPv4",
            "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": true}}],
            "ports": ports_of,
        });
        if let Some(slice) = made(slice) {
            set.endpoint_slices.insert(Key::new(&key.namespace, format!("{}-1", key.name)), slice);
        }
    }
    for key in secrets {
        let Some((certificate, private)) = certificate() else { break };
        let secret = k8s_openapi::api::core::v1::Secret {
            metadata: k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
                namespace: Some(key.namespace.clone()),
                name: Some(key.name.clone()),
                ..Default::default()
            },
            type_: Some("kubernetes.io/tls".to_owned()),
            data: Some(BTreeMap::from([
                ("tls.crt".to_owned(), k8s_openapi::ByteString(certificate.clone().into_bytes())),
                ("tls.key".to_owned(), k8s_openapi::ByteString(private.clone().into_bytes())),
            ])),
            ..Default::default()
        };
        set.secrets.insert(key, Arc::new(secret));
    }
}

/// One certificate for every Secret: nobody connects.
fn certificate() -> Option<&'static (String, String)> {
    static MADE: OnceLock<Option<(String, String)>> = OnceLock::new();
    MADE.get_or_init(|| {
        let made = rcgen::generate_simple_self_signed(["offline.invalid".to_owned()]).ok()?;
        Some((made.cert.pem(), made.signing_key.serialize_pem()))
    })
    .as_ref()
}

/// Calls `see` with every entry of a list, and every object, below a field's name.
fn references(value: &Value, see: &mut dyn FnMut(&str, &Value)) {
    match value {
        Value::Object(fields) => {
            for (field, inner) in fields {
                match inner {
                    Value::Array(items) => items.iter().for_each(|item| see(field, item)),
                    other => see(field, other),
                }
                references(inner, see);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, see)),
        _ => {}
    }
}

fn told(compiled: &Compiled, problems: &mut Vec<String>) {
    let bad = |of: String, conditions: &[Verdict], problems: &mut Vec<String>| {
        for one in conditions {
            // Conflicted, OverlappingTLSConfig and PartiallyInvalid are bad when they hold.
            let inverse = matches!(one.type_, "Conflicted" | "OverlappingTLSConfig" | "PartiallyInvalid");
            if one.status == inverse {
                problems.push(format!("{of}: {} {}: {}", one.type_, one.reason, one.message));
            }
        }
    };
    let verdicts = &compiled.verdicts;
    for (key, gateway) in &verdicts.gateways {
        bad(format!("Gateway {key}"), &gateway.conditions, problems);
        for listener in &gateway.listeners {
            bad(format!("Gateway {key} listener {}", listener.name), &listener.conditions, problems);
        }
    }
    let routes = |kind: &str, routes: &ByKey, problems: &mut Vec<String>| {
        for (key, route) in routes.iter() {
            for parent in &route.parents {
                let section = parent.parent.section_name.as_deref().unwrap_or("every listener");
                bad(format!("{kind} {key} at {} ({section})", parent.parent.name), &parent.conditions, problems);
            }
        }
    };
    routes("HTTPRoute", &verdicts.http_routes, problems);
    routes("TLSRoute", &verdicts.tls_routes, problems);
    routes("TCPRoute", &verdicts.tcp_routes, problems);
    routes("UDPRoute", &verdicts.udp_routes, problems);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objects() -> Vec<Value> {
        vec![
            json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
            "metadata": {"namespace": "edge", "name": "shared"},
            "spec": {"gatewayClassName": "any", "listeners": [
                {"name": "http", "port": 80, "protocol": "HTTP", "allowedRoutes": {"namespaces": {"from": "All"}}},
                {"name": "https", "port": 443, "protocol": "HTTPS", "hostname": "a.test",
                 "tls": {"certificateRefs": [{"name": "a-tls"}]}},
            ]}}),
            json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
            "metadata": {"namespace": "shop", "name": "cart"},
            "spec": {"parentRefs": [{"namespace": "edge", "name": "shared", "sectionName": "http"}],
                "hostnames": ["a.test"],
                "rules": [
                    {"matches": [{"path": {"type": "PathPrefix", "value": "/api"}}],
                     "filters": [{"type": "URLRewrite", "urlRewrite": {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}}}],
                     "backendRefs": [{"name": "v1", "port": 80, "weight": 3}, {"name": "v2", "port": 80, "weight": 1}]},
                    {"matches": [{"path": {"type": "Exact", "value": "/old"}}],
                     "filters": [{"type": "RequestRedirect", "requestRedirect": {"scheme": "https", "statusCode": 301}}]},
                ]}}),
        ]
    }

    fn ask<'a>(target: &'a str, host: &'a str, port: u16) -> Ask<'a> {
        Ask { gateway: "edge/shared", port, tls: port == 443, host, method: "GET", target, headers: &[] }
    }

    #[test]
    fn tells_backends_redirects_and_nothing() {
        let offline = Offline::compile(&objects());
        assert_eq!(offline.problems, Vec::<String>::new());
        let Answer::Forward(forward) = offline.ask(&ask("/api/x?q=1", "a.test", 80)) else { panic!("forwards") };
        assert_eq!(forward.rule, "shop/cart rule 0");
        let to: Vec<_> = forward.to.iter().map(|one| (one.weight, one.backend.clone(), one.target.as_str())).collect();
        assert_eq!(to, [(3, Ok("shop/v1:80".to_owned()), "/x?q=1"), (1, Ok("shop/v2:80".to_owned()), "/x?q=1")]);
        let Answer::Redirect { status, location, .. } = offline.ask(&ask("/old", "a.test", 80)) else {
            panic!("redirects")
        };
        assert_eq!((status, location.as_str()), (301, "https://a.test/old"));
        assert_eq!(offline.ask(&ask("/other", "a.test", 80)), Answer::NotFound);
        assert_eq!(offline.ask(&ask("/api", "b.test", 80)), Answer::NotFound);
        assert_eq!(offline.ask(&ask("/api", "a.test", 443)), Answer::NotFound);
        assert_eq!(offline.ask(&ask("/api", "a.test", 81)), Answer::Nothing);
    }

    #[test]
    fn what_would_not_attach_is_told() {
        let mut objects = objects();
        objects[0]["spec"]["listeners"][0]["allowedRoutes"]["namespaces"]["from"] = json!("Same");
        let offline = Offline::compile(&objects);
        assert!(
            offline
                .problems
                .iter()
                .any(|problem| problem
                    .starts_with("HTTPRoute shop/cart at shared (http): Accepted NotAllowedByListeners")),
            "{:?}",
            offline.problems
        );
        assert_eq!(offline.ask(&ask("/api", "a.test", 80)), Answer::NotFound);
    }
}
