//! HTTPRoutes and GRPCRoutes: their rules, and what each parent has to hear about them.

use std::sync::Arc;

use http::{HeaderName, Method, StatusCode};

use super::{
    Verdict,
    backends::{Backends, Client, Resolved},
    filters::{Filters, MirrorPlan},
    listeners::ListenerPlan,
    memory::{KnownRoute, RouteRef},
    placing::{Placing, Route},
    rivals,
    verdict::{Problem, condition, reason, told},
};
use crate::{
    metrics::{Registry, Series, SeriesKey},
    table::{
        Backend, Outcome, Picker, Redirect, Retry, Rewrite, RouteId, RouteMatch, Rule, Start, Target, Timeouts,
        route::{PathMatcher, ValueMatcher},
    },
    types::{Key, grpcroute::GrpcRule, httproute::HttpRule},
};

mod grpc;
mod matches;
mod plan;

use plan::Planner;

const HTTP: &str = "HTTPRoute";
const GRPC: &str = "GRPCRoute";

/// A rule before it is known which listeners serve it.
struct RulePlan {
    name: Option<String>,
    matches: Vec<MatchPlan>,
    filters: Filters,
    timeouts: Timeouts,
    retry: Option<Retry>,
    outcome: OutcomePlan,
}

struct MatchPlan {
    order: usize,
    path: PathMatcher,
    method: Option<Method>,
    headers: Vec<(HeaderName, ValueMatcher)>,
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

fn rules(route: Route<'_>, key: &Key, backends: &mut Backends<'_>) -> (Vec<RulePlan>, Problems) {
    let mut planner = Planner { kind: HTTP, key, backends, problems: Problems::default() };
    let field = |at: usize| format!("spec.rules[{at}]");
    let plans = match route {
        Route::Http(route) => {
            // What the API server fills in when there is no rule.
            let default = [HttpRule::default()];
            let rules = if route.spec.rules.is_empty() { &default[..] } else { &route.spec.rules };
            let plans = rules.iter().enumerate();
            plans.map(|(at, rule)| planner.plan(rule, matches::matches(rule, &field(at)), &field(at))).collect()
        }
        Route::Grpc(route) => {
            planner.kind = GRPC;
            let default = [GrpcRule::default()];
            let rules = if route.spec.rules.is_empty() { &default[..] } else { &route.spec.rules };
            let plans = rules.iter().enumerate();
            let plan = |(at, rule)| planner.plan(&grpc::as_http(rule), grpc::matches(rule, &field(at)), &field(at));
            plans.map(plan).collect()
        }
        Route::Tls(_) | Route::Stream(_) => Vec::new(),
    };
    (plans, planner.problems)
}

impl Placing<'_, '_> {
    /// Conditions for each of its parents.
    pub fn put_requests(
        &mut self,
        reference: &RouteRef,
        known: &mut KnownRoute,
        route: Route<'_>,
    ) -> Vec<Vec<Verdict>> {
        let (kind, key) = (reference.0.name(), &reference.1);
        let (rules, problems) = rules(route, key, self.backends);
        let context = Context { kind, key, start: self.backends.start(), registry: self.registry };
        let mut told = Vec::with_capacity(known.parents.len());
        for (parent, (at, attachment)) in known.parents.iter().enumerate() {
            let lost = self.lost(reference, parent).cloned().unwrap_or_default();
            let mut refused = attachment.refused.clone();
            if let Some(to) = lost.to.as_ref().filter(|_| lost.listeners.len() == attachment.attached.len()) {
                refused = Some(rivals::problem(to));
            }
            told.push(conditions(refused, &problems, rules.len()));
            let Some(gateway) = self.gateways.get(*at) else { continue };
            for (listener_at, hostnames) in &attachment.attached {
                let place = (*at, *listener_at);
                // A listener may be reached by two parentRefs; it serves the route once.
                if lost.listeners.contains(listener_at) || known.placed.iter().any(|(other, _)| *other == place) {
                    continue;
                }
                let Some(listener) = gateway.listeners.get(*listener_at) else { continue };
                known.placed.push((place, parent));
                self.last.places.entry(place).or_default().attached += 1;
                if !listener.is_servable() {
                    continue;
                }
                let brought = self.brought.entry(place).or_default();
                for (index, plan) in rules.iter().enumerate() {
                    let rule = Arc::new(plan.rule(index, listener, &gateway.client, &context));
                    for hostname in hostnames {
                        let matches = brought.entry(hostname.clone()).or_default();
                        matches.extend(plan.matches.iter().map(|one| one.route_match(&rule, known.created)));
                    }
                }
            }
        }
        known.sends = rules.iter().flat_map(RulePlan::services).cloned().collect();
        told
    }
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

/// What all rules of a route have in common when they are made.
struct Context<'c> {
    kind: &'static str,
    key: &'c Key,
    start: Start,
    registry: &'c Registry,
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
    /// Services that requests may be sent to, copies included.
    fn services(&self) -> impl Iterator<Item = &Key> {
        let weighted: &[_] = match &self.outcome {
            OutcomePlan::Forward(weighted) => weighted,
            OutcomePlan::Redirect(_) | OutcomePlan::Respond(_) => &[],
        };
        let mirrors = self.filters.mirrors.iter().chain(weighted.iter().flat_map(|(.., filters)| &filters.mirrors));
        let backends = weighted.iter().map(|(_, resolved, _)| resolved).chain(mirrors.map(|mirror| &mirror.to));
        backends.filter(|resolved| resolved.found).map(|resolved| &resolved.key)
    }

    fn rule(&self, index: usize, listener: &ListenerPlan<'_>, client: &Client, context: &Context<'_>) -> Rule {
        let Context { kind, key, start, registry } = *context;
        let labels = SeriesKey {
            route_kind: kind.to_owned(),
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
                    (*weight, self.backend(resolved, filters, client, series))
                });
                Outcome::Forward(Picker::starting(start, backends))
            }
            OutcomePlan::Redirect(redirect) => Outcome::Redirect(Box::new(redirect.clone())),
            OutcomePlan::Respond(why) => Outcome::Respond(StatusCode::INTERNAL_SERVER_ERROR, why),
        };
        Rule {
            route: RouteId { kind, key: key.clone(), rule: index, rule_name: self.name.clone() },
            request_headers: self.filters.request_headers.clone(),
            response_headers: self.filters.response_headers.clone(),
            mirrors: mirrors(&self.filters, client),
            cors: self.filters.cors.clone().map(Box::new),
            timeouts: self.timeouts,
            retry: self.retry.clone().map(Box::new),
            outcome,
            series: registry.series(labels),
        }
    }

    fn backend(&self, resolved: &Resolved, filters: &Filters, client: &Client, series: Arc<Series>) -> Backend {
        let (target, tls) = match &resolved.endpoints {
            Ok(upstream) => (Target::Endpoints(Arc::clone(&upstream.endpoints)), upstream.tls(client)),
            Err((status, why)) => (Target::Fail(*status, why), None),
        };
        Backend {
            key: resolved.key.clone(),
            port: resolved.port,
            target,
            redirect: filters.redirect.clone().map(Box::new),
            tls,
            request_headers: filters.request_headers.clone(),
            response_headers: filters.response_headers.clone(),
            rewrite: rewrite(self.filters.rewrite.as_ref(), filters.rewrite.as_ref()),
            mirrors: mirrors(filters, client),
            series,
        }
    }
}

fn mirrors(filters: &Filters, client: &Client) -> Vec<crate::table::Mirror> {
    filters.mirrors.iter().map(|mirror: &MirrorPlan| mirror.mirror(client)).collect()
}

/// The rule's, but where the backend says something of its own.
fn rewrite(rule: Option<&Rewrite>, backend: Option<&Rewrite>) -> Option<Rewrite> {
    match (rule, backend) {
        (None, None) => None,
        (Some(one), None) | (None, Some(one)) => Some(one.clone()),
        (Some(rule), Some(backend)) => Some(Rewrite {
            hostname: backend.hostname.clone().or_else(|| rule.hostname.clone()),
            path: backend.path.clone().or_else(|| rule.path.clone()),
        }),
    }
}

fn unsupported(message: String) -> Problem {
    Problem::new(reason::UNSUPPORTED_VALUE, message)
}
