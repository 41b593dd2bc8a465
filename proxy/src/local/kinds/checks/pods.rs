//! Pods, and the templates of them.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::{At, Names, containers, words};

/// A Pod's volumes that are as they have to be, by name.
pub(super) type Volumes<'a> = HashSet<&'a str>;

pub(in super::super) fn pod(object: &At<'_>) {
    let spec = object.at("spec");
    pod_spec(&spec, None, true);
    for field in ["containers", "initContainers"] {
        for container in spec.each(field) {
            containers::in_pod(&container);
        }
    }
    if object.is_update() {
        return update(&spec);
    }
    if !spec.at("ephemeralContainers").is_empty() {
        spec.at("ephemeralContainers").forbidden("cannot be set on create");
    }
    if !spec.at("nodeName").is_empty() && !spec.at("schedulingGates").is_empty() {
        spec.at("nodeName").forbidden("cannot be set until all schedulingGates have been cleared");
    }
}

const UPDATABLE: &str = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

fn update(spec: &At<'_>) {
    for (field, words) in [("containers", "containers"), ("initContainers", "containers")] {
        let (new, old) = (spec.at(field), spec.at(field).old.as_array().map_or(0, Vec::len));
        if new.value.as_array().map_or(0, Vec::len) != old {
            return new.forbidden(&format!("pod updates may not add or remove {words}"));
        }
        for container in spec.each(field) {
            container.at("image").required("");
        }
    }
    let deadline = spec.at("activeDeadlineSeconds");
    match (deadline.value.as_i64(), deadline.old.as_i64()) {
        (Some(new), _) if new < 0 => return deadline.within(0..=i64::from(i32::MAX)),
        (Some(new), Some(old)) if new > old => {
            return deadline.invalid("must be less than or equal to previous value");
        }
        (None, Some(_)) => deadline.invalid("must not update from a positive integer to nil value"),
        _ => {}
    }
    let listed = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let tolerations = spec.at("tolerations");
    if listed(tolerations.old).iter().any(|old| !listed(tolerations.value).contains(old)) {
        tolerations.forbidden("existing toleration can not be modified except its tolerationSeconds");
    }
    let gates = spec.at("schedulingGates");
    if let Some(new) = listed(gates.value).iter().find(|gate| !listed(gates.old).contains(gate)) {
        gates.forbidden(&format!("only deletion is allowed, but found new scheduling gate {}", new["name"]));
    }
    let (new, old) = (fixed(spec.value), fixed(spec.old));
    if new != old {
        spec.forbidden(&format!("{UPDATABLE}\n{}", difference(&old, &new)));
    }
}

/// The spec without what may change.
fn fixed(spec: &Value) -> Value {
    let mut spec = spec.clone();
    for list in ["containers", "initContainers"] {
        for container in spec[list].as_array_mut().into_iter().flatten() {
            container["image"] = Value::Null;
        }
    }
    for field in ["activeDeadlineSeconds", "tolerations", "schedulingGates", list_of_null(&spec)] {
        if let Some(fields) = spec.as_object_mut() {
            fields.remove(field);
        }
    }
    spec
}

/// Indexing makes fields; an absent list of init containers stays absent.
fn list_of_null(spec: &Value) -> &'static str {
    if spec["initContainers"].is_null() { "initContainers" } else { "" }
}

fn difference(old: &Value, new: &Value) -> String {
    let empty = serde_json::Map::new();
    let (old, new) = (old.as_object().unwrap_or(&empty), new.as_object().unwrap_or(&empty));
    let mut lines = Vec::new();
    for field in old.keys().chain(new.keys().filter(|field| !old.contains_key(*field))) {
        let (before, after) = (old.get(field), new.get(field));
        if before != after {
            lines.extend(before.map(|value| format!("-\t{field}: {value},")));
            lines.extend(after.map(|value| format!("+\t{field}: {value},")));
        }
    }
    lines.join("\n") + "\n"
}

pub(super) fn template(template: &At<'_>) {
    template_with(template, &Value::Null);
}

/// A template whose Pods get volumes from these claims.
pub(super) fn template_with(template: &At<'_>, claims: &Value) {
    template.at("metadata.labels").called(&format!("{}.labels", template.path)).labels();
    let claims = claims.as_array().map(Vec::as_slice);
    pod_spec(&template.at("spec"), claims, false);
    let ephemeral = template.at("spec.ephemeralContainers");
    if !ephemeral.is_empty() {
        ephemeral.forbidden("ephemeral containers not allowed in pod template");
    }
}

const POLICIES: [&str; 4] = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];

fn pod_spec(spec: &At<'_>, claims: Option<&[Value]>, is_pod: bool) {
    if !spec.at("terminationGracePeriodSeconds").is_set() {
        spec.at("terminationGracePeriodSeconds").missing("");
    }
    let mut volumes = volumes(spec);
    let claims = claims.unwrap_or_default().iter();
    volumes.extend(claims.filter_map(|claim| claim["metadata"]["name"].as_str()));
    containers::all(spec, &volumes);
    host_network(spec, is_pod);
    spec.at("restartPolicy").word(&["Always", "OnFailure", "Never"]);
    spec.at("dnsPolicy").word(&POLICIES);
    spec.at("nodeSelector").labels();
    for reference in spec.each("imagePullSecrets") {
        reference.at("name").required("");
    }
    dns(spec);
    for gate in spec.each("readinessGates") {
        gate.at("conditionType").text_is(words::qualified);
    }
    let mut names = Names::default();
    for gate in spec.each("schedulingGates") {
        let name = gate.at("name").called(&gate.path);
        name.text_is(words::qualified);
        names.once(&name);
    }
    spread(spec);
    spec.at("serviceAccountName").text_is_if_set(words::subdomain);
    spec.at("nodeName").text_is_if_set(words::subdomain);
    if spec.at("activeDeadlineSeconds").is_set() {
        spec.at("activeDeadlineSeconds").within(1..=i64::from(i32::MAX));
    }
    spec.at("hostname").text_is_if_set(words::label);
    spec.at("subdomain").text_is_if_set(words::label);
    for toleration in spec.each("tolerations") {
        tolerate(&toleration);
    }
    for alias in spec.each("hostAliases") {
        alias.at("ip").text_is(words::address);
        for name in alias.each("hostnames") {
            name.called(&alias.at("hostnames").path).text_is(words::subdomain);
        }
    }
    spec.at("priorityClassName").text_is_if_set(words::subdomain);
    spec.at("runtimeClassName").text_is_if_set(words::subdomain);
    spec.at("preemptionPolicy").word_if_set(&["PreemptLowerPriority", "Never"]);
}

fn host_network(spec: &At<'_>, is_pod: bool) {
    if spec.value["hostNetwork"] != true {
        return;
    }
    for port in spec.each("containers").iter().flat_map(|container| container.each("ports")) {
        let (host, own) = (port.at("hostPort"), port.at("containerPort"));
        if (is_pod || host.is_set()) && host.number() != own.number() {
            host.invalid_as(&host.number().into(), "must match `containerPort` when `hostNetwork` is true");
        }
    }
}

fn dns(spec: &At<'_>) {
    let (config, servers) = (spec.at("dnsConfig"), spec.at("dnsConfig.nameservers"));
    if spec.at("dnsPolicy").text() == "None" {
        if !config.is_set() {
            return config.missing("must provide `dnsConfig` when `dnsPolicy` is None");
        }
        if servers.is_empty() {
            return servers.missing("must provide at least one DNS nameserver when `dnsPolicy` is None");
        }
    }
    if servers.value.as_array().is_some_and(|servers| servers.len() > 3) {
        servers.invalid("must not have more than 3 nameservers");
    }
    for server in config.each("nameservers") {
        server.text_is(words::address);
    }
}

fn spread(spec: &At<'_>) {
    let mut seen = HashSet::new();
    for constraint in spec.each("topologySpreadConstraints") {
        let skew = constraint.at("maxSkew");
        if skew.number() <= 0 {
            skew.invalid("must be greater than zero");
        }
        let (key, when) = (constraint.at("topologyKey"), constraint.at("whenUnsatisfiable"));
        if key.required("can not be empty") {
            key.text_is(words::qualified);
        }
        when.word_if_set(&["DoNotSchedule", "ScheduleAnyway"]);
        if !seen.insert((key.text(), when.text())) {
            let shown = format!("{{{}, {}}}", key.text(), when.text());
            constraint.at("{topologyKey, whenUnsatisfiable}").duplicate(&shown.into());
        }
        constraint.at("labelSelector").selector();
    }
}

fn tolerate(toleration: &At<'_>) {
    let at = |field| toleration.at(field);
    let (key, operator, effect, value) = (at("key"), at("operator"), at("effect"), at("value"));
    key.text_is_if_set(words::qualified);
    if key.is_empty() && operator.text() != "Exists" {
        let why = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
        operator.invalid_as(&operator.text().into(), why);
    }
    if at("tolerationSeconds").is_set() && effect.text() != "NoExecute" {
        effect.invalid_as(&effect.text().into(), "effect must be 'NoExecute' when `tolerationSeconds` is set");
    }
    match operator.text() {
        "" | "Equal" => {
            for why in words::label_value(value.text()) {
                operator.invalid_as(&value.text().into(), &why);
            }
        }
        "Exists" if !value.is_empty() => {
            operator.invalid_as(value.value, "value must be empty when `operator` is 'Exists'");
        }
        "Exists" => {}
        "Lt" | "Gt" => operator.unsupported(&["Equal", "Exists", "Lt", "Gt"]),
        _ => operator.unsupported(&["Equal", "Exists"]),
    }
    effect.word_if_set(&["NoSchedule", "PreferNoSchedule", "NoExecute"]);
}

/// Where a volume of each type is and what it has to say; the types in the order in which the
/// first one counts.
const SOURCES: [(&str, &[&str]); 12] = [
    ("emptyDir", &[]),
    ("hostPath", &["path"]),
    ("secret", &["secretName"]),
    ("nfs", &["server", "path"]),
    ("persistentVolumeClaim", &["claimName"]),
    ("configMap", &["name"]),
    ("projected", &[]),
    ("downwardAPI", &[]),
    ("csi", &["driver"]),
    ("ephemeral", &["volumeClaimTemplate"]),
    ("image", &[]),
    ("iscsi", &["targetPortal", "iqn"]),
];

fn volumes<'a>(spec: &At<'a>) -> Volumes<'a> {
    let mut sound = Volumes::new();
    for volume in spec.each("volumes") {
        let before = volume.said();
        let known = SOURCES.iter().filter(|(source, _)| volume.at(source).is_set());
        for (index, (source, required)) in known.enumerate() {
            let source = volume.at(source);
            if index > 0 {
                source.forbidden("may not specify more than 1 volume type");
                continue;
            }
            required.iter().for_each(|field| {
                source.at(field).required("");
            });
            mode(&source.at("defaultMode"));
            items(&source);
            for projected in source.each("sources") {
                ["secret", "configMap", "downwardAPI"].iter().for_each(|kind| items(&projected.at(kind)));
            }
        }
        let name = volume.at("name");
        if name.required("") {
            name.text_is(words::label);
        }
        if sound.contains(name.text()) {
            name.duplicate(&json!(name.text()));
        }
        if volume.said() == before {
            sound.insert(name.text());
        }
    }
    sound
}

fn items(source: &At<'_>) {
    for item in source.each("items") {
        if item.at("key").is_set() {
            item.at("key").required("");
        }
        let path = item.at("path");
        if path.required("") {
            containers::descending(&path);
        }
        mode(&item.at("mode"));
    }
}

fn mode(mode: &At<'_>) {
    if mode.is_set() && !(0..=0o777).contains(&mode.number()) {
        mode.invalid("must be a number between 0 and 0777 (octal), both inclusive");
    }
}
