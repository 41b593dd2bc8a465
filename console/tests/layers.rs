//! Arrows between the parts: reads the sources and fails on a wrong one.

#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

use std::{
    fs,
    path::{Path, PathBuf},
};

fn sources(dir: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

/// Source files of a part with their text, without tests.
fn part(name: &str) -> Vec<(String, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut all = Vec::new();
    sources(&src, &mut all);
    let of = |path: &PathBuf| {
        let relative = path.strip_prefix(&src).unwrap().to_str().unwrap().to_owned();
        let inside = name.is_empty() || relative == format!("{name}.rs") || relative.starts_with(&format!("{name}/"));
        (inside && !relative.contains("tests")).then(|| (relative, fs::read_to_string(path).unwrap()))
    };
    let found: Vec<_> = all.iter().filter_map(of).collect();
    assert!(!found.is_empty(), "no part {name}");
    found
}

fn names(text: &str, word: &str) -> bool {
    let mut rest = text;
    while let Some(at) = rest.find(word) {
        let before = rest[..at].chars().next_back();
        let after = &rest[at + word.len()..];
        if !before.is_some_and(|c| c.is_alphanumeric() || c == '_') && after.trim_start_matches(' ').starts_with("::") {
            return true;
        }
        rest = after;
    }
    false
}

/// Whether the source names a module of this crate, in a nested `use` too.
fn uses(text: &str, module: &str) -> bool {
    let flat: String =
        text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join(" ");
    if flat.contains(&format!("crate::{module}::")) || flat.contains(&format!("crate::{module};")) {
        return true;
    }
    flat.split("use crate::{").skip(1).any(|group| {
        let group = group.split(';').next().unwrap_or_default();
        let mut depth = 0;
        let mut word = String::new();
        for c in group.chars() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => word.clear(),
                c if depth == 0 && !c.is_whitespace() => word.push(c),
                _ => {}
            }
            if word == module || word.starts_with(&format!("{module}::")) {
                return true;
            }
        }
        false
    })
}

#[test]
fn no_wrong_arrow() {
    for (of, forbidden) in [
        ("view", &["kube", "tokio", "reqwest"][..]),
        ("triage", &["kube", "tokio", "ratatui", "std::fs"]),
        ("rows", &["kube", "tokio", "ratatui"]),
        ("model", &["kube", "tokio", "ratatui", "crossterm"]),
        ("intent", &["kube", "tokio", "ratatui"]),
        ("update", &["kube", "tokio", "ratatui"]),
        ("migrate", &["ratatui", "crossterm"]),
        ("check", &["ratatui", "crossterm"]),
        ("finding", &["kube", "tokio", "ratatui", "crossterm"]),
        ("cluster", &["ratatui", "crossterm"]),
        ("traffic", &["ratatui", "crossterm"]),
    ] {
        for (file, text) in part(of) {
            for name in forbidden {
                assert!(!names(&text, name), "{file} names {name}");
            }
        }
    }
    for (of, forbidden) in [
        ("finding", &["view", "rows", "update", "screen", "app", "cluster", "traffic", "canary", "migrate"][..]),
        ("model", &["view", "rows", "update", "screen", "app", "cluster", "traffic", "theme", "canary"][..]),
        ("triage", &["view", "rows", "update", "screen", "app", "cluster", "traffic", "theme", "canary"]),
        ("rows", &["view", "update", "app", "cluster", "theme"]),
        ("intent", &["view", "rows", "update", "screen", "app", "cluster", "traffic"]),
        ("view", &["app", "cluster", "terminal"]),
        ("update", &["view", "app", "terminal"]),
        ("cluster", &["view", "rows", "update", "screen", "app"]),
        ("traffic", &["view", "rows", "update", "screen", "app"]),
        ("migrate", &["view", "rows", "update", "screen", "app", "traffic", "canary"]),
    ] {
        for (file, text) in part(of) {
            for module in forbidden {
                assert!(!uses(&text, module), "{file} uses {module}");
            }
        }
    }
}

#[test]
fn checks_are_pure_but_for_what_reads() {
    for (file, text) in part("check") {
        if file != "check/command.rs" && file != "check/collect.rs" {
            for name in ["kube", "tokio", "std::fs", "std::net::TcpStream"] {
                assert!(!names(&text, name), "{file} names {name}");
            }
            assert!(!uses(&text, "cluster") && !uses(&text, "ask"), "{file} reads");
        }
    }
}

#[test]
fn migration_is_pure_but_for_its_command() {
    for (file, text) in part("migrate") {
        if !file.starts_with("migrate/command") {
            for name in ["kube", "tokio", "std::fs"] {
                assert!(!names(&text, name), "{file} names {name}");
            }
            // Addresses are values; sockets are not.
            for name in ["TcpStream", "TcpListener", "UdpSocket", "ToSocketAddrs"] {
                assert!(!text.contains(name), "{file} has a {name}");
            }
            assert!(!uses(&text, "cluster"), "{file} uses cluster");
        }
    }
}

#[test]
fn colours_are_named_by_the_theme_alone() {
    for (file, text) in part("") {
        assert!(file.starts_with("theme") || !text.contains("Color::"), "{file} names a colour");
    }
}

#[test]
fn the_reader_of_arrows_sees_them() {
    assert!(uses("use crate::{\n    model::{a, b},\n    view,\n};", "view"));
    assert!(!uses("use crate::{model::view::X};", "view"));
    assert!(names("use kube::Api;", "kube") && !names("use mykube::Api;", "kube"));
}
