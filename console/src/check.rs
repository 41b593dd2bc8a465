//! `gwtop check` and `gwtop preflight`: everything that can be told of Gateways, routes and what
//! they stand on. Pure but for [`command`] and [`collect`].

mod backends;
pub mod catalogue;
mod causes;
mod certificates;
pub mod collect;
pub mod command;
mod gateways;
pub(crate) mod ingresses;
mod manifests;
pub mod probe;
mod removed;
pub(crate) mod routes;
pub mod seen;
mod upgrade;

use std::collections::BTreeSet;

use self::{
    catalogue::{CHECKS, Check, Suite},
    seen::{Access, Seen},
};
use crate::finding::{Finding, Object, Outcome, Ran, Report, Severity};

/// Annotation on an object: ids of checks that leave it alone, separated by commas.
pub const IGNORE: &str = "gwtop.dev/ignore";

#[derive(Debug, Clone)]
pub struct Options {
    pub suite: Suite,
    /// Release of Kubernetes that is upgraded to.
    pub target: (u32, u32),
    /// Ids, or beginnings of them; all of the suite if empty.
    pub only: Vec<String>,
    pub skip: Vec<String>,
    /// Classes of Ingresses that are moved away from.
    pub ingress_classes: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            suite: Suite::Check,
            target: (1, 36),
            only: Vec::new(),
            skip: Vec::new(),
            ingress_classes: vec!["nginx".to_owned()],
        }
    }
}

impl Options {
    /// Why a check is not run, if it is not.
    fn left_out(&self, check: &Check) -> Option<String> {
        let named = |list: &[String]| {
            let id = check.rule.id;
            list.iter().any(|one| id.get(..one.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(one)))
        };
        if named(&self.skip) {
            return Some("--skip".to_owned());
        }
        match self.only.is_empty() {
            true if check.suite != self.suite => Some(String::new()),
            false if !named(&self.only) => Some("not in --only".to_owned()),
            _ => None,
        }
    }

    pub fn runs(&self, id: &str) -> bool {
        catalogue::find(id).is_some_and(|check| self.left_out(check).is_none())
    }
}

/// Runs every check that is asked for.
pub fn run(seen: &Seen, options: &Options) -> Report {
    let mut report = Report::default();
    for check in CHECKS {
        let skip = |report: &mut Report, why: String| {
            report.checks.push(Ran { rule: &check.rule, outcome: Outcome::Skip(why) });
        };
        match options.left_out(check) {
            // Of the other command: not a word.
            Some(why) if why.is_empty() => continue,
            Some(why) => {
                skip(&mut report, why);
                continue;
            }
            None => {}
        }
        if !seen.live && !check.offline {
            skip(&mut report, "files alone cannot answer".to_owned());
            continue;
        }
        if let Some(why) = nothing(check, seen) {
            skip(&mut report, why);
            continue;
        }
        let mut findings = one(check.rule.id, seen, options);
        let ignored: BTreeSet<Object> =
            seen.all().filter(|item| item.ignores(check.rule.id)).map(seen::Item::object).collect();
        findings.retain(|finding| !ignored.contains(&finding.object) && seen.wanted(&finding.object.namespace));
        findings.extend(denied(check, seen));
        let outcome = match findings.iter().map(|finding| finding.severity).max() {
            None | Some(Severity::Info) => Outcome::Pass,
            Some(Severity::Unknown) => Outcome::Unknown(
                findings
                    .iter()
                    .find(|one| one.severity == Severity::Unknown)
                    .map(|one| one.title.clone())
                    .unwrap_or_default(),
            ),
            Some(_) => Outcome::Fail,
        };
        report.checks.push(Ran { rule: &check.rule, outcome });
        report.findings.extend(findings);
    }
    causes::fold(&mut report.findings);
    report.sort();
    report
}

/// Why there is nothing that a check could be asked of: a pass without a look would be none.
fn nothing(check: &Check, seen: &Seen) -> Option<String> {
    let kinds = || check.needs.iter().map(|kind| (*kind, seen.access(*kind)));
    if seen.live
        && !seen.files
        && !check.needs.is_empty()
        && kinds().all(|(_, access)| access == Some(&Access::Missing))
    {
        let names: Vec<_> = check.needs.iter().map(|(_, kind)| *kind).collect();
        return Some(format!("the cluster does not serve {}", names.join(", ")));
    }
    if kinds().any(|(_, access)| matches!(access, Some(Access::Denied(_)))) {
        return None;
    }
    match (check.rule.id, &seen.probes) {
        ("NET001", None) => Some("listeners were not asked".to_owned()),
        ("NET001", Some(probes)) if probes.is_empty() => Some("no listener with an address could be asked".to_owned()),
        ("NET002", _) => Some("`gwtop migrate --live OLD NEW` tells".to_owned()),
        _ => None,
    }
}

/// Kinds that a check needs and that nobody was allowed to read: it is unknown, never passed.
fn denied<'a>(check: &'a Check, seen: &'a Seen) -> impl Iterator<Item = Finding> + 'a {
    check.needs.iter().filter_map(|kind| {
        let Some(Access::Denied(why)) = seen.access(*kind) else { return None };
        let finding = Finding::new(
            check.rule.id,
            Severity::Unknown,
            Object::new(kind.0, kind.1, "", ""),
            format!("cannot be checked: {} cannot be read", kind.1),
        );
        Some(finding.evidence("the API server", why.clone()).fix(format!("allow get and list of {}", kind.1)))
    })
}

fn one(id: &str, seen: &Seen, options: &Options) -> Vec<Finding> {
    match id {
        "API001" => manifests::refused(seen),
        "GWC001" => gateways::classes(seen),
        "GWC002" => gateways::supported_version(seen),
        "GW001" => gateways::programmed(seen),
        "GW002" => gateways::listeners(seen),
        "GW003" => gateways::attached(seen),
        "GW004" => gateways::stale(seen),
        "TLS001" => certificates::valid(seen),
        "RT001" => routes::parents(seen),
        "RT002" => routes::accepted(seen),
        "RT003" => routes::fitting(seen),
        "RT004" => routes::reachable(seen),
        "REF001" => backends::granted(seen),
        "BE001" => backends::services(seen),
        "POL001" => backends::policies(seen),
        "ING001" => ingresses::left(seen, options),
        "ING002" => ingresses::twice(seen, options),
        "NET001" => probe::findings(seen),
        "PF001" => upgrade::controller(seen),
        "PF002" => upgrade::bundle(seen),
        "PF003" => upgrade::stored(seen),
        "PF004" => removed::used(seen, options.target),
        "PF005" => upgrade::external_ips(seen, options.target),
        "PF006" => upgrade::experimental(seen),
        "PF007" => upgrade::skew(seen),
        _ => Vec::new(),
    }
}
