//! Editing an object as YAML: the text that is edited, and the plan that an edited text comes to.

use json_patch::{Patch, PatchOperation};
use regex::Regex;
use serde_json::{Map, Value, json};
use similar::{ChangeTag, TextDiff};

use super::plan::{Change, DiffLine, Plan, operations, test_uid};
use crate::{
    model::key::ObjectKey,
    yaml::{self, Node},
};

#[cfg(test)]
mod tests;

/// Fields of the metadata that are the server's own.
const SERVER: [&str; 6] = ["managedFields", "uid", "resourceVersion", "generation", "creationTimestamp", "selfLink"];
/// Lines around a change.
const AROUND: usize = 2;

/// Why a text is no plan, and on which line where that is known (from 0).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    pub line: Option<usize>,
    pub why: String,
}

impl Wrong {
    fn new(why: impl Into<String>) -> Self {
        Self { line: None, why: why.into() }
    }
}

/// What is offered for editing: everything that is not the server's or a controller's.
pub fn text(object: &Value) -> Result<String, Wrong> {
    serde_saphyr::to_string(&editable(object)).map_err(|error| Wrong::new(format!("cannot be shown: {error}")))
}

fn editable(object: &Value) -> Value {
    let mut own = object.clone();
    if let Some(fields) = own.as_object_mut() {
        fields.remove("status");
    }
    if let Some(metadata) = own.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|name, _| !SERVER.contains(&name.as_str()));
    }
    own
}

/// The plan that turns the object into what the text says.
pub fn plan(key: &ObjectKey, object: &Value, text: &str) -> Result<Plan, Wrong> {
    let new = read(text)?;
    for field in ["/apiVersion", "/kind", "/metadata/name", "/metadata/namespace"] {
        if new.pointer(field) != object.pointer(field) {
            let name = field[1..].replace('/', ".");
            let line = line_of(text, &name);
            return Err(Wrong { line, why: format!("{name} says which object it is: it cannot be edited") });
        }
    }
    if new.get("status").is_some() {
        return Err(Wrong {
            line: line_of(text, "status"),
            why: "status is the controllers': it is not edited".to_owned(),
        });
    }
    let mut after = object.clone();
    put(&mut after, new);
    let changes = json_patch::diff(object, &after);
    if changes.is_empty() {
        return Err(Wrong::new("nothing is changed"));
    }
    let mut patch: Vec<Value> = test_uid(object).into_iter().collect();
    // The list that an index points into is the one that was read.
    let generation = object.pointer("/metadata/generation").map(|seen| ("/metadata/generation", seen));
    let version = || object.pointer("/metadata/resourceVersion").map(|seen| ("/metadata/resourceVersion", seen));
    patch.extend(generation.or_else(version).map(|(path, seen)| json!({"op": "test", "path": path, "value": seen})));
    patch.extend(ops(&changes));
    let mut inverse: Vec<Value> = test_uid(object).into_iter().collect();
    inverse.extend(tested(&after, &json_patch::diff(&after, object))?);
    let places: Vec<String> = changes.iter().map(|one| one.path().to_string()).collect();
    Ok(Plan {
        target: key.clone(),
        summary: format!("{} {key} edited: {}", key.kind.name(), places.join(", ")),
        patch: operations(patch),
        inverse: operations(inverse),
        diff: diff(&self::text(object)?, &self::text(&after)?),
    })
}

/// The plan that takes an earlier one back, if nothing that it wrote has moved since.
pub fn undo(plan: &Plan) -> Plan {
    let diff = plan.diff.iter().map(|line| {
        let change = match line.change {
            Change::Same => Change::Same,
            Change::Removed => Change::Added,
            Change::Added => Change::Removed,
        };
        DiffLine { change, text: line.text.clone() }
    });
    Plan {
        target: plan.target.clone(),
        summary: format!("undo: {}", plan.summary),
        patch: plan.inverse.clone(),
        inverse: plan.patch.clone(),
        diff: diff.collect(),
    }
}

/// The line of the field that an API's error message names, in the text that was sent.
pub fn place(text: &str, message: &str) -> Option<usize> {
    let fields = Regex::new(r"\b(?:spec|metadata|data)(?:\.[A-Za-z][A-Za-z0-9]*|\[\d+\])+").ok()?;
    fields.find_iter(message).find_map(|found| line_of(text, found.as_str()))
}

fn read(text: &str) -> Result<Value, Wrong> {
    let mut documents = yaml::documents(text).into_iter();
    let (Some(one), None) = (documents.next(), documents.next()) else {
        return Err(Wrong::new("the text has to be one YAML document: one object is edited"));
    };
    let node = one.node.map_err(|why| Wrong { line: numbered(&why), why })?;
    let value = node.value();
    if value.is_object() { Ok(value) } else { Err(Wrong::new("the text is no object")) }
}

/// The line that a parser's message names.
fn numbered(why: &str) -> Option<usize> {
    let found = Regex::new(r"line (\d+)").ok()?.captures(why)?;
    found[1].parse::<usize>().ok()?.checked_sub(1)
}

fn put(object: &mut Value, new: Value) {
    let Value::Object(new) = new else { return };
    let Some(fields) = object.as_object_mut() else { return };
    fields.retain(|name, _| name == "status" || name == "metadata");
    for (name, value) in new {
        if name == "metadata" {
            let metadata = fields.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
            if let (Some(old), Value::Object(own)) = (metadata.as_object_mut(), value) {
                old.retain(|name, _| SERVER.contains(&name.as_str()));
                old.extend(own.into_iter().filter(|(name, _)| !SERVER.contains(&name.as_str())));
            }
        } else {
            fields.insert(name, value);
        }
    }
}

fn ops(patch: &Patch) -> Vec<Value> {
    patch.iter().map(|one| json!(one)).collect()
}

/// Each operation behind a test that what it takes away or replaces is what is thought to be there.
fn tested(object: &Value, patch: &Patch) -> Result<Vec<Value>, Wrong> {
    let mut now = object.clone();
    let mut all = Vec::new();
    for operation in patch.iter() {
        if matches!(operation, PatchOperation::Remove(_) | PatchOperation::Replace(_))
            && let Some(seen) = now.pointer(operation.path().as_ref())
        {
            all.push(json!({"op": "test", "path": operation.path().to_string(), "value": seen}));
        }
        all.push(json!(operation));
        let step = Patch(vec![operation.clone()]);
        json_patch::patch(&mut now, &step).map_err(|error| Wrong::new(format!("cannot be undone: {error}")))?;
    }
    Ok(all)
}

fn diff(before: &str, after: &str) -> Vec<DiffLine> {
    let diff = TextDiff::from_lines(before, after);
    let mut lines = Vec::new();
    for (at, group) in diff.grouped_ops(AROUND).iter().enumerate() {
        if at > 0 {
            lines.push(DiffLine { change: Change::Same, text: "...".to_owned() });
        }
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            let kind = match change.tag() {
                ChangeTag::Equal => Change::Same,
                ChangeTag::Delete => Change::Removed,
                ChangeTag::Insert => Change::Added,
            };
            lines.push(DiffLine { change: kind, text: change.value().trim_end_matches('\n').to_owned() });
        }
    }
    lines
}

/// The line (from 0) of a field such as `spec.rules[0].name`, or of the nearest that is there.
fn line_of(text: &str, path: &str) -> Option<usize> {
    let document = yaml::documents(text).into_iter().next()?;
    let root = document.node.ok()?;
    let mut node: &Node = &root;
    let mut line = None;
    for part in path.split(['.', '[']) {
        let next = match part.strip_suffix(']') {
            Some(index) => node.items().get(index.parse::<usize>().ok()?).map(|item| (item.line, item)),
            None => node.field(part),
        };
        let Some((at, below)) = next else { break };
        line = usize::try_from(at).ok()?.checked_sub(1);
        node = below;
    }
    line
}
