//! What the operator looks at, and the whole state that a frame is drawn from.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use regex::Regex;
use tui_textarea::TextArea;

use crate::{
    canary::{Settings, Transition},
    event::Link,
    intent::{keymap::Mode, plan::Plan},
    model::{
        key::{Kind, ObjectKey},
        store::Store,
    },
    theme::Theme,
    traffic::{Arm, series::Traffic},
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
    pub theme: Theme,
    pub readonly: bool,
    pub ascii: bool,
    /// Shown where messages are, as long as there is nothing to tell.
    pub notice: String,
    /// How long each step of a run from the panel is observed.
    pub interval: Duration,
}

#[derive(Debug)]
pub struct Screen {
    pub tab: Tab,
    /// Pages over the list; the last one is seen.
    pub pages: Vec<Page>,
    /// By key, so that it stays with its object when rows move. One per tab.
    pub selected: [Option<RowKey>; 3],
    /// Where the selection was last seen, for when its object goes.
    pub position: [usize; 3],
    pub lens: Lens,
    pub input: Option<Input>,
    pub dialog: Option<Dialog>,
    pub message: Option<Message>,
    pub canary: Canary,
    /// Rows that fit, for paging.
    pub height: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tab {
    Routes,
    Gateways,
    Backends,
}

impl Tab {
    pub const ALL: [Self; 3] = [Self::Routes, Self::Gateways, Self::Backends];

    pub const fn title(self) -> &'static str {
        match self {
            Self::Routes => "Routes",
            Self::Gateways => "Gateways",
            Self::Backends => "Backends",
        }
    }

    /// The kind whose watch decides what can be said of the tab.
    pub const fn kind(self) -> Kind {
        match self {
            Self::Gateways => Kind::Gateway,
            Self::Routes | Self::Backends => Kind::HttpRoute,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RowKey {
    Object(ObjectKey),
    Arm(Arm),
}

impl RowKey {
    /// The object that is opened: of a backend, its route.
    pub fn object(&self) -> &ObjectKey {
        match self {
            Self::Object(key) => key,
            Self::Arm(arm) => &arm.route,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    pub view: View,
    pub scroll: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum View {
    Detail(ObjectKey),
    Yaml(ObjectKey),
    Canary(ObjectKey),
    Help,
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

#[derive(Debug)]
pub struct Input {
    pub kind: InputKind,
    pub area: TextArea<'static>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputKind {
    Command,
    Filter,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Dialog {
    pub title: String,
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
            pages: Vec::new(),
            selected: [None, None, None],
            position: [0; 3],
            lens: Lens::default(),
            input: None,
            dialog: None,
            message: None,
            canary: Canary::default(),
            height: 20,
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
            theme,
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

    pub fn is_up(&self) -> bool {
        matches!(self.link, Link::Up { .. })
    }
}

impl Screen {
    pub fn view(&self) -> Option<&View> {
        self.pages.last().map(|page| &page.view)
    }

    pub fn mode(&self) -> Mode {
        match (&self.dialog, self.view()) {
            (Some(_), _) => Mode::Confirm,
            (None, Some(View::Canary(_))) => Mode::Canary,
            (None, Some(_)) => Mode::Page,
            (None, None) => Mode::List,
        }
    }

    pub fn selection(&self) -> Option<&RowKey> {
        self.selected[self.tab as usize].as_ref()
    }
}
