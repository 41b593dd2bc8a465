//! Entries as they stand in a file.

use serde::{Deserializer, Serializer};

use super::*;

/// What others hold too.
#[derive(Debug)]
struct Shared<T>(Arc<T>);

impl<T: Serialize> Serialize for Shared<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Shared<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(|value| Self(Arc::new(value)))
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Head {
    pub recording: String,
    #[serde(default)]
    pub context: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Wire {
    at: Timestamp,
    #[serde(flatten)]
    entry: Named,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Named {
    Apply(KindName, Value),
    Delete(KindName, String, String),
    Replace(KindName, Vec<Value>),
    Loading(KindName),
    Forbidden(KindName),
    Lost(KindName, String),
    Missing(KindName),
    Narrowed(KindName, String),
    Samples(Scraped),
    Link(Standing),
    Done(Done),
    #[serde(untagged)]
    Unknown(BTreeMap<String, Value>),
}

/// Kinds by the name that kubectl takes; those that discovery found with all that it found.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum KindName {
    Known(String),
    Policy { group: String, name: String, plural: String, versions: Vec<String>, namespaced: bool },
}

#[derive(Debug, Serialize, Deserialize)]
struct Scraped {
    source: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    series: Vec<(u32, Shared<Series>)>,
    /// A value that JSON has no number for is text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    values: Vec<(u32, Figure)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    gone: Vec<u32>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Figure {
    Number(f64),
    Text(String),
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Standing {
    Connecting,
    Up { context: String, url: String },
    Down(String),
}

#[derive(Debug, Serialize, Deserialize)]
struct Done {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    object: Option<(KindName, String, String)>,
    text: String,
}

fn name(kind: Kind) -> KindName {
    match kind {
        Kind::Policy(PolicyKind { group, name, plural, versions, namespaced }) => KindName::Policy {
            group: group.clone(),
            name: name.clone(),
            plural: plural.clone(),
            versions: versions.clone(),
            namespaced: *namespaced,
        },
        kind if kind.group().is_empty() => KindName::Known(kind.plural().to_owned()),
        kind => KindName::Known(format!("{}.{}", kind.plural(), kind.group())),
    }
}

fn kind(name: KindName) -> Result<Kind, String> {
    match name {
        KindName::Known(name) => Kind::parse(&name).ok_or_else(|| format!("no kind {name}")),
        KindName::Policy { group, name, plural, versions, namespaced } => {
            Ok(PolicyKind { group, name, plural, versions, namespaced }.intern())
        }
    }
}

pub(super) fn of(line: &Line) -> Wire {
    let entry = match &line.entry {
        Entry::Change(change) => match change {
            Change::Apply(kind, object) => Named::Apply(name(*kind), object.value()),
            Change::Delete(key) => Named::Delete(name(key.kind), key.namespace.clone(), key.name.clone()),
            Change::Replace(kind, objects) => Named::Replace(name(*kind), objects.iter().map(Object::value).collect()),
            Change::Loading(kind) => Named::Loading(name(*kind)),
            Change::Forbidden(kind) => Named::Forbidden(name(*kind)),
            Change::Lost(kind, why) => Named::Lost(name(*kind), why.clone()),
            Change::Missing(kind) => Named::Missing(name(*kind)),
            Change::Narrowed(kind, namespace) => Named::Narrowed(name(*kind), namespace.clone()),
        },
        Entry::Samples(samples) => {
            let Samples { source, problem, series, values, gone } = samples.clone();
            let figure = |value: f64| {
                if value.is_finite() { Figure::Number(value) } else { Figure::Text(value.to_string()) }
            };
            let values = values.into_iter().map(|(number, value)| (number, figure(value))).collect();
            let series = series.into_iter().map(|(number, series)| (number, Shared(series))).collect();
            Named::Samples(Scraped { source: source.to_string(), problem, series, values, gone })
        }
        Entry::Link(link) => Named::Link(match link.clone() {
            Link::Connecting => Standing::Connecting,
            Link::Up { context, url } => Standing::Up { context, url },
            Link::Down(why) => Standing::Down(why),
        }),
        Entry::Done(key, text) => {
            let object = key.clone().map(|key| (name(key.kind), key.namespace, key.name));
            Named::Done(Done { object, text: text.clone() })
        }
    };
    Wire { at: line.at, entry }
}

/// None for an entry that this version does not know.
pub(super) fn line(wire: Wire) -> Result<Option<Line>, String> {
    let change = |change| Ok(Some(Entry::Change(change)));
    let entry: Result<Option<Entry>, String> = match wire.entry {
        Named::Apply(name, object) => change(Change::Apply(kind(name)?, object.into())),
        Named::Delete(of, namespace, name) => change(Change::Delete(ObjectKey::new(kind(of)?, namespace, name))),
        Named::Replace(name, objects) => {
            change(Change::Replace(kind(name)?, objects.into_iter().map(Object::from).collect()))
        }
        Named::Loading(name) => change(Change::Loading(kind(name)?)),
        Named::Forbidden(name) => change(Change::Forbidden(kind(name)?)),
        Named::Lost(name, why) => change(Change::Lost(kind(name)?, why)),
        Named::Missing(name) => change(Change::Missing(kind(name)?)),
        Named::Narrowed(name, namespace) => change(Change::Narrowed(kind(name)?, namespace)),
        Named::Samples(Scraped { source, problem, series, values, gone }) => {
            let value = |figure: Figure| match figure {
                Figure::Number(value) => Ok(value),
                Figure::Text(text) => text.parse().map_err(|_| format!("{text:?} is no number")),
            };
            let values: Result<_, String> =
                values.into_iter().map(|(number, figure)| Ok((number, value(figure)?))).collect();
            let series = series.into_iter().map(|(number, series)| (number, series.0)).collect();
            Ok(Some(Entry::Samples(Samples { source: source.into(), problem, series, values: values?, gone })))
        }
        Named::Link(standing) => Ok(Some(Entry::Link(match standing {
            Standing::Connecting => Link::Connecting,
            Standing::Up { context, url } => Link::Up { context, url },
            Standing::Down(why) => Link::Down(why),
        }))),
        Named::Done(Done { object, text }) => {
            let key = object.map(|(of, namespace, name)| Ok::<_, String>(ObjectKey::new(kind(of)?, namespace, name)));
            Ok(Some(Entry::Done(key.transpose()?, text)))
        }
        Named::Unknown(_) => Ok(None),
    };
    Ok(entry?.map(|entry| Line { at: wire.at, entry }))
}
