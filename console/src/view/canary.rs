//! The canary panel: what is declared, what is staged, what really happens, both arms side by side.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    text::{Line, Span},
};

use super::{page, widget};
use crate::{
    intent::weights,
    model::key::ObjectKey,
    rows::{self, routes},
    screen::State,
    theme::Role,
    update,
};

pub(super) fn draw(buffer: &mut Buffer, area: Rect, key: &ObjectKey, state: &State) {
    let theme = &state.theme;
    let inner = page::frame(buffer, area, &format!("Canary of HTTPRoute {key}"), state);
    let mut lines = Vec::new();
    match update::pair(state) {
        Err(why) => lines.extend(
            wrap(&why, usize::from(inner.width)).into_iter().map(|line| Line::styled(line, theme.style(Role::Warn))),
        ),
        Ok(pair) => arms(&mut lines, &pair, key, inner.width, state),
    }
    lines.push(Line::default());
    if let Some(run) = state.screen.canary.run.as_ref().filter(|run| run.route == *key) {
        let word = if run.ended {
            "ended"
        } else if run.paused {
            "paused"
        } else {
            "under way"
        };
        lines.push(Line::styled(format!("Automatic run, {word}"), theme.style(Role::Accent)));
        let room = usize::from(inner.height).saturating_sub(lines.len());
        let first = run.transitions.len().saturating_sub(room);
        if run.transitions.is_empty() {
            lines.push(Line::styled("  waiting for its first word", theme.style(Role::Muted)));
        }
        for transition in &run.transitions[first..] {
            let time = transition.time.to_string();
            let clock = time.get(11..19).unwrap_or_default().to_owned();
            let role = match transition.finished {
                Some(crate::exit::Exit::Ok) => Role::Ok,
                Some(_) => Role::Bad,
                None => Role::Text,
            };
            lines.push(Line::from(vec![
                Span::styled(format!("  {clock} "), theme.style(Role::Muted)),
                Span::styled(format!("{:>5.1}% {:<12} ", transition.weight, transition.phase), theme.style(role)),
                Span::styled(transition.message.clone(), theme.style(role)),
            ]));
        }
    }
    for (place, line) in lines.iter().take(usize::from(inner.height)).enumerate() {
        buffer.set_line(inner.x, inner.y + place as u16, line, inner.width);
    }
}

fn arms(lines: &mut Vec<Line<'static>>, pair: &weights::Pair, key: &ObjectKey, width: u16, state: &State) {
    let theme = &state.theme;
    let (store, traffic) = state.seen();
    let Some(route) = store.route(key) else { return };
    lines.push(Line::styled(format!("Rule {}", pair.rule), theme.style(Role::Muted)));
    lines.push(Line::default());
    let room = usize::from(width).saturating_sub(30).clamp(8, 50);
    let staged = state.screen.canary.staged;
    let canary = pair.percent();
    for (title, backend, declared, wanted, role) in [
        ("stable", &pair.stable, 100.0 - canary, staged.map(|percent| 100.0 - percent), Role::BarStable),
        ("canary", &pair.canary, canary, staged, Role::BarCanary),
    ] {
        let arm = routes::arm(route, pair.rule, backend.index);
        let rates = arm.as_ref().and_then(|arm| traffic.arm(arm));
        let observed = routes::observed(route, pair.rule, backend.index, traffic);
        lines.push(Line::from(vec![
            Span::styled(format!("{title}  "), theme.style(Role::Muted)),
            Span::styled(backend.identity(), theme.style(Role::Title)),
        ]));
        let bar = |name: &str, share: Option<f64>, role: Role, note: String| {
            let (full, empty) = widget::bar(share.unwrap_or(0.0), room, state.ascii);
            let figure = share.map_or_else(|| "-".to_owned(), rows::percent);
            Line::from(vec![
                Span::styled(format!("  {name:<9}"), theme.style(Role::Muted)),
                Span::styled(full, theme.style(role)),
                Span::styled(empty, theme.style(Role::BarEmpty)),
                Span::styled(format!(" {figure:>5}"), theme.style(Role::Text)),
                Span::styled(note, theme.style(Role::Muted)),
            ])
        };
        lines.push(bar("weight", Some(declared / 100.0), role, format!("  {}", backend.effective())));
        if let Some(wanted) = wanted {
            lines.push(bar("staged", Some(wanted / 100.0), Role::Warn, String::new()));
        }
        lines.push(bar("observed", observed, role, String::new()));
        let mut figures =
            vec![Span::styled(format!("  {:<9}{} rps  errors ", "", rows::rps(rates)), theme.style(Role::Text))];
        figures.push(super::cell(&rows::errors(rates), 0, theme, state.ascii));
        let p99 = rates.and_then(|rates| rates.p99);
        figures.push(Span::styled(format!("  p99 {}  ", rows::latency(p99)), theme.style(Role::Text)));
        let history = arm.map(|arm| traffic.arm_history(&arm)).unwrap_or_default();
        figures.push(Span::styled(widget::spark(&history, 20, state.ascii), theme.style(Role::Spark)));
        lines.push(Line::from(figures));
        lines.push(Line::default());
    }
    let said = match staged {
        _ if state.screen.canary.sending => "sending…".to_owned(),
        None => "nothing staged: + and - stage a step, a runs it automatically".to_owned(),
        Some(percent) => format!("staged: canary {canary:.0}% to {percent:.0}%; Enter shows the patch"),
    };
    lines.push(Line::styled(said, theme.style(if staged.is_some() { Role::Warn } else { Role::Muted })));
}

pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("starts with one line and only grows");
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
            lines.push(word.to_owned());
        } else {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}
