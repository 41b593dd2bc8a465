//! Pages over the list: detail, YAML, help.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::Style,
    text::{Line, Span},
};
use unicode_width::UnicodeWidthChar as _;

use super::way;
use crate::{
    intent::{
        command::WORDS,
        keymap::{KEYMAP, Mode},
    },
    model::key::ObjectKey,
    rows::detail,
    screen::{Question, State, View},
    theme::Role,
};

pub(super) fn draw(buffer: &mut Buffer, area: Rect, state: &State) {
    let Some(page) = state.screen.pages.last() else { return };
    let (title, lines) = content(&page.view, state, usize::from(area.width.saturating_sub(3)));
    let inner = frame(buffer, area, &title, state);
    let height = usize::from(inner.height);
    let first = page.scroll.min(lines.len().saturating_sub(height));
    let needle = page.find.to_lowercase();
    for (place, line) in lines.iter().skip(first).take(height).enumerate() {
        let y = inner.y + place as u16;
        buffer.set_line(inner.x, y, line, inner.width);
        if !needle.is_empty() && line.to_string().to_lowercase().contains(&needle) {
            buffer.set_style(Rect { y, height: 1, ..inner }, state.theme.style(Role::Selection));
        }
    }
    if lines.len() > height {
        let text = format!(" {}-{} of {} ", first + 1, (first + height).min(lines.len()), lines.len());
        let x = area.right().saturating_sub(text.len() as u16 + 2);
        buffer.set_string(x, area.y, text, state.theme.style(Role::Muted));
    }
}

fn content(view: &View, state: &State, width: usize) -> (String, Vec<Line<'static>>) {
    match view {
        View::Detail(key) => (format!("{} {key}", key.kind.name()), of_detail(key, state)),
        View::Yaml(key) => (format!("{} {key} as YAML", key.kind.name()), yaml(key, state)),
        View::Why(key) => (format!("Why {} {key}", key.kind.name()), wrapped(way::lines(key, state), width)),
        View::Tree(key) => (format!("What hangs on {} {key}", key.kind.name()), way::tree(key, state)),
        View::Answer(question) => (asked(question), wrapped(answer(question, state), width)),
        View::Canary(_) | View::Edit(_) | View::Help => ("Keys and commands".to_owned(), help(state)),
    }
}

/// The page's lines, for what looks for a text in them.
pub fn text_of_page(state: &State) -> Vec<String> {
    let Some(page) = state.screen.pages.last() else { return Vec::new() };
    content(&page.view, state, usize::from(state.screen.width.saturating_sub(3)))
        .1
        .iter()
        .map(ToString::to_string)
        .collect()
}

/// Lines that are too long go on below, indented: what is cut off might be the fix.
fn wrapped(lines: Vec<Line<'static>>, width: usize) -> Vec<Line<'static>> {
    let indent = (width / 8).min(8);
    let mut all = Vec::with_capacity(lines.len());
    for line in lines {
        if line.width() <= width || width < 20 {
            all.push(line);
            continue;
        }
        let mut row: Vec<(char, Style)> = Vec::new();
        let mut used = 0;
        for (c, style) in line.spans.iter().flat_map(|span| span.content.chars().map(|c| (c, span.style))) {
            let own = c.width().unwrap_or(0);
            if used + own > width {
                // At the last blank, unless that would leave next to nothing in the row.
                let blank = row.iter().rposition(|(c, _)| *c == ' ').filter(|at| *at > width / 2);
                let rest = row.split_off(blank.map_or(row.len(), |at| at + 1));
                all.push(joined(&row));
                row = vec![(' ', Style::new()); indent];
                row.extend(rest);
                used = row.iter().map(|(c, _)| c.width().unwrap_or(0)).sum();
            }
            row.push((c, style));
            used += own;
        }
        all.push(joined(&row));
    }
    all
}

fn joined(row: &[(char, Style)]) -> Line<'static> {
    let mut spans: Vec<Span<'static>> = Vec::new();
    for (c, style) in row {
        match spans.last_mut() {
            Some(last) if last.style == *style => last.content.to_mut().push(*c),
            _ => spans.push(Span::styled(c.to_string(), *style)),
        }
    }
    Line::from(spans)
}

/// A rule with a title on top; the inside.
pub(super) fn frame(buffer: &mut Buffer, area: Rect, title: &str, state: &State) -> Rect {
    let line = if state.ascii { "-" } else { "─" }.repeat(usize::from(area.width));
    buffer.set_string(area.x, area.y, line, state.theme.style(Role::Border));
    let width = usize::from(area.width.saturating_sub(4));
    buffer.set_stringn(area.x + 2, area.y, format!(" {title} "), width, state.theme.style(Role::Title));
    Rect { x: area.x + 2, y: area.y + 1, width: area.width.saturating_sub(3), height: area.height.saturating_sub(1) }
}

fn of_detail(key: &ObjectKey, state: &State) -> Vec<Line<'static>> {
    let (store, traffic) = state.seen();
    let lines = detail::lines(key, store, traffic, state.wall);
    let line = |cells: &detail::Line| {
        Line::from(cells.iter().map(|cell| super::cell(cell, 20, &state.theme, state.ascii)).collect::<Vec<_>>())
    };
    lines.iter().map(line).collect()
}

fn yaml(key: &ObjectKey, state: &State) -> Vec<Line<'static>> {
    let theme = &state.theme;
    let Some(object) = state.seen().0.get(key) else {
        return vec![Line::styled(format!("{} {key} is gone", key.kind.name()), theme.style(Role::Warn))];
    };
    let text = serde_saphyr::to_string(&object.value()).unwrap_or_else(|error| format!("cannot be shown: {error}"));
    let line = |line: &str| match line.split_once(':') {
        Some((field, rest)) if !field.trim_start_matches([' ', '-']).contains([' ', '"', '\'']) => Line::from(vec![
            Span::styled(format!("{field}:"), theme.style(Role::Key)),
            Span::styled(rest.to_owned(), theme.style(Role::Text)),
        ]),
        _ => Line::styled(line.to_owned(), theme.style(Role::Text)),
    };
    text.lines().map(line).collect()
}

fn asked(question: &Question) -> String {
    match question {
        Question::Events(None) => "Events".to_owned(),
        Question::Events(Some(key)) => format!("Events of {} {key}", key.kind.name()),
        Question::Audit => "Written from this machine".to_owned(),
        Question::Contexts => "Contexts; :ctx NAME goes to one".to_owned(),
    }
}

fn answer(question: &Question, state: &State) -> Vec<Line<'static>> {
    let theme = &state.theme;
    let line = |text: &str, role: Role| Line::styled(text.to_owned(), theme.style(role));
    match state.screen.answer.as_ref().filter(|(of, _)| of == question) {
        None => vec![line("asking", Role::Muted)],
        Some((_, Err(why))) => vec![line(why, Role::Bad)],
        Some((_, Ok(lines))) if lines.is_empty() => vec![line("nothing", Role::Muted)],
        Some((_, Ok(lines))) => {
            let role = |text: &str| if text.contains("Warning") { Role::Warn } else { Role::Text };
            lines.iter().map(|text| line(text, role(text))).collect()
        }
    }
}

fn help(state: &State) -> Vec<Line<'static>> {
    let theme = &state.theme;
    let mut lines = Vec::new();
    let sections = [
        (Mode::Everywhere, "Everywhere"),
        (Mode::List, "Lists"),
        (Mode::Page, "Detail, YAML, help"),
        (Mode::Canary, "Canary panel"),
        (Mode::Replay, "While a recording plays"),
        (Mode::Edit, "Editor"),
        (Mode::Confirm, "Confirmation"),
    ];
    let entry = |keys: String, help: &str, role: Role| {
        Line::from(vec![
            Span::styled(format!("  {keys:<16}"), theme.style(Role::Key)),
            Span::styled(help.to_owned(), theme.style(role)),
        ])
    };
    for (mode, title) in sections {
        lines.push(Line::styled(title, theme.style(Role::Accent)));
        for binding in KEYMAP.iter().filter(|binding| binding.mode == mode) {
            let role = if binding.danger { Role::Warn } else { Role::Text };
            lines.push(entry(super::pretty(binding.keys), binding.help, role));
        }
        lines.push(Line::default());
    }
    lines.push(Line::styled("Commands, after :", theme.style(Role::Accent)));
    lines.push(entry("KIND".to_owned(), "objects of any kind: svc, lset, refgrant, policies, ...", Role::Text));
    lines.push(entry("theme NAME".to_owned(), "another theme; the next one without a name", Role::Text));
    lines.push(entry("ctx NAME".to_owned(), "another context; the list of them without a name", Role::Text));
    lines.push(entry("ns NAME".to_owned(), "that namespace only; all namespaces without a name", Role::Text));
    for (names, _, help) in WORDS {
        lines.push(entry(names.split(' ').next().unwrap_or_default().to_owned(), help, Role::Text));
    }
    lines
}
