//! GRPCRoutes, as what they are on the wire: `POST /service/method`.

use http::Method;
use regex::Regex;

use super::{
    MatchPlan,
    matches::{anchored, headers},
    unsupported,
};
use crate::{
    compile::verdict::Problem,
    table::route::PathMatcher,
    types::{
        grpcroute::{GrpcFilter, GrpcMatch, GrpcMethodMatch, GrpcRule},
        httproute::{HttpBackendRef, HttpFilter, HttpRule},
    },
};

/// Name of a service or a method, where a match leaves it open.
const ANY: &str = "[^/]+";

/// All of a rule but its matches.
pub fn as_http(rule: &GrpcRule) -> HttpRule {
    let backends = rule.backend_refs.iter().map(|reference| HttpBackendRef {
        backend: reference.backend.clone(),
        weight: reference.weight,
        filters: reference.filters.iter().map(filter).collect(),
    });
    HttpRule {
        name: rule.name.clone(),
        filters: rule.filters.iter().map(filter).collect(),
        backend_refs: backends.collect(),
        ..HttpRule::default()
    }
}

fn filter(filter: &GrpcFilter) -> HttpFilter {
    HttpFilter {
        type_: filter.type_.clone(),
        request_header_modifier: filter.request_header_modifier.clone(),
        response_header_modifier: filter.response_header_modifier.clone(),
        request_mirror: filter.request_mirror.clone(),
        extension_ref: filter.extension_ref.clone(),
        ..HttpFilter::default()
    }
}

/// The matches that can be understood, and what is wrong with the others.
pub fn matches(rule: &GrpcRule, field: &str) -> (Vec<MatchPlan>, Vec<Problem>) {
    let default = [GrpcMatch::default()];
    let all = if rule.matches.is_empty() { &default[..] } else { &rule.matches };
    let mut problems = Vec::new();
    let plans = all.iter().enumerate().filter_map(|(at, one)| {
        one_match(one, at, &format!("{field}.matches[{at}]")).map_err(|problem| problems.push(problem)).ok()
    });
    (plans.collect(), problems)
}

fn one_match(one: &GrpcMatch, order: usize, field: &str) -> Result<MatchPlan, Problem> {
    let path = match &one.method {
        Some(method) => path(method, &format!("{field}.method"))?,
        None => PathMatcher::prefix(""),
    };
    let headers = headers(&one.headers, field)?;
    Ok(MatchPlan { order, path, method: Some(Method::POST), headers, query: Vec::new() })
}

fn path(wanted: &GrpcMethodMatch, field: &str) -> Result<PathMatcher, Problem> {
    let given = |name: &'static str, value: &Option<String>| {
        value.clone().filter(|value| !value.is_empty()).map(|value| (name, value))
    };
    let (service, method) = (given("service", &wanted.service), given("method", &wanted.method));
    let exact = match wanted.type_.as_deref().unwrap_or("Exact") {
        "Exact" => true,
        "RegularExpression" => false,
        other => {
            return Err(unsupported(format!(
                "type \"{other}\" is not supported: use Exact or RegularExpression in {field}.type"
            )));
        }
    };
    if let Some((name, value)) =
        [&service, &method].into_iter().flatten().find(|(_, value)| exact && value.contains('/'))
    {
        return Err(unsupported(format!("\"{value}\" is no name for gRPC: remove the / from {field}.{name}")));
    }
    let pattern = |part: &Option<(&'static str, String)>| match part {
        None => Ok(ANY.to_owned()),
        Some((_, value)) if exact => Ok(regex::escape(value)),
        Some((name, value)) => {
            anchored(value, &format!("{field}.{name}"), Regex::new)?;
            Ok(format!("(?:{value})"))
        }
    };
    match (&service, &method) {
        (None, None) => Err(unsupported(format!("{field} names neither a service nor a method: add one"))),
        (Some((_, service)), Some((_, method))) if exact => Ok(PathMatcher::Exact(format!("/{service}/{method}"))),
        (Some((_, service)), None) if exact => Ok(PathMatcher::prefix(&format!("/{service}"))),
        _ => {
            let pattern = format!("/{}/{}", pattern(&service)?, pattern(&method)?);
            anchored(&pattern, field, Regex::new).map(PathMatcher::Regex)
        }
    }
}
