//! Whether a patched object still is one of its Go type.

use serde_json::Value;

use crate::local::go;
use crate::local::managed::{Scalar, Shape};

/// Why the value cannot be one of this shape, in Go's words for its own types.
pub(super) fn misfit(shape: &Shape, value: &Value) -> Option<String> {
    let kind = || match value {
        Value::Array(_) => "slice",
        Value::Object(_) => "map",
        Value::Number(_) => "int64",
        other => go::json_type(other),
    };
    match (shape, value) {
        (_, Value::Null) | (Shape::Any | Shape::Scalar(Scalar::Any), _) => None,
        (Shape::Scalar(scalar), _) => {
            let (fits, name) = match scalar {
                Scalar::Text => (value.is_string(), "string"),
                Scalar::Number => (value.is_number(), "int32"),
                Scalar::Long => (value.is_number(), "int64"),
                Scalar::Boolean | Scalar::Any => (value.is_boolean(), "bool"),
            };
            (!fits).then(|| format!("unrecognized type: {name}"))
        }
        (Shape::List { each, .. }, Value::Array(items)) => items.iter().find_map(|item| misfit(each, item)),
        (Shape::List { .. }, _) => Some(format!("cannot restore slice from {}", kind())),
        (Shape::Map { .. }, Value::Object(fields)) => {
            fields.iter().find_map(|(name, value)| misfit(shape.field(name)?, value))
        }
        (Shape::Map { fields, .. }, _) if fields.is_empty() => Some(format!("cannot restore map from {}", kind())),
        (Shape::Map { .. }, _) => Some(format!("cannot restore struct from: {}", kind())),
    }
}
