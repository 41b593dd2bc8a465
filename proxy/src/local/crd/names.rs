//! Which of a definition's names it gets: the first who asks has them.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};

use super::{GROUP, PLURAL, condition, list, set_condition, text};
use crate::local::store::Txn;

const APPROVED: &str = "api-approved.kubernetes.io";

/// Whether [`accept`] would change this definition.
pub(super) fn is_waiting(crd: &Value, all: &[Arc<Value>]) -> bool {
    let others = all.iter().filter(|other| other["metadata"]["uid"] != crd["metadata"]["uid"]);
    let mut settled = crd.clone();
    decide(&mut settled, &taken(crd, others.map(|other| &**other)))
}

pub(super) fn accept(txn: &mut Txn<'_>) {
    for (key, _) in txn.list(GROUP, PLURAL, None) {
        let all = txn.list(GROUP, PLURAL, None);
        let Some(crd) = txn.get(&key) else { continue };
        let mut settled = (*crd).clone();
        let others = all.iter().filter(|(other, _)| *other != key).map(|(_, other)| &**other);
        if decide(&mut settled, &taken(&crd, others)) {
            txn.put(key, settled);
        }
    }
}

/// Names that other definitions of the group have: of resources, and of kinds.
fn taken<'a>(crd: &Value, others: impl Iterator<Item = &'a Value>) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut resources, mut kinds) = (BTreeSet::new(), BTreeSet::new());
    for other in others.filter(|other| other["spec"]["group"] == crd["spec"]["group"]) {
        let names = &other["status"]["acceptedNames"];
        let add = |set: &mut BTreeSet<String>, value: &Value| {
            set.extend(value.as_str().filter(|name| !name.is_empty()).map(str::to_owned));
        };
        add(&mut resources, &names["plural"]);
        add(&mut resources, &names["singular"]);
        list(&names["shortNames"]).iter().for_each(|name| add(&mut resources, name));
        add(&mut kinds, &names["kind"]);
        add(&mut kinds, &names["listKind"]);
    }
    (resources, kinds)
}

/// Writes the names and conditions into the definition. Says whether it changed.
fn decide(crd: &mut Value, (resources, kinds): &(BTreeSet<String>, BTreeSet<String>)) -> bool {
    let before = crd["status"].clone();
    let asked = crd["spec"]["names"].clone();
    let mut accepted = before["acceptedNames"].as_object().cloned().unwrap_or_default();
    let mut conflict = None;
    let mut take = |field: &str, reason: &'static str, taken: &BTreeSet<String>| {
        let name = text(&asked[field]);
        if accepted.get(field).is_some_and(|held| held == name) {
            return;
        }
        if taken.contains(name) {
            conflict = Some((reason, format!("{name:?} is already in use")));
        } else if name.is_empty() {
            accepted.remove(field);
        } else {
            accepted.insert(field.to_owned(), name.into());
        }
    };
    take("plural", "PluralConflict", resources);
    take("singular", "SingularConflict", resources);
    let short = list(&asked["shortNames"]);
    let in_use: Vec<String> = short
        .iter()
        .map(text)
        .filter(|name| resources.contains(*name))
        .map(|name| format!("{name:?} is already in use"))
        .collect();
    if in_use.is_empty() {
        if short.is_empty() {
            accepted.remove("shortNames");
        } else {
            accepted.insert("shortNames".into(), short.into());
        }
    } else {
        let why = if in_use.len() == 1 { in_use[0].clone() } else { format!("[{}]", in_use.join(", ")) };
        conflict = Some(("ShortNamesConflict", why));
    }
    let mut take = |field: &str, reason: &'static str| {
        let name = text(&asked[field]);
        if accepted.get(field).is_some_and(|held| held == name) {
            return;
        }
        if kinds.contains(name) {
            conflict = Some((reason, format!("{name:?} is already in use")));
        } else {
            accepted.insert(field.to_owned(), name.into());
        }
    };
    take("kind", "KindConflict");
    take("listKind", "ListKindConflict");
    match list(&asked["categories"]) {
        [] => drop(accepted.remove("categories")),
        some => drop(accepted.insert("categories".into(), some.into())),
    }
    crd["status"]["acceptedNames"] = accepted.into();
    let approval = text(&crd["metadata"]["annotations"][APPROVED]).to_owned();
    if protected(text(&crd["spec"]["group"])) && approval.starts_with("http") {
        let message = format!("approved in {approval}");
        set_condition(crd, "KubernetesAPIApprovalPolicyConformant", "True", "ApprovedAnnotation", &message);
    }
    match conflict {
        None => set_condition(crd, "NamesAccepted", "True", "NoConflicts", "no conflicts found"),
        Some((reason, message)) => set_condition(crd, "NamesAccepted", "False", reason, &message),
    };
    let established = condition(crd, "Established").is_some_and(|found| found["status"] == "True");
    let accepted = condition(crd, "NamesAccepted").is_some_and(|found| found["status"] == "True");
    if !established && accepted {
        let message = "the initial names have been accepted";
        set_condition(crd, "Established", "True", "InitialNamesAccepted", message);
    } else if !established {
        set_condition(crd, "Established", "False", "NotAccepted", "not all names are accepted");
    }
    if crd["status"]["storedVersions"].is_null() {
        crd["status"]["storedVersions"] = json!([]);
    }
    crd["status"] != before
}

/// Groups that are the Kubernetes project's own need its approval.
pub(super) fn protected(group: &str) -> bool {
    ["k8s.io", "kubernetes.io"].iter().any(|own| group == *own || group.ends_with(&format!(".{own}")))
}
