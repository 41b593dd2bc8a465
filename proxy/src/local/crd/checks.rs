//! What may not stand in a definition, in a kube-apiserver's words.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{list, names, structural, text};
use crate::local::admit::{FieldError, FieldErrorKind};
use crate::local::names as syntax;
use crate::local::validate::Node;

pub(super) struct Errors(pub(super) Vec<FieldError>);

impl Errors {
    pub(super) fn required(&mut self, field: impl Into<String>, why: &str) {
        let message = if why.is_empty() { "Required value".to_owned() } else { format!("Required value: {why}") };
        self.0.push(FieldError { field: field.into(), kind: FieldErrorKind::Required, message });
    }

    pub(super) fn invalid(&mut self, field: impl Into<String>, value: &Value, why: &str) {
        self.shown(field, &value.to_string(), why);
    }

    /// The value is given as it is to be shown.
    pub(super) fn shown(&mut self, field: impl Into<String>, value: &str, why: &str) {
        let message = format!("Invalid value: {value}: {why}");
        self.0.push(FieldError { field: field.into(), kind: FieldErrorKind::Invalid, message });
    }

    pub(super) fn forbidden(&mut self, field: impl Into<String>, why: &str) {
        let message = format!("Forbidden: {why}");
        self.0.push(FieldError { field: field.into(), kind: FieldErrorKind::Forbidden, message });
    }

    pub(super) fn unsupported(&mut self, field: impl Into<String>, value: &Value, supported: &[&str]) {
        let supported: Vec<String> = supported.iter().map(|word| format!("{word:?}")).collect();
        let message = format!("Unsupported value: {value}: supported values: {}", supported.join(", "));
        self.0.push(FieldError { field: field.into(), kind: FieldErrorKind::NotSupported, message });
    }
}

pub(super) fn check(crd: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Errors(Vec::new());
    let spec = &crd["spec"];
    let (group, plural) = (text(&spec["group"]), text(&spec["names"]["plural"]));
    let name = text(&crd["metadata"]["name"]);
    if name != format!("{plural}.{group}") {
        errors.invalid("metadata.name", &name.into(), "must be spec.names.plural+\".\"+spec.group");
    }
    if old.is_none() {
        check_approval(crd, group, &mut errors);
    }
    check_group(group, &mut errors);
    match text(&spec["scope"]) {
        "" => errors.required("spec.scope", ""),
        "Cluster" | "Namespaced" => {}
        _ => errors.unsupported("spec.scope", &spec["scope"], &["Cluster", "Namespaced"]),
    }
    if spec["preserveUnknownFields"] == true {
        let why =
            "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead";
        errors.invalid("spec.preserveUnknownFields", &true.into(), why);
    }
    check_versions(crd, &mut errors);
    check_names(&spec["names"], &mut errors);
    check_conversion(&spec["conversion"], &mut errors);
    if let Some(old) = old {
        let established = super::condition(old, "Established").is_some_and(|found| found["status"] == "True");
        for (field, pointer) in [("spec.group", "/spec/group"), ("spec.names.plural", "/spec/names/plural")] {
            if old.pointer(pointer) != crd.pointer(pointer) {
                errors.invalid(field, crd.pointer(pointer).unwrap_or(&Value::Null), "field is immutable");
            }
        }
        let kept = [("spec.scope", "/spec/scope"), ("spec.names.kind", "/spec/names/kind")];
        for (field, pointer) in kept.into_iter().filter(|_| established) {
            if old.pointer(pointer) != crd.pointer(pointer) {
                errors.invalid(field, crd.pointer(pointer).unwrap_or(&Value::Null), "field is immutable");
            }
        }
    }
    errors.0
}

fn check_approval(crd: &Value, group: &str, errors: &mut Errors) {
    const APPROVED: &str = "api-approved.kubernetes.io";
    const SEE: &str = "https://github.com/kubernetes/enhancements/pull/1111";
    let field = format!("metadata.annotations[{APPROVED}]");
    if !names::protected(group) {
        return;
    }
    match text(&crd["metadata"]["annotations"][APPROVED]) {
        "" => {
            errors.required(field, &format!("protected groups must have approval annotation {APPROVED:?}, see {SEE}"));
        }
        said if said.starts_with("unapproved") || said.starts_with("http") => {}
        said => {
            let why = format!(
                "protected groups must have approval annotation {APPROVED:?} with either a URL or a reason starting with \"unapproved\", see {SEE}"
            );
            errors.invalid(field, &said.into(), &why);
        }
    }
}

fn check_group(group: &str, errors: &mut Errors) {
    if group.is_empty() {
        errors.required("spec.group", "");
    } else if let Err(why) = syntax::subdomain(group) {
        errors.invalid("spec.group", &group.into(), &why);
    } else if !group.contains('.') {
        errors.invalid("spec.group", &group.into(), "should be a domain with at least one dot");
    }
}

/// Where all versions have the same, it counts as the definition's own.
fn place(versions: &[Value], index: usize, field: &str, inner: &str) -> String {
    let same = versions.windows(2).all(|pair| pair[0][field] == pair[1][field]);
    match (same, field) {
        (true, "schema") => "spec.validation.openAPIV3Schema".into(),
        (true, _) => format!("spec.{inner}"),
        (false, "schema") => format!("spec.versions[{index}].schema.openAPIV3Schema"),
        (false, _) => format!("spec.versions[{index}].{inner}"),
    }
}

fn check_versions(crd: &Value, errors: &mut Errors) {
    let versions = list(&crd["spec"]["versions"]);
    let mut seen = BTreeSet::new();
    let mut unique = true;
    let mut told = BTreeSet::new();
    for (index, version) in versions.iter().enumerate() {
        let at = format!("spec.versions[{index}]");
        let name = text(&version["name"]);
        unique &= seen.insert(name);
        if let Err(why) = syntax::dns1035(name) {
            errors.invalid(format!("{at}.name"), &name.into(), &why);
            if index == 0 {
                errors.invalid("spec.version", &name.into(), &why);
            }
        }
        if version["deprecated"] != true && version["deprecationWarning"].is_string() {
            let why = "can only be set for deprecated versions";
            errors.invalid(format!("{at}.deprecationWarning"), &version["deprecationWarning"], why);
        }
        let schema = &version["schema"]["openAPIV3Schema"];
        let field = place(versions, index, "schema", "");
        if schema.is_null() {
            errors.required(format!("{at}.schema.openAPIV3Schema"), "");
        } else if told.insert(field.clone()) {
            let before = errors.0.len();
            structural::check(schema, &field, errors);
            // What this server cannot use it must not take.
            if errors.0.len() == before
                && let Err(why) = Node::compile(schema)
            {
                errors.invalid(field, &"object".into(), &format!("cannot be used by this server: {why}"));
            }
        }
        check_columns(version, &place(versions, index, "additionalPrinterColumns", "additionalPrinterColumns"), errors);
        check_scale(
            &version["subresources"]["scale"],
            &place(versions, index, "subresources", "subresources.scale"),
            errors,
        );
        let field = place(versions, index, "selectableFields", "selectableFields");
        if told.insert(field.clone()) {
            check_selectable(version, &field, errors);
        }
    }
    let shown = format!("[{}]", versions.iter().map(as_go).collect::<Vec<_>>().join(","));
    let stored = &crd["status"]["storedVersions"];
    if !unique {
        errors.shown("spec.versions", &shown, "must contain unique version names");
    }
    let storage: Vec<&Value> = versions.iter().filter(|version| version["storage"] == true).collect();
    if storage.len() != 1 {
        errors.shown("spec.versions", &shown, "must have exactly one version marked as storage version");
    }
    if list(stored).is_empty() {
        errors.invalid("status.storedVersions", stored, "must have at least one stored version");
    }
    for (index, version) in list(stored).iter().enumerate() {
        if !seen.contains(text(version)) {
            errors.invalid(format!("status.storedVersions[{index}]"), version, "missing from spec.versions; it was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in this version and removes it from status.storedVersions");
        }
    }
}

/// A version as Go prints it among the causes of a refusal.
fn as_go(version: &Value) -> String {
    let mut fields = Vec::new();
    for (go, field) in [("Name", "name"), ("Served", "served"), ("Storage", "storage"), ("Deprecated", "deprecated")] {
        let value = if version[field].is_null() { json!(false) } else { version[field].clone() };
        fields.push(format!("{go:?}:{value}"));
    }
    fields.push(format!("\"DeprecationWarning\":{}", version["deprecationWarning"]));
    for go in ["Schema", "Subresources", "AdditionalPrinterColumns", "SelectableFields"] {
        fields.push(format!("{go:?}:null"));
    }
    format!("{{{}}}", fields.join(","))
}

fn check_columns(version: &Value, field: &str, errors: &mut Errors) {
    for (index, column) in list(&version["additionalPrinterColumns"]).iter().enumerate() {
        let at = format!("{field}[{index}]");
        if text(&column["name"]).is_empty() {
            errors.required(format!("{at}.name"), "");
        }
        let type_ = text(&column["type"]);
        if type_.is_empty() {
            errors.required(format!("{at}.type"), "must be one of boolean,date,integer,number,string");
        } else if !["boolean", "date", "integer", "number", "string"].contains(&type_) {
            errors.invalid(format!("{at}.type"), &type_.into(), "must be one of boolean,date,integer,number,string");
        }
        let format = text(&column["format"]);
        let formats = ["int32", "int64", "float", "double", "byte", "date", "date-time", "password"];
        if !format.is_empty() && !formats.contains(&format) {
            errors.invalid(
                format!("{at}.format"),
                &format.into(),
                "must be one of byte,date,date-time,double,float,int32,int64,password",
            );
        }
        match text(&column["jsonPath"]) {
            "" => errors.required(format!("{at}.JSONPath"), ""),
            path if !path.starts_with('.') => {
                errors.invalid(format!("{at}.JSONPath"), &path.into(), "must be a simple json path starting with .");
            }
            _ => {}
        }
    }
}

fn check_scale(scale: &Value, field: &str, errors: &mut Errors) {
    if scale.is_null() {
        return;
    }
    let checks = [
        ("specReplicasPath", ".spec.", "should be a json path under .spec", true),
        ("statusReplicasPath", ".status.", "should be a json path under .status", true),
        ("labelSelectorPath", ".s", "should be a json path under either .spec or .status", false),
    ];
    for (name, prefix, why, needed) in checks {
        let path = text(&scale[name]);
        let fits =
            path.starts_with(prefix) && (prefix != ".s" || path.starts_with(".spec.") || path.starts_with(".status."));
        if path.is_empty() {
            if needed {
                errors.required(format!("{field}.{name}"), "");
            }
        } else if !fits {
            errors.invalid(format!("{field}.{name}"), &path.into(), why);
        }
    }
}

fn check_selectable(version: &Value, field: &str, errors: &mut Errors) {
    let schema = &version["schema"]["openAPIV3Schema"];
    for (index, selectable) in list(&version["selectableFields"]).iter().enumerate() {
        let at = format!("{field}[{index}].jsonPath");
        let path = text(&selectable["jsonPath"]);
        let Some(rest) = path.strip_prefix('.') else {
            let start = path.split(['.', '[']).next().unwrap_or_default();
            let why = format!("is an invalid path: expected [ or . but got: {start}");
            errors.invalid(at, &path.into(), &why);
            continue;
        };
        let found = rest.split('.').try_fold(schema, |schema, name| schema["properties"].get(name));
        match found.map(|schema| text(&schema["type"])) {
            None => errors.invalid(at, &path.into(), "is an invalid path: does not refer to a valid field"),
            Some("string" | "integer" | "boolean") => {}
            Some(_) => errors.invalid(at, &path.into(), "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed."),
        }
    }
}

fn check_names(names: &Value, errors: &mut Errors) {
    let at = |field: &str| format!("spec.names.{field}");
    let mut name = |field: &str, mixed: bool| {
        let value = text(&names[field]);
        if value.is_empty() {
            return errors.required(at(field), "");
        }
        let lower = value.to_lowercase();
        if let Err(why) = syntax::dns1035(if mixed { &lower } else { value }) {
            let mixed = if mixed { "may have mixed case, but should otherwise match: " } else { "" };
            errors.invalid(at(field), &value.into(), &format!("{mixed}{why}"));
        }
    };
    name("plural", false);
    name("singular", false);
    name("kind", true);
    name("listKind", true);
    for field in ["shortNames", "categories"] {
        for (index, value) in list(&names[field]).iter().enumerate() {
            if let Err(why) = syntax::dns1035(text(value)) {
                errors.invalid(format!("{}[{index}]", at(field)), value, &why);
            }
        }
    }
    if !text(&names["kind"]).is_empty() && names["kind"] == names["listKind"] {
        errors.invalid(at("listKind"), &names["listKind"], "kind and listKind may not be the same");
    }
}

fn check_conversion(conversion: &Value, errors: &mut Errors) {
    match text(&conversion["strategy"]) {
        "None" if !conversion["webhook"].is_null() => {
            errors.forbidden(
                "spec.conversion.webhookClientConfig",
                "should not be set when strategy is not set to Webhook",
            );
        }
        "None" | "" => {}
        "Webhook" => {
            let webhook = &conversion["webhook"];
            if webhook["clientConfig"].is_null() {
                errors.required("spec.conversion.webhookClientConfig", "required when strategy is set to Webhook");
            }
            if list(&webhook["conversionReviewVersions"]).is_empty() {
                errors.required("spec.conversion.conversionReviewVersions", "");
            }
            if !webhook["clientConfig"].is_null() {
                // A kube-apiserver would call it; here versions differ in their name alone.
                errors.forbidden("spec.conversion.strategy", "this server calls no webhooks: use None");
            }
        }
        _ => errors.unsupported("spec.conversion.strategy", &conversion["strategy"], &["None", "Webhook"]),
    }
}
