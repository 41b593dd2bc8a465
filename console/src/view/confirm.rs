//! Before anything is written: what, where, and exactly how.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    text::Line,
    widgets::{Block, BorderType, Clear, Widget as _},
};

use super::canary::wrap;
use crate::{
    intent::plan::Change,
    screen::{Ask, State},
    theme::Role,
};

pub(super) fn draw(buffer: &mut Buffer, area: Rect, state: &State) {
    let Some(dialog) = &state.screen.dialog else { return };
    let theme = &state.theme;
    let width = area.width.saturating_sub(4).min(92);
    let text = usize::from(width.saturating_sub(4));
    let mut lines = vec![Line::styled(format!("Context  {}", state.context), theme.style(Role::Title))];
    match &dialog.ask {
        Ask::Send(plan) => {
            lines.push(Line::styled(
                format!("Object   {} {}", plan.target.kind.name(), plan.target),
                theme.style(Role::Title),
            ));
            lines.extend(wrap(&plan.summary, text).into_iter().map(|line| Line::styled(line, theme.style(Role::Text))));
            lines.push(Line::default());
            for line in &plan.diff {
                let (sign, role) = match line.change {
                    Change::Same => (' ', Role::Muted),
                    Change::Removed => ('-', Role::Removed),
                    Change::Added => ('+', Role::Added),
                };
                lines.push(Line::styled(format!("{sign} {}", line.text), theme.style(role)));
            }
            lines.push(Line::default());
            lines.push(Line::styled("JSON patch", theme.style(Role::Muted)));
            for operation in &plan.patch.0 {
                let json = serde_json::to_string(operation).unwrap_or_default();
                let role = if json.contains("\"op\":\"test\"") { Role::Muted } else { Role::Text };
                lines.push(Line::styled(json, theme.style(role)));
            }
        }
        Ask::Start { route, rule, steps } => {
            lines.push(Line::styled(format!("Object   HTTPRoute {route} rule {rule}"), theme.style(Role::Title)));
            lines.push(Line::default());
            lines.extend(wrap(steps, text).into_iter().map(|line| Line::styled(line, theme.style(Role::Text))));
        }
        Ask::RollbackRun { route } => {
            lines.push(Line::styled(format!("Object   HTTPRoute {route}"), theme.style(Role::Title)));
            lines.push(Line::default());
            lines.push(Line::styled(
                "The run gives the stable backend its full share back and ends.",
                theme.style(Role::Text),
            ));
        }
    }
    let height = u16::try_from(lines.len() + 4).unwrap_or(area.height).min(area.height);
    let place = Rect { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2, width, height };
    Clear.render(place, buffer);
    buffer.set_style(place, theme.style(Role::Text));
    let kind = if state.ascii { BorderType::Plain } else { BorderType::Rounded };
    Block::bordered()
        .border_type(kind)
        .border_style(theme.style(Role::Warn))
        .title(Line::styled(format!(" {} ", dialog.title), theme.style(Role::Danger)))
        .render(place, buffer);
    // The question is always seen, however long the diff is.
    let room = usize::from(height.saturating_sub(3));
    if lines.len() > room && room > 0 {
        let hidden = lines.len() + 1 - room;
        lines.truncate(room - 1);
        let more = if state.ascii { "..." } else { "…" };
        lines.push(Line::styled(format!("{more} {hidden} more lines do not fit"), theme.style(Role::Warn)));
    }
    for (row, line) in lines.iter().enumerate() {
        buffer.set_line(place.x + 2, place.y + 1 + row as u16, line, width.saturating_sub(4));
    }
    let ask = match &dialog.guard {
        Some(name) => format!("type {name} and Enter to send it, Esc cancels: {}", dialog.typed),
        None => "y or Enter sends it, Esc cancels".to_owned(),
    };
    let ask = Line::styled(ask, theme.style(Role::Key));
    buffer.set_line(place.x + 2, place.bottom().saturating_sub(2), &ask, width.saturating_sub(4));
}
