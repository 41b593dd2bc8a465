//! Implementations that output is made for, by what their conformance reports for v1.6 claim.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Profile {
    pub name: &'static str,
    /// GatewayClass unless one is named.
    pub class: &'static str,
    pub cors: bool,
    pub timeouts: bool,
    /// 308 on redirects; 301 is everywhere.
    pub code_308: bool,
}

const fn profile(name: &'static str, class: &'static str, cors: bool, timeouts: bool, code_308: bool) -> Profile {
    Profile { name, class, cors, timeouts, code_308 }
}

pub const PROFILES: &[Profile] = &[
    profile("standard", "gateway", true, true, true),
    profile("gwproxy", "gwproxy", true, true, true),
    profile("envoy-gateway", "envoy-gateway", true, true, true),
    profile("nginx-gateway-fabric", "nginx", true, false, true),
    profile("istio", "istio", true, true, true),
    profile("cilium", "cilium", true, true, true),
    profile("kgateway", "kgateway", true, true, true),
    profile("agentgateway", "agentgateway", true, true, true),
    profile("traefik", "traefik", false, false, true),
    profile("kong", "kong", false, false, false),
    profile("higress", "higress", false, false, false),
    profile("gke", "gke-l7-global-external-managed", false, false, false),
];

pub fn find(name: &str) -> Option<Profile> {
    PROFILES.iter().copied().find(|one| one.name == name)
}
