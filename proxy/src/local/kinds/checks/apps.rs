//! Workloads.

use serde_json::Value;

use super::{At, pods, selectors, words};

pub(in super::super) fn deployment(object: &At<'_>) {
    let spec = object.at("spec");
    spec.at("replicas").not_negative();
    workload_selector(&spec, "deployment");
    template(&spec, "ReplicaSet");
    deployment_strategy(&spec.at("strategy"));
    spec.at("minReadySeconds").not_negative();
    spec.at("revisionHistoryLimit").not_negative();
    let deadline = spec.at("progressDeadlineSeconds");
    if deadline.is_set() {
        deadline.not_negative();
        if deadline.number() <= spec.at("minReadySeconds").number() {
            deadline.invalid("must be greater than minReadySeconds");
        }
    }
    spec.at("selector").unchanged(object);
}

fn deployment_strategy(strategy: &At<'_>) {
    let rolling = strategy.at("rollingUpdate");
    match strategy.at("type").text() {
        "RollingUpdate" => {
            let (unavailable, surge) = (rolling.at("maxUnavailable"), rolling.at("maxSurge"));
            unavailable.percent_or_number();
            surge.percent_or_number();
            if unavailable.amount() == 0 && surge.amount() == 0 {
                unavailable.invalid("may not be 0 when `maxSurge` is 0");
            }
            unavailable.at_most_all();
        }
        "Recreate" if rolling.is_set() => {
            rolling.forbidden("may not be specified when strategy `type` is 'Recreate'");
        }
        "Recreate" => {}
        _ => strategy.unsupported_as(&strategy.as_struct(&STRATEGY), &["Recreate", "RollingUpdate"]),
    }
}

const STRATEGY: [&str; 2] = ["Type", "RollingUpdate"];

pub(in super::super) fn replica_set(object: &At<'_>) {
    let spec = object.at("spec");
    spec.at("replicas").not_negative();
    spec.at("minReadySeconds").not_negative();
    workload_selector(&spec, "deployment");
    template(&spec, "ReplicaSet");
    spec.at("selector").unchanged(object);
}

pub(in super::super) fn daemon_set(object: &At<'_>) {
    let spec = object.at("spec");
    let selector = spec.at("selector");
    selector.unchanged(object);
    selector.selector();
    let labels = spec.at("template.metadata.labels");
    if selectors::matches(selector.value, labels.value) == Some(false) {
        labels.invalid(MISMATCH);
    }
    if selector.is_set() && selector.is_empty() {
        selector.invalid("empty selector is invalid for daemonset");
    }
    pods::template(&spec.at("template"));
    always_restarted(&spec.at("template.spec"), "DaemonSet");
    spec.at("minReadySeconds").not_negative();
    let strategy = spec.at("updateStrategy");
    match strategy.at("type").text() {
        "OnDelete" => {}
        "RollingUpdate" => {
            let rolling = strategy.at("rollingUpdate");
            let (unavailable, surge) = (rolling.at("maxUnavailable"), rolling.at("maxSurge"));
            unavailable.percent_or_number();
            surge.percent_or_number();
            unavailable.at_most_all();
            surge.at_most_all();
            match (unavailable.amount(), surge.amount()) {
                (0, 0) => unavailable.missing("cannot be 0 when maxSurge is 0"),
                (0, _) | (_, 0) => {}
                _ => surge.invalid("may not be set when maxUnavailable is non-zero"),
            }
        }
        _ => strategy.unsupported_as(&strategy.as_struct(&STRATEGY), &["RollingUpdate", "OnDelete"]),
    }
    spec.at("revisionHistoryLimit").not_negative();
}

/// What of a StatefulSet may change.
const CHANGEABLE: [&str; 7] = [
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
];

pub(in super::super) fn stateful_set(object: &At<'_>) {
    let spec = object.at("spec");
    let management = spec.at("podManagementPolicy");
    if !["OrderedReady", "Parallel"].contains(&management.text()) {
        management.invalid("must be 'OrderedReady' or 'Parallel'");
    }
    let (strategy, rolling) = (spec.at("updateStrategy"), spec.at("updateStrategy.rollingUpdate"));
    match strategy.at("type").text() {
        "RollingUpdate" if rolling.is_set() => {
            rolling.at("partition").not_negative();
            let unavailable = rolling.at("maxUnavailable");
            if unavailable.is_set() {
                unavailable.percent_or_number();
                if unavailable.amount() == 0 {
                    unavailable.invalid("cannot be 0");
                }
                unavailable.at_most_all();
            }
        }
        "RollingUpdate" => {}
        "OnDelete" if rolling.is_set() => rolling.invalid("only allowed for updateStrategy 'RollingUpdate'"),
        "OnDelete" => {}
        _ => strategy.invalid_struct(&STRATEGY, "must be 'RollingUpdate' or 'OnDelete'"),
    }
    for field in ["whenDeleted", "whenScaled"] {
        spec.at("persistentVolumeClaimRetentionPolicy").at(field).word_if_set(&["Retain", "Delete"]);
    }
    spec.at("replicas").not_negative();
    spec.at("minReadySeconds").not_negative();
    spec.at("ordinals.start").not_negative();
    if !object.is_update() {
        spec.at("serviceName").text_is_if_set(words::label);
    }
    workload_selector(&spec, "statefulset");
    let labels = spec.at("template.metadata.labels");
    match selectors::matches(spec.at("selector").value, labels.value) {
        None => spec.at("selector").invalid(""),
        Some(matches) => {
            if !matches {
                labels.invalid(MISMATCH);
            }
            let claims = spec.at("volumeClaimTemplates");
            pods::template_with(&spec.at("template"), claims.value);
        }
    }
    always_restarted(&spec.at("template.spec"), "StatefulSet");
    let fixed = |spec: &Value| {
        let fields = spec.as_object().into_iter().flatten();
        fields
            .filter(|(field, _)| !CHANGEABLE.contains(&field.as_str()))
            .map(|(field, value)| (field.clone(), value.clone()))
            .collect::<serde_json::Map<_, _>>()
    };
    if object.is_update() && fixed(spec.value) != fixed(spec.old) {
        spec.forbidden(
            "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden",
        );
    }
}

const MISMATCH: &str = "`selector` does not match template `labels`";

fn workload_selector(spec: &At<'_>, kind: &str) {
    let selector = spec.at("selector");
    if !selector.is_set() {
        return selector.missing("");
    }
    selector.selector();
    if selector.is_empty() {
        selector.invalid(&format!("empty selector is invalid for {kind}"));
    }
}

/// The template, whose labels the selector has to take.
fn template(spec: &At<'_>, kind: &str) {
    let (selector, labels) = (spec.at("selector"), spec.at("template.metadata.labels"));
    match selectors::matches(selector.value, labels.value) {
        None => return selector.invalid("invalid label selector"),
        Some(false) => labels.invalid(MISMATCH),
        Some(true) => {}
    }
    pods::template(&spec.at("template"));
    always_restarted(&spec.at("template.spec"), kind);
}

fn always_restarted(pod: &At<'_>, kind: &str) {
    let policy = pod.at("restartPolicy");
    if policy.text() != "Always" {
        policy.unsupported(&["Always"]);
    }
    let deadline = pod.at("activeDeadlineSeconds");
    if deadline.is_set() {
        deadline.forbidden(&format!("activeDeadlineSeconds in {kind} is not Supported"));
    }
}

pub(in super::super) fn deployment_status(object: &At<'_>) {
    let status = &object.at("status");
    counts(status, &["observedGeneration", "replicas", "updatedReplicas", "readyReplicas", "availableReplicas"]);
    counts(status, &["unavailableReplicas", "terminatingReplicas", "collisionCount"]);
    no_more_than_all(status, &["updatedReplicas", "readyReplicas", "availableReplicas"], "readyReplicas");
    not_fewer_collisions(status);
}

pub(in super::super) fn replica_set_status(object: &At<'_>) {
    let status = &object.at("status");
    counts(status, &["replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas", "observedGeneration"]);
    counts(status, &["terminatingReplicas"]);
    no_more_than_all(status, &["fullyLabeledReplicas", "readyReplicas", "availableReplicas"], "readyReplicas");
}

pub(in super::super) fn stateful_set_status(object: &At<'_>) {
    let status = &object.at("status");
    counts(status, &["replicas", "readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"]);
    counts(status, &["observedGeneration", "collisionCount"]);
    let parts = ["readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"];
    no_more_than_all(status, &parts, "status.readyReplicas");
    not_fewer_collisions(status);
}

pub(in super::super) fn daemon_set_status(object: &At<'_>) {
    let status = &object.at("status");
    counts(status, &["currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled", "numberReady"]);
    counts(status, &["observedGeneration", "updatedNumberScheduled", "numberAvailable", "numberUnavailable"]);
    counts(status, &["collisionCount"]);
    not_fewer_collisions(status);
}

pub(in super::super) fn job(object: &At<'_>) {
    let spec = object.at("spec");
    for field in ["parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished"] {
        spec.at(field).not_negative();
    }
    pods::template(&spec.at("template"));
    let policy = spec.at("template.spec.restartPolicy");
    match policy.text() {
        "OnFailure" | "Never" => {}
        "" | "Always" => policy.missing("valid values: \"OnFailure\", \"Never\""),
        _ => policy.unsupported(&["OnFailure", "Never"]),
    }
    if object.is_update() && spec.value["selector"] != spec.old["selector"] {
        spec.at("selector").invalid("field is immutable");
    }
    if object.is_update() && spec.value["template"] != spec.old["template"] && spec.old["suspend"] != true {
        spec.at("template").invalid("field is immutable");
    }
}

fn counts(status: &At<'_>, fields: &[&str]) {
    fields.iter().for_each(|field| status.at(field).not_negative());
}

fn no_more_than_all(status: &At<'_>, fields: &[&str], ready: &str) {
    for field in fields {
        if status.at(field).number() > status.at("replicas").number() {
            status.at(field).invalid("cannot be greater than status.replicas");
        }
    }
    if status.at("availableReplicas").number() > status.at("readyReplicas").number() {
        status.at("availableReplicas").invalid(&format!("cannot be greater than {ready}"));
    }
}

fn not_fewer_collisions(status: &At<'_>) {
    let count = status.at("collisionCount");
    if count.number() < count.old.as_i64().unwrap_or(0) {
        count.invalid_as(&count.number().into(), "cannot be decremented");
    }
}
