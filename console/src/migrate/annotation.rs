//! The annotations of ingress-nginx and where they go. The table in the docs is made from this one.

pub const PREFIX: &str = "nginx.ingress.kubernetes.io/";

#[derive(Debug, Clone, Copy)]
pub struct Annotation {
    pub name: &'static str,
    pub standard: Standard,
    /// Where it goes, or what to do.
    pub how: &'static str,
    /// What an Envoy Gateway policy makes of it.
    pub envoy: Option<&'static str>,
}

/// What the standard channel has for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standard {
    /// Decided case by case by the conversion, which says so in the report.
    Converted,
    /// nginx' own tuning: nothing that a client could tell.
    Tuning,
    /// Behaviour that clients see or rely on, and the standard cannot say.
    Missing,
    /// As [`Standard::Missing`], and something protects itself by it.
    Protection,
}

const fn one(name: &'static str, standard: Standard, how: &'static str) -> Annotation {
    Annotation { name, standard, how, envoy: None }
}

const fn with(name: &'static str, standard: Standard, how: &'static str, envoy: &'static str) -> Annotation {
    Annotation { name, standard, how, envoy: Some(envoy) }
}

use Standard::{Converted, Missing, Protection, Tuning};

/// Sorted by name.
pub const TABLE: &[Annotation] = &[
    one(
        "affinity",
        Missing,
        "session persistence is experimental: keep sessions outside of the backend, or use a policy of the implementation",
    ),
    one("affinity-canary-behavior", Missing, "goes with affinity"),
    one("affinity-mode", Missing, "goes with affinity"),
    one("app-root", Converted, "rule Exact / with RequestRedirect 302"),
    one("auth-cache-duration", Protection, "goes with auth-url"),
    one("auth-cache-key", Protection, "goes with auth-url"),
    one("auth-method", Protection, "goes with auth-url"),
    one("auth-proxy-set-headers", Protection, "goes with auth-url"),
    one("auth-realm", Protection, "goes with auth-type"),
    one("auth-request-redirect", Protection, "goes with auth-url"),
    one("auth-response-headers", Protection, "goes with auth-url"),
    one("auth-secret", Protection, "goes with auth-type"),
    one("auth-secret-type", Protection, "goes with auth-type"),
    one("auth-signin", Protection, "goes with auth-url"),
    one("auth-signin-redirect-param", Protection, "goes with auth-url"),
    one("auth-snippet", Protection, "goes with auth-url"),
    one("auth-tls-error-page", Protection, "goes with auth-tls-secret"),
    one("auth-tls-match-cn", Protection, "goes with auth-tls-secret"),
    one("auth-tls-pass-certificate-to-upstream", Protection, "goes with auth-tls-secret"),
    one("auth-tls-secret", Protection, "set spec.tls.frontend of the Gateway: it holds for every host of the port"),
    one("auth-tls-verify-client", Protection, "goes with auth-tls-secret"),
    one("auth-tls-verify-depth", Protection, "goes with auth-tls-secret"),
    one("auth-type", Protection, "let the service or a policy of the implementation ask for the password"),
    one("auth-url", Protection, "external authorisation is experimental: use a policy of the implementation"),
    one(
        "backend-protocol",
        Converted,
        "GRPC: GRPCRoute; HTTPS: BackendTLSPolicy where a CA is named; HTTP: nothing to do",
    ),
    one("canary", Converted, "backendRefs with weights, rules with header matches"),
    one("canary-by-cookie", Converted, "rule with a regular expression on the cookie header"),
    one("canary-by-header", Converted, "rule with a header match"),
    one("canary-by-header-pattern", Converted, "rule with a regular expression on the header"),
    one("canary-by-header-value", Converted, "rule with a header match"),
    one("canary-weight", Converted, "backendRefs[].weight"),
    one("canary-weight-total", Converted, "backendRefs[].weight"),
    one("client-body-buffer-size", Tuning, ""),
    one("configuration-snippet", Converted, "fixed headers become header modifiers; anything else is manual"),
    one("connection-proxy-header", Missing, "Connection belongs to the proxy in the Gateway API"),
    one("cors-allow-credentials", Converted, "filters[].cors"),
    one("cors-allow-headers", Converted, "filters[].cors"),
    one("cors-allow-methods", Converted, "filters[].cors"),
    one("cors-allow-origin", Converted, "filters[].cors"),
    one("cors-expose-headers", Converted, "filters[].cors"),
    one("cors-max-age", Converted, "filters[].cors"),
    one("custom-headers", Missing, "copy the headers of the ConfigMap into a ResponseHeaderModifier"),
    one("custom-http-errors", Missing, "error pages have to come from the service"),
    one("default-backend", Missing, "answers of last resort have to come from the service"),
    with(
        "denylist-source-range",
        Protection,
        "use a policy of the implementation, or a firewall",
        "SecurityPolicy authorization",
    ),
    one("enable-access-log", Tuning, ""),
    one("enable-cors", Converted, "filters[].cors"),
    one("enable-modsecurity", Protection, "put a web application firewall before the Gateway"),
    one("enable-opentelemetry", Tuning, ""),
    one("enable-owasp-core-rules", Protection, "goes with enable-modsecurity"),
    one("enable-rewrite-log", Tuning, ""),
    one("force-ssl-redirect", Converted, "HTTPRoute on the HTTP listener with RequestRedirect to https"),
    one("from-to-www-redirect", Converted, "HTTPRoute of the other name with RequestRedirect"),
    one("http2-push-preload", Tuning, ""),
    one("limit-burst-multiplier", Protection, "goes with limit-rps and limit-rpm"),
    with("limit-connections", Protection, "use a policy of the implementation", "BackendTrafficPolicy"),
    one("limit-rate", Protection, "use a policy of the implementation"),
    one("limit-rate-after", Protection, "goes with limit-rate"),
    with("limit-rpm", Protection, "use a policy of the implementation", "BackendTrafficPolicy rateLimit"),
    with("limit-rps", Protection, "use a policy of the implementation", "BackendTrafficPolicy rateLimit"),
    one("limit-whitelist", Protection, "goes with limit-rps and limit-rpm"),
    one("load-balance", Tuning, ""),
    one("mirror-host", Missing, "a mirrored request keeps its Host"),
    one("mirror-request-body", Missing, "a mirrored request has its body"),
    one("mirror-target", Converted, "RequestMirror to the Service that the URL names"),
    one("modsecurity-snippet", Protection, "goes with enable-modsecurity"),
    one("modsecurity-transaction-id", Protection, "goes with enable-modsecurity"),
    one("permanent-redirect", Converted, "RequestRedirect"),
    one("permanent-redirect-code", Converted, "RequestRedirect statusCode"),
    one("preserve-trailing-slash", Tuning, ""),
    with(
        "proxy-body-size",
        Protection,
        "use a policy of the implementation, or let the service refuse",
        "ClientTrafficPolicy or BackendTrafficPolicy requestBuffer",
    ),
    one("proxy-buffer-size", Tuning, ""),
    one("proxy-buffering", Tuning, ""),
    one("proxy-buffers-number", Tuning, ""),
    one("proxy-busy-buffers-size", Tuning, ""),
    one("proxy-connect-timeout", Missing, "no standard field bounds connecting alone"),
    one("proxy-cookie-domain", Missing, "let the service set its cookies for the outer name"),
    one("proxy-cookie-path", Missing, "let the service set its cookies for the outer path"),
    one("proxy-http-version", Tuning, ""),
    one("proxy-max-temp-file-size", Tuning, ""),
    one("proxy-next-upstream", Missing, "retries are experimental"),
    one("proxy-next-upstream-timeout", Missing, "retries are experimental"),
    one("proxy-next-upstream-tries", Missing, "retries are experimental"),
    one("proxy-read-timeout", Converted, "timeouts.request, which bounds the whole request and not a pause"),
    one("proxy-redirect-from", Missing, "let the service make its redirects for the outer name"),
    one("proxy-redirect-to", Missing, "let the service make its redirects for the outer name"),
    one("proxy-request-buffering", Tuning, ""),
    one("proxy-send-timeout", Converted, "timeouts.request, which bounds the whole request and not a pause"),
    one("proxy-ssl-ciphers", Tuning, ""),
    one("proxy-ssl-name", Converted, "BackendTLSPolicy validation.hostname"),
    one("proxy-ssl-protocols", Tuning, ""),
    one("proxy-ssl-secret", Converted, "BackendTLSPolicy validation.caCertificateRefs"),
    one("proxy-ssl-server-name", Converted, "BackendTLSPolicy always sends the name"),
    one("proxy-ssl-verify", Converted, "BackendTLSPolicy always verifies"),
    one("proxy-ssl-verify-depth", Tuning, ""),
    one("relative-redirects", Missing, "redirects carry a whole URL"),
    one("rewrite-target", Converted, "URLRewrite; a prefix for the forms that only strip or add one"),
    one("satisfy", Protection, "goes with auth-type and the source ranges"),
    one("server-alias", Converted, "hostnames and listeners"),
    one("server-snippet", Converted, "fixed headers become header modifiers; anything else is manual"),
    one("service-upstream", Tuning, ""),
    one("session-cookie-change-on-failure", Missing, "goes with affinity"),
    one("session-cookie-conditional-samesite-none", Missing, "goes with affinity"),
    one("session-cookie-domain", Missing, "goes with affinity"),
    one("session-cookie-expires", Missing, "goes with affinity"),
    one("session-cookie-max-age", Missing, "goes with affinity"),
    one("session-cookie-name", Missing, "goes with affinity"),
    one("session-cookie-path", Missing, "goes with affinity"),
    one("session-cookie-samesite", Missing, "goes with affinity"),
    one("session-cookie-secure", Missing, "goes with affinity"),
    one("ssl-ciphers", Tuning, ""),
    one("ssl-passthrough", Converted, "TLSRoute and a listener that passes on"),
    one("ssl-prefer-server-ciphers", Tuning, ""),
    one("ssl-redirect", Converted, "HTTPRoute on the HTTP listener with RequestRedirect to https"),
    one("stream-snippet", Missing, "nothing speaks nginx' language"),
    one("temporal-redirect", Converted, "RequestRedirect"),
    one("temporal-redirect-code", Converted, "RequestRedirect statusCode"),
    one("upstream-hash-by", Missing, "consistent hashing is up to the implementation"),
    one("upstream-vhost", Converted, "urlRewrite.hostname"),
    one("use-regex", Converted, "paths of type RegularExpression"),
    with(
        "whitelist-source-range",
        Protection,
        "use a policy of the implementation, or a firewall",
        "SecurityPolicy authorization",
    ),
    one("x-forwarded-prefix", Converted, "RequestHeaderModifier, where a path is rewritten"),
];

pub fn find(name: &str) -> Option<&'static Annotation> {
    // allowlist-source-range is the newer name of the same.
    let name = if name == "allowlist-source-range" { "whitelist-source-range" } else { name };
    TABLE.iter().find(|one| one.name == name)
}

/// The table as the docs show it.
pub fn markdown() -> String {
    let mut text = String::from("| Annotation | Becomes | How |\n|---|---|---|\n");
    for one in TABLE {
        let becomes = match (one.standard, one.envoy) {
            (Converted, _) => "converted",
            (Tuning, _) => "dropped",
            (Missing, _) => "manual",
            (Protection, _) => "manual, protects",
        };
        let how = match (one.standard, one.envoy) {
            (Tuning, _) => "tunes nginx itself; clients see no difference".to_owned(),
            (_, Some(envoy)) => format!("{}; Envoy Gateway: {envoy}", one.how),
            _ => one.how.to_owned(),
        };
        text += &format!("| `{}` | {becomes} | {how} |\n", one.name);
    }
    text
}
