//! Arrows between the rooms: reads the sources and fails on a wrong one.

#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Room, and what it may not name.
const FORBIDDEN: [(&str, &[&str]); 11] = [
    ("contract", &["crate", "kube", "tokio", "hyper", "k8s_openapi"]),
    ("types", &["kube", "tokio", "hyper"]),
    ("table", &["kube", "k8s_openapi", "tokio", "hyper", "crate::compile", "crate::serve", "crate::resources"]),
    ("compile", &["kube", "tokio", "hyper", "crate::serve", "crate::status", "crate::local"]),
    ("serve", &["kube", "k8s_openapi", "crate::compile", "crate::status", "crate::resources", "crate::local"]),
    ("metrics", &["kube", "k8s_openapi", "tokio", "crate::serve", "crate::compile"]),
    ("local", &["crate::compile", "crate::serve", "crate::table", "crate::status", "crate::resources"]),
    ("provision", &["kube", "tokio", "hyper", "crate::serve"]),
    ("validate", &["kube", "tokio", "hyper", "crate::serve", "crate::status"]),
    ("prove", &["kube", "tokio", "hyper", "crate::local", "crate::status", "crate::start"]),
    ("resources", &["crate::serve", "crate::status", "crate::compile"]),
];

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

/// The code of a file without comments, in one line, with nested `use crate::{…}` spelled out.
fn code(text: &str) -> String {
    let flat = text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join(" ");
    let mut spelled = flat.clone();
    for group in flat.split("use crate::{").skip(1) {
        let mut depth = 0;
        let mut name = String::new();
        for c in group.chars() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    spelled.push_str(&format!(" crate::{} ", name.trim()));
                    name.clear();
                }
                c if depth == 0 => name.push(c),
                _ => {}
            }
        }
        spelled.push_str(&format!(" crate::{} ", name.trim()));
    }
    spelled
}

/// Whether `code` names `path`, as a path and not as part of another name.
fn names(code: &str, path: &str) -> bool {
    code.match_indices(path).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let after = code[at + path.len()..].chars().next();
        let word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
        // A segment inside another path (`self::kube`) is not the crate of that name.
        let inside = before == Some(':') && path != "crate";
        let follows = code[at + path.len()..].starts_with("::") || path.starts_with("crate::");
        !word(before) && !word(after) && !inside && follows
    })
}

fn wrong(room: &str, forbidden: &[&str]) -> Vec<String> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut all = Vec::new();
    sources(&src, &mut all);
    let mut found = Vec::new();
    let mut read = 0;
    for path in all {
        let relative = path.strip_prefix(&src).unwrap().to_str().unwrap().to_owned();
        let inside = relative == format!("{room}.rs") || relative.starts_with(&format!("{room}/"));
        if !inside || relative.contains("tests") {
            continue;
        }
        read += 1;
        // Tests inside a file come last.
        let text = fs::read_to_string(&path).unwrap();
        let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let code = code(text);
        found.extend(forbidden.iter().filter(|name| names(&code, name)).map(|name| format!("{relative} names {name}")));
    }
    assert!(read > 0, "no room {room}");
    found
}

#[test]
fn no_wrong_arrow() {
    let found: Vec<_> = FORBIDDEN.iter().flat_map(|(room, forbidden)| wrong(room, forbidden)).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn a_wrong_arrow_is_seen() {
    let nested = code("use crate::{\n    serve::{DataPlane, worker}, // kube::Client\n    table,\n};");
    assert!(names(&nested, "crate::serve") && names(&nested, "crate::table"), "{nested}");
    assert!(!names(&nested, "kube") && !names(&nested, "crate::tab"), "{nested}");
    assert!(names("let x = kube::Client::new();", "kube"));
    assert!(!names("use kube_cel::Validator; use self::kube::x;", "kube"));
}
