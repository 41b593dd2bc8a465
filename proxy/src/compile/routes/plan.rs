//! Rules: what becomes of the requests that they take.

use http::StatusCode;

use super::{MatchPlan, OutcomePlan, Problems, RulePlan};
use crate::{
    compile::{
        backends::{Backends, Resolved},
        filters::{self, Filters, Place},
        verdict::{Problem, reason},
    },
    table::{Timeouts, route::PathMatcher},
    types::{
        Key,
        httproute::{HttpBackendRef, HttpRule},
    },
};

/// Largest weight that the API allows; sums of it stay far from overflow.
const MAX_WEIGHT: u32 = 1_000_000;

/// The rules of a route whose kind reads its matches in its own way.
pub struct Planner<'p, 'a> {
    pub kind: &'static str,
    pub key: &'p Key,
    pub backends: &'p mut Backends<'a>,
    pub problems: Problems,
}

impl Planner<'_, '_> {
    /// `matches` are those that can be understood, and what is wrong with the others.
    pub fn plan(
        &mut self,
        rule: &HttpRule,
        (matches, bad_matches): (Vec<MatchPlan>, Vec<Problem>),
        field: &str,
    ) -> RulePlan {
        let nothing_matches = matches.is_empty();
        self.problems.invalid.extend(bad_matches);
        let by_prefix = matches.iter().all(|one| matches!(one.path, PathMatcher::Prefix(_)));
        let filters = self.filters(rule, field, by_prefix);
        let timeouts = filters::timeouts(rule.timeouts.as_ref(), &format!("{field}.timeouts"));
        let retry = filters::retry(rule.retry.as_ref(), &format!("{field}.retry"));
        let mut plan = RulePlan {
            name: rule.name.clone(),
            matches,
            filters: Filters::default(),
            timeouts: Timeouts::default(),
            retry: None,
            outcome: OutcomePlan::Respond("the rule is not valid"),
        };
        match (filters, timeouts, retry) {
            (Ok(filters), Ok(timeouts), Ok(retry)) => {
                (plan.filters, plan.timeouts, plan.retry) = (filters, timeouts, retry);
            }
            (filters, timeouts, retry) => {
                // A filter is never skipped: its requests get an error instead.
                let why = [filters.err(), timeouts.err(), retry.err()];
                self.problems.invalid.extend(why.into_iter().flatten());
                self.problems.dropped += 1;
                plan.outcome = OutcomePlan::Respond("the rule has a filter or timeout that is not valid");
                return plan;
            }
        }
        let dropped_before = self.problems.dropped;
        match self.outcome(rule, field, by_prefix, &plan.filters) {
            Ok(outcome) => plan.outcome = outcome,
            Err(problem) => {
                self.problems.invalid.push(problem);
                self.problems.dropped += 1;
                plan.filters = Filters::default();
                return plan;
            }
        }
        if nothing_matches && self.problems.dropped == dropped_before {
            self.problems.dropped += 1;
        }
        plan
    }

    fn filters(&mut self, rule: &HttpRule, field: &str, by_prefix: bool) -> Result<Filters, Problem> {
        let place = Place {
            kind: self.kind,
            namespace: &self.key.namespace,
            field: &format!("{field}.filters"),
            on_backend: false,
            by_prefix,
        };
        filters::compile(&rule.filters, &place, self.backends, &mut self.problems.unresolved)
    }

    fn outcome(
        &mut self,
        rule: &HttpRule,
        field: &str,
        by_prefix: bool,
        filters: &Filters,
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
            let (resolved, filters) = self.backend(reference, &field, by_prefix, &mut invalid);
            weighted.push((weight, resolved, filters));
        }
        if !invalid.is_empty() && invalid.len() == rule.backend_refs.len() {
            self.problems.dropped += 1;
        }
        self.problems.invalid.append(&mut invalid);
        Ok(match weighted.iter().any(|(weight, ..)| *weight > 0) {
            true => OutcomePlan::Forward(weighted),
            false if weighted.is_empty() => OutcomePlan::Respond("the rule has no backendRefs"),
            // The spec leaves this open; like a rule without backends, it has nowhere to send.
            false => OutcomePlan::Respond("all backendRefs of the rule have weight 0"),
        })
    }

    /// A backend whose filters are not valid keeps its share and answers it with errors.
    fn backend(
        &mut self,
        reference: &HttpBackendRef,
        field: &str,
        by_prefix: bool,
        invalid: &mut Vec<Problem>,
    ) -> (Resolved, Filters) {
        let namespace = &self.key.namespace;
        let (mut resolved, unresolved) = self.backends.resolve(self.kind, namespace, &reference.backend, field);
        self.problems.unresolved.extend(unresolved);
        let place =
            Place { kind: self.kind, namespace, field: &format!("{field}.filters"), on_backend: true, by_prefix };
        let filters = filters::compile(&reference.filters, &place, self.backends, &mut self.problems.unresolved);
        let filters = filters.unwrap_or_else(|problem| {
            invalid.push(problem);
            resolved.endpoints = Err((StatusCode::INTERNAL_SERVER_ERROR, "the backend has a filter that is not valid"));
            Filters::default()
        });
        (resolved, filters)
    }
}
