//! The schemas of the kinds built in, made from the project's own types, and [`Admit`] by them.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use kube_cel::{CompiledSchema, ErrorKind, compile_schema, validate_compiled};
use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Value, json};

use super::{
    admit::{Admit, Admitted, FieldError, FieldErrorKind},
    validate::{Node, SchemaError, check::type_name},
};
use crate::types::{self, GROUP};
use core::Definitions;
use typed::Types;

pub(super) mod core;
#[cfg(test)]
mod examples;
mod facts;
mod inline;
#[cfg(test)]
mod tests;
mod typed;

/// Schemas by group and kind. Kinds without one are admitted as they are.
#[derive(Debug)]
pub struct Schemas {
    kinds: HashMap<(String, String), Kind>,
}

#[derive(Debug)]
struct Kind {
    schema: Value,
    node: Node,
    rules: CompiledSchema,
}

impl Schemas {
    /// The Gateway API, v1.6, standard channel.
    pub fn new() -> Result<Self, SchemaError> {
        let mut schemas = Self { kinds: HashMap::new() };
        let kinds = [
            ("GatewayClass", structural::<types::GatewayClass>()),
            ("Gateway", structural::<types::Gateway>()),
            ("HTTPRoute", structural::<types::HttpRoute>()),
            ("GRPCRoute", structural::<types::GrpcRoute>()),
            ("TLSRoute", structural::<types::TlsRoute>()),
            ("TCPRoute", structural::<types::TcpRoute>()),
            ("UDPRoute", structural::<types::UdpRoute>()),
            ("ListenerSet", structural::<types::ListenerSet>()),
            ("BackendTLSPolicy", structural::<types::BackendTlsPolicy>()),
            ("ReferenceGrant", structural::<types::ReferenceGrant>()),
        ];
        for (kind, schema) in kinds {
            schemas.register(GROUP, kind, schema)?;
        }
        Ok(schemas)
    }

    /// Adds a kind by its structural schema, or replaces it.
    pub fn register(&mut self, group: &str, kind: &str, schema: Value) -> Result<(), SchemaError> {
        let node = Node::compile(&schema)?;
        let rules = compile_schema(&schema);
        if let Some(reason) = first_rule_error(&rules) {
            return Err(SchemaError::Rule { path: kind.to_owned(), reason });
        }
        self.kinds.insert((group.to_owned(), kind.to_owned()), Kind { schema, node, rules });
        Ok(())
    }

    /// The structural schema of a kind, as `openAPIV3Schema` of a CRD holds it.
    pub fn schema(&self, group: &str, kind: &str) -> Option<&Value> {
        self.find(group, kind).map(|kind| &kind.schema)
    }

    fn find(&self, group: &str, kind: &str) -> Option<&Kind> {
        self.kinds.get(&(group.to_owned(), kind.to_owned()))
    }
}

impl Admit for Schemas {
    fn schema(&self, group: &str, kind: &str) -> Option<Value> {
        let Some(found) = Self::schema(self, group, kind) else { return core_schema(group, kind) };
        let mut schema = found.clone();
        schema["properties"]["metadata"] = inline::inline(Definitions::get(), core::OBJECT_META)?;
        Some(schema)
    }

    fn decode(&self, group: &str, version: &str, kind: &str, object: &mut Value) -> Result<Vec<String>, String> {
        let found = match Definitions::get().name(group, version, kind) {
            Some(name) => Types::get().decode(name, object),
            None => Types::get().decode_metadata(object),
        };
        found.error.map_or(Ok(found.unknown), Err)
    }

    fn admit(&self, group: &str, kind: &str, object: &mut Value, old: Option<&Value>) -> Admitted {
        let Some(kind) = self.find(group, kind) else {
            let version = object["apiVersion"].as_str().and_then(|text| text.rsplit('/').next()).unwrap_or_default();
            if let Some(name) = Definitions::get().name(group, version, kind) {
                Types::get().fill(name, object);
            }
            return Admitted::default();
        };
        let unknown = kind.node.prune(object);
        kind.node.fill_defaults(object);
        let found = kind.node.validate(object);
        let mut errors = found.errors;
        if found.blocking {
            errors.push(FieldError {
                field: "<nil>".to_owned(),
                kind: FieldErrorKind::Invalid,
                message: "Invalid value: null: some validation rules were not checked because the object was \
                          invalid; correct the existing errors to complete validation"
                    .to_owned(),
            });
        } else {
            errors.extend(kind.evaluate(object, old));
        }
        Admitted { errors, unknown }
    }
}

/// The self-contained schema of a core kind.
fn core_schema(group: &str, kind: &str) -> Option<Value> {
    static MADE: LazyLock<Mutex<HashMap<String, Value>>> = LazyLock::new(Mutex::default);
    let name = Definitions::get().newest(group, kind)?;
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    if !made.contains_key(name) {
        made.insert(name.to_owned(), inline::inline(Definitions::get(), name)?);
    }
    made.get(name).cloned()
}

impl Kind {
    fn evaluate(&self, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
        let Err(failures) = validate_compiled(&self.rules, object, old) else { return Vec::new() };
        let mut errors: Vec<_> = failures
            .into_iter()
            .map(|failure| {
                let (kind, word) = match (&failure.kind, failure.reason.as_deref()) {
                    (ErrorKind::ValidationFailure, Some("FieldValueForbidden")) => {
                        (FieldErrorKind::Forbidden, "Forbidden: ".to_owned())
                    }
                    (ErrorKind::ValidationFailure, Some("FieldValueRequired")) => {
                        (FieldErrorKind::Required, "Required value: ".to_owned())
                    }
                    (ErrorKind::ValidationFailure, Some("FieldValueDuplicate")) => {
                        (FieldErrorKind::Duplicate, "Duplicate value: ".to_owned())
                    }
                    _ => {
                        let type_ = at_path(object, &failure.field_path).map_or("object", type_name);
                        (FieldErrorKind::Invalid, format!("Invalid value: {type_:?}: "))
                    }
                };
                FieldError { message: format!("{word}{}", failure.message), field: failure.field_path, kind }
            })
            .collect();
        // Rules hang in hash maps: give clients the same order every time.
        errors.sort_by(|a, b| a.field.cmp(&b.field));
        errors
    }
}

/// The value at a path such as `spec.rules[0].matches`.
fn at_path<'v>(object: &'v Value, path: &str) -> Option<&'v Value> {
    path.split('.').flat_map(|part| part.split('[')).filter(|part| !part.is_empty()).try_fold(object, |value, part| {
        match part.strip_suffix(']').and_then(|index| index.parse::<usize>().ok()) {
            Some(index) => value.get(index),
            None => value.get(part),
        }
    })
}

fn first_rule_error(rules: &CompiledSchema) -> Option<String> {
    let own = rules.compilation_errors().first().map(ToString::to_string);
    own.or_else(|| {
        let children =
            rules.properties.values().chain(rules.items.as_deref()).chain(rules.additional_properties.as_deref());
        let branches = rules.all_of.iter().chain(&rules.any_of).chain(&rules.one_of);
        children.chain(branches).find_map(first_rule_error)
    })
}

/// A type's schema in the form that Kubernetes calls structural: no references, no null types.
fn structural<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    to_structural(&mut schema);
    schema["properties"]["apiVersion"] = json!({ "type": "string" });
    schema["properties"]["kind"] = json!({ "type": "string" });
    schema
}

fn to_structural(schema: &mut Value) {
    // An optional object arrives as "it or null".
    if let Some(branches) = schema.get("anyOf").and_then(Value::as_array)
        && let [inner, null] = branches.as_slice()
        && null.get("type").is_some_and(|type_| type_ == "null")
    {
        let mut inner = inner.clone();
        if let (Some(inner), Some(outer)) = (inner.as_object_mut(), schema.as_object()) {
            inner.extend(
                outer.iter().filter(|(key, _)| *key != "anyOf").map(|(key, value)| (key.clone(), value.clone())),
            );
        }
        *schema = inner;
    }
    let Some(fields) = schema.as_object_mut() else { return };
    for key in ["title", "$schema", "writeOnly", "readOnly"] {
        fields.remove(key);
    }
    if let Some(Value::Array(types)) = fields.get("type") {
        let type_ = types.iter().find(|type_| *type_ != "null").cloned();
        fields.insert("type".to_owned(), type_.unwrap_or(Value::Null));
    }
    if fields.get("format").and_then(Value::as_str).is_some_and(|format| format.starts_with("uint")) {
        fields.insert("format".to_owned(), json!("int32"));
    }
    // What serde fills in for an absent list or object is not a default of the API.
    if let Some(default) = fields.get("default")
        && (default.is_null() || *default == json!([]) || *default == json!({}))
    {
        fields.remove("default");
    }
    if let Some(Value::Object(properties)) = fields.get_mut("properties") {
        properties.retain(|_, inner| inner.is_object() && *inner != json!({}));
        properties.values_mut().for_each(to_structural);
    }
    for key in ["items", "additionalProperties"] {
        if let Some(inner) = fields.get_mut(key) {
            to_structural(inner);
        }
    }
}
