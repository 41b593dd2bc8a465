//! TLSRoutes, TCPRoutes and UDPRoutes: one rule each, and of several routes the oldest serves.

use std::sync::Arc;

use super::{
    Verdict,
    backends::{Client, Resolved},
    listeners::ListenerPlan,
    memory::{KnownRoute, RouteRef},
    placing::Placing,
    verdict::{Problem, condition, reason, told},
};
use crate::{
    metrics::{Registry, SeriesKey},
    table::{Picker, RouteId, Start, StreamBackend, StreamRule, Target},
    types::{Key, stream::StreamRule as RuleSpec},
};

/// Largest weight that the API allows.
const MAX_WEIGHT: u32 = 1_000_000;

/// A rule before it is known which listeners serve it.
struct RulePlan {
    name: Option<String>,
    backends: Vec<(u32, Resolved)>,
}

#[derive(Default)]
struct Problems {
    invalid: Vec<Problem>,
    unresolved: Vec<Problem>,
}

impl Placing<'_, '_> {
    /// Conditions for each of its parents. Of the routes that come to a hostname of a listener
    /// the first by [`Rank`](super::memory::Rank) has it.
    pub fn put_stream(
        &mut self,
        reference: &RouteRef,
        known: &mut KnownRoute,
        rules: &[RuleSpec],
    ) -> Vec<Vec<Verdict>> {
        let (kind, key) = (reference.0.name(), &reference.1);
        let mut problems = Problems::default();
        let plan = self.plan(kind, key, rules, &mut problems);
        let mut told = Vec::with_capacity(known.parents.len());
        for (parent, (at, attachment)) in known.parents.iter().enumerate() {
            told.push(conditions(attachment.refused.clone(), &problems));
            let Some(gateway) = self.gateways.get(*at) else { continue };
            // A rule that is not valid takes no listener from a route whose rule is.
            let attached = attachment.attached.iter().filter(|_| problems.invalid.is_empty());
            for (listener_at, hostnames) in attached {
                let place = (*at, *listener_at);
                // A listener may be reached by two parentRefs; it serves the route once.
                if known.placed.iter().any(|(other, _)| *other == place) {
                    continue;
                }
                let Some(listener) = gateway.listeners.get(*listener_at) else { continue };
                known.placed.push((place, parent));
                let placed = self.last.places.entry(place).or_default();
                placed.attached += 1;
                if !listener.is_servable() {
                    continue;
                }
                let rule =
                    Arc::new(plan.rule((kind, key), listener, &gateway.client, self.backends.start(), self.registry));
                placed.streams_changed = true;
                for hostname in hostnames {
                    let rank = (reference.0, known.created, key.clone());
                    placed.streams.entry(hostname.clone()).or_default().insert(rank, Arc::clone(&rule));
                }
            }
        }
        told
    }

    fn plan(&mut self, kind: &'static str, key: &Key, rules: &[RuleSpec], problems: &mut Problems) -> RulePlan {
        let mut plan = RulePlan { name: None, backends: Vec::new() };
        let Some(rule) = rules.first() else {
            let message = "the route has no rule: add one to spec.rules";
            problems.invalid.push(Problem::new(reason::UNSUPPORTED_VALUE, message));
            return plan;
        };
        plan.name = rule.name.clone();
        if rules.len() > 1 {
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
            let (resolved, unresolved) = self.backends.resolve(kind, &key.namespace, &reference.backend, &field);
            problems.unresolved.extend(unresolved);
            plan.backends.push((weight, resolved));
        }
        plan
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
        (kind, key): (&'static str, &Key),
        listener: &ListenerPlan<'_>,
        client: &Client,
        start: Start,
        registry: &Registry,
    ) -> StreamRule {
        let labels = SeriesKey {
            route_kind: kind.to_owned(),
            route_namespace: key.namespace.clone(),
            route: key.name.clone(),
            rule: "0".to_owned(),
            ..listener.labels()
        };
        let backends = self.backends.iter().map(|(weight, resolved)| {
            let series = registry.series(SeriesKey {
                backend_namespace: resolved.key.namespace.clone(),
                backend: resolved.key.name.clone(),
                backend_port: resolved.port.to_string(),
                ..labels.clone()
            });
            let reached = resolved.endpoints.clone().and_then(|upstream| {
                // What stays encrypted has TLS of its own.
                let tls = if listener.tls.is_some() { upstream.stream_tls(client)? } else { None };
                Ok((Target::Endpoints(upstream.endpoints), tls))
            });
            let (target, tls) = reached.unwrap_or_else(|(status, why)| (Target::Fail(status, why), None));
            (*weight, StreamBackend { key: resolved.key.clone(), port: resolved.port, target, tls, series })
        });
        StreamRule {
            route: RouteId { kind, key: key.clone(), rule: 0, rule_name: self.name.clone() },
            backends: Picker::starting(start, backends),
            unserved: registry.series(labels),
        }
    }
}
