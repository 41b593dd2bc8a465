//! Annotations of one Ingress that become filters and timeouts.

use serde_json::{Value, json};

use super::Conversion;
use crate::migrate::{
    ingress::{Ingress, annotation_field},
    report::{Note, Outcome},
};

/// Filters that every rule of the Ingress has; each annotation is told where it went.
pub fn of(all: &mut Conversion<'_>, ingress: &Ingress) -> Vec<Value> {
    let mut filters = Vec::new();
    if ingress.on("enable-cors") && all.options.profile.cors {
        filters.push(json!({"type": "CORS", "cors": cors(ingress)}));
    }
    if let Some(reference) = mirror(ingress) {
        filters.push(json!({"type": "RequestMirror", "requestMirror": {"backendRef": reference}}));
    }
    for name in ["configuration-snippet", "server-snippet"] {
        if let Some(Ok(edits)) = ingress.annotation(name).map(snippet) {
            filters.extend(edits);
        }
    }
    filters
}

fn list(value: &str) -> Vec<String> {
    value.split(',').map(str::trim).filter(|one| !one.is_empty()).map(str::to_owned).collect()
}

fn cors(ingress: &Ingress) -> Value {
    let or = |name: &str, default: &str| list(ingress.annotation(name).unwrap_or(default));
    let mut origins = or("cors-allow-origin", "*");
    if origins.iter().any(|origin| origin == "*") {
        origins = vec!["*".to_owned()];
    }
    let headers =
        "DNT,Keep-Alive,User-Agent,X-Requested-With,If-Modified-Since,Cache-Control,Content-Type,Range,Authorization";
    let mut methods = or("cors-allow-methods", "GET, PUT, POST, DELETE, PATCH, OPTIONS");
    methods.truncate(9);
    let max_age = ingress.annotation("cors-max-age").and_then(|age| age.parse().ok()).filter(|age| *age > 0_u32);
    let mut cors = json!({
        "allowOrigins": origins,
        "allowCredentials": ingress.flag("cors-allow-credentials").unwrap_or(true),
        "allowMethods": methods,
        "allowHeaders": or("cors-allow-headers", headers),
        "maxAge": max_age.unwrap_or(1_728_000),
    });
    let expose = or("cors-expose-headers", "");
    if !expose.is_empty() {
        cors["exposeHeaders"] = json!(expose);
    }
    cors
}

/// The Service that `mirror-target` names by its name in the cluster.
pub fn mirror(ingress: &Ingress) -> Option<Value> {
    let target = ingress.annotation("mirror-target")?;
    let rest = target.strip_prefix("http://")?.strip_suffix("$request_uri")?.trim_end_matches('/');
    let (host, port) = rest.split_once(':').unwrap_or((rest, "80"));
    let mut parts = host.split('.');
    let (name, namespace) = (parts.next()?, parts.next()?);
    if parts.next() != Some("svc") {
        return None;
    }
    let mut reference = json!({"name": name, "port": port.parse::<u16>().ok()?});
    if namespace != ingress.namespace {
        return None;
    }
    reference["kind"] = json!("Service");
    Some(reference)
}

/// Header modifiers that a snippet comes to, or the line that is more than a fixed header.
pub fn snippet(text: &str) -> Result<Vec<Value>, String> {
    let (mut response, mut request) = (Vec::new(), Vec::new());
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let refused = || line.to_owned();
        let body = line.strip_suffix(';').ok_or_else(refused)?.trim();
        if body.contains(['$', '{', ';']) {
            return Err(refused());
        }
        let (verb, rest) = body.split_once(char::is_whitespace).ok_or_else(refused)?;
        let rest = rest.trim().trim_end_matches(" always").trim();
        let bare = |text: &str| text.trim().trim_matches(['"', '\'']).to_owned();
        let (name, value) = match verb {
            "more_set_headers" | "more_set_input_headers" => {
                let whole = bare(rest);
                let (name, value) = whole.split_once(':').ok_or_else(refused)?;
                (name.trim().to_owned(), value.trim().to_owned())
            }
            "add_header" | "proxy_set_header" => {
                let (name, value) = rest.split_once(char::is_whitespace).ok_or_else(refused)?;
                (bare(name), bare(value))
            }
            _ => return Err(refused()),
        };
        let token = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
        if name.is_empty() || value.is_empty() || !name.chars().all(token) {
            return Err(refused());
        }
        let edit = json!({"name": name, "value": value});
        match verb {
            "more_set_headers" => response.push(("set", edit)),
            "add_header" => response.push(("add", edit)),
            _ => request.push(("set", edit)),
        }
    }
    let mut filters = Vec::new();
    for (kind, field, edits) in [
        ("RequestHeaderModifier", "requestHeaderModifier", request),
        ("ResponseHeaderModifier", "responseHeaderModifier", response),
    ] {
        let mut body = json!({});
        for (verb, edit) in edits {
            match body[verb].as_array_mut() {
                Some(list) => list.push(edit),
                None => body[verb] = json!([edit]),
            }
        }
        if body != json!({}) {
            filters.push(json!({"type": kind, field: body}));
        }
    }
    Ok(filters)
}

/// One modifier of each kind: the API takes no second one.
pub fn merged(filters: Vec<Value>) -> Vec<Value> {
    let mut out: Vec<Value> = Vec::new();
    for filter in filters {
        let kind = filter["type"].as_str().unwrap_or_default().to_owned();
        let field = match kind.as_str() {
            "RequestHeaderModifier" => "requestHeaderModifier",
            "ResponseHeaderModifier" => "responseHeaderModifier",
            _ => {
                out.push(filter);
                continue;
            }
        };
        let Some(known) = out.iter_mut().find(|one| one["type"] == kind.as_str()) else {
            out.push(filter);
            continue;
        };
        for verb in ["set", "add"] {
            for edit in filter[field][verb].as_array().into_iter().flatten() {
                match known[field][verb].as_array_mut() {
                    Some(list) => {
                        // The later one wins, as the later directive does.
                        list.retain(|one| one["name"] != edit["name"]);
                        list.push(edit.clone());
                    }
                    None => known[field][verb] = json!([edit]),
                }
            }
        }
    }
    out
}

pub fn add_response_header(mut rule: Value, name: &str, value: &str) -> Value {
    if rule.get("backendRefs").is_none() {
        return rule;
    }
    let filter =
        json!({"type": "ResponseHeaderModifier", "responseHeaderModifier": {"set": [{"name": name, "value": value}]}});
    let mut filters = rule["filters"].as_array().cloned().unwrap_or_default();
    filters.push(filter);
    rule["filters"] = json!(merged(filters));
    rule
}

/// Where a redirect annotation sends to.
pub fn redirect(to: &str, code: u16) -> Result<Value, String> {
    let mut edit = json!({});
    let rest = if let Some(rest) = to.strip_prefix("https://") {
        edit["scheme"] = json!("https");
        Some(rest)
    } else if let Some(rest) = to.strip_prefix("http://") {
        edit["scheme"] = json!("http");
        Some(rest)
    } else {
        to.strip_prefix("$scheme://")
    };
    let (authority, path) = match rest {
        Some(rest) => match rest.find(['/', '$', '?']) {
            Some(0) => return Err(format!("{to:?} names no fixed host")),
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        },
        None if to.starts_with('/') => ("", to),
        None => return Err(format!("{to:?} is no URL that a RequestRedirect can say")),
    };
    if !authority.is_empty() {
        let (host, port) = match authority.split_once(':') {
            Some((host, port)) => {
                (host, Some(port.parse::<u16>().map_err(|_| format!("{port:?} in {to:?} is no port"))?))
            }
            None => (authority, None),
        };
        edit["hostname"] = json!(host.to_ascii_lowercase());
        if let Some(port) = port {
            edit["port"] = json!(port);
        }
    }
    match path {
        "$request_uri" => {}
        path if path.contains(['$', '?', '#']) => {
            return Err(format!("{to:?} puts a path together, or carries a query"));
        }
        path => {
            let path = if path.is_empty() { "/" } else { path };
            edit["path"] = json!({"type": "ReplaceFullPath", "replaceFullPath": path});
        }
    }
    edit["statusCode"] = json!(code);
    Ok(json!({"type": "RequestRedirect", "requestRedirect": edit}))
}

/// `timeouts` of a rule: the longer of what nginx waits between two reads or writes.
pub fn timeouts(all: &mut Conversion<'_>, ingress: &Ingress) -> Option<Value> {
    let seconds =
        |name: &str| ingress.annotation(name).and_then(|value| value.trim_end_matches('s').parse::<u64>().ok());
    let names = ["proxy-read-timeout", "proxy-send-timeout"];
    let longest = names.iter().filter_map(|name| seconds(name)).max()?;
    let at = all.input.ingresses.iter().position(|one| std::ptr::eq(one, ingress));
    for name in names.iter().filter(|name| ingress.annotation(name).is_some()) {
        let note = if all.options.profile.timeouts && (1..=99_999).contains(&longest) {
            Note::new(
                Outcome::Approximate,
                format!("HTTPRoute timeouts.request: {longest}s"),
                "nginx bounds the pause between two reads or writes, the Gateway API the whole request: longer answers and streams are cut",
                "raise timeouts.request where answers may take longer, or remove it",
            )
        } else {
            Note::new(
                Outcome::Manual,
                "",
                "the implementation has no timeouts.request",
                "use a policy of the implementation",
            )
        };
        if let Some(at) = at {
            all.notes[at].add(annotation_field(name), note);
        }
    }
    (all.options.profile.timeouts && (1..=99_999).contains(&longest)).then(|| json!({"request": format!("{longest}s")}))
}
