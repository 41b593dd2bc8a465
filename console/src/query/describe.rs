//! `gwtop describe`: everything about one object on one page, with what is wrong and its events.

use jiff::Timestamp;
use serde_json::Value;

use super::{Answer, Made, age, events::Event, get, why, yaml};
use crate::{
    exit::Exit,
    finding::{Object, human},
    model::{
        health::Condition,
        json::{created, generation, map},
        key::ObjectKey,
        store::Store,
    },
    print,
    rows::objects,
    triage::Triage,
};

pub fn answer(store: &Store, now: Timestamp, key: &ObjectKey, events: &[Event]) -> Made {
    let Some(object) = store.get(key) else { return Err(super::Refusal::usage(format!("{key} is gone"))) };
    let object = &object.value();
    let mut text = String::new();
    let mut field = |name: &str, value: &str| {
        if !value.is_empty() {
            text += &format!("{:<13} {}\n", format!("{name}:"), value.replace('\n', &format!("\n{}", " ".repeat(14))));
        }
    };
    field("Kind", key.kind.name());
    field("Name", &key.name);
    field("Namespace", &key.namespace);
    field("API version", object["apiVersion"].as_str().unwrap_or_default());
    field("Labels", &pairs(object, "/metadata/labels"));
    field("Annotations", &pairs(object, "/metadata/annotations"));
    field("Generation", &generation(object).to_string());
    field("Age", &age(created(object), now));
    field("Health", &get::health(objects::verdict(key, store).as_ref()));
    if let Some(spec) = object.get("spec") {
        text += &format!("Spec:\n{}", indented(&yaml(spec)));
    }
    text += &conditions(key, object, store, now);
    let triage = Triage::new(store, Some(now));
    if let Some(chain) = triage.why(key) {
        text += &format!("Way:\n{}", indented(&why::told(&chain, true)));
    } else {
        let own = Object::from(key);
        let found: String = triage.all().findings.iter().filter(|one| one.object == own).map(human::finding).collect();
        if !found.is_empty() {
            text += &format!("Findings:\n{}", indented(&found));
        }
    }
    text += "Events:";
    text += &if events.is_empty() {
        "  none\n".to_owned()
    } else {
        format!("\n{}", indented(&super::events::table(events, now, false)))
    };
    Ok(Answer::new(text, Exit::Ok))
}

fn pairs(object: &Value, pointer: &str) -> String {
    // A copy of the whole object says nothing new.
    let copy = |key: &str| key.ends_with("/last-applied-configuration") || key.ends_with("/last-applied");
    let all = map(object.pointer(pointer)).into_iter().filter(|(key, _)| !copy(key));
    all.map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join("\n")
}

fn conditions(key: &ObjectKey, object: &Value, store: &Store, now: Timestamp) -> String {
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut add = |of: &str, all: &[Condition]| {
        rows.extend(all.iter().map(|one| {
            let stale = if one.is_stale(generation(object)) { " (stale)" } else { "" };
            vec![
                of.to_owned(),
                one.kind.clone(),
                format!("{}{stale}", one.status),
                one.reason.clone(),
                age(one.since, now),
                one.message.clone(),
            ]
        }));
    };
    if let Some(route) = store.route(key) {
        for parent in &route.parents {
            add(&parent.label(), &parent.conditions);
        }
        for parent in &route.left_over {
            add(&format!("{} (not in spec)", parent.label()), &parent.conditions);
        }
    } else {
        add("", &Condition::all(object.get("status")));
        for listener in store.listeners(key).map(|(all, _)| all).unwrap_or_default() {
            add(&format!("listener {}", listener.name), &listener.conditions);
        }
    }
    if rows.is_empty() {
        return String::new();
    }
    format!("Conditions:\n{}", indented(&print::table(&["OF", "TYPE", "STATUS", "REASON", "SINCE", "MESSAGE"], &rows)))
}

fn indented(text: &str) -> String {
    text.lines().map(|line| if line.is_empty() { "\n".to_owned() } else { format!("  {line}\n") }).collect()
}
