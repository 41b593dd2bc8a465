//! Containers of Pods.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::pods::Volumes;
use super::{At, Names, PORTS, PROTOCOLS, handlers, quantity, words};

const REGULAR: &str = "containers";

/// The regular containers, those that run before and those that were added.
pub(super) fn all(spec: &At<'_>, volumes: &Volumes<'_>) {
    if !spec.at(REGULAR).required("") {
        return;
    }
    let mut names = Names::default();
    for container in spec.each(REGULAR) {
        common(&container, volumes);
        names.once(&container.at("name"));
        handlers::lifecycle(&container);
        handlers::probes(&container);
    }
    host_ports(spec, REGULAR);
    for container in spec.each("initContainers") {
        common(&container, volumes);
        let restarts = container.at("restartPolicy");
        if restarts.is_set() && restarts.text() != "Always" {
            restarts.word(&["Always", "Never", "OnFailure"]);
        }
        let name = container.at("name");
        if !name.is_empty() {
            names.once(&name);
        }
        if restarts.text() == "Always" {
            handlers::lifecycle(&container);
            handlers::probes(&container);
        } else {
            for field in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
                if container.at(field).is_set() {
                    container.at(field).forbidden("may not be set for init containers without restartPolicy=Always");
                }
            }
        }
    }
    for container in spec.each("ephemeralContainers") {
        common(&container, volumes);
        names.once(&container.at("name"));
    }
}

/// What holds in a Pod and not in a template of one.
pub(super) fn in_pod(container: &At<'_>) {
    let image = container.at("image");
    if image.text().trim() != image.text() {
        image.invalid("must not have leading or trailing whitespace");
    }
}

fn common(container: &At<'_>, volumes: &Volumes<'_>) {
    let name = container.at("name");
    if name.required("") {
        name.text_is(words::label);
    }
    container.at("image").required("");
    container.at("terminationMessagePolicy").word(&["File", "FallbackToLogsOnError"]);
    ports(container);
    for variable in container.each("env") {
        environment(&variable);
    }
    for source in container.each("envFrom") {
        source.at("prefix").text_is_if_set(words::variable);
        let given: Vec<At<'_>> =
            ["configMapRef", "secretRef"].iter().map(|field| source.at(field)).filter(At::is_set).collect();
        given.iter().for_each(|reference| {
            reference.at("name").required("");
        });
        match given.len() {
            0 => container.at("envFrom").invalid_as(&"".into(), "must specify one of: `configMapRef` or `secretRef`"),
            1 => {}
            _ => container.at("envFrom").invalid_as(&"".into(), ONE),
        }
    }
    mounts(container, volumes);
    container.at("imagePullPolicy").word(&["Always", "IfNotPresent", "Never"]);
    resources(&container.at("resources"));
    security(&container.at("securityContext"));
}

const ONE: &str = "may not have more than one field specified at a time";

fn ports(container: &At<'_>) {
    let mut names = HashSet::new();
    for port in container.each("ports") {
        let name = port.at("name");
        if !name.is_empty() {
            let before = name.said();
            name.text_is(words::port_name);
            if name.said() == before && !names.insert(name.text()) {
                name.duplicate(name.value);
            }
        }
        let number = port.at("containerPort");
        if number.required("") {
            number.within(PORTS);
        }
        if !port.at("hostPort").is_empty() {
            port.at("hostPort").within(PORTS);
        }
        port.at("protocol").word(&PROTOCOLS);
    }
}

fn host_ports(spec: &At<'_>, field: &str) {
    let mut taken = HashSet::new();
    for port in spec.each(field).iter().flat_map(|container| container.each("ports")) {
        let host = port.at("hostPort");
        let shown = format!("{}/{}/{}", port.at("protocol").text(), port.at("hostIP").text(), host.number());
        if !host.is_empty() && !taken.insert(shown.clone()) {
            host.duplicate(&shown.into());
        }
    }
}

const FIELDS: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

const RESOURCES: [&str; 6] = [
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];

fn environment(variable: &At<'_>) {
    if variable.at("name").required("") {
        variable.at("name").text_is(words::variable);
    }
    let from = variable.at("valueFrom");
    if !from.is_set() {
        return;
    }
    let kinds = ["fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef"];
    let given: Vec<At<'_>> = kinds.iter().map(|kind| from.at(kind)).filter(At::is_set).collect();
    for (kind, source) in kinds.iter().map(|kind| (*kind, from.at(kind))).filter(|(_, source)| source.is_set()) {
        match kind {
            "fieldRef" => field_path(&source.at("fieldPath")),
            "resourceFieldRef" => {
                let resource = source.at("resource");
                let huge = ["requests.hugepages-", "limits.hugepages-"];
                if resource.required("") && !huge.iter().any(|prefix| resource.text().starts_with(prefix)) {
                    resource.word_if_set(&RESOURCES);
                }
            }
            "fileKeyRef" => {
                ["key", "volumeName", "path"].iter().for_each(|field| {
                    source.at(field).required("");
                });
            }
            _ => {
                source.at("name").text_is(words::subdomain);
                if source.at("key").required("") {
                    source.at("key").text_is(words::data_key);
                }
            }
        }
    }
    let nothing = Value::from("");
    if given.is_empty() {
        let why =
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`";
        from.invalid_as(&nothing, why);
    } else if !variable.at("value").is_empty() {
        from.invalid_as(&nothing, "may not be specified when `value` is not empty");
    } else if given.len() > 1 {
        from.invalid_as(&nothing, ONE);
    }
}

fn field_path(path: &At<'_>) {
    if !path.required("") {
        return;
    }
    let text = path.text();
    let keyed = ["metadata.labels['", "metadata.annotations['"].iter().any(|prefix| text.starts_with(prefix));
    let served = keyed && text.ends_with("']") || FIELDS.contains(&text);
    if !served {
        let known = ["metadata.labels", "metadata.annotations", "status.phase", "spec.restartPolicy"];
        if known.contains(&text) {
            path.unsupported(&FIELDS);
        } else {
            path.invalid(&format!("error converting fieldPath: field label not supported: {text}"));
        }
    }
}

fn mounts(container: &At<'_>, volumes: &Volumes<'_>) {
    let mut paths = HashSet::new();
    for mount in container.each("volumeMounts") {
        let (name, path) = (mount.at("name"), mount.at("mountPath"));
        name.required("");
        if !volumes.contains(name.text()) {
            name.not_found();
        }
        path.required("");
        if !paths.insert(path.text()) {
            path.invalid("must be unique");
        }
        let (plain, expression) = (mount.at("subPath"), mount.at("subPathExpr"));
        let spoken = |field: &str| container.at("volumeMounts").at(field).path;
        if !plain.is_empty() {
            descending(&plain.called(&spoken("subPath")));
        }
        if !expression.is_empty() {
            if !plain.is_empty() {
                expression.invalid("subPathExpr and subPath are mutually exclusive");
            }
            descending(&expression.called(&spoken("subPathExpr")));
        }
    }
    for device in container.each("volumeDevices") {
        let name = device.at("name");
        name.required("");
        if !volumes.contains(name.text()) {
            name.not_found();
        }
        device.at("devicePath").required("");
    }
}

/// A path that stays below where it begins.
pub(super) fn descending(path: &At<'_>) {
    if path.text().starts_with('/') {
        path.invalid("must be a relative path");
    }
    if path.text().split('/').any(|part| part == "..") {
        path.invalid("must not contain '..'");
    }
}

const STANDARD: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];

pub(super) fn resources(resources: &At<'_>) {
    for list in ["limits", "requests"] {
        for (name, value) in resources.at(list).value.as_object().into_iter().flatten() {
            let place = resources.at(list).called(&format!("{}.{list}[{name}]", resources.path));
            let place = At { value, ..place };
            let plain = !name.contains('/');
            if !words::qualified(name).is_empty() {
                words::qualified(name).iter().for_each(|why| place.invalid_as(&json!(name), why));
            } else if plain && !STANDARD.contains(&name.as_str()) && !name.starts_with("hugepages-") {
                let why = "must be a standard resource type or fully qualified";
                place.invalid_as(&json!(name), why);
                place.invalid_as(&json!(name), "must be a standard resource for containers");
            }
            let number = quantity::nanos(place.text());
            if number.is_some_and(|number| number < 0) {
                place.invalid("must be greater than or equal to 0");
            }
            let limit = &resources.value["limits"][name];
            if list == "requests"
                && let (Some(asked), Some(most)) = (number, limit.as_str().and_then(quantity::nanos))
                && asked > most
            {
                let limit = limit.as_str().unwrap_or_default();
                place
                    .called(&format!("{}.requests", resources.path))
                    .invalid(&format!("must be less than or equal to {name} limit of {limit}"));
            }
        }
    }
}

const CONTEXT: [&str; 12] = [
    "Capabilities",
    "Privileged",
    "SELinuxOptions",
    "WindowsOptions",
    "RunAsUser",
    "RunAsGroup",
    "RunAsNonRoot",
    "ReadOnlyRootFilesystem",
    "AllowPrivilegeEscalation",
    "ProcMount",
    "SeccompProfile",
    "AppArmorProfile",
];

fn security(context: &At<'_>) {
    for field in ["runAsUser", "runAsGroup"] {
        let id = context.at(field);
        if id.is_set() {
            id.within(0..=i64::from(i32::MAX));
        }
    }
    let escalates = context.at("allowPrivilegeEscalation");
    if context.value["privileged"] == true && *escalates.value == json!(false) {
        context.invalid_struct(&CONTEXT, "cannot set `allowPrivilegeEscalation` to false and `privileged` to true");
    }
}
