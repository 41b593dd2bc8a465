//! Paths and query parameters.

use serde_json::{Value, json};

use super::super::admit::FieldError;
use super::super::admit::FieldErrorKind::{self, Forbidden, Invalid, NotSupported, Required, TooLong};
use super::super::go;
use super::super::store::Key;
use super::super::table::Include;
use super::{StatusError, WriteOptions};

#[derive(Debug, PartialEq)]
pub(super) enum Path {
    Health,
    Version,
    /// The parts after `/openapi`.
    OpenApi(Vec<String>),
    /// `api`, `apis` and what follows, short of a resource.
    Discovery(Vec<String>),
    Resource(Resource),
    Unknown,
}

#[derive(Debug, PartialEq)]
pub(super) struct Resource {
    pub(super) group: String,
    pub(super) version: String,
    pub(super) plural: String,
    pub(super) namespace: Option<String>,
    pub(super) name: Option<String>,
    pub(super) subresource: Option<String>,
}

impl Path {
    pub(super) fn parse(path: &str) -> Result<Self, StatusError> {
        let parts = path.trim_matches('/').split('/').map(|part| decode(part, false)).collect::<Option<Vec<String>>>();
        let parts = parts.ok_or_else(|| StatusError::bad_request("the path is not valid UTF-8"))?;
        let words: Vec<&str> = parts.iter().map(String::as_str).collect();
        Ok(match words.as_slice() {
            ["livez" | "readyz" | "healthz", ..] => Self::Health,
            ["version"] => Self::Version,
            ["openapi", ..] => Self::OpenApi(parts[1..].to_vec()),
            ["api"] | ["api", _] | ["apis"] | ["apis", _] | ["apis", _, _] => Self::Discovery(parts),
            ["api", version, rest @ ..] => resource("", version, rest),
            ["apis", group, version, rest @ ..] => resource(group, version, rest),
            _ => Self::Unknown,
        })
    }
}

fn resource(group: &str, version: &str, rest: &[&str]) -> Path {
    let owned = |text: &&str| (*text).to_owned();
    let (namespace, rest) = match rest {
        // `/namespaces/x` and `/namespaces/x/status` are of the namespace itself.
        ["namespaces", namespace, rest @ ..] if !rest.is_empty() && rest[0] != "status" => (Some(namespace), rest),
        _ => (None, rest),
    };
    let (plural, name, subresource) = match rest {
        [plural] => (plural, None, None),
        [plural, name] => (plural, Some(name), None),
        [plural, name, subresource] => (plural, Some(name), Some(subresource)),
        _ => return Path::Unknown,
    };
    Path::Resource(Resource {
        group: group.to_owned(),
        version: version.to_owned(),
        plural: owned(plural),
        namespace: namespace.map(owned),
        name: name.map(owned),
        subresource: subresource.map(owned),
    })
}

/// Decodes `%xx` and, in queries, `+`.
fn decode(text: &str, plus: bool) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' if plus => b' ',
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

/// The query of a request.
#[derive(Debug, Default)]
pub(super) struct Params(Vec<(String, String)>);

/// Which part of a list is wanted.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) limit: Option<usize>,
    pub(super) at: Option<u64>,
    pub(super) not_older: Option<u64>,
    /// Namespace and name of the last object of the page before.
    pub(super) after: Option<(String, String)>,
}

impl Page {
    pub(super) fn too_old(&self) -> String {
        if self.after.is_some() {
            "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter.".into()
        } else {
            format!("The resourceVersion for the provided list is too old: {}", self.at.unwrap_or_default())
        }
    }
}

impl Params {
    pub(super) fn parse(query: &str) -> Self {
        let pairs = query.split('&').filter(|pair| !pair.is_empty()).filter_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((decode(key, true)?, decode(value, true)?))
        });
        Self(pairs.collect())
    }

    /// The first value, or nothing.
    pub(super) fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }

    pub(super) fn is_true(&self, name: &str) -> bool {
        ["1", "true", "True", "TRUE"].contains(&self.get(name))
    }

    pub(super) fn number(&self, name: &str) -> Result<Option<u64>, StatusError> {
        match self.get(name) {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| {
                StatusError::bad_request(format!("{name}: Invalid value: {text:?}: it has to be a whole number"))
            }),
        }
    }

    pub(super) fn include(&self) -> Include {
        match self.get("includeObject") {
            "None" => Include::None,
            "Object" => Include::Object,
            _ => Include::Metadata,
        }
    }

    /// The options of a write, which are of the named kind; `agent` writes where none is named.
    pub(super) fn write_options(&self, kind: &str, apply: bool, agent: &str) -> Result<WriteOptions, StatusError> {
        let mut errors = Vec::new();
        let manager = self.get("fieldManager");
        let force = !["", "0", "false"].contains(&self.get("force").to_ascii_lowercase().as_str());
        if apply && manager.is_empty() {
            errors.push(option_error("fieldManager", Required, "Required value: is required for apply patch"));
        } else if kind == "PatchOptions" && !apply && self.0.iter().any(|(key, _)| key == "force") {
            errors.push(option_error("force", Forbidden, "Forbidden: may not be specified for non-apply patch"));
        }
        errors.extend(manager_errors(manager));
        let dry_run = self.dry_run(kind);
        if dry_run.is_err() {
            errors.push(self.dry_run_error());
        }
        let validation = self.get("fieldValidation");
        if !["", "Ignore", "Strict", "Warn"].contains(&validation) {
            let message =
                format!("Unsupported value: {validation:?}: supported values: \"\", \"Ignore\", \"Strict\", \"Warn\"");
            errors.push(option_error("fieldValidation", NotSupported, message));
        }
        if !errors.is_empty() {
            return Err(StatusError::invalid_options(kind, &errors));
        }
        let manager = if manager.is_empty() { printable(agent) } else { manager.to_owned() };
        Ok(WriteOptions { dry_run: dry_run?, strict: validation == "Strict", manager, force })
    }

    /// Whether the write is a trial, by the query.
    pub(super) fn dry_run(&self, kind: &str) -> Result<bool, StatusError> {
        let mut asked = self.0.iter().filter(|(key, _)| key == "dryRun").map(|(_, value)| value.as_str()).peekable();
        let wanted = asked.peek().is_some();
        if asked.all(|value| value == "All") {
            Ok(wanted)
        } else {
            Err(StatusError::invalid_options(kind, &[self.dry_run_error()]))
        }
    }

    fn dry_run_error(&self) -> FieldError {
        let asked: Vec<&str> = self.0.iter().filter(|(key, _)| key == "dryRun").map(|(_, v)| v.as_str()).collect();
        let message = format!("Unsupported value: {}: supported values: \"All\"", json!(asked));
        option_error("dryRun", NotSupported, message)
    }

    pub(super) fn page(&self) -> Result<Page, StatusError> {
        let limit = self.number("limit")?.filter(|&limit| limit > 0);
        let limit = limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let token = self.get("continue");
        let asked = self.get("resourceVersion");
        if !token.is_empty() {
            if !asked.is_empty() && asked != "0" {
                return Err(StatusError::bad_request("specifying resource version is not allowed when using continue"));
            }
            let (revision, namespace, name) = continued(token)
                .ok_or_else(|| StatusError::bad_request("continue key is not valid: it is not one of this server"))?;
            return Ok(Page { limit, at: Some(revision), not_older: None, after: Some((namespace, name)) });
        }
        let revision = match asked {
            "" => None,
            text => Some(text.parse::<u64>().map_err(|_| {
                StatusError::bad_request(format!("resourceVersion: Invalid value: {text:?}: it has to be a number"))
            })?),
        };
        match (self.get("resourceVersionMatch"), revision) {
            ("", None) => Ok(Page { limit, ..Page::default() }),
            ("", revision) | ("NotOlderThan", revision @ Some(_)) => {
                Ok(Page { limit, not_older: revision, ..Page::default() })
            }
            ("Exact", Some(revision @ 1..)) => Ok(Page { limit, at: Some(revision), ..Page::default() }),
            (other, _) => Err(StatusError::unprocessable(format!(
                "resourceVersionMatch: Forbidden: {other} is not possible with resourceVersion {asked:?}"
            ))),
        }
    }
}

/// Bytes of a field manager's name.
const MANAGER: usize = 128;

fn option_error(field: &str, kind: FieldErrorKind, message: impl Into<String>) -> FieldError {
    FieldError { field: field.into(), kind, message: message.into() }
}

fn manager_errors(manager: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if manager.len() > MANAGER {
        let message = format!("Too long: may not be more than {MANAGER} bytes");
        errors.push(option_error("fieldManager", TooLong, message));
    }
    if let Some((at, c)) = manager.char_indices().find(|(_, c)| !is_printable(*c)) {
        let shown = go::quoted(manager);
        let message = format!("Invalid value: {shown}: invalid character {} (at position {at})", go::code_point(c));
        errors.push(option_error("fieldManager", Invalid, message));
    }
    errors
}

fn is_printable(c: char) -> bool {
    c == ' ' || !(c.is_control() || c.is_whitespace())
}

/// A client's name as a field manager: what can be printed, and not too much of it.
fn printable(agent: &str) -> String {
    let mut name = String::new();
    for c in agent.chars().filter(|c| is_printable(*c)) {
        if name.len() + c.len_utf8() > MANAGER {
            break;
        }
        name.push(c);
    }
    name
}

pub(super) fn dry_run(asked: Option<&Vec<Value>>) -> Result<bool, StatusError> {
    let asked = asked.map_or(&[][..], Vec::as_slice);
    match asked.iter().find(|value| **value != "All") {
        Some(other) => {
            Err(StatusError::unprocessable(format!("dryRun: Unsupported value: {other}: supported values: \"All\"")))
        }
        None => Ok(!asked.is_empty()),
    }
}

/// The opaque token with which a client asks for the next page.
pub(super) fn continuation(revision: u64, last: &Key) -> String {
    let token = json!({"v": 1, "rv": revision, "ns": last.namespace, "name": last.name}).to_string();
    token.bytes().map(|byte| format!("{byte:02x}")).collect()
}

fn continued(token: &str) -> Option<(u64, String, String)> {
    let bytes: Option<Vec<u8>> =
        token.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect();
    let token: Value = serde_json::from_slice(&bytes?).ok()?;
    Some((token["rv"].as_u64()?, token["ns"].as_str()?.to_owned(), token["name"].as_str()?.to_owned()))
}
