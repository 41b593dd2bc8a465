//! Filters and timeouts of one rule or one backend.

use std::{collections::HashSet, sync::Arc, time::Duration};

use http::{HeaderName, HeaderValue, Method, StatusCode, uri::Authority};

use super::{
    backends::{Backends, Client, Resolved, Upstream},
    verdict::{Problem, reason},
};
use crate::{
    table::{
        Cors, HeaderEdits, Mirror, PathEdit, Redirect, Retry, Rewrite, Timeouts,
        cors::{Allowed, Origin},
    },
    types::httproute::{self, HeaderModifier, HttpFilter, NameValue, PathModifier, RequestRedirect, UrlRewrite},
};

const SUPPORTED: [&str; 6] =
    ["RequestHeaderModifier", "ResponseHeaderModifier", "URLRewrite", "RequestRedirect", "RequestMirror", "CORS"];
/// Seconds that a browser may keep the answer to a preflight, where the filter does not say.
const MAX_AGE: u32 = 5;

/// What a list of filters comes to.
#[derive(Default, Clone)]
pub struct Filters {
    pub request_headers: HeaderEdits,
    pub response_headers: HeaderEdits,
    pub rewrite: Option<Rewrite>,
    pub redirect: Option<Redirect>,
    pub mirrors: Vec<MirrorPlan>,
    pub cors: Option<Cors>,
}

#[derive(Clone)]
pub struct MirrorPlan {
    pub to: Resolved,
    upstream: Upstream,
    numerator: u32,
    denominator: u32,
}

impl MirrorPlan {
    /// `client` is what the Gateway shows to endpoints.
    pub fn mirror(&self, client: &Client) -> Mirror {
        Mirror {
            backend: self.to.key.clone(),
            endpoints: Arc::clone(&self.upstream.endpoints),
            tls: self.upstream.tls(client),
            numerator: self.numerator,
            denominator: self.denominator,
            sent: Arc::default(),
        }
    }
}

/// Where filters stand, for messages and for what they may do there.
pub struct Place<'a> {
    pub kind: &'static str,
    pub namespace: &'a str,
    /// For example `spec.rules[0].filters`.
    pub field: &'a str,
    /// Preflights are answered before a backend is chosen: its filters have no say in them.
    pub on_backend: bool,
    /// Every match of the rule is by path prefix, so that a prefix can be replaced.
    pub by_prefix: bool,
}

/// The filters, or why requests that should have passed them must be refused. References that
/// do not resolve go to `unresolved`: only the mirrors concerned are left out.
pub fn compile(
    filters: &[HttpFilter],
    place: &Place<'_>,
    backends: &mut Backends<'_>,
    unresolved: &mut Vec<Problem>,
) -> Result<Filters, Problem> {
    let mut all = Filters::default();
    let mut seen = HashSet::new();
    for (at, filter) in filters.iter().enumerate() {
        let field = format!("{}[{at}]", place.field);
        if filter.type_ != "RequestMirror" && !seen.insert(filter.type_.as_str()) {
            let message = format!("filter {} stands twice: merge {field} into the first one", filter.type_);
            return Err(Problem::new(reason::INCOMPATIBLE_FILTERS, message));
        }
        let at = |settings: &str| format!("{field}.{settings}");
        match filter {
            HttpFilter { type_, request_header_modifier: Some(edits), .. } if type_ == "RequestHeaderModifier" => {
                all.request_headers = header_edits(edits, &at("requestHeaderModifier"))?;
            }
            HttpFilter { type_, response_header_modifier: Some(edits), .. } if type_ == "ResponseHeaderModifier" => {
                all.response_headers = header_edits(edits, &at("responseHeaderModifier"))?;
            }
            HttpFilter { type_, url_rewrite: Some(edit), .. } if type_ == "URLRewrite" => {
                all.rewrite = Some(rewrite(edit, place, &at("urlRewrite"))?);
            }
            HttpFilter { type_, request_redirect: Some(edit), .. } if type_ == "RequestRedirect" => {
                all.redirect = Some(redirect(edit, place, &at("requestRedirect"))?);
            }
            HttpFilter { type_, request_mirror: Some(edit), .. } if type_ == "RequestMirror" => {
                all.mirrors.extend(mirror(edit, place, &at("requestMirror"), backends, unresolved)?);
            }
            HttpFilter { type_, cors: Some(settings), .. } if type_ == "CORS" && !place.on_backend => {
                all.cors = Some(cors(settings, &at("cors"))?);
            }
            HttpFilter { type_, .. }
                if SUPPORTED.contains(&type_.as_str()) && !(place.on_backend && type_ == "CORS") =>
            {
                return Err(unsupported(format!("{field} has type {type_} but no settings for it: add them")));
            }
            HttpFilter { type_, .. } => {
                let message = format!("a filter of type {type_} is not supported here: remove {field}");
                return Err(unsupported(message));
            }
        }
    }
    if all.redirect.is_some() && all.rewrite.is_some() {
        let message = format!("RequestRedirect and URLRewrite exclude each other: remove one from {}", place.field);
        return Err(Problem::new(reason::INCOMPATIBLE_FILTERS, message));
    }
    Ok(all)
}

fn unsupported(message: String) -> Problem {
    Problem::new(reason::UNSUPPORTED_VALUE, message)
}

fn header_edits(edits: &HeaderModifier, field: &str) -> Result<HeaderEdits, Problem> {
    let remove = edits.remove.iter().enumerate();
    let remove =
        remove.map(|(at, name)| header_name(name, &format!("{field}.remove[{at}]"))).collect::<Result<_, _>>()?;
    Ok(HeaderEdits { set: headers(&edits.set, field, "set")?, add: headers(&edits.add, field, "add")?, remove })
}

fn headers(list: &[NameValue], field: &str, what: &str) -> Result<Vec<(HeaderName, HeaderValue)>, Problem> {
    let mut all = Vec::<(HeaderName, HeaderValue)>::new();
    for (at, header) in list.iter().enumerate() {
        let field = format!("{field}.{what}[{at}]");
        let name = header_name(&header.name, &field)?;
        let value = HeaderValue::from_str(&header.value).map_err(|_| {
            unsupported(format!("{field}.value holds characters that no header may carry: remove them"))
        })?;
        // Of several entries for one header the spec takes the first.
        if all.iter().all(|(known, _)| *known != name) {
            all.push((name, value));
        }
    }
    Ok(all)
}

pub fn header_name(name: &str, field: &str) -> Result<HeaderName, Problem> {
    HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| unsupported(format!("\"{name}\" in {field} is not the name of a header: correct it")))
}

fn rewrite(edit: &UrlRewrite, place: &Place<'_>, field: &str) -> Result<Rewrite, Problem> {
    let hostname = edit.hostname.as_ref().map(|hostname| {
        hostname
            .parse::<Authority>()
            .map_err(|_| unsupported(format!("\"{hostname}\" is no hostname: correct {field}.hostname")))
    });
    let path = edit.path.as_ref().map(|path| path_edit(path, place, &format!("{field}.path")));
    Ok(Rewrite { hostname: hostname.transpose()?, path: path.transpose()? })
}

fn redirect(edit: &RequestRedirect, place: &Place<'_>, field: &str) -> Result<Redirect, Problem> {
    let scheme = match edit.scheme.as_deref() {
        None => None,
        Some("http") => Some("http"),
        Some("https") => Some("https"),
        Some(other) => {
            return Err(unsupported(format!(
                "scheme \"{other}\" is not supported: use http or https in {field}.scheme"
            )));
        }
    };
    let code = edit.status_code.unwrap_or(302);
    let status = StatusCode::from_u16(code).ok().filter(|_| matches!(code, 301 | 302 | 303 | 307 | 308));
    let Some(status) = status else {
        return Err(unsupported(format!("{code} is no redirect: use 301, 302, 303, 307 or 308 in {field}.statusCode")));
    };
    if let Some(hostname) = edit.hostname.as_ref().filter(|hostname| hostname.parse::<Authority>().is_err()) {
        return Err(unsupported(format!("\"{hostname}\" is no hostname: correct {field}.hostname")));
    }
    let path = edit.path.as_ref().map(|path| path_edit(path, place, &format!("{field}.path"))).transpose()?;
    Ok(Redirect { scheme, hostname: edit.hostname.clone(), path, port: edit.port, status })
}

fn path_edit(edit: &PathModifier, place: &Place<'_>, field: &str) -> Result<PathEdit, Problem> {
    match (edit.type_.as_str(), &edit.replace_full_path, &edit.replace_prefix_match) {
        ("ReplaceFullPath", Some(path), None) => Ok(PathEdit::Full(path.clone())),
        ("ReplacePrefixMatch", None, Some(prefix)) if place.by_prefix => Ok(PathEdit::Prefix(prefix.clone())),
        ("ReplacePrefixMatch", None, Some(_)) => Err(unsupported(format!(
            "ReplacePrefixMatch needs path matches of type PathPrefix: change the rule's matches or {field}.type"
        ))),
        ("ReplaceFullPath" | "ReplacePrefixMatch", ..) => {
            Err(unsupported(format!("{field} must carry the one setting that its type {} names", edit.type_)))
        }
        (other, ..) => Err(unsupported(format!(
            "type \"{other}\" is not supported: use ReplaceFullPath or ReplacePrefixMatch in {field}.type"
        ))),
    }
}

fn mirror(
    edit: &httproute::RequestMirror,
    place: &Place<'_>,
    field: &str,
    backends: &mut Backends<'_>,
    unresolved: &mut Vec<Problem>,
) -> Result<Option<MirrorPlan>, Problem> {
    let (numerator, denominator) = match (edit.percent, &edit.fraction) {
        (None, None) => (1, 1),
        (Some(percent), None) => (percent, 100),
        (None, Some(fraction)) => (fraction.numerator, fraction.denominator),
        (Some(_), Some(_)) => {
            return Err(unsupported(format!("{field} has percent and fraction: remove one of them")));
        }
    };
    if denominator == 0 || numerator > denominator {
        return Err(unsupported(format!("{field} asks for {numerator} of {denominator} requests: correct it")));
    }
    let field = format!("{field}.backendRef");
    let (resolved, problem) = backends.resolve(place.kind, place.namespace, &edit.backend_ref, &field);
    unresolved.extend(problem);
    let upstream = resolved.endpoints.clone().ok().filter(|_| numerator > 0);
    Ok(upstream.map(|upstream| MirrorPlan { to: resolved, upstream, numerator, denominator }))
}

fn cors(settings: &httproute::Cors, field: &str) -> Result<Cors, Problem> {
    let origins = settings.allow_origins.iter().enumerate().map(|(at, text)| {
        Origin::parse(text).ok_or_else(|| {
            unsupported(format!(
                "\"{text}\" is no origin: write {field}.allowOrigins[{at}] like https://example.com, \
                 https://*.example.com:8443 or *"
            ))
        })
    });
    let origins = origins.collect::<Result<Vec<_>, _>>()?;
    let methods = settings.allow_methods.iter().enumerate().map(|(at, method)| {
        Method::from_bytes(method.as_bytes())
            .map(|_| method.as_str())
            .map_err(|_| unsupported(format!("\"{method}\" is no HTTP method: correct {field}.allowMethods[{at}]")))
    });
    let methods = allowed(&methods.collect::<Result<Vec<_>, _>>()?);
    let names = |list: &[String], what: &str| {
        let names = list.iter().enumerate();
        let names = names.map(|(at, name)| match name.as_str() {
            "*" => Ok("*".to_owned()),
            name => header_name(name, &format!("{field}.{what}[{at}]")).map(|_| name.to_owned()),
        });
        names.collect::<Result<Vec<_>, _>>()
    };
    let headers = names(&settings.allow_headers, "allowHeaders")?;
    let expose = names(&settings.expose_headers, "exposeHeaders")?;
    let credentials = settings.allow_credentials.unwrap_or_default();
    Ok(Cors {
        origins,
        credentials,
        methods,
        headers: allowed(&headers.iter().map(String::as_str).collect::<Vec<_>>()),
        expose: match allowed(&expose.iter().map(String::as_str).collect::<Vec<_>>()) {
            Allowed::These(names) => Some(names),
            // With credentials a browser would take the wildcard for a name.
            Allowed::Any => (!credentials).then(|| HeaderValue::from_static("*")),
            Allowed::None => None,
        },
        max_age: HeaderValue::from(settings.max_age.unwrap_or(MAX_AGE)),
    })
}

/// The list as the answer has it; its members were checked.
fn allowed(list: &[&str]) -> Allowed {
    if list.contains(&"*") {
        return Allowed::Any;
    }
    match HeaderValue::try_from(list.join(", ")) {
        Ok(value) if !list.is_empty() => Allowed::These(value),
        _ => Allowed::None,
    }
}

/// What an absent `attempts` and `backoff` stand for.
const RETRY_ATTEMPTS: u32 = 1;
const RETRY_BACKOFF: Duration = Duration::from_millis(25);
/// More would only load a backend that is in trouble.
const RETRY_ATTEMPTS_MOST: u32 = 100;

pub fn retry(retry: Option<&httproute::Retry>, field: &str) -> Result<Option<Retry>, Problem> {
    let Some(retry) = retry else { return Ok(None) };
    if let Some(code) = retry.codes.iter().find(|code| !(400..=599).contains(*code)) {
        return Err(unsupported(format!("{code} in {field}.codes is no error: use codes from 400 to 599")));
    }
    let attempts = retry.attempts.unwrap_or(RETRY_ATTEMPTS);
    if attempts == 0 || attempts > RETRY_ATTEMPTS_MOST {
        let message = format!("{field}.attempts is {attempts}: it has to be from 1 to {RETRY_ATTEMPTS_MOST}");
        return Err(unsupported(message));
    }
    let backoff = match &retry.backoff {
        None => RETRY_BACKOFF,
        Some(text) => duration(text)
            .ok_or_else(|| unsupported(format!("\"{text}\" is no duration: write {field}.backoff like 100ms")))?,
    };
    Ok(Some(Retry { codes: retry.codes.clone(), attempts, backoff }))
}

pub fn timeouts(timeouts: Option<&httproute::Timeouts>, field: &str) -> Result<Timeouts, Problem> {
    let Some(timeouts) = timeouts else { return Ok(Timeouts::default()) };
    let read = |text: Option<&String>, name: &str| match text {
        None => Ok(None),
        Some(text) => match duration(text) {
            Some(duration) => Ok(Some(duration).filter(|duration| !duration.is_zero())),
            None => Err(unsupported(format!("\"{text}\" is no duration: write {field}.{name} like 1m30s or 500ms"))),
        },
    };
    let request = read(timeouts.request.as_ref(), "request")?;
    let backend_request = read(timeouts.backend_request.as_ref(), "backendRequest")?;
    match (request, backend_request) {
        (Some(whole), Some(part)) if part > whole => Err(unsupported(format!(
            "{field}.backendRequest is longer than {field}.request, of which it is a part: shorten it"
        ))),
        _ => Ok(Timeouts { request, backend_request }),
    }
}

/// GEP-2257: up to four numbers of up to five digits, each with `h`, `m`, `s` or `ms`.
fn duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = Duration::ZERO;
    for _ in 0..4 {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = rest.split_at(digits);
        let number: u64 = number.parse().ok().filter(|_| digits <= 5)?;
        let (unit, after) = after.split_at(after.bytes().take_while(u8::is_ascii_alphabetic).count());
        total += match unit {
            "h" => Duration::from_secs(number * 3600),
            "m" => Duration::from_secs(number * 60),
            "s" => Duration::from_secs(number),
            "ms" => Duration::from_millis(number),
            _ => return None,
        };
        if after.is_empty() {
            return Some(total);
        }
        rest = after;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_of_gep_2257() {
        for (text, expected) in [
            ("1h", Some(3_600_000)),
            ("1h30m", Some(5_400_000)),
            ("1h2m3s4ms", Some(3_723_004)),
            ("500ms", Some(500)),
            ("0s", Some(0)),
            ("99999s", Some(99_999_000)),
            ("", None),
            ("1", None),
            ("s", None),
            ("1.5s", None),
            ("-1s", None),
            ("1d", None),
            ("100000s", None),
            ("1s1s1s1s1s", None),
            ("1s ", None),
        ] {
            assert_eq!(duration(text), expected.map(Duration::from_millis), "{text}");
        }
    }
}
