//! An object as it was received.

use std::{fmt, sync::Arc};

use jiff::Timestamp;
use serde_json::Value;

use super::json;

/// Kept as text and shared: a tree of maps takes ten times as much memory, and few of thousands
/// of objects are ever looked into again.
#[derive(Clone, PartialEq, Eq)]
pub struct Object(Arc<Held>);

#[derive(PartialEq, Eq)]
struct Held {
    text: Box<str>,
    created: Option<Timestamp>,
}

impl Object {
    pub fn value(&self) -> Value {
        // It was made of a value.
        serde_json::from_str(&self.0.text).unwrap_or_default()
    }

    pub fn created(&self) -> Option<Timestamp> {
        self.0.created
    }
}

impl From<Value> for Object {
    fn from(value: Value) -> Self {
        Self(Arc::new(Held { created: json::created(&value), text: value.to_string().into() }))
    }
}

/// As JSON.
impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.text)
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.text)
    }
}
