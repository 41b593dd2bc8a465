//! Which names, labels and annotations objects may have, in the words of a kube-apiserver.

use serde_json::Value;

use super::admit::{FieldError, FieldErrorKind};
use super::kinds::Kind;

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const QUALIFIED: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const ANNOTATIONS: usize = 256 << 10;
/// Finalizers without a domain that the typed kinds know.
const STANDARD_FINALIZERS: [&str; 3] = ["kubernetes", "orphan", "foregroundDeletion"];

fn dns_label(text: &str) -> bool {
    let inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let bytes = text.as_bytes();
    matches!((bytes.first(), bytes.last()), (Some(&first), Some(&last)) if inner(first) && inner(last))
        && bytes.iter().all(|&c| inner(c) || c == b'-')
}

/// Checks the name of a group.
pub(super) fn subdomain(text: &str) -> Result<(), String> {
    if text.len() > 253 {
        return Err("must be no more than 253 characters".into());
    }
    if text.split('.').all(dns_label) { Ok(()) } else { Err(SUBDOMAIN.into()) }
}

/// Checks a name that starts with a letter, such as a resource's or a version's.
pub(super) fn dns1035(text: &str) -> Result<(), String> {
    const WORDS: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
    if text.len() > 63 {
        return Err("must be no more than 63 characters".into());
    }
    let starts = text.starts_with(|c: char| c.is_ascii_lowercase());
    if starts && dns_label(text) { Ok(()) } else { Err(WORDS.into()) }
}

/// Checks a name that has no dots.
pub(super) fn label(text: &str) -> Result<(), String> {
    if text.len() > 63 {
        return Err("must be no more than 63 characters".into());
    }
    if dns_label(text) { Ok(()) } else { Err(LABEL.into()) }
}

fn qualified_part(text: &str) -> bool {
    let bytes = text.as_bytes();
    matches!((bytes.first(), bytes.last()), (Some(first), Some(last)) if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric())
        && bytes.iter().all(|&c| c.is_ascii_alphanumeric() || b"-_.".contains(&c))
}

fn name(kind: &Kind, text: &str) -> Result<(), String> {
    let (longest, valid, words) = match kind.plural.as_str() {
        "services" | "namespaces" if kind.group.is_empty() => (63, dns_label(text), LABEL),
        // Roles and their bindings may hold whatever a path can: `system:node` is one.
        _ if kind.group == "rbac.authorization.k8s.io" => {
            return path_segment(text);
        }
        _ => (253, text.split('.').all(dns_label), SUBDOMAIN),
    };
    if text.len() > longest {
        return Err(format!("must be no more than {longest} characters"));
    }
    if longest == 63 && text.contains('.') {
        return Err("must not contain dots".into());
    }
    if valid { Ok(()) } else { Err(words.to_owned()) }
}

/// Checks a name that may hold whatever a path can.
pub(super) fn path_segment(text: &str) -> Result<(), String> {
    match text {
        "." | ".." => Err(format!("may not be '{text}'")),
        _ => match text.chars().find(|c| ['/', '%'].contains(c)) {
            Some(odd) => Err(format!("may not contain '{odd}'")),
            None => Ok(()),
        },
    }
}

/// Checks a label's or an annotation's key, such as `example.com/name`.
pub(super) fn label_key(key: &str) -> Result<(), String> {
    qualified(key).map_err(|why| format!("Invalid value: {key:?}: {why}"))
}

/// The same, without the key in front of what is wrong with it.
pub(super) fn qualified(key: &str) -> Result<(), String> {
    let (prefix, part) = match key.split_once('/') {
        Some((prefix, part)) => (Some(prefix), part),
        None => (None, key),
    };
    let invalid = |why: &str| Err(why.to_owned());
    if let Some(prefix) = prefix {
        if prefix.is_empty() {
            return invalid("prefix part must be non-empty");
        }
        if prefix.len() > 253 || !prefix.split('.').all(dns_label) {
            return invalid(&format!("prefix part {SUBDOMAIN}"));
        }
    }
    if part.is_empty() {
        return invalid("name part must be non-empty");
    }
    if part.len() > 63 {
        return invalid("name part must be no more than 63 characters");
    }
    if qualified_part(part) { Ok(()) } else { invalid(QUALIFIED) }
}

pub(super) fn label_value(text: &str) -> Result<(), String> {
    value(text).map_err(|why| format!("Invalid value: {text:?}: {why}"))
}

/// The same, without the value in front of what is wrong with it.
pub(super) fn value(text: &str) -> Result<(), String> {
    if text.len() > 63 {
        return Err("must be no more than 63 characters".into());
    }
    if text.is_empty() || qualified_part(text) { Ok(()) } else { Err(VALUE.to_owned()) }
}

/// What is wrong with the object's metadata.
pub(super) fn check(kind: &Kind, object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut push = |field: &str, kind, message| errors.push(FieldError { field: field.into(), kind, message });
    let metadata = &object["metadata"];
    let own = metadata["name"].as_str().unwrap_or_default();
    if own.is_empty() {
        push("metadata.name", FieldErrorKind::Required, "Required value: name or generateName is required".into());
    } else if let Err(why) = name(kind, own) {
        push("metadata.name", FieldErrorKind::Invalid, format!("Invalid value: {own:?}: {why}"));
    }
    for (key, value) in metadata["labels"].as_object().into_iter().flatten() {
        let value =
            value.as_str().map_or_else(|| Err(format!("Invalid value: {value}: must be a string")), label_value);
        for message in [label_key(key), value].into_iter().filter_map(Result::err) {
            push("metadata.labels", FieldErrorKind::Invalid, message);
        }
    }
    let mut size = 0;
    for (key, value) in metadata["annotations"].as_object().into_iter().flatten() {
        if let Err(message) = label_key(&key.to_ascii_lowercase()) {
            push("metadata.annotations", FieldErrorKind::Invalid, message);
        }
        match value.as_str() {
            Some(value) => size += key.len() + value.len(),
            None => push(
                "metadata.annotations",
                FieldErrorKind::Invalid,
                format!("Invalid value: {value}: must be a string"),
            ),
        }
    }
    if size > ANNOTATIONS {
        let message = format!("Too long: may not be more than {ANNOTATIONS} bytes");
        push("metadata.annotations", FieldErrorKind::TooLong, message);
    }
    for (index, owner) in metadata["ownerReferences"].as_array().into_iter().flatten().enumerate() {
        let part = |field: &str| owner[field].as_str().unwrap_or_default();
        let mut wrong = |field: &str, message: String| {
            let at = format!("metadata.ownerReferences.{field}");
            push(&at, FieldErrorKind::Invalid, message);
        };
        if part("apiVersion").is_empty() || part("apiVersion").matches('/').count() > 1 {
            wrong("apiVersion", format!("Invalid value: {:?}: version must not be empty", part("apiVersion")));
        }
        for field in ["kind", "name", "uid"] {
            if part(field).is_empty() {
                wrong(field, format!("Invalid value: {:?}: must not be empty", part(field)));
            }
        }
        let controls = |owner: &Value| owner["controller"] == true;
        let before = metadata["ownerReferences"].as_array().into_iter().flatten().take(index).find(|o| controls(o));
        if let (true, Some(before)) = (controls(owner), before) {
            let message = format!(
                "Invalid value: {metadata}: Only one reference can have Controller set to true. Found \"true\" in references for {} and {}",
                before["name"].as_str().unwrap_or_default(),
                part("name"),
                metadata = metadata["ownerReferences"],
            );
            push("metadata.ownerReferences", FieldErrorKind::Invalid, message);
        }
    }
    for (index, finalizer) in metadata["finalizers"].as_array().into_iter().flatten().enumerate() {
        let Some(finalizer) = finalizer.as_str() else {
            push("metadata.finalizers", FieldErrorKind::Invalid, "Invalid value: must be a string".into());
            continue;
        };
        if let Err(message) = label_key(finalizer) {
            push("metadata.finalizers", FieldErrorKind::Invalid, message);
        }
        if kind.typed && !finalizer.contains('/') && !STANDARD_FINALIZERS.contains(&finalizer) {
            let message = format!(
                "Invalid value: {finalizer:?}: name is neither a standard finalizer name nor is it fully qualified"
            );
            push(&format!("metadata.finalizers[{index}]"), FieldErrorKind::Invalid, message);
        }
    }
    errors
}

/// What is wrong with the metadata of an update. A kube-apiserver looks more than once, and
/// counts what it finds each time.
pub(super) fn check_update(kind: &Kind, object: &Value, old: &Value) -> Vec<FieldError> {
    let (wrong, changed) = (check(kind, object), check_change(object, old));
    let (own_twice, whole_again) = match (kind.group.as_str(), kind.plural.as_str()) {
        ("policy", _) | (_, "events") => (false, false),
        ("discovery.k8s.io", _) => (false, true),
        ("apps" | "autoscaling" | "coordination.k8s.io", _) | (_, "services" | "networkpolicies") => (true, false),
        _ => (true, true),
    };
    let own = [changed, wrong.clone()].concat();
    let mut errors = [wrong.clone(), own.clone()].concat();
    errors.extend(own_twice.then_some(own).into_iter().flatten());
    errors.extend(whole_again.then_some(wrong).into_iter().flatten());
    errors
}

/// What of the metadata an update may not change; the rest is put back without a word.
fn check_change(object: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let listed = |object: &Value| -> Vec<String> {
        let finalizers = object["metadata"]["finalizers"].as_array().into_iter().flatten();
        finalizers.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    if !old["metadata"]["deletionTimestamp"].is_null() {
        let before = listed(old);
        let new: Vec<String> = listed(object).into_iter().filter(|finalizer| !before.contains(finalizer)).collect();
        if !new.is_empty() {
            let shown = new.iter().map(|finalizer| format!("{finalizer:?}")).collect::<Vec<_>>().join(", ");
            errors.push(FieldError {
                field: "metadata.finalizers".into(),
                kind: FieldErrorKind::Forbidden,
                message: format!(
                    "Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{{{shown}}}"
                ),
            });
        }
    }
    errors
}
