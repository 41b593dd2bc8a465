//! Kinds that are registered while the server runs.

use super::*;
use crate::local::schema::Schemas;

pub(super) const CRDS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const WIDGETS: &str = "/apis/example.com/v1/namespaces/default/widgets";
const JSON: (&str, &str) = ("content-type", "application/json");

pub(super) async fn home() -> Home {
    home_in(tempfile::tempdir().unwrap()).await
}

async fn home_in(dir: tempfile::TempDir) -> Home {
    let options = ApiOptions {
        service: Service::default(),
        listen: "127.0.0.1:0".parse().unwrap(),
        data: dir.path().join("data"),
        kubeconfig: dir.path().join("kubeconfig"),
        admit: Arc::new(Schemas::new().unwrap()),
    };
    let api = Api::start(options).await.unwrap();
    let client = Client::try_from(config(&api.kubeconfig).await).unwrap();
    Home { dir, api, client }
}

fn widgets() -> Value {
    let spec = json!({
        "type": "object",
        "required": ["size"],
        "properties": {
            "size": {"type": "integer", "minimum": 1, "maximum": 9},
            "color": {"type": "string", "default": "red", "enum": ["red", "blue"]},
            "port": {"x-kubernetes-int-or-string": true},
            "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
            "parts": {
                "type": "array", "maxItems": 9, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                "items": {
                    "type": "object", "required": ["name"],
                    "properties": {"name": {"type": "string", "maxLength": 9}, "count": {"type": "integer"}},
                    "x-kubernetes-validations": [
                        {"rule": "!has(oldSelf.count) || self.count >= oldSelf.count", "message": "count never falls"},
                    ],
                },
            },
            "tags": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        },
        "x-kubernetes-validations": [
            {"rule": "!has(self.parts) || self.parts.all(p, self.parts.exists_one(q, q.name == p.name))", "message": "parts are named once"},
            {"rule": "self.color != 'blue' || self.size > 2", "messageExpression": "'blue needs more than ' + string(self.size)", "fieldPath": ".size", "reason": "FieldValueForbidden"},
        ],
    });
    let status =
        json!({"type": "object", "properties": {"replicas": {"type": "integer"}, "ready": {"type": "boolean"}}});
    let schema = json!({"type": "object", "properties": {"spec": spec, "status": status}});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": {"plural": "widgets", "kind": "Widget", "shortNames": ["wd"], "categories": ["all"]},
            "versions": [
                {
                    "name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema},
                    "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.size", "statusReplicasPath": ".status.replicas"}},
                    "additionalPrinterColumns": [
                        {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
                        {"name": "Color", "type": "string", "jsonPath": ".spec.color", "priority": 1},
                    ],
                    "selectableFields": [{"jsonPath": ".spec.color"}],
                },
                {
                    "name": "v1beta1", "served": true, "storage": false, "deprecated": true,
                    "schema": {"openAPIV3Schema": schema}, "subresources": {"status": {}},
                },
            ],
        },
    })
}

fn widget(name: &str, spec: Value) -> String {
    json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": name}, "spec": spec}).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_is_served_at_once_and_its_rules_hold() {
    let home = home().await;
    let (code, made) = home.send("POST", CRDS, &[JSON], widgets().to_string()).await;
    assert_eq!(code, 201, "{made}");
    assert_eq!(made["spec"]["names"]["listKind"], "WidgetList");
    assert_eq!(made["status"]["storedVersions"], json!(["v1"]));
    let (_, found) = home.send("GET", &format!("{CRDS}/widgets.example.com"), &[], "").await;
    let conditions: Vec<_> = found["status"]["conditions"].as_array().unwrap().iter().map(|c| &c["type"]).collect();
    assert_eq!(conditions, ["NamesAccepted", "Established"]);
    assert_eq!(found["status"]["acceptedNames"]["shortNames"], json!(["wd"]));

    let (_, group) = home.send("GET", "/apis/example.com", &[], "").await;
    assert_eq!(group["preferredVersion"]["version"], "v1");
    let (_, listed) = home.send("GET", "/apis/example.com/v1", &[], "").await;
    let names: Vec<_> = listed["resources"].as_array().unwrap().iter().map(|found| &found["name"]).collect();
    assert_eq!(names, ["widgets", "widgets/status", "widgets/scale"], "{listed}");

    let (code, made) =
        home.send("POST", WIDGETS, &[JSON], widget("a", json!({"size": 3, "x": 1, "open": {"y": 1}}))).await;
    assert_eq!((code, &made["spec"]), (201, &json!({"size": 3, "color": "red", "open": {"y": 1}})), "{made}");
    let refused = |spec: Value| {
        let home = &home;
        async move { home.send("POST", WIDGETS, &[JSON], widget("bad", spec)).await }
    };
    let cases = [
        (json!({"size": 99}), "spec.size: Invalid value: 99: spec.size in body should be less than or equal to 9"),
        (json!({}), "spec.size: Required value"),
        (json!({"size": 2, "color": "blue"}), "spec.size: Forbidden: blue needs more than 2"),
        (json!({"size": 2, "tags": ["a", "a"]}), "spec.tags[1]: Duplicate value: \"a\""),
        (
            json!({"size": 2, "parts": [{"name": "a"}, {"name": "a"}]}),
            "spec.parts[1]: Duplicate value: {\"name\":\"a\"}",
        ),
        (json!({"size": 2, "port": true}), "must be of type integer,string: \"boolean\""),
    ];
    for (spec, wanted) in cases {
        let (code, status) = refused(spec).await;
        assert!(code == 422 && status["message"].as_str().unwrap().contains(wanted), "{wanted}: {status}");
    }
    // Entries of a named list are compared with their own past, wherever they stand.
    let parts = |first: i64, second: i64| json!({"size": 3, "parts": [{"name": "b", "count": second}, {"name": "a", "count": first}]});
    let merge = [("content-type", "application/merge-patch+json")];
    let at = format!("{WIDGETS}/a");
    let set = json!({"spec": {"parts": [{"name": "a", "count": 5}, {"name": "b", "count": 1}]}}).to_string();
    assert_eq!(home.send("PATCH", &at, &merge, set).await.0, 200);
    assert_eq!(home.send("PATCH", &at, &merge, json!({"spec": parts(5, 2)}).to_string()).await.0, 200);
    let (code, status) = home.send("PATCH", &at, &merge, json!({"spec": parts(4, 2)}).to_string()).await;
    assert!(
        code == 422 && status["message"].as_str().unwrap().contains("spec.parts[1]: Invalid value: count never falls"),
        "{status}"
    );

    let (_, other) = home.send("GET", &at.replace("/v1/", "/v1beta1/"), &[], "").await;
    assert_eq!((&other["apiVersion"], &other["kind"]), (&json!("example.com/v1beta1"), &json!("Widget")));
    let (_, table) = home.send("GET", WIDGETS, &[("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")], "").await;
    assert_eq!(table["rows"][0]["cells"], json!(["a", 3, "red"]));
    let (_, red) = home.send("GET", &format!("{WIDGETS}?fieldSelector=spec.color%3Dred"), &[], "").await;
    assert_eq!(red["items"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_wrong_before_does_not_block_what_changes_elsewhere() {
    let home = home().await;
    home.send("POST", CRDS, &[JSON], widgets().to_string()).await;
    let at = format!("{WIDGETS}/a");
    assert_eq!(home.send("POST", WIDGETS, &[JSON], widget("a", json!({"size": 9, "port": 1}))).await.0, 201);
    let mut stricter = widgets();
    for version in stricter["spec"]["versions"].as_array_mut().unwrap() {
        version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["size"]["maximum"] = 5.into();
    }
    let merge = [("content-type", "application/merge-patch+json")];
    let patch = json!({"spec": {"versions": stricter["spec"]["versions"]}}).to_string();
    let (code, status) = home.send("PATCH", &format!("{CRDS}/widgets.example.com"), &merge, patch).await;
    assert_eq!(code, 200, "{status}");
    let (code, status) = home.send("POST", WIDGETS, &[JSON], widget("b", json!({"size": 9}))).await;
    assert_eq!(code, 422, "the new schema is in force: {status}");
    assert_eq!(home.send("PATCH", &at, &merge, json!({"spec": {"port": 2}}).to_string()).await.0, 200);
    assert_eq!(home.send("PATCH", &at, &merge, json!({"spec": {"size": 8}}).to_string()).await.0, 422);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_survives_restarts_and_takes_its_objects_along() {
    let home = home().await;
    home.send("POST", CRDS, &[JSON], widgets().to_string()).await;
    home.send("POST", WIDGETS, &[JSON], widget("a", json!({"size": 3}))).await;
    home.api.stop().await;
    let home = home_in(home.dir).await;
    let (code, found) = home.send("GET", &format!("{WIDGETS}/a"), &[], "").await;
    assert_eq!((code, &found["spec"]["size"]), (200, &json!(3)));

    let held = json!({"metadata": {"finalizers": ["example.com/hold"]}}).to_string();
    let merge = [("content-type", "application/merge-patch+json")];
    home.send("PATCH", &format!("{WIDGETS}/a"), &merge, held).await;
    let (code, leaving) = home.send("DELETE", &format!("{CRDS}/widgets.example.com"), &[], "").await;
    assert_eq!(code, 200);
    assert_eq!(leaving["metadata"]["finalizers"], json!(["customresourcecleanup.apiextensions.k8s.io"]));
    let (code, status) = home.send("POST", WIDGETS, &[JSON], widget("late", json!({"size": 3}))).await;
    assert_eq!((code, &status["reason"]), (405, &json!("MethodNotAllowed")));
    home.send("PATCH", &format!("{WIDGETS}/a"), &merge, json!({"metadata": {"finalizers": null}}).to_string()).await;
    let mut gone = false;
    for _ in 0..200 {
        gone = home.send("GET", &format!("{CRDS}/widgets.example.com"), &[], "").await.0 == 404
            && home.send("GET", "/apis/example.com/v1", &[], "").await.0 == 404;
        if gone {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(gone, "the definition is still there");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_given_once_and_bad_definitions_are_refused() {
    let home = home().await;
    home.send("POST", CRDS, &[JSON], widgets().to_string()).await;
    let mut second = widgets();
    second["metadata"]["name"] = "widgetz.example.com".into();
    second["spec"]["names"] = json!({"plural": "widgetz", "kind": "Widget", "singular": "widgetz"});
    assert_eq!(home.send("POST", CRDS, &[JSON], second.to_string()).await.0, 201);
    let (_, found) = home.send("GET", &format!("{CRDS}/widgetz.example.com"), &[], "").await;
    assert_eq!(found["status"]["conditions"][0]["reason"], "ListKindConflict");
    assert_eq!(found["status"]["conditions"][1]["reason"], "NotAccepted");
    assert_eq!(home.send("GET", "/apis/example.com/v1/widgetz", &[], "").await.0, 404);
    home.send("DELETE", &format!("{CRDS}/widgets.example.com"), &[], "").await;
    let (_, found) = home.send("GET", &format!("{CRDS}/widgetz.example.com"), &[], "").await;
    assert_eq!(found["status"]["conditions"][1]["status"], "True", "the names are free again: {found}");

    let schema = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/color";
    let at = "spec.versions[0].schema.openAPIV3Schema.properties[spec].properties[color]";
    let cases = [
        (schema, json!({}), format!("{at}.type: Required value: must not be empty for specified object fields")),
        (schema, json!({"type": "array"}), format!("{at}.items: Required value: must be specified")),
        (
            schema,
            json!({"type": "string", "default": 5}),
            format!("{at}.default: Invalid value: \"integer\":  in body must be of type string: \"integer\""),
        ),
        (
            schema,
            json!({"type": "string", "anyOf": [{"type": "string"}]}),
            format!("{at}.anyOf[0].type: Forbidden: must be empty to be structural"),
        ),
        (
            schema,
            json!({"type": "string", "x-kubernetes-validations": [{"rule": "foo == 1"}]}),
            "undeclared reference to 'foo'".into(),
        ),
        (
            schema,
            json!({"type": "string", "pattern": "("}),
            format!(
                "{at}.pattern: Invalid value: \"(\": must be a valid regular expression, but isn't: error parsing regexp: missing closing ): `(`"
            ),
        ),
        (
            "/spec/scope",
            json!("x"),
            "spec.scope: Unsupported value: \"x\": supported values: \"Cluster\", \"Namespaced\"".into(),
        ),
        (
            "/metadata/name",
            json!("x.y"),
            "metadata.name: Invalid value: \"x.y\": must be spec.names.plural+\".\"+spec.group".into(),
        ),
    ];
    for (pointer, value, wanted) in cases {
        let mut bad = widgets();
        *bad.pointer_mut(pointer).unwrap() = value;
        let (code, status) = home.send("POST", CRDS, &[JSON], bad.to_string()).await;
        assert!(code == 422 && status["message"].as_str().unwrap().contains(&wanted), "{wanted}\n{status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kinds_built_in_are_definitions_too() {
    let home = home().await;
    let at = format!("{CRDS}/gateways.gateway.networking.k8s.io");
    let (_, gateways) = home.send("GET", &at, &[], "").await;
    assert_eq!(gateways["metadata"]["annotations"]["gateway.networking.k8s.io/bundle-version"], "v1.6.1");
    assert_eq!(gateways["metadata"]["annotations"]["gateway.networking.k8s.io/channel"], "standard");
    assert_eq!(gateways["status"]["conditions"][2]["type"], "Established");
    assert!(gateways["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"].is_object());

    // Another definition may take their place, and leaves it again.
    let mut other = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": gateways["metadata"], "spec": gateways["spec"],
    });
    let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "required": ["own"], "properties": {"own": {"type": "string"}}}}});
    for version in other["spec"]["versions"].as_array_mut().unwrap() {
        version["schema"]["openAPIV3Schema"] = schema.clone();
    }
    let (code, put) = home.send("PUT", &at, &[JSON], other.to_string()).await;
    assert_eq!(code, 200, "{put}");
    let gateway = json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": {"name": "g"},
        "spec": {"own": "x"},
    });
    let objects = "/apis/gateway.networking.k8s.io/v1/namespaces/default/gateways";
    assert_eq!(home.send("POST", objects, &[JSON], gateway.to_string()).await.0, 201);
    assert_eq!(home.send("DELETE", &at, &[], "").await.0, 200);
    let (code, status) = home.send("POST", objects, &[JSON], gateway.to_string()).await;
    assert!(code == 422 && status["message"].as_str().unwrap().contains("spec.gatewayClassName"), "{status}");
    let (_, again) = home.send("GET", &at, &[], "").await;
    assert_eq!(again["metadata"]["annotations"]["gateway.networking.k8s.io/channel"], "standard", "{again}");
}
