//! One cause, one finding: what follows from a fault that was found itself becomes its evidence.

use crate::finding::{Evidence, Finding};

/// Checks that find the fault itself, in an object.
const CAUSES: [&str; 2] = ["BE001", "REF001"];
/// Reasons by which a controller says the same.
const REASONS: [&str; 2] = ["BackendNotFound", "RefNotPermitted"];

pub(super) fn fold(findings: &mut Vec<Finding>) {
    let mut at = 0;
    while at < findings.len() {
        let Some(cause) = cause(&findings[at], findings) else {
            at += 1;
            continue;
        };
        let consequence = findings.remove(at);
        let cause = if cause > at { cause - 1 } else { cause };
        let says = match consequence.id {
            "RT002" => Evidence::new("the controller agrees", consequence.title),
            _ => Evidence::new(format!("{}, {}", consequence.object, consequence.field), got(&consequence.evidence)),
        };
        findings[cause].evidence.push(says);
    }
}

/// Where the fault stands that this one follows from.
fn cause(one: &Finding, all: &[Finding]) -> Option<usize> {
    let of = |name: &str, kind: Option<&str>| {
        all.iter().position(|other| {
            let object = &other.object;
            CAUSES.contains(&other.id)
                && format!("{}/{}", object.namespace, object.name) == name
                && kind.is_none_or(|kind| kind == object.kind)
        })
    };
    match one.id {
        "RT002" if REASONS.iter().any(|reason| one.title.ends_with(reason)) => {
            of(&format!("{}/{}", one.object.namespace, one.object.name), Some(&one.object.kind))
        }
        // The listener answers as it has to where a backend is missing.
        "NET001" => {
            let seen = |from: &str| one.evidence.iter().find(|evidence| evidence.from == from);
            let rule = seen("expected")?.says.strip_prefix("an answer of a backend, by ")?;
            let broken = matches!(seen("got")?.says.split(' ').next(), Some("500" | "503"));
            of(rule.split(' ').next()?, None).filter(|_| broken)
        }
        _ => None,
    }
}

fn got(evidence: &[Evidence]) -> String {
    let says = evidence.iter().find(|evidence| evidence.from == "got").map(|evidence| evidence.says.as_str());
    format!("answers {}", says.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::{Object, Severity};

    fn route(id: &'static str, name: &str, title: &str) -> Finding {
        Finding::new(id, Severity::Error, Object::new("g", "HTTPRoute", "shop", name), title)
    }

    fn probe(rule: &str, got: &str) -> Finding {
        Finding::new("NET001", Severity::Error, Object::new("g", "Gateway", "infra", "web"), "not the answer")
            .field("http cart.test/")
            .evidence("expected", format!("an answer of a backend, by shop/{rule} rule 0"))
            .evidence("got", got)
    }

    fn ids(findings: &[Finding]) -> Vec<&str> {
        findings.iter().map(|one| one.id).collect()
    }

    #[test]
    fn what_follows_from_a_fault_is_its_evidence() {
        let mut findings = vec![
            probe("cart", "500"),
            route("BE001", "cart", "Service shop/gone does not exist"),
            route("RT002", "cart", "ResolvedRefs is False at Gateway infra/web: BackendNotFound"),
        ];
        fold(&mut findings);
        assert_eq!(ids(&findings), ["BE001"]);
        let told: Vec<_> = findings[0].evidence.iter().map(|one| one.says.as_str()).collect();
        assert_eq!(told, ["answers 500", "ResolvedRefs is False at Gateway infra/web: BackendNotFound"]);
    }

    #[test]
    fn what_has_another_cause_stays() {
        let mut findings = vec![
            // A backend that is there and fails, and one that is missing and yet answers.
            probe("other", "500"),
            probe("cart", "404"),
            route("BE001", "cart", "Service shop/gone does not exist"),
            route("RT002", "cart", "Accepted is False at Gateway infra/web: NotAllowedByListeners"),
            route("RT002", "other", "ResolvedRefs is False at Gateway infra/web: BackendNotFound"),
        ];
        fold(&mut findings);
        assert_eq!(ids(&findings), ["NET001", "NET001", "BE001", "RT002", "RT002"]);
    }
}
