//! What ingress-nginx makes of Ingresses: servers and their locations.
//!
//! Order, precedence and implicit locations are the controller's. One regular expression in one
//! Ingress makes every path of the host a case-insensitive regular expression.

use std::{collections::BTreeMap, sync::OnceLock};

use regex::Regex;

use super::ingress::{Backend, Ingress, Input, PathKind};

mod ask;

pub use ask::{Reply, Request, normalised};

/// Settings of the controller's ConfigMap that change what requests get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    pub ssl_redirect: bool,
    pub force_ssl_redirect: bool,
    pub http_redirect_code: u16,
    pub hsts: bool,
    pub hsts_max_age: String,
    pub hsts_include_subdomains: bool,
    pub hsts_preload: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            ssl_redirect: true,
            force_ssl_redirect: false,
            http_redirect_code: 308,
            hsts: true,
            hsts_max_age: "31536000".to_owned(),
            hsts_include_subdomains: true,
            hsts_preload: false,
        }
    }
}

#[derive(Debug, Default)]
pub struct Nginx {
    pub settings: Settings,
    /// In the order of the input; the empty host is the default server.
    pub servers: Vec<Server>,
    /// Paths that never take effect: Ingress, field, why.
    pub ignored: Vec<(usize, String, String)>,
}

#[derive(Debug, Default)]
pub struct Server {
    pub host: String,
    /// Every location is a regular expression.
    pub regex: bool,
    /// Ingress, index of its `tls` entry.
    pub tls: Option<(usize, usize)>,
    /// In the order in which paths came.
    pub locations: Vec<Location>,
    /// `return 302` for `/`, before any location is looked for.
    pub app_root: Option<(usize, String)>,
    /// The host's own name with or without `www.`, to which everything is sent.
    pub www_of: Option<(usize, String)>,
    /// Names that are served as this host.
    pub aliases: Vec<(usize, String)>,
    /// TLS is passed on without being looked into, to the backend of `/`.
    pub passthrough: Option<usize>,
}

#[derive(Debug, Clone)]
pub struct Location {
    /// Ingress, rule, path; rule and path are none where it is the default backend.
    pub ingress: usize,
    pub at: Option<(usize, usize)>,
    pub field: String,
    pub path: String,
    pub kind: PathKind,
    pub backend: Result<Backend, String>,
    pub canaries: Vec<Canary>,
    /// `rewrite-target`, unless it is the path itself, which nginx takes for no rewrite.
    pub rewrite: Option<String>,
    pub redirect: Option<(u16, String)>,
    pub ssl_redirect: bool,
    pub force_ssl_redirect: bool,
    pub upstream_vhost: Option<String>,
    /// Made when first asked for: most hosts have no expressions.
    patterns: OnceLock<(Result<Regex, String>, Option<Regex>)>,
}

/// An alternative backend of a location.
#[derive(Debug, Clone)]
pub struct Canary {
    pub ingress: usize,
    pub field: String,
    pub backend: Result<Backend, String>,
    pub header: Option<String>,
    pub header_value: Option<String>,
    pub header_pattern: Option<String>,
    pub cookie: Option<String>,
    pub weight: u64,
    pub total: u64,
}

impl Location {
    pub fn namespace<'a>(&self, input: &'a Input) -> &'a str {
        &input.ingresses[self.ingress].namespace
    }

    fn patterns(&self) -> &(Result<Regex, String>, Option<Regex>) {
        self.patterns.get_or_init(|| {
            let anchored = Regex::new(&format!("(?i)^{}", self.path)).map_err(|error| error.to_string());
            (anchored, Regex::new(&format!("(?i){}", self.path)).ok())
        })
    }

    /// The pattern that a regular expression location has.
    pub fn pattern(&self) -> Result<&Regex, &str> {
        self.patterns().0.as_ref().map_err(String::as_str)
    }
}

impl Server {
    pub fn hosts(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.host.as_str()).chain(self.aliases.iter().map(|(_, alias)| alias.as_str()))
    }

    /// Locations as nginx tries regular expressions: longest first, then the greater text.
    pub fn in_order(&self) -> Vec<&Location> {
        let mut all: Vec<&Location> = self.locations.iter().collect();
        all.sort_by(|a, b| b.path.len().cmp(&a.path.len()).then_with(|| b.path.cmp(&a.path)));
        all
    }
}

/// The Ingresses in the order in which the controller takes them: the oldest first.
pub fn order(input: &Input) -> Vec<usize> {
    let mut all: Vec<usize> = (0..input.ingresses.len()).collect();
    // Those without an age keep their place in the input, after those that have one.
    all.sort_by(|a, b| {
        let age = |at: usize| input.ingresses[at].created.as_deref();
        match (age(*a), age(*b)) {
            (Some(a), Some(b)) => a.cmp(b),
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (None, None) => std::cmp::Ordering::Equal,
        }
    });
    all
}

impl Nginx {
    pub fn new(input: &Input, settings: Settings, wanted: &dyn Fn(&Ingress) -> bool) -> Self {
        let mut nginx = Self { settings, ..Self::default() };
        let order: Vec<usize> = order(input).into_iter().filter(|at| wanted(&input.ingresses[*at])).collect();
        let mut known: BTreeMap<String, usize> = BTreeMap::new();
        for &at in &order {
            let ingress = &input.ingresses[at];
            if !ingress.on("canary") {
                nginx.add(at, ingress, &mut known);
            }
        }
        for &at in &order {
            let ingress = &input.ingresses[at];
            if ingress.on("canary") {
                nginx.add_canary(at, ingress, &known);
            }
        }
        for &at in &order {
            let ingress = &input.ingresses[at];
            for rule in &ingress.rules {
                if let Some(alias) = ingress.annotation("server-alias") {
                    for name in alias.split([',', ' ']).map(str::trim).filter(|name| !name.is_empty()) {
                        let name = name.to_ascii_lowercase();
                        if let Some(&own) = known.get(&rule.host)
                            && !known.contains_key(&name)
                        {
                            known.insert(name.clone(), own);
                            nginx.servers[own].aliases.push((at, name));
                        }
                    }
                }
            }
        }
        for &at in &order {
            let ingress = &input.ingresses[at];
            for rule in ingress.rules.iter().filter(|_| ingress.on("from-to-www-redirect")) {
                let other = match rule.host.strip_prefix("www.") {
                    Some(bare) => bare.to_owned(),
                    None => format!("www.{}", rule.host),
                };
                if !rule.host.is_empty() && !rule.host.starts_with('*') && !known.contains_key(&other) {
                    let tls = known.get(&rule.host).and_then(|own| nginx.servers[*own].tls);
                    known.insert(other.clone(), nginx.servers.len());
                    let www_of = Some((at, rule.host.clone()));
                    nginx.servers.push(Server { host: other, www_of, tls, ..Server::default() });
                }
            }
        }
        for server in &mut nginx.servers {
            let regex = |one: &Location| one.rewrite.is_some() || input.ingresses[one.ingress].on("use-regex");
            server.regex = server.locations.iter().any(regex);
        }
        nginx
    }

    fn server(&mut self, host: &str, known: &mut BTreeMap<String, usize>) -> usize {
        *known.entry(host.to_owned()).or_insert_with(|| {
            self.servers.push(Server { host: host.to_owned(), ..Server::default() });
            self.servers.len() - 1
        })
    }

    fn add(&mut self, at: usize, ingress: &Ingress, known: &mut BTreeMap<String, usize>) {
        let redirect = ask::redirect(ingress);
        let ssl_redirect = ingress.flag("ssl-redirect").unwrap_or(self.settings.ssl_redirect);
        let force_ssl_redirect = ingress.flag("force-ssl-redirect").unwrap_or(self.settings.force_ssl_redirect);
        let upstream_vhost = ingress.annotation("upstream-vhost").filter(|name| !name.is_empty()).map(str::to_owned);
        let location =
            |place: Option<(usize, usize)>, field: &str, path: &str, kind, backend: &Result<Backend, String>| {
                let target =
                    ingress.annotation("rewrite-target").filter(|target| !target.is_empty() && *target != path);
                Location {
                    ingress: at,
                    at: place,
                    field: field.to_owned(),
                    path: path.to_owned(),
                    kind,
                    backend: backend.clone(),
                    canaries: Vec::new(),
                    rewrite: target.map(str::to_owned),
                    redirect: redirect.clone(),
                    ssl_redirect,
                    force_ssl_redirect,
                    upstream_vhost: upstream_vhost.clone(),
                    patterns: OnceLock::new(),
                }
            };
        for (rule_at, rule) in ingress.rules.iter().enumerate() {
            let server = self.server(&rule.host, known);
            let tls = ingress.tls.iter().position(|tls| tls.hosts.contains(&rule.host));
            let tls = tls.or_else(|| ingress.tls.iter().position(|tls| tls.hosts.is_empty()));
            if self.servers[server].tls.is_none() && !rule.host.is_empty() {
                self.servers[server].tls = tls.map(|tls| (at, tls));
            }
            if ingress.on("ssl-passthrough") && self.servers[server].passthrough.is_none() && !rule.host.is_empty() {
                self.servers[server].passthrough = Some(at);
            }
            if let Some(root) = ingress.annotation("app-root").filter(|root| root.starts_with('/'))
                && self.servers[server].app_root.is_none()
            {
                self.servers[server].app_root = Some((at, root.to_owned()));
            }
            for (path_at, path) in rule.paths.iter().enumerate() {
                let same = |one: &&Location| one.path == path.path && one.kind == path.kind && one.at.is_some();
                if let Some(first) = self.servers[server].locations.iter().find(same) {
                    let why = format!(
                        "{} had this path of {} first: nginx never serves this one",
                        if first.ingress == at {
                            "an earlier rule".to_owned()
                        } else {
                            format!("Ingress #{}", first.ingress)
                        },
                        if rule.host.is_empty() { "any host" } else { &rule.host }
                    );
                    self.ignored.push((at, path.field.clone(), why));
                    continue;
                }
                let made = location(Some((rule_at, path_at)), &path.field, &path.path, path.kind, &path.backend);
                self.servers[server].locations.push(made);
            }
        }
        if let Some(backend) = &ingress.default_backend {
            let hosts: Vec<String> = match ingress.rules.as_slice() {
                [] => vec![String::new()],
                rules => rules.iter().map(|rule| rule.host.clone()).collect(),
            };
            for host in hosts {
                let server = self.server(&host, known);
                let root = |one: &Location| one.path == "/" && one.kind != PathKind::Exact;
                if !self.servers[server].locations.iter().any(root) {
                    let made = location(None, "spec.defaultBackend", "/", PathKind::Prefix, backend);
                    self.servers[server].locations.push(made);
                }
            }
        }
    }

    fn add_canary(&mut self, at: usize, ingress: &Ingress, known: &BTreeMap<String, usize>) {
        let number = |name: &str| ingress.annotation(name).and_then(|value| value.parse::<u64>().ok());
        let text = |name: &str| ingress.annotation(name).filter(|value| !value.is_empty()).map(str::to_owned);
        for rule in &ingress.rules {
            for path in &rule.paths {
                let server = known.get(&rule.host).map(|server| &mut self.servers[*server]);
                let found = server.and_then(|server| {
                    server.locations.iter_mut().find(|one| one.path == path.path && one.kind == path.kind)
                });
                match found {
                    None => {
                        let why =
                            "no other Ingress has this host and path: nginx ignores a canary without a main Ingress";
                        self.ignored.push((at, path.field.clone(), why.to_owned()));
                    }
                    Some(location) if !location.canaries.is_empty() => {
                        let why = "another canary has this host and path: nginx takes one canary per path";
                        self.ignored.push((at, path.field.clone(), why.to_owned()));
                    }
                    Some(location) => location.canaries.push(Canary {
                        ingress: at,
                        field: path.field.clone(),
                        backend: path.backend.clone(),
                        header: text("canary-by-header"),
                        header_value: text("canary-by-header-value"),
                        header_pattern: text("canary-by-header-pattern"),
                        cookie: text("canary-by-cookie"),
                        weight: number("canary-weight").unwrap_or(0),
                        total: number("canary-weight-total").filter(|total| *total > 0).unwrap_or(100),
                    }),
                }
            }
        }
    }
}
