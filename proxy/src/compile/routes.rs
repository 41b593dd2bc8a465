//! HTTPRoutes: their rules, and what each parent has to hear about them.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use http::{Method, StatusCode};
use regex::{Regex, bytes::Regex as BytesRegex};

use super::{
    ParentVerdict, RouteVerdict, Verdict,
    attach::{Comer, attach},
    backends::{Backends, Resolved},
    filters::{self, Filters, Place},
    gateways::GatewayPlan,
    hostnames,
    listeners::ListenerPlan,
    parents::Parents,
    verdict::{Problem, condition, reason, told},
};
use crate::{
    metrics::{Registry, Series, SeriesKey},
    resources::Set,
    table::{
        Backend, Outcome, Picker, Redirect, RouteId, RouteMatch, Rule, Target, Timeouts,
        route::{PathMatcher, ValueMatcher},
    },
    types::{
        HttpRoute, Key,
        httproute::{HttpBackendRef, HttpMatch, HttpRule, NameValueMatch},
        refs::ParentRef,
    },
};

const KIND: &str = "HTTPRoute";
/// Largest weight that the API allows; sums of it stay far from overflow.
const MAX_WEIGHT: u32 = 1_000_000;

/// A rule before it is known which listeners serve it.
struct RulePlan {
    name: Option<String>,
    matches: Vec<MatchPlan>,
    filters: Filters,
    timeouts: Timeouts,
    outcome: OutcomePlan,
}

struct MatchPlan {
    order: usize,
    path: PathMatcher,
    method: Option<Method>,
    headers: Vec<(http::HeaderName, ValueMatcher)>,
    query: Vec<(String, ValueMatcher)>,
}

enum OutcomePlan {
    Forward(Vec<(u32, Resolved, Filters)>),
    Redirect(Redirect),
    Respond(&'static str),
}

/// What is wrong with a route, whoever its parents are.
#[derive(Default)]
struct Problems {
    invalid: Vec<Problem>,
    unresolved: Vec<Problem>,
    /// Rules of which nothing can work.
    dropped: usize,
}

/// Puts the routes into the listeners that take them. The result has the routes that name a
/// parent of ours, with a verdict for each of these parents.
pub fn compile(
    set: &Set,
    parents: &Parents,
    gateways: &mut [GatewayPlan<'_>],
    backends: &mut Backends<'_>,
    registry: &Registry,
) -> BTreeMap<Key, RouteVerdict> {
    let mut verdicts = BTreeMap::new();
    for (key, route) in &set.http_routes {
        let ours = parents.ours(&key.namespace, &route.spec.parent_refs);
        if !ours.is_empty() {
            verdicts.insert(key.clone(), one(set, key, route, &ours, gateways, backends, registry));
        }
    }
    verdicts
}

fn one(
    set: &Set,
    key: &Key,
    route: &HttpRoute,
    parents: &[(&ParentRef, usize)],
    gateways: &mut [GatewayPlan<'_>],
    backends: &mut Backends<'_>,
    registry: &Registry,
) -> RouteVerdict {
    let (rules, problems) = rules(key, route, backends);
    let created = super::created(&route.metadata);
    let hostnames: Vec<_> = route.spec.hostnames.iter().map(|hostname| hostnames::normal(hostname)).collect();
    let comer = Comer { kind: KIND, key, hostnames: &hostnames };
    let mut served = HashSet::new();
    let mut verdicts = Vec::new();
    for (parent, gateway) in parents {
        let listeners = &mut gateways[*gateway].listeners;
        let attachment = attach(set, listeners, parent, &comer);
        for (at, hostnames) in &attachment.attached {
            // A listener may be reached by two parentRefs; it serves the route once.
            if !served.insert((*gateway, *at)) {
                continue;
            }
            let listener = &mut listeners[*at];
            listener.attached_routes += 1;
            if !listener.is_servable() {
                continue;
            }
            for (index, plan) in rules.iter().enumerate() {
                let rule = Arc::new(plan.rule(key, index, listener, backends.turn(), registry));
                for hostname in hostnames {
                    let matches = listener.routes.entry(hostname.clone()).or_default();
                    matches.extend(plan.matches.iter().map(|one| one.route_match(&rule, created)));
                }
            }
        }
        let conditions = conditions(attachment.refused, &problems, rules.len());
        verdicts.push(ParentVerdict { parent: (*parent).clone(), conditions });
    }
    RouteVerdict { generation: route.generation(), parents: verdicts }
}

fn conditions(refused: Option<Problem>, problems: &Problems, rules: usize) -> Vec<Verdict> {
    let all_dropped = problems.dropped > 0 && problems.dropped == rules;
    let dropped = problems.invalid.first();
    let accepted = match (refused, dropped) {
        (Some(problem), _) => Verdict::no(condition::ACCEPTED, problem.reason, problem.message),
        (None, Some(first)) if all_dropped => Verdict::no(condition::ACCEPTED, first.reason, told(&problems.invalid)),
        _ => Verdict::yes(condition::ACCEPTED, reason::ACCEPTED, "the route is attached"),
    };
    let resolved = match problems.unresolved.first() {
        Some(first) => Verdict::no(condition::RESOLVED_REFS, first.reason, told(&problems.unresolved)),
        None => Verdict::yes(condition::RESOLVED_REFS, reason::RESOLVED_REFS, "all references resolve"),
    };
    // The spec asks for these first words.
    let partly = dropped.filter(|_| accepted.status).map(|first| {
        let message = format!("Dropped Rule: {}", told(&problems.invalid));
        Verdict::yes(condition::PARTIALLY_INVALID, first.reason, message)
    });
    [accepted, resolved].into_iter().chain(partly).collect()
}

fn rules(key: &Key, route: &HttpRoute, backends: &mut Backends<'_>) -> (Vec<RulePlan>, Problems) {
    let mut problems = Problems::default();
    // What the API server fills in when there is no rule.
    let default = [HttpRule::default()];
    let rules = if route.spec.rules.is_empty() { &default[..] } else { &route.spec.rules };
    let plans = rules.iter().enumerate().map(|(at, rule)| plan(key, rule, at, backends, &mut problems)).collect();
    (plans, problems)
}

fn plan(key: &Key, rule: &HttpRule, index: usize, backends: &mut Backends<'_>, problems: &mut Problems) -> RulePlan {
    let field = format!("spec.rules[{index}]");
    let (matches, bad_matches) = matches(rule, &field);
    let nothing_matches = matches.is_empty();
    problems.invalid.extend(bad_matches);
    let by_prefix = matches.iter().all(|one| matches!(one.path, PathMatcher::Prefix(_)));
    let place = Place {
        kind: KIND,
        namespace: &key.namespace,
        field: &format!("{field}.filters"),
        on_backend: false,
        by_prefix,
    };
    let filters = filters::compile(&rule.filters, &place, backends, &mut problems.unresolved);
    let timeouts = filters::timeouts(rule.timeouts.as_ref(), &format!("{field}.timeouts"));
    let name = rule.name.clone();
    let (filters, timeouts) = match (filters, timeouts) {
        (Ok(filters), Ok(timeouts)) => (filters, timeouts),
        (filters, timeouts) => {
            // A filter is never skipped: its requests get an error instead.
            problems.invalid.extend(filters.err().into_iter().chain(timeouts.err()));
            problems.dropped += 1;
            let outcome = OutcomePlan::Respond("the rule has a filter or timeout that is not valid");
            return RulePlan { name, matches, filters: Filters::default(), timeouts: Timeouts::default(), outcome };
        }
    };
    let dropped_before = problems.dropped;
    let outcome = match outcome(key, rule, &field, by_prefix, &filters, backends, problems) {
        Ok(outcome) => outcome,
        Err(problem) => {
            problems.invalid.push(problem);
            problems.dropped += 1;
            return RulePlan {
                name,
                matches,
                filters: Filters::default(),
                timeouts,
                outcome: OutcomePlan::Respond("the rule is not valid"),
            };
        }
    };
    if nothing_matches && problems.dropped == dropped_before {
        problems.dropped += 1;
    }
    RulePlan { name, matches, filters, timeouts, outcome }
}

fn outcome(
    key: &Key,
    rule: &HttpRule,
    field: &str,
    by_prefix: bool,
    filters: &Filters,
    backends: &mut Backends<'_>,
    problems: &mut Problems,
) -> Result<OutcomePlan, Problem> {
    if let Some(redirect) = &filters.redirect {
        if !rule.backend_refs.is_empty() {
            let message = format!("a rule that redirects sends nothing to backends: remove {field}.backendRefs");
            return Err(Problem::new(reason::INCOMPATIBLE_FILTERS, message));
        }
        return Ok(OutcomePlan::Redirect(redirect.clone()));
    }
    let mut weighted = Vec::new();
    let mut invalid = Vec::new();
    for (at, reference) in rule.backend_refs.iter().enumerate() {
        let field = format!("{field}.backendRefs[{at}]");
        let weight = reference.weight.unwrap_or(1);
        if weight > MAX_WEIGHT {
            let message = format!("weight {weight} is above {MAX_WEIGHT}: lower {field}.weight");
            return Err(Problem::new(reason::UNSUPPORTED_VALUE, message));
        }
        let (resolved, filters) = backend(key, reference, &field, by_prefix, backends, problems, &mut invalid);
        weighted.push((weight, resolved, filters));
    }
    if !invalid.is_empty() && invalid.len() == rule.backend_refs.len() {
        problems.dropped += 1;
    }
    problems.invalid.append(&mut invalid);
    Ok(match weighted.iter().any(|(weight, ..)| *weight > 0) {
        true => OutcomePlan::Forward(weighted),
        false if weighted.is_empty() => OutcomePlan::Respond("the rule has no backendRefs"),
        // The spec leaves this open; like a rule without backends, it has nowhere to send.
        false => OutcomePlan::Respond("all backendRefs of the rule have weight 0"),
    })
}

/// A backend whose filters are not valid keeps its share and answers it with errors.
fn backend(
    key: &Key,
    reference: &HttpBackendRef,
    field: &str,
    by_prefix: bool,
    backends: &mut Backends<'_>,
    problems: &mut Problems,
    invalid: &mut Vec<Problem>,
) -> (Resolved, Filters) {
    let (mut resolved, unresolved) = backends.resolve(KIND, &key.namespace, &reference.backend, field);
    problems.unresolved.extend(unresolved);
    let place = Place {
        kind: KIND,
        namespace: &key.namespace,
        field: &format!("{field}.filters"),
        on_backend: true,
        by_prefix,
    };
    let filters = filters::compile(&reference.filters, &place, backends, &mut problems.unresolved);
    let filters = filters.unwrap_or_else(|problem| {
        invalid.push(problem);
        resolved.endpoints = Err((StatusCode::INTERNAL_SERVER_ERROR, "the backend has a filter that is not valid"));
        Filters::default()
    });
    (resolved, filters)
}

/// The matches that can be understood, and what is wrong with the others.
fn matches(rule: &HttpRule, field: &str) -> (Vec<MatchPlan>, Vec<Problem>) {
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
    let mut headers = Vec::<(http::HeaderName, ValueMatcher)>::new();
    for (at, header) in one.headers.iter().enumerate() {
        let field = format!("{field}.headers[{at}]");
        let name = filters::header_name(&header.name, &format!("{field}.name"))?;
        let value = value(header, &field)?;
        // Of several entries for one header or parameter the spec takes the first.
        if headers.iter().all(|(known, _)| *known != name) {
            headers.push((name, value));
        }
    }
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
fn anchored<R>(pattern: &str, field: &str, make: fn(&str) -> Result<R, regex::Error>) -> Result<R, Problem> {
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

fn unsupported(message: String) -> Problem {
    Problem::new(reason::UNSUPPORTED_VALUE, message)
}

impl MatchPlan {
    fn route_match(&self, rule: &Arc<Rule>, created: i64) -> RouteMatch {
        RouteMatch {
            path: self.path.clone(),
            method: self.method.clone(),
            headers: self.headers.clone(),
            query: self.query.clone(),
            rule: Arc::clone(rule),
            created,
            order: self.order,
        }
    }
}

impl RulePlan {
    fn rule(&self, key: &Key, index: usize, listener: &ListenerPlan<'_>, turn: u64, registry: &Registry) -> Rule {
        let labels = SeriesKey {
            route_kind: KIND.to_owned(),
            route_namespace: key.namespace.clone(),
            route: key.name.clone(),
            rule: index.to_string(),
            ..listener.labels()
        };
        let outcome = match &self.outcome {
            OutcomePlan::Forward(weighted) => {
                let backends = weighted.iter().map(|(weight, resolved, filters)| {
                    let series = registry.series(SeriesKey {
                        backend_namespace: resolved.key.namespace.clone(),
                        backend: resolved.key.name.clone(),
                        backend_port: resolved.port.to_string(),
                        ..labels.clone()
                    });
                    (*weight, backend_of(resolved, filters, series))
                });
                Outcome::Forward(Picker::starting(turn, backends))
            }
            OutcomePlan::Redirect(redirect) => Outcome::Redirect(Box::new(redirect.clone()), registry.series(labels)),
            OutcomePlan::Respond(why) => {
                Outcome::Respond(StatusCode::INTERNAL_SERVER_ERROR, why, registry.series(labels))
            }
        };
        Rule {
            route: RouteId { kind: KIND, key: key.clone(), rule: index, rule_name: self.name.clone() },
            request_headers: self.filters.request_headers.clone(),
            response_headers: self.filters.response_headers.clone(),
            rewrite: self.filters.rewrite.clone(),
            mirrors: self.filters.mirrors.iter().map(filters::MirrorPlan::mirror).collect(),
            timeouts: self.timeouts,
            outcome,
        }
    }
}

fn backend_of(resolved: &Resolved, filters: &Filters, series: Arc<Series>) -> Backend {
    Backend {
        key: resolved.key.clone(),
        port: resolved.port,
        target: match &resolved.endpoints {
            Ok(endpoints) => Target::Endpoints(Arc::clone(endpoints)),
            Err((status, why)) => Target::Fail(*status, why),
        },
        request_headers: filters.request_headers.clone(),
        response_headers: filters.response_headers.clone(),
        rewrite: filters.rewrite.clone(),
        mirrors: filters.mirrors.iter().map(filters::MirrorPlan::mirror).collect(),
        series,
    }
}
