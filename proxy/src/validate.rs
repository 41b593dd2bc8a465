//! Verdicts on manifests without an API and without a socket: what would be said about them.

use std::{
    collections::btree_map::Entry,
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use ipnet::IpNet;
use serde_json::Value;

use crate::{
    compile::{
        ListenerVerdict, Memory, Verdict, Verdicts, compile,
        verdict::{condition, reason},
    },
    contract::CONTROLLER_NAME,
    local::{admit::Admit, schema::Schemas, seed},
    metrics::Registry,
    provision::host,
    resources::{Kind, Set, change::Change},
    types::{GatewayClass, Key},
};

mod report;
#[cfg(test)]
mod tests;

pub use report::{Report, Row};

/// What keeps manifests from being looked at at all.
#[derive(Debug, thiserror::Error)]
pub enum ValidateError {
    #[error("{path} cannot be read: {source}; name a file, a folder, or - for standard input")]
    Unreadable {
        path: String,
        #[source]
        source: io::Error,
    },
    #[error("{0} has no manifest: files end in .yaml, .yml or .json")]
    Empty(String),
    #[error("the schemas of the Gateway API cannot be used: {0}")]
    Schemas(String),
}

/// Reads files, folders (not what is below them) and `-`, and says what gwproxy makes of them.
pub fn validate(paths: &[PathBuf], pool: IpNet) -> Result<Report, ValidateError> {
    let mut texts = Vec::new();
    for path in paths {
        read(path, &mut texts)?;
    }
    examine(&texts, pool)
}

/// Adds names and contents of the manifests at `path`.
fn read(path: &Path, into: &mut Vec<(String, String)>) -> Result<(), ValidateError> {
    let shown = path.display().to_string();
    let unreadable = |source| ValidateError::Unreadable { path: shown.clone(), source };
    if path.as_os_str() == "-" {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text).map_err(unreadable)?;
        into.push((shown, text));
        return Ok(());
    }
    if !path.is_dir() {
        into.push((shown.clone(), fs::read_to_string(path).map_err(unreadable)?));
        return Ok(());
    }
    let mut files = fs::read_dir(path)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>())
        .map_err(unreadable)?;
    files.retain(|file| {
        let extension = file.extension().and_then(|extension| extension.to_str());
        let hidden = file.file_name().and_then(|name| name.to_str()).is_none_or(|name| name.starts_with('.'));
        file.is_file() && !hidden && matches!(extension, Some("yaml" | "yml" | "json"))
    });
    files.sort();
    if files.is_empty() {
        return Err(ValidateError::Empty(shown));
    }
    for file in files {
        let name = file.display().to_string();
        let text = fs::read_to_string(&file);
        let text = text.map_err(|source| ValidateError::Unreadable { path: name.clone(), source })?;
        into.push((name, text));
    }
    Ok(())
}

fn examine(texts: &[(String, String)], pool: IpNet) -> Result<Report, ValidateError> {
    let schemas = Schemas::new().map_err(|error| ValidateError::Schemas(error.to_string()))?;
    let (mut set, mut report) = (Set::default(), Report::default());
    for (file, text) in texts {
        let (objects, problems) = seed::objects(file, text);
        report.problems.extend(problems.iter().map(ToString::to_string));
        for object in objects {
            take(file, object, &schemas, &mut set, &mut report);
        }
    }
    assume_classes(&mut set, &mut report);
    let addresses = host::assign(&set, pool, CONTROLLER_NAME);
    let now = jiff::Timestamp::now().as_second();
    let mut memory = Memory::at(now);
    let compiled = compile(&set, &addresses, &Registry::new(1), CONTROLLER_NAME, 1, &mut memory);
    tell(&set, &compiled.verdicts, &mut report);
    Ok(report)
}

/// Puts an object into the set, as the API server would store it.
fn take(file: &str, mut object: Value, schemas: &Schemas, set: &mut Set, report: &mut Report) {
    let (api_version, name) = (text(&object["apiVersion"]), text(&object["kind"]));
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    let Some(kind) = Kind::ALL.into_iter().find(|kind| kind.name() == name && kind.group() == group) else {
        return;
    };
    if kind.is_namespaced() && object["metadata"]["namespace"].as_str().is_none_or(str::is_empty) {
        object["metadata"]["namespace"] = "default".into();
    }
    // Nobody can tell a status before there is one.
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
    }
    let admitted = schemas.admit(group, &name, &mut object, None);
    let key = Key::new(text(&object["metadata"]["namespace"]), text(&object["metadata"]["name"]));
    let problem = |what: String| format!("{file}: {kind} {key}: {what}");
    report.problems.extend(admitted.unknown.iter().map(|field| problem(format!("unknown field \"{field}\""))));
    report.problems.extend(admitted.errors.iter().map(|error| problem(format!("{}: {}", error.field, error.message))));
    if !admitted.errors.is_empty() {
        return;
    }
    match Change::apply(kind, object) {
        Ok(change) => drop(set.fold(change)),
        Err(error) => report.problems.push(problem(error.to_string())),
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Manifests of an application seldom have the class that they name: it is taken to be ours.
fn assume_classes(set: &mut Set, report: &mut Report) {
    let named: Vec<_> = set.gateways.values().map(|gateway| gateway.spec.gateway_class_name.clone()).collect();
    for name in named {
        if let Entry::Vacant(vacant) = set.classes.entry(name) {
            let name = vacant.key().clone();
            report.notes.push(format!("GatewayClass {name} is not in the manifests and is taken to be gwproxy's"));
            let mut class = GatewayClass::default();
            class.metadata.name = Some(name);
            class.spec.controller_name = CONTROLLER_NAME.to_owned();
            vacant.insert(Arc::new(class));
        }
    }
}

fn tell(set: &Set, verdicts: &Verdicts, report: &mut Report) {
    for (name, class) in &verdicts.classes {
        report.add(Kind::GatewayClass, &Key::new("", name), None, &class.conditions);
    }
    for (key, gateway) in &verdicts.gateways {
        report.add(Kind::Gateway, key, None, &gateway.conditions);
        listeners(report, Kind::Gateway, key, &gateway.listeners);
    }
    for (key, listener_set) in &verdicts.listener_sets {
        report.add(Kind::ListenerSet, key, None, &listener_set.conditions);
        listeners(report, Kind::ListenerSet, key, &listener_set.listeners);
    }
    for (kind, routes) in verdicts.routes() {
        for (key, route) in routes.iter() {
            for one in &route.parents {
                let parent = &one.parent;
                let mut name = format!("{} {}", parent.kind, parent.name);
                if let Some(namespace) = &parent.namespace {
                    name = format!("{} {namespace}/{}", parent.kind, parent.name);
                }
                let section = parent.section_name.iter().map(|section| format!(" listener {section}"));
                let port = parent.port.iter().map(|port| format!(" port {port}"));
                name.extend(section.chain(port));
                report.add(kind, key, Some(name), &one.conditions);
            }
        }
    }
    let known = verdicts.routes();
    for (kind, key, _) in set.routes() {
        if !known.iter().any(|(of, routes)| *of == kind && routes.contains_key(key)) {
            report.problems.push(format!("{kind} {key} names no parent that is in the manifests and is gwproxy's"));
        }
    }
    for (key, _) in set.listener_sets.iter().filter(|(key, _)| !verdicts.listener_sets.contains_key(*key)) {
        report.problems.push(format!("ListenerSet {key} names no Gateway that is in the manifests and is gwproxy's"));
    }
}

fn listeners(report: &mut Report, kind: Kind, key: &Key, listeners: &[ListenerVerdict]) {
    for listener in listeners {
        report.add(kind, key, Some(format!("listener {}", listener.name)), &listener.conditions);
    }
}

/// Whether a condition is as its reader hopes.
fn is_good(verdict: &Verdict) -> bool {
    let wanted = !matches!(verdict.type_, condition::CONFLICTED | condition::PARTIALLY_INVALID);
    verdict.status == wanted && verdict.reason != reason::LISTENERS_NOT_VALID
}

impl Report {
    fn add(&mut self, kind: Kind, key: &Key, of: Option<String>, conditions: &[Verdict]) {
        // That a listener is served shows only where it is served.
        let told = conditions.iter().filter(|one| one.type_ != condition::PROGRAMMED || !one.status);
        self.rows.extend(told.map(|one| Row {
            kind: kind.name(),
            namespace: key.namespace.clone(),
            name: key.name.clone(),
            of: of.clone(),
            condition: one.type_,
            status: one.status,
            reason: one.reason,
            message: one.message.clone(),
            good: is_good(one),
        }));
    }
}
