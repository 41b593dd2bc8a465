//! Who else writes a route. Pure: an object in, names and recipes out.
//!
//! `rules` and `backendRefs` are atomic lists: whoever applies the route from elsewhere puts
//! all weights back, and a controller of another canary steps them its own way.

use serde_json::Value;

/// Another writer, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    pub name: &'static str,
    pub seen: String,
    pub recipe: String,
}

/// Everything that would undo or fight a canary's writes.
pub fn owners(route: &Value) -> Vec<Owner> {
    let metadata = &route["metadata"];
    let annotation = |name: &str| metadata["annotations"][name].as_str();
    let label = |name: &str| metadata["labels"][name].as_str();
    let manager = |wanted: &str| {
        metadata["managedFields"].as_array().into_iter().flatten().any(|entry| {
            entry["manager"].as_str().is_some_and(|manager| manager.contains(wanted))
                && entry.get("subresource").is_none()
        })
    };
    let mut found = Vec::new();
    let mut add = |name, seen: String, recipe: String| found.push(Owner { name, seen, recipe });
    let application = annotation("argocd.argoproj.io/tracking-id").map(|id| id.split(':').next().unwrap_or(id));
    if application.is_some() || manager("argocd") {
        let name = application.unwrap_or("APPLICATION");
        add(
            "Argo CD",
            format!("application {name}"),
            format!(
                "switch self-heal off for the run: `argocd app set {name} --self-heal=false`, or add to the Application \
                 spec.ignoreDifferences for this route with jqPathExpressions [\".spec.rules[].backendRefs[].weight\"] \
                 and the sync option RespectIgnoreDifferences=true"
            ),
        );
    }
    let paused = annotation("kustomize.toolkit.fluxcd.io/reconcile") == Some("disabled");
    if let Some(name) = label("kustomize.toolkit.fluxcd.io/name").filter(|_| !paused) {
        let namespace = label("kustomize.toolkit.fluxcd.io/namespace").unwrap_or("flux-system");
        add(
            "Flux",
            format!("Kustomization {namespace}/{name}"),
            format!(
                "`flux suspend kustomization {name} -n {namespace}` for the run, or annotate the route \
                 kustomize.toolkit.fluxcd.io/reconcile=disabled"
            ),
        );
    }
    if let Some(name) = label("helm.toolkit.fluxcd.io/name") {
        let namespace = label("helm.toolkit.fluxcd.io/namespace").unwrap_or("flux-system");
        add(
            "Flux",
            format!("HelmRelease {namespace}/{name}"),
            format!("`flux suspend helmrelease {name} -n {namespace}` for the run"),
        );
    }
    let owner = metadata["ownerReferences"].as_array().into_iter().flatten();
    for owner in owner {
        let (kind, name) = (owner["kind"].as_str().unwrap_or_default(), owner["name"].as_str().unwrap_or_default());
        if kind == "Canary" {
            add(
                "Flagger",
                format!("Canary {name}"),
                format!(
                    "Flagger makes this route and steps it: set spec.suspend of Canary {name} to true, or let Flagger do it"
                ),
            );
        } else if owner["controller"] == Value::Bool(true) {
            add(
                "its owner",
                format!("{kind} {name}"),
                format!("change the route through {kind} {name}, which writes it"),
            );
        }
    }
    if manager("flagger") && !found.iter().any(|owner| owner.name == "Flagger") {
        found.push(Owner {
            name: "Flagger",
            seen: "field manager flagger".to_owned(),
            recipe: "suspend its Canary, or let Flagger do it".to_owned(),
        });
    }
    let rollouts = label("rollouts.argoproj.io/gatewayapi-canary").is_some() || manager("rollouts");
    if rollouts {
        found.push(Owner {
            name: "Argo Rollouts",
            seen: "a Rollout in progress".to_owned(),
            recipe: "`kubectl argo rollouts abort ROLLOUT`, or let the Rollout do it".to_owned(),
        });
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn names(metadata: Value) -> Vec<&'static str> {
        owners(&json!({"metadata": metadata})).into_iter().map(|owner| owner.name).collect()
    }

    #[test]
    fn writers_are_named_with_a_recipe() {
        let none: [&str; 0] = [];
        assert_eq!(names(json!({"labels": {"app": "x"}, "managedFields": [{"manager": "kubectl"}]})), none);
        let id = "shop:gateway.networking.k8s.io/HTTPRoute:shop/app";
        let argo = owners(&json!({"metadata": {"annotations": {"argocd.argoproj.io/tracking-id": id}}}));
        assert_eq!(argo[0].name, "Argo CD");
        assert!(argo[0].recipe.contains("argocd app set shop"));
        assert_eq!(names(json!({"managedFields": [{"manager": "argocd-controller"}]})), ["Argo CD"]);
        let flux = json!({"kustomize.toolkit.fluxcd.io/name": "apps"});
        assert_eq!(names(json!({"labels": flux})), ["Flux"]);
        let off = json!({"kustomize.toolkit.fluxcd.io/reconcile": "disabled"});
        assert_eq!(names(json!({"labels": flux, "annotations": off})), none);
        assert_eq!(names(json!({"labels": {"helm.toolkit.fluxcd.io/name": "x"}})), ["Flux"]);
        assert_eq!(
            names(
                json!({"ownerReferences": [{"kind": "Canary", "name": "app"}], "managedFields": [{"manager": "flagger"}]})
            ),
            ["Flagger"]
        );
        assert_eq!(
            names(json!({"labels": {"rollouts.argoproj.io/gatewayapi-canary": "in-progress"}})),
            ["Argo Rollouts"]
        );
        assert_eq!(
            names(json!({"ownerReferences": [{"kind": "Shop", "name": "a", "controller": true}]})),
            ["its owner"]
        );
        // A status writer owns no weights.
        assert_eq!(names(json!({"managedFields": [{"manager": "argocd", "subresource": "status"}]})), none);
    }
}
