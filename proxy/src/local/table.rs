//! `Table` and `PartialObjectMetadata`: what `kubectl get` and metadata clients ask for.

use serde_json::{Map, Value, json};

use super::kinds::{Kind, conditions};

/// How much of each object a table's rows carry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Include {
    None,
    #[default]
    Metadata,
    Object,
}

pub(super) fn columns(kind: &Kind) -> Value {
    let name = json!({
        "name": "Name", "type": "string", "format": "name", "priority": 0,
        "description": "Name must be unique within a namespace.",
    });
    let mut columns = Vec::from_iter((!names_itself(kind)).then_some(name));
    for column in &kind.columns {
        let format = if column.name == "Name" { "name" } else { "" };
        columns.push(json!({
            "name": column.name, "type": column.kind, "format": format, "description": "", "priority": column.priority,
        }));
    }
    Value::Array(columns)
}

/// Whether the name has a place of its own among the columns, which is not the first.
fn names_itself(kind: &Kind) -> bool {
    kind.columns.iter().any(|column| column.name == "Name")
}

pub(super) fn row(kind: &Kind, object: &Value, include: Include) -> Value {
    let mut cells = Vec::from_iter((!names_itself(kind)).then(|| object["metadata"]["name"].clone()));
    cells.extend(kind.columns.iter().map(|column| column.value(object)));
    let mut row = json!({"cells": cells});
    if kind.group.is_empty()
        && kind.kind == "Pod"
        && let Some(conditions) = conditions(object)
    {
        row["conditions"] = conditions;
    }
    match include {
        Include::None => {}
        Include::Metadata => row["object"] = partial(object),
        Include::Object => row["object"] = object.clone(),
    }
    row
}

/// `metadata` of the table is the list's, or the resourceVersion of the one object.
pub(super) fn table(metadata: Value, columns: Value, rows: Vec<Value>) -> Value {
    let mut table = json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1"});
    table["metadata"] = metadata;
    table["columnDefinitions"] = columns;
    table["rows"] = Value::Array(rows);
    table
}

pub(super) fn partial(object: &Value) -> Value {
    let mut metadata = object["metadata"].clone();
    // This one is a field of the spec, and an annotation in the whole object only.
    if object["kind"] == "DaemonSet"
        && let Some(annotations) = metadata["annotations"].as_object_mut()
    {
        annotations.remove("deprecated.daemonset.template.generation");
        if annotations.is_empty()
            && let Some(metadata) = metadata.as_object_mut()
        {
            metadata.remove("annotations");
        }
    }
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata})
}

/// The time since an RFC 3339 time, as kubectl writes it: two units at most.
pub(super) fn age(time: &str) -> String {
    let Ok(time) = time.parse::<jiff::Timestamp>() else { return "<invalid>".into() };
    human(jiff::Timestamp::now().as_second() - time.as_second())
}

pub(super) fn human(seconds: i64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let two = |whole: i64, unit: &str, rest: i64, small: &str| {
        if rest == 0 { format!("{whole}{unit}") } else { format!("{whole}{unit}{rest}{small}") }
    };
    match seconds {
        ..-1 => "<invalid>".into(),
        -1 => "0s".into(),
        0..120 => format!("{seconds}s"),
        120..600 => two(minutes, "m", seconds % 60, "s"),
        600..10_800 => format!("{minutes}m"),
        10_800..28_800 => two(hours, "h", minutes % 60, "m"),
        28_800..172_800 => format!("{hours}h"),
        172_800..691_200 => two(days, "d", hours % 24, "h"),
        691_200..63_072_000 => format!("{days}d"),
        63_072_000..252_288_000 => two(days / 365, "y", days % 365, "d"),
        _ => format!("{}y", days / 365),
    }
}

/// The part of JSONPath which printer columns and field selectors use: `.field`, `[*]`, `[0]`
/// and `[?(@.field=="value")]`.
pub(super) fn jsonpath<'a>(object: &'a Value, path: &str) -> Vec<&'a Value> {
    let mut found = vec![object];
    let mut rest = path;
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('[') {
            let Some(end) = after.find(']') else { return Vec::new() };
            let step = &after[..end];
            rest = &after[end + 1..];
            let items = found.into_iter().filter_map(Value::as_array);
            found = if step == "*" {
                items.flatten().collect()
            } else if let Ok(index) = step.parse::<usize>() {
                items.filter_map(|items| items.get(index)).collect()
            } else {
                let condition = step.strip_prefix("?(@.").and_then(|step| step.strip_suffix(')'));
                let Some((field, value)) = condition.and_then(|condition| condition.split_once("==")) else {
                    return Vec::new();
                };
                let value = value.trim().trim_matches(['"', '\'']);
                items.flatten().filter(|item| item[field.trim()] == value).collect()
            };
            continue;
        }
        let after = rest.strip_prefix('.').unwrap_or(rest);
        let end = after.find(['.', '[']).unwrap_or(after.len());
        let field = &after[..end];
        if field.is_empty() {
            return Vec::new();
        }
        rest = &after[end..];
        found = found
            .into_iter()
            .filter_map(|value| value.as_object())
            .filter_map(|map: &Map<_, _>| map.get(field))
            .collect();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_have_two_units_at_most() {
        let shown: Vec<_> =
            [5, 119, 120, 125, 600, 3600 * 3, 3600 * 5 + 60, 3600 * 9, 86_400 * 3 + 3600, 86_400 * 9, 86_400 * 800]
                .map(human)
                .into();
        assert_eq!(shown, ["5s", "119s", "2m", "2m5s", "10m", "3h", "5h1m", "9h", "3d1h", "9d", "2y70d"]);
    }

    #[test]
    fn jsonpath_follows_fields_indices_and_conditions() {
        let object = json!({"status": {"conditions": [{"type": "A", "status": "1"}, {"type": "B", "status": "2"}]}});
        assert_eq!(jsonpath(&object, ".status.conditions[?(@.type==\"B\")].status"), ["2"]);
        assert_eq!(jsonpath(&object, ".status.conditions[*].type"), ["A", "B"]);
        assert_eq!(jsonpath(&object, ".status.conditions[1].type"), ["B"]);
        assert!(jsonpath(&object, ".status.none.deeper").is_empty());
        assert!(jsonpath(&object, ".status.conditions[oops").is_empty());
    }
}
