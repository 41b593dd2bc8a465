//! From servers and locations to routes.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{
    Options,
    gateways::{API, Gateways, Wanted, slug},
    ingress::{Backend, Ingress, Input, annotation_field},
    nginx::{Canary, Location, Nginx, Server},
    notes,
    paths::{self, Refused, Said, path_match},
    report::{Note, Notes, Outcome},
};

mod filters;
mod grants;
mod streams;
mod www;

pub use filters::{mirror as mirror_of, snippet as snippet_of};
pub use streams::entries as stream_entries;

const MOST_RULES: usize = 16;
const MOST_MATCHES: usize = 64;
const MOST_MATCHES_OF_ALL: usize = 127;

/// An object of the output and where it comes from.
#[derive(Debug, Clone, PartialEq)]
pub struct Made {
    pub value: Value,
    /// `file:line namespace/name` of what it was made of.
    pub from: Vec<String>,
}

pub struct Conversion<'a> {
    pub input: &'a Input,
    pub nginx: &'a Nginx,
    pub options: &'a Options,
    pub gateways: Gateways<'a>,
    /// By Ingress.
    pub notes: Vec<Notes>,
    /// Routes, policies and grants, in the order of the input.
    pub made: Vec<Made>,
    /// Names given, by kind and namespace.
    names: BTreeSet<(String, String, String)>,
    /// Route to Service of another namespace: of the Service, of the route, kind of route.
    grants: BTreeMap<(String, String), BTreeSet<String>>,
    /// What cannot serve as it did: Ingress, field, reason.
    pub failed: Vec<(usize, String, String)>,
}

type Rules = Vec<Value>;

impl<'a> Conversion<'a> {
    pub fn run(input: &'a Input, nginx: &'a Nginx, options: &'a Options) -> Self {
        let apart = nginx.servers.iter().any(|server| server.host.is_empty() || server.host.starts_with('*'));
        let mut all = Self {
            input,
            nginx,
            options,
            gateways: Gateways::new(options, apart),
            notes: input.ingresses.iter().map(|_| Notes::default()).collect(),
            made: Vec::new(),
            names: BTreeSet::new(),
            grants: BTreeMap::new(),
            failed: Vec::new(),
        };
        for (at, field, why) in &nginx.ignored {
            all.notes[*at]
                .add(field.clone(), Note::new(Outcome::Dropped, "", why.clone(), "remove it from the Ingress"));
        }
        for server in &nginx.servers {
            all.server(server);
            all.keep(server);
        }
        all.backend_policies();
        all.streams();
        all.service_grants();
        for at in 0..input.ingresses.len() {
            notes::annotate(&mut all, at);
        }
        all
    }

    pub fn source(&self, at: usize) -> String {
        let ingress = &self.input.ingresses[at];
        if ingress.line == 0 {
            format!("Ingress {}", ingress.key())
        } else {
            format!("{}:{} Ingress {}", ingress.file, ingress.line, ingress.key())
        }
    }

    /// A name that no other object of the kind has.
    pub fn name(&mut self, kind: &str, namespace: &str, wanted: &str) -> String {
        let wanted: String = wanted.chars().take(240).collect();
        let mut name = wanted.trim_end_matches(['-', '.']).to_owned();
        for n in 2.. {
            if self.names.insert((kind.to_owned(), namespace.to_owned(), name.clone())) {
                break;
            }
            name = format!("{wanted}-{n}");
        }
        name
    }

    fn server(&mut self, server: &Server) {
        if let Some((at, host)) = &server.www_of {
            self.www(server, *at, host);
            return;
        }
        if let Some(at) = server.passthrough {
            self.passthrough(server, at);
            return;
        }
        // Locations of one namespace stand in one route: routes live beside their Services.
        let mut namespaces: Vec<&str> = Vec::new();
        for location in &server.locations {
            let namespace = location.namespace(self.input);
            if !namespaces.contains(&namespace) {
                namespaces.push(namespace);
            }
        }
        if let (Some((at, _)), true) = (&server.app_root, namespaces.is_empty()) {
            namespaces.push(&self.input.ingresses[*at].namespace);
        }
        for namespace in namespaces {
            let locations: Vec<&Location> =
                server.locations.iter().filter(|one| one.namespace(self.input) == namespace).collect();
            self.routes(server, namespace, &locations);
        }
    }

    /// A host of which no rule could be made still answers for itself: without a listener
    /// of its own a wider one would take its requests.
    fn keep(&mut self, server: &Server) {
        let Some(at) = server.locations.first().map(|location| location.ingress) else { return };
        if server.passthrough.is_some() {
            return;
        }
        let (namespace, from, secret) =
            (self.input.ingresses[at].namespace.clone(), self.source(at), self.secret(server));
        for host in server.hosts() {
            self.gateways.keep(Wanted::Http, host, 80, &namespace, None, &from);
            if let Some((of, name)) = &secret {
                self.gateways.keep(Wanted::Https, host, 443, &namespace, Some((of, name)), &from);
            }
        }
    }

    fn secret(&self, server: &Server) -> Option<(String, String)> {
        let (at, tls) = server.tls?;
        let ingress = &self.input.ingresses[at];
        Some((ingress.namespace.clone(), ingress.tls[tls].secret.clone()?))
    }

    fn routes(&mut self, server: &Server, namespace: &str, locations: &[&Location]) {
        let secret = self.secret(server);
        let (mut plain, mut secure, mut grpc) = (Rules::new(), Rules::new(), Rules::new());
        let mut sources: Vec<usize> = Vec::new();
        let use_source = |sources: &mut Vec<usize>, at: usize| {
            if !sources.contains(&at) {
                sources.push(at);
            }
        };
        if let Some((at, root)) = &server.app_root
            && self.input.ingresses[*at].namespace == namespace
        {
            let rule = json!({"matches": [{"path": path_match("Exact", "/")}], "filters": [
                {"type": "RequestRedirect", "requestRedirect": {"path": {"type": "ReplaceFullPath", "replaceFullPath": root}, "statusCode": 302}}]});
            plain.push(rule.clone());
            secure.push(rule);
            use_source(&mut sources, *at);
            let note = Note::new(
                Outcome::Approximate,
                "HTTPRoute: rule Exact / with RequestRedirect",
                "the Gateway API keeps the query of the request, nginx drops it here",
                "nothing, unless the target minds a query",
            );
            self.notes[*at].add(annotation_field("app-root"), note);
        }
        let mut told: Vec<(usize, String, Note)> = Vec::new();
        for location in locations {
            let ingress = &self.input.ingresses[location.ingress];
            let said = match paths::say(server, location) {
                Ok(said) => said,
                Err(Refused::Shadowed(why)) => {
                    told.push((
                        location.ingress,
                        location.field.clone(),
                        Note::new(Outcome::Dropped, "", why, "remove it from the Ingress: it serves nothing"),
                    ));
                    continue;
                }
                Err(Refused::Manual { reason, todo }) => {
                    self.failed.push((location.ingress, location.field.clone(), reason.clone()));
                    told.push((location.ingress, location.field.clone(), Note::new(Outcome::Manual, "", reason, todo)));
                    continue;
                }
            };
            if let Err(why) = &location.backend
                && location.redirect.is_none()
            {
                self.failed.push((location.ingress, location.field.clone(), why.clone()));
                told.push((
                    location.ingress,
                    location.field.clone(),
                    Note::new(
                        Outcome::Manual,
                        "",
                        why.clone(),
                        "correct the backend; this rule is left out, the others are converted",
                    ),
                ));
                continue;
            }
            use_source(&mut sources, location.ingress);
            for canary in &location.canaries {
                use_source(&mut sources, canary.ingress);
            }
            let note = match said.differs.as_slice() {
                [] => Note::exact(""),
                differs => Note::new(
                    Outcome::Approximate,
                    "",
                    differs.join("; "),
                    "see the proof for requests that are answered differently",
                ),
            };
            for part in ["path", "pathType"] {
                told.push((location.ingress, format!("{}.{part}", location.field), note.clone()));
            }
            told.push((location.ingress, location.field.clone(), Note::exact("")));
            if self.is_grpc(ingress) {
                match self.grpc_rule(location, &said) {
                    Ok(rule) => grpc.push(rule),
                    Err(why) => {
                        self.failed.push((location.ingress, location.field.clone(), why.clone()));
                        told.push((
                            location.ingress,
                            location.field.clone(),
                            Note::new(Outcome::Manual, "", why, "write a GRPCRoute by service and method"),
                        ));
                    }
                }
                continue;
            }
            let rules = match self.rules(location, &said) {
                Ok(rules) => rules,
                Err(why) => {
                    self.failed.push((location.ingress, location.field.clone(), why.clone()));
                    told.push((
                        location.ingress,
                        location.field.clone(),
                        Note::new(Outcome::Manual, "", why, "write the rule by hand"),
                    ));
                    continue;
                }
            };
            let to_https = location.redirect.is_none()
                && (location.ssl_redirect || location.force_ssl_redirect)
                && secret.is_some();
            if to_https {
                plain.extend(said.extra.iter().filter(|(_, filter)| filter["type"] == "RequestRedirect").map(slash));
                self.redirect_rule(&mut plain, &said);
            } else {
                plain.extend(rules.clone());
            }
            let hsts = self.hsts().filter(|_| secret.is_some());
            secure.extend(rules.into_iter().map(|rule| match &hsts {
                Some(value) => filters::add_response_header(rule, "Strict-Transport-Security", value),
                None => rule,
            }));
        }
        let first = sources.first().copied();
        let Some(first) = first else {
            for (at, field, note) in told {
                self.notes[at].add(field, note);
            }
            return;
        };
        let base = self.input.ingresses[first].name.clone();
        let base =
            if self.names.contains(&("HTTPRoute".to_owned(), namespace.to_owned(), base.clone())) || base.is_empty() {
                format!("{base}-{}", slug(&server.host)).trim_matches('-').to_owned()
            } else {
                base
            };
        let from: Vec<String> = sources.iter().map(|at| self.source(*at)).collect();
        let hosts: Vec<String> = server.hosts().map(str::to_owned).collect();
        let output = format!("HTTPRoute {namespace}/{base}");
        for (at, field, mut note) in told {
            if note.output.is_empty() && note.outcome != Outcome::Manual && note.outcome != Outcome::Dropped {
                note.output = output.clone();
            }
            self.notes[at].add(field, note);
        }
        let secure_parents = |all: &mut Self| -> Vec<Value> {
            let Some((of, name)) = &secret else { return Vec::new() };
            hosts
                .iter()
                .map(|host| all.gateways.parent(Wanted::Https, host, 443, namespace, Some((of, name)), &from[0]))
                .collect()
        };
        let plain_parents = |all: &mut Self| -> Vec<Value> {
            let mut parents: Vec<Value> = Vec::new();
            for host in &hosts {
                let parent = all.gateways.parent(Wanted::Http, host, 80, namespace, None, &from[0]);
                if !parents.contains(&parent) {
                    parents.push(parent);
                }
            }
            parents
        };
        if !grpc.is_empty() {
            let mut parents = secure_parents(self);
            if parents.is_empty() {
                parents = plain_parents(self);
            }
            self.push_routes("GRPCRoute", namespace, &base, &hosts, &parents, grpc, &from);
        }
        if secret.is_some() && plain == secure {
            let mut parents = secure_parents(self);
            parents.extend(plain_parents(self));
            self.push_routes("HTTPRoute", namespace, &base, &hosts, &parents, secure, &from);
            return;
        }
        if secret.is_some() {
            let parents = secure_parents(self);
            self.push_routes("HTTPRoute", namespace, &base, &hosts, &parents, secure, &from);
            let parents = plain_parents(self);
            self.push_routes("HTTPRoute", namespace, &format!("{base}-http"), &hosts, &parents, plain, &from);
        } else {
            let parents = plain_parents(self);
            self.push_routes("HTTPRoute", namespace, &base, &hosts, &parents, plain, &from);
        }
    }

    /// Routes of at most as many rules and matches as the API takes.
    #[allow(clippy::too_many_arguments, reason = "one place that knows the limits")]
    fn push_routes(
        &mut self,
        kind: &str,
        namespace: &str,
        base: &str,
        hosts: &[String],
        parents: &[Value],
        rules: Rules,
        from: &[String],
    ) {
        if rules.is_empty() {
            return;
        }
        let mut parents = parents.to_vec();
        if parents.len() > 1 && parents.iter().all(|parent| parent.get("sectionName").is_none()) {
            // The API wants a sectionName where one Gateway is named twice: name it once, for all its ports.
            parents.truncate(1);
            if let Some(parent) = parents[0].as_object_mut() {
                parent.remove("port");
            }
        }
        let matches = |rule: &Value| rule["matches"].as_array().map_or(1, Vec::len);
        let mut groups: Vec<Rules> = vec![Vec::new()];
        for rule in rules {
            let full = groups.last().is_some_and(|group| {
                group.len() == MOST_RULES
                    || group.iter().map(matches).sum::<usize>() + matches(&rule) > MOST_MATCHES_OF_ALL
            });
            if full {
                groups.push(Vec::new());
            }
            if let Some(group) = groups.last_mut() {
                group.push(rule);
            }
        }
        let hosts: Vec<&String> = hosts.iter().filter(|host| !host.is_empty()).collect();
        let chunks: Vec<&[&String]> = if hosts.is_empty() { vec![&[]] } else { hosts.chunks(MOST_RULES).collect() };
        for hosts in chunks {
            for rules in &groups {
                let name = self.name(kind, namespace, base);
                let mut spec = json!({"parentRefs": parents});
                if !hosts.is_empty() {
                    spec["hostnames"] = json!(hosts);
                }
                spec["rules"] = json!(rules);
                let value = json!({"apiVersion": API, "kind": kind, "metadata": {"name": name, "namespace": namespace}, "spec": spec});
                self.made.push(Made { value, from: from.to_vec() });
            }
        }
    }

    fn code(&self, code: u16) -> u16 {
        match code {
            308 | 307 if !self.options.profile.code_308 => 301,
            301 | 302 | 303 | 307 | 308 => code,
            _ => 302,
        }
    }

    fn hsts(&self) -> Option<String> {
        let settings = &self.nginx.settings;
        settings.hsts.then(|| {
            let mut value = format!("max-age={}", settings.hsts_max_age);
            if settings.hsts_include_subdomains {
                value += "; includeSubDomains";
            }
            if settings.hsts_preload {
                value += "; preload";
            }
            value
        })
    }

    /// One rule for all paths that go to https.
    fn redirect_rule(&self, rules: &mut Rules, said: &Said) {
        let code = self.code(self.nginx.settings.http_redirect_code);
        let filter = json!([{"type": "RequestRedirect", "requestRedirect": {"scheme": "https", "statusCode": code}}]);
        let paths = said
            .matches
            .iter()
            .chain(said.extra.iter().filter(|(_, filter)| filter["type"] != "RequestRedirect").map(|(path, _)| path));
        for path in paths {
            let one = json!({"path": path});
            let open = rules.iter_mut().find(|rule| {
                rule["filters"] == filter && rule["matches"].as_array().is_some_and(|all| all.len() < MOST_MATCHES)
            });
            match open.and_then(|rule| rule["matches"].as_array_mut()) {
                Some(matches) if matches.contains(&one) => {}
                Some(matches) => matches.push(one),
                None => rules.push(json!({"matches": [one], "filters": filter})),
            }
        }
    }

    /// The rules that serve one location.
    fn rules(&mut self, location: &Location, said: &Said) -> Result<Rules, String> {
        let ingress = &self.input.ingresses[location.ingress];
        if let Some((code, to)) = &location.redirect {
            let redirect = filters::redirect(to, self.code(*code))?;
            let matches: Vec<_> = said.matches.iter().map(|path| json!({"path": path})).collect();
            let mut rules = vec![json!({"matches": matches, "filters": [redirect]})];
            rules.extend(said.extra.iter().filter(|(_, filter)| filter["type"] == "RequestRedirect").map(slash));
            return Ok(rules);
        }
        let mut shared = filters::of(self, ingress);
        if let Some(prefix) = ingress.annotation("x-forwarded-prefix").filter(|_| location.rewrite.is_some()) {
            shared.push(json!({"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "X-Forwarded-Prefix", "value": prefix}]}}));
        }
        let timeouts = filters::timeouts(self, ingress);
        let main = self.reference(location.ingress, &location.backend, location.namespace(self.input))?;
        let mut rules = Rules::new();
        let mut serve = |matches: Vec<Value>, rewrite: Option<Value>, refs: Vec<Value>| {
            let mut filters = shared.clone();
            let mut edit = json!({});
            if let Some(path) = rewrite {
                edit["path"] = path;
            }
            if let Some(host) = &location.upstream_vhost {
                edit["hostname"] = json!(host);
            }
            if edit != json!({}) {
                filters.push(json!({"type": "URLRewrite", "urlRewrite": edit}));
            }
            let mut rule = json!({"matches": matches, "backendRefs": refs});
            if !filters.is_empty() {
                rule["filters"] = json!(filters::merged(filters));
            }
            if let Some(timeouts) = &timeouts {
                rule["timeouts"] = timeouts.clone();
            }
            rules.push(rule);
        };
        let mut paths: Vec<(Value, Option<Value>, bool)> =
            said.matches.iter().map(|path| (path.clone(), said.rewrite.clone(), false)).collect();
        for (path, filter) in &said.extra {
            paths.push((path.clone(), filter["urlRewrite"].get("path").cloned(), filter["type"] == "RequestRedirect"));
        }
        let canary = match location.canaries.first() {
            Some(canary) => match self.reference(canary.ingress, &canary.backend, location.namespace(self.input)) {
                Ok(reference) => Some((canary, reference)),
                Err(why) => {
                    self.failed.push((canary.ingress, canary.field.clone(), why.clone()));
                    self.notes[canary.ingress].add(
                        canary.field.clone(),
                        Note::new(Outcome::Manual, "", why, "correct the backend of the canary"),
                    );
                    None
                }
            },
            None => None,
        };
        for (path, rewrite, redirects) in paths {
            if redirects {
                continue;
            }
            let Some((canary, other)) = &canary else {
                serve(vec![json!({"path": path})], rewrite, vec![main.clone()]);
                continue;
            };
            for (headers, to_canary) in choices(canary) {
                let reference = if to_canary { other } else { &main };
                serve(vec![json!({"path": path, "headers": headers})], rewrite.clone(), vec![reference.clone()]);
            }
            let weight = canary.weight.min(canary.total);
            let refs = match weight {
                0 => vec![main.clone()],
                weight if weight == canary.total => vec![other.clone()],
                weight => {
                    let (mut stable, mut other) = (main.clone(), other.clone());
                    stable["weight"] = json!(canary.total - weight);
                    other["weight"] = json!(weight);
                    vec![stable, other]
                }
            };
            serve(vec![json!({"path": path})], rewrite, refs);
        }
        rules.extend(said.extra.iter().filter(|(_, filter)| filter["type"] == "RequestRedirect").map(slash));
        if let Some((canary, _)) = &canary {
            let output =
                format!("HTTPRoute {}: backendRefs of {}", location.namespace(self.input), said.matches[0]["value"]);
            self.notes[canary.ingress].add(canary.field.clone(), Note::exact(output));
        }
        Ok(rules)
    }

    /// A backendRef, from a route of `namespace`.
    fn reference(&mut self, at: usize, backend: &Result<Backend, String>, namespace: &str) -> Result<Value, String> {
        let own = self.input.ingresses[at].namespace.clone();
        match backend {
            Err(why) => Err(why.clone()),
            Ok(Backend::Service { name, port }) => {
                let mut value = json!({"name": name, "port": port});
                if own != namespace {
                    value["namespace"] = json!(own);
                    self.grants.entry((own, namespace.to_owned())).or_default().insert(name.clone());
                }
                Ok(value)
            }
            Ok(Backend::Resource { group, kind, name }) => Ok(json!({"group": group, "kind": kind, "name": name})),
        }
    }

    fn is_grpc(&self, ingress: &Ingress) -> bool {
        matches!(ingress.annotation("backend-protocol"), Some("GRPC" | "GRPCS" | "grpc" | "grpcs"))
    }
}

/// Header matches of a canary, in the order in which nginx looks: who gets requests like these.
fn choices(canary: &Canary) -> Vec<(Value, bool)> {
    let header = |kind: &str, name: &str, value: &str| json!([{"type": kind, "name": name, "value": value}]);
    let mut all = Vec::new();
    if let Some(name) = &canary.header {
        match (&canary.header_value, &canary.header_pattern) {
            (Some(value), _) => all.push((header("Exact", name, value), true)),
            (None, Some(pattern)) => all.push((header("RegularExpression", name, &format!(".*(?:{pattern}).*")), true)),
            (None, None) => {
                all.push((header("Exact", name, "always"), true));
                all.push((header("Exact", name, "never"), false));
            }
        }
    }
    if let Some(name) = &canary.cookie {
        let pattern = |value: &str| format!("(?:.*;)?\\s*{}={value}\\s*(?:;.*)?", regex::escape(name));
        all.push((header("RegularExpression", "Cookie", &pattern("always")), true));
        all.push((header("RegularExpression", "Cookie", &pattern("never")), false));
    }
    all
}

fn slash((path, filter): &(Value, Value)) -> Value {
    json!({"matches": [{"path": path}], "filters": [filter]})
}
