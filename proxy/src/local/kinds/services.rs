//! Services: defaults, addresses and node ports, and what a Service may look like.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::checks;
use super::rules::{entry, error, text};
use super::{Kind, Registry, Rules};
use crate::local::admit::FieldError;
use crate::local::admit::FieldErrorKind::{Duplicate, Invalid, NotSupported, Required};
use crate::local::status::StatusError;
use crate::local::store::{Key, Txn};

/// Addresses of `10.96.0.0/16`, but for the first and the last.
const NETWORK: u32 = u32::from_be_bytes([10, 96, 0, 0]);
const ADDRESSES: std::ops::Range<u32> = 1..0xffff;
const NODE_PORTS: std::ops::RangeInclusive<u64> = 30_000..=32_767;

pub(super) struct Services;

impl Rules for Services {
    fn prepare(
        &self,
        _kind: &Kind,
        txn: &Txn<'_>,
        object: &mut Value,
        old: Option<&Value>,
    ) -> Result<Vec<FieldError>, StatusError> {
        entry(object, "status").entry("loadBalancer").or_insert_with(|| json!({}));
        let spec = entry(object, "spec");
        let mut errors = Vec::new();
        fill(spec, old);
        ports(spec, &mut errors);
        if spec["type"] != "ExternalName" {
            address(spec, txn, old, &mut errors);
            families(spec);
        }
        types(spec, &mut errors);
        if errors.is_empty() {
            node_ports(spec, txn, old, &mut errors);
        }
        Ok(errors)
    }

    /// A Service's Endpoints go with it.
    fn delete(
        &self,
        txn: &mut Txn<'_>,
        _registry: &Registry,
        key: &Key,
        _object: &Value,
    ) -> Result<Option<Arc<Value>>, StatusError> {
        txn.remove(&Key::new("", "endpoints", key.namespace.clone(), key.name.clone()));
        Ok(None)
    }
}

fn has_node_ports(spec: &Map<String, Value>) -> bool {
    spec["type"] == "NodePort"
        || (spec["type"] == "LoadBalancer" && spec.get("allocateLoadBalancerNodePorts") != Some(&Value::Bool(false)))
}

fn fill(spec: &mut Map<String, Value>, old: Option<&Value>) {
    spec.entry("type").or_insert_with(|| "ClusterIP".into());
    spec.entry("sessionAffinity").or_insert_with(|| "None".into());
    let kind = text(&spec["type"]).to_owned();
    let outside = ["NodePort", "LoadBalancer"].contains(&kind.as_str());
    let own = |field: &str, on: bool, value: Value, spec: &mut Map<String, Value>| {
        let inherited = old.is_some_and(|old| Some(&old["spec"][field]) == spec.get(field));
        if on {
            spec.entry(field).or_insert(value);
        } else if inherited || kind == "ExternalName" {
            // A type that has no such field forgets what another type had set.
            spec.remove(field);
        }
    };
    own("internalTrafficPolicy", kind != "ExternalName", "Cluster".into(), spec);
    own("externalTrafficPolicy", outside, "Cluster".into(), spec);
    own("allocateLoadBalancerNodePorts", kind == "LoadBalancer", true.into(), spec);
    if kind == "ExternalName" {
        let kept = old.is_some_and(|old| old["spec"]["clusterIP"] == *spec.get("clusterIP").unwrap_or(&Value::Null));
        if kept {
            for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
                spec.remove(field);
            }
        }
    }
    for port in spec.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
        let Some(port) = port.as_object_mut() else { continue };
        port.entry("protocol").or_insert_with(|| "TCP".into());
        let number = port.get("port").cloned().unwrap_or_default();
        if port.get("targetPort").is_none_or(|target| target.is_null() || *target == 0 || *target == "") {
            port.insert("targetPort".into(), number);
        }
    }
}

fn types(spec: &Map<String, Value>, errors: &mut Vec<FieldError>) {
    let kind = text(&spec["type"]);
    if !["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"].contains(&kind) {
        let supported = r#""ClusterIP", "ExternalName", "LoadBalancer", "NodePort""#;
        errors.push(error(
            "spec.type",
            NotSupported,
            format!("Unsupported value: {kind:?}: supported values: {supported}"),
        ));
    }
    if kind == "ExternalName" && spec.get("externalName").is_none_or(|name| text(name).is_empty()) {
        errors.push(error("spec.externalName", Required, "Required value"));
    }
    if kind == "LoadBalancer" && spec.get("clusterIP").is_some_and(|address| address == "None") {
        let message = "Invalid value: [\"None\"]: may not be set to 'None' for LoadBalancer services";
        errors.push(error("spec.clusterIPs[0]", Invalid, message));
    }
}

fn ports(spec: &Map<String, Value>, errors: &mut Vec<FieldError>) {
    let external = spec["type"] == "ExternalName";
    let headless = spec.get("clusterIP").is_some_and(|address| address == "None");
    let listed = spec.get("ports").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if listed.is_empty() && !external && !headless {
        errors.push(error("spec.ports", Required, "Required value"));
    }
    let mut names = HashSet::new();
    for (index, port) in listed.iter().enumerate() {
        let at = |field: &str| format!("spec.ports[{index}].{field}");
        let name = text(&port["name"]);
        if name.is_empty() {
            if listed.len() > 1 {
                errors.push(error(&at("name"), Required, "Required value"));
            }
        } else if !names.insert(name) {
            errors.push(error(&at("name"), Duplicate, format!("Duplicate value: {name:?}")));
        }
        let valid = |number: &Value| number.as_u64().is_some_and(|number| (1..=65535).contains(&number));
        let shown = |number: &Value| if number.is_null() { "0".to_owned() } else { number.to_string() };
        let bounds = "must be between 1 and 65535, inclusive";
        if !valid(&port["port"]) {
            errors.push(error(&at("port"), Invalid, format!("Invalid value: {}: {bounds}", shown(&port["port"]))));
        }
        let protocol = text(&port["protocol"]);
        if !["TCP", "UDP", "SCTP"].contains(&protocol) {
            let message = format!("Unsupported value: {protocol:?}: supported values: \"SCTP\", \"TCP\", \"UDP\"");
            errors.push(error(&at("protocol"), NotSupported, message));
        }
        match &port["targetPort"] {
            Value::String(name) => errors.extend(
                checks::port_name(name)
                    .into_iter()
                    .map(|why| error(&at("targetPort"), Invalid, format!("Invalid value: {name:?}: {why}"))),
            ),
            number if !valid(number) => {
                errors.push(error(&at("targetPort"), Invalid, format!("Invalid value: {}: {bounds}", shown(number))));
            }
            _ => {}
        }
    }
    let mut seen = HashSet::new();
    for (index, port) in listed.iter().enumerate() {
        if !seen.insert((text(&port["protocol"]), port["port"].to_string())) {
            let shown = format!(
                r#"{{"Name":"","Protocol":"{}","AppProtocol":null,"Port":{},"TargetPort":0,"NodePort":0}}"#,
                text(&port["protocol"]),
                port["port"]
            );
            errors.push(error(&format!("spec.ports[{index}]"), Duplicate, format!("Duplicate value: {shown}")));
        }
    }
}

fn families(spec: &mut Map<String, Value>) {
    let headless = spec.get("clusterIP").is_some_and(|address| address == "None");
    let selects = spec.get("selector").and_then(Value::as_object).is_some_and(|selector| !selector.is_empty());
    let (families, policy) = if headless && !selects {
        (json!(["IPv4", "IPv6"]), "RequireDualStack")
    } else {
        (json!(["IPv4"]), "SingleStack")
    };
    spec.entry("ipFamilies").or_insert(families);
    spec.entry("ipFamilyPolicy").or_insert_with(|| policy.into());
}

fn address(spec: &mut Map<String, Value>, txn: &Txn<'_>, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let before = old.map(|old| text(&old["spec"]["clusterIP"])).filter(|address| !address.is_empty());
    let asked = spec.get("clusterIP").map(text).filter(|address| !address.is_empty()).map(str::to_owned);
    let address = match (before, asked) {
        (Some(before), None) => before.to_owned(),
        (Some(before), Some(asked)) if before == asked => asked,
        (Some(_), Some(asked)) => {
            let message = format!("Invalid value: [{asked:?}]: may not change once set");
            errors.push(error("spec.clusterIPs[0]", Invalid, message));
            return;
        }
        (None, Some(asked)) if asked == "None" => asked,
        (None, asked) => match free_address(asked, txn) {
            Ok(address) => address,
            Err(wrong) => {
                errors.push(wrong);
                return;
            }
        },
    };
    spec.insert("clusterIPs".into(), json!([address]));
    spec.insert("clusterIP".into(), address.into());
}

/// The address that was asked for, or the next free one.
fn free_address(asked: Option<String>, txn: &Txn<'_>) -> Result<String, FieldError> {
    let services = txn.list("", "services", None);
    let taken: HashSet<&str> = services.iter().map(|(_, service)| text(&service["spec"]["clusterIP"])).collect();
    let refused = |shown: &str, why: String| {
        error("spec.clusterIPs", Invalid, format!("Invalid value: {shown}: failed to allocate IP{why}"))
    };
    let Some(asked) = asked else {
        let mut all = ADDRESSES.map(|host| Ipv4Addr::from(NETWORK | host).to_string());
        return all.find(|address| !taken.contains(address.as_str())).ok_or_else(|| {
            error("spec.clusterIPs", Invalid, "Invalid value: []: failed to allocate a serviceIP: range is full")
        });
    };
    let shown = format!("[{asked:?}]");
    match asked.parse::<IpAddr>() {
        Err(_) => Err(error(
            "spec.clusterIPs[0]",
            Invalid,
            format!("Invalid value: {asked:?}: must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"),
        )),
        Ok(IpAddr::V4(address)) if u32::from(address) & 0xffff_0000 == NETWORK => {
            if taken.contains(asked.as_str()) {
                Err(refused(&shown, format!(" {asked}: provided IP is already allocated")))
            } else {
                Ok(asked)
            }
        }
        Ok(_) => Err(refused(
            &shown,
            format!(
                " {asked}: the provided IP ({asked}) is not in the valid range. The range of valid IPs is 10.96.0.0/16"
            ),
        )),
    }
}

fn node_ports(spec: &mut Map<String, Value>, txn: &Txn<'_>, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let wanted = has_node_ports(spec);
    let own: HashSet<u64> = listed_node_ports(old.map_or(&Value::Null, |old| &old["spec"])).collect();
    let Some(Value::Array(ports)) = spec.get_mut("ports") else { return };
    if !wanted {
        for port in ports.iter_mut().filter_map(Value::as_object_mut) {
            if port.get("nodePort").and_then(Value::as_u64).is_some_and(|number| own.contains(&number)) {
                port.remove("nodePort");
            }
        }
        return;
    }
    let services = txn.list("", "services", None);
    let mut taken: HashSet<u64> = services
        .iter()
        .flat_map(|(_, service)| listed_node_ports(&service["spec"]))
        .filter(|n| !own.contains(n))
        .collect();
    let asked: HashSet<u64> = ports.iter().filter_map(|port| port["nodePort"].as_u64()).collect();
    for (index, port) in ports.iter_mut().enumerate() {
        let at = format!("spec.ports[{index}].nodePort");
        match port["nodePort"].as_u64().filter(|&number| number > 0) {
            Some(number) if !NODE_PORTS.contains(&number) => {
                let message = format!(
                    "Invalid value: {number}: provided port is not in the valid range. The range of valid ports is 30000-32767"
                );
                errors.push(error(&at, Invalid, message));
            }
            Some(number) if !taken.insert(number) => {
                errors.push(error(
                    &at,
                    Invalid,
                    format!("Invalid value: {number}: provided port is already allocated"),
                ));
            }
            Some(_) => {}
            None => {
                let kept = old.and_then(|old| old["spec"]["ports"].as_array()).into_iter().flatten();
                let kept = kept
                    .filter(|before| before["port"] == port["port"] && before["protocol"] == port["protocol"])
                    .find_map(|before| before["nodePort"].as_u64())
                    .filter(|number| !taken.contains(number) && !asked.contains(number));
                let free = kept.or_else(|| NODE_PORTS.clone().find(|n| !taken.contains(n) && !asked.contains(n)));
                let Some(free) = free else {
                    errors.push(error(&at, Invalid, "Invalid value: 0: failed to allocate a nodePort: range is full"));
                    return;
                };
                taken.insert(free);
                port["nodePort"] = free.into();
            }
        }
    }
}

fn listed_node_ports(spec: &Value) -> impl Iterator<Item = u64> {
    spec["ports"].as_array().into_iter().flatten().filter_map(|port| port["nodePort"].as_u64()).filter(|&n| n > 0)
}
