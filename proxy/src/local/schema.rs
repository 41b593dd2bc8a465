//! The schemas of the kinds built in, made from the project's own types, and [`Admit`] by them.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError, RwLock, RwLockWriteGuard};

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Value, json};

use super::{
    admit::{Admit, Admitted, FieldError, FieldErrorKind},
    validate::{Node, SchemaError},
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
    /// The Gateway API's, from the project's own types.
    builtin: HashMap<(String, String), Arc<Versions>>,
    /// Those of CustomResourceDefinitions; they come first.
    registered: RwLock<HashMap<(String, String), Arc<Versions>>>,
}

/// The schemas of one kind.
#[derive(Debug)]
struct Versions {
    /// The first is the one of the stored version. A name that is empty stands for every version.
    versions: Vec<(String, Version)>,
}

#[derive(Debug)]
struct Version {
    schema: Value,
    node: Node,
}

impl Versions {
    fn compile(versions: &[(String, Value)]) -> Result<Self, SchemaError> {
        let each = versions.iter().map(|(name, schema)| {
            let mut schema = schema.clone();
            if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
                properties.entry("metadata").or_insert_with(|| json!({"type": "object"}));
            }
            Ok((name.clone(), Version { node: Node::compile(&schema)?, schema }))
        });
        Ok(Self { versions: each.collect::<Result<_, SchemaError>>()? })
    }

    fn version(&self, name: &str) -> Option<&Version> {
        let found = self.versions.iter().find(|(version, _)| version.is_empty() || version == name);
        found.or(self.versions.first()).map(|(_, version)| version)
    }
}

impl Schemas {
    /// The Gateway API, v1.6, standard channel.
    pub fn new() -> Result<Self, SchemaError> {
        let mut builtin = HashMap::new();
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
            let versions = Versions::compile(&[(String::new(), schema)])?;
            builtin.insert((GROUP.to_owned(), kind.to_owned()), Arc::new(versions));
        }
        Ok(Self { builtin, registered: RwLock::default() })
    }

    /// The structural schema of a kind, as `openAPIV3Schema` of a CRD holds it.
    pub fn schema(&self, group: &str, kind: &str) -> Option<Value> {
        self.find(group, kind)?.version("").map(|version| version.schema.clone())
    }

    fn find(&self, group: &str, kind: &str) -> Option<Arc<Versions>> {
        let key = (group.to_owned(), kind.to_owned());
        let registered = self.registered.read().unwrap_or_else(PoisonError::into_inner);
        registered.get(&key).or_else(|| self.builtin.get(&key)).cloned()
    }

    fn registered(&self) -> RwLockWriteGuard<'_, HashMap<(String, String), Arc<Versions>>> {
        self.registered.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Admit for Schemas {
    fn schema(&self, group: &str, kind: &str) -> Option<Value> {
        let Some(mut schema) = Self::schema(self, group, kind) else { return core_schema(group, kind) };
        schema["properties"]["metadata"] = inline::inline(Definitions::get(), core::OBJECT_META)?;
        Some(schema)
    }

    fn schema_of(&self, group: &str, version: &str, kind: &str) -> Option<Value> {
        self.find(group, kind)?.version(version).map(|version| version.schema.clone())
    }

    fn register(&self, group: &str, kind: &str, versions: &[(String, Value)]) -> Result<(), String> {
        let versions = Versions::compile(versions).map_err(|error| error.to_string())?;
        self.registered().insert((group.to_owned(), kind.to_owned()), Arc::new(versions));
        Ok(())
    }

    fn unregister(&self, group: &str, kind: &str) {
        self.registered().remove(&(group.to_owned(), kind.to_owned()));
    }

    fn decode(&self, group: &str, version: &str, kind: &str, object: &mut Value) -> Result<Vec<String>, String> {
        let found = match Definitions::get().name(group, version, kind) {
            Some(name) => {
                let found = Types::get().decode(name, object);
                if found.error.is_none() {
                    Types::get().default(name, object);
                }
                found
            }
            None => Types::get().decode_metadata(object),
        };
        found.error.map_or(Ok(found.unknown), Err)
    }

    fn admit(&self, group: &str, kind: &str, object: &mut Value, old: Option<&Value>) -> Admitted {
        let version = object["apiVersion"].as_str().and_then(|text| text.rsplit('/').next()).unwrap_or_default();
        let versions = self.find(group, kind);
        let Some(found) = versions.as_deref().and_then(|versions| versions.version(version)) else {
            // Some kinds are kept in the shape of another.
            let api_version = object["apiVersion"].as_str().unwrap_or_default().to_owned();
            let (group, version) = api_version.rsplit_once('/').unwrap_or(("", &api_version));
            if let Some(name) = Definitions::get().name(group, version, kind) {
                Types::get().fill(name, object);
            }
            return Admitted::default();
        };
        found.admit(object, old)
    }
}

impl Version {
    fn admit(&self, object: &mut Value, old: Option<&Value>) -> Admitted {
        let unknown = self.node.prune(object);
        self.node.fill_defaults(object);
        let found = self.node.validate(object, old);
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
            errors.extend(self.node.evaluate(object, old));
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
