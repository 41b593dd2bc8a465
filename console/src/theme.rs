//! Roles to styles, from a theme file. The only place that names colours.

use std::{fmt, path::Path, str::FromStr};

use ratatui::style::{Color, Modifier, Style};

#[cfg(test)]
mod tests;

macro_rules! roles {
    ($($variant:ident $name:literal),* $(,)?) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Role { $($variant),* }

        impl Role {
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }
        }
    };
}

roles! {
    Text "text", Muted "muted", Accent "accent", Title "title", Header "header", Ok "ok", Warn "warn", Bad "bad",
    Unknown "unknown", Stale "stale", Border "border", Selection "selection", BarStable "bar-stable",
    BarCanary "bar-canary", BarEmpty "bar-empty", Spark "spark", Added "added", Removed "removed", Key "key",
    Bar "bar", Danger "danger",
}

pub const BUILT_IN: [(&str, &str); 10] = [
    ("dark", include_str!("../../themes/dark.toml")),
    ("light", include_str!("../../themes/light.toml")),
    ("high-contrast", include_str!("../../themes/high-contrast.toml")),
    ("mono", include_str!("../../themes/mono.toml")),
    ("colour-blind", include_str!("../../themes/colour-blind.toml")),
    ("catppuccin", include_str!("../../themes/catppuccin.toml")),
    ("gruvbox", include_str!("../../themes/gruvbox.toml")),
    ("nord", include_str!("../../themes/nord.toml")),
    ("solarized-dark", include_str!("../../themes/solarized-dark.toml")),
    ("solarized-light", include_str!("../../themes/solarized-light.toml")),
];

pub fn built_in(name: &str) -> Option<Theme> {
    BUILT_IN.iter().find(|(own, _)| *own == name).map(|(name, text)| Theme::parse(name, text).0)
}

/// The built-in theme that comes after this one.
pub fn after(name: &str) -> &'static str {
    let here = BUILT_IN.iter().position(|(own, _)| *own == name).map_or(0, |at| at + 1);
    BUILT_IN[here % BUILT_IN.len()].0
}

#[derive(Debug, Clone, PartialEq)]
pub struct Theme {
    pub name: String,
    /// The background that it is made for; none for any.
    pub paper: Option<Color>,
    styles: Vec<Style>,
}

/// How many colours the terminal has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Palette {
    None,
    Indexed,
    Rgb,
}

/// What is wrong with a theme, where, and what is done instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThemeProblem {
    pub file: String,
    pub line: Option<usize>,
    pub field: Option<String>,
    pub reason: String,
}

impl fmt::Display for ThemeProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "theme {}", self.file)?;
        if let Some(line) = self.line {
            write!(f, " line {line}")?;
        }
        if let Some(field) = &self.field {
            write!(f, ", {field}")?;
        }
        write!(f, ": {}; the dark theme is used there", self.reason)
    }
}

impl Default for Theme {
    fn default() -> Self {
        Self::parse("dark", BUILT_IN[0].1).0
    }
}

impl Theme {
    pub fn style(&self, role: Role) -> Style {
        self.styles.get(role as usize).copied().unwrap_or_default()
    }

    /// A built-in theme's name or a file; always gives a theme that can be used.
    pub fn load(name: &str) -> (Self, Vec<ThemeProblem>) {
        if let Some(theme) = built_in(name) {
            return (theme, Vec::new());
        }
        match std::fs::read_to_string(Path::new(name)) {
            Ok(text) => Self::parse(name, &text),
            Err(error) => {
                let names: Vec<_> = BUILT_IN.iter().map(|(name, _)| *name).collect();
                let reason = format!("{error}; built in are {}", names.join(", "));
                (Self::default(), vec![ThemeProblem { file: name.to_owned(), line: None, field: None, reason }])
            }
        }
    }

    /// Broken roles fall back to the dark theme's, one by one.
    pub fn parse(file: &str, text: &str) -> (Self, Vec<ThemeProblem>) {
        let mut problems = Vec::new();
        let table: toml::Table = toml::from_str(text).unwrap_or_else(|error: toml::de::Error| {
            let line = error.span().map(|span| line_of(text, span.start));
            let reason = error.message().to_owned();
            problems.push(ThemeProblem { file: file.to_owned(), line, field: None, reason });
            toml::Table::new()
        });
        let broken = !problems.is_empty();
        let roles = table.get("roles").and_then(toml::Value::as_table).cloned().unwrap_or_default();
        let mut problem = |field: &str, reason: String| {
            let at = text.lines().position(|line| line.trim_start().starts_with(field)).map(|index| index + 1);
            problems.push(ThemeProblem { file: file.to_owned(), line: at, field: Some(field.to_owned()), reason });
        };
        for unknown in roles.keys().filter(|name| !Role::ALL.iter().any(|role| role.name() == name.as_str())) {
            problem(unknown, "no such role".to_owned());
        }
        let is_dark = BUILT_IN[0].1 == text;
        let fallback = |role: Role| if is_dark { Style::default() } else { Self::default().style(role) };
        let mut styles = Vec::with_capacity(Role::ALL.len());
        for role in Role::ALL {
            let style = match roles.get(role.name()).map(style) {
                Some(Ok(style)) => style,
                Some(Err(reason)) => {
                    problem(role.name(), reason);
                    fallback(*role)
                }
                None => {
                    if !broken {
                        problem(role.name(), "role missing".to_owned());
                    }
                    fallback(*role)
                }
            };
            styles.push(style);
        }
        let name = table.get("name").and_then(toml::Value::as_str).unwrap_or(file).to_owned();
        let paper = table.get("paper").and_then(toml::Value::as_str).and_then(|text| Color::from_str(text).ok());
        (Self { name, paper, styles }, problems)
    }

    /// The same theme in the colours that the terminal has.
    #[must_use]
    pub fn fit(mut self, palette: Palette) -> Self {
        match palette {
            Palette::Rgb => self,
            // Which role is a problem must still be seen, so the monochrome theme's weights are taken.
            Palette::None => Self { styles: Self::parse("mono", BUILT_IN[3].1).0.styles, paper: None, name: self.name },
            Palette::Indexed => {
                for style in &mut self.styles {
                    style.fg = style.fg.map(indexed);
                    style.bg = style.bg.map(indexed);
                }
                self
            }
        }
    }
}

fn style(value: &toml::Value) -> Result<Style, String> {
    let color = |value: &toml::Value| {
        let text = value.as_str().ok_or_else(|| "a colour is a string such as \"#79c0ff\" or \"red\"".to_owned())?;
        Color::from_str(text).map_err(|_| format!("{text:?} is no colour: write #rrggbb or a name such as red"))
    };
    let toml::Value::Table(table) = value else { return Ok(Style::new().fg(color(value)?)) };
    let mut style = Style::new();
    for (field, value) in table {
        let modifier = match field.as_str() {
            "fg" => {
                style = style.fg(color(value)?);
                continue;
            }
            "bg" => {
                style = style.bg(color(value)?);
                continue;
            }
            "bold" => Modifier::BOLD,
            "dim" => Modifier::DIM,
            "italic" => Modifier::ITALIC,
            "underline" => Modifier::UNDERLINED,
            "reverse" => Modifier::REVERSED,
            other => return Err(format!("{other:?} is none of fg, bg, bold, dim, italic, underline, reverse")),
        };
        if value.as_bool().ok_or_else(|| format!("{field} is true or false"))? {
            style = style.add_modifier(modifier);
        }
    }
    Ok(style)
}

/// Nearest entry of the 6x6x6 cube and the grey ramp of 256-colour terminals.
fn indexed(color: Color) -> Color {
    let Color::Rgb(r, g, b) = color else { return color };
    let level = |value: u8| if value < 48 { 0 } else { (u16::from(value).saturating_sub(35) / 40).min(5) as u8 };
    let spread = r.max(g).max(b) - r.min(g).min(b);
    if spread < 12 {
        let grey = (u16::from(r) + u16::from(g) + u16::from(b)) / 3;
        return Color::Indexed(232 + (grey.saturating_sub(3) / 10).min(23) as u8);
    }
    Color::Indexed(16 + 36 * level(r) + 6 * level(g) + level(b))
}

/// Six hexadecimal digits, for pictures; none for the terminal's own default.
pub fn hex(color: Color) -> Option<String> {
    match color {
        Color::Rgb(r, g, b) => Some(format!("#{r:02x}{g:02x}{b:02x}")),
        _ => None,
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.get(..offset).map_or(1, |before| before.matches('\n').count() + 1)
}
