//! From nginx locations to path matches: what is equal, what comes close, what cannot be said.

use regex::Regex;
use serde_json::{Value, json};

use super::{
    ingress::PathKind,
    nginx::{Location, Server},
};

/// How one location is said in the Gateway API.
#[derive(Debug, Clone, PartialEq)]
pub struct Said {
    pub matches: Vec<Value>,
    /// `urlRewrite.path`.
    pub rewrite: Option<Value>,
    /// Rules of their own for single paths, with the filter that they need.
    pub extra: Vec<(Value, Value)>,
    /// What differs; empty where nothing does.
    pub differs: Vec<&'static str>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Refused {
    /// Another location takes every request of this one.
    Shadowed(String),
    Manual {
        reason: String,
        todo: &'static str,
    },
}

pub const CASE: &str = "nginx compares this path without regard to case, the Gateway API with";
pub const WHOLE_WORDS: &str =
    "nginx takes whatever begins with these characters, a PathPrefix ends at a slash (/foo does not take /foobar)";
pub const BARE: &str = "nginx does not take the path without its slash, a PathPrefix does";
pub const ANY_EXPRESSION: &str = "regular expressions and their order are up to the implementation";

pub fn path_match(kind: &str, value: &str) -> Value {
    json!({"type": kind, "value": value})
}

fn prefix(path: &str) -> Value {
    let bare = path.trim_end_matches('/');
    path_match("PathPrefix", if bare.is_empty() { "/" } else { bare })
}

/// Text without anything that a regular expression gives a meaning, but for dots.
fn literal(path: &str) -> bool {
    !path.is_empty() && path.chars().all(|c| c.is_ascii_alphanumeric() || "/-_.~%@:,!&=;'".contains(c))
}

/// A value that the schema takes for a path.
fn sayable(path: &str) -> bool {
    let segments = ["//", "/./", "/../", "%2f", "%2F", "#"];
    let characters = |c: char| c.is_ascii_alphanumeric() || "/-._~!$&'()*+,;=:@%".contains(c);
    path.starts_with('/')
        && path.chars().all(characters)
        && !segments.iter().any(|bad| path.contains(bad))
        && !path.ends_with("/..")
        && !path.ends_with("/.")
}

/// The prefix that a location of a regular expression server comes to, and how it is rewritten.
enum Form<'a> {
    /// `p(/|$)(.*)`: whole words.
    Words(&'a str),
    /// `p/(.*)`.
    Below(&'a str),
    /// `p` without anything special: the beginning of a text.
    Start(&'a str),
    Expression,
}

fn form(path: &str) -> Form<'_> {
    for tail in ["(/|$)(.*)", "(/|$)(.*)$", "(?:/|$)(.*)", "(/|$)"] {
        if let Some(p) = path.strip_suffix(tail)
            && (p.is_empty() || literal(p))
        {
            return Form::Words(p);
        }
    }
    for tail in ["/(.*)", "/(.*)$", "/.*"] {
        if let Some(p) = path.strip_suffix(tail)
            && (p.is_empty() || literal(p))
        {
            return Form::Below(p);
        }
    }
    if literal(path) { Form::Start(path) } else { Form::Expression }
}

/// Whether every location of a regular expression server is a prefix in disguise.
fn all_prefixes(server: &Server) -> bool {
    server.locations.iter().all(|one| !matches!(form(&one.path), Form::Expression))
}

fn covers(path: &str) -> Option<(String, bool)> {
    match form(path) {
        Form::Words(p) => Some((p.to_ascii_lowercase(), true)),
        Form::Below(p) => Some((format!("{}/", p.to_ascii_lowercase()), false)),
        Form::Start(p) => Some((p.to_ascii_lowercase(), false)),
        Form::Expression => None,
    }
}

/// Whether everything that `later` takes is taken by `earlier` before.
fn shadows(earlier: &str, later: &str) -> bool {
    let (Some((a, words)), Some((b, _))) = (covers(earlier), covers(later)) else { return earlier == later };
    match b.strip_prefix(a.as_str()) {
        Some(rest) if words => {
            rest.starts_with('/') || (rest.is_empty() && covers(later).is_some_and(|(_, words)| words))
        }
        Some(_) => true,
        None => false,
    }
}

pub fn say(server: &Server, location: &Location) -> Result<Said, Refused> {
    let mut said = if server.regex { say_regex(server, location) } else { say_plain(server, location) }?;
    // Where `/a` and `/a/` are two locations, what is below the slash is the longer one's.
    let below = format!("{}/", location.path);
    let raw = server.regex || location.kind == PathKind::ImplementationSpecific;
    let other = |one: &Location| one.path == below && (server.regex || one.kind != PathKind::Exact);
    let strips = said.rewrite.as_ref().is_some_and(|rewrite| rewrite["type"] == "ReplacePrefixMatch");
    if raw
        && !strips
        && said.matches == [path_match("PathPrefix", &location.path)]
        && server.locations.iter().any(other)
    {
        said.matches = vec![path_match("Exact", &location.path)];
    }
    let bad = said
        .matches
        .iter()
        .chain(said.extra.iter().map(|(path, _)| path))
        .find(|one| one["type"] != "RegularExpression" && !one["value"].as_str().is_some_and(sayable));
    match bad {
        Some(one) => Err(Refused::Manual {
            reason: format!("the Gateway API takes no path such as {}", one["value"]),
            todo: "write the path as clients send it; an expression takes use-regex, without which nginx compares it as plain text",
        }),
        None => Ok(said),
    }
}

fn say_plain(server: &Server, location: &Location) -> Result<Said, Refused> {
    let path = location.path.as_str();
    let plain = |matches| Ok(Said { matches, rewrite: None, extra: Vec::new(), differs: Vec::new() });
    if path == "/" {
        return plain(vec![if location.kind == PathKind::Exact { path_match("Exact", path) } else { prefix(path) }]);
    }
    let exact = location.kind == PathKind::Exact;
    let matches = vec![if exact { path_match("Exact", path) } else { prefix(path) }];
    let mut said = Said { matches, rewrite: None, extra: Vec::new(), differs: Vec::new() };
    if let Some(bare) = path.strip_suffix('/') {
        // nginx sends the bare path to the one with a slash, unless somebody serves it.
        let first = server.locations.iter().find(|one| one.path == path).is_some_and(|one| std::ptr::eq(one, location));
        if first && !server.locations.iter().any(|one| one.path == bare) {
            let filter = json!({"type": "RequestRedirect", "requestRedirect": {
                "path": {"type": "ReplaceFullPath", "replaceFullPath": path}, "statusCode": 301}});
            said.extra.push((path_match("Exact", bare), filter));
        }
    } else if location.kind == PathKind::ImplementationSpecific {
        said.differs.push(WHOLE_WORDS);
    }
    Ok(said)
}

fn say_regex(server: &Server, location: &Location) -> Result<Said, Refused> {
    let path = location.path.as_str();
    if let Err(error) = location.pattern() {
        return Err(Refused::Manual {
            reason: format!(
                "{path:?} is no regular expression that can be read: {}",
                error.lines().last().unwrap_or_default().trim()
            ),
            todo: "correct the path, or split it into prefixes",
        });
    }
    let earlier = server.in_order().into_iter().take_while(|one| !std::ptr::eq(*one, location));
    for one in earlier {
        if shadows(&one.path, path) {
            return Err(Refused::Shadowed(format!(
                "{} comes first on this host, because nginx tries the longest text first, and takes every request of {path}",
                one.path
            )));
        }
    }
    let mut said = Said { matches: Vec::new(), rewrite: None, extra: Vec::new(), differs: Vec::new() };
    let target = location.rewrite.as_deref();
    let strips = target.and_then(|target| strip(path, target));
    let start = |said: &mut Said, p: &str| {
        said.matches.push(prefix(p));
        if p != "/" {
            said.differs.push(CASE);
            said.differs.push(if p.ends_with('/') { BARE } else { WHOLE_WORDS });
        }
    };
    match (form(path), strips, target) {
        // The forms that strip a prefix and put another one in its place.
        (Form::Words(p) | Form::Below(p), Some(new), _) => {
            let words = matches!(form(path), Form::Words(_));
            said.matches.push(prefix(if p.is_empty() { "/" } else { p }));
            let new = if new.is_empty() { "/" } else { new };
            said.rewrite = Some(json!({"type": "ReplacePrefixMatch", "replacePrefixMatch": new}));
            if !p.is_empty() {
                said.differs.push(CASE);
            }
            if !words && !p.is_empty() {
                said.differs.push(BARE);
            } else if words && new != "/" && !p.is_empty() {
                // The bare path gets the slash that stands in the target.
                let filter = json!({"type": "URLRewrite", "urlRewrite": {"path": {
                    "type": "ReplaceFullPath", "replaceFullPath": format!("{}/", new.trim_end_matches('/'))}}});
                said.extra.push((path_match("Exact", p), filter));
            }
        }
        (form, None, Some(target)) if !target.contains('$') => {
            if !target.starts_with('/') || target.contains('?') {
                return Err(Refused::Manual {
                    reason: format!("rewrite-target {target:?} is more than a path"),
                    todo: "use RequestRedirect for another site; let the service read the query",
                });
            }
            match form {
                Form::Words(p) => {
                    said.matches.push(prefix(if p.is_empty() { "/" } else { p }));
                    said.differs.push(CASE);
                }
                Form::Below(p) => {
                    said.matches.push(prefix(if p.is_empty() { "/" } else { p }));
                    said.differs.push(CASE);
                    said.differs.push(BARE);
                }
                Form::Start(p) => start(&mut said, p),
                Form::Expression => expression(&mut said, path),
            }
            said.rewrite = Some(json!({"type": "ReplaceFullPath", "replaceFullPath": target}));
        }
        (_, _, Some(target)) => {
            return Err(Refused::Manual {
                reason: format!(
                    "{target:?} puts parts of {path:?} together, and the standard can only replace a prefix or the whole path"
                ),
                todo: "split the path into prefixes, let the service read the outer path, or use an implementation that rewrites by expression",
            });
        }
        (_, _, None) if !all_prefixes(server) => expression(&mut said, path),
        (Form::Words(p), _, None) => {
            said.matches.push(prefix(if p.is_empty() { "/" } else { p }));
            if !p.is_empty() {
                said.differs.push(CASE);
            }
        }
        (Form::Below(p), _, None) => {
            said.matches.push(prefix(if p.is_empty() { "/" } else { p }));
            if !p.is_empty() {
                said.differs.extend([CASE, BARE]);
            }
        }
        (Form::Start(p), _, None) => start(&mut said, p),
        (Form::Expression, ..) => expression(&mut said, path),
    }
    Ok(said)
}

fn expression(said: &mut Said, path: &str) {
    if path == "/" {
        said.matches.push(prefix("/"));
        return;
    }
    let open = if path.ends_with('$') || path.ends_with(".*") { "" } else { ".*" };
    said.matches.push(path_match("RegularExpression", &format!("(?i){}{open}", path.trim_start_matches('^'))));
    said.differs.push(ANY_EXPRESSION);
}

/// The prefix that a target puts where the path's own was: `/` for `/$2` on `p(/|$)(.*)`.
fn strip<'t>(path: &str, target: &'t str) -> Option<&'t str> {
    let last = Regex::new(path).ok()?.captures_len() - 1;
    if !path.contains("(.*)") {
        return None;
    }
    let new = target.strip_suffix(&format!("${last}"))?;
    let new = new.strip_suffix('/')?;
    (!new.contains(['$', '?']) && (new.is_empty() || new.starts_with('/'))).then_some(new)
}
