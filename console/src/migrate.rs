//! From Ingresses to the Gateway API: objects, a report that accounts for every field, and the
//! proof that requests get the same answers. Pure but for [`command`].

pub mod annotation;
pub mod command;
pub mod convert;
pub mod emit;
pub mod gateways;
pub mod ingress;
pub mod live;
pub mod nginx;
mod notes;
pub mod paths;
pub mod plan;
pub mod profile;
pub mod progress;
pub mod prove;
pub mod render;
pub mod report;
mod streams;

use std::{collections::BTreeMap, sync::LazyLock};

use gwproxy::local::{Admit as _, schema::Schemas};

use self::{
    convert::{Conversion, Made},
    ingress::{Ingress, Input, Source},
    nginx::Nginx,
    profile::Profile,
    report::{Entry, Outcome, fidelity},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Layout {
    /// One Gateway for all namespaces.
    Shared,
    /// A Gateway in every namespace that has an Ingress.
    PerNamespace,
    /// Routes only, for a Gateway that is there and has the listeners.
    Existing,
    /// ListenerSets that add listeners to a Gateway that is there.
    ListenerSet,
}

#[derive(Debug, Clone)]
pub struct Options {
    pub profile: Profile,
    pub gateway_class: Option<String>,
    pub layout: Layout,
    pub gateway_name: String,
    pub gateway_namespace: String,
    pub gateway_annotations: BTreeMap<String, String>,
    /// Ingresses of these classes, and those without one.
    pub ingress_classes: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            profile: profile::PROFILES[0],
            gateway_class: None,
            layout: Layout::Shared,
            gateway_name: "ingress".to_owned(),
            gateway_namespace: "gateway-system".to_owned(),
            gateway_annotations: BTreeMap::new(),
            ingress_classes: vec!["nginx".to_owned()],
        }
    }
}

impl Options {
    pub fn class(&self) -> &str {
        self.gateway_class.as_deref().unwrap_or(self.profile.class)
    }

    pub fn wants(&self, ingress: &Ingress) -> bool {
        ingress.class.as_ref().is_none_or(|class| self.ingress_classes.contains(class))
    }
}

#[derive(Debug)]
pub struct Migration {
    pub input: Input,
    pub nginx: Nginx,
    pub options: Options,
    /// Gateways first, then routes and the rest in the order of the input.
    pub objects: Vec<Made>,
    pub entries: Vec<Entry>,
    /// What was left out: `file:line object field`, and why.
    pub failed: Vec<(String, String)>,
    /// Objects that the API would refuse: each a defect of this program.
    pub invalid: Vec<String>,
    /// Ingresses of other classes.
    pub skipped: usize,
}

impl Migration {
    pub fn fidelity(&self) -> f64 {
        fidelity(&self.entries)
    }

    /// By Ingress, in the order of the input.
    pub fn fidelities(&self) -> Vec<(String, f64)> {
        let mut names: Vec<&str> = Vec::new();
        let mut of: BTreeMap<&str, Vec<&Entry>> = BTreeMap::new();
        for entry in &self.entries {
            let list = of.entry(&entry.object).or_default();
            if list.is_empty() {
                names.push(&entry.object);
            }
            list.push(entry);
        }
        names.into_iter().map(|name| (name.to_owned(), fidelity(of[name].iter().copied()))).collect()
    }

    pub fn count(&self, outcome: Outcome) -> usize {
        self.entries.iter().filter(|entry| entry.counted && entry.outcome == outcome).count()
    }
}

/// Converts everything that can be converted; what cannot is told and takes nobody with it.
pub fn migrate(
    sources: Vec<Source>,
    broken: Vec<(String, u32, String)>,
    default_namespace: &str,
    options: &Options,
) -> Migration {
    let mut input = Input::new(sources, default_namespace);
    let all = input.ingresses.len();
    input.ingresses.retain(|ingress| options.wants(ingress));
    let skipped = all - input.ingresses.len();
    input.broken = broken;
    let (settings, settings_entries) = streams::settings(&input);
    let nginx = Nginx::new(&input, settings, &|_| true);
    let conversion = Conversion::run(&input, &nginx, options);
    let mut objects = conversion.gateways.objects();
    objects.extend(conversion.made);
    let mut entries = Vec::new();
    for (ingress, notes) in input.ingresses.iter().zip(&conversion.notes) {
        entries.extend(report::entries(ingress, notes));
    }
    entries.extend(settings_entries);
    entries.extend(convert::stream_entries(&input));
    let mut failed: Vec<(String, String)> = Vec::new();
    for (file, line, why) in &input.broken {
        failed.push((format!("{file}:{line}"), format!("cannot be read: {why}")));
    }
    for (at, field, why) in &conversion.failed {
        let ingress = &input.ingresses[*at];
        let line = entries
            .iter()
            .find(|one| one.object == ingress.key() && one.field.starts_with(field.as_str()))
            .map_or(ingress.line, |one| one.line);
        let one = (format!("{}:{line} {} {field}", ingress.file, ingress.key()), why.clone());
        if !failed.contains(&one) {
            failed.push(one);
        }
    }
    for entry in entries.iter().filter(|one| {
        one.object.starts_with("ConfigMap")
            && one.outcome == Outcome::Manual
            && one.output.is_empty()
            && one.object.ends_with("-services")
    }) {
        failed.push((format!("{}:{} {} {}", entry.file, entry.line, entry.object, entry.field), entry.reason.clone()));
    }
    let invalid = objects.iter().flat_map(invalid).collect();
    Migration { nginx, objects, entries, failed, invalid, skipped, options: options.clone(), input }
}

/// What the schemas and rules of the Gateway API say against an object.
fn invalid(made: &Made) -> Vec<String> {
    static SCHEMAS: LazyLock<Option<Schemas>> = LazyLock::new(|| Schemas::new().ok());
    let Some(schemas) = &*SCHEMAS else { return vec!["the schemas of the Gateway API cannot be made".to_owned()] };
    let mut object = made.value.clone();
    let text = |pointer: &str| made.value.pointer(pointer).and_then(serde_json::Value::as_str).unwrap_or_default();
    let kind = text("/kind").to_owned();
    let of = format!("{kind} {}/{}", text("/metadata/namespace"), text("/metadata/name"));
    let admitted = schemas.admit("gateway.networking.k8s.io", &kind, &mut object, None);
    let errors = admitted.errors.iter().map(|error| format!("{of}: {}: {}", error.field, error.message));
    errors.chain(admitted.unknown.iter().map(|field| format!("{of}: {field}: unknown field"))).collect()
}
