//! What gwproxy promises to whoever watches it: metric names, labels, annotation keys,
//! admin paths. The console reads the same constants. Standard library only.

/// `GatewayClass.spec.controllerName` of this implementation.
pub const CONTROLLER_NAME: &str = "gwtop.dev/gwproxy";
/// Field manager of the status writer.
pub const STATUS_MANAGER: &str = "gwproxy-status";
/// Annotation on a Gateway that names the URL of the process' metrics, where the
/// implementation is not a Pod (host provisioner).
pub const METRICS_URL_ANNOTATION: &str = "gwtop.dev/metrics-url";

/// Annotation on a Gateway: ports whose connections begin with a PROXY header, such as `80,443`.
/// One that does not is refused. Not for UDP.
pub const ACCEPT_PROXY_ANNOTATION: &str = "gwtop.dev/accept-proxy-protocol";
/// Annotation on a Service: connections to it begin with a PROXY header of this version, `v1` or
/// `v2`, and serve one client each. Not for UDP.
pub const SEND_PROXY_ANNOTATION: &str = "gwtop.dev/send-proxy-protocol";

pub mod admin {
    pub const METRICS: &str = "/metrics";
    pub const READY: &str = "/readyz";
    pub const LIVE: &str = "/livez";
    pub const TABLE: &str = "/table";
}

pub mod metric {
    pub const REQUESTS: &str = "gwproxy_requests_total";
    pub const REQUEST_DURATION: &str = "gwproxy_request_duration_seconds";
    pub const REQUEST_BYTES: &str = "gwproxy_request_bytes_total";
    pub const RESPONSE_BYTES: &str = "gwproxy_response_bytes_total";
    pub const REQUESTS_IN_FLIGHT: &str = "gwproxy_requests_in_flight";
    /// Of TCPRoutes and TLSRoutes; of UDPRoutes the flows, by client address.
    pub const CONNECTIONS: &str = "gwproxy_connections_total";
    pub const CONNECTIONS_IN_FLIGHT: &str = "gwproxy_connections_in_flight";
    pub const UPSTREAM_CONNECTS: &str = "gwproxy_upstream_connects_total";
    pub const UPSTREAM_FAILURES: &str = "gwproxy_upstream_failures_total";
    pub const UPSTREAM_RETRIES: &str = "gwproxy_upstream_retries_total";
    pub const ACTIVE_CONNECTIONS: &str = "gwproxy_active_connections";
    pub const TLS_HANDSHAKES: &str = "gwproxy_tls_handshakes_total";
    pub const CERTIFICATE_EXPIRY: &str = "gwproxy_certificate_expiry_timestamp_seconds";
    pub const CONFIG_GENERATION: &str = "gwproxy_config_generation";
    pub const CONFIG_APPLY: &str = "gwproxy_config_apply_seconds";
    pub const ACCEPTED_ROUTES: &str = "gwproxy_accepted_routes";
    pub const REQUESTS_MIRRORED: &str = "gwproxy_requests_mirrored_total";
    pub const ACCESS_LOG_DROPPED: &str = "gwproxy_access_log_dropped_total";
}

pub mod label {
    pub const GATEWAY_NAMESPACE: &str = "gateway_namespace";
    pub const GATEWAY: &str = "gateway";
    pub const LISTENER: &str = "listener";
    pub const ROUTE_KIND: &str = "route_kind";
    pub const ROUTE_NAMESPACE: &str = "route_namespace";
    pub const ROUTE: &str = "route";
    /// Index of the rule in `spec.rules`, from 0.
    pub const RULE: &str = "rule";
    pub const BACKEND_NAMESPACE: &str = "backend_namespace";
    pub const BACKEND: &str = "backend";
    pub const BACKEND_PORT: &str = "backend_port";
    /// HTTP status code, on `requests_total` only.
    pub const CODE: &str = "code";
    /// Why no rule or no backend took a request, or why an upstream failed.
    pub const REASON: &str = "reason";
    /// How a TLS handshake ended: `ok`, `failed` or `timeout`.
    pub const RESULT: &str = "result";
    /// Namespace and name of the Secret that a certificate is in.
    pub const SECRET: &str = "secret";
}

/// Values of [`label::REASON`] on `requests_total` and `connections_total`.
pub mod unmatched {
    pub const NO_LISTENER: &str = "no_listener";
    pub const NO_RULE: &str = "no_rule";
    pub const NO_BACKEND: &str = "no_backend";
}

/// Recorded for a request whose client left before the head of the response was sent.
pub const CLIENT_CLOSED_REQUEST: u16 = 499;

/// Upper bounds of `request_duration_seconds`, in seconds.
pub const DURATION_BUCKETS: [f64; 16] =
    [0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
