//! What the console heard, to be looked at again: one JSON value a line, with the time.
//!
//! The first line says what the file is. Then come entries in the order of their times: objects
//! as watches brought them, samples as scrapes did (of each source only those that are new or have
//! another value), the standing of the connection, and what was done. The data of Secrets is not
//! among it: watches pass on only what [`crate::model::secret::reduce`] leaves.

use std::{collections::BTreeMap, io::Write, sync::Arc, time::Instant};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    event::Link,
    model::{
        key::{Kind, ObjectKey, PolicyKind},
        object::Object,
        store::Change,
    },
    traffic::{parse::Sample, scrape::Scrape},
};

pub mod file;
pub mod player;
pub mod ring;
mod wire;

#[cfg(test)]
mod tests;

/// The first line's `recording`.
const FORMAT: &str = "gwtop.dev/recording/v1";

#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    pub at: Timestamp,
    pub entry: Entry,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    Change(Change),
    Samples(Samples),
    Link(Link),
    /// What was done from the console that was recorded.
    Done(Option<ObjectKey>, String),
}

/// A scrape, as far as it differs from the one of the same source before it.
#[derive(Debug, Clone, PartialEq)]
pub struct Samples {
    pub source: Arc<str>,
    pub problem: Option<String>,
    /// Names of series that were not there before; they are numbered as they come.
    pub series: Vec<(u32, Arc<Series>)>,
    pub values: Vec<(u32, f64)>,
    pub gone: Vec<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Series(String, Vec<(String, String)>);

/// One source's series and their last values, at the writing end and at the reading end.
#[derive(Debug, Clone, Default)]
pub struct Meter {
    numbers: BTreeMap<Arc<Series>, u32>,
    last: BTreeMap<u32, (Arc<Series>, f64)>,
    next: u32,
}

impl Meter {
    /// What is new in a scrape.
    pub fn difference(&mut self, scrape: &Scrape) -> Samples {
        let mut found = Samples {
            source: scrape.source.as_str().into(),
            problem: None,
            series: vec![],
            values: vec![],
            gone: vec![],
        };
        let samples = match &scrape.samples {
            Ok(samples) => samples,
            Err(problem) => {
                found.problem = Some(problem.clone());
                return found;
            }
        };
        let mut seen = std::collections::BTreeSet::new();
        for sample in samples {
            let series = Series(sample.name.clone(), sample.labels.clone());
            let number = match self.numbers.get(&series) {
                Some(number) => *number,
                None => {
                    let (number, series) = (self.next, Arc::new(series));
                    self.next += 1;
                    self.numbers.insert(Arc::clone(&series), number);
                    found.series.push((number, Arc::clone(&series)));
                    self.last.insert(number, (series, f64::NAN));
                    number
                }
            };
            seen.insert(number);
            if let Some((_, last)) = self.last.get_mut(&number)
                && last.to_bits() != sample.value.to_bits()
            {
                *last = sample.value;
                found.values.push((number, sample.value));
            }
        }
        found.gone = self.last.keys().filter(|number| !seen.contains(number)).copied().collect();
        self.forget(&found.gone);
        found
    }

    fn forget(&mut self, gone: &[u32]) {
        for number in gone {
            if let Some((series, _)) = self.last.remove(number) {
                self.numbers.remove(&series);
            }
        }
    }

    /// The other way: takes the difference in.
    pub fn absorb(&mut self, samples: &Samples) {
        for (number, series) in &samples.series {
            self.numbers.insert(Arc::clone(series), *number);
            self.last.insert(*number, (Arc::clone(series), f64::NAN));
            self.next = self.next.max(number + 1);
        }
        for (number, value) in &samples.values {
            if let Some((_, last)) = self.last.get_mut(number) {
                *last = *value;
            }
        }
        self.forget(&samples.gone);
    }

    /// The scrape that the differences so far come to.
    fn scrape(&self, samples: &Samples, at: Instant) -> Scrape {
        let all = self.last.values().map(|(series, value)| Sample {
            name: series.0.clone(),
            labels: series.1.clone(),
            value: *value,
        });
        let samples_now = match &samples.problem {
            Some(problem) => Err(problem.clone()),
            None => Ok(all.collect()),
        };
        Scrape { at, source: samples.source.to_string(), samples: samples_now }
    }

    /// All of it as one difference from nothing.
    fn whole(&self, source: &Arc<str>) -> Samples {
        Samples {
            source: Arc::clone(source),
            problem: None,
            series: self.last.iter().map(|(number, (series, _))| (*number, Arc::clone(series))).collect(),
            values: self.last.iter().map(|(number, (_, value))| (*number, *value)).collect(),
            gone: vec![],
        }
    }
}

/// Writes the first line.
pub fn head(out: &mut impl Write, context: &str) -> std::io::Result<()> {
    let head = wire::Head { recording: FORMAT.to_owned(), context: context.to_owned() };
    writeln!(out, "{}", serde_json::to_string(&head)?)
}

pub fn write(out: &mut impl Write, line: &Line) -> std::io::Result<()> {
    writeln!(out, "{}", serde_json::to_string(&wire::of(line))?)
}

#[derive(Debug, Clone, PartialEq)]
pub struct Recording {
    pub context: String,
    pub lines: Vec<Line>,
    /// Why what comes after the last line is left out.
    pub cut: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    #[error("it is no recording: the first line is not {{\"recording\": \"{FORMAT}\", ...}}")]
    NoRecording,
    #[error("it is a recording of another version ({0}); this gwtop reads {FORMAT}")]
    OtherVersion(String),
    #[error("nothing is recorded in it{0}")]
    Empty(String),
}

/// All lines up to the first that cannot be read: a recording that was cut is played as far as it goes.
pub fn read(text: &str) -> Result<Recording, Unreadable> {
    let mut lines = text.lines().enumerate();
    let head = lines.next().map(|(_, line)| line).unwrap_or_default();
    let head: wire::Head = serde_json::from_str(head).map_err(|_| Unreadable::NoRecording)?;
    if head.recording != FORMAT {
        return Err(Unreadable::OtherVersion(head.recording));
    }
    let mut recording = Recording { context: head.context, lines: Vec::new(), cut: None };
    for (at, line) in lines.filter(|(_, line)| !line.trim().is_empty()) {
        let read = serde_json::from_str(line).map_err(|error| error.to_string()).and_then(wire::line);
        match read {
            Ok(Some(line)) => recording.lines.push(line),
            // An entry from the future.
            Ok(None) => {}
            Err(error) => {
                recording.cut = Some(format!("line {} cannot be read, what follows is left out: {error}", at + 1));
                break;
            }
        }
    }
    // A player goes forward in time only.
    recording.lines.sort_by_key(|line| line.at);
    if recording.lines.is_empty() {
        return Err(Unreadable::Empty(recording.cut.map(|cut| format!(": {cut}")).unwrap_or_default()));
    }
    Ok(recording)
}
