//! The checks of one node, in the order in which a kube-apiserver reports them.

use std::{collections::BTreeSet, fmt::Write as _};

use serde_json::Value;

use super::{Additional, FieldError, FieldErrorKind, Findings, ListType, Node, Type, identity, join};

impl Node {
    pub(super) fn check(&self, value: &Value, old: Option<&Value>, path: &str, out: &mut Findings) {
        if old == Some(value) {
            return;
        }
        if value.is_null() && self.nullable {
            return;
        }
        if self.int_or_string && !matches!(value, Value::String(_)) && !is_integer(value) {
            return wrong_type(value, path, "integer,string", out);
        }
        if let Some(type_) = self.type_
            && !fits(value, type_)
        {
            return wrong_type(value, path, type_.name(), out);
        }
        self.check_enum(value, path, out);
        match value {
            Value::String(text) => self.check_string(text, path, out),
            Value::Number(_) => self.check_number(value, path, out),
            Value::Array(items) => self.check_array(items, old, path, out),
            Value::Object(_) => self.check_object(value, old, path, out),
            Value::Null | Value::Bool(_) => {}
        }
        self.check_branches(value, path, out);
    }

    fn check_enum(&self, value: &Value, path: &str, out: &mut Findings) {
        if self.enum_.is_empty() || self.enum_.contains(value) {
            return;
        }
        let mut supported = String::new();
        for (index, allowed) in self.enum_.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            let text = allowed.as_str().map_or_else(|| allowed.to_string(), str::to_owned);
            // A String takes any write.
            let _ = write!(supported, "{comma}{text:?}");
        }
        let message = format!("Unsupported value: {value}: supported values: {supported}");
        out.add(path, FieldErrorKind::NotSupported, message);
    }

    fn check_string(&self, text: &str, path: &str, out: &mut Findings) {
        let length = || text.chars().count() as u64;
        if let Some(max) = self.max_length
            && text.len() as u64 > max
            && length() > max
        {
            out.add(path, FieldErrorKind::TooLong, format!("Too long: may not be more than {max} bytes"));
        }
        if let Some(min) = self.min_length
            && length() < min
        {
            invalid(text, path, &format!("should be at least {min} chars long"), out);
        }
        if let Some(pattern) = &self.pattern
            && !pattern.is_match(text)
        {
            invalid(text, path, &format!("should match '{}'", pattern.as_str()), out);
        }
        if let Some(format) = &self.format
            && !has_format(text, format)
        {
            invalid(text, path, &format!("must be of type {format}: {text:?}"), out);
        }
    }

    fn check_number(&self, value: &Value, path: &str, out: &mut Findings) {
        let Some(number) = value.as_f64() else { return };
        let mut refuse = |limit: f64, exclusive: bool, word: &str| {
            let or_equal = if exclusive { "" } else { " or equal to" };
            let message = format!("Invalid value: {value}: {path} in body should be {word} than{or_equal} {limit}");
            out.add(path, FieldErrorKind::Invalid, message);
        };
        if let Some((limit, exclusive)) = self.minimum
            && (number < limit || (exclusive && number <= limit))
        {
            refuse(limit, exclusive, "greater");
        }
        if let Some((limit, exclusive)) = self.maximum
            && (number > limit || (exclusive && number >= limit))
        {
            refuse(limit, exclusive, "less");
        }
        if self.format.as_deref() == Some("int32") && (number < f64::from(i32::MIN) || number > f64::from(i32::MAX)) {
            let message = format!("Invalid value: {value}: {path} in body must be of type int32: {value}");
            out.add(path, FieldErrorKind::Invalid, message);
        }
    }

    fn check_array(&self, items: &[Value], old: Option<&Value>, path: &str, out: &mut Findings) {
        let count = items.len() as u64;
        if let Some(max) = self.max_items
            && count > max
        {
            // The entries of a list that is too long are not looked at: it may be of any size.
            let message = format!("Too many: {count}: must have at most {max} items");
            return out.add(path, FieldErrorKind::TooMany, message);
        }
        if let Some(min) = self.min_items
            && count < min
        {
            let message = format!("Invalid value: {count}: {path} in body should have at least {min} items");
            out.add(path, FieldErrorKind::Invalid, message);
        }
        let node = self.items.as_deref();
        if let Some(node) = node {
            for (index, item) in items.iter().enumerate() {
                node.check(item, self.old_item(item, old), &format!("{path}[{index}]"), out);
            }
        }
    }

    /// Entries that sets and lists of named entries have twice.
    pub(super) fn find_duplicates(&self, value: &Value, path: &str, out: &mut Vec<FieldError>) {
        let items = match value {
            Value::Object(fields) => {
                for (name, inner) in fields {
                    match (self.properties.get(name), &self.additional) {
                        (Some(node), _) => node.find_duplicates(inner, &self.child(path, name), out),
                        (None, Additional::Each(node)) => node.find_duplicates(inner, &self.child(path, name), out),
                        _ => {}
                    }
                }
                return;
            }
            Value::Array(items) => items,
            _ => return,
        };
        let node = self.items.as_deref();
        let key = |item: &Value| match &self.list {
            ListType::Atomic => None,
            ListType::Set => Some(item.to_string()),
            ListType::Map(keys) => item.is_object().then(|| Value::Object(identity(item, keys, node)).to_string()),
        };
        let mut seen = BTreeSet::new();
        for (index, key) in items.iter().enumerate().filter_map(|(index, item)| Some((index, key(item)?))) {
            if seen.contains(&key) {
                let message = format!("Duplicate value: {key}");
                out.push(FieldError { field: format!("{path}[{index}]"), kind: FieldErrorKind::Duplicate, message });
            }
            seen.insert(key);
        }
        if let Some(node) = node {
            for (index, item) in items.iter().enumerate() {
                node.find_duplicates(item, &format!("{path}[{index}]"), out);
            }
        }
    }

    fn check_object(&self, value: &Value, old: Option<&Value>, path: &str, out: &mut Findings) {
        let Value::Object(fields) = value else { return };
        let count = fields.len() as u64;
        if let Some(max) = self.max_properties
            && count > max
        {
            let message = format!("Too many: {count}: must have at most {max} items");
            return out.add(path, FieldErrorKind::TooMany, message);
        }
        if let Some(min) = self.min_properties
            && count < min
        {
            let message = format!("Invalid value: {count}: {path} in body should have at least {min} properties");
            out.add(path, FieldErrorKind::Invalid, message);
        }
        for name in self.required.iter().filter(|name| !fields.contains_key(*name)) {
            out.add(&join(path, name), FieldErrorKind::Required, "Required value".to_owned());
        }
        for (name, inner) in fields {
            let old = old.and_then(|old| old.get(name));
            match (self.properties.get(name), &self.additional) {
                (Some(node), _) => node.check(inner, old, &join(path, name), out),
                (None, Additional::Each(node)) => node.check(inner, old, &join(path, name), out),
                (None, _) => {}
            }
        }
    }

    fn check_branches(&self, value: &Value, path: &str, out: &mut Findings) {
        let fits = |node: &Self| {
            let mut inner = Findings::default();
            node.check(value, None, path, &mut inner);
            inner.errors.is_empty()
        };
        for node in &self.all_of {
            node.check(value, None, path, out);
        }
        let mut refuse = |rule: &str| {
            let message = format!("Invalid value: {value}: {path} in body {rule}");
            out.add(path, FieldErrorKind::Invalid, message);
        };
        if !self.any_of.is_empty() && !self.any_of.iter().any(fits) {
            refuse("must validate at least one schema (anyOf)");
        }
        if !self.one_of.is_empty() && self.one_of.iter().filter(|node| fits(node)).count() != 1 {
            refuse("must validate one and only one schema (oneOf)");
        }
        if self.not.as_deref().is_some_and(fits) {
            refuse("must not validate the schema (not)");
        }
    }
}

fn wrong_type(value: &Value, path: &str, expected: &str, out: &mut Findings) {
    let found = type_name(value);
    let message = format!("Invalid value: {found:?}: {path} in body must be of type {expected}: {found:?}");
    out.add(path, FieldErrorKind::Invalid, message);
    out.blocking = true;
}

fn invalid(text: &str, path: &str, rule: &str, out: &mut Findings) {
    out.add(path, FieldErrorKind::Invalid, format!("Invalid value: {text:?}: {path} in body {rule}"));
}

fn fits(value: &Value, type_: Type) -> bool {
    match type_ {
        Type::Object => value.is_object(),
        Type::Array => value.is_array(),
        Type::String => value.is_string(),
        Type::Integer => is_integer(value),
        Type::Number => value.is_number(),
        Type::Boolean => value.is_boolean(),
    }
}

fn is_integer(value: &Value) -> bool {
    value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|number| number.fract() == 0.0)
}

/// The name by which JSON Schema calls the type of a value.
fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) if is_integer(value) => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Formats that a kube-apiserver enforces and that schemas here use; others are not checked.
fn has_format(text: &str, format: &str) -> bool {
    match format {
        "date-time" => text.parse::<jiff::Timestamp>().is_ok(),
        "ipv4" => text.parse::<std::net::Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<std::net::Ipv6Addr>().is_ok(),
        _ => true,
    }
}
