//! Policies, grants, and Ingresses that are left over.

use std::collections::HashMap;

use super::{
    Triage, Used,
    chain::{Standing, Step, Trace},
    gateways::{said, with},
    rules::{
        BACKEND_TLS_TRUST, GRANT_DANGLING, GRANT_UNUSED, INGRESS_SAME_HOST, POLICY_REFUSED, POLICY_SECTION,
        POLICY_SILENT, POLICY_STALE, POLICY_TARGET, POLICY_TWICE, found,
    },
};
use crate::{
    finding::Finding,
    model::{
        health::{Condition, Health},
        key::{Kind, ObjectKey},
        neighbours::Ingress,
        policy::{Policy, Target},
        topology::{Reference, Route},
    },
};

impl Triage<'_> {
    pub(super) fn policies(&self, into: &mut Vec<Finding>) {
        let mut of_target: HashMap<(Kind, &Reference, Option<&str>), &Policy> = HashMap::new();
        // The oldest first, as precedence has it.
        let mut all: Vec<&Policy> = self.store.policies().map(AsRef::as_ref).collect();
        all.sort_by(|a, b| {
            (a.created.is_none(), a.created, &a.key.namespace, &a.key.name).cmp(&(
                b.created.is_none(),
                b.created,
                &b.key.namespace,
                &b.key.name,
            ))
        });
        for policy in all {
            for (index, target) in policy.targets.iter().enumerate() {
                let one = policy.targets.len() == 1 && !self.plural(&policy.key);
                let field = if one { "spec.targetRef".to_owned() } else { format!("spec.targetRefs[{index}]") };
                into.extend(self.target(policy, target).map(|finding| finding.field(&field)));
                let of = (policy.key.kind, &target.of, target.section.as_deref());
                match of_target.get(&of) {
                    Some(first) if first.key != policy.key => {
                        let title =
                            format!("{} {} has an older {}", target.of.kind, target.of.name, policy.key.kind.name());
                        let from = format!("{} {}", first.key.kind.name(), first.key);
                        into.push(
                            found(&POLICY_TWICE, &policy.key, title)
                                .field(field)
                                .evidence(from, "is older, and wins")
                                .fix(POLICY_TWICE.fix),
                        );
                    }
                    _ => {
                        of_target.insert(of, policy);
                    }
                }
            }
            self.policy_status(policy, into);
            if policy.key.kind == Kind::BackendTlsPolicy {
                into.extend(trust(policy));
            }
        }
    }

    fn plural(&self, key: &ObjectKey) -> bool {
        self.store.get(key).is_some_and(|object| object.value().pointer("/spec/targetRefs").is_some())
    }

    fn target(&self, policy: &Policy, target: &Target) -> Option<Finding> {
        let key = target.of.key()?;
        if self.store.get(&key).is_none() {
            let title = format!("{} {key} does not exist", target.of.kind);
            let seen = self.store.sees(key.kind, &key.namespace) && key.kind != Kind::Secret;
            return seen.then(|| found(&POLICY_TARGET, &policy.key, title).fix(POLICY_TARGET.fix));
        }
        let section = target.section.as_deref()?;
        let names: Vec<&str> = match key.kind {
            Kind::Gateway | Kind::ListenerSet => {
                self.store.listeners(&key).into_iter().flat_map(|(all, _)| all).map(|of| of.name.as_str()).collect()
            }
            Kind::Service => {
                self.store.service(&key.namespace, &key.name)?.ports.iter().map(|port| port.name.as_str()).collect()
            }
            kind if kind.is_route() => {
                self.store.route(&key)?.rules.iter().filter_map(|rule| rule.name.as_deref()).collect()
            }
            _ => return None,
        };
        if names.contains(&section) {
            return None;
        }
        let title = format!("{} {key} has no section {section}", target.of.kind);
        let has = if names.is_empty() { "no named sections".to_owned() } else { names.join(", ") };
        let from = format!("{} {key}", target.of.kind);
        Some(found(&POLICY_SECTION, &policy.key, title).evidence(from, format!("has {has}")).fix(POLICY_SECTION.fix))
    }

    fn policy_status(&self, policy: &Policy, into: &mut Vec<Finding>) {
        let ancestors = policy.ancestors.iter().map(|ancestor| {
            (format!("status.ancestors {} {}", ancestor.of.kind, ancestor.of.name), &ancestor.conditions)
        });
        let own = (!policy.conditions.is_empty()).then(|| ("status.conditions".to_owned(), &policy.conditions));
        let all: Vec<(String, &Vec<Condition>)> = ancestors.chain(own).collect();
        if all.is_empty() {
            into.push(
                found(&POLICY_SILENT, &policy.key, "no controller has said anything about the policy")
                    .fix(POLICY_SILENT.fix),
            );
        }
        for (from, conditions) in all {
            let bad = |condition: &&Condition| {
                condition.status == "False"
                    && matches!(condition.kind.as_str(), "Accepted" | "ResolvedRefs" | "Programmed")
            };
            if let Some(condition) = conditions.iter().find(bad) {
                let title = format!("the policy is not in force: {}", condition.reason);
                into.push(with(found(&POLICY_REFUSED, &policy.key, title), &from, condition).fix(POLICY_REFUSED.fix));
            } else if let Some(condition) = conditions.iter().find(|condition| condition.is_stale(policy.generation)) {
                let observed = condition.observed_generation.unwrap_or_default();
                let title = format!("the status is about generation {observed}, now {}", policy.generation);
                into.push(with(found(&POLICY_STALE, &policy.key, title), &from, condition).fix(POLICY_STALE.fix));
            }
        }
    }

    /// Policies that act on a route, as hops.
    pub(super) fn policies_of(&self, route: &Route, trace: &mut Trace) {
        if !trace.is_on() {
            return;
        }
        let own = (route.key.kind.name(), route.key.namespace.as_str(), route.key.name.as_str());
        let parents = route.parents.iter().map(|of| (of.kind.as_str(), of.namespace.as_str(), of.name.as_str()));
        let backends = route.rules.iter().flat_map(|rule| &rule.backends);
        let backends = backends.map(|of| (of.kind.as_str(), of.namespace.as_str(), of.name.as_str()));
        let mut told = Used::new();
        for of in std::iter::once(own).chain(parents).chain(backends) {
            for policy in self.policies.get(&of).into_iter().flatten() {
                if !told.insert(policy.key.clone()) {
                    continue;
                }
                let verdict = policy.verdict();
                let standing = match verdict.health {
                    Health::Ok => Standing::Ok,
                    Health::Unknown => Standing::Unknown,
                    _ => Standing::Warning,
                };
                trace.hop(Step::Policy, standing, || {
                    let reason = if verdict.reason.is_empty() { verdict.health.word() } else { &verdict.reason };
                    (format!("{} {}", policy.key.kind.name(), policy.key), format!("on {} {}: {reason}", of.0, of.2))
                });
            }
        }
    }

    pub(super) fn grants(&self, used: &Used, into: &mut Vec<Finding>) {
        for grant in self.store.grants() {
            for (index, to) in grant.to.iter().enumerate() {
                let Some(name) = &to.name else { continue };
                let of = Reference {
                    group: to.group.clone(),
                    kind: to.kind.clone(),
                    namespace: grant.key.namespace.clone(),
                    name: name.clone(),
                };
                // Secrets of other types are not watched.
                let Some(key) = of.key().filter(|key| key.kind != Kind::Secret) else { continue };
                if self.store.get(&key).is_none() && self.store.sees(key.kind, &key.namespace) {
                    let title = format!("{} {key}, which is granted, does not exist", of.kind);
                    into.push(
                        found(&GRANT_DANGLING, &grant.key, title)
                            .field(format!("spec.to[{index}]"))
                            .fix(GRANT_DANGLING.fix),
                    );
                }
            }
            // Only users that are known here can be missed.
            let known = grant.from.iter().all(|from| {
                Kind::parse(&from.kind).is_some_and(|kind| {
                    (kind.is_route() || matches!(kind, Kind::Gateway | Kind::ListenerSet))
                        && self.store.sees(kind, &from.namespace)
                })
            });
            if known && !used.contains(&grant.key) {
                into.push(found(&GRANT_UNUSED, &grant.key, "nothing uses the grant").fix(GRANT_UNUSED.fix));
            }
        }
    }

    pub(super) fn ingresses(&self, into: &mut Vec<Finding>) {
        let mut by_host: HashMap<&str, Vec<&Ingress>> = HashMap::new();
        for ingress in self.store.ingresses() {
            for host in &ingress.hosts {
                by_host.entry(host).or_default().push(ingress);
            }
        }
        if by_host.is_empty() {
            return;
        }
        for route in self.store.routes() {
            for host in &route.hostnames {
                for ingress in by_host.remove(host.as_str()).unwrap_or_default() {
                    let title = format!("{host} is served by {} {} too", route.key.kind.name(), route.key);
                    let class = ingress.class.as_deref().unwrap_or("the default class");
                    let finding = found(&INGRESS_SAME_HOST, &ingress.key, title).field("spec.rules");
                    into.push(
                        finding
                            .evidence(format!("Ingress {}", ingress.key), format!("class {class}"))
                            .fix(INGRESS_SAME_HOST.fix),
                    );
                }
            }
        }
    }
}

fn trust(policy: &Policy) -> Option<Finding> {
    let lacks = match &policy.validation {
        None => "spec.validation",
        Some(of) if of.authorities.is_empty() && of.well_known.is_none() => {
            "caCertificateRefs or wellKnownCACertificates"
        }
        Some(of) if of.hostname.is_empty() => "a hostname",
        Some(_) => return None,
    };
    let finding = found(&BACKEND_TLS_TRUST, &policy.key, format!("the policy lacks {lacks}"));
    let finding = finding.field("spec.validation").fix(BACKEND_TLS_TRUST.fix);
    Some(match policy.ancestors.iter().flat_map(|ancestor| &ancestor.conditions).next() {
        Some(condition) => finding.evidence("status.ancestors", said(condition)),
        None => finding,
    })
}
