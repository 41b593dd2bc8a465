//! YAML with the line of every field. Documents are cut apart first, so that a broken one takes
//! nobody with it.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_saphyr::Spanned;

#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// From 1; 0 where there is no text, as in a cluster.
    pub line: u32,
    pub data: Data,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Data {
    /// Null, a flag, a number or text.
    Scalar(Value),
    List(Vec<Node>),
    /// In the order of the text, each with the line of its key.
    Map(Vec<(String, u32, Node)>),
}

/// One document, or why it cannot be read.
#[derive(Debug)]
pub struct Document {
    pub line: u32,
    pub node: Result<Node, String>,
}

/// All documents of a text that hold anything. JSON is YAML.
pub fn documents(text: &str) -> Vec<Document> {
    let text = text.trim_start_matches('\u{feff}');
    let mut documents = Vec::new();
    let (mut begin, mut first, mut at) = (0, 1, 0);
    for (line, row) in (1..).zip(text.split_inclusive('\n')) {
        let bare = row.trim_end();
        if bare == "---" || bare.starts_with("--- ") || bare == "..." {
            push(&text[begin..at], first, &mut documents);
            // What follows the marker on its line belongs to the document.
            let skip = if bare.starts_with("--- ") { 3 } else { row.len() };
            begin = at + skip;
            first = if skip == 3 { line } else { line + 1 };
        }
        at += row.len();
    }
    push(&text[begin..], first, &mut documents);
    documents
}

fn push(text: &str, line: u32, documents: &mut Vec<Document>) {
    let said = |row: &str| {
        let row = row.trim();
        !row.is_empty() && !row.starts_with('#') && !row.starts_with('%')
    };
    if !text.lines().any(said) {
        return;
    }
    match serde_saphyr::from_str_with_options::<Node>(text, options(text.len())) {
        Ok(mut node) => {
            node.shift(line - 1);
            documents.push(Document { line, node: Ok(node) });
        }
        Err(error) => {
            let at = error.location().map_or(line, |location| line - 1 + u32::try_from(location.line()).unwrap_or(1));
            let text = error.to_string();
            let reason = text.lines().next().unwrap_or("it is no YAML").trim().to_owned();
            documents.push(Document { line: at, node: Err(reason) });
        }
    }
}

/// A list of a whole cluster is one document: as many nodes as its bytes could be are no attack.
/// What aliases make of them stays bounded as the reader's authors think right.
fn options(bytes: usize) -> serde_saphyr::Options {
    let usual = serde_saphyr::Budget::default();
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_nodes: usual.max_nodes.max(bytes),
            max_events: usual.max_events.max(bytes.saturating_mul(2)),
            max_total_scalar_bytes: usual.max_total_scalar_bytes.max(bytes),
            max_total_comment_bytes: usual.max_total_comment_bytes.max(bytes),
        },
        with_snippet: false,
    }
}

impl Node {
    pub fn of(value: &Value) -> Self {
        let data = match value {
            Value::Array(items) => Data::List(items.iter().map(Self::of).collect()),
            Value::Object(fields) => {
                Data::Map(fields.iter().map(|(name, inner)| (name.clone(), 0, Self::of(inner))).collect())
            }
            scalar => Data::Scalar(scalar.clone()),
        };
        Self { line: 0, data }
    }

    pub fn value(&self) -> Value {
        match &self.data {
            Data::Scalar(value) => value.clone(),
            Data::List(items) => items.iter().map(Self::value).collect(),
            Data::Map(fields) => fields.iter().map(|(name, _, inner)| (name.clone(), inner.value())).collect(),
        }
    }

    fn shift(&mut self, by: u32) {
        self.line += by;
        match &mut self.data {
            Data::Scalar(_) => {}
            Data::List(items) => items.iter_mut().for_each(|item| item.shift(by)),
            Data::Map(fields) => {
                for (_, line, inner) in fields {
                    *line += by;
                    inner.shift(by);
                }
            }
        }
    }

    pub fn get(&self, name: &str) -> Option<&Self> {
        self.field(name).map(|(_, inner)| inner)
    }

    /// The line of a field's name, and the field.
    pub fn field(&self, name: &str) -> Option<(u32, &Self)> {
        let Data::Map(fields) = &self.data else { return None };
        fields.iter().find(|(known, ..)| known == name).map(|(_, line, inner)| (*line, inner))
    }

    pub fn fields(&self) -> &[(String, u32, Node)] {
        if let Data::Map(fields) = &self.data { fields } else { &[] }
    }

    pub fn items(&self) -> &[Node] {
        if let Data::List(items) = &self.data { items } else { &[] }
    }

    pub fn is_null(&self) -> bool {
        matches!(self.data, Data::Scalar(Value::Null))
    }

    /// Text, or what a flag or a number is written like.
    pub fn text(&self) -> Option<String> {
        match &self.data {
            Data::Scalar(Value::String(text)) => Some(text.clone()),
            Data::Scalar(Value::Null) | Data::List(_) | Data::Map(_) => None,
            Data::Scalar(other) => Some(other.to_string()),
        }
    }

    pub fn at(&self, path: &[&str]) -> Option<&Self> {
        path.iter().try_fold(self, |node, name| node.get(name))
    }

    pub fn text_at(&self, path: &[&str]) -> Option<String> {
        self.at(path).and_then(Self::text)
    }

    pub fn number_at(&self, path: &[&str]) -> Option<u64> {
        match &self.at(path)?.data {
            Data::Scalar(Value::Number(number)) => number.as_u64(),
            Data::Scalar(Value::String(text)) => text.parse().ok(),
            _ => None,
        }
    }

    /// Every field that holds a value: path, line, value.
    pub fn leaves(&self) -> Vec<(String, u32, String)> {
        let mut all = Vec::new();
        self.leaves_at("", self.line, &mut all);
        all
    }

    fn leaves_at(&self, path: &str, line: u32, all: &mut Vec<(String, u32, String)>) {
        match &self.data {
            Data::Map(fields) if !fields.is_empty() => {
                for (name, line, inner) in fields {
                    inner.leaves_at(&join(path, name), *line, all);
                }
            }
            Data::List(items) if !items.is_empty() => {
                for (at, item) in items.iter().enumerate() {
                    item.leaves_at(&format!("{path}[{at}]"), item.line, all);
                }
            }
            Data::Map(_) => all.push((path.to_owned(), line, "{}".to_owned())),
            Data::List(_) => all.push((path.to_owned(), line, "[]".to_owned())),
            Data::Scalar(_) => all.push((path.to_owned(), line, self.text().unwrap_or_default())),
        }
    }
}

/// A field's path; a name with a dot or a slash is put in brackets.
pub fn join(path: &str, name: &str) -> String {
    if name.contains(['.', '/', '[']) || name.is_empty() {
        format!("{path}[{name:?}]")
    } else if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Data>::deserialize(deserializer)?;
        Ok(Self { line: u32::try_from(spanned.referenced.line()).unwrap_or(0), data: spanned.value })
    }
}

impl<'de> Deserialize<'de> for Data {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyData)
    }
}

struct AnyData;

impl<'de> Visitor<'de> for AnyData {
    type Value = Data;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Data, E> {
        Ok(Data::Scalar(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Data, E> {
        Ok(Data::Scalar(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Data, E> {
        Ok(Data::Scalar(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Data, E> {
        Ok(Data::Scalar(value.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Data, E> {
        Ok(Data::Scalar(value.into()))
    }

    fn visit_unit<E>(self) -> Result<Data, E> {
        Ok(Data::Scalar(Value::Null))
    }

    fn visit_none<E>(self) -> Result<Data, E> {
        Ok(Data::Scalar(Value::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Data, D::Error> {
        Data::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Data, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Data::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Data, A::Error> {
        let mut fields = Vec::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            fields.push((key.value, u32::try_from(key.referenced.line()).unwrap_or(0), map.next_value()?));
        }
        Ok(Data::Map(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<(String, u32, String)> {
        documents(text)
            .into_iter()
            .flat_map(|document| document.node.map(|node| node.leaves()).unwrap_or_default())
            .collect()
    }

    #[test]
    fn every_field_has_its_line() {
        let text = "\u{feff}# a comment\nkind: A\nspec:\n  list:\n  - x: 1\n    y: two\n---\nkind: B\nempty: {}\n";
        let expected = [
            ("kind", 2, "A"),
            ("spec.list[0].x", 5, "1"),
            ("spec.list[0].y", 6, "two"),
            ("kind", 8, "B"),
            ("empty", 9, "{}"),
        ];
        let expected: Vec<_> =
            expected.iter().map(|(path, line, value)| ((*path).to_owned(), *line, (*value).to_owned())).collect();
        assert_eq!(lines(text), expected);
    }

    #[test]
    fn anchors_are_resolved_and_json_is_read() {
        assert_eq!(lines("a: &x [1]\nb: *x\n").len(), 2);
        assert_eq!(lines("{\"a\": {\"b.c/d\": true}}"), [("a[\"b.c/d\"]".to_owned(), 1, "true".to_owned())]);
    }

    #[test]
    fn a_broken_document_takes_nobody_with_it() {
        let all = documents("kind: A\n---\nkind: B\n  bad: [\n---\na: 1\na: 2\n---\nkind: C\n");
        let told: Vec<_> = all.iter().map(|one| (one.node.is_ok(), one.line)).collect();
        assert_eq!((told[0], told[3]), ((true, 1), (true, 9)), "{all:?}");
        assert!(!told[1].0 && (3..=4).contains(&told[1].1), "{all:?}");
        assert!(!told[2].0 && (6..=7).contains(&told[2].1), "{all:?}");
    }
}
