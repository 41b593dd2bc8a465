//! Time from left to right: what the timeline has of it, and where a recording stands.

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use ratatui::{buffer::Buffer, layout::Rect};

use crate::{model::health::Health, screen::State, theme::Role};

/// What the axis of the timeline shows at most.
const SPAN: SignedDuration = SignedDuration::from_mins(30);
pub(super) const AXIS_HEIGHT: u16 = 2;

fn clock(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC).strftime("%H:%M:%S").to_string()
}

/// The column of a time between two, if it is between them.
fn place(at: Timestamp, from: Timestamp, to: Timestamp, width: u16) -> Option<u16> {
    let whole = to.duration_since(from).as_secs_f64();
    let part = at.duration_since(from).as_secs_f64();
    if width == 0 || part < 0.0 || part > whole {
        return None;
    }
    let last = f64::from(width - 1);
    Some(if whole > 0.0 { (part / whole * last).round() as u16 } else { 0 })
}

/// Marks of the last half hour, the gravest of a column, and the hours below.
pub(super) fn timeline(buffer: &mut Buffer, area: Rect, state: &State) {
    let theme = &state.theme;
    let to = state.wall;
    let first = state.timeline.moments().map(|moment| moment.at).min().unwrap_or(to);
    let from = first.max(to - SPAN);
    let line = if state.ascii { "-" } else { "─" };
    let width = area.width.saturating_sub(2);
    for column in 0..width {
        buffer.set_string(area.x + 1 + column, area.y, line, theme.style(Role::Border));
    }
    let mut gravest = vec![None::<Option<Health>>; usize::from(width)];
    for moment in state.timeline.moments() {
        if let Some(column) = place(moment.at, from, to, width) {
            let slot = &mut gravest[usize::from(column)];
            *slot = (*slot).max(Some(moment.health));
        }
    }
    for (column, health) in (0..width).zip(gravest) {
        if let Some(health) = health {
            let change = (if state.ascii { "^" } else { "◆" }, Role::Accent);
            let (glyph, role) = health.map_or(change, |health| super::health(health, state.ascii));
            buffer.set_string(area.x + 1 + column, area.y, glyph, theme.style(role));
        }
    }
    let (left, right) = (clock(from), format!("{} UTC", clock(to)));
    buffer.set_stringn(area.x + 1, area.y + 1, &left, usize::from(width), theme.style(Role::Muted));
    if usize::from(width) > left.len() + right.len() + 2 {
        let x = area.x + 1 + width - right.len() as u16;
        buffer.set_string(x, area.y + 1, right, theme.style(Role::Muted));
    }
}

/// Where a recording stands, with marks where problems begin.
pub(super) fn slider(buffer: &mut Buffer, area: Rect, state: &State) {
    let Some(player) = &state.player else { return };
    let theme = &state.theme;
    let glyph = |utf8: &'static str, ascii: &'static str| if state.ascii { ascii } else { utf8 };
    let sign = if player.playing { glyph("▶", ">") } else { glyph("‖", "=") };
    let left = format!("{sign} {} {}x ", clock(player.clock()), player.speed());
    let right = format!(" {}", clock(player.end()));
    buffer.set_string(area.x + 1, area.y, &left, theme.style(Role::Accent));
    let taken = (left.chars().count() + right.len() + 2) as u16;
    let width = area.width.saturating_sub(taken);
    if width < 4 {
        return;
    }
    let x = area.x + 1 + left.chars().count() as u16;
    let (from, to) = (player.start(), player.end());
    let here = place(player.clock(), from, to, width).unwrap_or(0);
    for column in 0..width {
        let (line, role) =
            if column <= here { (glyph("━", "="), Role::Accent) } else { (glyph("─", "-"), Role::Border) };
        buffer.set_string(x + column, area.y, line, theme.style(role));
    }
    for problem in &player.problems {
        if let Some(column) = place(problem.at, from, to, width) {
            buffer.set_string(x + column, area.y, glyph("▲", "!"), theme.style(Role::Bad));
        }
    }
    buffer.set_string(x + here, area.y, glyph("●", "O"), theme.style(Role::Title));
    buffer.set_string(x + width, area.y, right, theme.style(Role::Muted));
}
