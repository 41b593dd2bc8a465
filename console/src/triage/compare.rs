//! What controllers say of a route, against what was found.

use super::{
    Triage, Walk,
    chain::{Standing, Step, Trace},
    gateways::{condition, refused, said, with},
    rules::{
        ACCEPTED_BUT_BROKEN, OTHER_CONTROLLER, PARTLY_INVALID, REFS_BUT_BROKEN, REFS_REFUSED, REFS_UNRESOLVED,
        REFUSED_BUT_FITS, ROUTE_REFUSED, ROUTE_SILENT, ROUTE_STALE, STATUS_LEFT_OVER, found,
    },
};
use crate::{
    finding::{Finding, Severity},
    model::{
        gateway::Gateway,
        topology::{Parent, Route},
    },
};

/// Findings about references, which `ResolvedRefs` speaks of.
const REFERENCES: [&str; 5] = ["GWT203", "GWT204", "GWT205", "GWT206", "GWT212"];

impl Triage<'_> {
    pub(super) fn controllers(&self, route: &Route, trace: &mut Trace, walk: &mut Walk) {
        let mut said_here = Vec::new();
        for parent in &route.parents {
            self.controller(route, parent, trace, walk, &mut said_here);
        }
        for parent in &route.left_over {
            let controller = parent.controller.as_deref().unwrap_or("nobody");
            let title = format!("a status of {} about {} is left over", controller, parent.label());
            said_here
                .push(found(&STATUS_LEFT_OVER, &route.key, title).field("status.parents").fix(STATUS_LEFT_OVER.fix));
        }
        for finding in &said_here {
            trace.finding(Step::Controller, &finding.field, finding);
        }
        walk.findings.append(&mut said_here);
    }

    fn gateway_of(&self, parent: &Parent) -> Option<&Gateway> {
        let key = parent.key()?;
        let key = self.store.listener_set(&key).map_or(key, |set| set.parent.clone());
        self.store.gateway(&key).map(AsRef::as_ref)
    }

    fn controller(&self, route: &Route, parent: &Parent, trace: &mut Trace, walk: &Walk, into: &mut Vec<Finding>) {
        let label = parent.label();
        let expected = self.gateway_of(parent).and_then(|gateway| self.controller_of(gateway));
        let field = parent.field();
        let make = |rule, title: String| found(rule, &route.key, title).field(&field);
        let Some(controller) = &parent.controller else {
            if let Some(expected) = expected {
                let title = format!("{expected} has said nothing about {label}");
                into.push(make(&ROUTE_SILENT, title).fix(ROUTE_SILENT.fix));
            }
            return;
        };
        if let Some(expected) = expected.filter(|expected| expected != controller) {
            let title = format!("{controller} answers for {label}, whose class belongs to {expected}");
            into.push(make(&OTHER_CONTROLLER, title).fix(OTHER_CONTROLLER.fix));
        }
        let conditions = &parent.conditions;
        let from = format!("status.parents of {label}");
        if let Some(stale) = conditions.iter().find(|condition| condition.is_stale(route.generation)) {
            let observed = stale.observed_generation.unwrap_or_default();
            let title =
                format!("what {controller} says of {label} is about generation {observed}, now {}", route.generation);
            into.push(with(make(&ROUTE_STALE, title), &from, stale).fix(ROUTE_STALE.fix));
            // What is said of an older spec cannot be compared with this one.
            return;
        }
        let attached = parent.key().is_some_and(|key| walk.attached.iter().any(|(to, _)| *to == key));
        let own = walk.findings.iter().find(|finding| finding.severity == Severity::Error && finding.field == field);
        let unknown = !attached && own.is_none();
        match (refused(conditions, "Accepted"), condition(conditions, "Accepted")) {
            (Some(accepted), _) if attached => {
                let title = format!(
                    "{controller} refuses {label} ({}), and nothing was found that forbids it",
                    accepted.reason
                );
                into.push(with(make(&REFUSED_BUT_FITS, title), &from, accepted).fix(REFUSED_BUT_FITS.fix));
                let title = format!("{controller} refuses the route at {label}: {}", accepted.reason);
                into.push(with(make(&ROUTE_REFUSED, title), &from, accepted).fix(ROUTE_REFUSED.fix));
            }
            (Some(accepted), _) => {
                let title = format!("{controller} refuses the route at {label}: {}", accepted.reason);
                into.push(with(make(&ROUTE_REFUSED, title), &from, accepted).fix(ROUTE_REFUSED.fix));
            }
            (None, Some(accepted)) if accepted.status == "True" && !attached && !unknown => {
                let title = format!("{controller} accepts the route at {label}, where it cannot attach");
                let finding = with(make(&ACCEPTED_BUT_BROKEN, title), &from, accepted).fix(ACCEPTED_BUT_BROKEN.fix);
                into.push(match own {
                    Some(own) => finding.evidence(own.id, &own.title),
                    None => finding,
                });
            }
            (None, Some(accepted)) if accepted.status == "True" => {
                trace.ok(Step::Controller, || (controller.clone(), format!("{label}: {}", said(accepted))));
            }
            _ => trace.hop(Step::Controller, Standing::Unknown, || {
                (controller.clone(), format!("{label}: Accepted is not known"))
            }),
        }
        let broken = walk.findings.iter().find(|finding| REFERENCES.contains(&finding.id));
        match (condition(conditions, "ResolvedRefs"), broken) {
            (Some(refs), None) if refs.status == "False" => {
                // Endpoints and kinds that are not known here may be meant.
                if !walk
                    .findings
                    .iter()
                    .any(|finding| finding.id.starts_with("GWT2") && finding.severity >= Severity::Warning)
                {
                    let title =
                        format!("{controller} misses a reference ({}), and all of them were found", refs.reason);
                    into.push(with(make(&REFS_REFUSED, title), &from, refs).fix(REFS_REFUSED.fix));
                }
                let title = format!("{controller} cannot resolve a reference: {}", refs.reason);
                into.push(with(make(&REFS_UNRESOLVED, title), &from, refs).fix(REFS_UNRESOLVED.fix));
            }
            (Some(refs), Some(broken)) if refs.status == "True" && attached => {
                let title = format!("{controller} says that all references are resolved");
                let finding = with(make(&REFS_BUT_BROKEN, title), &from, refs);
                into.push(finding.evidence(broken.id, &broken.title).fix(REFS_BUT_BROKEN.fix));
            }
            (Some(refs), Some(_)) if refs.status == "False" => {
                trace.hop(Step::Controller, Standing::Broken, || {
                    (controller.clone(), format!("{label} agrees: {}", said(refs)))
                });
            }
            _ => {}
        }
        if let Some(partly) = condition(conditions, "PartiallyInvalid").filter(|partly| partly.status == "True") {
            let title = format!("{controller} serves only some rules of the route");
            into.push(with(make(&PARTLY_INVALID, title), &from, partly).fix(PARTLY_INVALID.fix));
        }
    }
}
