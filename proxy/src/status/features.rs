//! `GatewayClass.status.supportedFeatures`: what conformance tests may expect of us.

/// Sorted by name, as the API wants it. Names are those of the Gateway API's feature list.
pub const SUPPORTED: [&str; 22] = [
    "Gateway",
    "GatewayAddressEmpty",
    "GatewayPort8080",
    "GatewayStaticAddresses",
    "HTTPRoute",
    "HTTPRouteBackendProtocolH2C",
    "HTTPRouteBackendRequestHeaderModification",
    "HTTPRouteBackendTimeout",
    "HTTPRouteHostRewrite",
    "HTTPRouteMethodMatching",
    "HTTPRouteNamedRouteRule",
    "HTTPRouteParentRefPort",
    "HTTPRoutePathRedirect",
    "HTTPRoutePathRewrite",
    "HTTPRoutePortRedirect",
    "HTTPRouteQueryParamMatching",
    "HTTPRouteRequestMirror",
    "HTTPRouteRequestMultipleMirrors",
    "HTTPRouteRequestTimeout",
    "HTTPRouteResponseHeaderModification",
    "HTTPRouteSchemeRedirect",
    "ReferenceGrant",
];

#[cfg(test)]
mod tests {
    use super::SUPPORTED;

    #[test]
    fn sorted_and_without_doubles() {
        assert!(SUPPORTED.is_sorted_by(|a, b| a < b));
    }
}
