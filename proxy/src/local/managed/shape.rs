//! What merging has to know of a kind: which of its maps and lists are one value, and by what the
//! items of the others are told apart.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use serde_json::{Value, json};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::local) enum Scalar {
    Text,
    Number,
    /// A number of 64 bits.
    Long,
    Boolean,
    Any,
}

/// How the items of a list are told apart.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::local) enum Items {
    /// Not at all: the list is one value.
    Atomic,
    /// Plain values, each once.
    Set,
    /// By these fields, and the value that each has where it is missing.
    Keys(Vec<(String, Option<Value>)>),
}

/// What a strategic merge patch does to a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::local) enum Patching {
    Replace,
    /// Merges plain values, each once.
    Set,
    /// Merges items by this field.
    By(String),
}

#[derive(Clone, Debug, PartialEq)]
pub(in crate::local) enum Shape {
    Scalar(Scalar),
    Map {
        fields: BTreeMap<String, Arc<Shape>>,
        /// Of fields without a name of their own; `None` allows none.
        each: Option<Arc<Shape>>,
        atomic: bool,
    },
    List {
        each: Arc<Shape>,
        items: Items,
        patch: Patching,
    },
    /// By the value itself: lists are one value, maps are not.
    Any,
}

/// Deeper schemas are taken as they come.
const DEPTH: usize = 64;

static METADATA: LazyLock<Arc<Shape>> = LazyLock::new(|| {
    let text = json!({"type": "string"});
    let texts = json!({"type": "object", "additionalProperties": text});
    let owner = json!({
        "type": "object", "x-kubernetes-map-type": "atomic",
        "properties": {
            "apiVersion": text, "kind": text, "name": text, "uid": text,
            "controller": {"type": "boolean"}, "blockOwnerDeletion": {"type": "boolean"},
        },
    });
    let number = json!({"type": "integer"});
    Arc::new(Shape::of(&json!({
        "type": "object",
        "properties": {
            "name": text, "generateName": text, "namespace": text, "selfLink": text, "uid": text,
            "resourceVersion": text, "generation": number, "creationTimestamp": text,
            "deletionTimestamp": text, "deletionGracePeriodSeconds": number,
            "labels": texts, "annotations": texts,
            "finalizers": {"type": "array", "items": text, "x-kubernetes-list-type": "set"},
            "ownerReferences": {
                "type": "array", "items": owner,
                "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["uid"],
            },
            "managedFields": {"type": "array", "items": {"type": "object"}},
        },
    })))
});

impl Shape {
    /// The shape of whole objects of a kind with this OpenAPI schema, or with none.
    pub(in crate::local) fn of_object(schema: Option<&Value>) -> Self {
        let (mut fields, each, atomic) = match schema.map(Self::of) {
            Some(Self::Map { fields, each, atomic }) => (fields, each, atomic),
            _ => (BTreeMap::new(), Some(Arc::new(Self::Any)), false),
        };
        for name in ["apiVersion", "kind"] {
            fields.insert(name.into(), Arc::new(Self::Scalar(Scalar::Text)));
        }
        fields.insert("metadata".into(), METADATA.clone());
        Self::Map { fields, each, atomic }
    }

    pub(super) fn of(schema: &Value) -> Self {
        Self::at(schema, 0)
    }

    fn at(schema: &Value, depth: usize) -> Self {
        let flag = |name: &str| schema[name] == true;
        if depth > DEPTH {
            return Self::Any;
        }
        if flag("x-kubernetes-int-or-string") || schema["format"] == "int-or-string" {
            return Self::Scalar(Scalar::Any);
        }
        // The published schema of a built-in kind refers to others by an `allOf` of one.
        if let (Value::Null, Some([only])) = (&schema["type"], schema["allOf"].as_array().map(Vec::as_slice)) {
            return Self::at(only, depth + 1);
        }
        let inner = |schema: &Value| Arc::new(Self::at(schema, depth + 1));
        match schema["type"].as_str() {
            Some("string") => Self::Scalar(Scalar::Text),
            Some("integer") if schema["format"] == "int64" => Self::Scalar(Scalar::Long),
            Some("integer" | "number") => Self::Scalar(Scalar::Number),
            Some("boolean") => Self::Scalar(Scalar::Boolean),
            Some("array") => Self::list(schema, inner(&schema["items"])),
            kind => {
                let fields: BTreeMap<_, _> = schema["properties"]
                    .as_object()
                    .into_iter()
                    .flatten()
                    .map(|(name, schema)| (name.clone(), inner(schema)))
                    .collect();
                let open = flag("x-kubernetes-preserve-unknown-fields") || flag("x-kubernetes-embedded-resource");
                let each = match &schema["additionalProperties"] {
                    each @ Value::Object(_) => Some(inner(each)),
                    Value::Bool(true) => Some(Arc::new(Self::Any)),
                    _ if open || fields.is_empty() => Some(Arc::new(Self::Any)),
                    _ => None,
                };
                let atomic = schema["x-kubernetes-map-type"] == "atomic";
                let free = fields.is_empty() && !schema["additionalProperties"].is_object();
                if kind.is_none() && free && !atomic { Self::Any } else { Self::Map { fields, each, atomic } }
            }
        }
    }

    fn list(schema: &Value, each: Arc<Self>) -> Self {
        let keyed = |names: Vec<&str>| {
            let default = |name: &str| match &*each {
                Self::Map { .. } => Some(&schema["items"]["properties"][name]["default"]).filter(|v| !v.is_null()),
                _ => None,
            };
            Items::Keys(names.into_iter().map(|name| (name.to_owned(), default(name).cloned())).collect())
        };
        let strategy = schema["x-kubernetes-patch-strategy"].as_str().unwrap_or_default();
        let merged = strategy.split(',').any(|word| word == "merge");
        let items = match (schema["x-kubernetes-list-type"].as_str(), schema["x-kubernetes-patch-merge-key"].as_str()) {
            (Some("map"), _) => {
                let keys = schema["x-kubernetes-list-map-keys"].as_array().into_iter().flatten();
                keyed(keys.filter_map(Value::as_str).collect())
            }
            (Some("set"), _) => Items::Set,
            (None, Some(key)) if merged => keyed(vec![key]),
            (None, None) if merged => Items::Set,
            _ => Items::Atomic,
        };
        let patch = match schema["x-kubernetes-patch-merge-key"].as_str() {
            Some(key) if merged => Patching::By(key.to_owned()),
            None if merged => Patching::Set,
            _ => Patching::Replace,
        };
        Self::List { each, items, patch }
    }

    /// The shape of one field of a map.
    pub(in crate::local) fn field(&self, name: &str) -> Option<&Shape> {
        match self {
            Self::Map { fields, each, .. } => fields.get(name).or(each.as_ref()).map(|shape| &**shape),
            Self::Any => Some(self),
            _ => None,
        }
    }

    /// Whether a field has a name of its own, rather than being one entry of many.
    pub(super) fn names(&self, name: &str) -> bool {
        matches!(self, Self::Map { fields, .. } if fields.contains_key(name))
    }
}
