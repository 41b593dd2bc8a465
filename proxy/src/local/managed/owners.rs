//! `metadata.managedFields`: who owns which fields.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use serde_json::{Map, Value, json};

use super::set::Set;
use crate::local::go;

/// Managers that update, beyond which the oldest are merged into one.
const UPDATERS: usize = 10;
const OLD: &str = "ancient-changes";

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Operation {
    Apply,
    Update,
}

/// Who an entry belongs to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Owner {
    pub(super) manager: String,
    pub(super) operation: Operation,
    /// Empty for `Apply`: an applier has one entry, whatever version it applies.
    pub(super) api_version: String,
    pub(super) subresource: String,
}

/// As a conflict names it.
impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&go::quoted(&self.manager))?;
        if !self.subresource.is_empty() {
            write!(f, " with subresource {}", go::quoted(&self.subresource))?;
        }
        if self.operation == Operation::Update { write!(f, " using {}", self.api_version) } else { Ok(()) }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Owned {
    pub(super) api_version: String,
    pub(super) time: Option<String>,
    pub(super) fields: Set,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Owners(pub(super) BTreeMap<Owner, Owned>);

impl Owners {
    /// Reads `managedFields`, or says why they are none.
    pub(super) fn read(entries: &Value) -> Result<Self, String> {
        let mut owners = Self::default();
        for entry in entries.as_array().into_iter().flatten() {
            let text = |field: &str| entry[field].as_str().unwrap_or_default().to_owned();
            let operation = match entry["operation"].as_str() {
                Some("Apply") => Operation::Apply,
                Some("Update") => Operation::Update,
                _ => return Err("operation must be `Apply` or `Update`".to_owned()),
            };
            let api_version = text("apiVersion");
            if api_version.is_empty() {
                return Err("apiVersion must not be empty".to_owned());
            }
            if entry["fieldsType"] != "FieldsV1" {
                return Err(format!("invalid fieldsType {:?}", text("fieldsType")));
            }
            let time = match &entry["time"] {
                Value::Null => None,
                time => Some(seconds(time).ok_or_else(|| format!("time {time} is not RFC 3339"))?),
            };
            let fields = match &entry["fieldsV1"] {
                Value::Null => Set::default(),
                fields => Set::from_json(fields)?,
            };
            let owner = Owner {
                manager: text("manager"),
                operation,
                api_version: if operation == Operation::Apply { String::new() } else { api_version.clone() },
                subresource: text("subresource"),
            };
            owners.0.insert(owner, Owned { api_version, time, fields });
        }
        Ok(owners)
    }

    /// As `managedFields`: appliers first, then by time.
    pub(super) fn write(&self) -> Value {
        let mut all: Vec<(&Owner, &Owned)> = self.0.iter().collect();
        all.sort_by_key(|(owner, owned)| {
            (owner.operation, &owned.time, &owner.manager, &owned.api_version, &owner.subresource)
        });
        all.into_iter().map(|(owner, owned)| entry(owner, owned)).collect()
    }

    /// Gives the fields to the owner, besides those that it has.
    pub(super) fn give(&mut self, owner: Owner, api_version: &str, fields: Set, now: &str) {
        let owned = self.0.entry(owner).or_default();
        owned.fields = owned.fields.union(&fields);
        owned.api_version = api_version.to_owned();
        owned.time = Some(now.to_owned());
    }

    /// Takes the fields from everybody but this one; who has none left goes.
    pub(super) fn take(&mut self, but: Option<&Owner>, fields: &Set) {
        for (_, owned) in self.0.iter_mut().filter(|(owner, _)| Some(*owner) != but) {
            owned.fields = owned.fields.difference(fields);
        }
        self.0.retain(|_, owned| !owned.fields.is_empty());
    }

    /// Merges the oldest updaters, version by version, until there are not too many.
    pub(super) fn cap(&mut self) {
        let mut updaters: Vec<Owner> =
            self.0.keys().filter(|owner| owner.operation == Operation::Update).cloned().collect();
        let mut left = updaters.len();
        if left <= UPDATERS {
            return;
        }
        updaters.sort_by_key(|owner| (self.0.get(owner).and_then(|owned| owned.time.clone()), owner.clone()));
        let mut first = BTreeMap::<String, Owner>::new();
        for owner in updaters {
            if left <= UPDATERS {
                return;
            }
            let bucket = Owner {
                manager: OLD.to_owned(),
                operation: Operation::Update,
                api_version: owner.api_version.clone(),
                subresource: String::new(),
            };
            match first.entry(owner.api_version.clone()) {
                Entry::Vacant(entry) => {
                    entry.insert(owner);
                }
                Entry::Occupied(entry) => {
                    if !self.0.contains_key(&bucket)
                        && let Some(oldest) = self.0.remove(entry.get())
                    {
                        self.0.insert(bucket.clone(), oldest);
                    }
                    if owner != bucket
                        && let (Some(merged), Some(into)) = (self.0.remove(&owner), self.0.get_mut(&bucket))
                    {
                        into.fields = into.fields.union(&merged.fields);
                        into.time = merged.time;
                        left -= 1;
                    }
                }
            }
        }
    }
}

fn entry(owner: &Owner, owned: &Owned) -> Value {
    let operation = if owner.operation == Operation::Apply { "Apply" } else { "Update" };
    let mut entry = Map::new();
    if !owner.manager.is_empty() {
        entry.insert("manager".into(), owner.manager.as_str().into());
    }
    entry.insert("operation".into(), operation.into());
    entry.insert("apiVersion".into(), owned.api_version.as_str().into());
    if let Some(time) = &owned.time {
        entry.insert("time".into(), time.as_str().into());
    }
    entry.insert("fieldsType".into(), "FieldsV1".into());
    entry.insert("fieldsV1".into(), owned.fields.to_json());
    if !owner.subresource.is_empty() {
        entry.insert("subresource".into(), owner.subresource.as_str().into());
    }
    Value::Object(entry)
}

/// A time in whole seconds, in UTC.
fn seconds(time: &Value) -> Option<String> {
    let time: jiff::Timestamp = time.as_str()?.parse().ok()?;
    Some(jiff::Timestamp::from_second(time.as_second()).ok()?.to_string())
}

/// Whether the entries are the same but for their times.
pub(super) fn same_but_times(one: &Value, other: &Value) -> bool {
    let timeless = |entries: &Value| {
        let mut entries: Vec<Value> = entries.as_array().cloned().unwrap_or_default();
        for entry in &mut entries {
            entry["time"] = json!(null);
        }
        entries.sort_by_cached_key(Value::to_string);
        entries
    };
    timeless(one) == timeless(other)
}
