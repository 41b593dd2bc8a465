//! Editing an object: its text, the server's opinion of it, the write, and taking it back.

use std::sync::Arc;

use crossterm::event::KeyEvent;
use tui_textarea::{CursorMove, TextArea};

use super::{Effect, canary::may_write, push, say, subject};
use crate::{
    event,
    intent::{edit, plan::Plan},
    model::key::Kind,
    screen::{Ask, Dialog, Editor, State, Tone, View},
};

pub(super) fn open(state: &mut State) {
    if state.readonly {
        let why = super::read_only(state);
        say(&mut state.screen, Tone::Warn, why);
        return;
    }
    let Some(key) = subject(&state.screen) else {
        say(&mut state.screen, Tone::Warn, "nothing is selected");
        return;
    };
    if key.kind == Kind::Secret {
        say(&mut state.screen, Tone::Warn, "Secrets are not edited here: their data is never read");
        return;
    }
    let Some(object) = state.store.get(&key).map(|object| Arc::new(object.value())) else {
        say(&mut state.screen, Tone::Warn, format!("{} {key} is gone", key.kind.name()));
        return;
    };
    match edit::text(&object) {
        Ok(text) => {
            let mut area = TextArea::new(text.lines().map(str::to_owned).collect());
            area.set_max_histories(1000);
            state.screen.editor = Some(Editor { key: key.clone(), object, area, leaving: false, busy: false });
            push(&mut state.screen, View::Edit(key));
        }
        Err(wrong) => say(&mut state.screen, Tone::Bad, wrong.why),
    }
}

/// A key while the editor is open: the text's, but for saving and leaving.
pub(super) fn typed(state: &mut State, key: KeyEvent) -> Vec<Effect> {
    let Some(editor) = &mut state.screen.editor else { return Vec::new() };
    match event::name(&key).as_str() {
        "ctrl-s" => return save(state),
        "esc" => {
            let untouched = edit::text(&editor.object).is_ok_and(|text| text.lines().eq(editor.area.lines()));
            if untouched || editor.leaving {
                close(state);
                say(&mut state.screen, Tone::Muted, "nothing written");
            } else {
                editor.leaving = true;
                say(&mut state.screen, Tone::Warn, "Esc again throws the changes away; ctrl-s goes on to the diff");
            }
        }
        _ => {
            editor.leaving = false;
            editor.area.input(key);
            state.screen.message = None;
        }
    }
    Vec::new()
}

pub(super) fn close(state: &mut State) {
    state.screen.editor = None;
    state.screen.pages.retain(|page| !matches!(page.view, View::Edit(_)));
}

fn save(state: &mut State) -> Vec<Effect> {
    if !may_write(state) {
        return Vec::new();
    }
    let Some(editor) = &mut state.screen.editor else { return Vec::new() };
    if editor.busy {
        return Vec::new();
    }
    let text = editor.area.lines().join("\n") + "\n";
    match edit::plan(&editor.key, &editor.object, &text) {
        Ok(plan) => {
            editor.busy = true;
            say(&mut state.screen, Tone::Muted, "asking the API what it makes of it (dry run)");
            vec![Effect::Rehearse(Box::new(plan))]
        }
        Err(wrong) => {
            complain(state, wrong.line, &wrong.why);
            Vec::new()
        }
    }
}

/// The cursor goes to the line that is wrong.
fn complain(state: &mut State, line: Option<usize>, why: &str) {
    let Some(editor) = &mut state.screen.editor else { return };
    let place = line.map(|line| format!("line {}: ", line + 1)).unwrap_or_default();
    if let Some(row) = line.and_then(|line| u16::try_from(line).ok()) {
        editor.area.move_cursor(CursorMove::Jump(row, u16::MAX));
    }
    say(&mut state.screen, Tone::Bad, format!("{place}{why}"));
}

pub(super) fn rehearsed(state: &mut State, plan: Box<Plan>, outcome: Result<(), String>) {
    let Some(editor) = &mut state.screen.editor else { return };
    editor.busy = false;
    let text = editor.area.lines().join("\n") + "\n";
    match outcome {
        Ok(()) => ask(state, "Write this change", Ask::Send(plan)),
        Err(why) => complain(state, edit::place(&text, &why), &why),
    }
}

pub(super) fn undo(state: &mut State) {
    if !may_write(state) {
        return;
    }
    match state.screen.written.last() {
        Some(plan) => {
            let plan = Box::new(edit::undo(plan));
            ask(state, "Take the last write back", Ask::Send(plan));
        }
        None => say(&mut state.screen, Tone::Muted, "nothing has been written from here"),
    }
}

/// In a context that is marked as production the name of the object has to be typed.
pub(super) fn ask(state: &mut State, title: &str, ask: Ask) {
    let name = match &ask {
        Ask::Send(plan) => &plan.target.name,
        Ask::Start { route, .. } | Ask::RollbackRun { route } => &route.name,
    };
    let guard = state.is_production().then(|| name.clone());
    state.screen.dialog = Some(Dialog { title: title.to_owned(), guard, typed: String::new(), ask });
}
