use serde_json::json;

use super::*;
use crate::local::Admit;
use crate::local::kinds::Registry;
use crate::local::schema::Schemas;

fn shape(group: &str, kind: &str) -> Shape {
    Shape::of_object(Admit::schema(&Schemas::new().unwrap(), group, kind).as_ref())
}

fn patched(group: &str, kind: &str, mut object: Value, patch: Value) -> Result<Value, (u16, String)> {
    let refused = |error: StatusError| (error.code(), error.message().to_owned());
    merge(&shape(group, kind), &mut object, patch.as_object().unwrap()).map_err(refused)?;
    Ok(object)
}

fn service(patch: Value) -> Result<Value, (u16, String)> {
    let ports = json!([{"port": 80, "name": "a"}, {"port": 81, "name": "b"}]);
    let mut patched = patched("", "Service", json!({"spec": {"ports": ports}}), json!({"spec": patch}))?;
    Ok(patched["spec"]["ports"].take())
}

#[test]
fn lists_merge_by_their_key() {
    let deployment = json!({"spec": {"template": {"spec": {"containers": [
        {"name": "a", "image": "a:1", "ports": [{"containerPort": 80}], "args": ["x"]}, {"name": "b", "image": "b:1"},
    ]}}}});
    let patch = json!({"spec": {"template": {"spec": {
        "$setElementOrder/containers": [{"name": "c"}, {"name": "a"}],
        "containers": [
            {"name": "c"},
            {"name": "a", "image": "a:2", "ports": [{"containerPort": 81}], "args": ["y"]},
            {"name": "b", "$patch": "delete"},
        ],
    }}}});
    let wanted = json!({"spec": {"template": {"spec": {"containers": [
        {"name": "c"},
        {"name": "a", "image": "a:2", "ports": [{"containerPort": 81}, {"containerPort": 80}], "args": ["y"]},
    ]}}}});
    assert_eq!(patched("apps", "Deployment", deployment, patch), Ok(wanted));
}

#[test]
fn directives_replace_retain_and_delete() {
    let object = json!({
        "metadata": {"finalizers": ["a/b", "a/c"], "labels": {"x": "1"}},
        "spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}, "replicas": 1},
    });
    let patch = json!({
        "metadata": {
            "$deleteFromPrimitiveList/finalizers": ["a/b"], "labels": {"$patch": "replace", "y": "2"},
            "annotations": {"k": "v", "n": null},
        },
        "spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}, "replicas": null},
    });
    let wanted = json!({
        "metadata": {"finalizers": ["a/c"], "labels": {"y": "2"}, "annotations": {"k": "v"}},
        "spec": {"strategy": {"type": "Recreate"}},
    });
    assert_eq!(patched("apps", "Deployment", object, patch), Ok(wanted));
}

#[test]
fn items_come_in_the_order_of_the_patch() {
    let (a, b) = (json!({"port": 80, "name": "a"}), json!({"port": 81, "name": "b"}));
    assert_eq!(service(json!({"$setElementOrder/ports": [{"port": 81}, {"port": 80}]})), Ok(json!([b, a])));
    assert_eq!(service(json!({"ports": [{"port": 90}]})), Ok(json!([{"port": 90}, a, b])));
    let patch = json!({"$setElementOrder/ports": [{"port": 80}, {"port": 90}], "ports": [{"port": 90}]});
    assert_eq!(service(patch), Ok(json!([a, {"port": 90}, b])));
    assert_eq!(service(json!({"ports": [{"$patch": "replace"}, {"port": 90}]})), Ok(json!([{"port": 90}])));
    assert_eq!(service(json!({"ports": [{"$patch": "delete", "port": 80}]})), Ok(json!([b])));
}

#[test]
fn wrong_patches_are_told_as_a_kube_apiserver_tells_them() {
    let why = |patch: Value| service(patch).unwrap_err();
    let unknown = |text: &str| (500, text.to_owned());
    assert_eq!(
        why(json!({"ports": [{"name": "x"}]})),
        unknown("map: map[name:x] does not contain declared merge key: port")
    );
    assert_eq!(
        why(json!({"ports": [{"$patch": "foo", "port": 80}]})),
        unknown("unknown patch type: foo in map: map[$patch:foo port:80]")
    );
    assert_eq!(why(json!({"$patch": "foo"})), unknown("unknown patch type: foo in map: map[$patch:foo]"));
    assert_eq!(
        why(json!({"$setElementOrder/ports": [{"port": 81}], "ports": [{"port": 80, "name": "z"}]})),
        unknown(
            "The order in patch list:\n[map[name:z port:80]]\n doesn't match $setElementOrder list:\n[map[port:81]]\n"
        )
    );
    assert_eq!(
        why(json!({"$setElementOrder/ports": "x"})),
        unknown("expected a []interface {}, but received a string")
    );
    for keys in [json!(["ports"]), json!("ports")] {
        assert_eq!(
            why(json!({"$retainKeys": keys, "type": "ClusterIP"})),
            (400, "invalid patch format of retainKeys".to_owned())
        );
    }
}

#[test]
fn a_patch_keeps_the_types_of_its_kind() {
    let why = |patch: Value| patched("", "Service", json!({"spec": {}}), json!({"spec": patch})).unwrap_err();
    let invalid = |shown: &str, why: &str| {
        let message = format!(" \"\" is invalid: patch: Invalid value: \"map[spec:map[{shown}]]\": {why}");
        (422, message)
    };
    assert_eq!(why(json!({"selector": {"app": true}})), invalid("selector:map[app:true]", "unrecognized type: string"));
    assert_eq!(why(json!({"selector": []})), invalid("selector:[]", "cannot restore map from slice"));
    assert_eq!(why(json!({"ports": {}})), invalid("ports:map[]", "cannot restore slice from map"));
    let error = merge(&shape("", "Service"), &mut json!({}), json!({"spec": 1}).as_object().unwrap()).unwrap_err();
    let details = error.to_value()["details"].clone();
    assert_eq!(details.as_object().unwrap().keys().collect::<Vec<_>>(), ["causes"]);
}

#[test]
fn every_kind_with_a_go_type_has_a_schema() {
    let schemas = Schemas::new().unwrap();
    for kind in Registry::builtin().all().iter().filter(|kind| kind.typed && !kind.ephemeral) {
        assert!(Admit::schema(&schemas, &kind.group, &kind.kind).is_some(), "{}", kind.qualified());
    }
}
