//! A list: as many columns as fit, as many rows as fit, the selection by key.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    text::{Line, Span},
};
use unicode_width::UnicodeWidthStr as _;

use crate::{
    model::store::Feed,
    rows::{self, Column},
    screen::{State, Tab},
    theme::Role,
};

const GAP: u16 = 2;
/// However narrow the terminal, a row says how it is and which it is.
const LEAST: usize = 2;

pub(super) fn draw(buffer: &mut Buffer, area: Rect, state: &State) {
    let theme = &state.theme;
    let tab = state.screen.tab;
    let rows = rows::list(state);
    if rows.is_empty() {
        let (text, role) = nothing(state);
        let y = area.y + area.height / 3;
        let width = u16::try_from(text.width()).unwrap_or(area.width).min(area.width);
        buffer.set_stringn(area.x + (area.width - width) / 2, y, text, usize::from(area.width), theme.style(role));
        return;
    }
    let all = rows::columns(tab);
    let fitted = fit(all, area.width - 2);
    for (index, x, width) in &fitted {
        let column = &all[*index];
        let title =
            if column.right { format!("{:>1$}", column.title, usize::from(*width)) } else { column.title.to_owned() };
        buffer.set_stringn(area.x + 1 + x, area.y, title, usize::from(*width), theme.style(Role::Header));
    }
    let height = usize::from(area.height.saturating_sub(1));
    let chosen = state.screen.selection().and_then(|key| rows.iter().position(|row| row.key == *key));
    let first = chosen.map_or(0, |chosen| (chosen + 1).saturating_sub(height.max(1) - usize::from(height > 4)));
    let first = first.min(rows.len().saturating_sub(height));
    for (line, (index, row)) in rows.iter().enumerate().skip(first).take(height).enumerate() {
        let y = area.y + 1 + u16::try_from(line).unwrap_or(0);
        let cells = rows::cells(state, row);
        for (column, x, width) in &fitted {
            let Some(cell) = cells.get(*column) else { continue };
            let span = super::cell(cell, usize::from(*width), theme, state.ascii);
            let span = shorten(span, usize::from(*width), state.ascii);
            let pad = if all[*column].right { width.saturating_sub(span.width() as u16) } else { 0 };
            buffer.set_line(area.x + 1 + x + pad, y, &Line::from(span), *width);
        }
        if chosen == Some(index) {
            buffer.set_style(Rect { y, height: 1, ..area }, theme.style(Role::Selection));
            buffer.set_string(area.x, y, if state.ascii { ">" } else { "▌" }, theme.style(Role::Accent));
        }
    }
}

/// Loading, empty, forbidden, missing and lost are different, and so is all filtered away.
fn nothing(state: &State) -> (String, Role) {
    let kind = state.screen.shown();
    let plural = kind.plural();
    let lens = &state.screen.lens;
    if !state.is_up() && *state.store.feed(kind) == Feed::Loading {
        return (format!("waiting for the API of {}", state.context), Role::Unknown);
    }
    match state.seen().0.feed(kind) {
        Feed::Loading => (format!("loading {plural}"), Role::Unknown),
        Feed::Forbidden => (format!("forbidden: this user may not list {plural}"), Role::Bad),
        Feed::Missing if state.screen.tab == Tab::Objects => {
            (format!("this cluster does not serve {plural}"), Role::Warn)
        }
        Feed::Missing => {
            ("this cluster does not serve the Gateway API: its CRDs are not installed".to_owned(), Role::Warn)
        }
        Feed::Lost(why) => (format!("{plural} cannot be read: {why}"), Role::Bad),
        Feed::Live if state.screen.tab == Tab::Findings && !state.judged.is_made() => {
            ("looking for problems".to_owned(), Role::Unknown)
        }
        Feed::Live if lens.filter.is_some() || lens.faults || lens.namespace.is_some() => {
            (format!("no {plural} match: Esc clears the filter, 0 shows all namespaces"), Role::Muted)
        }
        Feed::Live if state.screen.tab == Tab::Findings => ("nothing is wrong".to_owned(), Role::Ok),
        Feed::Live => (format!("no {plural} in this cluster"), Role::Muted),
    }
}

/// Columns that fit, with place and width; the least important go first.
fn fit(columns: &[Column], width: u16) -> Vec<(usize, u16, u16)> {
    let mut kept: Vec<usize> = (0..columns.len()).collect();
    let need = |kept: &[usize]| kept.iter().map(|index| columns[*index].width + GAP).sum::<u16>().saturating_sub(GAP);
    while need(&kept) > width && kept.len() > LEAST {
        let least = kept.iter().enumerate().max_by_key(|(_, index)| columns[**index].priority).map(|(place, _)| place);
        kept.remove(least.unwrap_or(0));
    }
    let mut widths: Vec<u16> = kept.iter().map(|index| columns[*index].width).collect();
    let gaps = GAP * (kept.len() as u16).saturating_sub(1);
    while widths.iter().sum::<u16>() + gaps > width
        && let Some(widest) = widths.iter_mut().max()
        && *widest > 1
    {
        *widest -= 1;
    }
    let spare = width.saturating_sub(widths.iter().sum::<u16>() + gaps);
    let flexible = kept.iter().filter(|index| columns[**index].flex).count() as u16;
    let mut x = 0;
    let mut placed = Vec::with_capacity(kept.len());
    for (index, own) in kept.into_iter().zip(widths) {
        // More than this only tears the row apart.
        // But for the last, which tears nothing.
        let most = if index + 1 == columns.len() { u16::MAX } else { 30 };
        let more = if columns[index].flex { (spare / flexible.max(1)).min(most) } else { 0 };
        let column = (own + more).min(width.saturating_sub(x));
        placed.push((index, x, column));
        x += column + GAP;
    }
    placed
}

/// Cut at the end, and seen to be cut.
fn shorten(span: Span<'static>, width: usize, ascii: bool) -> Span<'static> {
    if span.width() <= width || width == 0 {
        return span;
    }
    let mut text = String::new();
    for c in span.content.chars() {
        let next = format!("{text}{c}");
        if next.width() + 1 > width {
            break;
        }
        text = next;
    }
    text.push(if ascii { '~' } else { '…' });
    Span::styled(text, span.style)
}
