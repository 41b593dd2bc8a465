//! What can happen to the console.

use std::time::Duration;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::{
    canary::Transition,
    cluster::send::Outcome,
    intent::plan::Plan,
    model::{key::ObjectKey, store::Change},
    screen::{Judged, Question},
    traffic::scrape::Scrape,
    update::Seek,
};

#[derive(Debug)]
pub enum Event {
    Key(KeyEvent),
    Paste(String),
    /// Time went by; what shows ages is drawn again.
    Tick,
    Change(Change),
    /// Much at once, which is looked at once.
    Many(Vec<Event>),
    Link(Link),
    Scrape(Scrape),
    Outcome(Box<Plan>, Outcome),
    Transition(Box<Transition>),
    /// The run's last word has been said.
    RunEnded,
    Judged(Box<Judged>),
    /// What the API makes of a plan, without having stored it.
    Rehearsed(Box<Plan>, Result<(), String>),
    /// The lines of the page that is open.
    Text(Seek, Vec<String>),
    /// Real time that went by while a recording plays.
    Beat(Duration),
    /// What was done from the console that was recorded.
    Done(Option<ObjectKey>, String),
    /// Where the last half hour was written to.
    Saved(Result<String, String>),
    /// Answer to [`crate::update::Effect::Ask`].
    Told(Question, Result<Vec<String>, String>),
}

/// Standing of the connection to the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link {
    Connecting,
    Up { context: String, url: String },
    Down(String),
}

/// A key as the keymap spells it.
pub fn name(key: &KeyEvent) -> String {
    let base = match key.code {
        KeyCode::Char(' ') => "space".to_owned(),
        KeyCode::Char(c) => c.to_string(),
        KeyCode::Enter => "enter".to_owned(),
        KeyCode::Esc => "esc".to_owned(),
        KeyCode::Tab => "tab".to_owned(),
        KeyCode::BackTab => "backtab".to_owned(),
        KeyCode::Up => "up".to_owned(),
        KeyCode::Down => "down".to_owned(),
        KeyCode::PageUp => "pgup".to_owned(),
        KeyCode::PageDown => "pgdn".to_owned(),
        KeyCode::Home => "home".to_owned(),
        KeyCode::End => "end".to_owned(),
        other => format!("{other:?}").to_lowercase(),
    };
    if key.modifiers.contains(KeyModifiers::CONTROL) { format!("ctrl-{}", base.to_lowercase()) } else { base }
}
