//! What others know than the watches: Events, the audit file, contexts; and another context.

use super::{Effect, State, Tone, View, push, say};
use crate::{
    event::Link,
    model::{key::ObjectKey, store::Store, timeline::Timeline},
    recording::ring::Ring,
    screen::{Judged, Question},
    traffic::series::Traffic,
};

pub(super) fn ask(state: &mut State, question: Question) -> Vec<Effect> {
    state.screen.answer = None;
    push(&mut state.screen, View::Answer(question.clone()));
    vec![Effect::Ask(question)]
}

pub(super) fn events(state: &mut State, of: Option<ObjectKey>) -> Vec<Effect> {
    ask(state, Question::Events(of))
}

pub(super) fn told(state: &mut State, question: Question, answer: Result<Vec<String>, String>) {
    state.screen.answer = Some((question, answer));
}

/// Everything of the context that was looked at goes: none of it may be taken for the other's.
pub(super) fn connect(state: &mut State, context: String) -> Vec<Effect> {
    if state.player.is_some() {
        say(&mut state.screen, Tone::Warn, "this is a recording: it has one context");
        return Vec::new();
    }
    if state.screen.canary.run.as_ref().is_some_and(|run| !run.ended) {
        say(
            &mut state.screen,
            Tone::Bad,
            "a canary runs from here: let it end, or roll it back with R, before leaving",
        );
        return Vec::new();
    }
    (state.store, state.traffic, state.timeline) = (Store::default(), Traffic::default(), Timeline::default());
    (state.ring, state.judged, state.judging, state.frozen) = (Ring::default(), Judged::default(), false, None);
    state.link = Link::Connecting;
    state.link_since = state.now;
    state.context.clone_from(&context);
    state.url.clear();
    let screen = &mut state.screen;
    screen.pages.clear();
    screen.selected = Default::default();
    screen.position = Default::default();
    screen.lens.namespace = None;
    (screen.editor, screen.dialog, screen.answer) = (None, None, None);
    // They were writes to another cluster.
    screen.written.clear();
    screen.canary = crate::screen::Canary::default();
    vec![Effect::Connect(context)]
}

/// To be played later; the last half hour is always at hand.
pub(super) fn save(state: &mut State) -> Vec<Effect> {
    if state.player.is_some() {
        say(&mut state.screen, Tone::Warn, "this is a recording already");
        return Vec::new();
    }
    let lines = state.ring.lines();
    say(&mut state.screen, Tone::Muted, "writing what was heard in the last half hour");
    vec![Effect::Save(lines)]
}
