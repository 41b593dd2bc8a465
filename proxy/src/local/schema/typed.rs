//! Bodies of the core kinds, read as a Go decoder reads them into its structs: a wrong type is an
//! error in its words, an unknown field is named and dropped.

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use super::core::{Definitions, OBJECT_META, REF};
use super::facts::{ALWAYS, POINTER};

mod defaults;
mod zeros;

/// Bodies deeper than this are refused before they come here.
const DEPTH: usize = 200;

#[derive(Debug)]
struct Struct {
    /// As Go calls it, such as `ServicePort`.
    name: String,
    /// As Go names it elsewhere, such as `v1.ServicePort`.
    qualified: String,
    fields: BTreeMap<String, Field>,
    defaults: defaults::Defaults,
}

#[derive(Debug)]
struct Field {
    shape: Shape,
    /// Written even when nothing was said of it.
    always: bool,
    /// Not written when it is empty.
    zero: bool,
    /// The name of the type, where Go has one of its own for a string.
    named: Option<&'static str>,
}

#[derive(Debug)]
enum Shape {
    Struct(usize),
    List(Box<Shape>),
    Map(Box<Shape>),
    Text,
    Bool,
    Int(&'static str),
    Float,
    IntOrString,
    Quantity,
    Time,
    Bytes,
    Any,
}

/// Strings to which Go gives types of their own: `Struct.field`, then the type.
const NAMED: &str = "
ServiceSpec.type v1.ServiceType
ServiceSpec.sessionAffinity v1.ServiceAffinity
ServiceSpec.externalTrafficPolicy v1.ServiceExternalTrafficPolicy
ServiceSpec.internalTrafficPolicy v1.ServiceInternalTrafficPolicy
ServiceSpec.ipFamilyPolicy v1.IPFamilyPolicy
ServicePort.protocol v1.Protocol
ContainerPort.protocol v1.Protocol
EndpointPort.protocol v1.Protocol
NetworkPolicyPort.protocol v1.Protocol
Container.imagePullPolicy v1.PullPolicy
Container.terminationMessagePolicy v1.TerminationMessagePolicy
PodSpec.restartPolicy v1.RestartPolicy
PodSpec.dnsPolicy v1.DNSPolicy
PodStatus.phase v1.PodPhase
NamespaceStatus.phase v1.NamespacePhase
Secret.type v1.SecretType
DeploymentStrategy.type v1.DeploymentStrategyType
DaemonSetUpdateStrategy.type v1.DaemonSetUpdateStrategyType
StatefulSetUpdateStrategy.type v1.StatefulSetUpdateStrategyType
StatefulSetSpec.podManagementPolicy v1.PodManagementPolicyType
HTTPGetAction.scheme v1.URIScheme
HTTPIngressPath.pathType v1.PathType
EndpointSlice.addressType v1.AddressType
MetricSpec.type v2.MetricSourceType
MetricTarget.type v2.MetricTargetType
OwnerReference.uid types.UID
ObjectMeta.uid types.UID
ObjectReference.uid types.UID
LabelSelectorRequirement.operator v1.LabelSelectorOperator
Toleration.operator v1.TolerationOperator
Toleration.effect v1.TaintEffect
Taint.effect v1.TaintEffect
CustomResourceDefinitionSpec.scope v1.ResourceScope
CustomResourceConversion.strategy v1.ConversionStrategyType
";

/// The structs of all core kinds.
#[derive(Debug)]
pub(super) struct Types {
    structs: Vec<Struct>,
    /// Struct by the name of its definition.
    names: HashMap<String, usize>,
}

/// What a decoder found: unknown fields, and the first wrong type.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub unknown: Vec<String>,
    pub error: Option<String>,
}

/// Where in the body, with and without indices, and in which struct.
#[derive(Clone)]
struct At<'a> {
    path: String,
    go: String,
    within: &'a str,
}

impl Types {
    pub(super) fn get() -> &'static Self {
        static TYPES: LazyLock<Types> = LazyLock::new(|| Types::new(Definitions::get()));
        &TYPES
    }

    fn new(definitions: &Definitions) -> Self {
        let names = definitions.all.keys().enumerate().map(|(index, name)| (name.clone(), index)).collect();
        let mut types = Self { structs: Vec::new(), names };
        let mut defaults = defaults::all();
        for (name, schema) in &definitions.all {
            let parts: Vec<&str> = name.rsplit('.').take(2).collect();
            let short = parts.first().copied().unwrap_or_default().to_owned();
            let prefix = format!("{} ", name.trim_start_matches("io.k8s.api."));
            let zeros = zeros::ZEROS.lines().find_map(|line| line.strip_prefix(&prefix)).unwrap_or_default();
            let zeros: Vec<&str> = zeros.split(' ').collect();
            let required: Vec<&str> =
                schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            let fields = schema["properties"].as_object().into_iter().flatten().map(|(field, schema)| {
                let shape = types.shape(schema, definitions);
                let wanted = required.contains(&field.as_str()) && schema.get(POINTER).is_none();
                let empty =
                    ["metadata", "spec", "status"].contains(&field.as_str()) && matches!(shape, Shape::Struct(_));
                let always = schema.get(ALWAYS).is_some() || wanted || empty && is_kind(schema, name);
                let key = format!("{short}.{field}");
                let named = NAMED.lines().find_map(|line| line.strip_prefix(&key)?.strip_prefix(' '));
                let zero = !always && zeros.contains(&field.as_str());
                (field.clone(), Field { shape, always, zero, named })
            });
            let fields = fields.collect();
            types.structs.push(Struct {
                qualified: format!("{}.{short}", parts.get(1).unwrap_or(&"v1")),
                name: short,
                fields,
                defaults: defaults.remove(name).unwrap_or_default(),
            });
        }
        types
    }

    fn shape(&self, schema: &Value, definitions: &Definitions) -> Shape {
        if let Some(name) = schema.get("$ref").and_then(Value::as_str) {
            let name = name.trim_start_matches(REF);
            let target = definitions.all.get(name).unwrap_or(&Value::Null);
            return match name.rsplit('.').next().unwrap_or_default() {
                "Quantity" => Shape::Quantity,
                "IntOrString" => Shape::IntOrString,
                "Time" | "MicroTime" => Shape::Time,
                _ if target.get("properties").is_some() => {
                    self.names.get(name).map_or(Shape::Any, |&at| Shape::Struct(at))
                }
                _ => self.shape(target, definitions),
            };
        }
        let inner = |key: &str| Box::new(self.shape(&schema[key], definitions));
        match schema["type"].as_str() {
            Some("string") if schema["format"] == "byte" => Shape::Bytes,
            Some("string") if schema["format"] == "date-time" => Shape::Time,
            Some("string") => Shape::Text,
            Some("boolean") => Shape::Bool,
            Some("integer") if schema["format"] == "int64" => Shape::Int("int64"),
            Some("integer") => Shape::Int("int32"),
            Some("number") => Shape::Float,
            Some("array") => Shape::List(inner("items")),
            Some("object") if schema["additionalProperties"].is_object() => Shape::Map(inner("additionalProperties")),
            _ if schema["x-kubernetes-int-or-string"] == true => Shape::IntOrString,
            _ => Shape::Any,
        }
    }

    /// Reads a whole object of the kind whose definition this is.
    pub(super) fn decode(&self, definition: &str, object: &mut Value) -> Found {
        let mut found = Found::default();
        if let Some(&at) = self.names.get(definition) {
            let start = At { path: String::new(), go: String::new(), within: "" };
            self.read(&Shape::Struct(at), object, &start, 0, &mut found);
        }
        found
    }

    /// Reads the metadata of an object whose kind is not a core one.
    pub(super) fn decode_metadata(&self, object: &mut Value) -> Found {
        let mut found = Found::default();
        if let (Some(&at), Some(metadata)) = (self.names.get(OBJECT_META), object.get_mut("metadata")) {
            let start = At { path: "metadata".into(), go: "metadata".into(), within: "" };
            self.read(&Shape::Struct(at), metadata, &start, 0, &mut found);
        }
        found
    }

    /// Writes out what Go writes even when it was not given: empty structs and required scalars.
    pub(super) fn fill(&self, definition: &str, object: &mut Value) {
        if let Some(&at) = self.names.get(definition) {
            self.fill_at(&Shape::Struct(at), object, 0);
        }
    }

    fn fill_at(&self, shape: &Shape, value: &mut Value, depth: usize) {
        match (shape, value) {
            _ if depth > DEPTH => {}
            (Shape::Struct(at), Value::Object(fields)) => {
                for (name, field) in &self.structs[*at].fields {
                    if field.always && !fields.contains_key(name) {
                        let zero = match &field.shape {
                            Shape::Struct(_) => json!({}),
                            Shape::Text => "".into(),
                            Shape::Bool => false.into(),
                            Shape::Int(_) => 0.into(),
                            Shape::List(_) | Shape::Map(_) | Shape::Time => Value::Null,
                            _ => continue,
                        };
                        fields.insert(name.clone(), zero);
                    }
                    if let Some(inner) = fields.get_mut(name) {
                        self.fill_at(&field.shape, inner, depth + 1);
                    }
                }
            }
            (Shape::List(inner), Value::Array(items)) => {
                items.iter_mut().for_each(|item| self.fill_at(inner, item, depth + 1));
            }
            (Shape::Map(inner), Value::Object(entries)) => {
                entries.values_mut().for_each(|entry| self.fill_at(inner, entry, depth + 1));
            }
            _ => {}
        }
    }

    /// Fills in what the object does not say and its kind has a default for.
    pub(super) fn default(&self, definition: &str, object: &mut Value) {
        if let Some(&at) = self.names.get(definition) {
            self.default_at(&Shape::Struct(at), object, 0);
        }
    }

    fn default_at(&self, shape: &Shape, value: &mut Value, depth: usize) {
        match (shape, value) {
            _ if depth > DEPTH => {}
            (Shape::Struct(at), Value::Object(fields)) => {
                let found = &self.structs[*at];
                // Go's structs are there, and get their defaults, before anything is in them.
                for (name, field) in &found.fields {
                    if field.always && matches!(field.shape, Shape::Struct(_)) && name != "metadata" {
                        fields.entry(name.clone()).or_insert_with(|| json!({}));
                    }
                }
                found.defaults.fill(fields);
                for (name, value) in fields.iter_mut() {
                    if let Some(field) = found.fields.get(name) {
                        self.default_at(&field.shape, value, depth + 1);
                    }
                }
                defaults::compute(&found.name, fields);
            }
            (Shape::List(inner), Value::Array(items)) => {
                items.iter_mut().for_each(|item| self.default_at(inner, item, depth + 1));
            }
            (Shape::Map(inner), Value::Object(entries)) => {
                entries.values_mut().for_each(|entry| self.default_at(inner, entry, depth + 1));
            }
            _ => {}
        }
    }

    fn go(&self, shape: &Shape) -> String {
        match shape {
            Shape::Struct(at) => self.structs[*at].qualified.clone(),
            Shape::List(inner) => format!("[]{}", self.go(inner)),
            Shape::Map(inner) => format!("map[string]{}", self.go(inner)),
            Shape::Text | Shape::Time => "string".into(),
            Shape::Bool => "bool".into(),
            Shape::Int(name) => (*name).into(),
            Shape::Float => "float64".into(),
            Shape::IntOrString => "int32".into(),
            Shape::Quantity => "resource.Quantity".into(),
            Shape::Bytes => "[]uint8".into(),
            Shape::Any => "interface {}".into(),
        }
    }

    fn read(&self, shape: &Shape, value: &mut Value, at: &At<'_>, depth: usize, found: &mut Found) {
        if depth > DEPTH {
            return;
        }
        if let (Shape::Quantity, Value::Number(number)) = (shape, &*value) {
            // A quantity is written as a string, whatever it was given as.
            *value = number.to_string().into();
        }
        match (shape, value) {
            (Shape::Any, _) | (_, Value::Null) => {}
            (Shape::Struct(index), Value::Object(fields)) => self.read_struct(*index, fields, at, depth, found),
            (Shape::List(inner), Value::Array(items)) => {
                for (index, item) in items.iter_mut().enumerate() {
                    let at = At { path: format!("{}[{index}]", at.path), ..at.clone() };
                    self.read(inner, item, &at, depth + 1, found);
                    if item.is_null() {
                        *item = zero(inner);
                    }
                }
            }
            (Shape::Map(inner), Value::Object(entries)) => {
                for (key, entry) in entries.iter_mut() {
                    let at = At { path: join(&at.path, key), ..at.clone() };
                    self.read(inner, entry, &at, depth + 1, found);
                    if entry.is_null() {
                        *entry = zero(inner);
                    }
                }
            }
            (Shape::Text, Value::String(_)) | (Shape::Bool, Value::Bool(_)) | (Shape::Float, Value::Number(_)) => {}
            (Shape::Int(name), Value::Number(number)) => {
                let fits = number.as_i64().is_some_and(|number| *name == "int64" || i32::try_from(number).is_ok());
                if !fits {
                    found.refuse(&format!("number {number}"), at, name);
                }
            }
            (Shape::IntOrString, Value::String(_)) => {}
            (Shape::IntOrString, Value::Number(number)) => {
                if number.as_i64().is_none_or(|number| i32::try_from(number).is_err()) {
                    found.refuse(&format!("number {number}"), at, "int32");
                }
            }
            (Shape::Quantity, Value::String(text)) => {
                if !quantity(text) {
                    found.say(
                        "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
                    );
                }
            }
            (Shape::Time, Value::String(text)) => {
                if !text.is_empty() && text.parse::<jiff::Timestamp>().is_err() {
                    found.say(&time_error(text));
                }
            }
            (Shape::Bytes, Value::String(text)) => {
                if serde_json::from_value::<k8s_openapi::ByteString>(text.as_str().into()).is_err() {
                    found.say(&format!("illegal base64 data at input byte {}", base64_error(text)));
                }
            }
            (shape, value) => {
                let named = self.named(at);
                let wanted = named.map_or_else(|| self.go(shape), str::to_owned);
                found.refuse(word(value), at, &wanted);
            }
        }
    }

    fn named(&self, at: &At<'_>) -> Option<&'static str> {
        let field = at.go.rsplit('.').next()?;
        self.structs.iter().find(|found| found.name == at.within)?.fields.get(field)?.named
    }

    fn read_struct(&self, index: usize, fields: &mut Map<String, Value>, at: &At<'_>, depth: usize, found: &mut Found) {
        let known = &self.structs[index];
        let names: Vec<String> = fields.keys().cloned().collect();
        for name in names {
            let path = join(&at.path, &name);
            let Some(field) = known.fields.get(&name) else {
                fields.remove(&name);
                found.unknown.push(path);
                continue;
            };
            let Some(value) = fields.get_mut(&name) else { continue };
            let go = join(&at.go, &name);
            self.read(&field.shape, value, &At { path, go, within: &known.name }, depth + 1, found);
            let nothing = match (&field.shape, &*value) {
                (_, Value::Null) => true,
                (Shape::List(_), Value::Array(items)) => items.is_empty() && !field.always,
                (Shape::Map(_), Value::Object(entries)) => entries.is_empty() && !field.always,
                (_, value) => field.zero && (*value == "" || *value == 0 || *value == false),
            };
            if nothing {
                fields.remove(&name);
            }
        }
    }
}

impl Found {
    fn say(&mut self, error: &str) {
        self.error.get_or_insert_with(|| error.to_owned());
    }

    fn refuse(&mut self, what: &str, at: &At<'_>, wanted: &str) {
        let go = &at.go;
        if at.within.is_empty() {
            return self.say(&format!("json: cannot unmarshal {what} into Go value of type {wanted}"));
        }
        self.say(&format!("json: cannot unmarshal {what} into Go struct field {}.{go} of type {wanted}", at.within));
    }
}

fn is_kind(schema: &Value, name: &str) -> bool {
    // Lists and reviews aside, only kinds have a struct of their name and `Spec` or `Status`.
    let target = schema["$ref"].as_str().unwrap_or_default().trim_start_matches(REF);
    target == OBJECT_META || target.strip_prefix(name).is_some_and(|rest| rest == "Spec" || rest == "Status")
}

fn zero(shape: &Shape) -> Value {
    match shape {
        Shape::Struct(_) => json!({}),
        Shape::Text | Shape::Bytes => "".into(),
        Shape::Bool => false.into(),
        Shape::Int(_) | Shape::Float | Shape::IntOrString => 0.into(),
        _ => Value::Null,
    }
}

fn word(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// Whether a text is a quantity, such as `100m`, `1.5Gi` or `1e3`.
pub(super) fn quantity(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(end);
    let digits = number.bytes().any(|byte| byte.is_ascii_digit()) && number.matches('.').count() < 2;
    let exponent = |text: &str| {
        let text = text.strip_prefix(['+', '-']).unwrap_or(text);
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    let known = ["", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    digits && (known.contains(&suffix) || suffix.strip_prefix(['e', 'E']).is_some_and(exponent))
}

/// What Go says of a time that it cannot read. It names the first part that does not fit.
fn time_error(text: &str) -> String {
    const LAYOUT: &str = "2006-01-02T15:04:05Z07:00";
    let parts = [(4, "2006"), (1, "-"), (2, "01"), (1, "-"), (2, "02"), (1, "T"), (2, "15"), (1, ":"), (2, "04")];
    let (mut rest, mut wanted) = (text, "Z07:00");
    for (length, part) in parts.into_iter().chain([(1, ":"), (2, "05")]) {
        let taken = rest.get(..length);
        let fits = taken.is_some_and(|taken| match part {
            "-" | "T" | ":" => taken == part,
            _ => taken.bytes().all(|byte| byte.is_ascii_digit()),
        });
        if !fits {
            wanted = part;
            break;
        }
        rest = &rest[length..];
    }
    format!("parsing time {text:?} as {LAYOUT:?}: cannot parse {rest:?} as {wanted:?}")
}

/// The first byte that no base64 text may have, or the last one when padding is missing.
fn base64_error(text: &str) -> usize {
    let data = text.trim_end_matches('=');
    let known = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/';
    data.bytes().position(|byte| !known(byte)).unwrap_or(text.len() / 4 * 4)
}

#[cfg(test)]
mod tests;
