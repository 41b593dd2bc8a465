//! The command line as a script sees it: exit codes, and what is said on which stream.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

use std::process::{Command, Output};

fn gwtop(args: &[&str]) -> (Output, tempfile::TempDir) {
    let home = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_gwtop"))
        .args(args)
        .env_clear()
        .env("HOME", home.path())
        .env("XDG_STATE_HOME", home.path().join("state"))
        .output()
        .unwrap();
    (output, home)
}

/// Exit code and stderr; nothing may be on stdout.
fn refused(args: &[&str]) -> (i32, String) {
    let (output, _home) = gwtop(args);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "", "{args:?}");
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn without_a_cluster_the_way_to_one_is_named() {
    for args in [&["canary"][..], &["status"]] {
        let (code, text) = refused(args);
        assert_eq!(code, 8, "{text}");
        assert!(text.contains("gwtop demo"), "{text}");
    }
}

#[test]
fn nonsense_is_refused_before_anything_is_asked_of_a_cluster() {
    for (args, word) in [
        (&["canary", "--step", "0"][..], "--step 0"),
        (&["canary", "--step", "200"], "--step 200"),
        (&["canary", "--step", "10", "--max", "5"], "--max 5"),
        (&["canary", "--step", "five"], "5%"),
        (&["canary", "--interval", "5"], "5m"),
        (&["canary", "--max-error-rate", "7"], "1%"),
        (&["canary", "--no-metrics"], "--check"),
        (&["canary", "--check", "gopher://x"], "http://"),
        (&["canary", "a/b/c"], "NAMESPACE/NAME"),
        (&["canary", "-n", "other", "shop/app"], "other"),
        (&["unheard-of"], "unheard-of"),
    ] {
        let (code, text) = refused(args);
        assert_eq!(code, 2, "{args:?}: {text}");
        assert!(text.contains(word), "{args:?}: {text}");
    }
}

#[test]
fn the_console_needs_a_terminal() {
    let (code, text) = refused(&[]);
    assert_eq!(code, 2);
    assert!(text.contains("gwtop status"), "{text}");
}

#[test]
fn an_api_that_is_not_there_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kubeconfig");
    std::fs::write(
        &path,
        "apiVersion: v1\nkind: Config\ncurrent-context: x\nclusters: [{name: x, cluster: {server: 'http://127.0.0.1:1'}}]\n\
         contexts: [{name: x, context: {cluster: x, user: x}}]\nusers: [{name: x, user: {}}]\n",
    )
    .unwrap();
    let path = path.to_str().unwrap();
    let (code, text) = refused(&["canary", "--kubeconfig", path]);
    assert_eq!(code, 8);
    assert!(text.contains("http://127.0.0.1:1") && text.contains("refused"), "{text}");
    let (code, text) = refused(&["status", "--kubeconfig", "/does/not/exist"]);
    assert_eq!(code, 8);
    assert!(text.contains("/does/not/exist"), "{text}");
}
