//! The core group, access control, leases and definitions.

use serde_json::Value;

use super::{Column, Read, join, jsonpath, list, or, read, since, size, text};

pub(in super::super) fn namespace() -> Vec<Column> {
    vec![read("Status", "string", |o| or(&o["status"]["phase"], "")), Column::age()]
}

pub(in super::super) fn secret() -> Vec<Column> {
    vec![read("Type", "string", |o| or(&o["type"], "")), read("Data", "string", |o| size(&o["data"])), Column::age()]
}

pub(in super::super) fn config_map() -> Vec<Column> {
    let entries: Read = |o| {
        let data = [&o["data"], &o["binaryData"]];
        data.iter().filter_map(|data| data.as_object()).map(serde_json::Map::len).sum::<usize>().into()
    };
    vec![read("Data", "string", entries), Column::age()]
}

pub(in super::super) fn service_account() -> Vec<Column> {
    vec![read("Secrets", "string", |o| list(&o["secrets"]).len().into()), Column::age()]
}

pub(in super::super) fn node() -> Vec<Column> {
    vec![
        read("Status", "string", |o| {
            let ready = jsonpath(o, ".status.conditions[?(@.type==\"Ready\")].status").first().map(|found| text(found));
            match ready.as_deref() {
                Some("True") => "Ready".into(),
                Some(_) => "NotReady".into(),
                None => "Unknown".into(),
            }
        }),
        read("Roles", "string", |o| {
            let labels = o["metadata"]["labels"].as_object().into_iter().flatten();
            let roles = labels.filter_map(|(key, _)| key.strip_prefix("node-role.kubernetes.io/"));
            join(roles.map(str::to_owned), "<none>")
        }),
        Column::age(),
        read("Version", "string", |o| or(&o["status"]["nodeInfo"]["kubeletVersion"], "")),
    ]
}

pub(in super::super) fn event() -> Vec<Column> {
    vec![
        read("Last Seen", "string", |o| {
            let times = [&o["series"]["lastObservedTime"], &o["lastTimestamp"], &o["eventTime"], &o["firstTimestamp"]];
            since(times.into_iter().find(|time| time.is_string()).unwrap_or(&Value::Null))
        }),
        read("Type", "string", |o| or(&o["type"], "")),
        read("Reason", "string", |o| or(&o["reason"], "")),
        read("Object", "string", |o| {
            let about = &o["involvedObject"];
            format!("{}/{}", text(&about["kind"]).to_ascii_lowercase(), text(&about["name"])).into()
        }),
        read("Subobject", "string", |o| or(&o["involvedObject"]["fieldPath"], "")).wide(),
        read("Source", "string", |o| {
            let (source, host) = (text(&o["source"]["component"]), text(&o["source"]["host"]));
            let (component, instance) = (text(&o["reportingComponent"]), text(&o["reportingInstance"]));
            let parts = if source.is_empty() { [component, instance] } else { [source, host] };
            join_words(parts)
        })
        .wide(),
        read("Message", "string", |o| text(&o["message"]).trim().into()),
        read("First Seen", "string", |o| {
            let times = [&o["firstTimestamp"], &o["eventTime"]];
            since(times.into_iter().find(|time| time.is_string()).unwrap_or(&Value::Null))
        })
        .wide(),
        read("Count", "string", |o| {
            let counts = [&o["series"]["count"], &o["count"]];
            counts.into_iter().find_map(Value::as_i64).unwrap_or(1).into()
        })
        .wide(),
        read("Name", "string", |o| or(&o["metadata"]["name"], "")).wide(),
    ]
}

fn join_words(parts: [String; 2]) -> Value {
    let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts.join(", ").into()
}

pub(in super::super) fn lease() -> Vec<Column> {
    vec![read("Holder", "string", |o| or(&o["spec"]["holderIdentity"], "")), Column::age()]
}

/// Kinds whose table says when and not how long ago.
pub(in super::super) fn created_at() -> Vec<Column> {
    vec![read("Created At", "date", |o| or(&o["metadata"]["creationTimestamp"], "<unknown>"))]
}

pub(in super::super) fn role_binding() -> Vec<Column> {
    vec![
        read("Role", "string", |o| {
            let role = &o["roleRef"];
            format!("{}/{}", text(&role["kind"]), text(&role["name"])).into()
        }),
        Column::age(),
        read("Users", "string", |o| subjects(o, "User")).wide(),
        read("Groups", "string", |o| subjects(o, "Group")).wide(),
        read("ServiceAccounts", "string", |o| subjects(o, "ServiceAccount")).wide(),
    ]
}

fn subjects(o: &Value, kind: &str) -> Value {
    let found = list(&o["subjects"]).iter().filter(|subject| subject["kind"] == kind).map(|subject| {
        let slash = if kind == "ServiceAccount" { format!("{}/", text(&subject["namespace"])) } else { String::new() };
        format!("{slash}{}", text(&subject["name"]))
    });
    found.collect::<Vec<_>>().join(", ").into()
}

pub(in super::super) fn persistent_volume_claim() -> Vec<Column> {
    vec![
        read("Status", "string", |o| or(&o["status"]["phase"], "")),
        read("Volume", "string", |o| or(&o["spec"]["volumeName"], "")),
        read("Capacity", "string", |o| or(&o["status"]["capacity"]["storage"], "")),
        read("Access Modes", "string", |o| {
            let modes = list(&o["status"]["accessModes"]).iter().map(|mode| match mode.as_str() {
                Some("ReadWriteOnce") => "RWO".to_owned(),
                Some("ReadOnlyMany") => "ROX".to_owned(),
                Some("ReadWriteMany") => "RWX".to_owned(),
                Some("ReadWriteOncePod") => "RWOP".to_owned(),
                _ => text(mode),
            });
            join(modes, "")
        }),
        read("StorageClass", "string", |o| or(&o["spec"]["storageClassName"], "")),
        read("VolumeAttributesClass", "string", |o| or(&o["spec"]["volumeAttributesClassName"], "<unset>")),
        Column::age(),
        read("VolumeMode", "string", |o| or(&o["spec"]["volumeMode"], "<unset>")).wide(),
    ]
}
