//! What the core kinds refuse, in the words and in the order of a kube-apiserver.
//!
//! Every check walks an object by [`At`] and says what is wrong at a place. The kinds' own files
//! are lists of fields and what each has to be.

pub(super) mod access;
pub(super) mod apps;
mod containers;
pub(super) mod core;
mod handlers;
pub(super) mod network;
mod pods;
mod quantity;
pub(super) mod scaling;
mod selectors;
mod words;

pub(super) use words::port_name;

use std::cell::RefCell;
use std::collections::HashSet;
use std::ops::RangeInclusive;

use serde_json::Value;

use crate::local::admit::{FieldError, FieldErrorKind};

pub(super) const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];
pub(super) const PORTS: RangeInclusive<i64> = 1..=65535;

/// What a kind's objects, and their status, have to be.
#[derive(Clone, Copy)]
pub struct Checks {
    pub(super) object: fn(&At<'_>),
    pub(super) status: fn(&At<'_>),
}

impl Checks {
    /// What is wrong with the object; with its status alone when that is what is written.
    pub(in crate::local) fn run(&self, object: &Value, old: Option<&Value>, status: bool) -> Vec<FieldError> {
        let errors = RefCell::default();
        let at = At { path: String::new(), value: object, old: old.unwrap_or(&Value::Null), errors: &errors };
        if status {
            (self.status)(&at);
        } else {
            (self.object)(&at);
        }
        errors.into_inner()
    }
}

/// A place in an object, what was there before, and where to say what is wrong with it.
#[derive(Clone)]
pub(super) struct At<'a> {
    path: String,
    value: &'a Value,
    old: &'a Value,
    errors: &'a RefCell<Vec<FieldError>>,
}

impl<'a> At<'a> {
    /// The field at a path such as `spec.template`.
    fn at(&self, path: &str) -> Self {
        path.split('.').fold(self.clone(), |at, field| Self {
            path: if at.path.is_empty() { field.to_owned() } else { format!("{}.{field}", at.path) },
            value: &at.value[field],
            old: &at.old[field],
            errors: at.errors,
        })
    }

    /// The entries of the list at this path.
    fn each(&self, path: &str) -> Vec<Self> {
        let list = self.at(path);
        let items = list.value.as_array().map_or(&[][..], Vec::as_slice);
        let entry = |(index, value)| Self {
            path: format!("{}[{index}]", list.path),
            value,
            old: &list.old[index],
            errors: list.errors,
        };
        items.iter().enumerate().map(entry).collect()
    }

    /// The same value, spoken of under another path.
    fn called(&self, path: &str) -> Self {
        Self { path: path.to_owned(), ..self.clone() }
    }

    fn is_set(&self) -> bool {
        !self.value.is_null()
    }

    fn is_update(&self) -> bool {
        !self.old.is_null()
    }

    fn is_empty(&self) -> bool {
        match self.value {
            Value::Null => true,
            Value::String(text) => text.is_empty(),
            Value::Array(items) => items.is_empty(),
            Value::Object(fields) => fields.is_empty(),
            Value::Number(number) => number.as_i64() == Some(0),
            Value::Bool(_) => false,
        }
    }

    fn text(&self) -> &'a str {
        self.value.as_str().unwrap_or_default()
    }

    fn number(&self) -> i64 {
        self.value.as_i64().unwrap_or(0)
    }

    fn say(&self, kind: FieldErrorKind, message: String) {
        self.errors.borrow_mut().push(FieldError { field: self.path.clone(), kind, message });
    }

    fn said(&self) -> usize {
        self.errors.borrow().len()
    }

    fn invalid(&self, why: &str) {
        self.invalid_as(self.value, why);
    }

    /// Wrong, where what is shown is not the value itself.
    fn invalid_as(&self, shown: &Value, why: &str) {
        self.say(FieldErrorKind::Invalid, format!("Invalid value: {shown}: {why}"));
    }

    /// Wrong, where what is shown is the server's own struct, whose fields these are.
    fn invalid_struct(&self, fields: &[&str], why: &str) {
        self.say(FieldErrorKind::Invalid, format!("Invalid value: {}: {why}", self.as_struct(fields)));
    }

    /// The object as a kube-apiserver shows its own structs: with other names, in their order.
    fn as_struct(&self, fields: &[&str]) -> String {
        let each = fields.iter().map(|field| format!("{field:?}:{}", self.value[json_name(field)]));
        format!("{{{}}}", each.collect::<Vec<_>>().join(","))
    }

    fn forbidden(&self, why: &str) {
        self.say(FieldErrorKind::Forbidden, format!("Forbidden: {why}"));
    }

    fn duplicate(&self, shown: &Value) {
        self.say(FieldErrorKind::Duplicate, format!("Duplicate value: {shown}"));
    }

    fn not_found(&self) {
        self.say(FieldErrorKind::NotFound, format!("Not found: {}", self.value));
    }

    fn too_many(&self, most: usize) -> bool {
        let count = self.value.as_array().map_or(0, Vec::len);
        if count > most {
            self.say(FieldErrorKind::TooMany, format!("Too many: {count}: must have at most {most} items"));
        }
        count > most
    }

    fn missing(&self, why: &str) {
        let colon = if why.is_empty() { "" } else { ": " };
        self.say(FieldErrorKind::Required, format!("Required value{colon}{why}"));
    }

    /// Says that it is missing, or that it is there.
    fn required(&self, why: &str) -> bool {
        if self.is_empty() {
            self.missing(why);
        }
        !self.is_empty()
    }

    fn unsupported(&self, supported: &[&str]) {
        self.unsupported_as(&if self.is_set() { self.value.clone() } else { "".into() }, supported);
    }

    fn unsupported_as(&self, shown: &dyn std::fmt::Display, supported: &[&str]) {
        let supported: Vec<String> = supported.iter().map(|text| format!("{text:?}")).collect();
        let message = format!("Unsupported value: {shown}: supported values: {}", supported.join(", "));
        self.say(FieldErrorKind::NotSupported, message);
    }

    /// One of these words, and there.
    fn word(&self, supported: &[&str]) {
        if self.required("") {
            self.word_if_set(supported);
        }
    }

    fn word_if_set(&self, supported: &[&str]) {
        if self.is_set() && !supported.contains(&self.text()) {
            self.unsupported(supported);
        }
    }

    fn not_negative(&self) {
        if self.number() < 0 {
            self.invalid("must be greater than or equal to 0");
        }
    }

    fn within(&self, range: RangeInclusive<i64>) {
        if !range.contains(&self.number()) {
            let shown = if self.is_set() { self.value.clone() } else { 0.into() };
            self.invalid_as(&shown, &format!("must be between {} and {}, inclusive", range.start(), range.end()));
        }
    }

    /// What a rule about texts says of this one.
    fn text_is(&self, rule: impl Fn(&str) -> Vec<String>) {
        for why in rule(self.text()) {
            self.invalid_as(&self.text().into(), &why);
        }
    }

    fn text_is_if_set(&self, rule: impl Fn(&str) -> Vec<String>) {
        if !self.is_empty() {
            self.text_is(rule);
        }
    }

    /// As it was when the object was made.
    fn unchanged(&self, object: &Self) {
        if object.is_update() && self.value != self.old {
            self.invalid("field is immutable");
        }
    }

    fn percent_or_number(&self) {
        match self.value {
            Value::String(text) => {
                let digits = text.strip_suffix('%').unwrap_or_default();
                if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                    self.invalid(words::PERCENT);
                }
            }
            _ => self.not_negative(),
        }
    }

    /// The number, or the per cent, that it says.
    fn amount(&self) -> i64 {
        match self.value {
            Value::String(text) => text.trim_end_matches('%').parse().unwrap_or(0),
            number => number.as_i64().unwrap_or(0),
        }
    }

    fn at_most_all(&self) {
        if self.value.is_string() && self.amount() > 100 {
            self.invalid("must not be greater than 100%");
        }
    }

    /// A container's or a Service's port: its number or its name.
    fn port(&self) {
        if self.value.is_string() { self.text_is(words::port_name) } else { self.within(PORTS) }
    }
}

/// Says of each entry whose name an earlier one has that it is there twice.
#[derive(Default)]
struct Names<'a>(HashSet<&'a str>);

impl<'a> Names<'a> {
    fn once(&mut self, at: &At<'a>) {
        if !self.0.insert(at.text()) {
            at.duplicate(&at.text().into());
        }
    }
}

/// `APIGroup` is `apiGroup` in an object.
fn json_name(field: &str) -> String {
    let capitals = field.bytes().take_while(u8::is_ascii_uppercase).count();
    let (head, rest) = field.split_at(capitals.saturating_sub(1).max(1));
    format!("{}{rest}", head.to_ascii_lowercase())
}

pub(super) fn nothing(_: &At<'_>) {}
