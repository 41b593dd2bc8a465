use super::*;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const APPLY: &str = "application/apply-patch+yaml";

impl Home {
    async fn apply(&self, path: &str, query: &str, config: &Value) -> (u16, Value) {
        self.send("PATCH", &format!("{path}?{query}"), &[("content-type", APPLY)], config.to_string()).await
    }
}

fn map(name: &str, data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})
}

/// Managers with their operation and subresource, as they are listed.
fn managers(object: &Value) -> Vec<String> {
    let text = |entry: &Value, field: &str| entry[field].as_str().unwrap_or_default().to_owned();
    let entries = object["metadata"]["managedFields"].as_array().into_iter().flatten();
    entries
        .map(|entry| [text(entry, "manager"), text(entry, "operation"), text(entry, "subresource")].join(" "))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn applying_creates_changes_and_leaves_as_it_is() {
    let home = Home::start().await;
    let path = format!("{MAPS}/c");
    let (code, created) = home.apply(&path, "fieldManager=a", &map("c", json!({"x": "1", "y": "2"}))).await;
    assert_eq!((code, managers(&created)), (201, vec!["a Apply ".to_owned()]), "{created}");
    let (code, again) = home.apply(&path, "fieldManager=a", &map("c", json!({"x": "1", "y": "2"}))).await;
    assert_eq!((code, &again), (200, &created));

    let (code, refused) = home.apply(&path, "fieldManager=b", &map("c", json!({"x": "9"}))).await;
    assert_eq!((code, &refused["reason"]), (409, &json!("Conflict")));
    assert_eq!(refused["message"], "Apply failed with 1 conflict: conflict with \"a\": .data.x");
    assert_eq!(
        refused["details"],
        json!({"causes": [{"reason": "FieldManagerConflict", "message": "conflict with \"a\"", "field": ".data.x"}]})
    );
    let (code, dry) = home.apply(&path, "fieldManager=b&force=true&dryRun=All", &map("c", json!({"x": "9"}))).await;
    assert_eq!((code, &dry["data"]["x"]), (200, &json!("9")));
    let (_, forced) = home.apply(&path, "fieldManager=b&force=true", &map("c", json!({"x": "9"}))).await;
    assert_eq!(forced["data"], json!({"x": "9", "y": "2"}));
    assert_ne!(forced["metadata"]["resourceVersion"], created["metadata"]["resourceVersion"]);
    let (_, less) = home.apply(&path, "fieldManager=a", &map("c", json!({}))).await;
    assert_eq!(less["data"], json!({"x": "9"}));
    let (code, dry) = home.apply(&format!("{MAPS}/d"), "fieldManager=a&dryRun=All", &map("d", json!({}))).await;
    assert_eq!((code, &dry["metadata"]["resourceVersion"]), (201, &Value::Null));
    assert_eq!(home.send("GET", &format!("{MAPS}/d"), &[], "").await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_write_is_owned_by_its_writer() {
    let home = Home::start().await;
    let path = format!("{MAPS}/c");
    let json = ("content-type", "application/json");
    let agent = ("user-agent", "tool/v1.2 (linux)");
    let (_, created) = home.send("POST", MAPS, &[json, agent], map("c", json!({"x": "1"})).to_string()).await;
    assert_eq!(managers(&created), ["tool Update "]);
    let merge = ("content-type", "application/merge-patch+json");
    let body = json!({"data": {"x": "2"}}).to_string();
    let (_, patched) = home.send("PATCH", &format!("{path}?fieldManager=user"), &[merge, agent], body.as_str()).await;
    assert_eq!(managers(&patched), ["tool Update ", "user Update "]);
    let (_, same) = home.send("PATCH", &format!("{path}?fieldManager=q"), &[merge, agent], body.as_str()).await;
    assert_eq!(same, patched);
    let reset = json!({"metadata": {"managedFields": [{}]}}).to_string();
    let (_, reset) = home.send("PATCH", &path, &[merge, agent], reset).await;
    assert!(managers(&reset).is_empty());
    let (_, applied) = home.apply(&path, "fieldManager=a", &map("c", json!({"x": "2"}))).await;
    assert_eq!(managers(&applied), ["a Apply ", "before-first-apply Update "]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_has_owners_of_its_own() {
    let home = Home::start().await;
    home.create_route("r", json!({"l": "1"})).await;
    let path = format!("{ROUTES}/r");
    let config = |field: &str, value: Value| {
        let mut config = json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute"});
        config["metadata"] = json!({"name": "r", "labels": {"x": "y"}});
        config[field] = value;
        config
    };
    let (code, told) =
        home.apply(&format!("{path}/status"), "fieldManager=s", &config("status", json!({"p": 1}))).await;
    assert_eq!((code, &told["status"]), (200, &json!({"p": 1})), "{told}");
    assert_eq!(told["metadata"]["labels"], json!({"l": "1"}));
    assert_eq!(managers(&told)[0], "s Apply status");
    let fields = &told["metadata"]["managedFields"][0]["fieldsV1"];
    assert!(fields["f:status"].is_object() && fields.get("f:metadata").is_none(), "{fields}");
    let (_, main) = home.apply(&path, "fieldManager=m", &config("status", json!({"p": 2}))).await;
    assert_eq!((&main["status"], &main["metadata"]["labels"]["x"]), (&json!({"p": 1}), &json!("y")));
    let (code, _) = home.apply(&format!("{ROUTES}/nope/status"), "fieldManager=m", &config("status", json!({}))).await;
    assert_eq!(code, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_applied_is_told_as_a_kube_apiserver_tells_it() {
    let home = Home::start().await;
    let path = format!("{MAPS}/c");
    home.apply(&path, "fieldManager=a", &map("c", json!({"x": "1"}))).await;
    let with = |field: &str, value: Value| {
        let mut config = map("c", json!({"x": "1"}));
        config.pointer_mut(field).map(|field| *field = value.clone()).unwrap_or_else(|| {
            config["metadata"][field.trim_start_matches("/metadata/")] = value;
        });
        config
    };
    let cases = [
        (
            "fieldManager=a",
            with("/metadata/name", json!("d")),
            400,
            "the name of the object (d) does not match the name on the URL (c)",
        ),
        ("fieldManager=a", with("/apiVersion", json!("v2")), 400, "invalid object type: /v2, Kind=ConfigMap"),
        ("fieldManager=a", with("/kind", json!("Secret")), 400, "invalid object type: /v1, Kind=Secret"),
        ("fieldManager=a", json!({}), 400, "invalid object type: /, Kind="),
        ("fieldManager=a", with("/metadata/managedFields", json!([])), 400, "metadata.managedFields must be nil"),
        (
            "fieldManager=a",
            with("/metadata/resourceVersion", json!("1")),
            409,
            "Operation cannot be fulfilled on configmaps \"c\": the object has been modified; please apply your changes to the latest version and try again",
        ),
        (
            "fieldManager=a",
            with("/metadata/uid", json!("x")),
            422,
            "ConfigMap \"c\" is invalid: metadata.uid: Invalid value: \"x\": field is immutable",
        ),
        (
            "fieldManager=a",
            with("/metadata/labels", json!({"x": 1})),
            500,
            "failed to create typed patch object (/c; /v1, Kind=ConfigMap): .metadata.labels.x: expected string, got &value.valueUnstructured{Value:1}",
        ),
        (
            "force=true",
            map("c", json!({})),
            422,
            "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch",
        ),
    ];
    for (query, config, code, message) in cases {
        let (got, answer) = home.apply(&path, query, &config).await;
        assert_eq!((got, &answer["message"]), (code, &json!(message)), "{config}");
    }
    let (code, answer) = home.apply(&format!("{MAPS}/n"), "fieldManager=a", &with("/metadata/uid", json!("x"))).await;
    assert_eq!(code, 400, "{answer}");
    for (kind, code) in [("application/apply-patch+cbor", 415), ("application/apply-patch+json", 415)] {
        let sent = home.send("PATCH", &format!("{path}?fieldManager=a"), &[("content-type", kind)], "{}").await;
        assert_eq!((sent.0, &sent.1["message"]), (code, &json!("415: Unsupported Media Type")));
    }
    let yaml = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata:\n  x: '1'\n  x: '2'\n";
    let send = |query: &'static str| {
        let path = format!("{path}?fieldManager=a{query}");
        let home = &home;
        async move { home.send("PATCH", &path, &[("content-type", APPLY)], yaml).await }
    };
    let (code, strict) = send("&fieldValidation=Strict").await;
    assert_eq!(code, 400);
    let wanted = "error strict decoding YAML: error converting YAML to JSON: yaml: unmarshal errors:\n  line 6: key \"x\" already set in map";
    assert_eq!(strict["message"], wanted);
    assert_eq!(send("").await.1["data"]["x"], "2");
}
