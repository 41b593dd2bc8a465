//! What listeners are asked, what they should answer, and what it means if they do not. The right
//! answer is that of gwproxy's own table, compiled from the objects.

use std::collections::BTreeSet;

use gwproxy::prove::{Answer, Ask, Offline};
use serde_json::Value;

use super::{
    certificates::Certificate,
    gateways::condition,
    routes::meet,
    seen::{GATEWAY, HTTP_ROUTE, Item, LISTENER_SET, NAMESPACE, REFERENCE_GRANT, ROUTES, Seen, list, text},
};
use crate::finding::{Finding, Object, Severity};

/// For a listener: what is asked of the others is not worth the wait.
const MOST_PROBES: usize = 64;
const NOBODY_HOST: &str = "gwtop-check.invalid";
const NOBODY_PATH: &str = "/gwtop-check-nobody-serves-this";

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Probe {
    pub gateway: Object,
    pub listener: String,
    /// An address, or a name of one.
    pub address: String,
    pub port: u16,
    pub tls: bool,
    pub host: String,
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub expected: Expected,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Expected {
    Redirect(u16, String),
    /// The rule itself answers.
    Status(u16),
    /// A backend answers, whatever it says.
    Backend(String),
    NoRule,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Got {
    pub status: u16,
    pub location: Option<String>,
    /// What tells one server's 404 from another's.
    pub shape: String,
    pub certificate: Option<Result<Certificate, String>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probed {
    pub probe: Probe,
    pub got: Result<Got, String>,
}

impl Probe {
    fn asked(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        let headers: String = self.headers.iter().map(|(name, value)| format!(" {name}: {value}")).collect();
        format!("GET {scheme}://{}:{}{}{headers} at {}", self.host, self.port, self.target, self.address)
    }
}

pub fn plan(seen: &Seen) -> Vec<Probe> {
    let mut kinds = vec![GATEWAY, LISTENER_SET, REFERENCE_GRANT, NAMESPACE];
    kinds.extend(ROUTES);
    let objects: Vec<Value> = kinds.into_iter().flat_map(|kind| seen.of(kind)).map(|item| item.value.clone()).collect();
    let offline = Offline::compile(&objects);
    let mut all = Vec::new();
    for gateway in
        seen.of(GATEWAY).iter().filter(|gateway| seen.wanted(gateway.namespace()) || !seen.namespace.is_empty())
    {
        let programmed =
            condition(&gateway.value["status"], "Programmed").is_some_and(|one| text(one, "status") == "True");
        let Some(address) = gateway.list("/status/addresses").first().filter(|_| programmed) else { continue };
        for listener in gateway.list("/spec/listeners") {
            let (protocol, mode) = (text(listener, "protocol"), text(&listener["tls"], "mode"));
            let Some(port) = listener["port"].as_u64().and_then(|port| u16::try_from(port).ok()) else { continue };
            if !matches!(protocol, "HTTP" | "HTTPS") || mode == "Passthrough" {
                continue;
            }
            let mut of = BTreeSet::new();
            for (host, target, headers) in questions(seen, gateway, listener) {
                let key = format!("{}/{}", gateway.namespace(), gateway.name());
                let tls = protocol == "HTTPS";
                let ask =
                    Ask { gateway: &key, port, tls, host: &host, method: "GET", target: &target, headers: &headers };
                let expected = match offline.ask(&ask) {
                    Answer::Nothing => continue,
                    Answer::NotFound => Expected::NoRule,
                    Answer::Redirect { status, location, .. } => Expected::Redirect(status, location),
                    Answer::Respond { status, .. } => Expected::Status(status),
                    Answer::Forward(forward) => Expected::Backend(forward.rule),
                };
                // No client asks a TLS listener for a host that it has no certificate for.
                if tls && expected == Expected::NoRule && host == NOBODY_HOST && !text(listener, "hostname").is_empty()
                {
                    continue;
                }
                of.insert(Probe {
                    gateway: gateway.object(),
                    listener: text(listener, "name").to_owned(),
                    address: text(address, "value").to_owned(),
                    port,
                    tls,
                    host,
                    target,
                    headers,
                    expected,
                });
            }
            all.extend(of.into_iter().take(MOST_PROBES));
        }
    }
    all
}

type Question = (String, String, Vec<(String, String)>);

/// Hosts and targets that rules name, and a path and a host that nobody serves.
fn questions(seen: &Seen, gateway: &Item, listener: &Value) -> Vec<Question> {
    let own = text(listener, "hostname");
    let named = |host: &str| host.replacen('*', "gwtop-check", 1);
    let mut all = vec![(NOBODY_HOST.to_owned(), NOBODY_PATH.to_owned(), Vec::new())];
    if !own.is_empty() {
        all.push((named(own), NOBODY_PATH.to_owned(), Vec::new()));
    }
    for route in seen.of(HTTP_ROUTE) {
        let here = route.list("/spec/parentRefs").iter().any(|parent| {
            text(parent, "name") == gateway.name()
                && parent.get("namespace").and_then(Value::as_str).unwrap_or_else(|| route.namespace())
                    == gateway.namespace()
        });
        if !here {
            continue;
        }
        let hosts: Vec<&str> = route.list("/spec/hostnames").iter().filter_map(Value::as_str).collect();
        let hosts: Vec<String> = match hosts.is_empty() {
            true => vec![if own.is_empty() { NOBODY_HOST.to_owned() } else { named(own) }],
            // The narrower of the two names is the one that both serve.
            false => hosts
                .into_iter()
                .filter(|host| own.is_empty() || meet(own, host))
                .map(|host| {
                    if host.starts_with('*') && !own.is_empty() && !own.starts_with('*') {
                        own.to_owned()
                    } else {
                        named(host)
                    }
                })
                .collect(),
        };
        for host in hosts {
            all.push((host.clone(), NOBODY_PATH.to_owned(), Vec::new()));
            for one in route.list("/spec/rules").iter().flat_map(|rule| list(rule, "/matches")) {
                all.extend(question(&host, one));
            }
        }
    }
    all
}

/// A request that a match takes; none where it cannot be made up or is not safe to send.
fn question(host: &str, one: &Value) -> Option<Question> {
    let exact = |value: &Value| matches!(value.get("type").and_then(Value::as_str), None | Some("Exact"));
    if !matches!(one.get("method").and_then(Value::as_str), None | Some("GET")) {
        return None;
    }
    let mut target = match one["path"].get("type").and_then(Value::as_str) {
        Some("RegularExpression") => return None,
        _ => one["path"].get("value").and_then(Value::as_str).unwrap_or("/").to_owned(),
    };
    let pairs = |field: &str| {
        let all = list(one, field);
        all.iter().all(exact).then(|| {
            all.iter().map(|pair| (text(pair, "name").to_owned(), text(pair, "value").to_owned())).collect::<Vec<_>>()
        })
    };
    let (headers, query) = (pairs("/headers")?, pairs("/queryParams")?);
    for (at, (name, value)) in query.iter().enumerate() {
        target += &format!("{}{name}={value}", if at == 0 { '?' } else { '&' });
    }
    Some((host.to_owned(), target, headers))
}

pub(super) fn findings(seen: &Seen) -> Vec<Finding> {
    let Some(probes) = &seen.probes else { return Vec::new() };
    let mut found = Vec::new();
    let mut unreachable = BTreeSet::new();
    for Probed { probe, got } in probes {
        let about = |severity, title: String| {
            Finding::new("NET001", severity, probe.gateway.clone(), format!("listener {}: {title}", probe.listener))
                .field(format!("{} {}{}", probe.listener, probe.host, probe.target))
                .evidence("asked", probe.asked())
        };
        let got = match got {
            Ok(got) => got,
            Err(why) => {
                // One word for a port that nobody can connect to.
                if unreachable.insert((&probe.gateway, &probe.listener, why.clone())) {
                    found.push(
                        about(Severity::Error, "no answer".to_owned())
                            .evidence("got", why.clone())
                            .fix("check the address, the port and what is between here and there"),
                    );
                }
                continue;
            }
        };
        if let Some(problem) = certificate(probe, got) {
            found.push(
                about(Severity::Error, "the wrong certificate".to_owned())
                    .evidence("got", problem)
                    .fix("check certificateRefs of the listener, and that the address is the Gateway's"),
            );
        }
        if let Some((severity, wanted)) = wrong(probe, got, probes) {
            let mut says = got.status.to_string();
            if let Some(location) = &got.location {
                says += &format!(" to {location}");
            }
            found.push(
                about(severity, "not the answer that the routes say".to_owned())
                    .evidence("expected", wanted)
                    .evidence("got", says)
                    .fix("check that the address is the Gateway's and that its status is not of an older version (GW004)"),
            );
        }
    }
    found
}

fn certificate(probe: &Probe, got: &Got) -> Option<String> {
    match got.certificate.as_ref()? {
        Err(why) => Some(format!("it cannot be read: {why}")),
        Ok(certificate) if !certificate.is_for(&probe.host) && probe.host != NOBODY_HOST => {
            Some(format!("it is made out for {}, not for {}", certificate.names.join(", "), probe.host))
        }
        Ok(_) => None,
    }
}

/// What was expected, where the answer is another.
fn wrong(probe: &Probe, got: &Got, all: &[Probed]) -> Option<(Severity, String)> {
    match &probe.expected {
        Expected::Redirect(status, location) => {
            let same = got.location.as_deref().is_some_and(|other| bare(other) == bare(location));
            (got.status != *status || !same).then(|| (Severity::Error, format!("{status} to {location}")))
        }
        Expected::Status(status) => (got.status != *status).then(|| (Severity::Error, status.to_string())),
        Expected::NoRule => (got.status != 404).then(|| (Severity::Warning, "404: no rule takes this".to_owned())),
        Expected::Backend(rule) if got.status >= 500 => {
            Some((Severity::Error, format!("an answer of a backend, by {rule}")))
        }
        Expected::Backend(rule) if got.status == 404 => {
            // A backend may say 404 too; the Gateway's own looks like the one where no rule is.
            let own = all.iter().find(|other| {
                other.probe.expected == Expected::NoRule
                    && other.probe.gateway == probe.gateway
                    && other.probe.listener == probe.listener
            });
            let own = own.and_then(|own| own.got.as_ref().ok());
            own.filter(|own| own.shape == got.shape).map(|_| {
                (
                    Severity::Warning,
                    format!("an answer of a backend, by {rule}; this 404 is like the one where no rule is"),
                )
            })
        }
        Expected::Backend(_) => None,
    }
}

/// Ports and a bare slash may be written or left out.
fn bare(url: &str) -> String {
    let url = url.trim_end_matches('/');
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (host, path) = rest.split_once('/').map_or((rest, ""), |(host, path)| (host, path));
    let usual = if scheme == "https" { ":443" } else { ":80" };
    format!("{scheme}://{}/{path}", host.strip_suffix(usual).unwrap_or(host))
}
