//! Questions that are answered once, or again whenever the answer changes: status, why, tree, get,
//! describe, events, top. What is printed is made of a store, without I/O.

pub mod describe;
pub mod events;
pub mod get;
pub mod questions;
pub mod status;
pub mod top;
pub mod tree;
pub mod why;

use std::{
    io::{IsTerminal as _, Write as _},
    time::Duration,
};

use jiff::Timestamp;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::{
    cluster::{connect::Connection, snapshot, watch},
    exit::Exit,
    finding::{Report, github, junit, markdown, sarif},
    migrate::emit,
    model::{
        key::{Kind, ObjectKey},
        store::{Change, DataState, Feed, Store},
    },
};

/// How long changes are collected before the answer is made again.
const SETTLE: Duration = Duration::from_millis(200);
const INSTALL: &str = "https://gateway-api.sigs.k8s.io/guides/getting-started/#installing-gateway-api";

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    Text,
    Wide,
    Json,
    Yaml,
    /// `kind.group/name`, one a line.
    Name,
    /// One JSON object a line.
    Jsonl,
}

/// How findings are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Findings {
    Text,
    Wide,
    Json,
    Yaml,
    Name,
    Jsonl,
    Sarif,
    Junit,
    Markdown,
    Github,
}

/// What is asked for, whatever the question.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// None for all.
    pub namespace: Option<String>,
    pub watch: bool,
}

impl Scope {
    /// Objects without a namespace belong to everybody.
    pub fn admits(&self, namespace: &str) -> bool {
        namespace.is_empty() || self.namespace.as_deref().is_none_or(|own| own == namespace)
    }
}

/// An answer and the exit code that it means.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    pub text: String,
    pub exit: Exit,
}

impl Answer {
    pub fn new(text: String, exit: Exit) -> Self {
        Self { text, exit }
    }
}

/// Why there is no answer, for stderr.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal {
    pub why: String,
    pub exit: Exit,
}

impl Refusal {
    pub fn usage(why: impl Into<String>) -> Self {
        Self { why: why.into(), exit: Exit::Usage }
    }
}

pub type Made = Result<Answer, Refusal>;

/// Prints what `answer` makes of the cluster; with `watch`, again whenever that changes.
pub async fn run(connection: &Connection, watch: bool, answer: impl Fn(&Store, Timestamp) -> Made) -> Exit {
    if !watch {
        let store = snapshot::everything(connection).await;
        return match usable(&store, connection).and_then(|()| answer(&store, Timestamp::now())) {
            Ok(made) => {
                print(&made.text);
                made.exit
            }
            Err(refusal) => refuse(&refusal),
        };
    }
    let cancel = CancellationToken::new();
    let _cancelled_with_us = cancel.clone().drop_guard();
    let mut changes = watch::spawn(connection, &cancel);
    let (mut store, mut shown) = (Store::default(), String::new());
    let mut exit = Exit::Ok;
    loop {
        let Some(change) = changes.recv().await else { return exit };
        let fold = |store: &mut Store, change: Change| {
            store.at(Timestamp::now());
            store.apply(change);
        };
        fold(&mut store, change);
        let settled = tokio::time::sleep(SETTLE);
        tokio::pin!(settled);
        loop {
            tokio::select! {
                () = &mut settled => break,
                Some(change) = changes.recv() => fold(&mut store, change),
            }
        }
        if Kind::ALL.into_iter().any(|kind| store.state(kind) == DataState::Loading) {
            continue;
        }
        match usable(&store, connection).and_then(|()| answer(&store, Timestamp::now())) {
            Ok(made) if made.text != shown => {
                if !again(&made.text, &shown) {
                    return made.exit;
                }
                (shown, exit) = (made.text, made.exit);
            }
            Ok(_) => {}
            // Nothing was ever shown: there is no use in waiting for a name that is wrong.
            Err(refusal) if shown.is_empty() => return refuse(&refusal),
            Err(refusal) => {
                refuse(&refusal);
            }
        }
    }
}

/// Whether somebody still reads.
fn again(text: &str, before: &str) -> bool {
    let mut out = std::io::stdout().lock();
    let gap = match (out.is_terminal(), before.is_empty()) {
        (true, _) => "\x1b[H\x1b[2J",
        (false, true) => "",
        (false, false) => "\n",
    };
    write!(out, "{gap}{text}").and_then(|()| out.flush()).is_ok()
}

/// A reader that has seen enough, such as `head`, is no error.
pub fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

pub fn refuse(refusal: &Refusal) -> Exit {
    eprintln!("gwtop: {}", refusal.why);
    refusal.exit
}

/// Whether enough was read to answer at all.
fn usable(store: &Store, connection: &Connection) -> Result<(), Refusal> {
    if let Feed::Lost(reason) = store.feed(Kind::Gateway)
        && store.count(Kind::Gateway) == 0
    {
        let why = format!("cannot read gateways at {}: {reason}", connection.cluster_url);
        return Err(Refusal { why, exit: Exit::Unreachable });
    }
    if *store.feed(Kind::Gateway) == Feed::Missing && *store.feed(Kind::HttpRoute) == Feed::Missing {
        let why = format!("{} serves no Gateway API: install its CRDs, see {INSTALL}", connection.cluster_url);
        return Err(Refusal { why, exit: Exit::Unreachable });
    }
    Ok(())
}

/// An object by its words: a NAME of a route or Gateway, before it the namespace, before that the
/// kind, with slashes or blanks between.
pub fn find(store: &Store, words: &[String], namespace: &str) -> Result<ObjectKey, Refusal> {
    let parts: Vec<&str> = words.iter().flat_map(|word| word.split('/')).collect();
    let (kind, namespace, name) = match parts.as_slice() {
        [name] => (None, namespace, *name),
        [kind, name] if Kind::parse(kind).is_some() => (Some(*kind), namespace, *name),
        [own, name] if words.len() == 1 && store.labels(own).is_some() => (None, *own, *name),
        [kind, name] => (Some(*kind), namespace, *name),
        [kind, own, name] => (Some(*kind), *own, *name),
        _ => return Err(Refusal::usage("name one object: NAME, NAMESPACE/NAME, KIND/NAME or KIND/NAMESPACE/NAME")),
    };
    let kinds: Vec<Kind> = match kind {
        Some(word) => vec![named(word)?],
        None => Kind::ROUTES.into_iter().chain([Kind::Gateway, Kind::ListenerSet, Kind::GatewayClass]).collect(),
    };
    let of = |kind: Kind| ObjectKey::new(kind, if kind.namespaced() { namespace } else { "" }, name);
    let there: Vec<ObjectKey> = kinds.iter().map(|kind| of(*kind)).filter(|key| store.get(key).is_some()).collect();
    if let [one, others @ ..] = there.as_slice() {
        if others.is_empty() {
            return Ok(one.clone());
        }
        let names: Vec<_> = there.iter().map(|key| format!("{}/{name}", key.kind.name().to_lowercase())).collect();
        return Err(Refusal::usage(format!("{name} is the name of several objects: say {}", names.join(" or "))));
    }
    let what = kind.map_or("route or Gateway".to_owned(), |_| kinds[0].name().to_owned());
    let elsewhere: Vec<String> = kinds
        .iter()
        .flat_map(|kind| store.of_kind(*kind))
        .filter(|(key, _)| key.name == name)
        .map(|(key, _)| key.namespace.clone())
        .collect();
    let next = match elsewhere.first() {
        Some(other) => format!("there is one in namespace {other}: add -n {other}"),
        None => format!("`gwtop get {} -A` lists what is there", kinds[0].plural()),
    };
    Err(Refusal::usage(format!("no {what} {name} in namespace {namespace}; {next}")))
}

/// A kind by any of its names.
pub fn named(word: &str) -> Result<Kind, Refusal> {
    Kind::parse(word).ok_or_else(|| {
        let known: Vec<_> = Kind::ALL.iter().map(|kind| kind.plural()).collect();
        Refusal::usage(format!(
            "there is no kind {word}; kinds are {} and policies as they are found",
            known.join(", ")
        ))
    })
}

/// `httproute.gateway.networking.k8s.io/name`, as kubectl writes it.
fn reference(key: &ObjectKey) -> String {
    let kind = key.kind.name().to_lowercase();
    if key.kind.group().is_empty() {
        format!("{kind}/{}", key.name)
    } else {
        format!("{kind}.{}/{}", key.kind.group(), key.name)
    }
}

/// Findings in the formats of other tools, where one is asked for.
fn exported(report: &Report, output: Findings, name: &str) -> Option<String> {
    match output {
        Findings::Sarif => Some(format!("{:#}\n", sarif::document(report, name))),
        Findings::Junit => Some(junit::document(report, name)),
        Findings::Markdown => Some(markdown::document(report, name)),
        Findings::Github => Some(github::document(report)),
        _ => None,
    }
}

fn json(value: &Value) -> String {
    format!("{value:#}\n")
}

fn yaml(value: &Value) -> String {
    emit::yaml(value)
}

/// Seconds since then, as kubectl writes ages.
fn age(since: Option<Timestamp>, now: Timestamp) -> String {
    since.map_or_else(|| "-".to_owned(), |since| crate::rows::age((now - since).get_seconds()))
}
