//! What several fields have in common: patterns, bounds and CEL rules, as schema fragments
//! that the derives in this folder name.

use schemars::{Schema, SchemaGenerator};
use serde_json::{Value, json};

use super::GROUP;

/// One label of a DNS name (RFC 1123).
const LABEL: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
/// A header name's characters (RFC 9110 token).
const TOKEN: &str = r"^[A-Za-z0-9!#$%&'*+\-.^_\x60|~]+$";
pub(super) const LABEL_VALUE: &str = "^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$";

fn subdomain() -> String {
    format!(r"{LABEL}(\.{LABEL})*")
}

/// Prefix, slash, path: `example.com/name`.
fn prefixed() -> String {
    format!(r"{}\/[A-Za-z0-9\/\-._~%!$&'()*+,;=:]+", subdomain())
}

/// An optional DNS prefix with a slash, then up to 63 characters.
fn qualified() -> String {
    format!(r"^({}/)?([A-Za-z0-9][-A-Za-z0-9_.]{{0,61}})?[A-Za-z0-9]$", subdomain())
}

/// `x-kubernetes-validations` from pairs of expression and message.
pub(super) fn cel<R: AsRef<str>, M: AsRef<str>>(rules: &[(R, M)]) -> Value {
    rules.iter().map(|(rule, message)| json!({ "rule": rule.as_ref(), "message": message.as_ref() })).collect()
}

fn build(value: Value) -> Schema {
    Schema::try_from(value).unwrap_or_default()
}

fn text(min: u32, max: u32, pattern: &str) -> Schema {
    build(json!({ "type": "string", "minLength": min, "maxLength": max, "pattern": pattern }))
}

pub(super) fn group(_: &mut SchemaGenerator) -> Schema {
    build(json!({ "type": "string", "maxLength": 253, "pattern": format!("^$|^{}$", subdomain()) }))
}

pub(super) fn kind(_: &mut SchemaGenerator) -> Schema {
    text(1, 63, "^[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?$")
}

pub(super) fn object_name(_: &mut SchemaGenerator) -> Schema {
    build(json!({ "type": "string", "minLength": 1, "maxLength": 253 }))
}

pub(super) fn namespace(_: &mut SchemaGenerator) -> Schema {
    text(1, 63, &format!("^{LABEL}$"))
}

pub(super) fn section_name(_: &mut SchemaGenerator) -> Schema {
    text(1, 253, &format!("^{}$", subdomain()))
}

pub(super) fn hostname(_: &mut SchemaGenerator) -> Schema {
    text(1, 253, &format!(r"^(\*\.)?{}$", subdomain()))
}

pub(super) fn precise_hostname(_: &mut SchemaGenerator) -> Schema {
    text(1, 253, &format!("^{}$", subdomain()))
}

pub(super) fn hostnames(generator: &mut SchemaGenerator) -> Schema {
    build(json!({
        "type": "array", "items": hostname(generator), "maxItems": 16, "x-kubernetes-list-type": "atomic",
    }))
}

pub(super) fn port(_: &mut SchemaGenerator) -> Schema {
    build(json!({ "type": "integer", "format": "int32", "minimum": 1, "maximum": 65535 }))
}

pub(super) fn weight(_: &mut SchemaGenerator) -> Schema {
    build(json!({ "type": "integer", "format": "int32", "minimum": 0, "maximum": 1_000_000, "default": 1 }))
}

pub(super) fn redirect_code(_: &mut SchemaGenerator) -> Schema {
    build(json!({ "type": "integer", "enum": [301, 302, 303, 307, 308], "default": 302 }))
}

pub(super) fn duration(_: &mut SchemaGenerator) -> Schema {
    build(json!({ "type": "string", "pattern": "^([0-9]{1,5}(h|m|s|ms)){1,4}$" }))
}

pub(super) fn retry_codes(_: &mut SchemaGenerator) -> Schema {
    build(json!({
        "type": "array", "x-kubernetes-list-type": "set",
        "items": { "type": "integer", "minimum": 400, "maximum": 599 },
    }))
}

pub(super) fn controller_name(_: &mut SchemaGenerator) -> Schema {
    text(1, 253, &format!("^{}$", prefixed()))
}

pub(super) fn protocol(_: &mut SchemaGenerator) -> Schema {
    let pattern = format!(r"^[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?$|{}\/[A-Za-z0-9]+$", subdomain());
    text(1, 255, &pattern)
}

/// Upstream anchors only the ends of this list of alternatives; so does this.
pub(super) fn address_type(_: &mut SchemaGenerator) -> Schema {
    let mut schema = text(1, 253, &format!("^Hostname|IPAddress|NamedAddress|{}$", prefixed()));
    schema.insert("default".into(), json!("IPAddress"));
    schema
}

pub(super) fn header_name(_: &mut SchemaGenerator) -> Schema {
    text(1, 256, TOKEN)
}

pub(super) fn header_names(generator: &mut SchemaGenerator) -> Schema {
    build(json!({
        "type": "array", "items": header_name(generator), "maxItems": 64, "x-kubernetes-list-type": "set",
    }))
}

/// Header names that may also be the one wildcard.
pub(super) fn cors_allow_headers(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = header_names(generator);
    schema.insert("x-kubernetes-validations".into(), lone_wildcard("allowHeaders"));
    schema
}

pub(super) fn cors_allow_methods(_: &mut SchemaGenerator) -> Schema {
    let mut methods = METHODS.to_vec();
    methods.push("*");
    build(json!({
        "type": "array", "items": { "type": "string", "enum": methods }, "maxItems": 9,
        "x-kubernetes-list-type": "set", "x-kubernetes-validations": lone_wildcard("allowMethods"),
    }))
}

pub(super) fn cors_allow_origins(_: &mut SchemaGenerator) -> Schema {
    let pattern = r"(^\*$)|(^(http(s)?):\/\/(((\*\.)?([a-zA-Z0-9\-]+\.)*[a-zA-Z0-9-]+|\*)(:([0-9]{1,5}))?)$)";
    build(json!({
        "type": "array", "maxItems": 64, "x-kubernetes-list-type": "set",
        "items": { "type": "string", "minLength": 1, "maxLength": 253, "pattern": pattern },
        "x-kubernetes-validations": lone_wildcard("allowOrigins"),
    }))
}

fn lone_wildcard(field: &str) -> Value {
    cel(&[(
        "size(self) < 2 || !self.exists(v, v == '*')",
        format!("{field} holds either '*' alone or names without it"),
    )])
}

pub(super) const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];

pub(super) fn metadata(_: &mut SchemaGenerator) -> Schema {
    build(json!({ "type": "object" }))
}

pub(super) fn label_selector(_: &mut SchemaGenerator) -> Schema {
    build(json!({
        "type": "object",
        "x-kubernetes-map-type": "atomic",
        "properties": {
            "matchExpressions": {
                "type": "array",
                "x-kubernetes-list-type": "atomic",
                "items": {
                    "type": "object",
                    "required": ["key", "operator"],
                    "properties": {
                        "key": { "type": "string" },
                        "operator": { "type": "string" },
                        "values": {
                            "type": "array", "items": { "type": "string" }, "x-kubernetes-list-type": "atomic",
                        },
                    },
                },
            },
            "matchLabels": { "type": "object", "additionalProperties": { "type": "string" } },
        },
    }))
}

/// Options of TLS: an implementation's own keys, each with a string.
pub(super) fn options(_: &mut SchemaGenerator) -> Schema {
    build(json!({
        "type": "object", "maxProperties": 16,
        "additionalProperties": { "type": "string", "minLength": 0, "maxLength": 4096 },
    }))
}

fn key_rules(what: &str) -> Value {
    cel(&[
        (
            format!("self.all(k, k.matches(r'{}'))", qualified()),
            format!("a key of {what} is a name of up to 63 characters, after an optional DNS prefix and a slash"),
        ),
        (
            "self.all(k, size(k.split('/')[0]) < 253)".to_owned(),
            format!("the DNS prefix of a key of {what} has up to 253 characters"),
        ),
    ])
}

pub(super) fn infrastructure_labels(_: &mut SchemaGenerator) -> Schema {
    build(json!({
        "type": "object", "maxProperties": 8, "x-kubernetes-validations": key_rules("labels"),
        "additionalProperties": { "type": "string", "minLength": 0, "maxLength": 63, "pattern": LABEL_VALUE },
    }))
}

pub(super) fn infrastructure_annotations(_: &mut SchemaGenerator) -> Schema {
    build(json!({
        "type": "object", "maxProperties": 16, "x-kubernetes-validations": key_rules("annotations"),
        "additionalProperties": { "type": "string", "minLength": 0, "maxLength": 4096 },
    }))
}

fn condition_list(min: Option<u32>) -> Schema {
    let mut list = json!({
        "type": "array",
        "maxItems": 8,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "required": ["lastTransitionTime", "message", "reason", "status", "type"],
            "properties": {
                "lastTransitionTime": { "type": "string", "format": "date-time" },
                "message": { "type": "string", "maxLength": 32768 },
                "observedGeneration": { "type": "integer", "format": "int64", "minimum": 0 },
                "reason": {
                    "type": "string", "minLength": 1, "maxLength": 1024,
                    "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
                },
                "status": { "type": "string", "enum": ["True", "False", "Unknown"] },
                "type": {
                    "type": "string", "maxLength": 316,
                    "pattern": format!(r"^({}/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$", subdomain()),
                },
            },
        },
    });
    if let Some(min) = min {
        list["minItems"] = min.into();
    }
    build(list)
}

pub(super) fn conditions(_: &mut SchemaGenerator) -> Schema {
    condition_list(None)
}

/// Conditions of a parent or an ancestor: whoever writes the entry says something.
pub(super) fn some_conditions(_: &mut SchemaGenerator) -> Schema {
    condition_list(Some(1))
}

/// What a status says until its controller has spoken.
pub(super) fn pending(types: &[&str]) -> Value {
    types
        .iter()
        .map(|type_| {
            json!({
                "type": type_, "status": "Unknown", "reason": "Pending", "message": "Waiting for controller",
                "lastTransitionTime": "1970-01-01T00:00:00Z",
            })
        })
        .collect()
}

/// References by (group, kind, name[, namespace]): two of them to the same object tell apart
/// by `sectionName`, each with its own.
pub(super) fn distinct_sections(with_namespace: bool) -> Value {
    let section = |v: &str| format!("(has({v}.sectionName) ? {v}.sectionName : '')");
    let mut same = "a.group == b.group && a.kind == b.kind && a.name == b.name".to_owned();
    if with_namespace {
        let namespace = |v: &str| format!("(has({v}.__namespace__) ? {v}.__namespace__ : '')");
        same.push_str(&format!(" && {} == {}", namespace("a"), namespace("b")));
    }
    let (a, b) = (section("a"), section("b"));
    cel(&[
        (
            format!("self.all(a, self.all(b, !({same}) || ({a} == '') == ({b} == '')))"),
            "references to the same object each need a sectionName",
        ),
        (
            format!("self.all(a, self.exists_one(b, {same} && {a} == {b}))"),
            "references to the same object each need their own sectionName",
        ),
    ])
}

/// Rules for a list of listeners; `where_` names the object that holds it.
pub(super) fn listeners(where_: &str) -> Value {
    cel(&[
        (
            "self.all(l, !has(l.tls) || !(l.protocol in ['HTTP', 'TCP', 'UDP']))".to_owned(),
            "a listener of protocol HTTP, TCP or UDP must not have tls".to_owned(),
        ),
        (
            "self.all(l, l.protocol != 'HTTPS' || !has(l.tls) || l.tls.mode in ['', 'Terminate'])".to_owned(),
            "a listener of protocol HTTPS has tls.mode Terminate".to_owned(),
        ),
        (
            "self.all(l, l.protocol != 'TLS' || (has(l.tls) && has(l.tls.mode) && l.tls.mode != ''))".to_owned(),
            "a listener of protocol TLS needs tls.mode".to_owned(),
        ),
        (
            "self.all(l, !has(l.hostname) || l.hostname == '' || !(l.protocol in ['TCP', 'UDP']))".to_owned(),
            "a listener of protocol TCP or UDP must not have a hostname".to_owned(),
        ),
        (
            "self.all(a, size(self.filter(b, b.name == a.name)) == 1)".to_owned(),
            format!("listener names are unique within the {where_}"),
        ),
        (
            "self.all(a, self.exists_one(b, a.port == b.port && a.protocol == b.protocol && \
             has(a.hostname) == has(b.hostname) && (!has(a.hostname) || a.hostname == b.hostname)))"
                .to_owned(),
            "no two listeners share port, protocol and hostname".to_owned(),
        ),
    ])
}

/// One Gateway address: `value` fits `type`.
pub(super) fn address() -> Value {
    cel(&[
        (
            format!(r"self.type != 'Hostname' || !has(self.value) || self.value.matches(r'^(\*\.)?{}$')", subdomain()),
            "an address of type Hostname is a DNS name, its first label may be '*'",
        ),
        (
            "self.type != 'IPAddress' || !has(self.value) || isIP(self.value)".to_owned(),
            "an address of type IPAddress is an IPv4 or IPv6 address",
        ),
    ])
}

pub(super) fn addresses() -> Value {
    let unique = |type_: &str| {
        (
            format!(
                "self.all(a, a.type != '{type_}' || !has(a.value) || \
                 self.exists_one(b, b.type == a.type && has(b.value) && b.value == a.value))"
            ),
            format!("addresses of type {type_} are unique"),
        )
    };
    cel(&[unique("IPAddress"), unique("Hostname")])
}

/// `type` and the one field that carries its settings.
pub(super) fn union(pairs: &[(&str, &str)]) -> Value {
    let rules: Vec<_> = pairs
        .iter()
        .map(|(type_, field)| {
            (
                format!("has(self.{field}) == (self.type == '{type_}')"),
                format!("{field} must be set when type is {type_}, and only then"),
            )
        })
        .collect();
    cel(&rules)
}

/// Filters that may stand once in a list; `exclusive` are two that may not stand together.
pub(super) fn filters(once: &[&str], exclusive: Option<(&str, &str)>) -> Value {
    let mut rules: Vec<_> = once
        .iter()
        .map(|type_| {
            (format!("size(self.filter(f, f.type == '{type_}')) < 2"), format!("{type_} may be given only once"))
        })
        .collect();
    if let Some((a, b)) = exclusive {
        rules.push((
            format!("!self.exists(f, f.type == '{a}') || !self.exists(f, f.type == '{b}')"),
            format!("{a} and {b} exclude each other"),
        ));
    }
    cel(&rules)
}

pub(super) fn path_modifier() -> Value {
    union(&[("ReplaceFullPath", "replaceFullPath"), ("ReplacePrefixMatch", "replacePrefixMatch")])
}

/// Matches of all rules together; a rule without matches counts none.
pub(super) fn total_matches() -> Value {
    cel(&[(
        "self.map(r, has(r.matches) ? size(r.matches) : 0).sum() <= 128",
        "all rules together may have up to 128 matches",
    )])
}

pub(super) fn path_match() -> Value {
    let literal = "self.type == 'RegularExpression' || ";
    let mut rules = vec![
        (format!("{literal}self.value.startsWith('/')"), "a path starts with '/'".to_owned()),
        (
            format!(r"{literal}self.value.matches(r'^(?:[-A-Za-z0-9/._~!$&\x27()*+,;=:@]|%[0-9a-fA-F]{{2}})+$')"),
            "a path holds only characters that a URL's path may have; others are %-encoded".to_owned(),
        ),
    ];
    for part in ["//", "/./", "/../", "%2f", "%2F", "#"] {
        rules.push((format!("{literal}!self.value.contains('{part}')"), format!("a path must not contain '{part}'")));
    }
    for end in ["/..", "/."] {
        rules.push((format!("{literal}!self.value.endsWith('{end}')"), format!("a path must not end with '{end}'")));
    }
    cel(&rules)
}

/// What a rule's filters need from its matches and backends.
pub(super) fn http_rule() -> Value {
    let prefix = "size(self.matches) == 1 && has(self.matches[0].path) && self.matches[0].path.type == 'PathPrefix'";
    let replaces = |filter: &str| {
        format!(
            "f, has(f.{filter}) && has(f.{filter}.path) && f.{filter}.path.type == 'ReplacePrefixMatch' \
             && has(f.{filter}.path.replacePrefixMatch)"
        )
    };
    let mut rules = vec![(
        "!has(self.backendRefs) || size(self.backendRefs) == 0 || !has(self.filters) || \
         !self.filters.exists(f, has(f.requestRedirect))"
            .to_owned(),
        "a rule with RequestRedirect must not have backendRefs".to_owned(),
    )];
    for (filter, type_) in [("requestRedirect", "RequestRedirect"), ("urlRewrite", "URLRewrite")] {
        let replaces = replaces(filter);
        rules.push((
            format!("!has(self.filters) || !self.filters.exists_one({replaces}) || ({prefix})"),
            format!("{type_} with replacePrefixMatch needs exactly one match, of type PathPrefix"),
        ));
        rules.push((
            format!(
                "!has(self.backendRefs) || !self.backendRefs.exists_one(b, has(b.filters) && \
                 b.filters.exists_one({replaces})) || ({prefix})"
            ),
            format!("a backendRef's {type_} with replacePrefixMatch needs exactly one match, of type PathPrefix"),
        ));
    }
    cel(&rules)
}

pub(super) fn timeouts() -> Value {
    cel(&[(
        "!has(self.request) || !has(self.backendRequest) || duration(self.request) == duration('0s') || \
         duration(self.backendRequest) <= duration(self.request)",
        "backendRequest must not be longer than request",
    )])
}

pub(super) fn gateway_group_default() -> Value {
    json!(GROUP)
}

/// Names that a TLS client may ask for.
pub(super) fn server_names(_: &mut SchemaGenerator) -> Schema {
    build(json!({
        "type": "array", "minItems": 1, "maxItems": 1024, "x-kubernetes-list-type": "atomic",
        "items": { "type": "string", "minLength": 1, "maxLength": 253, "pattern": format!(r"^(\*\.)?{}$", subdomain()) },
        "x-kubernetes-validations": cel(&[("self.all(h, !isIP(h))", "a hostname must not be an IP address")]),
    }))
}

pub(super) fn well_known_ca(_: &mut SchemaGenerator) -> Schema {
    let pattern = format!("^(System|({}/([A-Za-z0-9][-A-Za-z0-9_.]{{0,61}})?[A-Za-z0-9]))$", subdomain());
    text(1, 253, &pattern)
}

pub(super) fn uri(_: &mut SchemaGenerator) -> Schema {
    text(1, 253, r"^[^:/?#]+://[^/?#]*[^?#]*(\?[^#]*)?(#.*)?")
}
