//! What a kube-apiserver with the Gateway API v1.6 standard channel refuses, and where.

mod refused;

use std::sync::LazyLock;

use serde_json::{Value, json};

use super::Schemas;
use crate::{
    local::admit::{Admit, Admitted},
    types::GROUP,
};

pub(super) static SCHEMAS: LazyLock<Schemas> = LazyLock::new(|| Schemas::new().expect("the schemas built in compile"));

fn object(kind: &str) -> Value {
    let spec = match kind {
        "GatewayClass" => json!({ "controllerName": "gwtop.dev/gwproxy" }),
        "Gateway" => json!({
            "gatewayClassName": "gwproxy",
            "listeners": [
                { "name": "http", "port": 80, "protocol": "HTTP" },
                { "name": "https", "port": 443, "protocol": "HTTPS", "tls": { "certificateRefs": [{ "name": "c" }] } },
            ],
        }),
        "HTTPRoute" => json!({
            "parentRefs": [{ "name": "gw" }],
            "hostnames": ["app.example.com"],
            "rules": [{
                "matches": [{ "path": { "type": "PathPrefix", "value": "/" } }],
                "backendRefs": [{ "name": "v1", "port": 8080 }, { "name": "v2", "port": 8080, "weight": 5 }],
            }],
        }),
        "GRPCRoute" => json!({
            "parentRefs": [{ "name": "gw" }],
            "rules": [{ "matches": [{ "method": { "service": "user.v3.Users" } }], "backendRefs": [{ "name": "u", "port": 9090 }] }],
        }),
        "TCPRoute" | "UDPRoute" => json!({
            "parentRefs": [{ "name": "gw", "sectionName": "db" }],
            "rules": [{ "backendRefs": [{ "name": "db", "port": 3306 }] }],
        }),
        "TLSRoute" => json!({
            "parentRefs": [{ "name": "gw" }],
            "hostnames": ["db.example.com"],
            "rules": [{ "backendRefs": [{ "name": "db", "port": 3306 }] }],
        }),
        "ListenerSet" => json!({
            "parentRef": { "name": "gw" },
            "listeners": [{ "name": "http", "port": 80, "protocol": "HTTP" }],
        }),
        "BackendTLSPolicy" => json!({
            "targetRefs": [{ "group": "", "kind": "Service", "name": "s" }],
            "validation": { "hostname": "s.example.com", "wellKnownCACertificates": "System" },
        }),
        "ReferenceGrant" => json!({
            "from": [{ "group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": "payment" }],
            "to": [{ "group": "", "kind": "Secret" }],
        }),
        other => panic!("no sample of {other}"),
    };
    json!({ "apiVersion": "gateway.networking.k8s.io/v1", "kind": kind, "metadata": { "name": "x" }, "spec": spec })
}

/// The sample of a kind with one field of its spec set; `pointer` is a JSON pointer below it.
fn with(kind: &str, pointer: &str, value: Value) -> Value {
    let mut object = object(kind);
    let (parent, last) = pointer.rsplit_once('/').expect("a pointer");
    let parent = object["spec"].pointer_mut(parent).expect("the parent exists");
    match parent {
        Value::Array(items) => items[last.parse::<usize>().expect("an index")] = value,
        parent => parent[last] = value,
    }
    object
}

fn admit(kind: &str, object: &mut Value) -> Admitted {
    SCHEMAS.admit(GROUP, kind, object, None)
}

fn filter(filter: Value) -> Value {
    json!([filter])
}

#[test]
fn wrong_objects_are_refused_at_the_field_that_is_wrong() {
    let cases = refused::refused();
    assert!(cases.len() >= 40);
    for (kind, pointer, value, field, error) in cases {
        let mut object = with(kind, pointer, value.clone());
        let admitted = admit(kind, &mut object);
        let real: Vec<_> = admitted.errors.iter().filter(|error| error.field != "<nil>").collect();
        let found = real.iter().any(|found| found.field == field && found.kind == error);
        assert!(found, "{kind} {pointer} = {value}: wanted {error:?} at {field}, got {:#?}", admitted.errors);
        let parents = |found: &str| found.starts_with(field) || field.starts_with(found);
        let stray: Vec<_> = real.iter().filter(|found| !parents(&found.field)).collect();
        assert!(stray.is_empty(), "{kind} {pointer} = {value}: also blamed {stray:#?}");
    }
}

#[test]
fn samples_and_their_widest_forms_are_admitted() {
    let kinds = [
        "GatewayClass",
        "Gateway",
        "HTTPRoute",
        "GRPCRoute",
        "TLSRoute",
        "TCPRoute",
        "UDPRoute",
        "ListenerSet",
        "BackendTLSPolicy",
        "ReferenceGrant",
    ];
    let mut objects: Vec<_> = kinds.map(|kind| (kind, object(kind))).to_vec();
    let ref_to = |name: &str| json!({ "name": name, "port": 80 });
    for (kind, pointer, value) in [
        ("HTTPRoute", "/rules/0/matches/0/path", json!({ "type": "Exact", "value": "/a-._~!$&'()*+,;=:@%20" })),
        ("HTTPRoute", "/rules/0/matches/0/path", json!({ "type": "RegularExpression", "value": "^/a//.*#" })),
        ("HTTPRoute", "/rules/0/timeouts", json!({ "request": "0s", "backendRequest": "1h30m" })),
        ("HTTPRoute", "/rules/0/timeouts", json!({ "request": "30s", "backendRequest": "25s" })),
        ("HTTPRoute", "/rules/0/backendRefs/0", json!({ "group": "example.com", "kind": "Bucket", "name": "b" })),
        ("HTTPRoute", "/rules", Value::Array(vec![json!({ "matches": vec![json!({}); 8] }); 16])),
        (
            "HTTPRoute",
            "/parentRefs",
            json!([{ "name": "gw", "sectionName": "a" }, { "name": "gw", "sectionName": "b" }, { "name": "gw", "namespace": "n" }]),
        ),
        (
            "HTTPRoute",
            "/rules/0/filters",
            json!([
                { "type": "RequestMirror", "requestMirror": { "backendRef": ref_to("a"), "percent": 100 } },
                { "type": "RequestMirror", "requestMirror": { "backendRef": ref_to("b"), "fraction": { "numerator": 1 } } },
                { "type": "URLRewrite", "urlRewrite": { "path": { "type": "ReplacePrefixMatch", "replacePrefixMatch": "" } } },
                { "type": "ExtensionRef", "extensionRef": { "group": "example.com", "kind": "Auth", "name": "a" } },
                { "type": "CORS", "cors": { "allowOrigins": ["https://*.example.com"], "allowMethods": ["*"] } },
            ]),
        ),
        (
            "Gateway",
            "/listeners/1/tls",
            json!({ "certificateRefs": [{ "name": "c", "namespace": "n" }], "options": { "example.com/profile": "x" } }),
        ),
        ("Gateway", "/listeners/0/hostname", json!("*.example.com")),
        ("Gateway", "/listeners/1", json!({ "name": "tcp", "port": 80, "protocol": "TCP" })),
        ("Gateway", "/addresses", json!([{ "value": "::1" }, { "type": "Hostname", "value": "a.example" }, {}])),
        ("Gateway", "/infrastructure", json!({ "labels": { "example.com/team": "a" }, "annotations": { "a": "b c" } })),
        ("GRPCRoute", "/rules/0/matches/0/method", json!({ "type": "RegularExpression", "service": "a-b.*" })),
    ] {
        objects.push((kind, with(kind, pointer, value)));
    }
    for (kind, mut object) in objects {
        let before = object.clone();
        assert_eq!(admit(kind, &mut object), Admitted::default(), "{kind}: {before}");
        let once = object.clone();
        assert_eq!(admit(kind, &mut object), Admitted::default());
        assert_eq!(object, once, "defaults are filled in once");
    }
}

#[test]
fn defaults_are_upstreams() {
    let mut route = json!({ "spec": {} });
    assert_eq!(admit("HTTPRoute", &mut route), Admitted::default());
    assert_eq!(
        route,
        json!({ "spec": { "rules": [{ "matches": [{ "path": { "type": "PathPrefix", "value": "/" } }] }] } })
    );

    let mut route = json!({ "spec": {
        "parentRefs": [{ "name": "gw" }],
        "rules": [{
            "matches": [{ "headers": [{ "name": "a", "value": "b" }] }],
            "filters": [{ "type": "RequestRedirect", "requestRedirect": {} }],
        }, { "matches": [{ "path": { "value": "/x" } }], "backendRefs": [{ "name": "v1", "port": 1, "namespace": null }] }],
    } });
    assert_eq!(admit("HTTPRoute", &mut route), Admitted::default());
    assert_eq!(
        route["spec"],
        json!({
            "parentRefs": [{ "group": GROUP, "kind": "Gateway", "name": "gw" }],
            "rules": [{
                "matches": [{
                    "path": { "type": "PathPrefix", "value": "/" },
                    "headers": [{ "type": "Exact", "name": "a", "value": "b" }],
                }],
                "filters": [{ "type": "RequestRedirect", "requestRedirect": { "statusCode": 302 } }],
            }, {
                "matches": [{ "path": { "type": "PathPrefix", "value": "/x" } }],
                "backendRefs": [{ "group": "", "kind": "Service", "name": "v1", "port": 1, "weight": 1 }],
            }],
        })
    );

    let mut gateway = object("Gateway");
    admit("Gateway", &mut gateway);
    assert_eq!(gateway["spec"]["listeners"][0]["allowedRoutes"], json!({ "namespaces": { "from": "Same" } }));
    assert_eq!(gateway["spec"]["listeners"][1]["tls"]["mode"], "Terminate");
    assert_eq!(
        gateway["spec"]["listeners"][1]["tls"]["certificateRefs"][0],
        json!({ "group": "", "kind": "Secret", "name": "c" })
    );
    let pending: Vec<_> = gateway["status"]["conditions"].as_array().unwrap().iter().map(|c| &c["type"]).collect();
    assert_eq!(pending, ["Accepted", "Programmed"]);
}

#[test]
fn unknown_fields_are_named_and_removed() {
    let mut route = with("HTTPRoute", "/rules/0/backendRefs/1/wieght", json!(5));
    route["spec"]["foo"] = json!({ "bar": 1 });
    route["extra"] = json!(1);
    let admitted = admit("HTTPRoute", &mut route);
    assert_eq!(admitted.errors, []);
    let mut unknown = admitted.unknown;
    unknown.sort();
    assert_eq!(unknown, ["extra", "spec.foo", "spec.rules[0].backendRefs[1].wieght"]);
    assert!(route["spec"].get("foo").is_none() && route.get("extra").is_none());
    assert_eq!(route["metadata"], json!({ "name": "x" }), "metadata is the API's");
}

#[test]
fn a_class_keeps_its_controller() {
    let old = object("GatewayClass");
    let mut same = with("GatewayClass", "/description", json!("new"));
    assert_eq!(SCHEMAS.admit(GROUP, "GatewayClass", &mut same, Some(&old)).errors, []);
    let mut other = with("GatewayClass", "/controllerName", json!("example.com/other"));
    assert_eq!(admit("GatewayClass", &mut other.clone()).errors, [], "free to choose on creation");
    let errors = SCHEMAS.admit(GROUP, "GatewayClass", &mut other, Some(&old)).errors;
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0].field, "spec.controllerName");
    assert!(errors[0].message.starts_with("Invalid value: \"example.com/other\": "), "{}", errors[0].message);
}

#[test]
fn all_errors_of_an_object_are_reported_at_once() {
    let mut route = with("HTTPRoute", "/rules/0/backendRefs", json!([{ "port": 0 }, { "name": "", "port": "x" }]));
    route["spec"]["hostnames"] = json!(["A"]);
    let errors = admit("HTTPRoute", &mut route).errors;
    let fields: Vec<_> = errors.iter().map(|error| error.field.as_str()).collect();
    for field in [
        "spec.hostnames[0]",
        "spec.rules[0].backendRefs[0].name",
        "spec.rules[0].backendRefs[0].port",
        "spec.rules[0].backendRefs[1].name",
        "spec.rules[0].backendRefs[1].port",
        "<nil>",
    ] {
        assert!(fields.contains(&field), "{field} is missing in {fields:?}");
    }
    assert_eq!(fields.len(), 6, "{fields:?}");
}

#[test]
fn unknown_kinds_are_admitted_unchanged() {
    let mut object = json!({ "kind": "Service", "spec": { "anything": null } });
    let before = object.clone();
    assert_eq!(SCHEMAS.admit("", "Service", &mut object, None), Admitted::default());
    assert_eq!(object, before);
}

#[test]
fn status_is_checked_too() {
    let mut route = object("HTTPRoute");
    route["status"] =
        json!({ "parents": [{ "parentRef": { "name": "gw" }, "controllerName": "a.b/c", "conditions": [] }] });
    let errors = admit("HTTPRoute", &mut route).errors;
    assert_eq!(errors.len(), 1, "{errors:#?}");
    assert_eq!(errors[0].field, "status.parents[0].conditions");
}

#[test]
fn an_object_of_the_wrong_shape_is_refused_not_fatal() {
    for mut object in
        [json!(null), json!([]), json!({}), json!({ "spec": null }), json!({ "spec": [] }), json!({ "spec": 1 })]
    {
        assert!(!admit("HTTPRoute", &mut object).errors.is_empty(), "{object}");
    }
}

#[test]
fn schemas_are_structural() {
    fn walk(schema: &Value, path: &str) {
        let fields = schema.as_object().unwrap_or_else(|| panic!("{path}: not an object: {schema}"));
        assert!(fields.get("type").is_some_and(Value::is_string), "{path}: no plain type: {schema}");
        for key in ["$ref", "$defs", "anyOf", "oneOf", "allOf", "unevaluatedProperties", "const"] {
            assert!(!fields.contains_key(key), "{path}: {key}");
        }
        for (name, inner) in fields.get("properties").and_then(Value::as_object).into_iter().flatten() {
            walk(inner, &format!("{path}.{name}"));
        }
        for key in ["items", "additionalProperties"] {
            if let Some(inner) = fields.get(key) {
                walk(inner, &format!("{path}.{key}"));
            }
        }
    }
    for ((_, kind), entry) in &SCHEMAS.builtin {
        walk(&entry.version("").unwrap().schema, kind);
    }
}
