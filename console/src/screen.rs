//! What the operator looks at, and the whole state that a frame is drawn from.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use regex::Regex;
use serde_json::Value;
use tui_textarea::TextArea;

use crate::{
    canary::{Settings, Transition},
    event::Link,
    finding::{Finding, Report},
    intent::{keymap::Mode, plan::Plan},
    model::{
        key::{Kind, ObjectKey},
        store::Store,
        timeline::Timeline,
    },
    recording::{player::Player, ring::Ring},
    theme::{Palette, Theme},
    traffic::{Arm, series::Traffic},
    triage::{Triage, chain::Chain},
};

#[derive(Debug)]
pub struct State {
    pub store: Store,
    pub traffic: Traffic,
    /// What is shown while frozen; the rest moves on underneath.
    pub frozen: Option<Box<(Store, Traffic)>>,
    pub link: Link,
    pub link_since: Instant,
    pub context: String,
    pub url: String,
    pub now: Instant,
    pub wall: Timestamp,
    pub screen: Screen,
    /// What happened, as far as it was heard.
    pub timeline: Timeline,
    /// What was heard, to be saved after the fact.
    pub ring: Ring,
    /// What is seen is a recording.
    pub player: Option<Box<Player>>,
    pub theme: Theme,
    /// What the terminal can show, for themes that are chosen later.
    pub palette: Palette,
    pub judged: Judged,
    /// A judgement that has been asked for and not come yet.
    pub judging: bool,
    pub readonly: bool,
    pub ascii: bool,
    /// Shown where messages are, as long as there is nothing to tell.
    pub notice: String,
    /// How long each step of a run from the panel is observed.
    pub interval: Duration,
}

/// What triage made of the store at a revision. Made beside the loop: thousands of routes take
/// longer than a frame.
#[derive(Debug, Clone, Default)]
pub struct Judged {
    pub revision: u64,
    pub report: Arc<Report>,
    /// The way of the route that is looked at; none within it for what has no way.
    pub way: Option<(ObjectKey, Option<Box<Chain>>)>,
}

impl Judged {
    pub fn of(store: &Store, wall: Timestamp, route: Option<ObjectKey>) -> Self {
        let triage = Triage::new(store, Some(wall));
        let way = route.map(|key| {
            let chain = triage.why(&key).map(Box::new);
            (key, chain)
        });
        Self { revision: store.revision(), report: Arc::new(triage.all()), way }
    }

    pub fn is_made(&self) -> bool {
        self.revision > 0
    }

    pub fn find(&self, print: &str) -> Option<&Finding> {
        self.report.findings.iter().find(|finding| finding.fingerprint() == print)
    }
}

#[derive(Debug)]
pub struct Screen {
    pub tab: Tab,
    /// What the tab of objects shows.
    pub kind: Kind,
    /// Pages over the list; the last one is seen.
    pub pages: Vec<Page>,
    /// By key, so that it stays with its object when rows move. One per tab.
    pub selected: [Option<RowKey>; Tab::COUNT],
    /// Where the selection was last seen, for when its object goes.
    pub position: [usize; Tab::COUNT],
    pub lens: Lens,
    pub input: Option<Input>,
    pub dialog: Option<Dialog>,
    pub editor: Option<Editor>,
    /// What was written from here and not taken back, the last one last.
    pub written: Vec<Plan>,
    pub message: Option<Message>,
    /// To the question of the page on top; none until it has come.
    pub answer: Option<(Question, Result<Vec<String>, String>)>,
    pub canary: Canary,
    /// Rows that fit, for paging.
    pub height: u16,
    /// Of the terminal, for what looks for a place in wrapped text.
    pub width: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tab {
    Routes,
    Gateways,
    Backends,
    Findings,
    Timeline,
    /// Any other kind, as it was asked for.
    Objects,
}

impl Tab {
    pub const COUNT: usize = 6;
    /// Those that are always there.
    pub const ALL: [Self; 5] = [Self::Routes, Self::Gateways, Self::Backends, Self::Findings, Self::Timeline];

    pub const fn title(self) -> &'static str {
        match self {
            Self::Routes => "Routes",
            Self::Gateways => "Gateways",
            Self::Backends => "Backends",
            Self::Findings => "Findings",
            Self::Timeline => "Timeline",
            Self::Objects => "Objects",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RowKey {
    Object(ObjectKey),
    Arm(Arm),
    /// By its fingerprint, with the object that it is about.
    Finding(String, ObjectKey),
    /// By its number.
    Moment(u64, ObjectKey),
}

impl RowKey {
    /// The object that is opened: of a backend, its route.
    pub fn object(&self) -> &ObjectKey {
        match self {
            Self::Object(key) | Self::Finding(_, key) | Self::Moment(_, key) => key,
            Self::Arm(arm) => &arm.route,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    pub view: View,
    pub scroll: usize,
    /// What is looked for in it; empty for nothing.
    pub find: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum View {
    Detail(ObjectKey),
    Yaml(ObjectKey),
    /// From a route to what keeps requests from its backends.
    Why(ObjectKey),
    /// What hangs on it.
    Tree(ObjectKey),
    Edit(ObjectKey),
    Canary(ObjectKey),
    /// What somebody else knows: lines that were asked for.
    Answer(Question),
    Help,
}

/// What is asked of others than the watches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// Kubernetes Events, of one object or of all.
    Events(Option<ObjectKey>),
    /// What was written from this machine.
    Audit,
    /// Contexts of the kubeconfig.
    Contexts,
}

/// Which rows of a list are seen, and in what order.
#[derive(Debug, Clone, Default)]
pub struct Lens {
    pub namespace: Option<String>,
    pub filter: Option<Filter>,
    pub faults: bool,
    pub sort: Sort,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sort {
    /// Problems first, then by traffic, then by name.
    #[default]
    Status,
    Name,
    Age,
    Traffic,
}

#[derive(Debug, Clone)]
pub struct Filter {
    pub text: String,
    regex: Regex,
    inverse: bool,
}

impl Filter {
    pub fn parse(text: &str) -> Result<Self, String> {
        let (inverse, pattern) = text.strip_prefix('!').map_or((false, text), |rest| (true, rest));
        let regex = regex::RegexBuilder::new(pattern)
            .case_insensitive(true)
            .build()
            .map_err(|error| format!("filter: {}", error.to_string().lines().last().unwrap_or("not a regex")))?;
        Ok(Self { text: text.to_owned(), regex, inverse })
    }

    pub fn admits(&self, text: &str) -> bool {
        self.regex.is_match(text) != self.inverse
    }
}

/// The text of an object while it is edited, and the object that it was made from.
#[derive(Debug)]
pub struct Editor {
    pub key: ObjectKey,
    pub object: Arc<Value>,
    pub area: TextArea<'static>,
    /// Leaving was asked for once.
    pub leaving: bool,
    /// The API has been asked what it makes of the text.
    pub busy: bool,
}

#[derive(Debug)]
pub struct Input {
    pub kind: InputKind,
    pub area: TextArea<'static>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputKind {
    Command,
    Filter,
    /// In the text of a page.
    Find,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Dialog {
    pub title: String,
    /// The name that has to be typed.
    pub guard: Option<String>,
    pub typed: String,
    pub ask: Ask,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Ask {
    Send(Box<Plan>),
    Start { route: ObjectKey, rule: usize, steps: String },
    RollbackRun { route: ObjectKey },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub tone: Tone,
    pub text: String,
}

/// What a text is, whatever it looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    Plain,
    Muted,
    Good,
    Warn,
    Bad,
}

#[derive(Debug, Default)]
pub struct Canary {
    pub rule: Option<usize>,
    pub staged: Option<f64>,
    /// A write that the API has not answered yet.
    pub sending: bool,
    pub run: Option<RunView>,
}

/// The automatic run that this console started.
#[derive(Debug)]
pub struct RunView {
    pub route: ObjectKey,
    /// The newest last, bounded.
    pub transitions: Vec<Transition>,
    pub paused: bool,
    pub ended: bool,
}

impl State {
    pub fn new(context: String, theme: Theme, now: Instant, wall: Timestamp) -> Self {
        let screen = Screen {
            tab: Tab::Routes,
            kind: Kind::Service,
            pages: Vec::new(),
            selected: Default::default(),
            position: [0; Tab::COUNT],
            lens: Lens::default(),
            input: None,
            dialog: None,
            editor: None,
            written: Vec::new(),
            message: None,
            answer: None,
            canary: Canary::default(),
            height: 20,
            width: 80,
        };
        Self {
            store: Store::default(),
            traffic: Traffic::default(),
            frozen: None,
            link: Link::Connecting,
            link_since: now,
            context,
            url: String::new(),
            now,
            wall,
            screen,
            timeline: Timeline::default(),
            ring: Ring::default(),
            player: None,
            theme,
            palette: Palette::Rgb,
            judged: Judged::default(),
            judging: false,
            readonly: false,
            ascii: false,
            notice: String::new(),
            interval: Settings::new("", None).interval,
        }
    }

    /// What is shown: the live data or what was frozen.
    pub fn seen(&self) -> (&Store, &Traffic) {
        self.frozen.as_deref().map_or((&self.store, &self.traffic), |(store, traffic)| (store, traffic))
    }

    /// A context is marked by a word of its name.
    pub fn is_production(&self) -> bool {
        let mut words = self.context.split(|c: char| !c.is_ascii_alphanumeric());
        words.any(|word| matches!(word.to_ascii_lowercase().as_str(), "prod" | "production"))
    }

    pub fn is_up(&self) -> bool {
        matches!(self.link, Link::Up { .. })
    }
}

impl Screen {
    pub fn view(&self) -> Option<&View> {
        self.pages.last().map(|page| &page.view)
    }

    /// The kind whose watch decides what can be said of the tab.
    pub const fn shown(&self) -> Kind {
        match self.tab {
            Tab::Gateways => Kind::Gateway,
            Tab::Routes | Tab::Backends | Tab::Findings | Tab::Timeline => Kind::HttpRoute,
            Tab::Objects => self.kind,
        }
    }

    pub fn mode(&self) -> Mode {
        match (&self.dialog, self.view()) {
            (Some(_), _) => Mode::Confirm,
            (None, Some(View::Canary(_))) => Mode::Canary,
            (None, Some(View::Edit(_))) => Mode::Edit,
            (None, Some(_)) => Mode::Page,
            (None, None) => Mode::List,
        }
    }

    pub fn selection(&self) -> Option<&RowKey> {
        self.selected[self.tab as usize].as_ref()
    }
}
