//! The console in a terminal whose cluster does not answer, whose size is odd, whose owner leaves.

#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

#[path = "common/terminal.rs"]
mod terminal;

use std::{fs, path::Path};

use terminal::Terminal;

/// A cluster that nobody serves.
fn kubeconfig(dir: &Path) -> String {
    let path = dir.join("kubeconfig");
    let text = r#"{
        "apiVersion": "v1", "kind": "Config", "current-context": "far-away",
        "clusters": [{ "name": "c", "cluster": { "server": "http://127.0.0.1:1" } }],
        "users": [{ "name": "u", "user": {} }],
        "contexts": [{ "name": "far-away", "context": { "cluster": "c", "user": "u" } }]
    }"#;
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

fn console(dir: &Path, size: (u16, u16)) -> Terminal {
    Terminal::start(&["--kubeconfig", &kubeconfig(dir), "--request-timeout", "2s"], dir, size)
}

#[test]
fn an_api_that_does_not_answer_is_said_and_keys_work() {
    let dir = tempfile::tempdir().unwrap();
    let mut terminal = console(dir.path(), (100, 30));
    terminal.until("first frame", |text| text.contains("gwtop") && text.contains("Routes"));
    let text = terminal.until("reason", |text| text.contains("API lost"));
    assert!(text.contains("far-away") && text.contains("127.0.0.1:1"), "{text}");
    terminal.press("?");
    terminal.until("help", |text| text.contains("Keys and commands"));
    terminal.press("q");
    terminal.until("list", |text| !text.contains("Keys and commands"));
    terminal.press("q");
    let status = terminal.ends();
    assert!(status.success() && terminal.restored(), "{status:?}\n{}", terminal.text());
}

#[test]
fn a_tiny_terminal_is_told_what_is_needed_and_may_grow() {
    let dir = tempfile::tempdir().unwrap();
    let mut terminal = console(dir.path(), (20, 5));
    terminal.until("needed size", |text| text.contains("20x5") && text.contains("40x10"));
    terminal.resize((100, 30));
    terminal.until("list", |text| text.contains("Routes"));
    for size in [(1, 1), (200, 60), (41, 10), (3, 80), (80, 24)].into_iter().cycle().take(40) {
        terminal.resize(size);
    }
    terminal.until("list at the last size", |text| text.contains("Routes"));
    terminal.press("\x03");
    assert!(terminal.ends().success() && terminal.restored());
}

#[test]
fn signals_restore_the_terminal() {
    for signal in ["-TERM", "-HUP", "-INT"] {
        let dir = tempfile::tempdir().unwrap();
        let mut terminal = console(dir.path(), (80, 24));
        terminal.until("first frame", |text| text.contains("Routes"));
        terminal.signal(signal);
        terminal.ends();
        assert!(terminal.restored(), "{signal}:\n{}", terminal.text());
    }
}

#[test]
fn a_closed_window_is_no_crash() {
    let dir = tempfile::tempdir().unwrap();
    let mut terminal = console(dir.path(), (80, 24));
    terminal.until("first frame", |text| text.contains("Routes"));
    terminal.close();
    let status = terminal.ends();
    assert!(status.success(), "{status:?}");
}
