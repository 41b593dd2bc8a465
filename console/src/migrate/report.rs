//! What became of every field of the input.

use std::collections::BTreeMap;

use serde::Serialize;

use super::ingress::Ingress;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The same behaviour, with standard fields.
    Exact,
    /// Standard fields that come close; the reason says what differs.
    Approximate,
    /// Somebody has to do something.
    Manual,
    /// Means nothing to the output, or never took effect.
    Dropped,
}

impl Outcome {
    pub fn word(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Approximate => "approximate",
            Self::Manual => "manual",
            Self::Dropped => "dropped",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    pub outcome: Outcome,
    pub file: String,
    pub line: u32,
    /// `namespace/name` of the Ingress or ConfigMap.
    pub object: String,
    pub field: String,
    pub value: String,
    /// Object and path of the output; empty where there is none.
    pub output: String,
    pub reason: String,
    #[serde(rename = "do")]
    pub todo: String,
    /// Whether it says anything about behaviour; bookkeeping of the API server does not.
    pub counted: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    pub outcome: Outcome,
    pub output: String,
    pub reason: String,
    pub todo: String,
}

impl Note {
    pub fn exact(output: impl Into<String>) -> Self {
        Self { outcome: Outcome::Exact, output: output.into(), reason: String::new(), todo: String::new() }
    }

    pub fn new(
        outcome: Outcome,
        output: impl Into<String>,
        reason: impl Into<String>,
        todo: impl Into<String>,
    ) -> Self {
        Self { outcome, output: output.into(), reason: reason.into(), todo: todo.into() }
    }
}

/// Notes of one Ingress by field. A note on a field holds for everything below it.
#[derive(Debug, Default)]
pub struct Notes(BTreeMap<String, Vec<Note>>);

impl Notes {
    pub fn add(&mut self, field: impl Into<String>, note: Note) {
        let notes = self.0.entry(field.into()).or_default();
        if !notes.contains(&note) {
            notes.push(note);
        }
    }

    /// The nearest note at or above a field; of several there, all in one, the worst outcome.
    fn of(&self, field: &str) -> Option<Note> {
        let mut at = field;
        loop {
            if let Some(notes) = self.0.get(at).filter(|notes| !notes.is_empty()) {
                let rank = |outcome: Outcome| match outcome {
                    Outcome::Exact => 0,
                    Outcome::Approximate => 2,
                    Outcome::Dropped => 3,
                    Outcome::Manual => 4,
                };
                let worst = notes.iter().map(|note| note.outcome).max_by_key(|outcome| rank(*outcome))?;
                let all = |of: fn(&Note) -> &String| {
                    let mut parts: Vec<&str> = Vec::new();
                    for note in notes {
                        if !of(note).is_empty() && !parts.contains(&of(note).as_str()) {
                            parts.push(of(note));
                        }
                    }
                    parts.join("; ")
                };
                return Some(Note {
                    outcome: worst,
                    output: all(|note| &note.output),
                    reason: all(|note| &note.reason),
                    todo: all(|note| &note.todo),
                });
            }
            at = match at.rfind(['.', '[']) {
                // A quoted name may hold dots.
                _ if at.ends_with("\"]") => &at[..at.find("[\"")?],
                Some(cut) => &at[..cut],
                None => return None,
            };
        }
    }
}

/// One entry for every field that the Ingress has.
pub fn entries(ingress: &Ingress, notes: &Notes) -> Vec<Entry> {
    let leaves = ingress.node.leaves().into_iter();
    leaves
        .map(|(field, line, value)| {
            let note = notes.of(&field);
            let counted = !bookkeeping(&field);
            let note = note.unwrap_or_else(|| match counted {
                true => Note::new(
                    Outcome::Dropped,
                    "",
                    "nothing is known about this field",
                    "check whether anything relies on it, and remove it",
                ),
                false => {
                    Note::new(Outcome::Dropped, "", "kept by the API server or a tool, not by the Ingress' author", "")
                }
            });
            Entry {
                outcome: note.outcome,
                file: ingress.file.clone(),
                line,
                object: ingress.key(),
                field,
                value,
                output: note.output,
                reason: note.reason,
                todo: note.todo,
                counted,
            }
        })
        .collect()
}

fn bookkeeping(field: &str) -> bool {
    let metadata = [
        "uid",
        "resourceVersion",
        "generation",
        "creationTimestamp",
        "managedFields",
        "selfLink",
        "ownerReferences",
        "finalizers",
    ];
    field == "apiVersion"
        || field == "kind"
        || field.starts_with("status")
        || metadata.iter().any(|name| field.strip_prefix("metadata.").is_some_and(|rest| rest.starts_with(name)))
        || field.contains("kubectl.kubernetes.io/last-applied-configuration")
}

/// Share of the counted fields that keep their meaning: 1 for exact, a half for
/// approximate, 0 for manual and dropped. Nothing counted is all kept.
pub fn fidelity<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> f64 {
    let (mut kept, mut all) = (0.0, 0.0);
    for entry in entries.into_iter().filter(|entry| entry.counted) {
        all += 1.0;
        kept += match entry.outcome {
            Outcome::Exact => 1.0,
            Outcome::Approximate => 0.5,
            Outcome::Manual | Outcome::Dropped => 0.0,
        };
    }
    if all == 0.0 { 1.0 } else { kept / all }
}
