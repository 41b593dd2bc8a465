//! TLSRoutes, TCPRoutes and UDPRoutes: one rule each, and of several routes the oldest serves.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use http::StatusCode;

use super::{
    ParentVerdict, RouteVerdict, Verdict,
    attach::{Comer, attach},
    backends::{Backends, Resolved},
    gateways::GatewayPlan,
    hostnames,
    listeners::ListenerPlan,
    parents::Parents,
    verdict::{Problem, condition, reason, told},
};
use crate::{
    contract::SEND_PROXY_ANNOTATION,
    metrics::{Registry, SeriesKey},
    resources::{Kind, Set},
    table::{Picker, ProxyHeader, RouteId, StreamBackend, StreamRule, Target},
    types::{
        Key, Object,
        refs::{ParentRef, RouteStatus},
        stream::{StreamRouteSpec, StreamRule as RuleSpec, TlsRouteSpec},
    },
};

/// Largest weight that the API allows.
const MAX_WEIGHT: u32 = 1_000_000;

/// What the three kinds have in common.
pub trait Spec {
    fn parent_refs(&self) -> &[ParentRef];
    fn hostnames(&self) -> &[String];
    fn rules(&self) -> &[RuleSpec];
}

impl Spec for StreamRouteSpec {
    fn parent_refs(&self) -> &[ParentRef] {
        &self.parent_refs
    }

    fn hostnames(&self) -> &[String] {
        &[]
    }

    fn rules(&self) -> &[RuleSpec] {
        &self.rules
    }
}

impl Spec for TlsRouteSpec {
    fn parent_refs(&self) -> &[ParentRef] {
        &self.parent_refs
    }

    fn hostnames(&self) -> &[String] {
        &self.hostnames
    }

    fn rules(&self) -> &[RuleSpec] {
        &self.rules
    }
}

pub struct Streams<'c, 'a> {
    pub set: &'a Set,
    pub parents: &'c Parents,
    pub gateways: &'c mut [GatewayPlan<'a>],
    pub backends: &'c mut Backends<'a>,
    pub registry: &'c Registry,
}

/// A rule before it is known which listeners serve it.
struct RulePlan {
    name: Option<String>,
    backends: Vec<(u32, Resolved, Option<ProxyHeader>)>,
}

#[derive(Default)]
struct Problems {
    invalid: Vec<Problem>,
    unresolved: Vec<Problem>,
}

impl Streams<'_, '_> {
    /// Puts the routes into the listeners that take them. The result has the routes that name a
    /// parent of ours, with a verdict for each of these parents.
    pub fn compile<S: Spec>(
        &mut self,
        kind: Kind,
        routes: &BTreeMap<Key, Arc<Object<S, RouteStatus>>>,
    ) -> BTreeMap<Key, RouteVerdict> {
        // A listener gives each hostname to one route: the oldest, then the first by name.
        let mut all: Vec<_> = routes.iter().collect();
        all.sort_by_key(|(key, route)| (super::created(&route.metadata), *key));
        let mut verdicts = BTreeMap::new();
        for (key, route) in all {
            let ours = self.parents.ours(&key.namespace, route.spec.parent_refs());
            if !ours.is_empty() {
                let parents = self.one(kind.name(), key, &route.spec, &ours);
                verdicts.insert(key.clone(), RouteVerdict { generation: route.generation(), parents });
            }
        }
        verdicts
    }

    fn one(
        &mut self,
        kind: &'static str,
        key: &Key,
        spec: &impl Spec,
        parents: &[(&ParentRef, usize)],
    ) -> Vec<ParentVerdict> {
        let mut problems = Problems::default();
        let plan = self.plan(kind, key, spec, &mut problems);
        let hostnames: Vec<_> = spec.hostnames().iter().map(|hostname| hostnames::normal(hostname)).collect();
        let comer = Comer { kind, key, hostnames: &hostnames };
        let mut served = HashSet::new();
        let mut verdicts = Vec::new();
        for (parent, gateway) in parents {
            let listeners = &mut self.gateways[*gateway].listeners;
            let attachment = attach(self.set, listeners, parent, &comer);
            // A rule that is not valid takes no listener from a route whose rule is.
            let attached = attachment.attached.iter().filter(|_| problems.invalid.is_empty());
            for (at, hostnames) in attached {
                // A listener may be reached by two parentRefs; it serves the route once.
                if !served.insert((*gateway, *at)) {
                    continue;
                }
                let listener = &mut listeners[*at];
                listener.attached_routes += 1;
                if !listener.is_servable() {
                    continue;
                }
                let rule = Arc::new(plan.rule(kind, key, listener, self.backends.turn(), self.registry));
                for hostname in hostnames {
                    listener.streams.entry(hostname.clone()).or_insert_with(|| Arc::clone(&rule));
                }
            }
            let conditions = conditions(attachment.refused, &problems);
            verdicts.push(ParentVerdict { parent: (*parent).clone(), conditions });
        }
        verdicts
    }

    fn plan(&mut self, kind: &'static str, key: &Key, spec: &impl Spec, problems: &mut Problems) -> RulePlan {
        let mut plan = RulePlan { name: None, backends: Vec::new() };
        let Some(rule) = spec.rules().first() else {
            let message = "the route has no rule: add one to spec.rules";
            problems.invalid.push(Problem::new(reason::UNSUPPORTED_VALUE, message));
            return plan;
        };
        plan.name = rule.name.clone();
        if spec.rules().len() > 1 {
            let message = format!("a {kind} has one rule: move spec.rules[1] to a route of its own");
            problems.invalid.push(Problem::new(reason::UNSUPPORTED_VALUE, message));
            return plan;
        }
        for (at, reference) in rule.backend_refs.iter().enumerate() {
            let field = format!("spec.rules[0].backendRefs[{at}]");
            let weight = reference.weight.unwrap_or(1);
            if weight > MAX_WEIGHT {
                let message = format!("weight {weight} is above {MAX_WEIGHT}: lower {field}.weight");
                problems.invalid.push(Problem::new(reason::UNSUPPORTED_VALUE, message));
                plan.backends.clear();
                return plan;
            }
            let (mut resolved, unresolved) = self.backends.resolve(kind, &key.namespace, &reference.backend, &field);
            let proxy = match self.proxy_header(&resolved.key).filter(|_| unresolved.is_none()) {
                Some(Err(problem)) => {
                    resolved.endpoints = Err((StatusCode::INTERNAL_SERVER_ERROR, "the Service is annotated wrongly"));
                    problems.unresolved.push(problem);
                    None
                }
                Some(Ok(version)) => Some(version),
                None => None,
            };
            problems.unresolved.extend(unresolved);
            plan.backends.push((weight, resolved, proxy));
        }
        plan
    }
}

impl Streams<'_, '_> {
    /// What the Service wants its connections to begin with.
    fn proxy_header(&self, service: &Key) -> Option<Result<ProxyHeader, Problem>> {
        let annotations = self.set.services.get(service)?.metadata.annotations.as_ref()?;
        Some(match annotations.get(SEND_PROXY_ANNOTATION)?.as_str() {
            "v1" => Ok(ProxyHeader::V1),
            "v2" => Ok(ProxyHeader::V2),
            other => {
                let message = format!(
                    "annotation {SEND_PROXY_ANNOTATION} of Service \"{}\" in namespace \"{}\" is \"{other}\": set it \
                     to v1 or v2",
                    service.name, service.namespace
                );
                Err(Problem::new(reason::UNSUPPORTED_PROTOCOL_BACKEND, message))
            }
        })
    }
}

fn conditions(refused: Option<Problem>, problems: &Problems) -> Vec<Verdict> {
    let accepted = match (refused, problems.invalid.first()) {
        (Some(problem), _) => Verdict::no(condition::ACCEPTED, problem.reason, problem.message),
        (None, Some(first)) => Verdict::no(condition::ACCEPTED, first.reason, told(&problems.invalid)),
        (None, None) => Verdict::yes(condition::ACCEPTED, reason::ACCEPTED, "the route is attached"),
    };
    let resolved = match problems.unresolved.first() {
        Some(first) => Verdict::no(condition::RESOLVED_REFS, first.reason, told(&problems.unresolved)),
        None => Verdict::yes(condition::RESOLVED_REFS, reason::RESOLVED_REFS, "all references resolve"),
    };
    vec![accepted, resolved]
}

impl RulePlan {
    fn rule(
        &self,
        kind: &'static str,
        key: &Key,
        listener: &ListenerPlan<'_>,
        turn: u64,
        registry: &Registry,
    ) -> StreamRule {
        let labels = SeriesKey {
            route_kind: kind.to_owned(),
            route_namespace: key.namespace.clone(),
            route: key.name.clone(),
            rule: "0".to_owned(),
            ..listener.labels()
        };
        let backends = self.backends.iter().map(|(weight, resolved, proxy)| {
            let series = registry.series(SeriesKey {
                backend_namespace: resolved.key.namespace.clone(),
                backend: resolved.key.name.clone(),
                backend_port: resolved.port.to_string(),
                ..labels.clone()
            });
            let target = match &resolved.endpoints {
                Ok(upstream) => Target::Endpoints(Arc::clone(&upstream.endpoints)),
                Err((status, why)) => Target::Fail(*status, why),
            };
            (*weight, StreamBackend { key: resolved.key.clone(), port: resolved.port, target, proxy: *proxy, series })
        });
        StreamRule {
            route: RouteId { kind, key: key.clone(), rule: 0, rule_name: self.name.clone() },
            backends: Picker::starting(turn, backends),
            unserved: registry.series(labels),
        }
    }
}
