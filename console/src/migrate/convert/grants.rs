//! Leave to refer to Services of other namespaces.

use serde_json::json;

use super::{Conversion, Made};
use crate::migrate::gateways::API;

impl Conversion<'_> {
    pub(super) fn service_grants(&mut self) {
        for ((namespace, from), services) in std::mem::take(&mut self.grants) {
            // A grant has at most 16 targets.
            for some in services.iter().collect::<Vec<_>>().chunks(16) {
                let name = self.name("ReferenceGrant", &namespace, &format!("routes-of-{from}"));
                let to: Vec<_> =
                    some.iter().map(|name| json!({"group": "", "kind": "Service", "name": name})).collect();
                self.made.push(Made {
                    value: json!({"apiVersion": API, "kind": "ReferenceGrant", "metadata": {"name": name, "namespace": namespace},
                        "spec": {"from": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": from}], "to": to}}),
                    from: Vec::new(),
                });
            }
        }
    }
}
