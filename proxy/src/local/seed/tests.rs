//! The folder against an API in memory: read, apply, delete, list and discovery as a
//! kube-apiserver answers them, with admission by the project's own schemas.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{Method, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use kube::Client;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{FOLDER, LAST_APPLIED, MANIFEST, Problem, follow, load};
use crate::local::{admit::Admit, schema::Schemas};

struct Server {
    schemas: Schemas,
    objects: Mutex<BTreeMap<String, Value>>,
    writes: Mutex<Vec<String>>,
    /// What was applied last to each object.
    applied: Mutex<BTreeMap<String, Value>>,
}

/// Fields that were applied and are no more go; lists are one field, as where their kind has no keys.
fn merge(live: &mut Value, before: &Value, config: &Value) {
    let (Some(fields), Some(config)) = (live.as_object_mut(), config.as_object()) else {
        *live = config.clone();
        return;
    };
    for key in before.as_object().into_iter().flat_map(serde_json::Map::keys) {
        if !config.contains_key(key) {
            fields.remove(key);
        }
    }
    for (key, value) in config {
        merge(fields.entry(key.clone()).or_insert(Value::Null), &before[key], value);
    }
}

const GATEWAY_API: &str = "gateway.networking.k8s.io/v1";

fn resources(kinds: &[(&str, &str, bool)]) -> Value {
    let resource = |(name, kind, namespaced): &(&str, &str, bool)| {
        json!({
            "name": name, "singularName": "", "kind": kind, "namespaced": namespaced,
            "verbs": ["create", "delete", "get", "list", "patch"],
        })
    };
    let list: Vec<_> = kinds.iter().map(resource).collect();
    json!({ "kind": "APIResourceList", "groupVersion": "", "resources": list })
}

fn failure(code: StatusCode, reason: &str, message: &str, causes: Vec<Value>) -> Response {
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code.as_u16(), "reason": reason,
        "message": message, "details": { "causes": causes },
    });
    (code, body.to_string()).into_response()
}

async fn answer(State(server): State<Arc<Server>>, method: Method, uri: Uri, body: Bytes) -> Response {
    let path = uri.path().to_owned();
    match path.as_str() {
        "/apis" => {
            let version = json!({ "groupVersion": GATEWAY_API, "version": "v1" });
            let group =
                json!({ "name": "gateway.networking.k8s.io", "versions": [version], "preferredVersion": version });
            return json!({ "kind": "APIGroupList", "groups": [group] }).to_string().into_response();
        }
        "/api/v1" => {
            let kinds = [("namespaces", "Namespace", false), ("services", "Service", true)];
            return resources(&kinds).to_string().into_response();
        }
        "/apis/gateway.networking.k8s.io/v1" => {
            let kinds = [("gatewayclasses", "GatewayClass", false), ("httproutes", "HTTPRoute", true)];
            return resources(&kinds).to_string().into_response();
        }
        _ => {}
    }
    let mut objects = server.objects.lock().unwrap();
    if method == Method::GET {
        let plural = path.rsplit('/').next().unwrap();
        if ["namespaces", "services", "gatewayclasses", "httproutes"].contains(&plural) {
            let of = |key: &str| key.rsplit('/').nth(1) == Some(plural);
            let items: Vec<_> = objects.iter().filter(|(key, _)| of(key)).map(|(_, object)| object).collect();
            return json!({ "kind": "List", "metadata": {}, "items": items }).to_string().into_response();
        }
        return match objects.get(&path) {
            Some(object) => object.to_string().into_response(),
            None => failure(StatusCode::NOT_FOUND, "NotFound", "not found", Vec::new()),
        };
    }
    server.writes.lock().unwrap().push(format!("{method} {path}"));
    if method == Method::DELETE {
        return match objects.remove(&path) {
            Some(object) => object.to_string().into_response(),
            None => failure(StatusCode::NOT_FOUND, "NotFound", "not found", Vec::new()),
        };
    }
    assert_eq!(method, Method::PATCH);
    let query = uri.query().unwrap();
    assert!(query.contains("fieldManager=gwtop-manifests") && query.contains("force=true"), "{query}");
    let mut object: Value = serde_json::from_slice(&body).unwrap();
    let key = path.clone();
    if let Some(namespace) = object["metadata"]["namespace"].as_str()
        && !objects.contains_key(&format!("/api/v1/namespaces/{namespace}"))
    {
        let message = format!("namespaces {namespace:?} not found");
        return failure(StatusCode::NOT_FOUND, "NotFound", &message, Vec::new());
    }
    let old = objects.get(&key);
    let seen = &object["metadata"]["resourceVersion"];
    if old.is_some_and(|old| !seen.is_null() && old["metadata"]["resourceVersion"] != *seen) {
        return failure(StatusCode::CONFLICT, "Conflict", "the object has been modified", Vec::new());
    }
    let applied = object.clone();
    if let Some(old) = old {
        let mut merged = old.clone();
        let before = server.applied.lock().unwrap().get(&key).cloned().unwrap_or_default();
        merge(&mut merged, &before, &object);
        object = merged;
    }
    let kind = object["kind"].as_str().unwrap().to_owned();
    let group = if path.starts_with("/apis/") { "gateway.networking.k8s.io" } else { "" };
    let admitted = server.schemas.admit(group, &kind, &mut object, old);
    if !admitted.unknown.is_empty() {
        assert!(uri.query().unwrap().contains("fieldValidation=Strict"));
        let unknown: Vec<_> = admitted.unknown.iter().map(|field| format!("unknown field {field:?}")).collect();
        return failure(
            StatusCode::BAD_REQUEST,
            "BadRequest",
            &format!("strict decoding error: {}", unknown.join(", ")),
            Vec::new(),
        );
    }
    if !admitted.errors.is_empty() {
        let cause = |error: &crate::local::admit::FieldError| json!({ "field": error.field, "message": error.message });
        let causes = admitted.errors.iter().map(cause).collect();
        return failure(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", "invalid", causes);
    }
    let version = server.writes.lock().unwrap().len().to_string();
    object["metadata"]["resourceVersion"] = json!(version);
    object["metadata"]["uid"] = json!(key);
    server.applied.lock().unwrap().insert(key.clone(), applied);
    objects.insert(key, object.clone());
    object.to_string().into_response()
}

struct World {
    server: Arc<Server>,
    client: Client,
    folder: tempfile::TempDir,
}

const ROUTE: &str = "/apis/gateway.networking.k8s.io/v1/namespaces/shop/httproutes/checkout";
const SHOP: &str = "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: shop\n";

fn route(header: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata:\n  name: checkout\n  namespace: shop\nspec:\n  rules:\n  \
         - filters:\n    - type: RequestHeaderModifier\n      requestHeaderModifier:\n        set:\n        - name: x\n          \
         value: {header}\n    backendRefs:\n    - name: v1\n      port: 80\n      weight: 95\n    - name: v2\n      port: 80\n      weight: 5\n"
    )
}

impl World {
    fn new() -> Self {
        let server = Arc::new(Server {
            schemas: Schemas::new().unwrap(),
            objects: Mutex::default(),
            writes: Mutex::default(),
            applied: Mutex::default(),
        });
        server
            .objects
            .lock()
            .unwrap()
            .insert("/api/v1/namespaces/default".to_owned(), json!({ "metadata": { "name": "default" } }));
        let router = Router::new().fallback(answer).with_state(Arc::clone(&server));
        Self { server, client: Client::new(router, "default"), folder: tempfile::tempdir().unwrap() }
    }

    fn write(&self, name: &str, content: &str) {
        std::fs::write(self.folder.path().join(name), content).unwrap();
    }

    fn remove(&self, name: &str) {
        std::fs::remove_file(self.folder.path().join(name)).unwrap();
    }

    async fn load(&self) -> Vec<String> {
        load(&self.client, self.folder.path()).await.problems.iter().map(ToString::to_string).collect()
    }

    fn get(&self, path: &str) -> Option<Value> {
        self.server.objects.lock().unwrap().get(path).cloned()
    }

    fn edit(&self, path: &str, edit: impl Fn(&mut Value)) {
        edit(self.server.objects.lock().unwrap().get_mut(path).unwrap());
    }

    fn writes(&self) -> Vec<String> {
        std::mem::take(&mut *self.server.writes.lock().unwrap())
    }
}

#[tokio::test]
async fn a_folder_is_applied_in_the_order_of_kinds_and_only_once() {
    let world = World::new();
    world.write("a-route.yaml", &route("a"));
    world.write("z-namespace.yaml", SHOP);
    assert_eq!(world.load().await, [""; 0]);
    assert_eq!(world.writes(), ["PATCH /api/v1/namespaces/shop".to_owned(), format!("PATCH {ROUTE}")]);
    let annotations = world.get(ROUTE).unwrap()["metadata"]["annotations"].clone();
    assert_eq!(annotations[MANIFEST], "a-route.yaml");
    assert_eq!(annotations[FOLDER], world.folder.path().canonicalize().unwrap().display().to_string());
    assert!(annotations[LAST_APPLIED].as_str().unwrap().contains("checkout"));

    assert_eq!(world.load().await, [""; 0]);
    assert_eq!(world.writes(), [""; 0], "nothing changed, nothing is written");
}

#[tokio::test]
async fn what_an_operator_patched_stays_when_the_file_changed_elsewhere() {
    let world = World::new();
    world.write("a.yaml", &format!("{SHOP}---\n{}", route("a")));
    world.load().await;
    world.edit(ROUTE, |route| {
        route["spec"]["rules"][0]["backendRefs"][0]["weight"] = json!(70);
        route["spec"]["rules"][0]["backendRefs"][1]["weight"] = json!(30);
        route["metadata"]["labels"] = json!({ "by": "operator" });
    });
    world.write("a.yaml", &format!("{SHOP}---\n{}", route("b")));
    assert_eq!(world.load().await, [""; 0]);
    let live = world.get(ROUTE).unwrap();
    let rule = &live["spec"]["rules"][0];
    assert_eq!((&rule["backendRefs"][0]["weight"], &rule["backendRefs"][1]["weight"]), (&json!(70), &json!(30)));
    assert_eq!(rule["filters"][0]["requestHeaderModifier"]["set"][0]["value"], "b");
    assert_eq!(live["metadata"]["labels"], json!({ "by": "operator" }));
}

#[tokio::test]
async fn a_removed_file_prunes_what_came_from_it_and_nothing_else() {
    let world = World::new();
    let service = |name: &str| format!("apiVersion: v1\nkind: Service\nmetadata:\n  name: {name}\n");
    let at = |name: &str| format!("/api/v1/namespaces/default/services/{name}");
    let foreign = |name: &str| {
        let object = json!({ "apiVersion": "v1", "kind": "Service", "metadata": {
            "name": name, "namespace": "default", "annotations": { MANIFEST: "a.yaml", FOLDER: "/elsewhere" },
        } });
        world.server.objects.lock().unwrap().insert(at(name), object);
    };
    foreign("elsewhere");
    let handmade =
        json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": "handmade", "namespace": "default" } });
    world.server.objects.lock().unwrap().insert(at("handmade"), handmade);
    world.write("a.yaml", &format!("{}---\n{}---\n{}", service("one"), service("two"), service("handmade")));
    world.write("b.yaml", &service("three"));
    assert_eq!(world.load().await, [""; 0]);

    world.write("a.yaml", &format!("{}---\nkind: [", service("one")));
    assert_eq!(world.load().await.len(), 1);
    assert!(world.get(&at("two")).is_some(), "a file that cannot be read to its end prunes nothing");

    world.write("a.yaml", &service("one"));
    world.load().await;
    assert!(world.get(&at("two")).is_none(), "a removed document");
    world.remove("a.yaml");
    world.load().await;
    let left: Vec<_> =
        ["one", "two", "three", "handmade", "elsewhere"].map(|name| world.get(&at(name)).is_some()).into();
    assert_eq!(left, [false, false, true, true, true]);

    let missing: Vec<_> = load(&world.client, Path::new("/no/such/folder")).await.problems.into_iter().collect();
    assert!(missing[0].to_string().contains("/no/such/folder"), "{missing:?}");
    assert!(world.get(&at("three")).is_some(), "a folder that is not there prunes nothing");
}

#[tokio::test]
async fn problems_name_file_line_field_and_reason_and_the_rest_goes_on() {
    let world = World::new();
    world.write("broken.yaml", "kind: [");
    world.write("lost.yaml", "apiVersion: v1\nkind: Service\nmetadata:\n  name: a\n  namespace: nowhere\n");
    world.write("old.yaml", "apiVersion: gateway.networking.k8s.io/v1alpha2\nkind: TCPRoute\nmetadata:\n  name: db\n");
    world.write("port.yaml", &route("a").replacen("port: 80", "port: 0", 1));
    world.write("twice.yaml", SHOP);
    world.write(
        "typo.yaml",
        &route("a").replacen("name: checkout", "name: typo", 1).replacen("weight: 5\n", "wieght: 5\n", 1),
    );
    world.write("zz.yaml", SHOP);
    let problems = world.load().await;
    for expected in [
        "broken.yaml:1: unclosed bracket",
        "lost.yaml:5: Service a: metadata.namespace: there is no namespace \"nowhere\"",
        "old.yaml:2: TCPRoute db: kind: the API serves no kind TCPRoute in gateway.networking.k8s.io/v1alpha2",
        "port.yaml:16: HTTPRoute checkout: spec.rules[0].backendRefs[0].port: Invalid value: 0: ",
        "typo.yaml:20: HTTPRoute typo: spec.rules[0].backendRefs[1].wieght: HTTPRoute has no such field",
        "zz.yaml:1: Namespace shop: this object is already in twice.yaml:1",
    ] {
        assert!(problems.iter().any(|problem| problem.starts_with(expected)), "{expected} is missing in {problems:#?}");
    }
    assert_eq!(problems.len(), 6, "{problems:#?}");
    assert!(world.get("/api/v1/namespaces/shop").is_some());
}

async fn until(what: &str, done: impl Fn() -> bool) {
    for _ in 0..200 {
        if done() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("never happened: {what}");
}

#[tokio::test]
async fn changes_are_followed_and_problems_reported_once() {
    let world = World::new();
    world.write("a.yaml", &format!("{SHOP}---\n{}", route("a")));
    let reported = Arc::new(Mutex::new(Vec::new()));
    let cancel = CancellationToken::new();
    let task = tokio::spawn({
        let (client, folder) = (world.client.clone(), world.folder.path().to_owned());
        let (cancel, reported) = (cancel.clone(), Arc::clone(&reported));
        async move {
            let on_problem = move |problem: &Problem| reported.lock().unwrap().push(problem.to_string());
            let loaded = load(&client, &folder).await;
            loaded.problems.iter().for_each(&on_problem);
            follow(client, &folder, loaded, cancel, on_problem).await;
        }
    });
    until("the route is created", || world.get(ROUTE).is_some()).await;
    world.write("a.yaml", &format!("{SHOP}---\n{}", route("b")));
    until("the header changes", || world.get(ROUTE).unwrap()["spec"].to_string().contains("\"b\"")).await;
    world.write("b.yaml", "kind: [");
    until("the problem is reported", || !reported.lock().unwrap().is_empty()).await;
    world.remove("a.yaml");
    until("the route is pruned", || world.get(ROUTE).is_none()).await;
    assert_eq!(reported.lock().unwrap().len(), 1, "{:?}", reported.lock().unwrap());
    cancel.cancel();
    tokio::time::timeout(Duration::from_secs(5), task).await.expect("it ends").unwrap();
}
