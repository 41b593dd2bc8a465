//! The folder of manifests against the API itself: fields have owners.

use super::super::seed;
use super::*;

fn file(header: &str, more: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata:\n  name: r\n{more}spec:\n  hostnames: \
         [{header}.example]\n  rules:\n  - backendRefs:\n    - {{name: a, port: 80, weight: 90}}\n    - {{name: b, port: 80, \
         weight: 10}}\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_owns_what_it_names_and_overwrites_nobody() {
    let home = Home::start().await;
    let folder = tempfile::tempdir().unwrap();
    let path = format!("{ROUTES}/r");
    let load = async |name: &str, content: &str| {
        std::fs::write(folder.path().join(name), content).unwrap();
        let problems = seed::load(&home.client, folder.path()).await.problems;
        problems.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let get = async || home.send("GET", &path, &[], "").await.1;
    assert_eq!(load("r.yaml", &file("one", "  labels: {tier: front}\n")).await, [""; 0]);
    let owners = get().await["metadata"]["managedFields"].clone();
    let entry = &owners.as_array().unwrap()[0];
    assert_eq!((&entry["manager"], &entry["operation"]), (&json!("gwtop-manifests"), &json!("Apply")), "{owners}");
    assert!(entry["fieldsV1"]["f:metadata"]["f:labels"]["f:tier"].is_object(), "{owners}");

    let step = json!([
        {"op": "replace", "path": "/spec/rules/0/backendRefs/0/weight", "value": 70},
        {"op": "replace", "path": "/spec/rules/0/backendRefs/1/weight", "value": 30},
        {"op": "add", "path": "/metadata/labels/by", "value": "operator"},
    ]);
    let patch = [("content-type", "application/json-patch+json")];
    assert_eq!(home.send("PATCH", &format!("{path}?fieldManager=gwtop"), &patch, step.to_string()).await.0, 200);
    let before = get().await;
    assert_eq!(load("bad.yaml", "kind: [").await.len(), 1);
    assert_eq!(get().await, before, "an unchanged file writes nothing, whatever is beside it");

    // The file changes elsewhere, and drops a label that was its own.
    assert_eq!(load("r.yaml", &file("two", "")).await.len(), 1);
    let after = get().await;
    let weight = |at: usize| after["spec"]["rules"][0]["backendRefs"][at]["weight"].clone();
    assert_eq!((weight(0), weight(1)), (json!(70), json!(30)));
    assert_eq!(after["spec"]["hostnames"], json!(["two.example"]));
    assert_eq!(after["metadata"]["labels"], json!({"by": "operator"}));
}
