//! What requests a rule takes.

use http::{HeaderName, Method};
use regex::{Regex, bytes::Regex as BytesRegex};

use super::{MatchPlan, unsupported};
use crate::{
    compile::{filters, verdict::Problem},
    table::route::{PathMatcher, ValueMatcher},
    types::httproute::{HttpMatch, HttpRule, NameValueMatch},
};

/// The matches that can be understood, and what is wrong with the others.
pub fn matches(rule: &HttpRule, field: &str) -> (Vec<MatchPlan>, Vec<Problem>) {
    // What the API server fills in when there is no match.
    let default = [HttpMatch::default()];
    let all = if rule.matches.is_empty() { &default[..] } else { &rule.matches };
    let mut problems = Vec::new();
    let plans = all.iter().enumerate().filter_map(|(at, one)| {
        one_match(one, at, &format!("{field}.matches[{at}]")).map_err(|problem| problems.push(problem)).ok()
    });
    (plans.collect(), problems)
}

fn one_match(one: &HttpMatch, order: usize, field: &str) -> Result<MatchPlan, Problem> {
    let method = one.method.as_ref().map(|method| {
        Method::from_bytes(method.as_bytes())
            .map_err(|_| unsupported(format!("\"{method}\" is no HTTP method: correct {field}.method")))
    });
    let headers = headers(&one.headers, field)?;
    let mut query = Vec::<(String, ValueMatcher)>::new();
    for (at, parameter) in one.query_params.iter().enumerate() {
        let value = value(parameter, &format!("{field}.queryParams[{at}]"))?;
        if query.iter().all(|(known, _)| *known != parameter.name) {
            query.push((parameter.name.clone(), value));
        }
    }
    Ok(MatchPlan { order, path: path(one, field)?, method: method.transpose()?, headers, query })
}

fn path(one: &HttpMatch, field: &str) -> Result<PathMatcher, Problem> {
    let wanted = one.path.as_ref();
    let type_ = wanted.and_then(|path| path.type_.as_deref()).unwrap_or("PathPrefix");
    let value = wanted.and_then(|path| path.value.as_deref()).unwrap_or("/");
    let field = format!("{field}.path");
    match type_ {
        "Exact" | "PathPrefix" if !value.starts_with('/') => {
            Err(unsupported(format!("path \"{value}\" does not begin with /: correct {field}.value")))
        }
        "Exact" => Ok(PathMatcher::Exact(value.to_owned())),
        "PathPrefix" => Ok(PathMatcher::prefix(value)),
        "RegularExpression" => anchored(value, &format!("{field}.value"), Regex::new).map(PathMatcher::Regex),
        other => Err(unsupported(format!(
            "type \"{other}\" is not supported: use Exact, PathPrefix or RegularExpression in {field}.type"
        ))),
    }
}

pub fn headers(wanted: &[NameValueMatch], field: &str) -> Result<Vec<(HeaderName, ValueMatcher)>, Problem> {
    let mut headers = Vec::<(HeaderName, ValueMatcher)>::new();
    for (at, header) in wanted.iter().enumerate() {
        let field = format!("{field}.headers[{at}]");
        let name = filters::header_name(&header.name, &format!("{field}.name"))?;
        let value = value(header, &field)?;
        // Of several entries for one header or parameter the spec takes the first.
        if headers.iter().all(|(known, _)| *known != name) {
            headers.push((name, value));
        }
    }
    Ok(headers)
}

fn value(wanted: &NameValueMatch, field: &str) -> Result<ValueMatcher, Problem> {
    match wanted.type_.as_deref().unwrap_or("Exact") {
        "Exact" => Ok(ValueMatcher::Exact(wanted.value.clone())),
        "RegularExpression" => {
            anchored(&wanted.value, &format!("{field}.value"), BytesRegex::new).map(ValueMatcher::Regex)
        }
        other => Err(unsupported(format!(
            "type \"{other}\" is not supported: use Exact or RegularExpression in {field}.type"
        ))),
    }
}

/// Patterns match whole values, as with Envoy. The bare pattern is tried first: `a)|(b` would
/// be balanced by the anchors' parentheses, and the message has to show what its reader wrote.
pub fn anchored<R>(pattern: &str, field: &str, make: fn(&str) -> Result<R, regex::Error>) -> Result<R, Problem> {
    make(pattern).and_then(|_| make(&format!("^(?:{pattern})$"))).map_err(|error| {
        let why = match error {
            regex::Error::CompiledTooBig(limit) => format!("it needs more than {limit} bytes"),
            error => {
                let text = error.to_string();
                text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
            }
        };
        unsupported(format!("\"{pattern}\" is no regular expression ({why}): correct {field}"))
    })
}
