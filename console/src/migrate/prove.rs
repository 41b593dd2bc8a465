//! The proof: requests made from the rules, asked of ingress-nginx's semantics and of the table
//! that gwproxy would serve, and every answer that differs.

use std::collections::BTreeSet;

use gwproxy::prove::{Answer, Ask, Offline};
use serde::Serialize;
use serde_json::Value;

use self::excuses::excuse;
use super::{
    Migration,
    nginx::{Reply, Request, Server},
};

mod excuses;

#[derive(Debug, Default, Serialize)]
pub struct Proof {
    pub asked: usize,
    pub equal: usize,
    /// Differences that the report foretells.
    pub explained: Vec<Difference>,
    pub unexplained: Vec<Difference>,
    /// Requests for what the table cannot be asked for: gRPC, TLS passed on, other backends.
    pub not_compared: usize,
    /// What the compiled output would say in its status.
    pub problems: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    pub request: String,
    pub nginx: String,
    pub gateway: String,
    /// Why, where that is known.
    pub why: String,
}

/// The output compiled for asking.
pub struct Compiled {
    offline: Offline,
    gateways: Vec<String>,
}

impl Compiled {
    pub fn new(migration: &Migration) -> Self {
        let mut objects: Vec<Value> = migration.objects.iter().map(|made| made.value.clone()).collect();
        // CORS answers browsers and decides no route.
        for object in &mut objects {
            for rule in object.pointer_mut("/spec/rules").and_then(Value::as_array_mut).into_iter().flatten() {
                if let Some(filters) = rule.get_mut("filters").and_then(Value::as_array_mut) {
                    filters.retain(|filter| filter["type"] != "CORS" && filter["type"] != "ExtensionRef");
                }
            }
        }
        let name = |one: &Value| {
            format!(
                "{}/{}",
                one["metadata"]["namespace"].as_str().unwrap_or_default(),
                one["metadata"]["name"].as_str().unwrap_or_default()
            )
        };
        let gateways = objects.iter().filter(|one| one["kind"] == "Gateway").map(name).collect();
        Self { offline: Offline::compile(&objects), gateways }
    }

    fn ask(&self, request: &Request) -> Answer {
        let mut last = Answer::Nothing;
        for gateway in &self.gateways {
            let port = if request.tls { 443 } else { 80 };
            let Request { tls, host, method, target, headers } = request;
            let answer = self.offline.ask(&Ask { gateway, port, tls: *tls, host, method, target, headers });
            match answer {
                Answer::Nothing => {}
                Answer::NotFound => last = answer,
                found => return found,
            }
        }
        last
    }
}

pub fn prove(migration: &Migration, more: &[Request]) -> Proof {
    let compiled = Compiled::new(migration);
    let mut proof = Proof { problems: compiled.offline.problems.clone(), ..Proof::default() };
    let requests: BTreeSet<Request> = corpus(migration).into_iter().chain(more.iter().cloned()).collect();
    for request in requests {
        compare(migration, &compiled, &request, &mut proof);
    }
    proof
}

fn compare(migration: &Migration, compiled: &Compiled, request: &Request, proof: &mut Proof) {
    let server = server(migration, &request.host);
    if server.is_some_and(|server| not_comparable(migration, server)) {
        proof.not_compared += 1;
        return;
    }
    // nginx answers TLS for any host, with a certificate of its own making.
    if request.tls && server.is_none_or(|server| server.tls.is_none()) {
        proof.not_compared += 1;
        return;
    }
    proof.asked += 1;
    let nginx = migration.nginx.ask(&migration.input, request);
    let gateway = compiled.ask(request);
    if same(&nginx, &gateway) {
        proof.equal += 1;
        return;
    }
    let why = server.and_then(|server| excuse(migration, compiled, server, request, &nginx, &gateway));
    let scheme = if request.tls { "https" } else { "http" };
    let headers: String = request.headers.iter().map(|(name, value)| format!(" {name}: {value}")).collect();
    let difference = Difference {
        request: format!("{} {scheme}://{}{}{headers}", request.method, request.host, request.target),
        nginx: told(&nginx),
        gateway: answered(&gateway),
        why: why.clone().unwrap_or_default(),
    };
    if why.is_some() { proof.explained.push(difference) } else { proof.unexplained.push(difference) }
}

fn server<'a>(migration: &'a Migration, host: &str) -> Option<&'a Server> {
    let servers = &migration.nginx.servers;
    let named = servers.iter().find(|one| one.host == host || one.aliases.iter().any(|(_, alias)| alias == host));
    let wild = || servers.iter().find(|one| one.host.strip_prefix('*').is_some_and(|suffix| host.ends_with(suffix)));
    named.or_else(wild).or_else(|| servers.iter().find(|one| one.host.is_empty()))
}

fn not_comparable(migration: &Migration, server: &Server) -> bool {
    server.passthrough.is_some()
        || server.locations.iter().any(|one| {
            let protocol = migration.input.ingresses[one.ingress].annotation("backend-protocol").unwrap_or_default();
            protocol.to_ascii_uppercase().starts_with("GRPC")
                || matches!(one.backend, Ok(super::ingress::Backend::Resource { .. }))
        })
}

fn same(nginx: &Reply, gateway: &Answer) -> bool {
    match (nginx, gateway) {
        (Reply::NotFound, Answer::NotFound | Answer::Nothing) => true,
        (Reply::Redirect { status, location }, Answer::Redirect { status: other, location: to, .. }) => {
            status == other && bare(location) == bare(to)
        }
        (Reply::Forward { to, target, host }, Answer::Forward(forward)) => {
            let sum = |weights: &mut dyn Iterator<Item = u64>| weights.sum::<u64>().max(1);
            let (left, right) =
                (sum(&mut to.iter().map(|(weight, _)| *weight)), sum(&mut forward.to.iter().map(|one| one.weight)));
            to.len() == forward.to.len()
                && to.iter().all(|(weight, backend)| {
                    let other = forward.to.iter().find(|one| one.backend.as_deref() == Ok(backend.as_str()));
                    other.is_some_and(|other| {
                        weight * right == other.weight * left && other.target == *target && other.host == *host
                    })
                })
        }
        _ => false,
    }
}

/// A URL without a path is one with the root path.
fn bare(url: &str) -> &str {
    let path = url.split_once("://").and_then(|(_, rest)| rest.find('/').map(|at| &rest[at..]));
    if path == Some("/") { url.trim_end_matches('/') } else { url }
}

/// The plain text that a location's path begins with.
fn base(path: &str) -> &str {
    let end = path.find(['(', '[', '\\', '*', '+', '?', '^', '$', '|', '{']).unwrap_or(path.len());
    &path[..end]
}

/// Requests at the edges of every rule.
pub fn corpus(migration: &Migration) -> Vec<Request> {
    let mut all = Vec::new();
    for server in &migration.nginx.servers {
        let hosts: Vec<String> = match server.host.as_str() {
            "" => vec!["unnamed.invalid".to_owned()],
            host if host.starts_with('*') => {
                vec![host.replacen('*', "one", 1), host.replacen('*', "two.one", 1), host[2..].to_owned()]
            }
            host => {
                std::iter::once(host.to_owned()).chain(server.aliases.iter().map(|(_, alias)| alias.clone())).collect()
            }
        };
        let mut targets: BTreeSet<String> = ["/", "/?q=1", "/-nobody-serves-this-"].map(str::to_owned).into();
        for location in &server.locations {
            let base = base(&location.path);
            let bare = base.trim_end_matches('/');
            for tail in ["", "/", "/x", "/x/y/", "/x?q=1&r=%2F", "x", "//x", "/x%2Fy", "/%78", "/./x", "/X"] {
                targets.insert(format!("{bare}{tail}"));
            }
            targets.insert(base.to_owned());
            targets.insert(format!("{}/x", bare.to_ascii_uppercase()));
            if let Some((parent, _)) = bare.rsplit_once('/') {
                targets.insert(format!("{parent}/"));
            }
        }
        targets.retain(|target| target.starts_with('/'));
        let mut headers: Vec<Vec<(String, String)>> = vec![Vec::new()];
        for canary in server.locations.iter().flat_map(|one| &one.canaries) {
            let mut add = |name: &str, value: String| headers.push(vec![(name.to_owned(), value)]);
            if let Some(name) = &canary.header {
                for value in ["always", "never", "else"] {
                    add(name, value.to_owned());
                }
                canary.header_value.iter().for_each(|value| add(name, value.clone()));
            }
            if let Some(name) = &canary.cookie {
                for value in ["always", "never", "else"] {
                    add("cookie", format!("a=b; {name}={value}; c=d"));
                }
            }
        }
        for host in &hosts {
            for target in &targets {
                for headers in &headers {
                    for tls in [false, true] {
                        let (host, target, headers) = (host.clone(), target.clone(), headers.clone());
                        all.push(Request { tls, host, method: "GET".to_owned(), target, headers });
                    }
                }
            }
        }
    }
    all
}

/// Why the report foretells another answer to a request, if it does.
pub fn foretold(migration: &Migration, compiled: &Compiled, request: &Request) -> Option<String> {
    let (nginx, gateway) = (migration.nginx.ask(&migration.input, request), compiled.ask(request));
    if same(&nginx, &gateway) {
        return None;
    }
    excuse(migration, compiled, server(migration, &request.host)?, request, &nginx, &gateway)
}

fn told(reply: &Reply) -> String {
    match reply {
        Reply::NotFound => "404".to_owned(),
        Reply::Redirect { status, location } => format!("{status} to {location}"),
        Reply::Status(status) => status.to_string(),
        Reply::Forward { to, target, host } => {
            let to: Vec<_> = to.iter().map(|(weight, backend)| format!("{backend} ({weight})")).collect();
            format!("{} gets {target} as {host}", to.join(", "))
        }
    }
}

fn answered(answer: &Answer) -> String {
    match answer {
        Answer::Nothing => "nothing listens".to_owned(),
        Answer::NotFound => "404".to_owned(),
        Answer::Redirect { rule, status, location } => format!("{status} to {location} by {rule}"),
        Answer::Respond { rule, status } => format!("{status} by {rule}"),
        Answer::Forward(forward) => {
            let to: Vec<_> = forward
                .to
                .iter()
                .map(|one| match &one.backend {
                    Ok(backend) => format!("{backend} ({}) gets {} as {}", one.weight, one.target, one.host),
                    Err(status) => format!("{status} ({})", one.weight),
                })
                .collect();
            format!("{} by {}", to.join(", "), forward.rule)
        }
    }
}
