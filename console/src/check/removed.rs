//! Versions of Kubernetes' own APIs that are gone or going: the deprecation guide as data.

use super::{seen::Seen, upgrade};
use crate::finding::{Finding, Object, Severity};

/// Group and version, kinds (all if empty), minor of 1 that does not have it, what takes its place.
const REMOVED: &[(&str, &[&str], u32, &str)] = &[
    ("extensions/v1beta1", &["DaemonSet", "Deployment", "ReplicaSet"], 16, "apps/v1"),
    ("extensions/v1beta1", &["NetworkPolicy"], 16, "networking.k8s.io/v1"),
    ("extensions/v1beta1", &["PodSecurityPolicy"], 16, "Pod Security Admission"),
    ("extensions/v1beta1", &["Ingress"], 22, "networking.k8s.io/v1"),
    ("apps/v1beta1", &[], 16, "apps/v1"),
    ("apps/v1beta2", &[], 16, "apps/v1"),
    ("networking.k8s.io/v1beta1", &["Ingress", "IngressClass"], 22, "networking.k8s.io/v1"),
    (
        "admissionregistration.k8s.io/v1beta1",
        &["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"],
        22,
        "admissionregistration.k8s.io/v1",
    ),
    ("apiextensions.k8s.io/v1beta1", &[], 22, "apiextensions.k8s.io/v1"),
    ("apiregistration.k8s.io/v1beta1", &[], 22, "apiregistration.k8s.io/v1"),
    ("authentication.k8s.io/v1beta1", &["TokenReview"], 22, "authentication.k8s.io/v1"),
    ("authorization.k8s.io/v1beta1", &[], 22, "authorization.k8s.io/v1"),
    ("certificates.k8s.io/v1beta1", &["CertificateSigningRequest"], 22, "certificates.k8s.io/v1"),
    ("coordination.k8s.io/v1beta1", &["Lease"], 22, "coordination.k8s.io/v1"),
    ("rbac.authorization.k8s.io/v1beta1", &[], 22, "rbac.authorization.k8s.io/v1"),
    ("scheduling.k8s.io/v1beta1", &[], 22, "scheduling.k8s.io/v1"),
    ("storage.k8s.io/v1beta1", &["CSIDriver", "CSINode", "StorageClass", "VolumeAttachment"], 22, "storage.k8s.io/v1"),
    ("batch/v1beta1", &["CronJob"], 25, "batch/v1"),
    ("discovery.k8s.io/v1beta1", &["EndpointSlice"], 25, "discovery.k8s.io/v1"),
    ("events.k8s.io/v1beta1", &["Event"], 25, "events.k8s.io/v1"),
    ("autoscaling/v2beta1", &[], 25, "autoscaling/v2"),
    ("autoscaling/v2beta2", &[], 26, "autoscaling/v2"),
    ("policy/v1beta1", &["PodDisruptionBudget"], 25, "policy/v1"),
    ("policy/v1beta1", &["PodSecurityPolicy"], 25, "Pod Security Admission"),
    ("node.k8s.io/v1beta1", &["RuntimeClass"], 25, "node.k8s.io/v1"),
    ("storage.k8s.io/v1beta1", &["CSIStorageCapacity"], 27, "storage.k8s.io/v1"),
    ("flowcontrol.apiserver.k8s.io/v1beta1", &[], 26, "flowcontrol.apiserver.k8s.io/v1"),
    ("flowcontrol.apiserver.k8s.io/v1beta2", &[], 29, "flowcontrol.apiserver.k8s.io/v1"),
    ("flowcontrol.apiserver.k8s.io/v1beta3", &[], 32, "flowcontrol.apiserver.k8s.io/v1"),
];

/// The release that lacks a version of a kind, and what to use.
fn gone(version: &str, kind: &str) -> Option<(u32, &'static str)> {
    let of = REMOVED.iter().find(|(known, kinds, ..)| *known == version && (kinds.is_empty() || kinds.contains(&kind)));
    of.map(|(.., minor, instead)| (*minor, *instead))
}

pub(super) fn used(seen: &Seen, target: (u32, u32)) -> Vec<Finding> {
    let mut found = Vec::new();
    for item in seen.all() {
        let mut told = Vec::new();
        for (version, from) in upgrade::written(item) {
            let Some((minor, instead)) = gone(&version, item.text("/kind")) else { continue };
            if told.contains(&version) {
                continue;
            }
            let is_gone = target >= (1, minor);
            // What a live object was once written as is history unless it is applied again.
            let history = from.starts_with("metadata.managedFields");
            let severity = match (is_gone, history) {
                (true, false) => Severity::Error,
                (true, true) => Severity::Warning,
                (false, _) => Severity::Warning,
            };
            let (major, of) = target;
            let title = match is_gone {
                true => format!("it is written as {version}, which {major}.{of} does not have (gone since 1.{minor})"),
                false => format!("it is written as {version}, which goes away in 1.{minor}"),
            };
            found.push(
                item.finding("PF004", severity, "apiVersion", title)
                    .evidence(from, version.clone())
                    .fix(format!("write it as {instead}")),
            );
            told.push(version);
        }
    }
    match &seen.requested {
        Some(Ok(requested)) => {
            for one in requested {
                let version =
                    if one.group.is_empty() { one.version.clone() } else { format!("{}/{}", one.group, one.version) };
                let mut parts = one.removed.split('.').map(|part| part.parse::<u32>().unwrap_or(u32::MAX));
                let removed = (parts.next().unwrap_or(u32::MAX), parts.next().unwrap_or(u32::MAX));
                let (severity, when) = match (one.removed.is_empty(), removed <= target) {
                    (true, _) => (Severity::Info, "deprecated".to_owned()),
                    (false, true) => (Severity::Error, format!("gone in {}", one.removed)),
                    (false, false) => (Severity::Warning, format!("goes away in {}", one.removed)),
                };
                let object = Object::new(&one.group, &one.resource, "", "");
                found.push(
                    Finding::new(
                        "PF004",
                        severity,
                        object,
                        format!("a client asks for {} of {version}: {when}", one.resource),
                    )
                    .evidence("metric apiserver_requested_deprecated_apis", "1 since the API server started")
                    .fix("the API server's audit log names the client"),
                );
            }
        }
        Some(Err(why)) if seen.live => found.push(
            Finding::new(
                "PF004",
                Severity::Unknown,
                Object::new("", "APIServer", "", ""),
                "which deprecated APIs clients ask for cannot be read",
            )
            .evidence("GET /metrics", why.clone())
            .fix("allow get of the non-resource URL /metrics"),
        ),
        _ => {}
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_gone_when_its_own_row_says_so() {
        assert_eq!(gone("networking.k8s.io/v1beta1", "Ingress"), Some((22, "networking.k8s.io/v1")));
        assert_eq!(gone("extensions/v1beta1", "Deployment"), Some((16, "apps/v1")));
        assert_eq!(gone("storage.k8s.io/v1beta1", "CSIStorageCapacity"), Some((27, "storage.k8s.io/v1")));
        assert_eq!(gone("networking.k8s.io/v1", "Ingress"), None);
    }
}
