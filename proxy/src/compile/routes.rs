//! HTTPRoutes and GRPCRoutes: their rules, and what each parent has to hear about them.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use http::{HeaderName, Method, StatusCode};

use super::{
    ParentVerdict, RouteVerdict, Verdict,
    attach::{Attachment, Comer, attach},
    backends::{Backends, Client, Resolved},
    filters::{Filters, MirrorPlan},
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
        Backend, Outcome, Picker, Redirect, Retry, Rewrite, RouteId, RouteMatch, Rule, Target, Timeouts,
        route::{PathMatcher, ValueMatcher},
    },
    types::{GrpcRoute, HttpRoute, Key, grpcroute::GrpcRule, httproute::HttpRule, refs::ParentRef},
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

/// A route of either kind.
#[derive(Clone, Copy)]
enum Route<'a> {
    Http(&'a HttpRoute),
    Grpc(&'a GrpcRoute),
}

impl<'a> Route<'a> {
    fn kind(self) -> &'static str {
        match self {
            Self::Http(_) => HTTP,
            Self::Grpc(_) => GRPC,
        }
    }

    fn parents(self) -> &'a [ParentRef] {
        match self {
            Self::Http(route) => &route.spec.parent_refs,
            Self::Grpc(route) => &route.spec.parent_refs,
        }
    }

    fn hostnames(self) -> &'a [String] {
        match self {
            Self::Http(route) => &route.spec.hostnames,
            Self::Grpc(route) => &route.spec.hostnames,
        }
    }

    fn created(self) -> i64 {
        match self {
            Self::Http(route) => super::created(&route.metadata),
            Self::Grpc(route) => super::created(&route.metadata),
        }
    }

    fn generation(self) -> i64 {
        match self {
            Self::Http(route) => route.generation(),
            Self::Grpc(route) => route.generation(),
        }
    }

    fn rules(self, key: &Key, backends: &mut Backends<'_>) -> (Vec<RulePlan>, Problems) {
        let mut planner = Planner { kind: self.kind(), key, backends, problems: Problems::default() };
        let field = |at: usize| format!("spec.rules[{at}]");
        let plans = match self {
            Self::Http(route) => {
                // What the API server fills in when there is no rule.
                let default = [HttpRule::default()];
                let rules = if route.spec.rules.is_empty() { &default[..] } else { &route.spec.rules };
                let plans = rules.iter().enumerate();
                plans.map(|(at, rule)| planner.plan(rule, matches::matches(rule, &field(at)), &field(at))).collect()
            }
            Self::Grpc(route) => {
                let default = [GrpcRule::default()];
                let rules = if route.spec.rules.is_empty() { &default[..] } else { &route.spec.rules };
                let plans = rules.iter().enumerate();
                let plan = |(at, rule)| planner.plan(&grpc::as_http(rule), grpc::matches(rule, &field(at)), &field(at));
                plans.map(plan).collect()
            }
        };
        (plans, planner.problems)
    }
}

/// What was found out about all routes of a kind.
type RouteVerdicts = BTreeMap<Key, RouteVerdict>;

/// Puts the routes into the listeners that take them. The result has the HTTPRoutes and the
/// GRPCRoutes that name a parent of ours, with a verdict for each of these parents.
pub fn compile<'a>(
    set: &Set,
    parents: &Parents,
    gateways: &mut [GatewayPlan<'a>],
    backends: &mut Backends<'a>,
    registry: &Registry,
) -> (RouteVerdicts, RouteVerdicts) {
    let http = set.http_routes.iter().map(|(key, route)| (key, Route::Http(route)));
    let grpc = set.grpc_routes.iter().map(|(key, route)| (key, Route::Grpc(route)));
    let mut all: Vec<_> = http.chain(grpc).map(|(key, route)| (route.created(), key, route)).collect();
    // Where the two kinds want the same host of a listener, the older route has it.
    all.sort_by(|(created, key, _), (others, other, _)| {
        created.cmp(others).then_with(|| slashed(key).cmp(slashed(other)))
    });
    let (mut http_routes, mut grpc_routes) = (RouteVerdicts::new(), RouteVerdicts::new());
    for (created, key, route) in all {
        let ours = parents.ours(&key.namespace, route.parents());
        if !ours.is_empty() {
            let mut placing = Placing { set, key, route, created, gateways, backends, registry };
            let verdict = RouteVerdict { generation: route.generation(), parents: placing.place(&ours) };
            match route {
                Route::Http(_) => http_routes.insert(key.clone(), verdict),
                Route::Grpc(_) => grpc_routes.insert(key.clone(), verdict),
            };
        }
    }
    (http_routes, grpc_routes)
}

/// The bytes of `namespace/name`, by which the spec orders.
fn slashed(key: &Key) -> impl Iterator<Item = u8> + '_ {
    key.namespace.bytes().chain([b'/']).chain(key.name.bytes())
}

/// One route on its way to its parents.
struct Placing<'p, 'a> {
    set: &'p Set,
    key: &'p Key,
    route: Route<'p>,
    created: i64,
    gateways: &'p mut [GatewayPlan<'a>],
    backends: &'p mut Backends<'a>,
    registry: &'p Registry,
}

impl Placing<'_, '_> {
    fn place(&mut self, parents: &[(&ParentRef, usize)]) -> Vec<ParentVerdict> {
        let kind = self.route.kind();
        let (rules, problems) = self.route.rules(self.key, self.backends);
        let hostnames: Vec<_> = self.route.hostnames().iter().map(|hostname| hostnames::normal(hostname)).collect();
        let comer = Comer { kind, key: self.key, hostnames: &hostnames };
        let mut served = HashSet::new();
        let mut verdicts = Vec::new();
        for (parent, at) in parents {
            let gateway = &mut self.gateways[*at];
            let mut attachment = attach(self.set, &gateway.listeners, parent, &comer);
            give_way(&mut attachment, &gateway.listeners, kind);
            for (listener_at, hostnames) in &attachment.attached {
                // A listener may be reached by two parentRefs; it serves the route once.
                if !served.insert((*at, *listener_at)) {
                    continue;
                }
                let listener = &mut gateway.listeners[*listener_at];
                listener.attached_routes += 1;
                listener.held.take(kind, hostnames);
                if !listener.is_servable() {
                    continue;
                }
                let context = Context { kind, key: self.key, turn: self.backends.turn(), registry: self.registry };
                for (index, plan) in rules.iter().enumerate() {
                    let rule = Arc::new(plan.rule(index, listener, &gateway.client, &context));
                    for hostname in hostnames {
                        let matches = listener.routes.entry(hostname.clone()).or_default();
                        matches.extend(plan.matches.iter().map(|one| one.route_match(&rule, self.created)));
                    }
                }
            }
            if !attachment.attached.is_empty() {
                let services = rules.iter().flat_map(RulePlan::services);
                services.for_each(|service| self.backends.policies.reached(service, gateway.key));
            }
            let conditions = conditions(attachment.refused, &problems, rules.len());
            verdicts.push(ParentVerdict { parent: (*parent).clone(), conditions });
        }
        verdicts
    }
}

/// A host of a listener belongs to routes of one kind: leaves out listeners where routes of the
/// other kind came first.
fn give_way(attachment: &mut Attachment, listeners: &[ListenerPlan<'_>], kind: &'static str) {
    let mut taken = None;
    attachment.attached.retain(|(at, hostnames)| match listeners[*at].held.by_another(kind, hostnames) {
        Some(by) => {
            taken = Some(by);
            false
        }
        None => true,
    });
    if let (Some((other, hostname)), true) = (taken, attachment.attached.is_empty()) {
        let hostname = if hostname.is_empty() { "any hostname".to_owned() } else { format!("\"{hostname}\"") };
        let message = format!(
            "older routes of kind {other} have {hostname} on these listeners, and a host serves {HTTP}s or {GRPC}s, not \
             both: use another hostname or listener"
        );
        attachment.refused = Some(Problem::new(reason::HOSTNAME_CONFLICT, message));
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
    turn: u64,
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
        let Context { kind, key, turn, registry } = *context;
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
                Outcome::Forward(Picker::starting(turn, backends))
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
