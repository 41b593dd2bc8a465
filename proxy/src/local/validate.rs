//! Kubernetes structural schemas: prune, default, validate.
//!
//! A schema is compiled once into [`Node`]s; every walk is driven by the schema, so its depth is
//! bounded by `MAX_DEPTH` and an object cannot make it deeper. Messages and paths are worded as
//! a kube-apiserver words them, so that clients which parse them keep working.

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::{Map, Value};

use super::admit::{FieldError, FieldErrorKind};
use rules::Rule;
pub(super) use rules::{RuleError, check_rules};

mod check;
mod rules;

#[cfg(test)]
mod tests;

const MAX_DEPTH: usize = 64;

#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    #[error("schema at {path}: deeper than {MAX_DEPTH} levels")]
    TooDeep { path: String },
    #[error("schema at {path}: {what} must be {expected}")]
    Malformed { path: String, what: &'static str, expected: &'static str },
    #[error("schema at {path}: pattern cannot be used: {source}")]
    Pattern { path: String, source: Box<regex::Error> },
    #[error("schema at {path}: rule cannot be used: {reason}")]
    Rule { path: String, reason: String },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    Object,
    Array,
    String,
    Integer,
    Number,
    Boolean,
}

impl Type {
    fn name(self) -> &'static str {
        match self {
            Self::Object => "object",
            Self::Array => "array",
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
        }
    }
}

#[derive(Debug, Default)]
enum Additional {
    #[default]
    No,
    Any,
    Each(Box<Node>),
}

#[derive(Debug, Default)]
enum ListType {
    #[default]
    Atomic,
    Set,
    Map(Vec<String>),
}

/// One compiled schema.
#[derive(Debug, Default)]
pub struct Node {
    type_: Option<Type>,
    nullable: bool,
    int_or_string: bool,
    preserve_unknown: bool,
    properties: BTreeMap<String, Node>,
    required: Vec<String>,
    additional: Additional,
    items: Option<Box<Node>>,
    list: ListType,
    enum_: Vec<Value>,
    pattern: Option<Regex>,
    format: Option<String>,
    minimum: Option<(f64, bool)>,
    maximum: Option<(f64, bool)>,
    min_length: Option<u64>,
    max_length: Option<u64>,
    min_items: Option<u64>,
    max_items: Option<u64>,
    min_properties: Option<u64>,
    max_properties: Option<u64>,
    default: Option<Value>,
    /// A whole object of some kind: `apiVersion`, `kind` and `metadata` are its own.
    embedded: bool,
    rules: Vec<Rule>,
    /// Whether rules stand here or below.
    has_rules: bool,
    all_of: Vec<Node>,
    any_of: Vec<Node>,
    one_of: Vec<Node>,
    not: Option<Box<Node>>,
}

impl Node {
    pub fn compile(schema: &Value) -> Result<Self, SchemaError> {
        let mut node = Self::at(schema, "$", 0)?;
        node.count_rules();
        Ok(node)
    }

    fn at(schema: &Value, path: &str, depth: usize) -> Result<Self, SchemaError> {
        if depth > MAX_DEPTH {
            return Err(SchemaError::TooDeep { path: path.to_owned() });
        }
        let malformed = |what: &'static str, expected: &'static str| SchemaError::Malformed {
            path: path.to_owned(),
            what,
            expected,
        };
        let schema = schema.as_object().ok_or_else(|| malformed("it", "an object"))?;
        let flag = |key: &str| schema.get(key).and_then(Value::as_bool).unwrap_or(false);
        let count = |key: &str| schema.get(key).and_then(Value::as_u64);
        let bound =
            |key: &str, exclusive: &str| schema.get(key).and_then(Value::as_f64).map(|limit| (limit, flag(exclusive)));
        let list = |key: &str| -> Result<Vec<Self>, SchemaError> {
            let Some(branches) = schema.get(key).and_then(Value::as_array) else { return Ok(Vec::new()) };
            branches.iter().map(|branch| Self::at(branch, &format!("{path}.{key}"), depth + 1)).collect()
        };
        let boxed = |key: &str| -> Result<Option<Box<Self>>, SchemaError> {
            let Some(inner) = schema.get(key) else { return Ok(None) };
            Ok(Some(Box::new(Self::at(inner, &format!("{path}.{key}"), depth + 1)?)))
        };

        let type_ = match schema.get("type").and_then(Value::as_str) {
            None | Some("") => None,
            Some("object") => Some(Type::Object),
            Some("array") => Some(Type::Array),
            Some("string") => Some(Type::String),
            Some("integer") => Some(Type::Integer),
            Some("number") => Some(Type::Number),
            Some("boolean") => Some(Type::Boolean),
            Some(_) => return Err(malformed("type", "object, array, string, integer, number or boolean")),
        };
        let mut properties = BTreeMap::new();
        if let Some(inner) = schema.get("properties") {
            for (name, inner) in inner.as_object().ok_or_else(|| malformed("properties", "an object"))? {
                properties.insert(name.clone(), Self::at(inner, &join(path, name), depth + 1)?);
            }
        }
        let pattern = match schema.get("pattern").and_then(Value::as_str) {
            None => None,
            Some(pattern) => Some(
                Regex::new(pattern)
                    .map_err(|source| SchemaError::Pattern { path: path.to_owned(), source: Box::new(source) })?,
            ),
        };
        let additional = match schema.get("additionalProperties") {
            None | Some(Value::Bool(false)) => Additional::No,
            Some(Value::Bool(true)) => Additional::Any,
            Some(inner) => Additional::Each(Box::new(Self::at(inner, &format!("{path}.*"), depth + 1)?)),
        };
        let list_type = match schema.get("x-kubernetes-list-type").and_then(Value::as_str) {
            Some("set") => ListType::Set,
            Some("map") => ListType::Map(strings(schema.get("x-kubernetes-list-map-keys"))),
            _ => ListType::Atomic,
        };
        Ok(Self {
            type_,
            nullable: flag("nullable"),
            int_or_string: flag("x-kubernetes-int-or-string"),
            preserve_unknown: flag("x-kubernetes-preserve-unknown-fields"),
            properties,
            required: strings(schema.get("required")),
            additional,
            items: boxed("items")?,
            list: list_type,
            enum_: schema.get("enum").and_then(Value::as_array).cloned().unwrap_or_default(),
            pattern,
            format: schema.get("format").and_then(Value::as_str).map(str::to_owned),
            minimum: bound("minimum", "exclusiveMinimum"),
            maximum: bound("maximum", "exclusiveMaximum"),
            min_length: count("minLength"),
            max_length: count("maxLength"),
            min_items: count("minItems"),
            max_items: count("maxItems"),
            min_properties: count("minProperties"),
            max_properties: count("maxProperties"),
            default: schema.get("default").cloned(),
            embedded: flag("x-kubernetes-embedded-resource"),
            rules: Rule::compile_all(schema, path)?,
            has_rules: false,
            all_of: list("allOf")?,
            any_of: list("anyOf")?,
            one_of: list("oneOf")?,
            not: boxed("not")?,
        })
    }

    /// The schema of an object with this one field.
    pub(super) fn wrap(name: &str, node: Self) -> Self {
        let properties = BTreeMap::from([(name.to_owned(), node)]);
        Self { type_: Some(Type::Object), properties, ..Self::default() }
    }

    /// Removes what the schema does not name and returns the removed paths. A whole object keeps
    /// its `apiVersion`, `kind` and `metadata`: those are the API's own.
    pub fn prune(&self, object: &mut Value) -> Vec<String> {
        let mut unknown = Vec::new();
        self.prune_at(object, "", &mut unknown);
        unknown
    }

    fn prune_at(&self, value: &mut Value, path: &str, unknown: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                let keeps_all = self.preserve_unknown || matches!(self.additional, Additional::Any);
                fields.retain(|name, inner| {
                    let whole = path.is_empty() || self.embedded;
                    if whole && matches!(name.as_str(), "apiVersion" | "kind" | "metadata") {
                        return true;
                    }
                    match (self.properties.get(name), &self.additional) {
                        (Some(node), _) => node.prune_at(inner, &join(path, name), unknown),
                        (None, Additional::Each(node)) => node.prune_at(inner, &join(path, name), unknown),
                        (None, _) if keeps_all || self.type_ != Some(Type::Object) => {}
                        (None, _) => {
                            unknown.push(join(path, name));
                            return false;
                        }
                    }
                    true
                });
            }
            Value::Array(items) => {
                if let Some(node) = &self.items {
                    for (index, item) in items.iter_mut().enumerate() {
                        node.prune_at(item, &format!("{path}[{index}]"), unknown);
                    }
                }
            }
            _ => {}
        }
    }

    /// Fills in defaults; a `null` where none is allowed counts as absent, as in Kubernetes.
    pub fn fill_defaults(&self, value: &mut Value) {
        match value {
            Value::Object(fields) => {
                for (name, node) in &self.properties {
                    if !node.nullable && fields.get(name).is_some_and(Value::is_null) {
                        fields.remove(name);
                    }
                    if !fields.contains_key(name)
                        && let Some(default) = &node.default
                    {
                        fields.insert(name.clone(), default.clone());
                    }
                    if let Some(inner) = fields.get_mut(name) {
                        node.fill_defaults(inner);
                    }
                }
                if let Additional::Each(node) = &self.additional {
                    for (_, inner) in fields.iter_mut().filter(|(name, _)| !self.properties.contains_key(*name)) {
                        node.fill_defaults(inner);
                    }
                }
            }
            Value::Array(items) => {
                if let Some(node) = &self.items {
                    items.iter_mut().for_each(|item| node.fill_defaults(item));
                }
            }
            _ => {}
        }
    }

    /// Everything in the object that its schema refuses. Values that were there before, and did
    /// not change, are not looked at.
    pub fn validate(&self, object: &Value, old: Option<&Value>) -> Findings {
        let mut findings = Findings::default();
        self.check(object, old, "", &mut findings);
        let mut twice = Vec::new();
        self.find_duplicates(object, "", &mut twice);
        if !twice.is_empty() {
            let mut before = Vec::new();
            if let Some(old) = old {
                self.find_duplicates(old, "", &mut before);
            }
            if before.is_empty() {
                findings.errors.extend(twice);
            }
        }
        findings
    }
}

/// What a structural validation found.
#[derive(Debug, Default)]
pub struct Findings {
    pub errors: Vec<FieldError>,
    /// An error of shape or size: rules that look into the object must not be evaluated on it.
    pub blocking: bool,
}

impl Findings {
    fn add(&mut self, path: &str, kind: FieldErrorKind, message: String) {
        use FieldErrorKind::{NotSupported, Required, TooLong, TooMany};
        self.blocking |= matches!(kind, NotSupported | Required | TooLong | TooMany);
        self.errors.push(FieldError { field: path.to_owned(), kind, message });
    }
}

fn strings(value: Option<&Value>) -> Vec<String> {
    value
        .and_then(Value::as_array)
        .map(|values| values.iter().filter_map(Value::as_str).map(str::to_owned).collect())
        .unwrap_or_default()
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// The keys of a list's entry that make its identity, absent ones by their default.
fn identity(entry: &Value, keys: &[String], node: Option<&Node>) -> Map<String, Value> {
    keys.iter()
        .filter_map(|key| {
            let value = entry
                .get(key)
                .or_else(|| node.and_then(|node| node.properties.get(key)).and_then(|node| node.default.as_ref()))?;
            Some((key.clone(), value.clone()))
        })
        .collect()
}
