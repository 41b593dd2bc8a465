//! ConfigMaps of the controller: its own settings, and the ports that it passes on.

use super::{
    ingress::{Input, Source},
    nginx::Settings,
    report::{Entry, Note, Outcome},
};
use crate::yaml::{Node, join};

#[derive(Debug, Clone)]
pub struct Stream {
    pub file: String,
    pub line: u32,
    /// `ConfigMap namespace/name`.
    pub object: String,
    pub field: String,
    pub value: String,
    pub udp: bool,
    pub port: u16,
    pub to: Result<To, String>,
}

#[derive(Debug, Clone)]
pub struct To {
    pub namespace: String,
    pub service: String,
    pub port: u64,
    pub proxy_protocol: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holds {
    Tcp,
    Udp,
    Settings,
    SomethingElse,
}

/// By the names that the controller's charts give them.
fn holds(source: &Source) -> Holds {
    let name = source.node.text_at(&["metadata", "name"]).unwrap_or_default();
    match name.as_str() {
        name if name.ends_with("tcp-services") || name.ends_with("ingress-nginx-tcp") => Holds::Tcp,
        name if name.ends_with("udp-services") || name.ends_with("ingress-nginx-udp") => Holds::Udp,
        name if name.ends_with("ingress-nginx-controller")
            || name == "nginx-configuration"
            || name == "nginx-config" =>
        {
            Holds::Settings
        }
        _ => Holds::SomethingElse,
    }
}

fn object(source: &Source) -> String {
    let text = |name: &str| source.node.text_at(&["metadata", name]).unwrap_or_default();
    format!("ConfigMap {}/{}", text("namespace"), text("name"))
}

fn data(source: &Source) -> &[(String, u32, Node)] {
    source.node.get("data").map(Node::fields).unwrap_or_default()
}

pub fn of(input: &Input) -> Vec<Stream> {
    let mut all = Vec::new();
    for source in &input.config_maps {
        let udp = match holds(source) {
            Holds::Tcp => false,
            Holds::Udp => true,
            _ => continue,
        };
        for (key, line, value) in data(source) {
            let value = value.text().unwrap_or_default();
            let port = key.parse::<u16>().ok().filter(|port| *port > 0);
            all.push(Stream {
                file: source.file.clone(),
                line: *line,
                object: object(source),
                field: join("data", key),
                udp,
                port: port.unwrap_or_default(),
                to: if port.is_some() { target(&value, input) } else { Err(format!("{key:?} is no port")) },
                value,
            });
        }
    }
    all
}

fn target(value: &str, input: &Input) -> Result<To, String> {
    let wrong = || format!("{value:?} is not NAMESPACE/SERVICE:PORT");
    let (namespace, rest) = value.split_once('/').ok_or_else(wrong)?;
    let mut parts = rest.split(':');
    let (service, port) = (parts.next().ok_or_else(wrong)?, parts.next().ok_or_else(wrong)?);
    let number = match port.parse::<u64>() {
        Ok(number) => number,
        Err(_) => {
            let known = input.services.get(&(namespace.to_owned(), service.to_owned()));
            let found = known.and_then(|known| known.iter().find(|(name, _)| name == port)).map(|(_, number)| *number);
            found.ok_or_else(|| {
                format!("port {port:?} has a name only: add Service {namespace}/{service} to the input")
            })?
        }
    };
    let proxy_protocol = parts.any(|part| part == "PROXY");
    Ok(To { namespace: namespace.to_owned(), service: service.to_owned(), port: number, proxy_protocol })
}

/// The controller's settings, and what becomes of each.
pub fn settings(input: &Input) -> (Settings, Vec<Entry>) {
    let mut settings = Settings::default();
    let mut entries = Vec::new();
    for source in input.config_maps.iter().filter(|source| holds(source) == Holds::Settings) {
        for (key, line, value) in data(source) {
            let value = value.text().unwrap_or_default();
            let flag = value.trim() == "true";
            let mut known = true;
            match key.as_str() {
                "ssl-redirect" => settings.ssl_redirect = flag,
                "force-ssl-redirect" => settings.force_ssl_redirect = flag,
                "hsts" => settings.hsts = flag,
                "hsts-max-age" => settings.hsts_max_age = value.trim().to_owned(),
                "hsts-include-subdomains" => settings.hsts_include_subdomains = flag,
                "hsts-preload" => settings.hsts_preload = flag,
                "http-redirect-code" => match value.trim().parse() {
                    Ok(code) => settings.http_redirect_code = code,
                    Err(_) => known = false,
                },
                _ => known = false,
            }
            let note = if known {
                Note::exact("every HTTPRoute that it concerns")
            } else {
                Note::new(
                    Outcome::Manual,
                    "",
                    "a setting of the controller that no standard field says",
                    "look whether anything relies on it; set it in the implementation's own configuration",
                )
            };
            entries.push(Entry {
                outcome: note.outcome,
                file: source.file.clone(),
                line: *line,
                object: object(source),
                field: join("data", key),
                value,
                output: note.output,
                reason: note.reason,
                todo: note.todo,
                counted: true,
            });
        }
    }
    (settings, entries)
}
