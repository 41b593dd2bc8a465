//! Folds events into the state and says what is to be done. Pure: no I/O, no clock.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use tui_textarea::TextArea;

use crate::{
    canary::{Order, Settings},
    cluster::send::Outcome,
    event::{self, Event, Link},
    finding::Finding,
    intent::{
        command::{self, Command, Word},
        keymap::{self, Mode},
        plan::Plan,
    },
    model::{
        health::Health,
        key::{Kind, ObjectKey},
        store::Store,
    },
    recording::Line,
    rows,
    screen::{Filter, Input, InputKind, Message, Page, Question, RowKey, Screen, Sort, State, Tab, Tone, View},
    theme,
};

mod ask;
mod canary;
mod edit;
mod replay;

pub use canary::pair;
use canary::{ask_start, confirm, next_rule, open_canary, pause, review, rollback, stage};

/// Percent points of one press.
pub const STAGE: f64 = 5.0;
const TRANSITIONS: usize = 200;

#[derive(Debug)]
pub enum Effect {
    Quit,
    Send(Box<Plan>),
    /// A dry run; nothing is stored.
    Rehearse(Box<Plan>),
    StartRun(Box<Settings>),
    Order(Order),
    /// Triage of the store as it is, and of the way of a route.
    Judge(Box<Store>, Option<ObjectKey>),
    /// To the terminal's clipboard.
    Copy(String),
    /// The text of the page as it is laid out, to look for the match after or before.
    Seek(Seek),
    Ask(Question),
    /// Another context; nothing of the one before is wanted any more.
    Connect(String),
    /// As a recording.
    Save(Vec<Line>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seek {
    FromHere,
    Next,
    Previous,
}

pub fn update(state: &mut State, event: Event) -> Vec<Effect> {
    let effects = apply(state, event);
    anchor(state);
    effects
}

fn apply(state: &mut State, event: Event) -> Vec<Effect> {
    match event {
        Event::Key(key) => return on_key(state, key),
        Event::Paste(text) => {
            if let (Mode::Edit, Some(editor)) = (state.screen.mode(), &mut state.screen.editor) {
                editor.area.insert_str(text);
            } else if let Some(input) = &mut state.screen.input {
                input.area.insert_str(text.lines().next().unwrap_or_default());
                follow_filter(&mut state.screen);
            }
        }
        Event::Tick => return judge(state, false),
        Event::Rehearsed(plan, outcome) => edit::rehearsed(state, plan, outcome),
        Event::Text(seek, lines) => matched(state, seek, &lines),
        Event::Judged(judged) => {
            state.judging = false;
            state.judged = *judged;
        }
        Event::Many(events) => return events.into_iter().flat_map(|event| apply(state, event)).collect(),
        Event::Beat(elapsed) => {
            replay::beat(state, elapsed);
            return Vec::new();
        }
        Event::Done(key, text) => state.timeline.tell(state.wall, key, None, text),
        Event::Told(question, answer) => ask::told(state, question, answer),
        Event::Saved(outcome) => match outcome {
            Ok(path) => say(&mut state.screen, Tone::Good, format!("saved: gwtop replay {path}")),
            Err(why) => say(&mut state.screen, Tone::Bad, format!("the recording cannot be written: {why}")),
        },
        Event::Change(change) => {
            if state.player.is_none() {
                state.ring.change(state.wall, &change);
            }
            state.timeline.heed(&state.store, &change, state.wall);
            state.store.at(state.wall);
            state.store.apply(change);
        }
        Event::Link(link) => {
            if link != state.link {
                state.link_since = state.now;
                turned(state, &link);
            }
            if let Link::Up { context, url } = &link {
                (state.context, state.url) = (context.clone(), url.clone());
            }
            state.link = link;
        }
        Event::Scrape(scrape) => {
            if state.player.is_none() {
                state.ring.scrape(state.wall, &scrape);
            }
            state.traffic.apply(scrape);
            let failing = state.traffic.total().and_then(|total| total.error_rate);
            state.timeline.heed_traffic(failing, state.wall);
        }
        Event::Outcome(plan, outcome) => {
            state.screen.canary.sending = false;
            let (tone, text) = match outcome {
                Outcome::Applied { .. } => {
                    state.screen.canary.staged = None;
                    let undone = state.screen.written.last().is_some_and(|last| last.inverse == plan.patch);
                    if undone {
                        state.screen.written.pop();
                    } else {
                        state.screen.written.push((*plan).clone());
                    }
                    edit::close(state);
                    done(state, Some(plan.target.clone()), &format!("written from here: {}", plan.summary));
                    (Tone::Good, format!("done: {}", plan.summary))
                }
                Outcome::Conflict(why) => {
                    (Tone::Bad, format!("nothing written, {} moved meanwhile: {why}", plan.target))
                }
                Outcome::Refused(why) => (Tone::Bad, format!("nothing written, the API refused: {why}")),
                Outcome::Unknown(why) => (Tone::Bad, format!("no answer, look at the weights before going on: {why}")),
                Outcome::Unreachable(why) => (Tone::Bad, format!("nothing written, API unreachable: {why}")),
            };
            state.screen.message = Some(Message { tone, text });
        }
        Event::Transition(transition) => {
            let route = state.screen.canary.run.as_ref().map(|run| run.route.clone());
            done(state, route, &canary::told(&transition));
            if let Some(run) = &mut state.screen.canary.run {
                run.ended |= transition.finished.is_some();
                run.transitions.push(*transition);
                if run.transitions.len() > TRANSITIONS {
                    run.transitions.remove(0);
                }
            }
        }
        Event::RunEnded => {
            if let Some(run) = &mut state.screen.canary.run {
                run.ended = true;
            }
        }
    }
    Vec::new()
}

/// Into the timeline and into what can be saved.
fn done(state: &mut State, key: Option<ObjectKey>, text: &str) {
    state.ring.done(state.wall, key.clone(), text);
    state.timeline.tell(state.wall, key, None, text);
}

fn turned(state: &mut State, link: &Link) {
    if state.player.is_none() {
        state.ring.link(state.wall, link);
    }
    match (&state.link, link) {
        (_, Link::Down(why)) => {
            let text = format!("the API does not answer: {why}");
            state.timeline.tell(state.wall, None, Some(Health::Stale), text);
        }
        (Link::Down(_), Link::Up { .. }) => state.timeline.tell(state.wall, None, Some(Health::Ok), "the API is back"),
        _ => {}
    }
}

fn read_only(state: &State) -> &'static str {
    if state.player.is_some() { "a recording cannot be written to" } else { "read-only: started with --readonly" }
}

/// Asks for a judgement of what has changed since the last one, or of another route.
fn judge(state: &mut State, again: bool) -> Vec<Effect> {
    let wanted = state.screen.pages.iter().rev().find_map(|page| match &page.view {
        View::Why(key) => Some(key.clone()),
        _ => None,
    });
    let known = state.judged.way.as_ref().map(|(key, _)| key);
    let stale = state.judged.revision != state.store.revision() || (wanted.is_some() && known != wanted.as_ref());
    if !stale || (state.judging && !again) {
        return Vec::new();
    }
    state.judging = true;
    vec![Effect::Judge(Box::new(state.store.clone()), wanted)]
}

/// Keeps the selection on its object; if that is gone, near where it was.
fn anchor(state: &mut State) {
    let rows = rows::list(state);
    let tab = state.screen.tab as usize;
    let place = state.screen.selected[tab].as_ref().and_then(|key| rows.iter().position(|row| row.key == *key));
    match place {
        Some(place) => state.screen.position[tab] = place,
        None => {
            let place = state.screen.position[tab].min(rows.len().saturating_sub(1));
            state.screen.selected[tab] = rows.get(place).map(|row| row.key.clone());
        }
    }
}

fn on_key(state: &mut State, key: KeyEvent) -> Vec<Effect> {
    let name = event::name(&key);
    if name == "ctrl-c" {
        return vec![Effect::Quit];
    }
    if state.screen.input.is_some() && state.screen.dialog.is_none() {
        return typed(state, key);
    }
    let mode = state.screen.mode();
    if mode == Mode::Edit {
        return edit::typed(state, key);
    }
    if let Some(dialog) = state.screen.dialog.as_mut().filter(|dialog| dialog.guard.is_some()) {
        match key.code {
            KeyCode::Char(c) if !key.modifiers.contains(KeyModifiers::CONTROL) => dialog.typed.push(c),
            KeyCode::Backspace => {
                dialog.typed.pop();
            }
            KeyCode::Esc => return run(state, Command::Cancel),
            KeyCode::Enter if dialog.guard.as_ref() == Some(&dialog.typed) => return run(state, Command::Confirm),
            KeyCode::Enter => {
                let text = format!("type {} to go on; Esc cancels", dialog.guard.as_deref().unwrap_or_default());
                say(&mut state.screen, Tone::Warn, text);
            }
            _ => {}
        }
        return Vec::new();
    }
    let of_replay = state.player.is_some().then(|| keymap::of_replay(&name)).flatten();
    let Some(command) = of_replay.filter(|_| mode != Mode::Confirm).or_else(|| keymap::find(mode, &name)) else {
        if mode != Mode::Confirm {
            say(&mut state.screen, Tone::Muted, format!("{name} does nothing here; ? lists the keys"));
        }
        return Vec::new();
    };
    state.screen.message = None;
    run(state, command)
}

fn typed(state: &mut State, key: KeyEvent) -> Vec<Effect> {
    let screen = &mut state.screen;
    let Some(input) = &mut screen.input else { return Vec::new() };
    match key.code {
        KeyCode::Esc => {
            if input.kind == InputKind::Filter {
                screen.lens.filter = None;
            }
            screen.input = None;
        }
        KeyCode::Enter => {
            let (kind, line) = (input.kind, input.area.lines().join(" "));
            screen.input = None;
            if kind == InputKind::Find {
                if let Some(page) = screen.pages.last_mut() {
                    page.find = line;
                }
                return vec![Effect::Seek(Seek::FromHere)];
            }
            if kind == InputKind::Command {
                match command::parse(&line) {
                    Ok(Word::Command(command)) => return run(state, command),
                    Ok(Word::Namespace(namespace)) => screen.lens.namespace = namespace,
                    Ok(Word::Kind(kind)) => show_kind(screen, kind),
                    Ok(Word::Theme(name)) => choose_theme(state, &name),
                    Ok(Word::Context(name)) => return ask::connect(state, name),
                    Err(why) => say(screen, Tone::Bad, why),
                }
            }
        }
        _ => {
            // One line only: what the text area would make of Ctrl-M and the like is left out.
            if !matches!(event::name(&key).as_str(), "ctrl-m" | "ctrl-j" | "tab") {
                input.area.input(key);
            }
            follow_filter(screen);
        }
    }
    Vec::new()
}

/// The list narrows while the filter is typed.
fn follow_filter(screen: &mut Screen) {
    let Some(input) = &screen.input else { return };
    if input.kind != InputKind::Filter {
        return;
    }
    let line = input.area.lines().join(" ");
    screen.message = None;
    match line.trim() {
        "" | "!" => screen.lens.filter = None,
        text => match Filter::parse(text) {
            Ok(filter) => screen.lens.filter = Some(filter),
            // Half a regex while typing: what was last whole stays.
            Err(why) => say(screen, Tone::Warn, why),
        },
    }
}

fn say(screen: &mut Screen, tone: Tone, text: impl Into<String>) {
    screen.message = Some(Message { tone, text: text.into() });
}

fn run(state: &mut State, command: Command) -> Vec<Effect> {
    let page = usize::from(state.screen.height.max(2)) - 1;
    match command {
        Command::Quit => return vec![Effect::Quit],
        Command::Back => back(&mut state.screen),
        Command::Help => push(&mut state.screen, View::Help),
        Command::CommandLine => open_input(&mut state.screen, InputKind::Command),
        Command::Filter => open_input(&mut state.screen, InputKind::Filter),
        Command::Routes => show(&mut state.screen, Tab::Routes),
        Command::Gateways => show(&mut state.screen, Tab::Gateways),
        Command::Backends => show(&mut state.screen, Tab::Backends),
        Command::Findings => show(&mut state.screen, Tab::Findings),
        Command::Timeline => show(&mut state.screen, Tab::Timeline),
        Command::Events => {
            let of = subject(&state.screen).filter(|key| !key.name.is_empty());
            return ask::events(state, of);
        }
        Command::AllEvents => return ask::events(state, None),
        Command::Audit => return ask::ask(state, Question::Audit),
        Command::Contexts => return ask::ask(state, Question::Contexts),
        Command::Save => return ask::save(state),
        Command::PlayPause => replay::pause(state),
        Command::PlayBack => replay::stride(state, false),
        Command::PlayForward => replay::stride(state, true),
        Command::Faster => replay::speed(state, true),
        Command::Slower => replay::speed(state, false),
        Command::NextProblem => replay::problem(state, true),
        Command::PreviousProblem => replay::problem(state, false),
        Command::NextTab => {
            let here = Tab::ALL.iter().position(|tab| *tab == state.screen.tab).unwrap_or(Tab::ALL.len() - 1);
            let next = Tab::ALL[(here + 1) % Tab::ALL.len()];
            show(&mut state.screen, next);
        }
        Command::Down => travel(state, 1),
        Command::Up => travel(state, -1),
        Command::Top => travel(state, isize::MIN),
        Command::Bottom => travel(state, isize::MAX),
        Command::PageDown => travel(state, page.cast_signed()),
        Command::PageUp => travel(state, -page.cast_signed()),
        Command::HalfDown => travel(state, (page / 2).max(1).cast_signed()),
        Command::HalfUp => travel(state, -(page / 2).max(1).cast_signed()),
        Command::Open if state.screen.tab == Tab::Findings && state.screen.pages.is_empty() => return why(state),
        Command::Open | Command::Detail => open(state, View::Detail),
        Command::Yaml => open(state, View::Yaml),
        Command::Why => return why(state),
        Command::Edit => edit::open(state),
        Command::Undo => edit::undo(state),
        Command::Tree => open(state, View::Tree),
        Command::Copy => return copy(state),
        Command::Find => open_input(&mut state.screen, InputKind::Find),
        Command::NextMatch => return vec![Effect::Seek(Seek::Next)],
        Command::PreviousMatch => return vec![Effect::Seek(Seek::Previous)],
        Command::NextTheme => {
            let next = theme::after(&state.theme.name);
            choose_theme(state, next);
        }
        Command::Canary => open_canary(state),
        Command::AllNamespaces => state.screen.lens.namespace = None,
        Command::ThisNamespace => {
            state.screen.lens.namespace = state.screen.selection().map(|key| key.object().namespace.clone());
        }
        Command::Freeze => {
            state.frozen = match state.frozen.take() {
                Some(_) => None,
                None => Some(Box::new((state.store.clone(), state.traffic.clone()))),
            };
        }
        Command::Faults => state.screen.lens.faults = !state.screen.lens.faults,
        Command::SortName => state.screen.lens.sort = Sort::Name,
        Command::SortAge => state.screen.lens.sort = Sort::Age,
        Command::SortStatus => state.screen.lens.sort = Sort::Status,
        Command::SortTraffic => state.screen.lens.sort = Sort::Traffic,
        Command::StageUp => stage(state, STAGE),
        Command::StageDown => stage(state, -STAGE),
        Command::NextRule => next_rule(state),
        Command::Review => review(state),
        Command::Auto => ask_start(state),
        Command::Pause => return pause(state),
        Command::Rollback => rollback(state),
        Command::Confirm => return confirm(state),
        Command::Cancel => {
            state.screen.dialog = None;
            say(&mut state.screen, Tone::Muted, "cancelled, nothing written");
        }
    }
    Vec::new()
}

fn back(screen: &mut Screen) {
    if screen.pages.pop().is_none() {
        screen.lens.filter = None;
        screen.lens.faults = false;
    }
}

fn push(screen: &mut Screen, view: View) {
    if screen.view() != Some(&view) {
        // Going in circles must not make the way back endless.
        screen.pages.retain(|page| page.view != view);
        screen.pages.push(Page { view, scroll: 0, find: String::new() });
    }
}

fn show(screen: &mut Screen, tab: Tab) {
    screen.pages.clear();
    screen.tab = tab;
}

fn show_kind(screen: &mut Screen, kind: Kind) {
    match kind {
        Kind::Gateway => return show(screen, Tab::Gateways),
        kind if kind.is_route() => show(screen, Tab::Objects),
        _ => show(screen, Tab::Objects),
    }
    if screen.kind != kind {
        screen.kind = kind;
        screen.position[Tab::Objects as usize] = 0;
        screen.selected[Tab::Objects as usize] = None;
    }
}

fn choose_theme(state: &mut State, name: &str) {
    match theme::built_in(name) {
        Some(theme) => {
            state.theme = theme.fit(state.palette);
            say(&mut state.screen, Tone::Muted, format!("theme {name}; --theme {name} keeps it"));
        }
        None => {
            let names: Vec<_> = theme::BUILT_IN.iter().map(|(name, _)| *name).collect();
            say(&mut state.screen, Tone::Warn, format!("no theme {name}: {}", names.join(", ")));
        }
    }
}

fn why(state: &mut State) -> Vec<Effect> {
    let Some(key) = subject(&state.screen).filter(|key| !key.name.is_empty()) else {
        say(&mut state.screen, Tone::Warn, "select an object to ask why about");
        return Vec::new();
    };
    push(&mut state.screen, View::Why(key));
    judge(state, true)
}

/// The fix of the page or of the selected finding, else the name of what is selected.
fn copy(state: &mut State) -> Vec<Effect> {
    let fix_of = |finding: &Finding| {
        let fix = finding.fix.as_ref()?;
        Some(fix.manifest.clone().unwrap_or_else(|| fix.text.clone()))
    };
    let fix = match (state.screen.view(), state.screen.selection()) {
        (Some(View::Why(key)), _) => {
            let chain = state.judged.way.as_ref().filter(|(of, _)| of == key).and_then(|(_, chain)| chain.as_ref());
            chain.and_then(|chain| chain.cause().or_else(|| chain.findings.first())).and_then(fix_of)
        }
        (None, Some(RowKey::Finding(print, _))) => state.judged.find(print).and_then(fix_of),
        _ => None,
    };
    let (what, text) = match (fix, subject(&state.screen)) {
        (Some(fix), _) => ("the fix", fix),
        (None, Some(key)) => ("the name", key.to_string()),
        (None, None) => {
            say(&mut state.screen, Tone::Warn, "nothing is selected");
            return Vec::new();
        }
    };
    say(&mut state.screen, Tone::Good, format!("{what} is copied, where the terminal lets it (OSC 52)"));
    vec![Effect::Copy(text)]
}

/// Scrolls to a line that has what is looked for; round the end if need be.
fn matched(state: &mut State, seek: Seek, lines: &[String]) {
    let Some(page) = state.screen.pages.last_mut() else { return };
    let needle = page.find.to_lowercase();
    if needle.is_empty() {
        say(&mut state.screen, Tone::Muted, "/ looks for a text in the page");
        return;
    }
    let places: Vec<usize> =
        lines.iter().enumerate().filter(|(_, line)| line.to_lowercase().contains(&needle)).map(|(at, _)| at).collect();
    let here = page.scroll;
    let next = match seek {
        Seek::FromHere => places.iter().find(|place| **place >= here).or(places.first()),
        Seek::Next => places.iter().find(|place| **place > here).or(places.first()),
        Seek::Previous => places.iter().rev().find(|place| **place < here).or(places.last()),
    };
    match next {
        Some(next) => {
            page.scroll = *next;
            let text = format!("{} lines have {}", places.len(), page.find);
            say(&mut state.screen, Tone::Muted, text);
        }
        None => {
            let text = format!("no {} on this page", page.find);
            say(&mut state.screen, Tone::Warn, text);
        }
    }
}

fn open_input(screen: &mut Screen, kind: InputKind) {
    let text = match kind {
        InputKind::Command | InputKind::Find => String::new(),
        InputKind::Filter => screen.lens.filter.as_ref().map(|filter| filter.text.clone()).unwrap_or_default(),
    };
    let mut area = TextArea::new(vec![text]);
    area.move_cursor(tui_textarea::CursorMove::End);
    screen.input = Some(Input { kind, area });
}

fn travel(state: &mut State, by: isize) {
    if let Some(page) = state.screen.pages.last_mut() {
        // The view knows how long the text is and stops there.
        page.scroll = page.scroll.saturating_add_signed(by).min(usize::from(u16::MAX));
        return;
    }
    let rows = rows::list(state);
    let tab = state.screen.tab as usize;
    let place = state.screen.position[tab].saturating_add_signed(by).min(rows.len().saturating_sub(1));
    state.screen.position[tab] = place;
    state.screen.selected[tab] = rows.get(place).map(|row| row.key.clone());
}

/// The object in question: of the page if there is one, else of the selected row.
fn subject(screen: &Screen) -> Option<ObjectKey> {
    let of_page = screen.pages.iter().rev().find_map(|page| match &page.view {
        View::Detail(key)
        | View::Yaml(key)
        | View::Why(key)
        | View::Tree(key)
        | View::Edit(key)
        | View::Canary(key) => Some(key.clone()),
        View::Answer(Question::Events(of)) => of.clone(),
        View::Answer(_) | View::Help => None,
    });
    of_page.or_else(|| screen.selection().map(|key| key.object().clone()))
}

fn open(state: &mut State, view: fn(ObjectKey) -> View) {
    match subject(&state.screen) {
        Some(key) => push(&mut state.screen, view(key)),
        None => say(&mut state.screen, Tone::Warn, "nothing is selected"),
    }
}
