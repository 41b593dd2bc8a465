//! A folder of manifests as documents that remember where each field stands.

use std::{collections::BTreeMap, fmt, fs, io, path::Path};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value};
use serde_saphyr::Spanned;

use super::Problem;

#[cfg(test)]
mod tests;

/// Larger files are no manifests, and are not read into memory.
const MAX_FILE: u64 = 8 * 1024 * 1024;

/// File contents by name within the folder; unreadable ones with the reason.
pub(super) type Files = BTreeMap<String, Result<String, String>>;

/// Reads every manifest of a folder; symlinks are followed, folders in it are not entered.
pub(super) fn read_folder(folder: &Path) -> io::Result<Files> {
    let mut files = Files::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !is_manifest(&name) {
            continue;
        }
        let content = match fs::metadata(entry.path()) {
            Ok(meta) if !meta.is_file() => continue,
            Ok(meta) if meta.len() > MAX_FILE => Err(format!("is larger than {MAX_FILE} bytes; split it")),
            Ok(_) => fs::read(entry.path())
                .map_err(|error| format!("cannot be read: {error}"))
                .and_then(|bytes| String::from_utf8(bytes).map_err(|error| format!("is not UTF-8: {error}"))),
            Err(error) => Err(format!("cannot be read: {error}")),
        };
        files.insert(name, content);
    }
    Ok(files)
}

/// By its name: hidden files and editors' backups and locks are none.
fn is_manifest(name: &str) -> bool {
    let extension = name.rsplit_once('.').map(|(_, extension)| extension);
    !name.starts_with(['.', '#', '~']) && matches!(extension, Some("yaml" | "yml" | "json"))
}

/// One object of a manifest.
#[derive(Clone, Debug)]
pub(super) struct Document {
    pub file: String,
    pub line: u64,
    pub api_version: String,
    pub kind: String,
    pub name: String,
    pub namespace: Option<String>,
    pub object: Value,
    tree: Tree,
}

impl Document {
    pub(super) fn group(&self) -> &str {
        self.api_version.split_once('/').map_or("", |(group, _)| group)
    }

    pub(super) fn problem(&self, field: Option<&str>, message: impl Into<String>) -> Problem {
        Problem {
            file: self.file.clone(),
            line: Some(field.map_or(self.line, |field| self.tree.line_of(field))),
            object: Some(format!("{} {}", self.kind, self.name)),
            field: field.map(str::to_owned),
            message: message.into(),
            transient: false,
        }
    }
}

/// The documents of one file, and what is wrong with the others.
pub(super) fn parse(file: &str, content: &str) -> (Vec<Document>, Vec<Problem>) {
    let (mut documents, mut problems) = (Vec::new(), Vec::new());
    for (skipped, text) in split(content) {
        let options = serde_saphyr::options! { with_snippet: false };
        match serde_saphyr::from_str_with_options::<Option<Tree>>(&text, options) {
            Ok(None) => {}
            Ok(Some(tree)) => collect(file, tree.shifted(skipped), &mut documents, &mut problems),
            Err(error) => {
                let message = error.without_snippet().to_string();
                // Its own line counts from the document's start.
                let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(message, _)| message);
                problems.push(Problem {
                    line: error.location().map(|location| location.line() + skipped),
                    ..Problem::of_file(file, message)
                });
            }
        }
    }
    (documents, problems)
}

/// The documents of a YAML stream, each with the number of lines before it. Split here, not by
/// the parser, so that a document that cannot be parsed does not take its neighbours with it.
pub(in crate::local) fn split(content: &str) -> Vec<(u64, String)> {
    let content = content.strip_prefix('\u{feff}').unwrap_or(content);
    let mut parts = vec![(0, String::new())];
    for (index, line) in content.split_inclusive('\n').enumerate() {
        let marker =
            |mark: &str| line.strip_prefix(mark).filter(|rest| rest.trim().is_empty() || rest.starts_with([' ', '\t']));
        if let Some(rest) = marker("---") {
            parts.push((index as u64, format!("   {rest}")));
        } else if marker("...").is_some() {
            parts.push((index as u64 + 1, String::new()));
        } else if let Some((_, text)) = parts.last_mut() {
            text.push_str(line);
        }
    }
    let speaks = |line: &str| !line.trim().is_empty() && !line.trim_start().starts_with('#') && !line.starts_with('%');
    parts.retain(|(_, text)| text.lines().any(speaks));
    parts
}

fn collect(file: &str, tree: Tree, documents: &mut Vec<Document>, problems: &mut Vec<Problem>) {
    let line = tree.line;
    let mut refuse = |field: &str, line: u64, message: &str| {
        problems.push(Problem {
            line: Some(line),
            field: (!field.is_empty()).then(|| field.to_owned()),
            ..Problem::of_file(file, message)
        });
    };
    let Node::Map(_) = &tree.node else {
        return refuse("", line, "a manifest is an object with apiVersion, kind and metadata");
    };
    let text = |path: &[&str]| {
        let found = path.iter().try_fold(&tree, |tree, key| tree.get(key))?;
        match &found.node {
            Node::Scalar(Value::String(text)) if !text.is_empty() => Some(text.clone()),
            _ => None,
        }
    };
    let Some(kind) = text(&["kind"]) else { return refuse("kind", tree.line_of("kind"), "Required value") };
    let Some(api_version) = text(&["apiVersion"]) else {
        return refuse("apiVersion", tree.line_of("apiVersion"), "Required value");
    };
    if kind.ends_with("List")
        && let Some(items) = tree.get("items")
    {
        match items.node.clone() {
            Node::List(items) => items.into_iter().for_each(|item| collect(file, item, documents, problems)),
            _ => refuse("items", items.line, "must be a list of objects"),
        }
        return;
    }
    let Some(name) = text(&["metadata", "name"]) else {
        let why = "Required value: a manifest names its object, so that it can be found again";
        return refuse("metadata.name", tree.line_of("metadata.name"), why);
    };
    // It becomes a part of a URL.
    if !name.chars().all(|c| c.is_ascii_alphanumeric() || "-._:".contains(c)) || name == "." || name == ".." {
        return refuse("metadata.name", tree.line_of("metadata.name"), "holds characters that no object's name has");
    }
    let namespace = text(&["metadata", "namespace"]);
    if namespace
        .as_deref()
        .is_some_and(|name| !name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'))
    {
        let why = "a namespace's name has lower case letters, digits and '-'";
        return refuse("metadata.namespace", tree.line_of("metadata.namespace"), why);
    }
    let mut object = tree.node.to_json();
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
    }
    documents.push(Document { file: file.to_owned(), line, api_version, kind, name, namespace, object, tree });
}

/// A YAML value and the line it starts on.
#[derive(Clone, Debug, PartialEq)]
struct Tree {
    line: u64,
    node: Node,
}

#[derive(Clone, Debug, PartialEq)]
enum Node {
    Scalar(Value),
    List(Vec<Tree>),
    /// Keys with the line of the key.
    Map(Vec<(String, u64, Tree)>),
}

impl Tree {
    fn get(&self, key: &str) -> Option<&Self> {
        match &self.node {
            Node::Map(fields) => fields.iter().find(|(name, ..)| name == key).map(|(.., tree)| tree),
            _ => None,
        }
    }

    fn shifted(mut self, lines: u64) -> Self {
        self.shift(lines);
        self
    }

    fn shift(&mut self, lines: u64) {
        self.line += lines;
        match &mut self.node {
            Node::Scalar(_) => {}
            Node::List(items) => items.iter_mut().for_each(|item| item.shift(lines)),
            Node::Map(fields) => fields.iter_mut().for_each(|(_, line, tree)| {
                *line += lines;
                tree.shift(lines);
            }),
        }
    }

    /// The line of a field such as `spec.rules[0].matches`, or of the nearest one above it that
    /// is in the file.
    fn line_of(&self, path: &str) -> u64 {
        let (mut here, mut line, mut rest) = (self, self.line, path);
        loop {
            rest = rest.trim_start_matches('.');
            match &here.node {
                Node::Map(fields) => {
                    let ends = |rest: &str| rest.is_empty() || rest.starts_with(['.', '[', ']']);
                    let bare = rest.strip_prefix('[').unwrap_or(rest);
                    // Keys may hold dots themselves: the longest that fits is meant.
                    let found = fields
                        .iter()
                        .filter(|(name, ..)| !name.is_empty() && bare.strip_prefix(name.as_str()).is_some_and(ends))
                        .max_by_key(|(name, ..)| name.len());
                    let Some((name, key_line, tree)) = found else { return line };
                    (here, line, rest) = (tree, *key_line, bare[name.len()..].trim_start_matches(']'));
                }
                Node::List(items) => {
                    let index = rest.strip_prefix('[').and_then(|rest| rest.split_once(']'));
                    let Some((tree, after)) =
                        index.and_then(|(index, after)| Some((items.get(index.parse::<usize>().ok()?)?, after)))
                    else {
                        return line;
                    };
                    (here, line, rest) = (tree, tree.line, after);
                }
                Node::Scalar(_) => return line,
            }
        }
    }
}

impl Node {
    fn to_json(&self) -> Value {
        match self {
            Self::Scalar(value) => value.clone(),
            Self::List(items) => items.iter().map(|item| item.node.to_json()).collect(),
            Self::Map(fields) => {
                let fields: Map<_, _> =
                    fields.iter().map(|(name, _, tree)| (name.clone(), tree.node.to_json())).collect();
                Value::Object(fields)
            }
        }
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Node>::deserialize(deserializer)?;
        Ok(Self { line: spanned.referenced.line(), node: spanned.value })
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value that JSON has")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar(Value::Null))
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar(Value::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Node, E> {
        let number = Number::from_f64(value).ok_or_else(|| E::custom("a number must be finite"))?;
        Ok(Node::Scalar(Value::Number(number)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_string<E>(self, value: String) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Node::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut fields = Vec::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            fields.push((key.value, key.referenced.line(), map.next_value()?));
        }
        Ok(Node::Map(fields))
    }
}
