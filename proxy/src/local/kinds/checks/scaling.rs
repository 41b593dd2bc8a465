//! What scales workloads, and what keeps enough of them.

use super::{At, quantity, words};

pub(in super::super) fn pod_disruption_budget(object: &At<'_>) {
    let spec = object.at("spec");
    let (least, most) = (spec.at("minAvailable"), spec.at("maxUnavailable"));
    if least.is_set() && most.is_set() {
        let fields = ["MinAvailable", "Selector", "MaxUnavailable", "UnhealthyPodEvictionPolicy"];
        spec.invalid_struct(&fields, "minAvailable and maxUnavailable cannot be both set");
    }
    for limit in [least, most].iter().filter(|limit| limit.is_set()) {
        limit.percent_or_number();
        limit.at_most_all();
    }
    spec.at("selector").selector();
    spec.at("unhealthyPodEvictionPolicy").word_if_set(&["AlwaysAllow", "IfHealthyBudget"]);
}

pub(in super::super) fn budget_status(object: &At<'_>) {
    let status = &object.at("status");
    for field in ["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"] {
        status.at(field).not_negative();
    }
}

pub(in super::super) fn autoscaler(object: &At<'_>) {
    let spec = object.at("spec");
    let (least, most) = (spec.at("minReplicas"), spec.at("maxReplicas"));
    if least.is_set() && least.number() < 1 {
        least.invalid("must be greater than or equal to 1");
    }
    match most.number() {
        0 => most.missing("must be set and greater than 0"),
        ..0 => most.invalid("must be greater than or equal to 1"),
        _ => {}
    }
    if least.is_set() && most.number() < least.number() {
        most.invalid_as(&most.number().into(), "must be greater than or equal to `minReplicas`");
    }
    target_reference(&spec.at("scaleTargetRef"));
    for metric in spec.each("metrics") {
        measure(&metric);
    }
    if least.is_set() && least.number() == 0 {
        let metrics = spec.each("metrics");
        if !metrics.iter().any(|metric| ["Object", "External"].contains(&metric.at("type").text())) {
            let why = "must specify at least one Object or External metric to support scaling to zero replicas";
            spec.at("metrics").forbidden(why);
        }
    }
    for direction in ["scaleUp", "scaleDown"] {
        let rules = spec.at("behavior").at(direction);
        if rules.is_set() {
            behave(&rules);
        }
    }
}

pub(in super::super) fn autoscaler_status(object: &At<'_>) {
    let status = &object.at("status");
    status.at("currentReplicas").not_negative();
    status.at("desiredReplicas").not_negative();
}

fn target_reference(reference: &At<'_>) {
    for field in ["kind", "name"] {
        if reference.at(field).required("") {
            reference.at(field).text_is(words::path_segment);
        }
    }
    let version = reference.at("apiVersion");
    let shown = version.text().into();
    match version.text().matches('/').count() {
        0 => version.invalid_as(&shown, "apiVersion must specify API group"),
        1 => {}
        _ => version.invalid_as(&shown, &format!("unexpected GroupVersion string: {}", version.text())),
    }
}

fn behave(rules: &At<'_>) {
    let window = rules.at("stabilizationWindowSeconds");
    if window.number() < 0 {
        window.invalid("must be greater than or equal to zero");
    }
    if window.number() > 3600 {
        window.invalid("must be less than or equal to 3600");
    }
    rules.at("selectPolicy").word_if_set(&["Disabled", "Max", "Min"]);
    rules.at("policies").required("must specify at least one Policy");
    for policy in rules.each("policies") {
        policy.at("type").word_if_set(&["Percent", "Pods"]);
        let (value, period) = (policy.at("value"), policy.at("periodSeconds"));
        for number in [&value, &period] {
            if number.number() <= 0 {
                number.invalid_as(&number.number().into(), "must be greater than zero");
            }
        }
        if period.number() > 1800 {
            period.invalid("must be less than or equal to 1800");
        }
    }
}

/// The types of metrics and where each says more.
const SOURCES: [(&str, &str); 5] = [
    ("Object", "object"),
    ("External", "external"),
    ("Pods", "pods"),
    ("Resource", "resource"),
    ("ContainerResource", "containerResource"),
];
const TYPES: [&str; 5] = ["ContainerResource", "External", "Object", "Pods", "Resource"];

fn measure(metric: &At<'_>) {
    let kind = metric.at("type");
    if kind.is_empty() {
        kind.missing("must specify a metric source type");
    }
    let known = TYPES.contains(&kind.text());
    if !known {
        kind.unsupported(&TYPES);
    }
    let given: Vec<&str> = SOURCES.iter().map(|(_, field)| *field).filter(|field| metric.at(field).is_set()).collect();
    if let Some(first) = given.first() {
        source(&metric.at(first), first);
    }
    let wanted = SOURCES.iter().find(|(name, _)| *name == kind.text()).map(|(_, field)| *field);
    match wanted {
        Some(field) if !given.contains(&field) => {
            metric.at(field).missing("must populate information for the given metric source");
        }
        Some(_) => {}
        None => kind.unsupported(&TYPES),
    }
    if given.len() != 1 {
        for other in given.iter().filter(|field| Some(**field) != wanted) {
            metric.at(other).forbidden("must populate the given metric source only");
        }
    }
}

fn source(source: &At<'_>, kind: &str) {
    let target = source.at("target");
    let (value, average) = (target.at("value"), target.at("averageValue"));
    let utilization = target.at("averageUtilization");
    let metric = || {
        let name = source.at("metric.name");
        if name.required("must specify a metric name") {
            name.text_is(words::path_segment);
        }
    };
    match kind {
        "object" => {
            target_reference(&source.at("describedObject"));
            metric();
        }
        "external" | "pods" => metric(),
        _ => {
            source.at("name").required("must specify a resource name");
            if kind == "containerResource" && source.at("container").required("must specify a container") {
                source.at("container").text_is(words::label);
            }
        }
    }
    aim(&target);
    let neither = !value.is_set() && !average.is_set();
    match kind {
        "object" if neither => average.missing("must set either a target value or averageValue"),
        "external" if neither => average.missing("must set either a target value for metric or a per-pod target"),
        "external" if value.is_set() && average.is_set() => {
            value.forbidden("may not set both a target value for metric and a per-pod target");
        }
        "pods" if !average.is_set() => average.missing("must specify a positive target averageValue"),
        "resource" | "containerResource" => match (utilization.is_set(), average.is_set()) {
            (false, false) => utilization.missing("must set either a target raw value or a target utilization"),
            (true, true) => average.forbidden("may not set both a target raw value and a target utilization"),
            _ => {}
        },
        _ => {}
    }
}

fn aim(target: &At<'_>) {
    let kind = target.at("type");
    kind.required("must specify a metric target type");
    if !["Utilization", "Value", "AverageValue"].contains(&kind.text()) {
        kind.invalid_as(&kind.text().into(), "must be either Utilization, Value, or AverageValue");
    }
    for field in ["value", "averageValue"] {
        let amount = target.at(field);
        if amount.is_set() && quantity::nanos(amount.text()).is_some_and(|amount| amount <= 0) {
            amount.invalid("must be positive");
        }
    }
    let utilization = target.at("averageUtilization");
    if utilization.is_set() && utilization.number() < 1 {
        utilization.invalid("must be greater than 0");
    }
}
