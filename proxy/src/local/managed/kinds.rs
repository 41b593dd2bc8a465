//! In what the built-in kinds differ from others where ownership is concerned.

use serde_json::{Value, json};

use super::set::{Element, Set};
use super::shape::{Scalar, Shape};
use crate::local::kinds::Kind;

/// What a request cannot change, with all below: the status on the main resource, and on
/// `/status` what is not.
pub(super) fn ignored(kind: &Kind, status: bool) -> Set {
    let paths: &[&[&str]] = match (status, kind.kind.as_str()) {
        (false, _) if kind.has_status => &[&["status"]],
        (false, _) => &[],
        (true, _) if !kind.typed => &[&["metadata"], &["spec"]],
        (true, "Deployment") => &[&["spec"], &["metadata", "labels"]],
        (true, "Pod") => &[&["spec"], &["metadata", "deletionTimestamp"], &["metadata", "ownerReferences"]],
        (true, _) => &[&["spec"]],
    };
    let mut set = Set::default();
    for path in paths {
        let path: Vec<Element> = path.iter().map(|name| Element::field(name)).collect();
        set.insert(&path);
    }
    set
}

/// An object before it is created. Go's structs are there before anything is in them, so that
/// their creator owns what is in them, but not them.
pub(super) fn nothing(kind: &Kind) -> Value {
    if !kind.typed {
        return json!({});
    }
    let template = || json!({"metadata": {}, "spec": {"containers": null}});
    let spec = match kind.kind.as_str() {
        "ConfigMap" | "Secret" | "ServiceAccount" | "Endpoints" | "EndpointSlice" => return json!({"metadata": {}}),
        "Event" => return json!({"metadata": {}, "involvedObject": {}, "source": {}, "regarding": {}}),
        "Pod" => json!({"containers": null}),
        "Deployment" => json!({"template": template(), "strategy": {}}),
        "DaemonSet" => json!({"template": template(), "updateStrategy": {}}),
        "ReplicaSet" | "Job" => json!({"template": template()}),
        "StatefulSet" => json!({"template": template(), "updateStrategy": {}}),
        "NetworkPolicy" => json!({"podSelector": {}}),
        "PersistentVolumeClaim" => json!({"resources": {}}),
        "HorizontalPodAutoscaler" => json!({"scaleTargetRef": {}}),
        "CustomResourceDefinition" => json!({"names": {}, "versions": null}),
        _ => json!({}),
    };
    json!({"metadata": {}, "spec": spec})
}

/// The object as a client wants it, without what the server assigned: nobody owns that.
pub(super) fn as_sent(kind: &Kind, mut object: Value, sent: &Value) -> Value {
    let assigned: &[&[&str]] = match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "Service") => &[
            &["spec", "clusterIP"],
            &["spec", "clusterIPs"],
            &["spec", "ipFamilies"],
            &["spec", "ipFamilyPolicy"],
            &["spec", "healthCheckNodePort"],
            &["spec", "ports", "*", "nodePort"],
        ],
        ("", "Pod") => &[&["spec", "tolerations"], &["spec", "priority"], &["spec", "preemptionPolicy"]],
        ("batch", "Job") => &[&["spec", "selector"], &["metadata", "labels"], &["spec", "template", "metadata"]],
        ("", "Node") => &[&["spec", "taints"]],
        ("", "Namespace") => &[&["spec"]],
        _ => &[],
    };
    for path in assigned {
        leave_out(&mut object, sent, path);
    }
    object
}

fn leave_out(object: &mut Value, sent: &Value, path: &[&str]) {
    match path {
        [] => {}
        ["*", rest @ ..] => {
            for (index, item) in object.as_array_mut().into_iter().flatten().enumerate() {
                leave_out(item, &sent[index], rest);
            }
        }
        [last] => {
            if let (Value::Null, Some(fields)) = (&sent[*last], object.as_object_mut()) {
                fields.remove(*last);
            }
        }
        [first, rest @ ..] => {
            if let Some(inner) = object.as_object_mut().and_then(|fields| fields.get_mut(*first)) {
                leave_out(inner, &sent[*first], rest);
            }
        }
    }
}

/// Go knows no null: a field is not there, an entry of a map has its type's empty value.
pub(super) fn settle_nulls(shape: &Shape, value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, value| {
                if !value.is_null() {
                    settle_nulls(shape.field(name).unwrap_or(&Shape::Any), value);
                    return true;
                }
                *value = match shape.field(name) {
                    Some(Shape::Scalar(Scalar::Text)) if !shape.names(name) => "".into(),
                    _ => return false,
                };
                true
            });
        }
        Value::Array(items) => {
            let each = match shape {
                Shape::List { each, .. } => each,
                _ => &Shape::Any,
            };
            items.iter_mut().for_each(|item| settle_nulls(each, item));
        }
        _ => {}
    }
}
