//! The last half hour, always at hand: what came before it is folded into a state to begin with.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};

use super::{Entry, Line, Meter};
use crate::{
    event::Link,
    model::{
        key::{Kind, ObjectKey},
        object::Object,
        store::{Change, key_of},
    },
    traffic::scrape::Scrape,
};

const KEPT: SignedDuration = SignedDuration::from_mins(30);
/// Estimated; objects that are still in the store cost nothing here.
const BYTES_MOST: usize = 48 << 20;
/// Scrapes of one source that are kept are at least so far apart: rates need no more.
const SCRAPES_APART: SignedDuration = SignedDuration::from_secs(4);

#[derive(Debug, Default)]
pub struct Ring {
    base: Base,
    lines: VecDeque<(Line, usize)>,
    bytes: usize,
    meters: HashMap<String, (Meter, Timestamp)>,
}

/// What the entries that are gone came to.
#[derive(Debug, Default)]
struct Base {
    at: Option<Timestamp>,
    objects: BTreeMap<ObjectKey, Object>,
    listed: BTreeSet<Kind>,
    /// The last that was said of each kind beside its objects.
    said: BTreeMap<Kind, Change>,
    narrowed: BTreeMap<Kind, String>,
    link: Option<Link>,
    meters: BTreeMap<Arc<str>, Meter>,
}

impl Ring {
    pub fn change(&mut self, at: Timestamp, change: &Change) {
        // What an object that was replaced weighs, about.
        let bytes = if matches!(change, Change::Apply(..) | Change::Delete(_)) { 4096 } else { 256 };
        self.push(at, Entry::Change(change.clone()), bytes);
    }

    pub fn scrape(&mut self, at: Timestamp, scrape: &Scrape) {
        let (meter, last) =
            self.meters.entry(scrape.source.clone()).or_insert_with(|| (Meter::default(), Timestamp::MIN));
        if scrape.samples.is_ok() && at.duration_since(*last) < SCRAPES_APART {
            return;
        }
        *last = at;
        let samples = meter.difference(scrape);
        let bytes = 256 + samples.values.len() * 16 + samples.series.len() * 300;
        self.push(at, Entry::Samples(samples), bytes);
    }

    pub fn link(&mut self, at: Timestamp, link: &Link) {
        self.push(at, Entry::Link(link.clone()), 256);
    }

    pub fn done(&mut self, at: Timestamp, key: Option<ObjectKey>, text: &str) {
        self.push(at, Entry::Done(key, text.to_owned()), 256);
    }

    fn push(&mut self, at: Timestamp, entry: Entry, bytes: usize) {
        self.lines.push_back((Line { at, entry }, bytes));
        self.bytes += bytes;
        while let Some((first, _)) = self.lines.front()
            && (at.duration_since(first.at) > KEPT || self.bytes > BYTES_MOST)
        {
            if let Some((line, bytes)) = self.lines.pop_front() {
                self.bytes -= bytes;
                self.base.absorb(line);
            }
        }
    }

    /// All that is needed to play it, in order.
    pub fn lines(&self) -> Vec<Line> {
        let at = self.base.at.or(self.lines.front().map(|(line, _)| line.at)).unwrap_or_default();
        let mut lines = self.base.lines(at);
        lines.extend(self.lines.iter().map(|(line, _)| line.clone()));
        lines
    }
}

impl Base {
    fn absorb(&mut self, line: Line) {
        self.at = Some(line.at);
        match line.entry {
            Entry::Change(change) => self.change(change),
            Entry::Samples(samples) => {
                self.meters.entry(Arc::clone(&samples.source)).or_default().absorb(&samples);
            }
            Entry::Link(link) => self.link = Some(link),
            Entry::Done(..) => {}
        }
    }

    fn change(&mut self, change: Change) {
        match change {
            Change::Apply(kind, object) => {
                if let Some(key) = key_of(kind, &object.value()) {
                    self.objects.insert(key, object);
                }
                self.said.remove(&kind);
            }
            Change::Delete(key) => drop(self.objects.remove(&key)),
            Change::Replace(kind, objects) => {
                self.objects.retain(|key, _| key.kind != kind);
                for object in objects {
                    if let Some(key) = key_of(kind, &object.value()) {
                        self.objects.insert(key, object);
                    }
                }
                self.listed.insert(kind);
                self.said.remove(&kind);
            }
            Change::Narrowed(kind, namespace) => drop(self.narrowed.insert(kind, namespace)),
            // Says nothing of a kind of which something is known.
            Change::Loading(_) => {}
            Change::Forbidden(kind) | Change::Lost(kind, _) | Change::Missing(kind) => {
                self.said.insert(kind, change);
            }
        }
    }

    fn lines(&self, at: Timestamp) -> Vec<Line> {
        let narrowed =
            self.narrowed.iter().map(|(kind, namespace)| Entry::Change(Change::Narrowed(*kind, namespace.clone())));
        let lists = self.listed.iter().map(|kind| {
            let of_kind = self.objects.iter().filter(|(key, _)| key.kind == *kind);
            Entry::Change(Change::Replace(*kind, of_kind.map(|(_, object)| object.clone()).collect()))
        });
        let others = self.objects.iter().filter(|(key, _)| !self.listed.contains(&key.kind));
        let others = others.map(|(key, object)| Entry::Change(Change::Apply(key.kind, object.clone())));
        let said = self.said.values().cloned().map(Entry::Change);
        let samples = self.meters.iter().map(|(source, meter)| Entry::Samples(meter.whole(source)));
        let link = self.link.iter().cloned().map(Entry::Link);
        link.chain(narrowed)
            .chain(lists)
            .chain(others)
            .chain(said)
            .chain(samples)
            .map(|entry| Line { at, entry })
            .collect()
    }
}
