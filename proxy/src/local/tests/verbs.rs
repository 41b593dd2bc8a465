use kube::api::{DeleteParams, ListParams, Patch as KubePatch, PatchParams};

use super::*;

fn json_patch(patch: Value) -> KubePatch<()> {
    KubePatch::Json(serde_json::from_value(patch).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_live_through_create_update_patch_and_delete() {
    let home = Home::start().await;
    let routes = home.routes();
    let made = home.create_route("a", json!({})).await;
    assert_eq!((made.metadata.generation, made.metadata.namespace.as_deref()), (Some(1), Some("default")));
    assert!(made.metadata.uid.is_some() && made.metadata.creation_timestamp.is_some());
    assert_eq!(code(routes.create(&Default::default(), &made_again("a")).await), (409, "AlreadyExists".into()));

    let params = PatchParams::default();
    let labelled = json!({"metadata": {"labels": {"x": "y"}}});
    let labelled = routes.patch("a", &params, &KubePatch::Merge(labelled)).await.unwrap();
    assert_eq!(labelled.metadata.generation, Some(1), "labels are not meant by generation");
    let weight = "/spec/rules/0/backendRefs/0/weight";
    let step = json!([{"op": "test", "path": weight, "value": 1}, {"op": "replace", "path": weight, "value": 5}]);
    let stepped = routes.patch("a", &params, &json_patch(step.clone())).await.unwrap();
    assert_eq!(stepped.metadata.generation, Some(2));
    assert_eq!(code(routes.patch("a", &params, &json_patch(step)).await), (422, "Invalid".into()));
    assert_eq!(routes.get("a").await.unwrap().data["spec"]["rules"][0]["backendRefs"][0]["weight"], 5);

    let status = json!({"status": {"parents": []}, "spec": {"hostnames": ["ignored"]}});
    let told = routes.patch_status("a", &params, &KubePatch::Merge(&status)).await.unwrap();
    assert_eq!(told.data["status"], json!({"parents": []}));
    assert_eq!(told.data["spec"]["hostnames"], json!(["a.example"]));
    assert_eq!(told.metadata.generation, Some(2));
    let ignored = json!({"status": {"parents": [1]}});
    let kept = routes.patch("a", &params, &KubePatch::Merge(ignored)).await.unwrap();
    assert_eq!(kept.data["status"], json!({"parents": []}));
    assert_eq!(
        kept.metadata.resource_version, told.metadata.resource_version,
        "nothing changed, so nothing was written"
    );

    assert_eq!(code(routes.replace("a", &Default::default(), &made).await), (409, "Conflict".into()));
    let mut unversioned = kept.clone();
    unversioned.metadata.resource_version = None;
    assert_eq!(code(routes.replace("a", &Default::default(), &unversioned).await).0, 422);
    routes.replace("a", &Default::default(), &kept).await.unwrap();

    let wrong = DeleteParams::default()
        .preconditions(kube::api::Preconditions { uid: Some("x".into()), resource_version: None });
    assert_eq!(code(routes.delete("a", &wrong).await), (409, "Conflict".into()));
    routes.delete("a", &DeleteParams::default()).await.unwrap();
    assert_eq!(code(routes.get("a").await), (404, "NotFound".into()));
}

fn made_again(name: &str) -> DynamicObject {
    route(name, json!({}))
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_worded_like_a_kube_apiserver() {
    let home = Home::start().await;
    let json_type = [("content-type", "application/json")];
    let bad = |name: &str, spec: Value| {
        json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": name}, "spec": spec})
            .to_string()
    };
    let (code, status) = home.send("POST", ROUTES, &json_type, bad("a", json!({"bad": true}))).await;
    assert_eq!((code, &status["reason"]), (422, &json!("Invalid")));
    assert_eq!(
        status["message"],
        "HTTPRoute.gateway.networking.k8s.io \"a\" is invalid: spec.bad: Invalid value: true: must not be bad"
    );
    assert_eq!(status["details"]["causes"][0]["reason"], "FieldValueInvalid");
    let (code, _) = home.send("POST", ROUTES, &json_type, bad("A_b", json!({}))).await;
    assert_eq!(code, 422);
    let strict = format!("{ROUTES}?fieldValidation=Strict");
    let (code, status) = home.send("POST", &strict, &json_type, bad("a", json!({"unknown": 1}))).await;
    assert_eq!((code, &status["reason"]), (400, &json!("BadRequest")), "{status}");
    let elsewhere = ROUTES.replace("default", "nowhere");
    let (code, status) = home.send("POST", &elsewhere, &json_type, bad("a", json!({}))).await;
    assert_eq!((code, &status["message"]), (404, &json!("namespaces \"nowhere\" not found")));
    let (code, status) = home.send("GET", &format!("{ROUTES}/x"), &[], "").await;
    assert_eq!((code, &status["message"]), (404, &json!("httproutes.gateway.networking.k8s.io \"x\" not found")));
    home.create_route("a", json!({})).await;
    let strategic = [("content-type", "application/strategic-merge-patch+json")];
    let (code, status) = home.send("PATCH", &format!("{ROUTES}/a"), &strategic, "{}").await;
    assert_eq!((code, &status["reason"]), (415, &json!("UnsupportedMediaType")));
    assert_eq!(home.send("POST", &format!("{ROUTES}/a"), &json_type, "{}").await.0, 405);
    assert_eq!(home.send("GET", "/apis/none.example/v1/things", &[], "").await.0, 404);
    assert_eq!(home.send("POST", ROUTES, &json_type, "[".repeat(10_000)).await.0, 400);
    assert_eq!(home.send("POST", ROUTES, &json_type, vec![b' '; (3 << 20) + 1]).await.0, 413);
    let merge = [("content-type", "application/json-patch+json")];
    assert_eq!(home.send("PATCH", &format!("{ROUTES}/a"), &merge, "{\"not\":\"a list\"}").await.0, 400);
    let (code, _) = home.send("GET", &format!("{ROUTES}?labelSelector=a%3D%24"), &[], "").await;
    assert_eq!(code, 400);
    let protobuf = [("accept", "application/vnd.kubernetes.protobuf")];
    assert_eq!(home.send("GET", ROUTES, &protobuf, "").await.0, 406);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_token_and_a_loopback_name_let_in() {
    let home = Home::start().await;
    for token in [None, Some("wrong"), Some("")] {
        let mut config = config(&home.api.kubeconfig).await;
        config.auth_info.token = token.map(Into::into);
        let client = Client::try_from(config).unwrap();
        let routes: KubeApi<DynamicObject> = KubeApi::all_with(client, &route_kind());
        assert_eq!(code(routes.list(&ListParams::default()).await), (401, "Unauthorized".into()), "{token:?}");
    }
    assert_eq!(home.send("GET", ROUTES, &[("host", "evil.example")], "").await.0, 403);
    assert_eq!(home.send("GET", ROUTES, &[("host", "localhost:1")], "").await.0, 200);
    for path in
        [home.api.kubeconfig.clone(), home.dir.path().join("data/token"), home.dir.path().join("data/objects.redb")]
    {
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600, "{}", path.display());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn starting_wrong_tells_what_to_change() {
    let home = Home::start().await;
    let options = |listen: SocketAddr, kubeconfig: &str| ApiOptions {
        listen,
        data: home.dir.path().join("other"),
        kubeconfig: home.dir.path().join(kubeconfig),
        admit: Arc::new(Rule),
        service: Service::default(),
    };
    let start = async |options| Api::start(options).await.err().expect("refused").to_string();
    let taken = start(options(home.api.address, "k")).await;
    assert!(taken.contains(&home.api.address.to_string()) && taken.contains("--api"), "{taken}");
    let mut files = options("127.0.0.1:0".parse().unwrap(), "k");
    files.service.tls.files = Some(("/nowhere/tls.crt".into(), "/nowhere/tls.key".into()));
    let files = start(files).await;
    assert!(files.contains("/nowhere/tls.crt") && files.contains("--tls-cert-file"), "{files}");
    std::fs::write(home.dir.path().join("mine"), "contexts: [{name: prod}]").unwrap();
    let foreign = start(options("127.0.0.1:0".parse().unwrap(), "mine")).await;
    assert!(foreign.contains("not overwritten"), "{foreign}");
}

#[tokio::test(flavor = "multi_thread")]
async fn dry_runs_answer_and_write_nothing() {
    let home = Home::start().await;
    let revision = home.api.store.revision();
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    let made = home.routes().create(&dry, &route("a", json!({}))).await.unwrap();
    assert!(made.metadata.uid.is_some() && made.metadata.resource_version.is_none());
    home.create_route("b", json!({})).await;
    let params = PatchParams { dry_run: true, ..PatchParams::default() };
    let patch = KubePatch::Merge(json!({"spec": {"hostnames": ["b.example"]}}));
    let patched = home.routes().patch("b", &params, &patch).await.unwrap();
    assert_eq!(patched.data["spec"]["hostnames"], json!(["b.example"]));
    home.routes().delete("b", &DeleteParams { dry_run: true, ..DeleteParams::default() }).await.unwrap();
    assert_eq!(home.api.store.revision(), revision + 1);
    assert_eq!(home.routes().get("b").await.unwrap().data["spec"]["hostnames"], json!(["a.example"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_selected_and_paged_at_one_revision() {
    let home = Home::start().await;
    for index in 0..7 {
        home.create_route(&format!("r{index}"), json!({"even": (index % 2 == 0).to_string()})).await;
    }
    let routes = home.routes();
    let even = routes.list(&ListParams::default().labels("even in (true)")).await.unwrap();
    assert_eq!(even.items.len(), 4);
    let one = routes.list(&ListParams::default().fields("metadata.name=r3")).await.unwrap();
    assert_eq!(one.items.len(), 1);
    let mut names = Vec::new();
    let mut params = ListParams::default().limit(3);
    loop {
        let page = routes.list(&params).await.unwrap();
        names.extend(page.items.iter().map(|item| item.metadata.name.clone().unwrap()));
        // Changes between the pages are not seen by them.
        let _ = routes.delete("r5", &DeleteParams::default()).await;
        home.create_route(&format!("r1{}", names.len()), json!({})).await;
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = ListParams::default().limit(3).continue_token(&token),
            None => break,
        }
    }
    assert_eq!(names, ["r0", "r1", "r2", "r3", "r4", "r5", "r6"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn finalizers_and_namespaces_hold_what_they_should() {
    let home = Home::start().await;
    let json_type = [("content-type", "application/json")];
    let namespace = json!({"metadata": {"name": "shop"}}).to_string();
    let (code, made) = home.send("POST", "/api/v1/namespaces", &json_type, namespace).await;
    assert_eq!((code, &made["metadata"]["labels"]["kubernetes.io/metadata.name"]), (201, &json!("shop")));
    let maps = "/api/v1/namespaces/shop/configmaps";
    let held = json!({"metadata": {"name": "held", "finalizers": ["example.com/wait"]}}).to_string();
    home.send("POST", maps, &json_type, held).await;
    home.send("POST", maps, &json_type, json!({"metadata": {"generateName": "free-"}}).to_string()).await;
    let (code, going) = home.send("DELETE", "/api/v1/namespaces/shop", &[], "").await;
    assert_eq!((code, &going["status"]["phase"]), (200, &json!("Terminating")));
    let (_, left) = home.send("GET", maps, &[], "").await;
    assert_eq!(left["items"].as_array().unwrap().len(), 1);
    assert!(left["items"][0]["metadata"]["deletionTimestamp"].is_string());
    let more = json!({"metadata": {"name": "late"}}).to_string();
    assert_eq!(home.send("POST", maps, &json_type, more).await.0, 403);
    let merge = [("content-type", "application/merge-patch+json")];
    let release = json!({"metadata": {"finalizers": null}}).to_string();
    assert_eq!(home.send("PATCH", &format!("{maps}/held"), &merge, release).await.0, 200);
    assert_eq!(home.send("GET", "/api/v1/namespaces/shop", &[], "").await.0, 404);
    assert_eq!(home.send("DELETE", "/api/v1/namespaces/default", &[], "").await.0, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn services_get_addresses_and_defaults() {
    let home = Home::start().await;
    let yaml = [("content-type", "application/yaml")];
    let services = "/api/v1/namespaces/default/services";
    let body = |name: &str, more: &str| format!("metadata: {{name: {name}}}\nspec: {{ports: [{{port: 80}}]{more}}}\n");
    let (code, a) = home.send("POST", services, &yaml, body("a", "")).await;
    assert_eq!((code, &a["spec"]["ports"][0]), (201, &json!({"port": 80, "targetPort": 80, "protocol": "TCP"})));
    let (_, b) = home.send("POST", services, &yaml, body("b", "")).await;
    assert_eq!((&a["spec"]["clusterIP"], &b["spec"]["clusterIP"]), (&json!("10.96.0.1"), &json!("10.96.0.2")));
    let (_, headless) = home.send("POST", services, &yaml, body("c", ", clusterIP: None")).await;
    assert_eq!(headless["spec"]["clusterIP"], "None");
    assert_eq!(home.send("POST", services, &yaml, body("d", ", clusterIP: 10.96.0.1")).await.0, 422);
    let merge = [("content-type", "application/merge-patch+json")];
    let moved = json!({"spec": {"clusterIP": "10.96.0.9"}}).to_string();
    assert_eq!(home.send("PATCH", &format!("{services}/a"), &merge, moved).await.0, 422);
    let grant = json!({
        "apiVersion": "gateway.networking.k8s.io/v1beta1", "kind": "ReferenceGrant",
        "metadata": {"name": "g"}, "spec": {"from": [], "to": []},
    });
    let grants = ROUTES.replace("/v1/", "/v1beta1/").replace("httproutes", "referencegrants");
    let (code, made) = home.send("POST", &grants, &yaml, grant.to_string()).await;
    assert_eq!((code, &made["apiVersion"]), (201, &json!("gateway.networking.k8s.io/v1beta1")));
    let (_, read) = home.send("GET", &format!("{}/g", grants.replace("v1beta1", "v1")), &[], "").await;
    assert_eq!(read["apiVersion"], "gateway.networking.k8s.io/v1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_keeps_objects_token_and_authority() {
    let home = Home::start().await;
    home.create_route("a", json!({})).await;
    let revision = home.api.store.revision();
    let before = config(&home.api.kubeconfig).await;
    let home = home.restart().await;
    let after = config(&home.api.kubeconfig).await;
    assert_eq!(before.root_cert, after.root_cert);
    assert!(home.routes().get("a").await.is_ok());
    assert_eq!(home.api.store.revision(), revision);
    assert!(
        home.create_route("b", json!({})).await.metadata.resource_version.unwrap().parse::<u64>().unwrap() > revision
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_belongs_to_a_deleted_object_goes_with_it() {
    let home = Home::start().await;
    let json_type = [("content-type", "application/json")];
    let maps = "/api/v1/namespaces/default/configmaps";
    let create = async |name: &str, owners: &[&Value]| {
        let owner = |owner: &&Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"]});
        let owners: Vec<Value> = owners.iter().map(owner).collect();
        let body = json!({"metadata": {"name": name, "ownerReferences": owners}}).to_string();
        let (code, made) = home.send("POST", maps, &json_type, body).await;
        assert_eq!(code, 201, "{made}");
        made
    };
    let (first, second) = (create("first", &[]).await, create("second", &[]).await);
    let child = create("child", &[&first]).await;
    create("grandchild", &[&child]).await;
    create("shared", &[&first, &second]).await;
    let (code, status) = home.send("DELETE", &format!("{maps}/first"), &[], "").await;
    assert_eq!(
        (code, &status["status"], &status["details"]["uid"]),
        (200, &json!("Success"), &first["metadata"]["uid"])
    );
    let (_, left) = home.send("GET", maps, &[], "").await;
    let left: Vec<&Value> = left["items"].as_array().unwrap().iter().map(|item| &item["metadata"]["name"]).collect();
    assert_eq!(left, ["second", "shared"]);
}

#[tokio::test]
async fn a_scale_shows_and_sets_the_replicas() {
    let home = Home::start().await;
    let (json_type, merge) =
        ([("content-type", "application/json")], [("content-type", "application/merge-patch+json")]);
    let labels = json!({"app": "web"});
    let web = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {"replicas": 2, "selector": {"matchLabels": labels}, "template": {
            "metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i"}]},
        }},
    });
    let path = "/apis/apps/v1/namespaces/default/deployments";
    assert_eq!(home.send("POST", path, &json_type, web.to_string()).await.0, 201);
    let scale = format!("{path}/web/scale");
    let (code, shown) = home.send("GET", &scale, &[], "").await;
    assert_eq!((code, &shown["spec"]["replicas"], &shown["status"]["selector"]), (200, &json!(2), &json!("app=web")));
    let (code, shown) = home.send("PATCH", &scale, &merge, json!({"spec": {"replicas": 3}}).to_string()).await;
    assert_eq!((code, &shown["spec"]["replicas"]), (200, &json!(3)));
    let (code, status) = home.send("PATCH", &scale, &merge, json!({"spec": {"replicas": -1}}).to_string()).await;
    assert_eq!((code, &status["details"]["kind"]), (422, &json!("Scale")));
    let stale = json!({
        "apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "web", "resourceVersion": "1"},
        "spec": {"replicas": 4},
    });
    assert_eq!(home.send("PUT", &scale, &json_type, stale.to_string()).await.0, 409);
    let (_, now) = home.send("GET", &format!("{path}/web"), &[], "").await;
    assert_eq!((&now["spec"]["replicas"], &now["metadata"]["generation"]), (&json!(3), &json!(2)));
}
