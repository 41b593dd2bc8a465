//! The columns that `kubectl get` shows, and how their cells are read from an object.

mod apps;
mod core;
mod network;
mod pods;

use serde_json::Value;

pub(super) use self::apps::*;
pub(super) use self::core::*;
pub(super) use self::network::*;
pub(in crate::local) use self::pods::conditions;
pub(super) use self::pods::pod;
use crate::local::table::{age, jsonpath};

type Read = fn(&Value) -> Value;

/// One column after the name.
#[derive(Clone)]
pub struct Column {
    pub name: String,
    pub kind: String,
    /// 0 is always shown, 1 with `-o wide` only.
    pub priority: i64,
    cell: Cell,
}

#[derive(Clone)]
enum Cell {
    /// As a CustomResourceDefinition's `additionalPrinterColumns` say it.
    Path(String),
    Read(Read),
}

impl Column {
    pub fn path(name: &str, kind: &str, path: &str) -> Self {
        Self { name: name.into(), kind: kind.into(), priority: 0, cell: Cell::Path(path.into()) }
    }

    /// The age column of custom resources.
    pub fn created() -> Self {
        Self::path("Age", "date", ".metadata.creationTimestamp")
    }

    /// The age column of the kinds that kubectl knows by their Go type.
    pub fn age() -> Self {
        read("Age", "string", |object| since(&object["metadata"]["creationTimestamp"]))
    }

    pub fn wide(mut self) -> Self {
        self.priority = 1;
        self
    }

    /// The column as a CustomResourceDefinition writes it down, if it can.
    pub fn definition(&self) -> Option<Value> {
        let Cell::Path(path) = &self.cell else { return None };
        let mut column = serde_json::json!({"name": self.name, "type": self.kind, "jsonPath": path});
        if self.priority != 0 {
            column["priority"] = self.priority.into();
        }
        Some(column)
    }

    /// What the column shows of this object.
    pub fn value(&self, object: &Value) -> Value {
        match &self.cell {
            Cell::Read(read) => read(object),
            Cell::Path(path) => match (jsonpath(object, path).first(), self.kind.as_str()) {
                (None | Some(Value::Null), _) => Value::Null,
                (Some(found), "date") => since(found),
                (Some(Value::String(found)), _) => found.as_str().into(),
                (Some(found), "string") => found.to_string().into(),
                (Some(found), _) => (*found).clone(),
            },
        }
    }
}

fn read(name: &str, kind: &str, cell: Read) -> Column {
    Column { name: name.into(), kind: kind.into(), priority: 0, cell: Cell::Read(cell) }
}

fn since(time: &Value) -> Value {
    match time.as_str() {
        Some(time) => age(time).into(),
        None => "<unknown>".into(),
    }
}

fn or(value: &Value, none: &str) -> Value {
    match value {
        Value::String(text) if !text.is_empty() => text.as_str().into(),
        Value::Null | Value::String(_) => none.into(),
        other => other.to_string().into(),
    }
}

fn number(value: &Value) -> Value {
    value.as_i64().unwrap_or(0).into()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn size(value: &Value) -> Value {
    value.as_object().map_or(0, serde_json::Map::len).into()
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

fn join(parts: impl IntoIterator<Item = String>, none: &str) -> Value {
    let parts: Vec<String> = parts.into_iter().collect();
    if parts.is_empty() { none.into() } else { parts.join(",").into() }
}

fn pairs(labels: &Value) -> Value {
    let labels = labels.as_object().into_iter().flatten();
    join(labels.map(|(key, value)| format!("{key}={}", text(value))), "<none>")
}

/// At most three of the parts, as kubectl shows endpoints.
fn few(parts: Vec<String>, none: &str) -> Value {
    let more = parts.len().saturating_sub(3);
    let shown = parts.into_iter().take(3).collect::<Vec<_>>();
    match (more, join(shown, none)) {
        (0, shown) => shown,
        (more, shown) => format!("{} + {more} more...", text(&shown)).into(),
    }
}

fn containers(template: &Value, field: &str) -> Value {
    join(list(&template["spec"]["containers"]).iter().map(|container| text(&container[field])), "<none>")
}
