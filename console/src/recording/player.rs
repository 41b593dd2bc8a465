//! Plays a recording: what is heard by when. Pure; whoever asks says how much time went by.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};

use super::{Entry, Line, Meter, Recording};
use crate::{
    event::Event,
    model::{health::Health, key::ObjectKey, store::Store, timeline::Timeline},
    traffic::series::Traffic,
};

/// Speeds, the usual one among them.
const SPEEDS: [f64; 9] = [0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0];
const USUAL: usize = 3;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub at: Timestamp,
    pub key: Option<ObjectKey>,
    pub text: String,
}

#[derive(Debug)]
pub struct Player {
    lines: Vec<Line>,
    next: usize,
    clock: Timestamp,
    /// Stands for the first line's time.
    zero: Instant,
    speed: usize,
    pub playing: bool,
    meters: BTreeMap<Arc<str>, Meter>,
    /// When something began to be wrong, and what.
    pub problems: Vec<Problem>,
}

impl Player {
    pub fn new(recording: Recording, zero: Instant) -> Self {
        let lines = recording.lines;
        let clock = lines.first().map(|line| line.at).unwrap_or_default();
        let mut player = Self {
            lines,
            next: 0,
            clock,
            zero,
            speed: USUAL,
            playing: true,
            meters: BTreeMap::new(),
            problems: Vec::new(),
        };
        player.problems = player.look_through();
        player
    }

    pub fn start(&self) -> Timestamp {
        self.lines.first().map(|line| line.at).unwrap_or_default()
    }

    pub fn end(&self) -> Timestamp {
        self.lines.last().map(|line| line.at).unwrap_or_default()
    }

    pub fn clock(&self) -> Timestamp {
        self.clock
    }

    pub fn speed(&self) -> f64 {
        SPEEDS[self.speed]
    }

    /// The recorded time as the rest of the console counts it.
    pub fn instant_of(&self, time: Timestamp) -> Instant {
        self.zero + Duration::try_from(time.duration_since(self.start())).unwrap_or_default()
    }

    pub fn faster(&mut self) {
        self.speed = (self.speed + 1).min(SPEEDS.len() - 1);
    }

    pub fn slower(&mut self) {
        self.speed = self.speed.saturating_sub(1);
    }

    /// What is heard while so much real time goes by, each with its time.
    pub fn advance(&mut self, elapsed: Duration) -> Vec<(Timestamp, Event)> {
        if !self.playing {
            return Vec::new();
        }
        let elapsed = SignedDuration::try_from(elapsed.mul_f64(self.speed())).unwrap_or_default();
        let to = (self.clock + elapsed).min(self.end());
        if to == self.end() {
            self.playing = false;
        }
        self.forward(to)
    }

    /// Goes to a time. Whoever goes back has to begin with nothing: then all is told again.
    pub fn seek(&mut self, to: Timestamp) -> (bool, Vec<(Timestamp, Event)>) {
        let to = to.clamp(self.start(), self.end());
        let back = to < self.clock;
        if back {
            self.next = 0;
            self.meters.clear();
        }
        (back, self.forward(to))
    }

    fn forward(&mut self, to: Timestamp) -> Vec<(Timestamp, Event)> {
        let mut heard = Vec::new();
        while let Some(line) = self.lines.get(self.next).filter(|line| line.at <= to) {
            let at = self.instant_of(line.at);
            let event = match &line.entry {
                Entry::Change(change) => Event::Change(change.clone()),
                Entry::Link(link) => Event::Link(link.clone()),
                Entry::Done(key, text) => Event::Done(key.clone(), text.clone()),
                Entry::Samples(samples) => {
                    let meter = self.meters.entry(Arc::clone(&samples.source)).or_default();
                    meter.absorb(samples);
                    Event::Scrape(meter.scrape(samples, at))
                }
            };
            heard.push((line.at, event));
            self.next += 1;
        }
        self.clock = to;
        heard
    }

    pub fn problem_after(&self) -> Option<&Problem> {
        self.problems.iter().find(|problem| problem.at > self.clock)
    }

    /// The one before this moment, and not the one that was just jumped to.
    pub fn problem_before(&self) -> Option<&Problem> {
        self.problems.iter().rev().find(|problem| problem.at < self.clock)
    }

    /// Everything once, for when problems begin.
    fn look_through(&mut self) -> Vec<Problem> {
        let (mut store, mut traffic, mut timeline) = (Store::default(), Traffic::default(), Timeline::default());
        let (mut problems, mut told) = (Vec::new(), 0);
        let (start, end) = (self.start(), self.end());
        for (at, event) in self.forward(end) {
            match event {
                Event::Change(change) => {
                    timeline.heed(&store, &change, at);
                    store.apply(change);
                }
                Event::Scrape(scrape) => {
                    traffic.apply(scrape);
                    timeline.heed_traffic(traffic.total().and_then(|total| total.error_rate), at);
                }
                _ => continue,
            }
            for moment in timeline.moments().rev().take_while(|moment| moment.number >= told) {
                if moment.health.is_some_and(Health::is_fault) && moment.at > start {
                    let of = moment.key.as_ref().map(|key| format!("{} {key}: ", key.kind.name()));
                    let text = of.unwrap_or_default() + &moment.text;
                    problems.push(Problem { at: moment.at, key: moment.key.clone(), text });
                }
            }
            told = timeline.moments().last().map_or(0, |moment| moment.number + 1);
        }
        self.next = 0;
        self.meters.clear();
        self.clock = start;
        problems.sort_by_key(|problem| problem.at);
        problems.dedup_by_key(|problem| problem.at.as_second());
        problems
    }
}
