//! `gwtop status`: what the controllers say of Gateways and routes, for pipelines.

use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    cluster::{
        connect::Connection,
        read::{self, Failure},
    },
    exit::Exit,
    model::key::Kind,
    print,
};

const SCHEMA: &str = "gwtop.dev/status/v1";

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Line {
    kind: &'static str,
    namespace: String,
    name: String,
    healthy: bool,
    reason: String,
}

/// Prints the health of what is there; [`Exit::ProblemsFound`] if any of it is not well.
pub async fn run(connection: &Connection, namespace: Option<&str>, labels: Option<&str>, json: bool) -> Exit {
    let mut lines = Vec::new();
    for kind in [Kind::Gateway, Kind::HttpRoute] {
        match read::list(connection, kind, namespace, labels).await {
            Ok(objects) => lines.extend(objects.iter().map(|object| line(kind, object))),
            Err(failure) => {
                eprintln!("gwtop: cannot list {} at {}: {failure}", kind.plural(), connection.cluster_url);
                return match failure {
                    Failure::NotFound(_) | Failure::Rejected(_) => Exit::Usage,
                    _ => Exit::Unreachable,
                };
            }
        }
    }
    // Problems first.
    lines.sort_by(|a, b| (a.healthy, a.kind, &a.namespace, &a.name).cmp(&(b.healthy, b.kind, &b.namespace, &b.name)));
    let healthy = lines.iter().all(|line| line.healthy);
    if json {
        println!("{}", json!({"schema": SCHEMA, "context": connection.context, "healthy": healthy, "items": lines}));
    } else if lines.is_empty() {
        eprintln!("gwtop: no Gateway and no HTTPRoute there; -A looks in all namespaces");
    } else {
        let rows: Vec<Vec<String>> = lines
            .iter()
            .map(|line| {
                let health = if line.healthy { "✓ ok" } else { "✗ bad" };
                vec![
                    health.to_owned(),
                    line.kind.to_owned(),
                    line.namespace.clone(),
                    line.name.clone(),
                    line.reason.clone(),
                ]
            })
            .collect();
        print!("{}", print::table(&["HEALTH", "KIND", "NAMESPACE", "NAME", "REASON"], &rows));
    }
    if healthy { Exit::Ok } else { Exit::ProblemsFound }
}

fn line(kind: Kind, object: &Value) -> Line {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let reason = match kind {
        Kind::Gateway => problem(object, object.get("status"), &["Accepted", "Programmed"]),
        _ => parents(object),
    };
    Line {
        kind: kind.name(),
        namespace: text("/metadata/namespace"),
        name: text("/metadata/name"),
        healthy: reason.is_none(),
        reason: reason.unwrap_or_default(),
    }
}

fn parents(route: &Value) -> Option<String> {
    let parents = route.pointer("/status/parents").and_then(Value::as_array).filter(|parents| !parents.is_empty());
    let Some(parents) = parents else { return Some("no Gateway has answered".to_owned()) };
    parents.iter().find_map(|parent| {
        let name = parent.pointer("/parentRef/name").and_then(Value::as_str).unwrap_or_default();
        problem(route, Some(parent), &["Accepted", "ResolvedRefs"]).map(|problem| format!("{name}: {problem}"))
    })
}

/// The first of the wanted conditions that does not hold for this generation.
fn problem(object: &Value, holder: Option<&Value>, wanted: &[&str]) -> Option<String> {
    let generation = object.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or_default();
    let conditions = holder.and_then(|holder| holder.get("conditions")).and_then(Value::as_array);
    wanted
        .iter()
        .find_map(|wanted| {
            let text = |condition: &Value, field: &str| {
                condition.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
            };
            let condition = conditions?.iter().find(|condition| text(condition, "type") == *wanted);
            let Some(condition) = condition else { return Some(format!("{wanted} is unknown")) };
            if text(condition, "status") != "True" {
                return Some(format!(
                    "{wanted}={} {}: {}",
                    text(condition, "status"),
                    text(condition, "reason"),
                    text(condition, "message")
                ));
            }
            let seen = condition.get("observedGeneration").and_then(Value::as_i64).unwrap_or(generation);
            (seen < generation).then(|| format!("{wanted} is of an older version"))
        })
        .or_else(|| conditions.is_none().then(|| "no controller has answered".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(status: &str, observed: i64) -> Value {
        let condition = |kind: &str, status: &str| json!({"type": kind, "status": status, "reason": "R", "message": "m", "observedGeneration": observed});
        json!({
            "metadata": {"name": "app", "namespace": "shop", "generation": 2},
            "status": {"parents": [{"parentRef": {"name": "gw"}, "conditions": [condition("Accepted", status), condition("ResolvedRefs", "True")]}]},
        })
    }

    #[test]
    fn a_route_is_well_when_every_parent_says_so_of_this_generation() {
        assert!(line(Kind::HttpRoute, &route("True", 2)).healthy);
        assert_eq!(line(Kind::HttpRoute, &route("False", 2)).reason, "gw: Accepted=False R: m");
        assert_eq!(line(Kind::HttpRoute, &route("True", 1)).reason, "gw: Accepted is of an older version");
        assert!(!line(Kind::HttpRoute, &json!({"metadata": {"name": "x"}})).healthy);
        assert!(!line(Kind::Gateway, &json!({"metadata": {"name": "x"}})).healthy);
    }
}
