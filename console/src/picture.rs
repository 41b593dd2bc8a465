//! A frame buffer as SVG: screenshots are the real screen, not a drawing of it.

use std::fmt::Write as _;

use ratatui::{
    buffer::{Buffer, Cell},
    layout::Rect,
    style::Modifier,
};
use unicode_width::UnicodeWidthStr as _;

use crate::{screen::State, theme, view};

const WIDTH: f64 = 8.4;
const HEIGHT: u16 = 18;
const MARGIN: u16 = 12;
const TITLE: u16 = 28;
const PAPER: &str = "#0d1117";
const INK: &str = "#c9d1d9";

/// The console's screen at a size.
pub fn screen(state: &State, width: u16, height: u16) -> Buffer {
    let area = Rect::new(0, 0, width, height);
    let mut buffer = Buffer::empty(area);
    view::draw(&mut buffer, area, state);
    buffer
}

pub fn svg(buffer: &Buffer, title: &str) -> String {
    let area = buffer.area;
    let width = f64::from(area.width) * WIDTH + f64::from(2 * MARGIN);
    let height = area.height * HEIGHT + 2 * MARGIN + TITLE;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.1} {height}\" width=\"{width:.0}\" height=\"{height}\" role=\"img\" aria-label=\"{}\">\n<rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"{PAPER}\"/>\n<text x=\"50%\" y=\"20\" text-anchor=\"middle\" font-family=\"sans-serif\" font-size=\"12\" fill=\"#7d8590\">{}</text>\n<g font-family=\"ui-monospace,'DejaVu Sans Mono',Menlo,Consolas,monospace\" font-size=\"14\" xml:space=\"preserve\">\n",
        escape(title),
        escape(title)
    );
    for row in 0..area.height {
        let mut column = 0;
        while column < area.width {
            let start = column;
            let look = look(&buffer[(area.x + column, area.y + row)]);
            let mut text = String::new();
            // Runs of one look; a wide character takes the cells that it covers.
            while column < area.width {
                let cell = &buffer[(area.x + column, area.y + row)];
                if self::look(cell) != look {
                    break;
                }
                text.push_str(cell.symbol());
                column += u16::try_from(cell.symbol().width().max(1)).unwrap_or(1);
            }
            run(&mut out, start, row, column - start, &text, &look);
        }
    }
    out.push_str("</g>\n</svg>\n");
    out
}

#[derive(PartialEq, Clone)]
struct Look {
    ink: String,
    paper: Option<String>,
    modifier: Modifier,
}

fn look(cell: &Cell) -> Look {
    let ink = theme::hex(cell.fg).unwrap_or_else(|| INK.to_owned());
    let paper = theme::hex(cell.bg);
    let modifier = cell.modifier;
    if modifier.contains(Modifier::REVERSED) {
        return Look { ink: paper.unwrap_or_else(|| PAPER.to_owned()), paper: Some(ink), modifier };
    }
    Look { ink, paper, modifier }
}

fn run(out: &mut String, column: u16, row: u16, cells: u16, text: &str, look: &Look) {
    let x = f64::from(column) * WIDTH + f64::from(MARGIN);
    let y = row * HEIGHT + MARGIN + TITLE;
    let width = f64::from(cells) * WIDTH;
    if let Some(paper) = &look.paper {
        let _ =
            writeln!(out, "<rect x=\"{x:.1}\" y=\"{y}\" width=\"{width:.1}\" height=\"{HEIGHT}\" fill=\"{paper}\"/>");
    }
    let shown = text.trim_end();
    if shown.is_empty() {
        return;
    }
    let lead = shown.len() - shown.trim_start().len();
    let shown = shown.trim_start();
    let x = x + lead as f64 * WIDTH;
    let length = shown.width() as f64 * WIDTH;
    let mut style = String::new();
    for (modifier, attribute) in [
        (Modifier::BOLD, " font-weight=\"bold\""),
        (Modifier::ITALIC, " font-style=\"italic\""),
        (Modifier::UNDERLINED, " text-decoration=\"underline\""),
        (Modifier::DIM, " opacity=\"0.6\""),
    ] {
        if look.modifier.contains(modifier) {
            style.push_str(attribute);
        }
    }
    let _ = writeln!(
        out,
        "<text x=\"{x:.1}\" y=\"{}\" textLength=\"{length:.1}\" lengthAdjust=\"spacingAndGlyphs\" fill=\"{}\"{style}>{}</text>",
        y + 14,
        look.ink,
        escape(shown)
    );
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
