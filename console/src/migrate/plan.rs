//! The way from the old controller to the Gateways: phases, each with its gate, its way back and
//! the commands.

use super::Migration;

/// Markdown. `manifests` is where the output was written.
pub fn markdown(migration: &Migration, manifests: &str) -> String {
    let options = &migration.options;
    let (namespace, name) = (&options.gateway_namespace, &options.gateway_name);
    let gateways: Vec<String> = migration
        .objects
        .iter()
        .filter(|made| made.value["kind"] == "Gateway")
        .map(|made| {
            format!(
                "{}/{}",
                made.value["metadata"]["namespace"].as_str().unwrap_or_default(),
                made.value["metadata"]["name"].as_str().unwrap_or_default()
            )
        })
        .collect();
    let gateways = if gateways.is_empty() { format!("{namespace}/{name}") } else { gateways.join(", ") };
    let mut namespaces: Vec<&str> = Vec::new();
    let mut certificates = Vec::new();
    for ingress in &migration.input.ingresses {
        if !namespaces.contains(&ingress.namespace.as_str()) {
            namespaces.push(&ingress.namespace);
        }
        let fields = ingress.node.at(&["metadata", "annotations"]).map(crate::yaml::Node::fields).unwrap_or_default();
        if fields.iter().any(|(name, ..)| name.contains("cert-manager.io/") || name == "kubernetes.io/tls-acme") {
            certificates.push(ingress.key());
        }
    }
    let removal: String = migration
        .input
        .ingresses
        .iter()
        .map(|one| format!("kubectl -n {} delete ingress {}\n", one.namespace, one.name))
        .collect();
    let backup: String =
        namespaces.iter().map(|one| format!("kubectl -n {one} get ingress -o yaml > ingress-{one}.yaml\n")).collect();
    let mut text = format!(
        "# From Ingress to Gateway API\n\n{} Ingresses, fidelity {:.1} %. Gateways: {gateways}.\n\n\
         ## 1. Deploy\n\n```\nkubectl create namespace {namespace} --dry-run=client -o yaml | kubectl apply -f -\n\
         kubectl apply --server-side --dry-run=server -f {manifests}\nkubectl apply --server-side -f {manifests}\n```\n\n\
         - Gate: `gwtop status -A` exits 0, and every manual entry of the report is done.\n\
         - Back: `kubectl delete -f {manifests}`. Nothing uses the Gateways yet.\n\n\
         ## 2. Run both\n\n```\ngwtop migrate -A --replay access.log --prove > /dev/null\n```\n\n\
         access.log is the old controller's. Then send the same requests to both addresses (`curl --connect-to`) and compare.\n\n\
         - Gate: no difference without a reason.\n- Back: as before; clients still use the old controller.\n\n\
         ## 3. Shift\n\nGive the Gateway's address a small share in DNS (or at the load balancer): 1 %, 10 %, 50 %, 100 %, each for at least the TTL.\n\n```\ngwtop status -A\n```\n\n\
         - Gate: errors and durations of each step are those of the old controller.\n- Back: give the share back; old and new serve the same.\n\n\
         ## 4. Soak\n\nA week at 100 %, the old controller running without traffic.\n\n\
         - Gate: the old controller's access log is empty but for health checks.\n- Back: as in 3.\n\n\
         ## 5. Delete\n\n```\n{backup}{removal}```\n\n\
         - Gate: `kubectl get ingress -A` shows none of the migrated class.\n- Back: apply the files that were just written.\n",
        migration.input.ingresses.len(),
        100.0 * migration.fidelity(),
    );
    if !certificates.is_empty() {
        text += &format!(
            "\n**Certificates.** cert-manager deletes a Certificate with the Ingress that it was made for: {}. Put the cert-manager annotation on the Gateway, wait until `kubectl get certificate -A` says Ready for it, and only then delete the Ingress. The Secret of a deleted Certificate is no longer renewed.\n",
            certificates.join(", ")
        );
    }
    text
}
