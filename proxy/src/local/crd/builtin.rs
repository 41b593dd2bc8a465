//! The kinds of the Gateway API, which are served from the project's own types, as definitions:
//! clients look at those to learn which version and channel a cluster has.

use serde_json::{Value, json};

use super::key;
use crate::local::kinds::{Kind, Registry};
use crate::local::status::StatusError;
use crate::local::store::Txn;
use crate::local::verbs::{self, Resources};
use crate::types;

const BUNDLE: &str = "gateway.networking.k8s.io/bundle-version";
const CHANNEL: &str = "gateway.networking.k8s.io/channel";
const APPROVED: &str = "api-approved.kubernetes.io";
const APPROVAL: &str = "https://github.com/kubernetes-sigs/gateway-api/pull/4530";
/// On definitions that describe what is built in. It goes when somebody registers another spec.
const MARK: &str = "gwtop.dev/built-in";

pub(super) fn is_marked(crd: &Value) -> bool {
    crd["metadata"]["annotations"][MARK] == "true"
}

/// The definition is a user's from now on.
pub(super) fn unmark(crd: &mut Value) {
    if let Some(annotations) = crd["metadata"]["annotations"].as_object_mut() {
        annotations.remove(MARK);
    }
}

/// Stores the definitions of what is built in, where nobody has registered another.
pub(in crate::local) async fn describe(resources: &Resources) -> Result<(), StatusError> {
    let kinds = Registry::builtin().all().into_iter().filter(|kind| kind.group == types::GROUP);
    let wanted: Vec<(String, Value)> = kinds
        .filter_map(|kind| {
            let schema = resources.admit.schema_of(&kind.group, "", &kind.kind)?;
            Some((kind.resource(), definition(&kind, schema)))
        })
        .collect();
    let change = move |txn: &mut Txn<'_>| {
        for (name, mut crd) in wanted {
            let key = key(&name);
            match txn.get(&key) {
                Some(old) if !is_marked(&old) || old["spec"] == crd["spec"] => {}
                Some(old) => {
                    // This release's kinds are not the last one's.
                    let mut new = (*old).clone();
                    new["spec"] = crd["spec"].take();
                    new["metadata"]["annotations"] = crd["metadata"]["annotations"].take();
                    let generation = old["metadata"]["generation"].as_i64().unwrap_or(0);
                    new["metadata"]["generation"] = (generation + 1).into();
                    txn.put(key, new);
                }
                None => {
                    crd["metadata"]["uid"] = uuid::Uuid::new_v4().to_string().into();
                    crd["metadata"]["creationTimestamp"] = verbs::now().into();
                    txn.put(key, crd);
                }
            }
        }
        Ok(())
    };
    resources.store.transact(false, change).await
}

fn definition(kind: &Kind, mut schema: Value) -> Value {
    // The stored one comes first in a kind's list.
    schema["properties"]["metadata"] = json!({"type": "object"});
    let version = |name: &String| {
        let mut version = json!({
            "name": name, "served": true, "storage": *name == kind.storage,
            "schema": {"openAPIV3Schema": schema},
            "additionalPrinterColumns": kind.columns.iter().filter_map(|column| column.definition()).collect::<Vec<_>>(),
        });
        if kind.has_status {
            version["subresources"] = json!({"status": {}});
        }
        version
    };
    let mut names = json!({
        "plural": kind.plural, "singular": kind.singular, "kind": kind.kind, "listKind": kind.list_kind(),
        "categories": kind.categories,
    });
    if !kind.short_names.is_empty() {
        names["shortNames"] = json!(kind.short_names);
    }
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {
            "name": kind.resource(), "generation": 1,
            "annotations": {APPROVED: APPROVAL, BUNDLE: "v1.6.1", CHANNEL: "standard", MARK: "true"},
        },
        "spec": {
            "group": kind.group, "scope": if kind.namespaced { "Namespaced" } else { "Cluster" },
            "names": names, "conversion": {"strategy": "None"},
            "versions": kind.versions.iter().map(version).collect::<Vec<_>>(),
        },
        "status": {"storedVersions": [kind.storage]},
    })
}
