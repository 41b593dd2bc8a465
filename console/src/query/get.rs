//! `gwtop get`: objects of a kind as a table with their health, or as they are.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Answer, Made, Output, Refusal, Scope, age, reference, yaml};
use crate::{
    exit::Exit,
    model::{
        health::{Health, Verdict},
        json::created,
        key::{Kind, ObjectKey},
        store::{Feed, Store},
    },
    print,
    rows::objects::{self, verdict},
};

/// What `get` is asked for: a kind, `KIND/NAME`, or a kind and names.
#[derive(Debug, Clone)]
pub struct Wanted {
    pub kind: Kind,
    pub names: Vec<String>,
}

impl Wanted {
    pub fn parse(words: &[String]) -> Result<Self, Refusal> {
        let Some((first, rest)) = words.split_first() else {
            return Err(Refusal::usage("name a kind: gateways, httproutes, svc, ..."));
        };
        match first.split_once('/') {
            Some((kind, name)) if rest.is_empty() => {
                Ok(Self { kind: super::named(kind)?, names: vec![name.to_owned()] })
            }
            Some(_) => Err(Refusal::usage("KIND/NAME stands alone; for several objects say KIND NAME NAME")),
            None => Ok(Self { kind: super::named(first)?, names: rest.to_vec() }),
        }
    }
}

pub fn answer(store: &Store, now: Timestamp, wanted: &Wanted, scope: &Scope, output: Output) -> Made {
    let kind = wanted.kind;
    seen(store, kind)?;
    let mut objects: Vec<(&ObjectKey, Value)> = store
        .of_kind(kind)
        .filter(|(key, _)| scope.admits(&key.namespace))
        .filter(|(key, _)| wanted.names.is_empty() || wanted.names.contains(&key.name))
        .map(|(key, object)| (key, object.value()))
        .collect();
    objects.sort_by_key(|(key, _)| *key);
    for name in &wanted.names {
        if !objects.iter().any(|(key, _)| key.name == *name) {
            let namespace = scope.namespace.clone().unwrap_or_default();
            super::find(store, &[kind.plural().to_owned(), name.clone()], &namespace)?;
        }
    }
    let text = match output {
        Output::Json | Output::Yaml => {
            let document = match (objects.as_slice(), wanted.names.len()) {
                ([(_, one)], 1) => one.clone(),
                _ => {
                    let items: Vec<&Value> = objects.iter().map(|(_, object)| object).collect();
                    json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": items})
                }
            };
            if output == Output::Json { super::json(&document) } else { yaml(&document) }
        }
        Output::Jsonl => objects.iter().map(|(_, object)| format!("{object}\n")).collect(),
        Output::Name => objects.iter().map(|(key, _)| reference(key) + "\n").collect(),
        Output::Text | Output::Wide => {
            if objects.is_empty() {
                let place = scope.namespace.as_ref().map(|own| format!(" in namespace {own}")).unwrap_or_default();
                format!("no {} found{place}\n", kind.plural())
            } else {
                table(store, kind, &objects, now, scope.namespace.is_none(), output == Output::Wide)
            }
        }
    };
    Ok(Answer::new(text, Exit::Ok))
}

/// Whether objects of the kind can be told at all.
fn seen(store: &Store, kind: Kind) -> Result<(), Refusal> {
    let (why, exit) = match store.feed(kind) {
        Feed::Forbidden => ("you may not list them (RBAC)".to_owned(), Exit::Unreachable),
        Feed::Missing => ("this cluster does not serve them".to_owned(), Exit::Usage),
        Feed::Lost(reason) => (reason.clone(), Exit::Unreachable),
        Feed::Live | Feed::Loading => return Ok(()),
    };
    Err(Refusal { why: format!("cannot list {}: {why}", kind.plural()), exit })
}

fn table(
    store: &Store,
    kind: Kind,
    objects: &[(&ObjectKey, Value)],
    now: Timestamp,
    namespaces: bool,
    wide: bool,
) -> String {
    let (own, more) = objects::facts(kind);
    let mut header = Vec::new();
    if namespaces && kind.namespaced() {
        header.push("NAMESPACE");
    }
    header.extend(["NAME", "HEALTH"]);
    header.extend(own);
    if wide {
        header.extend(more);
    }
    header.push("AGE");
    let rows: Vec<Vec<String>> = objects
        .iter()
        .map(|(key, object)| {
            let mut row = Vec::new();
            if namespaces && kind.namespaced() {
                row.push(key.namespace.clone());
            }
            row.extend([key.name.clone(), health(verdict(key, store).as_ref())]);
            let (own, more) = objects::facts_of(key, store, now);
            row.extend(own);
            if wide {
                row.extend(more);
            }
            row.push(age(created(object), now));
            row
        })
        .collect();
    print::table(&header, &rows)
}

pub(super) fn health(verdict: Option<&Verdict>) -> String {
    match verdict {
        None => "-".to_owned(),
        Some(verdict) => {
            let glyph = match verdict.health {
                Health::Ok => "✓",
                Health::Stale => "~",
                Health::Unknown => "?",
                Health::Degraded => "!",
                Health::Broken => "✗",
            };
            let word = if verdict.reason.is_empty() { verdict.health.word() } else { &verdict.reason };
            format!("{glyph} {word}")
        }
    }
}
