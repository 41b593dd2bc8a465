//! The errors that the API answers: `Status` objects with a kube-apiserver's reasons and words.

use serde_json::{Map, Value, json};

use super::admit::{FieldError, FieldErrorKind};
use super::kinds::Kind;

/// A request that failed, as a `Status` object tells it.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{}", .0.message)]
pub struct StatusError(Box<Failure>);

#[derive(Clone, Debug, PartialEq)]
struct Failure {
    code: u16,
    reason: &'static str,
    message: String,
    details: Option<Value>,
}

impl StatusError {
    fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self(Box::new(Failure { code, reason, message: message.into(), details: None }))
    }

    fn about(mut self, group: &str, kind: &str, name: &str) -> Self {
        let mut details = Map::new();
        if !name.is_empty() {
            details.insert("name".into(), name.into());
        }
        if !group.is_empty() {
            details.insert("group".into(), group.into());
        }
        details.insert("kind".into(), kind.into());
        self.0.details = Some(Value::Object(details));
        self
    }

    fn with_detail(mut self, field: &str, value: Value) -> Self {
        self.0.details.get_or_insert_with(|| json!({}))[field] = value;
        self
    }

    pub fn code(&self) -> u16 {
        self.0.code
    }

    pub fn reason(&self) -> &str {
        self.0.reason
    }

    pub fn message(&self) -> &str {
        &self.0.message
    }

    pub fn to_value(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.0.message, "code": self.0.code,
        });
        if !self.0.reason.is_empty() {
            status["reason"] = self.0.reason.into();
        }
        if let Some(details) = &self.0.details {
            status["details"] = details.clone();
        }
        status
    }

    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    pub fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized")
    }

    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(403, "Forbidden", message)
    }

    /// Says which object of a core resource it is about.
    pub(super) fn naming(self, plural: &str, name: &str) -> Self {
        self.about("", plural, name)
    }

    pub fn terminating(kind: &Kind, name: &str, namespace: &str) -> Self {
        let message = format!(
            "{} \"{name}\" is forbidden: unable to create new content in namespace {namespace} because it is being terminated",
            kind.resource()
        );
        let cause = json!([{
            "reason": "NamespaceTerminating",
            "message": format!("namespace {namespace} is being terminated"),
            "field": "metadata.namespace",
        }]);
        Self::new(403, "Forbidden", message).about(&kind.group, &kind.plural, name).with_detail("causes", cause)
    }

    pub fn not_found(kind: &Kind, name: &str) -> Self {
        Self::not_found_named(&kind.group, &kind.plural, name)
    }

    pub fn not_found_named(group: &str, plural: &str, name: &str) -> Self {
        let dot = if group.is_empty() { "" } else { "." };
        Self::new(404, "NotFound", format!("{plural}{dot}{group} \"{name}\" not found")).about(group, plural, name)
    }

    /// The path names a resource or a subresource that the group does not have.
    pub(super) fn no_resource() -> Self {
        Self::new(404, "NotFound", "the server could not find the requested resource").without_details()
    }

    pub fn method_not_allowed() -> Self {
        Self::new(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
            .without_details()
    }

    /// The kind's CustomResourceDefinition is deleted and waits for its objects.
    pub(super) fn definition_terminating() -> Self {
        Self::new(405, "MethodNotAllowed", "create not allowed while custom resource definition is terminating")
    }

    fn without_details(mut self) -> Self {
        self.0.details = Some(json!({}));
        self
    }

    pub fn not_acceptable() -> Self {
        const TYPES: &str = "application/json, application/yaml, application/vnd.kubernetes.protobuf, application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch";
        Self::new(406, "NotAcceptable", format!("406: Not Acceptable\n\nAvailable representations: {TYPES}"))
            .without_details()
    }

    pub fn already_exists(kind: &Kind, name: &str) -> Self {
        Self::new(409, "AlreadyExists", format!("{} \"{name}\" already exists", kind.resource())).about(
            &kind.group,
            &kind.plural,
            name,
        )
    }

    pub fn conflict(kind: &Kind, name: &str, why: &str) -> Self {
        Self::new(409, "Conflict", format!("Operation cannot be fulfilled on {} \"{name}\": {why}", kind.resource()))
            .about(&kind.group, &kind.plural, name)
    }

    /// A deletion whose precondition does not hold; it names the kind and not the resource.
    pub(super) fn precondition(kind: &Kind, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} \"{name}\": {why}", kind.qualified());
        Self::new(409, "Conflict", message).about(&kind.group, &kind.kind, name)
    }

    /// Others own fields that were applied with other values; each cause is a message and a path.
    pub fn apply_conflict(message: impl Into<String>, causes: &[(String, String)]) -> Self {
        let causes = causes
            .iter()
            .map(|(message, field)| json!({"reason": "FieldManagerConflict", "message": message, "field": field}))
            .collect();
        Self::new(409, "Conflict", message).with_detail("causes", causes)
    }

    pub fn modified(kind: &Kind, name: &str) -> Self {
        Self::conflict(
            kind,
            name,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }

    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    pub fn too_large(limit: usize) -> Self {
        Self::new(413, "RequestEntityTooLarge", format!("Request entity too large: limit is {limit}"))
    }

    pub fn too_many_operations(limit: usize, got: usize) -> Self {
        Self::new(
            413,
            "RequestEntityTooLarge",
            format!("Request entity too large: The allowed maximum operations in a JSON patch is {limit}, got {got}"),
        )
    }

    pub fn unsupported_patch_type() -> Self {
        Self::new(415, "UnsupportedMediaType", "415: Unsupported Media Type").without_details()
    }

    pub fn unsupported_media_type(accepted: &[&str]) -> Self {
        Self::new(
            415,
            "UnsupportedMediaType",
            format!(
                "the body of the request was in an unknown format - accepted media types include: {}",
                accepted.join(", ")
            ),
        )
    }

    /// The object breaks its kind's rules.
    pub fn invalid(kind: &Kind, name: &str, errors: &[FieldError]) -> Self {
        // A kind that shows another's objects speaks of that one.
        let group = if kind.view.is_some() { kind.stored().0 } else { &kind.group };
        let dot = if group.is_empty() { "" } else { "." };
        Self::refused(group, &kind.kind, &format!("{}{dot}{group}", kind.kind), name, errors)
    }

    pub(super) fn invalid_scale(name: &str, errors: &[FieldError]) -> Self {
        Self::refused("autoscaling", "Scale", "Scale.autoscaling", name, errors)
    }

    /// The options of the request, such as `ListOptions`, are not valid.
    pub(super) fn invalid_options(options: &str, errors: &[FieldError]) -> Self {
        let group = "meta.k8s.io";
        Self::refused(group, options, &format!("{options}.{group}"), "", errors)
    }

    /// A patch whose outcome is no object of the kind.
    pub(super) fn invalid_patch(patch: &str, why: &str) -> Self {
        let message = format!("Invalid value: {}: {why}", super::go::quoted(patch));
        let error = FieldError { field: "patch".into(), kind: FieldErrorKind::Invalid, message };
        let mut refused = Self::refused("", "", "", "", &[error]);
        if let Some(details) = refused.0.details.as_mut().and_then(Value::as_object_mut) {
            details.retain(|field, _| field == "causes");
        }
        refused
    }

    fn refused(group: &str, kind: &str, qualified: &str, name: &str, errors: &[FieldError]) -> Self {
        let causes: Vec<Value> = errors
            .iter()
            .map(|error| json!({"reason": cause(error.kind), "message": error.message, "field": error.field}))
            .collect();
        let mut lines: Vec<String> = Vec::new();
        for error in errors {
            let line = format!("{}: {}", error.field, error.message);
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
        let text = match lines.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        Self::new(422, "Invalid", format!("{qualified} \"{name}\" is invalid: {text}"))
            .about(group, kind, name)
            .with_detail("causes", Value::Array(causes))
    }

    /// The request cannot be carried out on the object as it is, such as a failed JSON patch.
    pub fn unprocessable(why: impl Into<String>) -> Self {
        let cause = json!([{"reason": "UnexpectedServerResponse", "message": why.into()}]);
        Self::new(422, "Invalid", "the server rejected our request due to an error in our request")
            .with_detail("causes", cause)
    }

    /// A patch which cannot be carried out on the object as it is. A kube-apiserver says no more.
    pub fn rejected() -> Self {
        Self::new(422, "Invalid", "the server rejected our request due to an error in our request").without_details()
    }

    pub fn internal(message: impl std::fmt::Display) -> Self {
        Self::new(500, "InternalError", format!("Internal error occurred: {message}"))
            .with_detail("causes", json!([{"message": message.to_string()}]))
    }

    /// A refusal which a kube-apiserver gives code 500 and no reason.
    pub fn unknown(message: impl Into<String>) -> Self {
        Self::new(500, "", message)
    }

    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(503, "ServiceUnavailable", message)
    }

    pub fn too_many_requests() -> Self {
        Self::new(429, "TooManyRequests", "Too many requests, please try again later.")
            .with_detail("retryAfterSeconds", json!(1))
    }

    /// The disk is full. The code is WebDAV's, which says what 500 does not: the server is well.
    pub fn insufficient_storage(message: impl Into<String>) -> Self {
        Self::new(507, "InsufficientStorage", message)
    }

    pub fn revision_too_large(asked: u64, current: u64) -> Self {
        let message = format!("Too large resource version: {asked}, current: {current}");
        Self::new(504, "Timeout", format!("Timeout: {message}"))
            .with_detail(
                "causes",
                json!([{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]),
            )
            .with_detail("retryAfterSeconds", json!(1))
    }
}

fn cause(kind: FieldErrorKind) -> &'static str {
    match kind {
        FieldErrorKind::Required => "FieldValueRequired",
        FieldErrorKind::Invalid => "FieldValueInvalid",
        FieldErrorKind::NotSupported => "FieldValueNotSupported",
        FieldErrorKind::TooLong => "FieldValueTooLong",
        FieldErrorKind::TooMany => "FieldValueTooMany",
        FieldErrorKind::Duplicate => "FieldValueDuplicate",
        FieldErrorKind::Forbidden => "FieldValueForbidden",
        FieldErrorKind::NotFound => "FieldValueNotFound",
    }
}

/// The answer to a deletion that removed the object.
pub(super) fn deleted(kind: &Kind, name: &str, uid: &str) -> Value {
    let mut details = json!({"name": name, "kind": kind.plural, "uid": uid});
    if !kind.group.is_empty() {
        details["group"] = kind.group.as_str().into();
    }
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
}
