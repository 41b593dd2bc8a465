//! `ListOptions`, `CreateOptions` and their kin: read from the query or a body, checked, and
//! refused in a kube-apiserver's words.

use serde_json::Value;

use super::super::admit::{FieldError, FieldErrorKind};
use super::super::go;
use super::super::store::Key;
use super::super::table::Include;
use super::super::verbs::{DeleteOptions, FieldValidation, Propagation, WriteOptions};
use super::super::watch::Start;
use super::StatusError;
use super::request::Params;

/// Bytes of a field manager's name.
const MANAGER: usize = 128;

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

fn error(field: &str, kind: FieldErrorKind, message: impl Into<String>) -> FieldError {
    FieldError { field: field.into(), kind, message: message.into() }
}

fn forbidden(field: &str, why: &str) -> FieldError {
    error(field, FieldErrorKind::Forbidden, format!("Forbidden: {why}"))
}

fn unsupported(field: &str, value: impl std::fmt::Display, supported: &str) -> FieldError {
    let message = format!("Unsupported value: {value}: supported values: {supported}");
    error(field, FieldErrorKind::NotSupported, message)
}

fn refuse(options: &str, errors: &[FieldError]) -> Result<(), StatusError> {
    if errors.is_empty() { Ok(()) } else { Err(StatusError::invalid_options(options, errors)) }
}

fn not_a_number(text: &str, function: &str) -> String {
    format!("strconv.{function}: parsing {text:?}: invalid syntax")
}

impl Params {
    pub(super) fn int(&self, name: &str) -> Result<Option<i64>, StatusError> {
        match self.get(name) {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| StatusError::bad_request(not_a_number(text, "ParseInt"))),
        }
    }

    /// The revision that is named, if one is. Zero is one.
    fn revision(&self) -> Result<Option<u64>, String> {
        match self.get("resourceVersion") {
            "" => Ok(None),
            text => text
                .parse()
                .map(Some)
                .map_err(|_| format!("resourceVersion: Invalid value: {text:?}: {}", not_a_number(text, "ParseUint"))),
        }
    }

    /// Checks what a `get` may say.
    pub(super) fn get_options(&self) -> Result<Option<u64>, StatusError> {
        self.revision().map_err(StatusError::unknown)
    }

    pub(super) fn include(&self) -> Result<Include, StatusError> {
        match self.get("includeObject") {
            "None" => Ok(Include::None),
            "Object" => Ok(Include::Object),
            "Metadata" | "" => Ok(Include::Metadata),
            other => Err(StatusError::bad_request(format!(
                "Unable to convert to Table as requested: includeObject: Invalid value: {other:?}: must be 'Metadata', 'Object', 'None', or empty"
            ))),
        }
    }

    /// `options` is `CreateOptions`, `UpdateOptions` or `PatchOptions`; `agent` writes where no
    /// field manager is named.
    pub(super) fn write_options(&self, options: &str, apply: bool, agent: &str) -> Result<WriteOptions, StatusError> {
        let mut errors = Vec::new();
        let manager = self.get("fieldManager");
        if apply && manager.is_empty() {
            let message = "Required value: is required for apply patch";
            errors.push(error("fieldManager", FieldErrorKind::Required, message));
        } else if options == "PatchOptions" && !apply && self.all("force").next().is_some() {
            errors.push(forbidden("force", "may not be specified for non-apply patch"));
        }
        if manager.len() > MANAGER {
            let message = format!("Too long: may not be more than {MANAGER} bytes");
            errors.push(error("fieldManager", FieldErrorKind::TooLong, message));
        }
        if let Some((at, odd)) = manager.char_indices().find(|(_, c)| !is_printable(*c)) {
            let (shown, odd) = (go::quoted(manager), go::code_point(odd));
            let message = format!("Invalid value: {shown}: invalid character {odd} (at position {at})");
            errors.push(error("fieldManager", FieldErrorKind::Invalid, message));
        }
        let asked: Vec<&str> = self.all("dryRun").collect();
        check_dry_run(&asked, &mut errors);
        let validation = match self.get("fieldValidation") {
            "Strict" => FieldValidation::Strict,
            "Ignore" => FieldValidation::Ignore,
            "" | "Warn" => FieldValidation::Warn,
            other => {
                let supported = r#""", "Ignore", "Strict", "Warn""#;
                errors.push(unsupported("fieldValidation", format!("{other:?}"), supported));
                FieldValidation::Warn
            }
        };
        refuse(options, &errors)?;
        let manager = if manager.is_empty() { printable(agent) } else { manager.to_owned() };
        Ok(WriteOptions { dry_run: !asked.is_empty(), validation, manager, force: self.is_true("force") })
    }

    /// The options of a deletion: the body's when there is one, or the query's.
    pub(super) fn delete_options(&self, body: &Value) -> Result<DeleteOptions, StatusError> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let (mut dry_run, mut policy, mut grace, mut orphan) = (Vec::new(), None, None, None);
        if body.is_null() {
            dry_run.extend(self.all("dryRun"));
            policy = Some(self.get("propagationPolicy")).filter(|policy| !policy.is_empty());
            grace = self.int("gracePeriodSeconds")?;
            orphan = Some(self.get("orphanDependents")).filter(|text| !text.is_empty()).map(|text| text != "false");
        } else {
            dry_run.extend(body["dryRun"].as_array().into_iter().flatten().filter_map(Value::as_str));
            policy = body["propagationPolicy"].as_str().or(policy);
            grace = body["gracePeriodSeconds"].as_i64().or(grace);
            orphan = body["orphanDependents"].as_bool().or(orphan);
        }
        let mut errors = Vec::new();
        if policy.is_some() && orphan.is_some() {
            let why = "Invalid value: \"orphanDependents and deletionPropagation cannot be both set\": null";
            errors.push(error("propagationPolicy", FieldErrorKind::Invalid, why));
        }
        let propagation = match policy {
            None if orphan == Some(true) => Propagation::Orphan,
            None | Some("Background") => Propagation::Background,
            Some("Foreground") => Propagation::Foreground,
            Some("Orphan") => Propagation::Orphan,
            Some(other) => {
                let supported = r#""Foreground", "Background", "Orphan", "nil""#;
                errors.push(unsupported("propagationPolicy", format!("{other:?}"), supported));
                Propagation::Background
            }
        };
        check_dry_run(&dry_run, &mut errors);
        refuse("DeleteOptions", &errors)?;
        let wanted = &body["preconditions"];
        Ok(DeleteOptions {
            dry_run: !dry_run.is_empty(),
            uid: text(&wanted["uid"]),
            resource_version: text(&wanted["resourceVersion"]),
            propagation,
            grace: grace.map(|seconds| seconds.max(0).unsigned_abs()),
        })
    }

    pub(super) fn page(&self) -> Result<Page, StatusError> {
        let limit = self.int("limit")?.filter(|&limit| limit > 0);
        let limit = limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let (token, asked, matching) =
            (self.get("continue"), self.get("resourceVersion"), self.get("resourceVersionMatch"));
        let mut errors = Vec::new();
        if !matching.is_empty() {
            let field = "resourceVersionMatch";
            if asked.is_empty() {
                errors.push(forbidden(field, "resourceVersionMatch is forbidden unless resourceVersion is provided"));
            }
            if !token.is_empty() {
                errors.push(forbidden(field, "resourceVersionMatch is forbidden when continue is provided"));
            }
            match matching {
                "Exact" if asked == "0" => {
                    errors
                        .push(forbidden(field, r#"resourceVersionMatch "exact" is forbidden for resourceVersion "0""#));
                }
                "Exact" | "NotOlderThan" => {}
                other => {
                    errors.push(unsupported(field, format!("{other:?}"), r#""Exact", "NotOlderThan", """#));
                }
            }
        }
        if !self.get("sendInitialEvents").is_empty() {
            errors.push(forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"));
        }
        refuse("ListOptions", &errors)?;
        if !token.is_empty() {
            if !asked.is_empty() && asked != "0" {
                return Err(StatusError::bad_request("specifying resource version is not allowed when using continue"));
            }
            let (revision, namespace, name) = continued(token).map_err(|why| {
                StatusError::bad_request(format!("invalid continue token: continue key is not valid{why}"))
            })?;
            return Ok(Page { limit, at: Some(revision), not_older: None, after: Some((namespace, name)) });
        }
        let revision =
            self.revision().map_err(|why| StatusError::bad_request(format!("invalid resource version: {why}")))?;
        Ok(match (matching, revision) {
            ("Exact", revision) => Page { limit, at: revision, ..Page::default() },
            (_, revision) => Page { limit, not_older: revision, ..Page::default() },
        })
    }

    /// Where a watch begins and how long it lasts.
    pub(super) fn watch_options(&self) -> Result<(Start, Option<u64>), StatusError> {
        let timeout = self.int("timeoutSeconds")?.map(|seconds| seconds.max(0).unsigned_abs());
        let (initial, matching) = (self.get("sendInitialEvents"), self.get("resourceVersionMatch"));
        let mut errors = Vec::new();
        let field = "resourceVersionMatch";
        if initial.is_empty() && !matching.is_empty() {
            errors.push(forbidden(
                field,
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
            ));
        }
        if !initial.is_empty() && matching != "NotOlderThan" {
            errors.push(forbidden(field, "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"));
        }
        if !matching.is_empty() && matching != "NotOlderThan" {
            errors.push(unsupported(field, format!("{matching:?}"), r#""NotOlderThan""#));
        }
        refuse("ListOptions", &errors)?;
        let revision = self.revision().map_err(StatusError::unknown)?.unwrap_or(0);
        let start = match (initial, revision) {
            ("", 0) => Start::Now,
            ("", revision) => Start::At(revision),
            (text, revision) if text.eq_ignore_ascii_case("false") || text == "0" => match revision {
                0 => Start::Quiet,
                revision => Start::At(revision),
            },
            (_, revision) => Start::Listed(revision),
        };
        Ok((start, timeout))
    }
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

fn check_dry_run(asked: &[&str], errors: &mut Vec<FieldError>) {
    if asked.iter().any(|&value| value != "All") {
        errors.push(unsupported("dryRun", format!("{asked:?}"), r#""All""#));
    }
}

/// The opaque token with which a client asks for the next page: the revision, and what comes
/// before the next object.
pub(super) fn continuation(revision: u64, last: &Key, everywhere: bool) -> String {
    let namespace = if everywhere { format!("{}/", last.namespace) } else { String::new() };
    let start = format!("{namespace}{}\0", last.name);
    let token = serde_json::json!({"v": TOKEN, "rv": revision, "start": start}).to_string();
    let encoded = serde_json::to_value(k8s_openapi::ByteString(token.into_bytes())).unwrap_or_default();
    encoded.as_str().unwrap_or_default().trim_end_matches('=').replace('+', "-").replace('/', "_")
}

const TOKEN: &str = "meta.k8s.io/v1";

/// The revision and the last object's namespace, when there is one, and name; or what is wrong.
fn continued(token: &str) -> Result<(u64, String, String), String> {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if let Some(at) = token.bytes().position(|byte| !known(byte)) {
        return Err(format!(": illegal base64 data at input byte {at}"));
    }
    let mut padded = token.replace('-', "+").replace('_', "/");
    padded.extend(std::iter::repeat_n('=', (4 - token.len() % 4) % 4));
    let bytes = serde_json::from_value::<k8s_openapi::ByteString>(padded.into())
        .map_err(|_| format!(": illegal base64 data at input byte {}", token.len()))?;
    let token: Value = serde_json::from_slice(&bytes.0).map_err(|error| match bytes.0.first() {
        Some(&first) if !first.is_ascii() => {
            format!(": invalid character '{}' looking for beginning of value", char::from(first))
        }
        _ => format!(": {}", go::json_error(&bytes.0, &error)),
    })?;
    let version = token["v"].as_str().unwrap_or_default();
    if version != TOKEN {
        return Err(format!(": server does not recognize this encoded version {version}"));
    }
    let Some(revision) = token["rv"].as_u64().filter(|&revision| revision > 0) else {
        return Err(format!(": incorrect encoded start resourceVersion (version {TOKEN})"));
    };
    let start = token["start"].as_str().unwrap_or_default();
    if start.is_empty() {
        return Err(format!(": encoded start key empty (version {TOKEN})"));
    }
    if start.split('/').any(|part| ["", ".", ".."].contains(&part)) {
        return Err(format!(": {start}"));
    }
    let (namespace, name) = start.split_once('/').unwrap_or(("", start));
    Ok((revision, namespace.to_owned(), name.trim_end_matches('\0').to_owned()))
}
