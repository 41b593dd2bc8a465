//! The table of wrong values.

use serde_json::{Value, json};

use super::filter;
use crate::local::admit::FieldErrorKind as Kind;

/// Kind, pointer below spec, value; then the field and the kind of error that must come of it.
pub(super) fn refused() -> Vec<(&'static str, &'static str, Value, &'static str, Kind)> {
    let route = "HTTPRoute";
    let gateway = "Gateway";
    let redirect = |path: Value| json!({ "type": "RequestRedirect", "requestRedirect": { "path": path } });
    let path = |value: &str| json!({ "type": "PathPrefix", "value": value });
    let many = |count: usize, value: Value| Value::Array(vec![value; count]);
    let value = "spec.rules[0].matches[0].path";
    vec![
        // Paths.
        (route, "/rules/0/matches/0/path", path("api"), value, Kind::Invalid),
        (route, "/rules/0/matches/0/path", path("/a//b"), value, Kind::Invalid),
        (route, "/rules/0/matches/0/path", path("/a/./b"), value, Kind::Invalid),
        (route, "/rules/0/matches/0/path", path("/a/../b"), value, Kind::Invalid),
        (route, "/rules/0/matches/0/path", path("/a%2fb"), value, Kind::Invalid),
        (route, "/rules/0/matches/0/path", path("/a%2Fb"), value, Kind::Invalid),
        (route, "/rules/0/matches/0/path", path("/a#b"), value, Kind::Invalid),
        (route, "/rules/0/matches/0/path", path("/a/.."), value, Kind::Invalid),
        (route, "/rules/0/matches/0/path", path("/a/."), value, Kind::Invalid),
        (route, "/rules/0/matches/0/path", path("/a b"), value, Kind::Invalid),
        (
            route,
            "/rules/0/matches/0/path",
            path(&"/a".repeat(600)),
            "spec.rules[0].matches[0].path.value",
            Kind::TooLong,
        ),
        (
            route,
            "/rules/0/matches/0/path",
            json!({ "type": "Prefix", "value": "/" }),
            "spec.rules[0].matches[0].path.type",
            Kind::NotSupported,
        ),
        // Matches.
        (route, "/rules/0/matches/0/method", json!("get"), "spec.rules[0].matches[0].method", Kind::NotSupported),
        (
            route,
            "/rules/0/matches/0/headers",
            json!([{ "name": "a", "value": "1" }, { "name": "a", "value": "2" }]),
            "spec.rules[0].matches[0].headers[1]",
            Kind::Duplicate,
        ),
        (
            route,
            "/rules/0/matches/0/headers",
            json!([{ "name": "a b", "value": "1" }]),
            "spec.rules[0].matches[0].headers[0].name",
            Kind::Invalid,
        ),
        (
            route,
            "/rules/0/matches/0/headers",
            json!([{ "name": "a" }]),
            "spec.rules[0].matches[0].headers[0].value",
            Kind::Required,
        ),
        (
            route,
            "/rules/0/matches/0/queryParams",
            json!([{ "name": "q", "value": "x".repeat(1025) }]),
            "spec.rules[0].matches[0].queryParams[0].value",
            Kind::TooLong,
        ),
        (route, "/rules/0/matches", many(65, json!({})), "spec.rules[0].matches", Kind::TooMany),
        (route, "/rules", many(3, json!({ "matches": many(64, json!({})) })), "spec.rules", Kind::Invalid),
        // Rules.
        (route, "/rules", json!([]), "spec.rules", Kind::Invalid),
        (route, "/rules", many(17, json!({})), "spec.rules", Kind::TooMany),
        (route, "/rules", json!({}), "spec.rules", Kind::Invalid),
        (route, "/rules/0/name", json!("Not A Name"), "spec.rules[0].name", Kind::Invalid),
        (route, "/rules/0/timeouts", json!({ "request": "5 s" }), "spec.rules[0].timeouts.request", Kind::Invalid),
        (
            route,
            "/rules/0/timeouts",
            json!({ "request": "1s", "backendRequest": "1500ms" }),
            "spec.rules[0].timeouts",
            Kind::Invalid,
        ),
        // Backends.
        (route, "/rules/0/backendRefs/0", json!({ "name": "v1" }), "spec.rules[0].backendRefs[0]", Kind::Invalid),
        (route, "/rules/0/backendRefs/1/port", json!(0), "spec.rules[0].backendRefs[1].port", Kind::Invalid),
        (route, "/rules/0/backendRefs/1/port", json!(70_000), "spec.rules[0].backendRefs[1].port", Kind::Invalid),
        (route, "/rules/0/backendRefs/1/port", json!("http"), "spec.rules[0].backendRefs[1].port", Kind::Invalid),
        (route, "/rules/0/backendRefs/1/weight", json!(-1), "spec.rules[0].backendRefs[1].weight", Kind::Invalid),
        (
            route,
            "/rules/0/backendRefs/1/weight",
            json!(1_000_001),
            "spec.rules[0].backendRefs[1].weight",
            Kind::Invalid,
        ),
        (
            route,
            "/rules/0/backendRefs",
            many(17, json!({ "name": "v", "port": 1 })),
            "spec.rules[0].backendRefs",
            Kind::TooMany,
        ),
        // Filters.
        (
            route,
            "/rules/0/filters",
            filter(json!({ "type": "Nope" })),
            "spec.rules[0].filters[0].type",
            Kind::NotSupported,
        ),
        (route, "/rules/0/filters", filter(json!({ "type": "URLRewrite" })), "spec.rules[0].filters[0]", Kind::Invalid),
        (
            route,
            "/rules/0/filters",
            filter(
                json!({ "type": "URLRewrite", "urlRewrite": {}, "requestMirror": { "backendRef": { "name": "m", "port": 1 } } }),
            ),
            "spec.rules[0].filters[0]",
            Kind::Invalid,
        ),
        (
            route,
            "/rules/0/filters",
            many(2, json!({ "type": "RequestHeaderModifier", "requestHeaderModifier": {} })),
            "spec.rules[0].filters",
            Kind::Invalid,
        ),
        (
            route,
            "/rules/0",
            json!({ "filters": [
                { "type": "RequestRedirect", "requestRedirect": {} }, { "type": "URLRewrite", "urlRewrite": {} },
            ] }),
            "spec.rules[0].filters",
            Kind::Invalid,
        ),
        (
            route,
            "/rules/0/filters",
            filter(json!({ "type": "RequestRedirect", "requestRedirect": {} })),
            "spec.rules[0]",
            Kind::Invalid,
        ),
        (
            route,
            "/rules/0",
            json!({
                "matches": [{ "path": { "type": "Exact", "value": "/a" } }],
                "filters": [redirect(json!({ "type": "ReplacePrefixMatch", "replacePrefixMatch": "/b" }))],
            }),
            "spec.rules[0]",
            Kind::Invalid,
        ),
        (
            route,
            "/rules/0",
            json!({ "filters": [redirect(json!({ "type": "ReplaceFullPath" }))] }),
            "spec.rules[0].filters[0].requestRedirect.path",
            Kind::Invalid,
        ),
        (
            route,
            "/rules/0",
            json!({ "filters": [{ "type": "RequestRedirect", "requestRedirect": { "statusCode": 304 } }] }),
            "spec.rules[0].filters[0].requestRedirect.statusCode",
            Kind::NotSupported,
        ),
        (
            route,
            "/rules/0",
            json!({ "filters": [{ "type": "RequestRedirect", "requestRedirect": { "hostname": "*.example.com" } }] }),
            "spec.rules[0].filters[0].requestRedirect.hostname",
            Kind::Invalid,
        ),
        (
            route,
            "/rules/0/filters",
            filter(json!({ "type": "RequestMirror", "requestMirror": { "backendRef": { "name": "m" } } })),
            "spec.rules[0].filters[0].requestMirror.backendRef",
            Kind::Invalid,
        ),
        (
            route,
            "/rules/0/filters",
            filter(json!({ "type": "RequestMirror", "requestMirror": {
                "backendRef": { "name": "m", "port": 1 }, "percent": 5, "fraction": { "numerator": 1 },
            } })),
            "spec.rules[0].filters[0].requestMirror",
            Kind::Invalid,
        ),
        (
            route,
            "/rules/0/filters",
            filter(json!({ "type": "CORS", "cors": { "allowOrigins": ["*", "https://a.example"] } })),
            "spec.rules[0].filters[0].cors.allowOrigins",
            Kind::Invalid,
        ),
        // Parents and hostnames.
        (route, "/hostnames", json!(["App.example.com"]), "spec.hostnames[0]", Kind::Invalid),
        (route, "/hostnames", json!(["a.*.com"]), "spec.hostnames[0]", Kind::Invalid),
        (route, "/hostnames", many(17, json!("a.example.com")), "spec.hostnames", Kind::TooMany),
        (route, "/parentRefs", json!([{ "name": "gw" }, { "name": "gw" }]), "spec.parentRefs", Kind::Invalid),
        (
            route,
            "/parentRefs",
            json!([{ "name": "gw", "sectionName": "a" }, { "name": "gw" }]),
            "spec.parentRefs",
            Kind::Invalid,
        ),
        (route, "/parentRefs", json!([{ "namespace": "x" }]), "spec.parentRefs[0].name", Kind::Required),
        (
            route,
            "/parentRefs",
            json!([{ "name": "gw", "namespace": "X" }]),
            "spec.parentRefs[0].namespace",
            Kind::Invalid,
        ),
        // Gateways.
        (gateway, "/listeners", json!([]), "spec.listeners", Kind::Invalid),
        (gateway, "/listeners/1/name", json!("http"), "spec.listeners[1]", Kind::Duplicate),
        (
            gateway,
            "/listeners/1",
            json!({ "name": "again", "port": 80, "protocol": "HTTP" }),
            "spec.listeners",
            Kind::Invalid,
        ),
        (gateway, "/listeners/0/tls", json!({ "certificateRefs": [{ "name": "c" }] }), "spec.listeners", Kind::Invalid),
        (
            gateway,
            "/listeners/1/tls",
            json!({ "mode": "Passthrough", "certificateRefs": [{ "name": "c" }] }),
            "spec.listeners",
            Kind::Invalid,
        ),
        (gateway, "/listeners/1/tls", json!({}), "spec.listeners[1].tls", Kind::Invalid),
        (
            gateway,
            "/listeners/1/tls/options",
            json!({ "a": { "b": "c" } }),
            "spec.listeners[1].tls.options.a",
            Kind::Invalid,
        ),
        (
            gateway,
            "/listeners/1",
            json!({ "name": "db", "port": 3306, "protocol": "TCP", "hostname": "db.example.com" }),
            "spec.listeners",
            Kind::Invalid,
        ),
        (
            gateway,
            "/listeners/1",
            json!({ "name": "t", "port": 1, "protocol": "TLS" }),
            "spec.listeners",
            Kind::Invalid,
        ),
        (gateway, "/listeners/0/port", json!(65536), "spec.listeners[0].port", Kind::Invalid),
        (gateway, "/listeners/0/protocol", json!("HT TP"), "spec.listeners[0].protocol", Kind::Invalid),
        (
            gateway,
            "/listeners/0/allowedRoutes",
            json!({ "namespaces": { "from": "Some" } }),
            "spec.listeners[0].allowedRoutes.namespaces.from",
            Kind::NotSupported,
        ),
        (gateway, "/addresses", json!([{ "value": "10.0.0" }]), "spec.addresses[0]", Kind::Invalid),
        (
            gateway,
            "/addresses",
            json!([{ "value": "10.0.0.1" }, { "value": "10.0.0.1" }]),
            "spec.addresses",
            Kind::Invalid,
        ),
        (gateway, "/addresses", json!([{ "type": "Hostname", "value": "-" }]), "spec.addresses[0]", Kind::Invalid),
        (gateway, "/infrastructure", json!({ "labels": { "a b": "c" } }), "spec.infrastructure.labels", Kind::Invalid),
        (gateway, "/gatewayClassName", json!(""), "spec.gatewayClassName", Kind::Invalid),
        (
            gateway,
            "/tls",
            json!({ "frontend": { "default": {}, "perPort": [{ "port": 443, "tls": { "validation": {} } }] } }),
            "spec.tls.frontend.perPort[0].tls.validation.caCertificateRefs",
            Kind::Required,
        ),
        // The others.
        ("GatewayClass", "/controllerName", json!("gwproxy"), "spec.controllerName", Kind::Invalid),
        ("GatewayClass", "/description", json!("x".repeat(65)), "spec.description", Kind::TooLong),
        (
            "GatewayClass",
            "/parametersRef",
            json!({ "group": "", "kind": "ConfigMap" }),
            "spec.parametersRef.name",
            Kind::Required,
        ),
        ("ReferenceGrant", "/from", json!([]), "spec.from", Kind::Invalid),
        ("ReferenceGrant", "/to", json!([{ "group": "" }]), "spec.to[0].kind", Kind::Required),
        ("ReferenceGrant", "/from/0/namespace", json!("*"), "spec.from[0].namespace", Kind::Invalid),
        ("GRPCRoute", "/rules/0/matches/0/method", json!({}), "spec.rules[0].matches[0].method", Kind::Invalid),
        (
            "GRPCRoute",
            "/rules/0/matches/0/method",
            json!({ "service": "a-b" }),
            "spec.rules[0].matches[0].method",
            Kind::Invalid,
        ),
        ("TCPRoute", "/rules", json!([{ "backendRefs": [] }]), "spec.rules[0].backendRefs", Kind::Invalid),
        ("UDPRoute", "/rules/0/backendRefs/0", json!({ "name": "a" }), "spec.rules[0].backendRefs[0]", Kind::Invalid),
        ("TLSRoute", "/hostnames", json!(["10.0.0.1"]), "spec.hostnames", Kind::Invalid),
        ("ListenerSet", "/listeners/0/tls", json!({ "options": { "a": "b" } }), "spec.listeners", Kind::Invalid),
        ("BackendTLSPolicy", "/validation", json!({ "hostname": "a.example" }), "spec.validation", Kind::Invalid),
        (
            "BackendTLSPolicy",
            "/validation/subjectAltNames",
            json!([{ "type": "URI", "hostname": "a" }]),
            "spec.validation.subjectAltNames[0]",
            Kind::Invalid,
        ),
    ]
}
