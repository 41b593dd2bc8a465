//! What single kinds do beyond being stored.

use std::net::Ipv4Addr;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{Kind, Registry, Rules};
use crate::local::admit::{FieldError, FieldErrorKind};
use crate::local::status::StatusError;
use crate::local::store::{Key, Txn};
use crate::local::verbs;

/// Nothing beyond being stored.
pub(super) struct Plain;

impl Rules for Plain {}

/// Namespaces which exist from the start and cannot be deleted.
pub(in crate::local) const PERMANENT: [&str; 2] = ["default", "kube-system"];

pub(super) struct Namespaces;

impl Rules for Namespaces {
    fn prepare(
        &self,
        _kind: &Kind,
        _txn: &Txn<'_>,
        object: &mut Value,
        old: Option<&Value>,
    ) -> Result<(), StatusError> {
        let name = object["metadata"]["name"].clone();
        entry(&mut object["metadata"], "labels").insert("kubernetes.io/metadata.name".into(), name);
        if old.is_none() {
            entry(object, "spec").insert("finalizers".into(), json!(["kubernetes"]));
            entry(object, "status").insert("phase".into(), "Active".into());
        }
        Ok(())
    }

    /// Removes what the namespace holds; objects with finalizers keep it alive until they go.
    fn delete(
        &self,
        txn: &mut Txn<'_>,
        registry: &Registry,
        key: &Key,
        object: &Value,
    ) -> Result<Option<Arc<Value>>, StatusError> {
        if PERMANENT.contains(&key.name.as_str()) {
            let name = &key.name;
            return Err(StatusError::forbidden(format!(
                "namespaces \"{name}\" is forbidden: this namespace may not be deleted"
            )));
        }
        let mut terminating = object.clone();
        if terminating["metadata"]["deletionTimestamp"].is_null() {
            terminating["metadata"]["deletionTimestamp"] = verbs::now().into();
        }
        entry(&mut terminating, "status").insert("phase".into(), "Terminating".into());
        let terminating = txn.put(key.clone(), terminating);
        for (content, _) in txn.find(|found, _| found.namespace == key.name) {
            verbs::remove_content(txn, registry, &content)?;
        }
        if txn.find(|found, _| found.namespace == key.name).is_empty() {
            txn.remove(key);
        }
        Ok(Some(terminating))
    }
}

pub(super) struct Pods;

/// Seconds a Pod takes to go when neither it nor the client says.
const POD_GRACE: u64 = 30;

impl Rules for Pods {
    /// A Pod that runs somewhere goes when its node says so, or at once when asked for.
    fn grace(&self, object: &Value, asked: Option<u64>) -> Option<u64> {
        let runs = !text(&object["spec"]["nodeName"]).is_empty();
        let ended = ["Succeeded", "Failed"].contains(&text(&object["status"]["phase"]));
        if !runs || ended {
            return Some(0);
        }
        Some(asked.or_else(|| object["spec"]["terminationGracePeriodSeconds"].as_u64()).unwrap_or(POD_GRACE))
    }
}

pub(super) struct Secrets;

impl Rules for Secrets {
    fn prepare(
        &self,
        _kind: &Kind,
        _txn: &Txn<'_>,
        object: &mut Value,
        _old: Option<&Value>,
    ) -> Result<(), StatusError> {
        let Some(fields) = object.as_object_mut() else { return Ok(()) };
        fields.entry("type").or_insert_with(|| "Opaque".into());
        if let Some(Value::Object(plain)) = fields.remove("stringData") {
            let data = entry(object, "data");
            for (name, text) in plain {
                let text = text.as_str().unwrap_or_default();
                let bytes = k8s_openapi::ByteString(text.as_bytes().to_vec());
                data.insert(name, serde_json::to_value(bytes).map_err(StatusError::internal)?);
            }
        }
        Ok(())
    }
}

pub(super) struct Services;

/// Addresses of `10.96.0.0/16`, but for the first and the last.
const SERVICE_NETWORK: u32 = u32::from_be_bytes([10, 96, 0, 0]);
const SERVICE_ADDRESSES: std::ops::Range<u32> = 1..0xffff;

impl Rules for Services {
    fn prepare(&self, kind: &Kind, txn: &Txn<'_>, object: &mut Value, old: Option<&Value>) -> Result<(), StatusError> {
        let name = text(&object["metadata"]["name"]).to_owned();
        entry(object, "status").entry("loadBalancer").or_insert_with(|| json!({}));
        let spec = entry(object, "spec");
        for (field, value) in [("type", "ClusterIP"), ("sessionAffinity", "None"), ("internalTrafficPolicy", "Cluster")]
        {
            spec.entry(field).or_insert_with(|| value.into());
        }
        let external = spec["type"] == "ExternalName";
        if external {
            spec.remove("internalTrafficPolicy");
        }
        let mut errors = ports(spec, external);
        if !external {
            cluster_address(spec, txn, old, &mut errors);
            spec.entry("ipFamilies").or_insert_with(|| json!(["IPv4"]));
            spec.entry("ipFamilyPolicy").or_insert_with(|| "SingleStack".into());
        }
        if errors.is_empty() { Ok(()) } else { Err(StatusError::invalid(kind, &name, &errors)) }
    }
}

fn ports(spec: &mut Map<String, Value>, external: bool) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let headless = spec.get("clusterIP").is_some_and(|address| address == "None");
    let listed = spec.get("ports").and_then(Value::as_array).map_or(0, Vec::len);
    if listed == 0 && !external && !headless {
        errors.push(error("spec.ports", FieldErrorKind::Required, "Required value"));
    }
    let Some(Value::Array(ports)) = spec.get_mut("ports") else { return errors };
    for (index, port) in ports.iter_mut().enumerate() {
        let number = port["port"].clone();
        let valid = number.as_u64().is_some_and(|number| (1..=65535).contains(&number));
        let at = format!("spec.ports[{index}]");
        if !valid {
            let shown = if number.is_null() { "0".into() } else { number.to_string() };
            let message = format!("Invalid value: {shown}: must be between 1 and 65535, inclusive");
            errors.push(error(&format!("{at}.port"), FieldErrorKind::Invalid, message));
        }
        let Some(port) = port.as_object_mut() else { continue };
        port.entry("protocol").or_insert_with(|| "TCP".into());
        port.entry("targetPort").or_insert(number);
        if listed > 1 && !port.contains_key("name") {
            errors.push(error(&format!("{at}.name"), FieldErrorKind::Required, "Required value"));
        }
    }
    errors
}

fn cluster_address(spec: &mut Map<String, Value>, txn: &Txn<'_>, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let before = old.map(|old| text(&old["spec"]["clusterIP"])).filter(|address| !address.is_empty());
    let asked = spec.get("clusterIP").map(text).filter(|address| !address.is_empty()).map(str::to_owned);
    let address = match (before, asked) {
        (Some(before), None) => before.to_owned(),
        (Some(before), Some(asked)) if before == asked => asked,
        (Some(_), Some(asked)) => {
            let message = format!("Invalid value: [{asked:?}]: may not change once set");
            errors.push(error("spec.clusterIPs[0]", FieldErrorKind::Invalid, message));
            return;
        }
        (None, Some(asked)) if asked == "None" => asked,
        (None, asked) => {
            let taken: std::collections::HashSet<String> = txn
                .list("", "services", None)
                .iter()
                .map(|(_, service)| text(&service["spec"]["clusterIP"]).to_owned())
                .collect();
            match asked {
                Some(asked) if taken.contains(&asked) => {
                    let message = format!(
                        "Invalid value: [{asked:?}]: failed to allocate IP {asked}: provided IP is already allocated"
                    );
                    errors.push(error("spec.clusterIPs", FieldErrorKind::Invalid, message));
                    return;
                }
                Some(asked) if asked.parse::<std::net::IpAddr>().is_err() => {
                    let message = format!(
                        "Invalid value: {asked:?}: must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
                    );
                    errors.push(error("spec.clusterIPs[0]", FieldErrorKind::Invalid, message));
                    return;
                }
                Some(asked) => asked,
                None => {
                    let free = SERVICE_ADDRESSES
                        .map(|host| Ipv4Addr::from(SERVICE_NETWORK | host).to_string())
                        .find(|address| !taken.contains(address));
                    let Some(free) = free else {
                        let message = "Invalid value: []: failed to allocate a serviceIP: range is full";
                        errors.push(error("spec.clusterIPs", FieldErrorKind::Invalid, message));
                        return;
                    };
                    free
                }
            }
        }
    };
    spec.insert("clusterIPs".into(), json!([address]));
    spec.insert("clusterIP".into(), address.into());
}

/// The one token may do everything: reviews say so.
pub(super) struct Reviews;

impl Rules for Reviews {
    fn prepare(
        &self,
        kind: &Kind,
        _txn: &Txn<'_>,
        object: &mut Value,
        _old: Option<&Value>,
    ) -> Result<(), StatusError> {
        let status = if kind.plural == "selfsubjectrulesreviews" {
            json!({
                "incomplete": false,
                "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
                "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
            })
        } else {
            json!({"allowed": true, "reason": "the token of this server may do everything"})
        };
        object["status"] = status;
        Ok(())
    }
}

fn error(field: &str, kind: FieldErrorKind, message: impl Into<String>) -> FieldError {
    FieldError { field: field.into(), kind, message: message.into() }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The object at `field`, made when it is missing or something else.
fn entry<'a>(object: &'a mut Value, field: &str) -> &'a mut Map<String, Value> {
    if !object.is_object() {
        *object = json!({});
    }
    let value = &mut object[field];
    if !value.is_object() {
        *value = json!({});
    }
    match value {
        Value::Object(map) => map,
        _ => unreachable!("made an object above"),
    }
}
