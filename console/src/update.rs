//! Folds events into the state and says what is to be done. Pure: no I/O, no clock.

use crossterm::event::{KeyCode, KeyEvent};
use tui_textarea::TextArea;

use crate::{
    canary::{Order, Settings},
    cluster::send::Outcome,
    event::{self, Event, Link},
    intent::{
        command::{self, Command, Word},
        keymap::{self, Mode},
        plan::{self, Plan},
        weights::{self, Pair},
    },
    model::key::{Kind, ObjectKey},
    rows,
    screen::{Ask, Dialog, Filter, Input, InputKind, Message, Page, RunView, Screen, Sort, State, Tab, Tone, View},
};

/// Percent points of one press.
pub const STAGE: f64 = 5.0;
const TRANSITIONS: usize = 200;

#[derive(Debug)]
pub enum Effect {
    Quit,
    Send(Box<Plan>),
    StartRun(Box<Settings>),
    Order(Order),
}

pub fn update(state: &mut State, event: Event) -> Vec<Effect> {
    match event {
        Event::Key(key) => return on_key(state, key),
        Event::Paste(text) => {
            if let Some(input) = &mut state.screen.input {
                input.area.insert_str(text.lines().next().unwrap_or_default());
                follow_filter(&mut state.screen);
            }
        }
        Event::Tick => {}
        Event::Change(change) => state.store.apply(change),
        Event::Link(link) => {
            if link != state.link {
                state.link_since = state.now;
            }
            if let Link::Up { context, url } = &link {
                (state.context, state.url) = (context.clone(), url.clone());
            }
            state.link = link;
        }
        Event::Scrape(scrape) => state.traffic.apply(scrape),
        Event::Outcome(plan, outcome) => {
            state.screen.canary.sending = false;
            let (tone, text) = match outcome {
                Outcome::Applied { .. } => {
                    state.screen.canary.staged = None;
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
    anchor(state);
    Vec::new()
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
    let Some(command) = keymap::find(mode, &name) else {
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
            if kind == InputKind::Command {
                match command::parse(&line) {
                    Ok(Word::Command(command)) => return run(state, command),
                    Ok(Word::Namespace(namespace)) => screen.lens.namespace = namespace,
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
    anchor(state);
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
        Command::NextTab => {
            let next = Tab::ALL[(state.screen.tab as usize + 1) % Tab::ALL.len()];
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
        Command::Open | Command::Detail => open(state, View::Detail),
        Command::Yaml => open(state, View::Yaml),
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
    anchor(state);
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
        screen.pages.push(Page { view, scroll: 0 });
    }
}

fn show(screen: &mut Screen, tab: Tab) {
    screen.pages.clear();
    screen.tab = tab;
}

fn open_input(screen: &mut Screen, kind: InputKind) {
    let text = match kind {
        InputKind::Command => String::new(),
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
        View::Detail(key) | View::Yaml(key) | View::Canary(key) => Some(key.clone()),
        View::Help => None,
    });
    of_page.or_else(|| screen.selection().map(|key| key.object().clone()))
}

fn open(state: &mut State, view: fn(ObjectKey) -> View) {
    match subject(&state.screen) {
        Some(key) => push(&mut state.screen, view(key)),
        None => say(&mut state.screen, Tone::Warn, "nothing is selected"),
    }
}

fn open_canary(state: &mut State) {
    match subject(&state.screen).filter(|key| key.kind == Kind::HttpRoute) {
        Some(key) => {
            let same = matches!(state.screen.view(), Some(View::Canary(open)) if *open == key);
            if !same {
                state.screen.canary.staged = None;
                state.screen.canary.rule = None;
            }
            push(&mut state.screen, View::Canary(key));
            if let Err(why) = pair(state) {
                say(&mut state.screen, Tone::Warn, why);
            }
        }
        None => say(&mut state.screen, Tone::Warn, "select an HTTPRoute: a canary shares traffic between its backends"),
    }
}

/// The two backends that the panel is about.
pub fn pair(state: &State) -> Result<Pair, String> {
    let key = subject(&state.screen).filter(|key| key.kind == Kind::HttpRoute).ok_or("select an HTTPRoute")?;
    let route = state.store.get(&key).ok_or_else(|| format!("HTTPRoute {key} is gone"))?;
    let several = || {
        let rules = weights::rule_count(route);
        (0..rules).find(|rule| weights::backends(route, *rule).is_ok_and(|backends| backends.len() > 1))
    };
    let rule = state.screen.canary.rule.or_else(several);
    weights::pair(route, rule, None, None).map_err(|refusal| format!("{key}: {refusal}"))
}

fn next_rule(state: &mut State) {
    let Some(key) = subject(&state.screen) else { return };
    let Some(route) = state.store.get(&key) else { return };
    let several: Vec<usize> = (0..weights::rule_count(route))
        .filter(|rule| weights::backends(route, *rule).is_ok_and(|backends| backends.len() > 1))
        .collect();
    let now = pair(state).ok().map(|pair| pair.rule);
    let next = several.iter().find(|rule| Some(**rule) > now).or_else(|| several.first());
    state.screen.canary.rule = next.copied();
    state.screen.canary.staged = None;
}

fn stage(state: &mut State, by: f64) {
    match pair(state) {
        Ok(pair) => {
            let from = state.screen.canary.staged.unwrap_or_else(|| pair.percent());
            state.screen.canary.staged = Some((from + by).clamp(0.0, 100.0));
        }
        Err(why) => say(&mut state.screen, Tone::Bad, why),
    }
}

/// Whether a write may be asked for at all.
fn may_write(state: &mut State) -> bool {
    let why = if state.readonly {
        "read-only: started with --readonly"
    } else if !state.is_up() {
        "the API is not reachable: nothing can be written now"
    } else if state.screen.canary.sending {
        "the last write has not been answered yet"
    } else {
        return true;
    };
    say(&mut state.screen, Tone::Warn, why);
    false
}

fn running(state: &State, key: &ObjectKey) -> bool {
    state.screen.canary.run.as_ref().is_some_and(|run| !run.ended && run.route == *key)
}

fn review(state: &mut State) {
    if !may_write(state) {
        return;
    }
    match state.screen.canary.staged {
        Some(percent) => propose(state, percent, "Write weights"),
        None => say(&mut state.screen, Tone::Muted, "nothing staged: + and - stage a step"),
    }
}

fn propose(state: &mut State, percent: f64, title: &str) {
    let plan = pair(state).and_then(|pair| {
        let key = subject(&state.screen).ok_or("nothing is selected")?;
        if running(state, &key) {
            return Err(format!("a run steps {key} right now: s pauses it, R rolls it back"));
        }
        let route = state.store.get(&key).ok_or_else(|| format!("HTTPRoute {key} is gone"))?;
        plan::weights(route, pair.rule, &pair.stable.identity(), &pair.canary.identity(), percent)
            .map_err(|refusal| refusal.to_string())
    });
    match plan {
        Ok(plan) => state.screen.dialog = Some(Dialog { title: title.to_owned(), ask: Ask::Send(Box::new(plan)) }),
        Err(why) => say(&mut state.screen, Tone::Bad, why),
    }
}

fn ask_start(state: &mut State) {
    if !may_write(state) {
        return;
    }
    if state.screen.canary.run.as_ref().is_some_and(|run| !run.ended) {
        say(&mut state.screen, Tone::Warn, "a run is under way: one at a time from the console");
        return;
    }
    match (pair(state), subject(&state.screen)) {
        (Ok(pair), Some(route)) => {
            let settings = automatic(state, &route);
            let steps = format!(
                "{} % points every {} s up to {} %, rolled back when more than {} fail",
                settings.step,
                settings.interval.as_secs(),
                settings.max,
                rows::percent(settings.max_error_rate)
            );
            let ask = Ask::Start { route, rule: pair.rule, steps };
            state.screen.dialog = Some(Dialog { title: "Automatic canary".to_owned(), ask });
        }
        (Err(why), _) => say(&mut state.screen, Tone::Bad, why),
        (_, None) => {}
    }
}

/// What `a` runs.
fn automatic(state: &State, route: &ObjectKey) -> Settings {
    Settings { interval: state.interval, ..Settings::new(&route.namespace, Some(route.name.clone())) }
}

fn pause(state: &mut State) -> Vec<Effect> {
    let Some(run) = state.screen.canary.run.as_mut().filter(|run| !run.ended) else {
        say(&mut state.screen, Tone::Muted, "no run is under way");
        return Vec::new();
    };
    run.paused = !run.paused;
    vec![Effect::Order(if run.paused { Order::Pause } else { Order::Resume })]
}

fn rollback(state: &mut State) {
    let Some(key) = subject(&state.screen).filter(|key| key.kind == Kind::HttpRoute) else {
        say(&mut state.screen, Tone::Warn, "select an HTTPRoute to roll its canary back");
        return;
    };
    if running(state, &key) {
        let ask = Ask::RollbackRun { route: key };
        state.screen.dialog = Some(Dialog { title: "Roll back".to_owned(), ask });
    } else if may_write(state) {
        propose(state, 0.0, "Roll back");
    }
}

fn confirm(state: &mut State) -> Vec<Effect> {
    let Some(dialog) = state.screen.dialog.take() else { return Vec::new() };
    match dialog.ask {
        Ask::Send(plan) => {
            if !may_write(state) {
                return Vec::new();
            }
            state.screen.canary.sending = true;
            say(&mut state.screen, Tone::Muted, format!("sending: {}", plan.summary));
            vec![Effect::Send(plan)]
        }
        Ask::Start { route, rule, .. } => {
            if !may_write(state) {
                return Vec::new();
            }
            let settings = Settings { rule: Some(rule.to_string()), ..automatic(state, &route) };
            state.screen.canary.staged = None;
            state.screen.canary.run = Some(RunView { route, transitions: Vec::new(), paused: false, ended: false });
            vec![Effect::StartRun(Box::new(settings))]
        }
        Ask::RollbackRun { .. } => vec![Effect::Order(Order::Rollback)],
    }
}
