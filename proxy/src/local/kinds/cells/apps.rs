//! Workloads, and what scales and guards them.

use serde_json::Value;

use super::{Column, containers, list, number, or, pairs, read, text};

pub(in super::super) fn deployment() -> Vec<Column> {
    vec![
        read("Ready", "string", |o| {
            format!("{}/{}", number(&o["status"]["readyReplicas"]), number(&o["spec"]["replicas"])).into()
        }),
        read("Up-to-date", "string", |o| number(&o["status"]["updatedReplicas"])),
        read("Available", "string", |o| number(&o["status"]["availableReplicas"])),
        Column::age(),
        read("Containers", "string", |o| containers(&o["spec"]["template"], "name")).wide(),
        read("Images", "string", |o| containers(&o["spec"]["template"], "image")).wide(),
        read("Selector", "string", |o| pairs(&o["spec"]["selector"]["matchLabels"])).wide(),
    ]
}

pub(in super::super) fn replica_set() -> Vec<Column> {
    vec![
        read("Desired", "integer", |o| number(&o["spec"]["replicas"])),
        read("Current", "integer", |o| number(&o["status"]["replicas"])),
        read("Ready", "integer", |o| number(&o["status"]["readyReplicas"])),
        Column::age(),
        read("Containers", "string", |o| containers(&o["spec"]["template"], "name")).wide(),
        read("Images", "string", |o| containers(&o["spec"]["template"], "image")).wide(),
        read("Selector", "string", |o| pairs(&o["spec"]["selector"]["matchLabels"])).wide(),
    ]
}

pub(in super::super) fn daemon_set() -> Vec<Column> {
    vec![
        read("Desired", "integer", |o| number(&o["status"]["desiredNumberScheduled"])),
        read("Current", "integer", |o| number(&o["status"]["currentNumberScheduled"])),
        read("Ready", "integer", |o| number(&o["status"]["numberReady"])),
        read("Up-to-date", "integer", |o| number(&o["status"]["updatedNumberScheduled"])),
        read("Available", "integer", |o| number(&o["status"]["numberAvailable"])),
        read("Node Selector", "string", |o| pairs(&o["spec"]["template"]["spec"]["nodeSelector"])),
        Column::age(),
        read("Containers", "string", |o| containers(&o["spec"]["template"], "name")).wide(),
        read("Images", "string", |o| containers(&o["spec"]["template"], "image")).wide(),
        read("Selector", "string", |o| pairs(&o["spec"]["selector"]["matchLabels"])).wide(),
    ]
}

pub(in super::super) fn stateful_set() -> Vec<Column> {
    vec![
        read("Ready", "string", |o| {
            format!("{}/{}", number(&o["status"]["readyReplicas"]), number(&o["spec"]["replicas"])).into()
        }),
        Column::age(),
        read("Containers", "string", |o| containers(&o["spec"]["template"], "name")).wide(),
        read("Images", "string", |o| containers(&o["spec"]["template"], "image")).wide(),
    ]
}

pub(in super::super) fn job() -> Vec<Column> {
    vec![
        read("Status", "string", |o| {
            let holds = |kind: &str| {
                list(&o["status"]["conditions"]).iter().any(|c| c["type"] == kind && c["status"] == "True")
            };
            let states = [("Complete", "Complete"), ("Failed", "Failed"), ("Suspended", "Suspended")];
            states.iter().find(|(kind, _)| holds(kind)).map_or("Running", |(_, shown)| shown).into()
        }),
        read("Completions", "string", |o| {
            let wanted = &o["spec"]["completions"];
            let done = number(&o["status"]["succeeded"]);
            if wanted.is_null() { format!("{done}/1") } else { format!("{done}/{wanted}") }.into()
        }),
        read("Duration", "string", |o| {
            let at = |field: &str| o["status"][field].as_str().and_then(|time| time.parse::<jiff::Timestamp>().ok());
            let Some(start) = at("startTime") else { return "".into() };
            let end = at("completionTime").unwrap_or_else(jiff::Timestamp::now);
            crate::local::table::human(end.as_second() - start.as_second()).into()
        }),
        Column::age(),
        read("Containers", "string", |o| containers(&o["spec"]["template"], "name")).wide(),
        read("Images", "string", |o| containers(&o["spec"]["template"], "image")).wide(),
        read("Selector", "string", |o| pairs(&o["spec"]["selector"]["matchLabels"])).wide(),
    ]
}

pub(in super::super) fn horizontal_pod_autoscaler() -> Vec<Column> {
    vec![
        read("Reference", "string", |o| {
            let target = &o["spec"]["scaleTargetRef"];
            format!("{}/{}", text(&target["kind"]), text(&target["name"])).into()
        }),
        read("Targets", "string", targets),
        read("MinPods", "string", |o| match &o["spec"]["minReplicas"] {
            Value::Null => "<unset>".into(),
            least => least.to_string().into(),
        }),
        read("MaxPods", "string", |o| number(&o["spec"]["maxReplicas"])),
        read("Replicas", "string", |o| number(&o["status"]["currentReplicas"])),
        Column::age(),
    ]
}

/// `cpu: 12%/80%` for each resource; other metrics by their name.
fn targets(o: &Value) -> Value {
    let metrics = list(&o["spec"]["metrics"]);
    if metrics.is_empty() {
        return "<none>".into();
    }
    let shown: Vec<String> = metrics.iter().zip(0..).take(2).map(|(metric, index)| target(o, metric, index)).collect();
    let more = metrics.len().saturating_sub(2);
    let more = if more == 0 { String::new() } else { format!(" + {more} more...") };
    format!("{}{more}", shown.join(", ")).into()
}

fn target(o: &Value, metric: &Value, index: usize) -> String {
    let kind = text(&metric["type"]);
    let source = match kind.as_str() {
        "Resource" => "resource",
        "ContainerResource" => "containerResource",
        "Pods" => "pods",
        "Object" => "object",
        _ => "external",
    };
    let (wanted, current) = (&metric[source]["target"], &o["status"]["currentMetrics"][index][source]["current"]);
    let pair = if !wanted["averageUtilization"].is_null() {
        let now = &current["averageUtilization"];
        let now = if now.is_null() { "<unknown>".into() } else { format!("{now}%") };
        format!("{now}/{}%", wanted["averageUtilization"])
    } else {
        let field = if wanted["averageValue"].is_null() { "value" } else { "averageValue" };
        let average = if field == "averageValue" && kind == "External" { " (avg)" } else { "" };
        format!("{}/{}{average}", text(&or(&current[field], "<unknown>")), text(&wanted[field]))
    };
    match kind.as_str() {
        "Resource" | "ContainerResource" => format!("{}: {pair}", text(&metric[source]["name"])),
        _ => pair,
    }
}

pub(in super::super) fn pod_disruption_budget() -> Vec<Column> {
    vec![
        read("Min Available", "string", |o| or(&o["spec"]["minAvailable"], "N/A")),
        read("Max Unavailable", "string", |o| or(&o["spec"]["maxUnavailable"], "N/A")),
        read("Allowed Disruptions", "integer", |o| number(&o["status"]["disruptionsAllowed"])),
        Column::age(),
    ]
}
