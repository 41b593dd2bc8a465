use serde_json::json;

use super::{is_manifest, parse, read_folder};

#[test]
fn documents_know_their_lines() {
    let text = "# two documents\n---\napiVersion: v1\nkind: Service\nmetadata:\n  name: a\nspec:\n  ports:\n  - port: 80\n    \
                protocol: TCP\n---\napiVersion: v1\nkind: Namespace\nmetadata: { name: b, annotations: { x.y/z: \"1\" } }\n";
    let (documents, problems) = parse("a.yaml", text);
    assert_eq!(problems, []);
    let [service, namespace] = documents.as_slice() else { panic!("{documents:?}") };
    assert_eq!((service.line, namespace.line), (3, 12));
    assert_eq!(service.object["spec"]["ports"], json!([{ "port": 80, "protocol": "TCP" }]));
    for (field, line) in [
        ("spec", 7),
        ("spec.ports[0].protocol", 10),
        ("spec.ports[0].targetPort", 9),
        ("spec.ports[7].port", 8),
        ("spec.selector.app", 7),
        ("nowhere", 3),
    ] {
        assert_eq!(service.problem(Some(field), "x").line, Some(line), "{field}");
    }
    assert_eq!(namespace.problem(Some("metadata.annotations[x.y/z]"), "x").line, Some(14));
}

#[test]
fn a_broken_document_is_named_and_its_neighbours_go_on() {
    let text = "kind: Namespace\napiVersion: v1\nmetadata: {name: a}\n---\nkind: [broken\n---\nkind: Service\napiVersion: v1\n\
                ---\njust text\n---\nkind: Pod\nkind: Pod\n---\nkind: Namespace\napiVersion: v1\nmetadata: {name: b}\n";
    let (documents, problems) = parse("a.yaml", text);
    let names: Vec<_> = documents.iter().map(|document| document.name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    let places: Vec<_> = problems.iter().map(|problem| (problem.line, problem.field.as_deref())).collect();
    assert_eq!(places[1..3], [(Some(7), Some("metadata.name")), (Some(10), None)]);
    assert_eq!(places.len(), 4, "{problems:#?}");
    assert!((5..=6).contains(&places[0].0.unwrap()), "{problems:#?}");
    assert_eq!(places[3].0, Some(13), "a key given twice: {problems:#?}");
}

#[test]
fn lists_json_and_odd_endings() {
    let list = r#"{"apiVersion":"v1","kind":"List","items":[
      {"apiVersion":"v1","kind":"Namespace","metadata":{"name":"a"},"status":{"phase":"Active"}},
      {"apiVersion":"v1","kind":"Namespace"}]}"#;
    let (documents, problems) = parse("a.json", list);
    assert_eq!(documents.len(), 1);
    assert_eq!(documents[0].line, 2);
    assert!(documents[0].object.get("status").is_none(), "a manifest does not speak for the controller");
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].to_string(), "a.json:3: metadata.name: Required value: a manifest names its object, so that it can be found again");

    for empty in ["", "\n", "---\n", "# only a comment\n---\n...\n", "null\n", "\u{feff}# x"] {
        let (documents, problems) = parse("a.yaml", empty);
        assert!(documents.is_empty() && problems.is_empty(), "{empty:?}: {problems:?}");
    }
    let windows = "--- # first\r\napiVersion: v1\r\nkind: Namespace\r\nmetadata:\r\n  name: a\r\n...\r\n";
    assert_eq!(parse("a.yaml", windows).0.len(), 1);
}

#[test]
fn bombs_and_nonsense_are_problems() {
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n\
                d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\n\
                g: [*f,*f,*f,*f,*f,*f,*f,*f,*f]\n";
    let deep = "[".repeat(100_000);
    let slash = "apiVersion: v1\nkind: Namespace\nmetadata: {name: ../../x}\n";
    for text in [bomb, &deep, slash, "apiVersion: v1\nkind: 3\n", "- 1\n", "\0"] {
        let (documents, problems) = parse("a.yaml", text);
        assert!(documents.is_empty(), "{:?}", &text[..text.len().min(80)]);
        assert_eq!(problems.len(), 1, "{problems:?}");
    }
}

#[test]
fn editors_files_are_not_manifests() {
    for name in ["a.yaml", "b.yml", "c.json", "with.dots.yaml"] {
        assert!(is_manifest(name), "{name}");
    }
    for name in [".a.yaml.swp", ".a.yaml", "a.yaml~", "#a.yaml#", ".#a.yaml", "~a.yaml", "4913", "a.yaml.tmp", "README.md", "yaml"] {
        assert!(!is_manifest(name), "{name}");
    }
}

#[test]
fn folders_are_read_through_symlinks_as_a_configmap_mounts_them() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::create_dir(at("..1")).unwrap();
    std::fs::write(at("..1/a.yaml"), "x: 1").unwrap();
    std::os::unix::fs::symlink("..1", at("..data")).unwrap();
    std::os::unix::fs::symlink("..data/a.yaml", at("a.yaml")).unwrap();
    std::os::unix::fs::symlink("nowhere", at("gone.yaml")).unwrap();
    std::fs::create_dir(at("dir.yaml")).unwrap();
    std::fs::write(at("latin.yaml"), [b'a', 0xff]).unwrap();
    let files = read_folder(folder.path()).unwrap();
    let kinds: Vec<_> = files.iter().map(|(name, content)| (name.as_str(), content.is_ok())).collect();
    assert_eq!(kinds, [("a.yaml", true), ("gone.yaml", false), ("latin.yaml", false)]);
}
