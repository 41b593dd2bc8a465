//! `x-kubernetes-validations`: CEL rules, evaluated where they stand in the schema.
//!
//! The walk knows which old value belongs to a new one: entries of a `map` list by their keys,
//! properties and map entries by name, entries of other lists not at all. A rule that does not
//! look at `oldSelf` is not held against a value that did not change.

use std::collections::HashMap;
use std::sync::Arc;

use kube_cel::KubeCelExt;
use kube_cel::cel::objects::{Key, Map, OptionalValue};
use kube_cel::cel::{Context, Program, Value as Cel};
use serde_json::{Map as Object, Value};

use super::{Additional, FieldError, FieldErrorKind, ListType, Node, SchemaError, Type, identity, join};

/// One compiled rule.
#[derive(Debug)]
pub(super) struct Rule {
    text: String,
    program: Program,
    /// It compares with what was there before.
    transition: bool,
    message: Option<String>,
    message_program: Option<Program>,
    reason: Option<String>,
    field: String,
    /// `oldSelf` is an optional, and the rule is evaluated on creation too.
    optional_old: bool,
}

impl Rule {
    pub(super) fn compile_all(schema: &Object<String, Value>, path: &str) -> Result<Vec<Self>, SchemaError> {
        let rules = schema.get("x-kubernetes-validations").and_then(Value::as_array);
        rules.into_iter().flatten().map(|rule| Self::compile(rule, path)).collect()
    }

    fn compile(rule: &Value, path: &str) -> Result<Self, SchemaError> {
        let text = |field: &str| rule[field].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        let program = |source: &str| {
            Program::compile(source)
                .map_err(|error| SchemaError::Rule { path: path.to_owned(), reason: format!("{source:?}: {error}") })
        };
        let source = text("rule").unwrap_or_default();
        let compiled = program(&source)?;
        Ok(Self {
            transition: compiled.references().has_variable("oldSelf"),
            program: compiled,
            message: text("message"),
            message_program: text("messageExpression").as_deref().map(program).transpose()?,
            reason: text("reason"),
            field: text("fieldPath").unwrap_or_default(),
            optional_old: rule["optionalOldSelf"] == true,
            text: source,
        })
    }

    fn check(&self, value: &Value, path: &str, context: &Context<'_>, old: Option<&Cel>) -> Option<FieldError> {
        let mut scope = context.new_inner_scope();
        if self.optional_old {
            let old = old.map_or_else(OptionalValue::none, |old| OptionalValue::of(old.clone()));
            scope.add_variable_from_value("oldSelf", Cel::Opaque(Arc::new(old)));
        } else if let Some(old) = old {
            scope.add_variable_from_value("oldSelf", old.clone());
        } else if self.transition {
            return None;
        }
        let said = self.message.clone().unwrap_or_else(|| self.text.clone());
        let message = match self.program.execute(&scope) {
            Ok(Cel::Bool(true)) => return None,
            Ok(Cel::Bool(false)) => {
                let computed = self.message_program.as_ref().and_then(|program| match program.execute(&scope) {
                    Ok(Cel::String(text)) if !text.trim().is_empty() && !text.contains('\n') => {
                        Some(text.trim().to_owned())
                    }
                    _ => None,
                });
                let fixed = || self.message.clone().unwrap_or_else(|| format!("failed rule: {}", self.text));
                computed.unwrap_or_else(fixed)
            }
            Ok(other) => format!("it gave {} instead of a truth value: evaluating rule: {said}", other.type_of()),
            Err(error) => {
                let mut why = error.to_string();
                // As cel-go words it.
                if let Some(rest) = why.strip_prefix("No such key") {
                    why = format!("no such key{rest}");
                }
                format!("{why} evaluating rule: {said}")
            }
        };
        // Lists and objects are not shown.
        let whole = value.is_object() || value.is_array();
        let field = format!("{path}{}", self.field);
        let (kind, word) = match self.reason.as_deref() {
            Some("FieldValueForbidden") => (FieldErrorKind::Forbidden, "Forbidden: ".to_owned()),
            Some("FieldValueRequired") => (FieldErrorKind::Required, "Required value: ".to_owned()),
            Some("FieldValueDuplicate") => {
                let shown = if whole { String::new() } else { format!(": {value}") };
                let message = format!("Duplicate value{shown}");
                return Some(FieldError { field, kind: FieldErrorKind::Duplicate, message });
            }
            _ if whole => (FieldErrorKind::Invalid, "Invalid value: ".to_owned()),
            _ => (FieldErrorKind::Invalid, format!("Invalid value: {value}: ")),
        };
        Some(FieldError { field, kind, message: format!("{word}{message}") })
    }
}

impl Node {
    /// Whether any rule stands here or below.
    pub(super) fn count_rules(&mut self) -> bool {
        let mut below = false;
        let inner = self.properties.values_mut().chain(self.items.as_deref_mut());
        for node in inner {
            below |= node.count_rules();
        }
        if let Additional::Each(node) = &mut self.additional {
            below |= node.count_rules();
        }
        self.has_rules = below || !self.rules.is_empty();
        self.has_rules
    }

    /// What the rules say of the object.
    pub fn evaluate(&self, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
        thread_local! {
            static CONTEXT: Context<'static> = Context::default().with_all();
        }
        let mut errors = Vec::new();
        if self.has_rules {
            CONTEXT.with(|context| self.evaluate_at(object, old, "", context, &mut errors));
        }
        errors
    }

    fn evaluate_at(
        &self,
        value: &Value,
        old: Option<&Value>,
        path: &str,
        context: &Context<'_>,
        errors: &mut Vec<FieldError>,
    ) {
        if !self.has_rules || value.is_null() {
            return;
        }
        let same = old == Some(value);
        if self.rules.iter().any(|rule| rule.transition || !same) {
            let mut scope = context.new_inner_scope();
            scope.add_variable_from_value("self", self.cel(value, context));
            let old = old.filter(|old| !old.is_null()).map(|old| self.cel(old, context));
            let rules = self.rules.iter().filter(|rule| rule.transition || !same);
            errors.extend(rules.filter_map(|rule| rule.check(value, path, &scope, old.as_ref())));
        }
        match value {
            Value::Object(fields) => {
                for (name, inner) in fields {
                    let node = match (self.properties.get(name), &self.additional) {
                        (Some(node), _) => node,
                        (None, Additional::Each(node)) => node,
                        _ => continue,
                    };
                    let old = old.and_then(|old| old.get(name));
                    node.evaluate_at(inner, old, &self.child(path, name), context, errors);
                }
            }
            Value::Array(items) => {
                let Some(node) = self.items.as_deref().filter(|node| node.has_rules) else { return };
                for (index, item) in items.iter().enumerate() {
                    let old = self.old_item(item, old);
                    node.evaluate_at(item, old, &format!("{path}[{index}]"), context, errors);
                }
            }
            _ => {}
        }
    }

    /// The path of an entry: properties are joined by dots, keys of maps stand in brackets.
    pub(super) fn child(&self, path: &str, name: &str) -> String {
        if self.properties.contains_key(name) || !matches!(self.additional, Additional::Each(_)) {
            join(path, name)
        } else {
            format!("{path}[{name}]")
        }
    }

    /// The entry of the old list that is the same as this one, where entries have an identity.
    pub(super) fn old_item<'o>(&self, item: &Value, old: Option<&'o Value>) -> Option<&'o Value> {
        let ListType::Map(keys) = &self.list else { return None };
        let node = self.items.as_deref();
        let wanted = identity(item, keys, node);
        old?.as_array()?.iter().find(|old| identity(old, keys, node) == wanted)
    }

    fn cel(&self, value: &Value, context: &Context<'_>) -> Cel {
        match value {
            Value::Null => Cel::Null,
            Value::Bool(truth) => Cel::Bool(*truth),
            Value::Number(number) => match (number.as_i64(), self.type_) {
                (_, Some(Type::Number)) | (None, _) => Cel::Float(number.as_f64().unwrap_or_default()),
                (Some(number), _) => Cel::Int(number),
            },
            Value::String(text) => match self.format.as_deref() {
                Some("date-time" | "date") => converted("timestamp", text, context),
                Some("duration") => converted("duration", text, context),
                Some("byte") => bytes(text),
                _ => Cel::String(Arc::new(text.clone())),
            },
            Value::Array(items) => {
                let open = Self::default();
                let node = self.items.as_deref().unwrap_or(&open);
                Cel::List(Arc::new(items.iter().map(|item| node.cel(item, context)).collect()))
            }
            Value::Object(fields) => {
                let open = Self::default();
                let is_map = !matches!(self.additional, Additional::No);
                let entries: HashMap<Key, Cel> = fields
                    .iter()
                    .map(|(name, inner)| {
                        let node = match (self.properties.get(name), &self.additional) {
                            (Some(node), _) => node,
                            (None, Additional::Each(node)) => node,
                            _ => &open,
                        };
                        let name = if is_map { name.clone() } else { escaped(name) };
                        (Key::String(Arc::new(name)), node.cel(inner, context))
                    })
                    .collect();
                Cel::Map(Map { map: Arc::new(entries) })
            }
        }
    }
}

/// A time or a duration, as CEL's own function reads it.
fn converted(function: &str, text: &str, context: &Context<'_>) -> Cel {
    let plain = || Cel::String(Arc::new(text.to_owned()));
    // A date alone is midnight of it.
    let full = if function == "timestamp" && text.len() == 10 { format!("{text}T00:00:00Z") } else { text.to_owned() };
    let Ok(program) = Program::compile(&format!("{function}(text)")) else { return plain() };
    let mut scope = context.new_inner_scope();
    scope.add_variable_from_value("text", Cel::String(Arc::new(full)));
    program.execute(&scope).unwrap_or_else(|_| plain())
}

fn bytes(text: &str) -> Cel {
    match serde_json::from_value::<k8s_openapi::ByteString>(text.into()) {
        Ok(bytes) => Cel::Bytes(Arc::new(bytes.0)),
        Err(_) => Cel::String(Arc::new(text.to_owned())),
    }
}

/// The name by which CEL reaches a field whose own name is none in CEL.
fn escaped(name: &str) -> String {
    const RESERVED: [&str; 21] = [
        "true",
        "false",
        "null",
        "in",
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "let",
        "loop",
        "package",
        "namespace",
        "return",
        "var",
        "void",
        "while",
    ];
    if RESERVED.contains(&name) {
        return format!("__{name}__");
    }
    name.replace("__", "__underscores__").replace('.', "__dot__").replace('-', "__dash__").replace('/', "__slash__")
}

/// What is wrong with a rule that somebody wants to register.
pub(in crate::local) enum RuleError {
    Required(&'static str),
    /// The value as it is shown, and the reason.
    Invalid(String, String),
    Unsupported(Value, &'static [&'static str]),
}

/// Checks the rules of one schema. `lost` is the list around it whose entries have no identity.
pub(in crate::local) fn check_rules(
    schema: &Value,
    field: &str,
    lost: Option<&str>,
    say: &mut dyn FnMut(String, RuleError),
) {
    const REASONS: &[&str] = &["FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"];
    for (index, rule) in schema["x-kubernetes-validations"].as_array().into_iter().flatten().enumerate() {
        let mut tell = |name: &str, error| say(format!("{field}.x-kubernetes-validations[{index}].{name}"), error);
        let text = |name: &str| rule[name].as_str().unwrap_or_default();
        let source = text("rule");
        if source.trim().is_empty() {
            tell("rule", RuleError::Required("rule is not specified"));
            continue;
        }
        if text("message").contains(['\n', '\r']) {
            tell("message", RuleError::Invalid(rule["message"].to_string(), "must not contain line breaks".into()));
        }
        if source.contains('\n') && text("message").is_empty() {
            tell("message", RuleError::Required("message must be specified if rule contains line breaks"));
        }
        if rule["reason"].is_string() && !REASONS.contains(&text("reason")) {
            tell("reason", RuleError::Unsupported(rule["reason"].clone(), REASONS));
        }
        let path = text("fieldPath");
        if !path.is_empty() && !names_a_field(schema, path) {
            tell("fieldPath", RuleError::Invalid(format!("{path:?}"), "must be a valid path".into()));
        }
        match compiled(source) {
            Err(why) => tell("rule", RuleError::Invalid(as_go(rule), why)),
            Ok(program) => {
                if let Some(lost) = lost.filter(|_| program.references().has_variable("oldSelf")) {
                    let why =
                        format!("oldSelf cannot be used on the uncorrelatable portion of the schema within {lost}");
                    tell("rule", RuleError::Invalid(format!("{source:?}"), why));
                }
            }
        }
        let message = text("messageExpression");
        if !message.is_empty()
            && let Err(why) = compiled(message)
        {
            tell("messageExpression", RuleError::Invalid(as_go(rule), format!("messageExpression {why}")));
        }
    }
}

fn compiled(source: &str) -> Result<Program, String> {
    let marked = |column: usize, why: &str| {
        let dots = ".".repeat(column.saturating_sub(1));
        format!("compilation failed: ERROR: <input>:1:{column}: {why}\n | {source}\n | {dots}^")
    };
    let program = Program::compile(source).map_err(|error| {
        let why = error.to_string();
        let why = why.lines().next().unwrap_or_default().trim_start_matches("ERROR: ").to_owned();
        marked(source.chars().count() + 1, &format!("Syntax error: {why}"))
    })?;
    let unknown = program
        .references()
        .variables()
        .into_iter()
        .find(|name| !["self", "oldSelf"].contains(name) && !is_bound(source, name))
        .map(str::to_owned);
    match unknown {
        // Types and namespaces of functions are names too.
        Some(name) if !is_named(&name) => {
            let column = source.find(&name).unwrap_or_default() + 1;
            Err(marked(column, &format!("undeclared reference to '{name}' (in container '')")))
        }
        _ => Ok(program),
    }
}

/// Whether a macro such as `all(x, ...)` or `exists_one(x, ...)` binds the name somewhere.
fn is_bound(source: &str, name: &str) -> bool {
    name.starts_with('@')
        || source.match_indices(name).any(|(at, _)| {
            let before = source[..at].trim_end();
            let after = source[at + name.len()..].trim_start();
            after.starts_with(',') && (before.ends_with('(') || before.ends_with(','))
        })
}

fn is_named(name: &str) -> bool {
    const NAMES: [&str; 26] = [
        "int",
        "uint",
        "double",
        "bool",
        "string",
        "bytes",
        "list",
        "map",
        "type",
        "dyn",
        "null_type",
        "timestamp",
        "duration",
        "optional",
        "optional_type",
        "math",
        "sets",
        "format",
        "cel",
        "base64",
        "net",
        "semver",
        "ip",
        "cidr",
        "quantity",
        "google",
    ];
    NAMES.contains(&name)
}

/// Whether a path such as `.spec.names` or `['a.b'].c` leads to a field of the schema.
fn names_a_field(schema: &Value, path: &str) -> bool {
    let mut rest = path;
    let mut schema = schema;
    while !rest.is_empty() {
        let (name, after) = if let Some(inner) = rest.strip_prefix("['") {
            let Some(found) = inner.split_once("']") else { return false };
            found
        } else if let Some(inner) = rest.strip_prefix('.') {
            inner.split_at(inner.find(['.', '[']).unwrap_or(inner.len()))
        } else {
            return false;
        };
        let property = schema["properties"].get(name);
        let Some(found) = property.or_else(|| schema.get("additionalProperties").filter(|inner| inner.is_object()))
        else {
            return false;
        };
        (schema, rest) = (found, after);
    }
    true
}

/// A rule as Go prints it.
fn as_go(rule: &Value) -> String {
    let text = |name: &str| Value::from(rule[name].as_str().unwrap_or_default());
    let fields = [
        ("Rule", text("rule")),
        ("Message", text("message")),
        ("MessageExpression", text("messageExpression")),
        ("Reason", rule["reason"].clone()),
        ("FieldPath", text("fieldPath")),
        ("OptionalOldSelf", rule["optionalOldSelf"].clone()),
    ];
    let fields: Vec<String> = fields.iter().map(|(name, value)| format!("{name:?}:{value}")).collect();
    format!("{{{}}}", fields.join(","))
}
