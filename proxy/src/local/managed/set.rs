//! Sets of fields of an object, and their encoding as `fieldsV1`.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value};

use crate::local::go;

/// One step of a path, as `fieldsV1` writes it: `f:name`, `k:{"port":80}`, `v:"x"` or `i:3`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Element(String);

impl Element {
    pub(super) fn field(name: &str) -> Self {
        Self(format!("f:{name}"))
    }

    /// An item of a list that is a map, by its key fields.
    pub(super) fn key(fields: &BTreeMap<&str, Value>) -> Self {
        let fields: Vec<String> =
            fields.iter().map(|(name, value)| format!("{}:{}", Value::from(*name), canonical(value))).collect();
        Self(format!("k:{{{}}}", fields.join(",")))
    }

    /// An item of a list that is a set.
    pub(super) fn value(value: &Value) -> Self {
        Self(format!("v:{}", canonical(value)))
    }

    /// An item of a list that is one value.
    pub(super) fn index(at: usize) -> Self {
        Self(format!("i:{at}"))
    }

    pub(super) fn field_name(&self) -> Option<&str> {
        self.0.strip_prefix("f:")
    }

    /// `Ok(None)`: of a kind that is not known, to be left out.
    fn parse(text: &str) -> Result<Option<Self>, String> {
        let Some((kind, rest)) = text.split_once(':') else { return Err(format!("missing colon: {text}")) };
        let json = |rest| serde_json::from_str::<Value>(rest).map_err(|error| format!("{text}: {error}"));
        Ok(match kind {
            "f" => Some(Self::field(rest)),
            "v" => Some(Self::value(&json(rest)?)),
            "i" => Some(Self(format!("i:{}", rest.parse::<i64>().map_err(|error| format!("{text}: {error}"))?))),
            "k" => {
                let Value::Object(fields) = json(rest)? else { return Err(format!("{text}: keys are an object")) };
                Some(Self::key(&fields.iter().map(|(name, value)| (name.as_str(), value.clone())).collect()))
            }
            _ => None,
        })
    }
}

/// JSON in one form for equal values: numbers without a needless fraction.
fn canonical(value: &Value) -> String {
    match value.as_f64() {
        #[allow(clippy::cast_possible_truncation)] // only whole numbers that fit
        Some(number) if value.is_f64() && number.fract() == 0.0 && number.abs() < 9e15 => (number as i64).to_string(),
        _ => value.to_string(),
    }
}

/// As a conflict's path shows it.
impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |value: &Value| value.as_str().map_or_else(|| value.to_string(), go::quoted);
        let (kind, rest) = self.0.split_once(':').unwrap_or(("", &self.0));
        match (kind, serde_json::from_str::<Value>(rest)) {
            ("k", Ok(Value::Object(fields))) => {
                let fields: Vec<String> =
                    fields.iter().map(|(name, value)| format!("{name}={}", plain(value))).collect();
                write!(f, "[{}]", fields.join(","))
            }
            ("v", Ok(value)) => write!(f, "[={}]", plain(&value)),
            ("i", _) => write!(f, "[{rest}]"),
            _ => write!(f, ".{rest}"),
        }
    }
}

pub(super) fn shown(path: &[Element]) -> String {
    path.iter().map(Element::to_string).collect()
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Node {
    /// The path that ends here is in the set.
    member: bool,
    below: Set,
}

/// A set of paths. A path and what is below it are in it independently.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Set(BTreeMap<Element, Node>);

impl Set {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn insert(&mut self, path: &[Element]) {
        let [first, rest @ ..] = path else { return };
        let node = self.0.entry(first.clone()).or_default();
        if rest.is_empty() {
            node.member = true;
        } else {
            node.below.insert(rest);
        }
    }

    /// Adds one step, and what is below it.
    pub(super) fn put(&mut self, element: Element, member: bool, below: Set) {
        if member || !below.is_empty() {
            self.0.insert(element, Node { member, below });
        }
    }

    /// Whether the path of this one step is in the set.
    pub(super) fn has(&self, element: &Element) -> bool {
        self.0.get(element).is_some_and(|node| node.member)
    }

    /// What is below this step.
    pub(super) fn below(&self, element: &Element) -> Option<&Set> {
        self.0.get(element).map(|node| &node.below).filter(|below| !below.is_empty())
    }

    pub(super) fn steps(&self) -> impl Iterator<Item = (&Element, bool, &Set)> {
        self.0.iter().map(|(element, node)| (element, node.member, &node.below))
    }

    pub(super) fn union(&self, other: &Set) -> Set {
        let mut all = self.clone();
        for (element, node) in &other.0 {
            let into = all.0.entry(element.clone()).or_default();
            into.member |= node.member;
            into.below = into.below.union(&node.below);
        }
        all
    }

    pub(super) fn intersection(&self, other: &Set) -> Set {
        let mut both = Set::default();
        for (element, node) in &self.0 {
            if let Some(found) = other.0.get(element) {
                both.put(element.clone(), node.member && found.member, node.below.intersection(&found.below));
            }
        }
        both
    }

    /// The paths that are not in the other set; those below its paths stay.
    pub(super) fn difference(&self, other: &Set) -> Set {
        let mut left = Set::default();
        for (element, node) in &self.0 {
            match other.0.get(element) {
                Some(found) => {
                    left.put(element.clone(), node.member && !found.member, node.below.difference(&found.below));
                }
                None => left.put(element.clone(), node.member, node.below.clone()),
            }
        }
        left
    }

    /// The paths that are neither in the other set nor below one of its paths.
    pub(super) fn outside(&self, other: &Set) -> Set {
        let mut left = Set::default();
        for (element, node) in &self.0 {
            match other.0.get(element) {
                Some(found) if found.member => {}
                Some(found) => left.put(element.clone(), node.member, node.below.outside(&found.below)),
                None => left.put(element.clone(), node.member, node.below.clone()),
            }
        }
        left
    }

    /// Every path: those of one level before those below them.
    pub(super) fn paths(&self) -> Vec<Vec<Element>> {
        fn walk(set: &Set, at: &mut Vec<Element>, found: &mut Vec<Vec<Element>>) {
            for (element, _, _) in set.steps().filter(|(_, member, _)| *member) {
                found.push(at.iter().chain([element]).cloned().collect());
            }
            for (element, _, below) in set.steps().filter(|(.., below)| !below.is_empty()) {
                at.push(element.clone());
                walk(below, at, found);
                at.pop();
            }
        }
        let mut found = Vec::new();
        walk(self, &mut Vec::new(), &mut found);
        found
    }

    pub(super) fn to_json(&self) -> Value {
        let mut fields = Map::new();
        for (element, node) in &self.0 {
            let mut below = node.below.to_json();
            if let (true, false, Some(below)) = (node.member, node.below.is_empty(), below.as_object_mut()) {
                below.insert(".".into(), Value::Object(Map::new()));
            }
            fields.insert(element.0.clone(), below);
        }
        Value::Object(fields)
    }

    /// Reads `fieldsV1`; steps of an unknown kind are left out.
    pub(super) fn from_json(fields: &Value) -> Result<Set, String> {
        let Value::Object(fields) = fields else { return Err("fieldsV1 is an object of objects".to_owned()) };
        let mut set = Set::default();
        for (text, below) in fields.iter().filter(|(text, _)| *text != ".") {
            let Some(element) = Element::parse(text)? else { continue };
            let inner = Set::from_json(below)?;
            let member = inner.is_empty() || below.get(".").is_some();
            set.put(element, member, inner);
        }
        Ok(set)
    }
}

#[cfg(test)]
pub(super) mod tests;
