//! What happened and when, out of the changes that watches bring: conditions that turn, weights
//! that move, endpoints that come and go, and what was written from here. Bounded; the oldest goes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{
    health::{Condition, Health},
    json::text,
    key::{Kind, ObjectKey},
    neighbours::Endpoints,
    object::Object,
    store::{Change, Store, key_of},
};

#[cfg(test)]
mod tests;

const MOST: usize = 5000;
/// Of a changed spec, how many fields are named.
const FIELDS: usize = 3;
/// Of all requests, from which their failing is told; it is over at half of that.
const ERRORS: f64 = 0.01;
/// When a kind is first listed, conditions that turned within this time are told.
const LOOK_BACK: SignedDuration = SignedDuration::from_hours(1);

#[derive(Debug, Clone, PartialEq)]
pub struct Moment {
    pub at: Timestamp,
    /// None for what concerns no object, such as the connection.
    pub key: Option<ObjectKey>,
    /// None for a change that is neither good nor bad.
    pub health: Option<Health>,
    pub text: String,
    /// Counts up, so that a moment can be found again.
    pub number: u64,
}

#[derive(Debug, Clone, Default)]
pub struct Timeline {
    moments: VecDeque<Moment>,
    told: u64,
    failing: bool,
}

impl Timeline {
    /// Oldest first.
    pub fn moments(&self) -> impl DoubleEndedIterator<Item = &Moment> + ExactSizeIterator {
        self.moments.iter()
    }

    pub fn find(&self, number: u64) -> Option<&Moment> {
        let first = self.moments.front()?.number;
        self.moments.get(usize::try_from(number.checked_sub(first)?).ok()?)
    }

    pub fn tell(&mut self, at: Timestamp, key: Option<ObjectKey>, health: Option<Health>, text: impl Into<String>) {
        let number = self.told;
        self.told += 1;
        self.moments.push_back(Moment { at, key, health, text: text.into(), number });
        if self.moments.len() > MOST {
            self.moments.pop_front();
        }
    }

    /// Tells when errors begin and when they end.
    pub fn heed_traffic(&mut self, error_rate: Option<f64>, at: Timestamp) {
        let Some(rate) = error_rate else { return };
        if !self.failing && rate >= ERRORS {
            self.failing = true;
            self.tell(at, None, Some(Health::Degraded), format!("{:.1} % of all requests fail", rate * 100.0));
        } else if self.failing && rate < ERRORS / 2.0 {
            self.failing = false;
            self.tell(at, None, Some(Health::Ok), "requests succeed again");
        }
    }

    /// A change, heard `at`, that `store` has not applied yet.
    pub fn heed(&mut self, store: &Store, change: &Change, at: Timestamp) {
        match change {
            Change::Apply(kind, object) => self.heed_one(store, *kind, object, at),
            Change::Delete(key) => {
                if let Some(before) = store.get(key) {
                    self.compare(key, Some(&before.value()), None, at);
                }
            }
            Change::Replace(kind, objects) if store.sees_any(*kind) => {
                let now: BTreeSet<_> = objects.iter().filter_map(|object| key_of(*kind, &object.value())).collect();
                for (key, before) in store.of_kind(*kind) {
                    if !now.contains(key) {
                        self.compare(key, Some(&before.value()), None, at);
                    }
                }
                for object in objects {
                    self.heed_one(store, *kind, object, at);
                }
            }
            Change::Replace(kind, objects) => self.recall(*kind, objects, at),
            Change::Lost(kind, why) if store.sees_any(*kind) => {
                let text = format!("the watch of {} broke: {why}", kind.plural());
                self.tell(at, None, Some(Health::Stale), text);
            }
            Change::Lost(..)
            | Change::Loading(_)
            | Change::Forbidden(_)
            | Change::Missing(_)
            | Change::Narrowed(..) => {}
        }
    }

    fn heed_one(&mut self, store: &Store, kind: Kind, object: &Object, at: Timestamp) {
        let after = object.value();
        let Some(key) = key_of(kind, &after) else { return };
        let before = store.get(&key).map(Object::value);
        self.compare(&key, before.as_ref(), Some(&after), at);
    }

    /// What a first list still knows of the time before it.
    fn recall(&mut self, kind: Kind, objects: &[Object], at: Timestamp) {
        let mut found = Vec::new();
        for object in objects {
            let object = object.value();
            let Some(key) = key_of(kind, &object) else { continue };
            for ((scope, _), condition) in conditions(&object) {
                if let Some(since) =
                    condition.since.filter(|since| *since <= at && at.duration_since(*since) < LOOK_BACK)
                {
                    found.push((since, key.clone(), condition.verdict(0).health, turned(&scope, None, &condition)));
                }
            }
        }
        found.sort_by(|a, b| (a.0, &a.1, &a.3).cmp(&(b.0, &b.1, &b.3)));
        for (since, key, health, text) in found {
            self.tell(since, Some(key), Some(health), text);
        }
    }

    fn compare(&mut self, key: &ObjectKey, before: Option<&Value>, after: Option<&Value>, at: Timestamp) {
        if key.kind == Kind::EndpointSlice {
            return self.endpoints(key, before, after, at);
        }
        let told = |line: &mut Self, health, text: String| line.tell(at, Some(key.clone()), health, text);
        match (before, after) {
            (None, None) => {}
            (None, Some(_)) => told(self, None, "created".to_owned()),
            (Some(_), None) => told(self, None, "deleted".to_owned()),
            (Some(before), Some(after)) => {
                if let Some(text) = changed(before, after) {
                    told(self, None, text);
                }
                let was = conditions(before);
                for ((scope, kind), condition) in conditions(after) {
                    let old = was.get(&(scope.clone(), kind));
                    if old.is_none_or(|old| (&old.status, &old.reason) != (&condition.status, &condition.reason)) {
                        told(self, Some(condition.verdict(0).health), turned(&scope, old, &condition));
                    }
                }
            }
        }
    }

    /// Of a slice only how many endpoints are ready is of interest, under the Service's name.
    fn endpoints(&mut self, key: &ObjectKey, before: Option<&Value>, after: Option<&Value>, at: Timestamp) {
        let read = |object: Option<&Value>| object.map(|object| Endpoints::read(key, object));
        let (was, is) = (read(before), read(after));
        let Some(service) = is.as_ref().or(was.as_ref()).map(|slice| slice.service.clone()) else { return };
        let ready = |slice: Option<Endpoints>| slice.map_or(0, |slice| slice.ready);
        let (was, is) = (ready(was), ready(is));
        if was != is && !service.is_empty() {
            let health = match is {
                0 => Health::Broken,
                _ if is < was => Health::Degraded,
                _ => Health::Ok,
            };
            let of = ObjectKey::new(Kind::Service, &key.namespace, service);
            self.tell(at, Some(of), Some(health), format!("ready endpoints in {}: {was} to {is}", key.name));
        }
    }
}

/// By parent, listener or ancestor, and by type.
fn conditions(object: &Value) -> BTreeMap<(String, String), Condition> {
    let mut all = BTreeMap::new();
    let status = object.get("status");
    let mut add = |scope: String, of: Option<&Value>| {
        for condition in Condition::all(of) {
            all.insert((scope.clone(), condition.kind.clone()), condition);
        }
    };
    add(String::new(), status);
    let each =
        |field: &str| status.and_then(|status| status.get(field)).and_then(Value::as_array).into_iter().flatten();
    for listener in each("listeners") {
        add(format!("listener {}", text(listener, "name")), Some(listener));
    }
    for (field, reference) in [("parents", "parentRef"), ("ancestors", "ancestorRef")] {
        for parent in each(field) {
            let named = parent.get(reference);
            let name = named.map(|named| text(named, "name")).unwrap_or_default();
            let section = named.map(|named| text(named, "sectionName")).filter(|section| !section.is_empty());
            add(section.map_or_else(|| format!("on {name}"), |section| format!("on {name}/{section}")), Some(parent));
        }
    }
    all
}

/// What counts comes first: rows are cut at their end.
fn turned(scope: &str, old: Option<&Condition>, new: &Condition) -> String {
    let mut text = format!("{}={}", new.kind, new.status);
    if new.reason != new.kind && !new.reason.is_empty() {
        text += &format!(" {}", new.reason);
    }
    if !scope.is_empty() {
        text += &format!(" {scope}");
    }
    match old {
        Some(old) if old.status == new.status => text += &format!(", was {}", old.reason),
        Some(old) => text += &format!(", was {}", old.status),
        None => {}
    }
    if new.verdict(0).health.is_fault() && !new.message.is_empty() {
        text += &format!(": {}", new.message);
    }
    text
}

/// Weights that moved, else the first fields of the spec that differ.
fn changed(before: &Value, after: &Value) -> Option<String> {
    let (was, is) = (weights(before), weights(after));
    let moved: Vec<String> = is
        .iter()
        .filter_map(|(backend, weight)| {
            let old = was.get(backend)?;
            (old != weight).then(|| format!("{} {old} to {weight}", backend.1))
        })
        .collect();
    if !moved.is_empty() && was.keys().eq(is.keys()) {
        return Some(format!("weights: {}", moved.join(", ")));
    }
    let mut fields = Vec::new();
    let spec = |object: &Value| object.get("spec").cloned().unwrap_or_default();
    differences("spec", &spec(before), &spec(after), &mut fields);
    let more = fields.len().saturating_sub(FIELDS);
    fields.truncate(FIELDS);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    (!fields.is_empty()).then(|| fields.join(", ") + &more)
}

fn differences(path: &str, before: &Value, after: &Value, fields: &mut Vec<String>) {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
            for name in names {
                let of = |object: &serde_json::Map<String, Value>| object.get(name).cloned().unwrap_or_default();
                differences(&format!("{path}.{name}"), &of(before), &of(after), fields);
            }
        }
        (Value::Array(before), Value::Array(after)) if before.len() == after.len() => {
            for (at, (before, after)) in before.iter().zip(after).enumerate() {
                differences(&format!("{path}[{at}]"), before, after, fields);
            }
        }
        (before, after) if before == after => {}
        (before, after) => fields.push(format!("{path} {} to {}", brief(before), brief(after))),
    }
}

fn brief(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(all) => format!("[{} entries]", all.len()),
        Value::Object(_) => "{...}".to_owned(),
        other => other.to_string(),
    }
}

/// By rule and backend; a backend that is named twice in a rule counts once.
fn weights(object: &Value) -> BTreeMap<(usize, String), u64> {
    let rules = object.pointer("/spec/rules").and_then(Value::as_array).into_iter().flatten();
    rules
        .enumerate()
        .flat_map(|(at, rule)| {
            let backends = rule.get("backendRefs").and_then(Value::as_array).into_iter().flatten();
            backends.map(move |backend| {
                let weight = backend.get("weight").and_then(Value::as_u64).unwrap_or(1);
                ((at, text(backend, "name")), weight)
            })
        })
        .collect()
}
