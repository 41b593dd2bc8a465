//! An object's text while it is edited.

use ratatui::{buffer::Buffer, layout::Rect, widgets::Widget as _};

use super::page;
use crate::{screen::State, theme::Role};

pub(super) fn draw(buffer: &mut Buffer, area: Rect, state: &State) {
    let Some(editor) = &state.screen.editor else { return };
    let busy = if editor.busy { ", dry run under way" } else { "" };
    let title = format!("Edit {} {}{busy}", editor.key.kind.name(), editor.key);
    let inner = page::frame(buffer, area, &title, state);
    let mut text = editor.area.clone();
    text.set_line_number_style(state.theme.style(Role::Muted));
    text.set_cursor_line_style(state.theme.style(Role::Selection));
    text.set_style(state.theme.style(Role::Text));
    (&text).render(inner, buffer);
}
