//! A recording is played: its clock is the console's.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{Event, Link, State, Tone, apply, say};
use crate::{
    model::{store::Store, timeline::Timeline},
    recording::player::Problem,
    screen::{RowKey, Tab},
    traffic::series::Traffic,
};

/// What the arrow keys move by.
const STRIDE: SignedDuration = SignedDuration::from_secs(10);

pub(super) fn beat(state: &mut State, elapsed: Duration) {
    let Some(player) = &mut state.player else { return };
    let was = player.playing;
    let heard = player.advance(elapsed);
    let ended = was && !player.playing;
    hear(state, heard);
    if ended {
        say(&mut state.screen, Tone::Muted, "the recording ends here; space plays it again");
    }
}

fn hear(state: &mut State, heard: Vec<(Timestamp, Event)>) {
    for (at, event) in heard {
        set_clock(state, at);
        // What was recorded asks for nothing.
        let _ = apply(state, event);
    }
    if let Some(player) = &state.player {
        let clock = player.clock();
        set_clock(state, clock);
    }
}

fn set_clock(state: &mut State, at: Timestamp) {
    if let Some(player) = &state.player {
        (state.wall, state.now) = (at, player.instant_of(at));
    }
}

pub(super) fn seek(state: &mut State, to: Timestamp) {
    let Some(player) = &mut state.player else { return };
    let (back, heard) = player.seek(to);
    let (selected, position) = (state.screen.selected.clone(), state.screen.position);
    if back {
        (state.store, state.traffic, state.timeline) = (Store::default(), Traffic::default(), Timeline::default());
        state.link = Link::Connecting;
        // Made of another past.
        state.judged.revision = u64::MAX;
    }
    hear(state, heard);
    // What was looked at was gone for a moment only.
    (state.screen.selected, state.screen.position) = (selected, position);
}

pub(super) fn stride(state: &mut State, forward: bool) {
    let Some(player) = &state.player else { return };
    let to = if forward { player.clock() + STRIDE } else { player.clock() - STRIDE };
    seek(state, to);
}

pub(super) fn pause(state: &mut State) {
    let Some(player) = &mut state.player else { return };
    if !player.playing && player.clock() == player.end() {
        let start = player.start();
        player.playing = true;
        return seek(state, start);
    }
    player.playing = !player.playing;
}

pub(super) fn speed(state: &mut State, faster: bool) {
    let Some(player) = &mut state.player else { return };
    if faster { player.faster() } else { player.slower() }
}

/// Stands still there, to be looked at.
pub(super) fn problem(state: &mut State, next: bool) {
    let Some(player) = &mut state.player else { return };
    let found = if next { player.problem_after() } else { player.problem_before() };
    match found.cloned() {
        Some(Problem { at, key, text }) => {
            player.playing = false;
            seek(state, at);
            if let (Tab::Routes, Some(key)) = (state.screen.tab, key.filter(|key| key.kind.is_route())) {
                state.screen.selected[Tab::Routes as usize] = Some(RowKey::Object(key));
            }
            say(&mut state.screen, Tone::Bad, text);
        }
        None => {
            let text = if next { "no problem begins after this" } else { "no problem begins before this" };
            say(&mut state.screen, Tone::Muted, text);
        }
    }
}
