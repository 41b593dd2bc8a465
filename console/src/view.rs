//! Draws the state, and does nothing else.
//!
//! ```text
//! gwtop  context  namespace  health of the watch     totals
//!  1 Routes 12   2 Gateways 1   3 Backends 14
//! rows, or a page over them
//! message, filter or command line
//! key hints
//! ```

mod axis;
mod canary;
mod confirm;
mod edit;
mod page;
mod table;
mod way;
mod widget;

use ratatui::{
    buffer::Buffer,
    layout::{Constraint, Layout, Rect},
    style::{Modifier, Style},
    text::{Line, Span},
    widgets::{Clear, Widget as _},
};

use crate::{
    event::Link,
    intent::keymap,
    model::{
        health::Health,
        key::Kind,
        store::{Feed, Store},
    },
    rows,
    screen::{InputKind, RowKey, State, Tab, Tone, View},
    theme::{Role, Theme},
    traffic::series::Traffic,
};

pub use page::text_of_page;

pub const NEEDED: (u16, u16) = (40, 10);

/// Rows of a list that fit into the area.
pub fn list_height(area: Rect) -> u16 {
    area.height.saturating_sub(5)
}

pub fn draw(buffer: &mut Buffer, area: Rect, state: &State) {
    if area.is_empty() {
        return;
    }
    Clear.render(area, buffer);
    buffer.set_style(area, state.theme.style(Role::Text));
    if area.width < NEEDED.0 || area.height < NEEDED.1 {
        too_small(buffer, area, state);
        return;
    }
    let [head, tabs, body, slider, line, hints] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Min(1),
        Constraint::Length(u16::from(state.player.is_some())),
        Constraint::Length(1),
        Constraint::Length(1),
    ])
    .areas(area);
    header(buffer, head, state);
    draw_tabs(buffer, tabs, state);
    match state.screen.view() {
        None if state.screen.tab == Tab::Timeline && body.height > axis::AXIS_HEIGHT + 3 => {
            let [top, rest] = Layout::vertical([Constraint::Length(axis::AXIS_HEIGHT), Constraint::Min(1)]).areas(body);
            axis::timeline(buffer, top, state);
            table::draw(buffer, rest, state);
        }
        None => table::draw(buffer, body, state),
        Some(View::Canary(key)) => canary::draw(buffer, body, key, state),
        Some(View::Edit(_)) => edit::draw(buffer, body, state),
        Some(_) => page::draw(buffer, body, state),
    }
    // What may be out of date must not look fresh.
    if !state.is_up() && !matches!(state.screen.view(), Some(View::Help)) && !state.store_is_empty() {
        buffer.set_style(body, Style::new().add_modifier(Modifier::DIM));
    }
    if state.screen.dialog.is_some() {
        confirm::draw(buffer, Rect { height: body.height + tabs.height, ..tabs }, state);
    }
    axis::slider(buffer, slider, state);
    message(buffer, line, state);
    draw_hints(buffer, hints, state);
}

fn too_small(buffer: &mut Buffer, area: Rect, state: &State) {
    let text = format!("terminal {}x{}: gwtop needs {}x{}", area.width, area.height, NEEDED.0, NEEDED.1);
    let mut line = String::new();
    let mut y = area.y;
    for word in text.split(' ') {
        if !line.is_empty() && line.len() + 1 + word.len() > usize::from(area.width) {
            buffer.set_stringn(area.x, y, &line, usize::from(area.width), state.theme.style(Role::Warn));
            line.clear();
            y += 1;
            if y >= area.bottom() {
                return;
            }
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    buffer.set_stringn(area.x, y, &line, usize::from(area.width), state.theme.style(Role::Warn));
}

fn header(buffer: &mut Buffer, area: Rect, state: &State) {
    let theme = &state.theme;
    buffer.set_style(area, theme.style(Role::Bar));
    let on = |role| theme.style(Role::Bar).patch(theme.style(role));
    let (store, traffic) = state.seen();
    let mut left = vec![Span::styled(" gwtop ", on(Role::Accent))];
    left.push(Span::styled(format!("{} ", state.context), on(Role::Title)));
    let since = state.now.saturating_duration_since(state.link_since).as_secs().cast_signed();
    let glyph = |utf8: &'static str, ascii: &'static str| if state.ascii { ascii } else { utf8 };
    if state.player.is_some() {
        left.push(Span::styled(glyph("▶ recording ", "> recording "), on(Role::Warn)));
    }
    left.push(match &state.link {
        // It was live when it was recorded.
        Link::Connecting | Link::Up { .. } if state.player.is_some() => Span::raw(""),
        Link::Connecting => Span::styled(glyph("◌ connecting ", ". connecting "), on(Role::Unknown)),
        Link::Up { .. } => Span::styled(glyph("● live ", "* live "), on(Role::Ok)),
        Link::Down(_) => {
            Span::styled(format!("{} API lost {} ago ", glyph("✗", "x"), rows::age(since)), on(Role::Danger))
        }
    });
    if state.frozen.is_some() {
        left.push(Span::styled(" FROZEN ", on(Role::Danger)));
    }
    if state.readonly && state.player.is_none() {
        left.push(Span::styled("read-only ", on(Role::Warn)));
    }
    let used: usize = left.iter().map(Span::width).sum();
    buffer.set_line(area.x, area.y, &Line::from(left), area.width);
    let right = totals(state, store, traffic);
    let width: usize = right.iter().map(Span::width).sum();
    if used + width < usize::from(area.width) {
        let x = area.right() - u16::try_from(width).unwrap_or(area.width);
        buffer.set_line(x, area.y, &Line::from(right), area.width);
    }
}

/// Problems and traffic of the whole cluster.
fn totals(state: &State, store: &Store, traffic: &Traffic) -> Vec<Span<'static>> {
    let theme = &state.theme;
    let on = |role| theme.style(Role::Bar).patch(theme.style(role));
    let faults = store.routes().filter(|route| rows::routes::verdict(route, store).health.is_fault()).count()
        + store.gateways().filter(|gateway| gateway.verdict().health.is_fault()).count();
    let mut spans = Vec::new();
    if faults > 0 {
        let word = if faults == 1 { "problem" } else { "problems" };
        spans.push(Span::styled(format!("{faults} {word}  "), on(Role::Bad)));
    }
    match traffic.total() {
        None => {
            // A proxy that answers and has counted nothing is not one that does not answer.
            let answers = traffic.age(state.now).is_some() && traffic.problem().is_none();
            let text = if answers { "no requests yet " } else { "no metrics " };
            spans.push(Span::styled(text, on(Role::Muted)));
        }
        Some(total) => {
            spans.push(Span::styled(format!("{} rps ", rows::rps(Some(total))), on(Role::Title)));
            if let rows::Cell::Text(text, tone) = rows::errors(Some(total)) {
                spans.push(Span::styled(format!("{text} err "), on(role(tone))));
            }
            spans.push(Span::styled(format!("p99 {} ", rows::latency(total.p99)), on(Role::Muted)));
        }
    }
    if let Some(age) = traffic.age(state.now).filter(|age| age.as_secs() >= 5) {
        spans.push(Span::styled(format!("{} old ", rows::age(age.as_secs().cast_signed())), on(Role::Stale)));
    }
    spans
}

fn draw_tabs(buffer: &mut Buffer, area: Rect, state: &State) {
    let theme = &state.theme;
    let mut spans = vec![Span::raw(" ")];
    for (index, tab) in Tab::ALL.into_iter().enumerate() {
        let here = tab == state.screen.tab;
        let style = theme.style(if here { Role::Accent } else { Role::Muted });
        let style = if here { style.add_modifier(Modifier::UNDERLINED) } else { style };
        spans.push(Span::styled(format!("{} ", index + 1), theme.style(Role::Key)));
        spans.push(Span::styled(tab.title(), style));
        let (store, _) = state.seen();
        let count = match tab {
            Tab::Routes => Some(store.routes().count()),
            Tab::Gateways => Some(store.count(Kind::Gateway)),
            Tab::Findings => state.judged.is_made().then(|| state.judged.report.findings.len()),
            Tab::Backends | Tab::Timeline | Tab::Objects => None,
        };
        spans.push(Span::styled(
            count.map_or_else(|| "  ".to_owned(), |count| format!(" {count}  ")),
            theme.style(Role::Muted),
        ));
    }
    if state.screen.tab == Tab::Objects {
        let style = theme.style(Role::Accent).add_modifier(Modifier::UNDERLINED);
        let kind = state.screen.kind;
        spans.push(Span::styled(kind.name(), style));
        spans.push(Span::styled(format!(" {}  ", state.seen().0.count(kind)), theme.style(Role::Muted)));
    }
    let lens = &state.screen.lens;
    let namespace = lens.namespace.as_deref().unwrap_or("all");
    spans.push(Span::styled(format!("ns {namespace}  "), theme.style(Role::Muted)));
    if let Some(filter) = &lens.filter {
        spans.push(Span::styled(format!("/{}  ", filter.text), theme.style(Role::Warn)));
    }
    if lens.faults {
        spans.push(Span::styled("faults only  ", theme.style(Role::Warn)));
    }
    for kind in Kind::ALL {
        if *state.store.feed(kind) == Feed::Forbidden {
            spans.push(Span::styled(format!("{} forbidden  ", kind.plural()), theme.style(Role::Warn)));
        }
    }
    buffer.set_line(area.x, area.y, &Line::from(spans), area.width);
}

fn message(buffer: &mut Buffer, area: Rect, state: &State) {
    let theme = &state.theme;
    if let Some(input) = &state.screen.input {
        let sign = match input.kind {
            InputKind::Command => ":",
            InputKind::Filter | InputKind::Find => "/",
        };
        buffer.set_string(area.x, area.y, sign, theme.style(Role::Key));
        let rest = Rect { x: area.x + 1, width: area.width - 1, ..area };
        (&input.area).render(rest, buffer);
        return;
    }
    let (text, role) = match (&state.screen.message, &state.link) {
        (Some(message), _) => (message.text.clone(), self::role(message.tone)),
        (None, Link::Down(reason)) => (reason.clone(), Role::Bad),
        (None, Link::Connecting) => (format!("connecting to {}…", state.context), Role::Muted),
        (None, Link::Up { .. }) if chosen_moment(state).is_some() => {
            (chosen_moment(state).unwrap_or_default().to_owned(), Role::Muted)
        }
        (None, Link::Up { .. }) => match state.traffic.problem() {
            Some(problem) => (format!("metrics: {problem}"), Role::Warn),
            None => (state.notice.clone(), Role::Muted),
        },
    };
    let text = text.replace(['\n', '\r', '\t'], " ");
    buffer.set_stringn(area.x + 1, area.y, text, usize::from(area.width - 1), theme.style(role));
}

/// A row has no room for all of it.
fn chosen_moment(state: &State) -> Option<&str> {
    let RowKey::Moment(number, _) = state.screen.selection()? else { return None };
    let on_list = state.screen.tab == Tab::Timeline && state.screen.pages.is_empty();
    state.timeline.find(*number).filter(|_| on_list).map(|moment| moment.text.as_str())
}

fn draw_hints(buffer: &mut Buffer, area: Rect, state: &State) {
    let theme = &state.theme;
    buffer.set_style(area, theme.style(Role::Bar));
    let mut x = area.x + 1;
    let mode = state.screen.mode();
    let of_replay = state.player.is_some() && mode != keymap::Mode::Confirm;
    let of_replay = of_replay.then(keymap::hints_of_replay).into_iter().flatten();
    for binding in of_replay.chain(keymap::hints(mode)) {
        let key = binding.keys.split(' ').next().unwrap_or_default();
        let width = u16::try_from(key.len() + binding.help.len() + 3).unwrap_or(u16::MAX);
        if x.saturating_add(width) > area.right() {
            break;
        }
        let bar = theme.style(Role::Bar);
        buffer.set_string(x, area.y, key, bar.patch(theme.style(Role::Key)));
        let of = if binding.danger { Role::Warn } else { Role::Muted };
        buffer.set_string(x + key.len() as u16 + 1, area.y, binding.help, bar.patch(theme.style(of)));
        x += width;
    }
}

const fn role(tone: Tone) -> Role {
    match tone {
        Tone::Plain => Role::Text,
        Tone::Muted => Role::Muted,
        Tone::Good => Role::Accent,
        Tone::Warn => Role::Warn,
        Tone::Bad => Role::Bad,
    }
}

/// Glyph, word and colour: any one of them is enough.
fn health(health: Health, ascii: bool) -> (&'static str, Role) {
    let (utf8, plain, role) = match health {
        Health::Ok => ("●", "+", Role::Ok),
        Health::Stale => ("◷", "~", Role::Stale),
        Health::Unknown => ("○", "?", Role::Unknown),
        Health::Degraded => ("▲", "!", Role::Warn),
        Health::Broken => ("✗", "x", Role::Bad),
    };
    (if ascii { plain } else { utf8 }, role)
}

fn cell(cell: &rows::Cell, width: usize, theme: &Theme, ascii: bool) -> Span<'static> {
    match cell {
        rows::Cell::Text(text, tone) => Span::styled(text.clone(), theme.style(role(*tone))),
        rows::Cell::Status(verdict) => {
            let (glyph, role) = health(verdict.health, ascii);
            let reason = if verdict.reason.is_empty() { verdict.health.word() } else { &verdict.reason };
            Span::styled(format!("{glyph} {reason}"), theme.style(role))
        }
        rows::Cell::Spark(points) => Span::styled(widget::spark(points, width, ascii), theme.style(Role::Spark)),
    }
}

impl State {
    fn store_is_empty(&self) -> bool {
        Kind::ALL.into_iter().all(|kind| self.store.count(kind) == 0)
    }
}

/// As the keymap spells keys, for the help.
fn pretty(keys: &str) -> String {
    keys.replace(' ', ", ")
}
