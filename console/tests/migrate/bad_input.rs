//! Input that is broken, large or odd: what is concerned is told with file and line, the others are
//! converted, and the exit code says so.

use std::{fs, process::Command, time::Instant};

use gwtop::migrate::{Migration, Options, command::Read, ingress::Input, migrate, report::Outcome};

use super::run;

/// An Ingress of a host, well formed.
fn good(name: &str) -> String {
    format!(
        "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata:\n  name: {name}\nspec:\n  rules:\n  - host: {name}.test\n    http:\n      paths:\n      - path: /\n        pathType: Prefix\n        backend: {{service: {{name: {name}, port: {{number: 80}}}}}}\n"
    )
}

/// Hosts that routes have.
fn hosts(migration: &Migration) -> Vec<String> {
    let routes = migration.objects.iter().filter(|made| made.value["kind"] == "HTTPRoute");
    let names = routes.flat_map(|made| made.value["spec"]["hostnames"].as_array().cloned().unwrap_or_default());
    names.filter_map(|host| host.as_str().map(str::to_owned)).collect()
}

/// The bad document between two good ones: where it is told, what is told, and that both others are converted.
fn between(bad: &str) -> (String, String) {
    let text = format!("{}---\n{bad}---\n{}", good("first"), good("last"));
    let migration = run(&text, &Options::default());
    assert_eq!(hosts(&migration), ["first.test", "last.test"], "{:?}", migration.failed);
    assert_eq!(migration.failed.len(), 1, "{:?}", migration.failed);
    migration.failed[0].clone()
}

#[test]
fn a_tab_a_doubled_key_and_an_open_bracket_spoil_their_own_document() {
    let (place, why) = between("kind: Ingress\nmetadata:\n\tname: tab\n");
    assert!(place.starts_with("in.yaml:1") && why.contains("cannot be read"), "{place}: {why}");
    let (place, why) = between("kind: Ingress\nmetadata:\n  name: a\n  name: b\n");
    assert_eq!(place, "in.yaml:17", "{why}");
    assert!(why.contains("duplicate") && why.contains("name"), "{why}");
    let (place, why) = between("kind: Ingress\nmetadata: {name: a\n");
    assert!(place.starts_with("in.yaml:1"), "{place}: {why}");
}

#[test]
fn marks_of_windows_are_no_fault() {
    let text = format!("\u{feff}{}---\n{}", good("first"), good("last")).replace('\n', "\r\n");
    let migration = run(&text, &Options::default());
    assert_eq!((hosts(&migration), migration.failed.len()), (vec!["first.test".to_owned(), "last.test".to_owned()], 0));
}

#[test]
fn anchors_are_followed_and_a_bomb_is_refused() {
    let text = good("first")
        .replace("number: 80", "number: &port 80")
        .replace("name: first\n", "name: &n first\n  labels: {x: *n, y: &z \"1\", w: *z}\n");
    let migration = run(&text, &Options::default());
    assert_eq!(hosts(&migration), ["first.test"]);
    let fields: Vec<_> = migration.entries.iter().map(|entry| entry.field.as_str()).collect();
    assert!(fields.contains(&"metadata.labels.x") && fields.contains(&"metadata.labels.w"), "{fields:?}");
    let mut bomb = "kind: Ingress\na0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
    for at in 1..12 {
        let last = at - 1;
        bomb += &format!("a{at}: &a{at} [{}]\n", vec![format!("*a{last}"); 10].join(","));
    }
    let begun = Instant::now();
    let (_, why) = between(&bomb);
    assert!(why.contains("cannot be read"), "{why}");
    assert!(begun.elapsed().as_secs() < 60, "the bomb went off");
}

#[test]
fn depth_does_not_break_the_reader() {
    let deep = format!("kind: Ingress\nx: {}{}\n", "[".repeat(5_000), "]".repeat(5_000));
    let (place, _) = between(&deep);
    assert!(place.starts_with("in.yaml:1"), "{place}");
}

#[test]
fn annotations_that_nobody_knows_and_snippets_are_told_with_their_line() {
    let text = good("first").replace(
        "  name: first\n",
        "  name: first\n  annotations:\n    nginx.ingress.kubernetes.io/made-up: \"1\"\n    nginx.ingress.kubernetes.io/configuration-snippet: |\n      if ($http_x) { return 403; }\n",
    );
    let migration = run(&text, &Options::default());
    assert_eq!(hosts(&migration), ["first.test"]);
    for (name, line) in [("made-up", 6), ("configuration-snippet", 7)] {
        let entry = migration.entries.iter().find(|entry| entry.field.contains(name)).unwrap();
        assert_eq!((entry.outcome, entry.line), (Outcome::Manual, line), "{entry:?}");
        assert!(!entry.reason.is_empty() && !entry.todo.is_empty(), "{entry:?}");
    }
}

#[test]
fn a_broken_expression_and_a_missing_service_leave_the_other_rules() {
    let text = "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata:\n  name: a\n  annotations: {nginx.ingress.kubernetes.io/use-regex: \"true\"}\nspec:\n  rules:\n  - host: a.test\n    http:\n      paths:\n      - {path: '/(open', pathType: ImplementationSpecific, backend: {service: {name: a, port: {number: 80}}}}\n      - {path: /gone, pathType: ImplementationSpecific, backend: {service: {name: gone, port: {name: web}}}}\n      - {path: /fine, pathType: ImplementationSpecific, backend: {service: {name: b, port: {number: 80}}}}\n";
    let migration = run(text, &Options::default());
    let failed: Vec<_> = migration.failed.iter().map(|(place, _)| place.as_str()).collect();
    assert_eq!(
        failed,
        ["in.yaml:11 default/a spec.rules[0].http.paths[0]", "in.yaml:12 default/a spec.rules[0].http.paths[1]"]
            .map(|place| failed.iter().find(|found| found.starts_with(place)).copied().unwrap_or(place)),
    );
    let routes = serde_json::to_string(&migration.objects.iter().map(|made| &made.value).collect::<Vec<_>>()).unwrap();
    assert!(routes.contains("/fine") && !routes.contains("/gone") && !routes.contains("open"), "{routes}");
}

#[test]
fn the_exit_code_says_that_something_was_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let gwtop = |args: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_gwtop")).args(args).env("XDG_STATE_HOME", folder.path()).output().unwrap()
    };
    let (good, bad) = (file("good.yaml", &good("first")), file("bad.yaml", "kind: Ingress\n\tx: 1\n"));
    let output = gwtop(&["migrate", "-f", &good]);
    assert_eq!(output.status.code(), Some(0));
    let output = gwtop(&["migrate", "-f", &good, "-f", &bad]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("first.test"));
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("bad.yaml:1: cannot be read"),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(gwtop(&["migrate", "-f", "/nowhere.yaml"]).status.code(), Some(2));
}

/// A list as `kubectl get ingress -A -o yaml` writes it: one document.
fn list(count: usize) -> String {
    let mut text = "apiVersion: v1\nkind: List\nitems:\n".to_owned();
    for at in 0..count {
        let item = good(&format!("i{at}"));
        text += &item
            .lines()
            .enumerate()
            .map(|(line, row)| format!("{} {row}\n", if line == 0 { "-" } else { " " }))
            .collect::<String>();
    }
    text
}

#[test]
fn a_list_of_ten_thousand_is_one_document_and_is_read() {
    let mut read = Read::default();
    read.text("in.yaml", &list(10_000));
    assert!(read.broken.is_empty(), "{:?}", read.broken);
    assert_eq!(Input::new(read.sources, "default").ingresses.len(), 10_000);
}

/// `GWTOP_TEST_LARGE=1`: 50 MB in one file, and all of 10,000 Ingresses converted.
#[test]
fn a_large_file_is_converted() {
    let large = std::env::var_os("GWTOP_TEST_LARGE").is_some();
    let (bytes, count) = if large { (50_000_000, 10_000) } else { (2_000_000, 200) };
    let row = format!("    {}\n", "x".repeat(95));
    let notes =
        format!("---\nkind: ConfigMap\nmetadata: {{name: big}}\ndata:\n  text: |\n{}", row.repeat(bytes / row.len()));
    let mut read = Read::default();
    read.text("in.yaml", &format!("{}{notes}---\n{}", list(count), good("last")));
    let begun = Instant::now();
    let migration = migrate(read.sources, read.broken, "default", &Options::default());
    eprintln!("{count} Ingresses converted and checked in {:?}", begun.elapsed());
    assert_eq!((migration.failed.len(), migration.invalid.len()), (0, 0));
    assert_eq!(hosts(&migration).len(), count + 1);
}
