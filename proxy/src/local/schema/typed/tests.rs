use super::*;

fn decode(definition: &str, mut object: Value) -> (Found, Value) {
    let found = Types::get().decode(&format!("io.k8s.api.{definition}"), &mut object);
    (found, object)
}

#[test]
fn wrong_types_are_refused_in_the_decoders_words() {
    let service = |spec: Value| decode("core.v1.Service", json!({"spec": spec})).0.error.unwrap();
    let cases = [
        (json!({"ports": [{"port": "80"}]}), "string into Go struct field ServicePort.spec.ports.port of type int32"),
        (json!({"type": 5}), "number into Go struct field ServiceSpec.spec.type of type v1.ServiceType"),
        (json!({"ports": {"port": 80}}), "object into Go struct field ServiceSpec.spec.ports of type []v1.ServicePort"),
        (json!({"ports": [5]}), "number into Go struct field ServiceSpec.spec.ports of type v1.ServicePort"),
        (json!({"selector": {"a": 5}}), "number into Go struct field ServiceSpec.spec.selector of type string"),
        (json!({"selector": ["a"]}), "array into Go struct field ServiceSpec.spec.selector of type map[string]string"),
        (json!([]), "array into Go struct field Service.spec of type v1.ServiceSpec"),
        (
            json!({"ports": [{"port": 80.5}]}),
            "number 80.5 into Go struct field ServicePort.spec.ports.port of type int32",
        ),
        (
            json!({"ports": [{"port": 1, "targetPort": true}]}),
            "bool into Go struct field ServicePort.spec.ports.targetPort of type int32",
        ),
    ];
    for (spec, wanted) in cases {
        assert_eq!(service(spec), format!("json: cannot unmarshal {wanted}"));
    }
    let metadata = decode("core.v1.Service", json!({"metadata": {"name": 5}})).0.error.unwrap();
    assert_eq!(metadata, "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.name of type string");
    let time = decode("core.v1.Service", json!({"metadata": {"creationTimestamp": "yesterday"}})).0.error.unwrap();
    assert_eq!(
        time,
        "parsing time \"yesterday\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"yesterday\" as \"2006\""
    );
    let data = decode("core.v1.Secret", json!({"data": {"a": "%%"}})).0.error.unwrap();
    assert_eq!(data, "illegal base64 data at input byte 0");
    let data = decode("core.v1.Secret", json!({"data": {"a": 5}})).0.error.unwrap();
    assert_eq!(data, "json: cannot unmarshal number into Go struct field Secret.data of type []uint8");
}

#[test]
fn unknown_fields_are_named_and_dropped_and_nothing_is_nothing() {
    let (found, object) = decode(
        "apps.v1.Deployment",
        json!({
            "x": 1, "metadata": {"labels": {}, "creationTimestamp": null, "foo": 1},
            "spec": {"template": {"spec": {"containers": [{"name": "a", "bar": 1, "args": [], "resources": {"limits": {"cpu": 1}}}]}}},
        }),
    );
    assert_eq!(found.error, None);
    assert_eq!(found.unknown, ["metadata.foo", "spec.template.spec.containers[0].bar", "x"]);
    let container = json!({"name": "a", "resources": {"limits": {"cpu": "1"}}});
    assert_eq!(object, json!({"metadata": {}, "spec": {"template": {"spec": {"containers": [container]}}}}));
}

#[test]
fn what_go_always_writes_is_filled_in_once() {
    let mut object = json!({"metadata": {}, "spec": {"template": {"spec": {"containers": [{"name": "a"}]}}}});
    Types::get().fill("io.k8s.api.apps.v1.Deployment", &mut object);
    assert_eq!(object["status"], json!({}));
    assert_eq!(object["spec"]["strategy"], json!({}));
    assert_eq!(object["spec"]["template"]["spec"]["containers"][0]["resources"], json!({}));
    assert!(object["spec"].get("selector").is_none());
    let once = object.clone();
    Types::get().fill("io.k8s.api.apps.v1.Deployment", &mut object);
    assert_eq!(object, once);
}

#[test]
fn quantities_are_told_from_other_texts() {
    for text in ["1", "100m", "1.5Gi", "-2k", "1e3", "2E-3", ".5", "5."] {
        assert!(quantity(text), "{text}");
    }
    for text in ["", "1x", "Gi", "1..2", "1e", "1 Gi", "."] {
        assert!(!quantity(text), "{text}");
    }
}
