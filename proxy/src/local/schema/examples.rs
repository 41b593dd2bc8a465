//! The examples hold what the API takes, and the guide's own forms are refused where they say.

use std::{collections::BTreeSet, path::Path};

use serde_json::json;

use super::tests::SCHEMAS;
use crate::local::{
    admit::{Admit, Admitted},
    seed,
};

fn examples() -> impl Iterator<Item = (String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets/examples");
    let folders = std::fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
    folders.flat_map(|folder| std::fs::read_dir(folder).unwrap()).map(|entry| {
        let path = entry.unwrap().path();
        (
            path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap().display().to_string(),
            std::fs::read_to_string(path).unwrap(),
        )
    })
}

#[test]
fn every_example_is_admitted_as_it_stands() {
    let mut kinds = BTreeSet::new();
    for (file, content) in examples() {
        let (objects, problems) = seed::objects(&file, &content);
        assert_eq!(problems, [], "{file}");
        assert!(!objects.is_empty(), "{file} holds nothing");
        for mut object in objects {
            let kind = object["kind"].as_str().unwrap().to_owned();
            let group =
                object["apiVersion"].as_str().unwrap().rsplit_once('/').map_or("", |(group, _)| group).to_owned();
            assert_eq!(SCHEMAS.admit(&group, &kind, &mut object, None), Admitted::default(), "{file}: {kind}");
            kinds.insert(kind);
        }
    }
    let expected = ["EndpointSlice", "Gateway", "GatewayClass", "HTTPRoute", "Namespace", "ReferenceGrant", "Service"];
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), expected);
}

/// One document of the examples, with its text changed back to what the guide says.
fn original(file: &str, kind: &str, now: &str, then: &str) -> Vec<String> {
    let (_, content) = examples().find(|(path, _)| path.ends_with(file)).unwrap();
    assert!(content.contains(now), "{file} no longer holds {now:?}");
    let (objects, problems) = seed::objects(file, &content.replacen(now, then, 1));
    assert_eq!(problems, []);
    let mut object = objects.into_iter().find(|object| object["kind"] == kind).unwrap();
    let admitted = SCHEMAS.admit(crate::types::GROUP, kind, &mut object, None);
    let fields = admitted.errors.into_iter().map(|error| error.field).filter(|field| field != "<nil>");
    fields.chain(admitted.unknown).collect()
}

#[test]
fn headers_to_remove_are_names() {
    let fields = original("payment-route.yaml", "HTTPRoute", "- X-Internal-Debug", "- name: X-Internal-Debug");
    assert_eq!(fields, ["spec.rules[0].filters[0].requestHeaderModifier.remove[0]"]);
}

#[test]
fn tls_options_are_strings() {
    let options = "    allowedRoutes:\n      namespaces:\n        from: Selector\n        selector:\n          matchLabels:\n            \
                   gateway-access: \"allowed\"\n  - name: mysql-tcp";
    let nested = format!(
        "      options:\n        profile:\n          name: tls-profile\n          namespace: gateway-system\n{options}"
    );
    // The listener's tls stands right above its allowedRoutes.
    let now = format!("        namespace: cert-manager\n{options}");
    let then = format!("        namespace: cert-manager\n{nested}");
    assert_eq!(original("production-gateway.yaml", "Gateway", &now, &then), ["spec.listeners[1].tls.options.profile"]);
}

#[test]
fn path_types_are_named_as_the_api_names_them() {
    let fields = original("payment-route.yaml", "HTTPRoute", "type: Exact", "type: PathExact");
    assert_eq!(fields, ["spec.rules[1].matches[0].path.type"]);
}

#[test]
fn the_guides_other_mistakes_are_not_the_schemas() {
    // Admitted by any API server; the controller's status says what is wrong.
    let class = original(
        "gatewayclasses.yaml",
        "GatewayClass",
        "gwtop.dev/gwproxy",
        "gateway.envoyproxy.io/gateway-controller",
    );
    assert!(class.is_empty());
    let address = original("production-gateway.yaml", "Gateway", "127.0.64.100", "10.0.1.100");
    assert!(address.is_empty());
    let mut grant = json!({ "spec": {
        "from": [{ "group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": "payment" }],
        "to": [{ "group": "gateway.networking.k8s.io", "kind": "Gateway" }, { "group": "", "kind": "Secret" }],
    } });
    assert_eq!(SCHEMAS.admit(crate::types::GROUP, "ReferenceGrant", &mut grant, None), Admitted::default());
}
