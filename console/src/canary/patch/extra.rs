//! What a run puts on a route beside weights, and takes away again: a mirror filter on the
//! rule, or a rule before all others for requests that carry a header.

use serde_json::{Value, json};

use crate::{
    canary::{
        plan::{Header, Stage},
        record::Record,
    },
    intent::weights::{Backend, Pair, Refusal},
};

/// Operations that make the extras of `stage`, and none but those, stand on the route.
/// Removals by index come last: they move what follows.
pub(super) fn operations(
    route: &Value,
    pair: &Pair,
    record: &Record,
    stage: Option<Stage>,
) -> Result<Vec<Value>, Refusal> {
    let mut patch = Vec::new();
    let path = format!("/spec/rules/{}", pair.rule);
    let unreadable = || Refusal::Unreadable(path.clone());
    let rule = route.pointer(&path).ok_or_else(unreadable)?;
    let filters: &[Value] = rule.get("filters").and_then(Value::as_array).map_or(&[], Vec::as_slice);
    let ours = record.stage.as_deref() == Some("mirror");
    match (mirror(rule, &pair.canary).filter(|_| ours), stage) {
        (Some(_), Some(Stage::Mirror)) => {}
        (None, Some(Stage::Mirror)) => {
            let filter = json!({"type": "RequestMirror", "requestMirror": {"backendRef": bare(rule, &pair.canary)?}});
            patch.push(if filters.is_empty() {
                json!({"op": "add", "path": format!("{path}/filters"), "value": [filter]})
            } else {
                json!({"op": "add", "path": format!("{path}/filters/-"), "value": filter})
            });
        }
        (Some(index), _) if filters.len() == 1 && !record.filters => {
            patch.push(json!({"op": "test", "path": format!("{path}/filters/{index}"), "value": filters[index]}));
            patch.push(json!({"op": "remove", "path": format!("{path}/filters")}));
        }
        (Some(index), _) => {
            patch.push(json!({"op": "test", "path": format!("{path}/filters/{index}"), "value": filters[index]}));
            patch.push(json!({"op": "remove", "path": format!("{path}/filters/{index}")}));
        }
        (None, _) => {}
    }
    let Some(header) = &record.header else { return Ok(patch) };
    let ours = record.stage.as_deref() == Some("header");
    match (header_rule(route, &pair.canary, header).filter(|_| ours), stage) {
        (Some(_), Some(Stage::Header)) | (None, None | Some(Stage::Mirror | Stage::Weight(_))) => {}
        (None, Some(Stage::Header)) => {
            patch
                .push(json!({"op": "add", "path": "/spec/rules/0", "value": with_header(rule, &pair.canary, header)?}));
        }
        (Some(index), _) => {
            let path = format!("/spec/rules/{index}");
            let there = route.pointer(&path).ok_or_else(unreadable)?;
            patch.push(json!({"op": "test", "path": path, "value": there}));
            patch.push(json!({"op": "remove", "path": path}));
        }
    }
    Ok(patch)
}

fn same(reference: &Value, backend: &Backend) -> bool {
    let text = |field: &str| reference.get(field).and_then(Value::as_str);
    text("name") == Some(backend.name.as_str())
        && text("namespace") == backend.namespace.as_deref()
        && reference.get("port").and_then(Value::as_u64) == backend.port.map(u64::from)
}

/// Position of the filter that mirrors to the canary.
pub fn mirror(rule: &Value, canary: &Backend) -> Option<usize> {
    rule.get("filters")?.as_array()?.iter().position(|filter| {
        filter.get("type").and_then(Value::as_str) == Some("RequestMirror")
            && filter.pointer("/requestMirror/backendRef").is_some_and(|reference| same(reference, canary))
    })
}

/// Position of the rule that gives requests with the header to the canary alone.
pub fn header_rule(route: &Value, canary: &Backend, header: &Header) -> Option<usize> {
    let has = |one: &Value| {
        one.get("headers").and_then(Value::as_array).into_iter().flatten().any(|known| {
            let text = |field: &str| known.get(field).and_then(Value::as_str).unwrap_or_default();
            text("name").eq_ignore_ascii_case(&header.name) && text("value") == header.value
        })
    };
    route.pointer("/spec/rules")?.as_array()?.iter().position(|rule| {
        let list = |field: &str| rule.get(field).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let (refs, matches) = (list("backendRefs"), list("matches"));
        refs.len() == 1 && same(&refs[0], canary) && !matches.is_empty() && matches.iter().all(has)
    })
}

/// The canary's reference as the rule has it, without its weight and filters.
fn bare(rule: &Value, canary: &Backend) -> Result<Value, Refusal> {
    let mut reference = rule
        .pointer(&format!("/backendRefs/{}", canary.index))
        .and_then(Value::as_object)
        .cloned()
        .ok_or_else(|| Refusal::Unreadable("backendRefs".to_owned()))?;
    reference.remove("weight");
    reference.remove("filters");
    Ok(Value::Object(reference))
}

/// The rule for those who send the header: all else as in the rule that it goes before.
fn with_header(rule: &Value, canary: &Backend, header: &Header) -> Result<Value, Refusal> {
    let mut rule_object = rule.as_object().cloned().ok_or_else(|| Refusal::Unreadable("rules".to_owned()))?;
    // Names of rules are unique.
    rule_object.remove("name");
    let mut reference = rule
        .pointer(&format!("/backendRefs/{}", canary.index))
        .cloned()
        .ok_or_else(|| Refusal::Unreadable("backendRefs".to_owned()))?;
    reference["weight"] = json!(1);
    rule_object.insert("backendRefs".to_owned(), json!([reference]));
    let known = rule.get("matches").and_then(Value::as_array).filter(|matches| !matches.is_empty());
    let mut matches = known.cloned().unwrap_or_else(|| vec![json!({})]);
    for one in &mut matches {
        let mut headers = one.get("headers").and_then(Value::as_array).cloned().unwrap_or_default();
        headers.push(json!({"type": "Exact", "name": header.name, "value": header.value}));
        one["headers"] = Value::Array(headers);
    }
    rule_object.insert("matches".to_owned(), Value::Array(matches));
    Ok(Value::Object(rule_object))
}
