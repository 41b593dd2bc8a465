//! Label and field selectors, in kubectl's full grammar.

use serde_json::Value;

use super::kinds::Kind;
use super::status::StatusError;
use super::store::Key;
use super::table::jsonpath;

/// More requirements than a URL has room for; each costs time on every object.
const MAX_REQUIREMENTS: usize = 33_000;

/// What a list or a watch is restricted to. The default takes everything.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Selector {
    labels: Vec<Requirement>,
    fields: Vec<FieldRequirement>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Requirement {
    pub(super) key: String,
    pub(super) operator: Operator,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Operator {
    Exists,
    Missing,
    In(Vec<String>),
    NotIn(Vec<String>),
    Greater(i64),
    Less(i64),
}

#[derive(Clone, Debug, PartialEq)]
struct FieldRequirement {
    path: String,
    value: String,
    equal: bool,
}

impl Selector {
    pub fn parse(kind: &Kind, labels: &str, fields: &str) -> Result<Self, StatusError> {
        let labels = parse_labels(labels)
            .map_err(|why| StatusError::bad_request(format!("unable to parse requirement: {why}")))?;
        Ok(Self { labels, fields: parse_fields(kind, fields)? })
    }

    pub fn matches(&self, key: &Key, object: &Value) -> bool {
        self.labels.iter().all(|requirement| requirement.matches(&object["metadata"]["labels"]))
            && self.fields.iter().all(|requirement| requirement.matches(key, object))
    }
}

impl Requirement {
    pub(super) fn matches(&self, labels: &Value) -> bool {
        let value = labels[self.key.as_str()].as_str();
        let number = || value.and_then(|value| value.parse::<i64>().ok());
        match &self.operator {
            Operator::Exists => value.is_some(),
            Operator::Missing => value.is_none(),
            Operator::In(values) => value.is_some_and(|value| values.iter().any(|wanted| wanted == value)),
            Operator::NotIn(values) => value.is_none_or(|value| values.iter().all(|wanted| wanted != value)),
            Operator::Greater(bound) => number().is_some_and(|number| number > *bound),
            Operator::Less(bound) => number().is_some_and(|number| number < *bound),
        }
    }
}

impl FieldRequirement {
    fn matches(&self, key: &Key, object: &Value) -> bool {
        let equal = match self.path.as_str() {
            "metadata.name" => self.value == key.name,
            "metadata.namespace" => self.value == key.namespace,
            path => match jsonpath(object, &format!(".{path}")).first() {
                None | Some(Value::Null) => self.value.is_empty(),
                Some(Value::String(text)) => *text == self.value,
                Some(other) => other.to_string() == self.value,
            },
        };
        equal == self.equal
    }
}

fn parse_fields(kind: &Kind, text: &str) -> Result<Vec<FieldRequirement>, StatusError> {
    let mut found = Vec::new();
    for part in split_unescaped(text) {
        let (path, operator, value) = [("!=", false), ("==", true), ("=", true)]
            .iter()
            .filter_map(|&(operator, equal)| part.find(operator).map(|at| (at, operator, equal)))
            .min_by_key(|(at, operator, _)| (*at, std::cmp::Reverse(operator.len())))
            .map(|(at, operator, equal)| (&part[..at], equal, &part[at + operator.len()..]))
            .ok_or_else(|| {
                StatusError::bad_request(format!("invalid selector: '{text}'; can't understand '{part}'"))
            })?;
        let known =
            ["metadata.name", "metadata.namespace"].contains(&path) || kind.selectable.iter().any(|f| f == path);
        if !known {
            return Err(StatusError::bad_request(kind.unknown_field(path)));
        }
        found.push(FieldRequirement { path: path.to_owned(), value: unescape(value), equal: operator });
        if found.len() > MAX_REQUIREMENTS {
            return Err(StatusError::bad_request(format!(
                "the selector has more than {MAX_REQUIREMENTS} requirements"
            )));
        }
    }
    Ok(found)
}

/// Parts between commas; a backslash takes the comma's meaning away.
fn split_unescaped(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (at, character) in text.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts.retain(|part| !part.is_empty());
    parts
}

fn unescape(value: &str) -> String {
    let mut plain = String::with_capacity(value.len());
    let mut characters = value.chars();
    while let Some(character) = characters.next() {
        plain.push(if character == '\\' { characters.next().unwrap_or('\\') } else { character });
    }
    plain
}

/// The words and signs of a label selector.
#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    Sign(&'static str),
}

fn tokens(text: &str) -> Vec<Token> {
    const SIGNS: [&str; 9] = ["!=", "==", "=", "!", "<", ">", "(", ")", ","];
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            found.push(Token::Sign(sign));
            rest = rest[sign.len()..].trim_start();
            continue;
        }
        let end = rest.find(|c: char| c.is_whitespace() || "!=<>(),".contains(c)).unwrap_or(rest.len());
        found.push(Token::Word(rest[..end].to_owned()));
        rest = rest[end..].trim_start();
    }
    found
}

pub(super) fn parse_labels(text: &str) -> Result<Vec<Requirement>, String> {
    let tokens = tokens(text);
    let mut parser = Parser { tokens: &tokens };
    let mut found = Vec::new();
    if tokens.is_empty() {
        return Ok(found);
    }
    loop {
        found.push(parser.requirement()?);
        if found.len() > MAX_REQUIREMENTS {
            return Err(format!("more than {MAX_REQUIREMENTS} requirements"));
        }
        match parser.next() {
            None => return Ok(found),
            Some(Token::Sign(",")) => {}
            Some(other) => return Err(format!("found '{}', expected: ',' or 'end of string'", other.text())),
        }
    }
}

struct Parser<'a> {
    tokens: &'a [Token],
}

impl Token {
    fn text(&self) -> &str {
        match self {
            Self::Word(word) => word,
            Self::Sign(sign) => sign,
        }
    }
}

impl<'a> Parser<'a> {
    fn next(&mut self) -> Option<&'a Token> {
        let (first, rest) = self.tokens.split_first()?;
        self.tokens = rest;
        Some(first)
    }

    fn peek(&self) -> Option<&'a Token> {
        self.tokens.first()
    }

    fn key(&mut self) -> Result<String, String> {
        match self.next() {
            Some(Token::Word(key)) => {
                super::names::label_key(key).map_err(|why| format!("<nil>: {why}"))?;
                Ok(key.clone())
            }
            other => Err(format!("found '{}', expected: identifier", other.map_or("", Token::text))),
        }
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        if self.peek() == Some(&Token::Sign("!")) {
            self.next();
            return Ok(Requirement { key: self.key()?, operator: Operator::Missing });
        }
        let key = self.key()?;
        let operator = match self.peek() {
            None | Some(Token::Sign(",")) => Operator::Exists,
            Some(Token::Sign("=" | "==")) => {
                self.next();
                Operator::In(vec![self.exact_value(&key)?])
            }
            Some(Token::Sign("!=")) => {
                self.next();
                Operator::NotIn(vec![self.exact_value(&key)?])
            }
            Some(Token::Sign(sign @ (">" | "<"))) => {
                self.next();
                let value = self.exact_value(&key)?;
                let bound = value.parse().map_err(|_| {
                    format!(
                        "values[0]: Invalid value: {value:?}: for 'Gt', 'Lt' operators, the value must be an integer"
                    )
                })?;
                if *sign == ">" { Operator::Greater(bound) } else { Operator::Less(bound) }
            }
            Some(Token::Word(word)) if word == "in" || word == "notin" => {
                self.next();
                let values = self.values(&key)?;
                if word == "in" { Operator::In(values) } else { Operator::NotIn(values) }
            }
            Some(other) => {
                return Err(format!("found '{}', expected: in, notin, =, ==, !=, gt, lt", other.text()));
            }
        };
        Ok(Requirement { key, operator })
    }

    /// The value after a sign; none at all is the empty value.
    fn exact_value(&mut self, key: &str) -> Result<String, String> {
        match self.peek() {
            None | Some(Token::Sign(",")) => Ok(String::new()),
            Some(Token::Word(value)) => {
                self.next();
                check_value(key, 0, value)
            }
            Some(other) => Err(format!("found '{}', expected: identifier", other.text())),
        }
    }

    fn values(&mut self, key: &str) -> Result<Vec<String>, String> {
        match self.next() {
            Some(Token::Sign("(")) => {}
            other => return Err(format!("found '{}' expected: '('", other.map_or("", Token::text))),
        }
        match self.peek() {
            Some(Token::Word(_) | Token::Sign("," | ")")) => {}
            other => {
                return Err(format!("found '{}', expected: ',', ')' or identifier", other.map_or("", Token::text)));
            }
        }
        let mut values = Vec::new();
        loop {
            let value = match self.peek() {
                Some(Token::Word(value)) => {
                    self.next();
                    check_value(key, values.len(), value)?
                }
                _ => String::new(),
            };
            values.push(value);
            match self.next() {
                Some(Token::Sign(")")) => return Ok(values),
                Some(Token::Sign(",")) => {}
                other => return Err(format!("found '{}', expected: ',' or ')'", other.map_or("", Token::text))),
            }
        }
    }
}

fn check_value(key: &str, index: usize, value: &str) -> Result<String, String> {
    match super::names::label_value(value) {
        Ok(()) => Ok(value.to_owned()),
        Err(why) => Err(format!("values[{index}][{key}]: {why}")),
    }
}

#[cfg(test)]
mod tests;
