//! Small kinds.

pub(in super::super) use super::pods::pod;
use super::{At, PORTS, PROTOCOLS, quantity, words};

pub(in super::super) fn endpoints(object: &At<'_>) {
    if object.is_update() && object.value["subsets"] == object.old["subsets"] {
        return;
    }
    for subset in object.each("subsets") {
        if subset.at("addresses").is_empty() && subset.at("notReadyAddresses").is_empty() {
            subset.missing("must specify `addresses` or `notReadyAddresses`");
        }
        for address in ["addresses", "notReadyAddresses"].iter().flat_map(|field| subset.each(field)) {
            let ip = address.at("ip");
            ip.text_is(words::address);
            address.at("hostname").text_is_if_set(words::label);
            if address.at("nodeName").is_set() {
                address.at("nodeName").text_is(words::subdomain);
            }
            ip.text_is(words::endpoint);
        }
        let ports = subset.each("ports");
        for port in &ports {
            let name = port.at("name");
            if ports.len() > 1 && name.is_empty() {
                name.missing("");
            }
            name.text_is_if_set(words::label);
            port.at("port").within(PORTS);
            port.at("protocol").word(&PROTOCOLS);
            if port.at("appProtocol").is_set() {
                port.at("appProtocol").text_is(words::qualified);
            }
        }
    }
}

pub(in super::super) fn lease(object: &At<'_>) {
    let spec = object.at("spec");
    let duration = spec.at("leaseDurationSeconds");
    if duration.is_set() && duration.number() <= 0 {
        duration.invalid("must be greater than 0");
    }
    spec.at("leaseTransitions").not_negative();
}

pub(in super::super) fn node(object: &At<'_>) {
    let taints = object.at("spec.taints").called("metadata.taints");
    let mut seen = Vec::new();
    for (index, taint) in object.each("spec.taints").into_iter().enumerate() {
        let taint = taint.called(&format!("{}[{index}]", taints.path));
        let (key, effect) = (taint.at("key"), taint.at("effect"));
        key.text_is(words::qualified);
        taint.at("value").text_is(words::label_value);
        if effect.required("") {
            effect.word_if_set(&["NoSchedule", "PreferNoSchedule", "NoExecute"]);
        }
        let pair = (key.text(), effect.text());
        if seen.contains(&pair) {
            taint.duplicate(taint.value);
        }
        seen.push(pair);
    }
}

pub(in super::super) fn claim(object: &At<'_>) {
    let spec = object.at("spec");
    spec.at("accessModes").required("at least 1 access mode is required");
    spec.at("selector").selector();
    for mode in spec.each("accessModes") {
        let modes = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];
        mode.called(&spec.at("accessModes").path).word_if_set(&modes);
    }
    let storage = spec.at("resources.requests.storage").called("spec.resources[storage]");
    if !storage.is_set() {
        storage.missing("");
    } else if quantity::nanos(storage.text()).is_some_and(|size| size <= 0) {
        storage.invalid("must be greater than zero");
    }
    spec.at("storageClassName").text_is_if_set(words::subdomain);
    spec.at("volumeMode").word_if_set(&["Block", "Filesystem"]);
}
