//! What ingress-nginx answers to a request: server by host, location by path, then its rewrite
//! phase. Independent of anything that the Gateway API side does.

use regex::Regex;

use super::{Canary, Location, Nginx, Server};
use crate::migrate::ingress::{Backend, Ingress, Input, PathKind};

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Request {
    pub tls: bool,
    pub host: String,
    pub method: String,
    /// With query.
    pub target: String,
    pub headers: Vec<(String, String)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    NotFound,
    Redirect { status: u16, location: String },
    Status(u16),
    Forward { to: Vec<(u64, String)>, target: String, host: String },
}

/// The redirect of an Ingress' annotations: status and where to.
pub(super) fn redirect(ingress: &Ingress) -> Option<(u16, String)> {
    let code = |name: &str, default: u16| {
        ingress
            .annotation(name)
            .and_then(|code| code.parse().ok())
            .filter(|code| (300..=308).contains(code))
            .unwrap_or(default)
    };
    // The controller looks at the temporal one first.
    if let Some(to) = ingress.annotation("temporal-redirect").filter(|to| !to.is_empty()) {
        return Some((code("temporal-redirect-code", 302), to.to_owned()));
    }
    let to = ingress.annotation("permanent-redirect").filter(|to| !to.is_empty())?;
    Some((code("permanent-redirect-code", 301), to.to_owned()))
}

/// The path as nginx compares it: percent signs decoded, slashes merged, dots resolved. None
/// where nginx answers 400.
pub fn normalised(path: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(path.len());
    let raw = path.as_bytes();
    let mut at = 0;
    while at < raw.len() {
        if raw[at] == b'%' {
            let digits = path.get(at + 1..at + 3)?;
            let byte = u8::from_str_radix(digits, 16).ok().filter(|byte| *byte != 0)?;
            bytes.push(byte);
            at += 3;
        } else {
            bytes.push(raw[at]);
            at += 1;
        }
    }
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let mut parts: Vec<&str> = Vec::new();
    let all: Vec<&str> = text.split('/').collect();
    for part in &all[1..] {
        match *part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    let mut out = format!("/{}", parts.join("/"));
    if matches!(all.last(), Some(&("" | "." | ".."))) && out.len() > 1 {
        out.push('/');
    }
    Some(out)
}

enum Located<'a> {
    Location(&'a Location),
    /// To the same path with a slash at its end.
    Slash,
    Nothing,
}

impl Nginx {
    fn serving(&self, host: &str) -> Option<&Server> {
        let named = |server: &&Server| server.host == host || server.aliases.iter().any(|(_, alias)| alias == host);
        self.servers
            .iter()
            .find(named)
            .or_else(|| {
                // A wildcard stands for one label of word characters.
                self.servers.iter().find(|server| {
                    let rest = server.host.strip_prefix('*').and_then(|suffix| host.strip_suffix(suffix));
                    rest.is_some_and(|label| {
                        !label.is_empty() && label.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_' || c == b'-')
                    })
                })
            })
            .or_else(|| self.servers.iter().find(|server| server.host.is_empty()))
    }

    /// The location that a tidied path comes to.
    pub fn location(&self, input: &Input, host: &str, uri: &str) -> Option<&Location> {
        match self.serving(host)?.locate(input, uri) {
            Located::Location(location) => Some(location),
            Located::Slash | Located::Nothing => None,
        }
    }

    pub fn ask(&self, input: &Input, request: &Request) -> Reply {
        let Some(server) = self.serving(&request.host) else { return Reply::NotFound };
        let (path, query) = match request.target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (request.target.as_str(), None),
        };
        let Some(uri) = normalised(path) else { return Reply::Status(400) };
        let scheme = if request.tls { "https" } else { "http" };
        let to = |status, location| Reply::Redirect { status, location };
        if let Some((_, host)) = &server.www_of {
            return to(self.settings.http_redirect_code, format!("{scheme}://{host}{}", request.target));
        }
        if let (Some((_, root)), "/") = (&server.app_root, uri.as_str()) {
            return to(302, format!("{scheme}://{}{root}", request.host));
        }
        let location = match server.locate(input, &uri) {
            Located::Nothing => return Reply::NotFound,
            Located::Slash => {
                let query = query.map(|query| format!("?{query}")).unwrap_or_default();
                return to(301, format!("{scheme}://{}{uri}/{query}", request.host));
            }
            Located::Location(location) => location,
        };
        if let Some((status, target)) = &location.redirect {
            let target = target
                .replace("$request_uri", &request.target)
                .replace("$scheme", scheme)
                .replace("$http_host", &request.host)
                .replace("$host", &request.host)
                .replace("$uri", &uri);
            return to(*status, target);
        }
        let rewritten =
            location.rewrite.as_ref().map(|target| rewrite(location.patterns().1.as_ref(), target, &uri, query));
        if let Some(Some(target)) = &rewritten
            && (target.starts_with("http://") || target.starts_with("https://"))
        {
            return to(302, target.clone());
        }
        if !request.tls && (location.force_ssl_redirect || (location.ssl_redirect && server.tls.is_some())) {
            return to(self.settings.http_redirect_code, format!("https://{}{}", request.host, request.target));
        }
        let namespace = location.namespace(input);
        let named = |namespace: &str, backend: &Result<Backend, String>| match backend {
            Ok(Backend::Service { name, port }) => format!("{namespace}/{name}:{port}"),
            Ok(Backend::Resource { kind, name, .. }) => format!("{namespace}/{kind} {name}"),
            Err(_) => "nothing".to_owned(),
        };
        if location.backend.is_err() {
            return Reply::Status(503);
        }
        let main = named(namespace, &location.backend);
        let to = match location.canaries.first() {
            Some(canary) if canary.backend.is_ok() => {
                let other = named(&input.ingresses[canary.ingress].namespace, &canary.backend);
                match canary.share(request) {
                    0 => vec![(canary.total, main)],
                    share if share >= canary.total => vec![(canary.total, other)],
                    share => vec![(canary.total - share, main), (share, other)],
                }
            }
            _ => vec![(1, main)],
        };
        Reply::Forward {
            to,
            target: rewritten.flatten().unwrap_or_else(|| request.target.clone()),
            host: location.upstream_vhost.clone().unwrap_or_else(|| request.host.clone()),
        }
    }
}

impl Server {
    fn locate(&self, input: &Input, uri: &str) -> Located<'_> {
        if self.regex {
            let found = self.in_order().into_iter().find(|one| {
                // What stands for a slash-terminated prefix comes with one for the bare path.
                one.pattern().is_ok_and(|pattern| pattern.is_match(uri))
            });
            return found.map_or(Located::Nothing, Located::Location);
        }
        let mut best: Option<(usize, &Location)> = None;
        let mut slash = false;
        let mut exact = None;
        for one in &self.locations {
            let plain = one.path == "/" || input.ingresses[one.ingress].on("use-regex");
            match one.kind {
                PathKind::Exact => {
                    if one.path == uri {
                        return Located::Location(one);
                    }
                    slash |= format!("{uri}/") == one.path;
                    continue;
                }
                // The path itself, and everything below its slash.
                PathKind::Prefix if !plain => {
                    if one.path == uri {
                        exact = Some(one);
                    }
                    let below = if one.path.ends_with('/') { one.path.clone() } else { format!("{}/", one.path) };
                    slash |= format!("{uri}/") == below;
                    if uri.starts_with(&below) && best.is_none_or(|(length, _)| below.len() > length) {
                        best = Some((below.len(), one));
                    }
                }
                _ => {
                    if one.path == uri && exact.is_none() {
                        exact = Some(one);
                    }
                    slash |= one.path.len() > 1 && format!("{uri}/") == one.path;
                    if uri.starts_with(&one.path) && best.is_none_or(|(length, _)| one.path.len() > length) {
                        best = Some((one.path.len(), one));
                    }
                }
            }
        }
        match (exact, slash, best) {
            (Some(exact), ..) => Located::Location(exact),
            (None, true, _) => Located::Slash,
            (None, false, Some((_, best))) => Located::Location(best),
            (None, false, None) => Located::Nothing,
        }
    }
}

/// The new URI; none where the expression does not match, so that nothing changes.
fn rewrite(pattern: Option<&Regex>, target: &str, uri: &str, query: Option<&str>) -> Option<String> {
    let found = pattern?.captures(uri)?;
    let mut new = String::new();
    let mut rest = target.chars().peekable();
    while let Some(c) = rest.next() {
        match (c, rest.peek().and_then(|next| next.to_digit(10))) {
            ('$', Some(group)) => {
                rest.next();
                new.push_str(found.get(group as usize).map_or("", |found| found.as_str()));
            }
            _ => new.push(c),
        }
    }
    let (path, own) = match new.split_once('?') {
        Some((path, own)) => (path.to_owned(), Some(own.to_owned())),
        None => (new, None),
    };
    let mut new = escaped(&path);
    let queries: Vec<&str> = match &own {
        // A question mark at the end drops what came with the request.
        Some(own) if own.is_empty() => vec![],
        Some(own) => vec![own.as_str()].into_iter().chain(query).collect(),
        None => query.into_iter().collect(),
    };
    if !queries.is_empty() {
        new.push('?');
        new.push_str(&queries.join("&"));
    }
    Some(new)
}

fn escaped(path: &str) -> String {
    let mut out = String::new();
    for byte in path.bytes() {
        match byte {
            0..=0x20 | 0x7f.. | b'%' | b'?' | b'#' => out.push_str(&format!("%{byte:02X}")),
            _ => out.push(char::from(byte)),
        }
    }
    out
}

impl Canary {
    /// How many of `total` requests like this one the canary gets: header, then cookie, then weight.
    fn share(&self, request: &Request) -> u64 {
        let header = |name: &str| {
            request.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
        };
        if let Some(value) = self.header.as_deref().and_then(header) {
            match (&self.header_value, &self.header_pattern) {
                (Some(wanted), _) if value == wanted => return self.total,
                (None, Some(pattern)) if Regex::new(pattern).is_ok_and(|pattern| pattern.is_match(value)) => {
                    return self.total;
                }
                (None, None) if value == "always" => return self.total,
                (None, None) if value == "never" => return 0,
                _ => {}
            }
        }
        if let Some(name) = &self.cookie {
            let cookies = header("cookie").unwrap_or_default();
            let value =
                cookies.split(';').filter_map(|one| one.trim().split_once('=')).find(|(known, _)| known == name);
            match value {
                Some((_, "always")) => return self.total,
                Some((_, "never")) => return 0,
                _ => {}
            }
        }
        self.weight.min(self.total)
    }
}
