//! The one table of keys. It answers key presses, and the help and hints are made from it.

use super::command::Command;

/// Where a key is pressed; `Everywhere` holds unless the narrower one has the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    Everywhere,
    List,
    Page,
    Canary,
    /// While a recording plays, before all others.
    Replay,
    Edit,
    Confirm,
}

#[derive(Debug, Clone, Copy)]
pub struct Binding {
    pub mode: Mode,
    /// Separated by blanks, as [`crate::event::name`] spells them.
    pub keys: &'static str,
    pub command: Command,
    pub help: &'static str,
    /// Shown among the hints of its mode.
    pub hint: bool,
    /// Leads to a write, after a confirmation.
    pub danger: bool,
}

const fn bind(mode: Mode, keys: &'static str, command: Command, help: &'static str) -> Binding {
    Binding { mode, keys, command, help, hint: false, danger: false }
}

const fn hint(mode: Mode, keys: &'static str, command: Command, help: &'static str) -> Binding {
    Binding { hint: true, ..bind(mode, keys, command, help) }
}

const fn danger(mode: Mode, keys: &'static str, command: Command, help: &'static str) -> Binding {
    Binding { danger: true, ..hint(mode, keys, command, help) }
}

use Mode::{Canary, Confirm, Edit, Everywhere, List, Page, Replay};

pub const KEYMAP: &[Binding] = &[
    hint(Replay, "space", Command::PlayPause, "play or pause"),
    hint(Replay, "left", Command::PlayBack, "back 10s"),
    hint(Replay, "right", Command::PlayForward, "on 10s"),
    hint(Replay, "}", Command::NextProblem, "next problem"),
    bind(Replay, "{", Command::PreviousProblem, "problem before"),
    hint(Replay, "]", Command::Faster, "faster"),
    bind(Replay, "[", Command::Slower, "slower"),
    danger(Confirm, "y enter", Command::Confirm, "send"),
    hint(Confirm, "esc n q", Command::Cancel, "cancel"),
    hint(Canary, "+ =", Command::StageUp, "stage more"),
    hint(Canary, "- _", Command::StageDown, "stage less"),
    hint(Canary, "enter", Command::Review, "review"),
    danger(Canary, "a", Command::Auto, "automatic"),
    hint(Canary, "s", Command::Pause, "pause or resume"),
    bind(Canary, "r", Command::NextRule, "next rule with two backends"),
    danger(Everywhere, "R", Command::Rollback, "rollback"),
    danger(Edit, "ctrl-s", Command::Review, "check, diff and write"),
    hint(Edit, "esc", Command::Back, "leave"),
    hint(List, "enter", Command::Open, "open"),
    hint(List, "w", Command::Why, "why"),
    hint(Page, "w", Command::Why, "why"),
    bind(List, "d", Command::Detail, "describe"),
    hint(List, "p", Command::Canary, "canary"),
    hint(Page, "p", Command::Canary, "canary"),
    hint(Everywhere, "y", Command::Yaml, "YAML"),
    hint(List, "/", Command::Filter, "filter"),
    hint(Page, "/", Command::Find, "find"),
    bind(Page, "n", Command::NextMatch, "next match"),
    bind(Page, "N", Command::PreviousMatch, "match before"),
    danger(List, "e", Command::Edit, "edit"),
    danger(Page, "e", Command::Edit, "edit"),
    Binding { danger: true, ..bind(Everywhere, "u", Command::Undo, "undo the last write") },
    bind(Everywhere, "t", Command::Tree, "what hangs on it"),
    bind(Everywhere, "c", Command::Copy, "copy the fix"),
    hint(List, "ctrl-z", Command::Faults, "faults only"),
    hint(Everywhere, ":", Command::CommandLine, "command"),
    hint(Everywhere, "?", Command::Help, "help"),
    hint(Page, "esc q", Command::Back, "back"),
    hint(Canary, "esc q", Command::Back, "back"),
    hint(List, "q", Command::Quit, "quit"),
    bind(List, "esc", Command::Back, "clear filter"),
    bind(Everywhere, "ctrl-c", Command::Quit, "quit at once"),
    bind(Everywhere, "1", Command::Routes, "routes"),
    bind(Everywhere, "2", Command::Gateways, "gateways"),
    bind(Everywhere, "3", Command::Backends, "backends"),
    bind(Everywhere, "4", Command::Findings, "findings"),
    bind(Everywhere, "5", Command::Timeline, "timeline"),
    bind(Everywhere, "tab", Command::NextTab, "next tab"),
    bind(Everywhere, "j down", Command::Down, "down"),
    bind(Everywhere, "k up", Command::Up, "up"),
    bind(Everywhere, "g home", Command::Top, "first"),
    bind(Everywhere, "G end", Command::Bottom, "last"),
    bind(Everywhere, "pgdn ctrl-f", Command::PageDown, "page down"),
    bind(Everywhere, "pgup ctrl-b", Command::PageUp, "page up"),
    bind(Everywhere, "ctrl-d", Command::HalfDown, "half a page down"),
    bind(Everywhere, "ctrl-u", Command::HalfUp, "half a page up"),
    bind(Everywhere, "space", Command::Freeze, "freeze or follow"),
    bind(Everywhere, "ctrl-s", Command::Save, "save the last half hour as a recording"),
    bind(Everywhere, "E", Command::Events, "events of the object"),
    bind(List, "0", Command::AllNamespaces, "all namespaces"),
    bind(List, "n", Command::ThisNamespace, "namespace of the selection only"),
    bind(List, "N", Command::SortName, "sort by name"),
    bind(List, "A", Command::SortAge, "sort by age"),
    bind(List, "S", Command::SortStatus, "sort by status"),
    bind(List, "T", Command::SortTraffic, "sort by traffic"),
];

/// A key of the player alone.
pub fn of_replay(key: &str) -> Option<Command> {
    let mut bindings = KEYMAP.iter().filter(|binding| binding.mode == Replay);
    bindings.find(|binding| binding.keys == key).map(|binding| binding.command)
}

pub fn find(mode: Mode, key: &str) -> Option<Command> {
    let of = |wanted: Mode| {
        KEYMAP.iter().find(|binding| binding.mode == wanted && binding.keys.split(' ').any(|name| name == key))
    };
    let everywhere = || if matches!(mode, Confirm | Edit) { None } else { of(Everywhere) };
    of(mode).or_else(everywhere).map(|binding| binding.command).or_else(|| (key == "ctrl-c").then_some(Command::Quit))
}

/// What the player's keys do, the most useful first.
pub fn hints_of_replay() -> impl Iterator<Item = &'static Binding> {
    KEYMAP.iter().filter(|binding| binding.mode == Replay && binding.hint)
}

/// The hints of a mode, most useful first.
pub fn hints(mode: Mode) -> impl Iterator<Item = &'static Binding> {
    KEYMAP.iter().filter(move |binding| {
        let here = binding.mode == mode
            || binding.mode == Everywhere && !matches!(mode, Confirm | Edit) && (!binding.danger || mode == Canary);
        here && binding.hint
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn no_key_means_two_things_in_one_mode() {
        let mut seen = BTreeMap::new();
        for binding in KEYMAP {
            for key in binding.keys.split(' ') {
                let other = seen.insert((format!("{:?}", binding.mode), key), binding.command);
                assert_eq!(other, None, "{key} in {:?}", binding.mode);
            }
        }
    }

    #[test]
    fn the_narrower_mode_wins_and_nothing_leaks_into_a_confirmation() {
        assert_eq!(find(List, "y"), Some(Command::Yaml));
        assert_eq!(find(Confirm, "y"), Some(Command::Confirm));
        assert_eq!(find(Confirm, "R"), None);
        assert_eq!(find(Confirm, "ctrl-c"), Some(Command::Quit));
        assert_eq!(find(List, "ctrl-d"), Some(Command::HalfDown));
    }
}
