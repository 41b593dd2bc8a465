//! Every rule of triage has a case: something broken in, its finding out.
//!
//! A case is laid over `triage/base.yaml`: objects of the same name replace those of the base, or are
//! merged into them (RFC 7386) if they say `merge: true`; `# without: Kind ns/name` leaves
//! an object of the base out. `GWTOP_UPDATE=1` writes the expected findings anew.

#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

use std::{collections::BTreeSet, fs, path::Path};

use gwtop::{
    finding::human,
    model::{
        key::{Kind, ObjectKey},
        manifests,
        store::{Change, Store, key_of},
    },
    triage::{RULES, Triage, triage},
};
use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::Value;

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/triage")
}

fn now() -> Timestamp {
    "2026-06-01T00:00:00Z".parse().unwrap()
}

fn read(path: &Path) -> Vec<Value> {
    let (objects, problems) = manifests::objects(&path.display().to_string(), &fs::read_to_string(path).unwrap());
    assert_eq!(problems, Vec::<String>::new());
    objects
}

fn named(object: &Value) -> ObjectKey {
    let kind = manifests::kind_of(object).unwrap_or_else(|| panic!("unknown kind: {object}"));
    key_of(kind, object).unwrap()
}

fn cluster(case: &Path) -> Vec<Value> {
    let mut objects = read(&folder().join("base.yaml"));
    let text = fs::read_to_string(case).unwrap();
    for line in text.lines() {
        if let Some(gone) = line.strip_prefix("# without: ") {
            let (kind, name) = gone.split_once(' ').unwrap();
            let before = objects.len();
            objects.retain(|object| (named(object).kind.name(), named(object).to_string().as_str()) != (kind, name));
            assert_eq!(objects.len() + 1, before, "{line}");
        }
    }
    for mut object in read(case) {
        let key = named(&object);
        let merge = object.as_object_mut().unwrap().remove("merge").is_some();
        match objects.iter_mut().find(|known| named(known) == key) {
            Some(known) if merge => json_patch::merge(known, &object),
            Some(known) => *known = object,
            None => objects.push(object),
        }
    }
    objects
}

/// The store of a case, with what the case says of kinds that cannot be seen.
fn store(case: &Path) -> Store {
    let mut store = manifests::store(cluster(case), true);
    for line in fs::read_to_string(case).unwrap().lines() {
        if let Some(kind) = line.strip_prefix("# forbidden: ") {
            store.apply(Change::Replace(Kind::parse(kind).unwrap(), Vec::new()));
            store.apply(Change::Forbidden(Kind::parse(kind).unwrap()));
        }
    }
    store
}

fn cases() -> Vec<std::path::PathBuf> {
    let mut all: Vec<_> = fs::read_dir(folder().join("cases")).unwrap().map(|entry| entry.unwrap().path()).collect();
    all.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    all.sort();
    all
}

fn id(case: &Path) -> String {
    case.file_stem().unwrap().to_str().unwrap().split('-').next().unwrap().to_owned()
}

#[test]
fn where_all_is_well_nothing_is_found() {
    let report = triage(&manifests::store(read(&folder().join("base.yaml")), true), Some(now()));
    assert_eq!(report.findings, Vec::new());
}

#[test]
fn what_is_broken_is_found() {
    let update = std::env::var_os("GWTOP_UPDATE").is_some();
    let mut wrong = Vec::new();
    for case in cases() {
        let report = triage(&store(&case), Some(now()));
        let text: String = report.findings.iter().map(|one| human::finding(one) + "\n").collect();
        let (golden, id) = (case.with_extension("txt"), id(&case));
        if update {
            fs::write(&golden, &text).unwrap();
        }
        if !report.findings.iter().any(|finding| finding.id == id) {
            wrong.push(format!("{}: no {id} in\n{text}", case.display()));
        } else if fs::read_to_string(&golden).unwrap_or_default() != text {
            wrong.push(format!("{}: differs from its golden text:\n{text}", case.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_rule_has_a_case() {
    let cases: BTreeSet<String> = cases().iter().map(|case| id(case)).collect();
    let rules: BTreeSet<String> = RULES.iter().map(|rule| rule.id.to_owned()).collect();
    assert_eq!(cases, rules);
}

/// The page of all rules, as `docs/findings.md` has to be.
fn page() -> String {
    let mut text = String::from(
        "# Findings\n\n\
         What `gwtop why`, `gwtop status` and the console find in a cluster: every rule with its id, which never \
         changes. Each is computed from the objects alone; those of GWT3xx then compare that with what controllers \
         say. An error keeps requests from being served, a warning may, unknown means that it could not be looked at.\n\n\
         This page is made from the rules themselves: `GWTOP_UPDATE=1 cargo test -p gwtop --test triage`.\n\n\
         | id | severity | what is checked |\n|---|---|---|\n",
    );
    for rule in RULES {
        text +=
            &format!("| [{}](#{}) | {} | {} |\n", rule.id, rule.id.to_lowercase(), rule.severity.word(), rule.title);
    }
    for rule in RULES {
        text += &format!(
            "\n## {}\n\n**{}** ({}). {}\n\n{}\n",
            rule.id,
            rule.title,
            rule.severity.word(),
            rule.why,
            rule.fix
        );
    }
    text
}

#[test]
fn the_page_of_findings_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/findings.md");
    if std::env::var_os("GWTOP_UPDATE").is_some() {
        fs::write(&path, page()).unwrap();
    }
    assert_eq!(fs::read_to_string(&path).unwrap_or_default(), page(), "GWTOP_UPDATE=1 writes it anew");
}

/// The first broken hop of a route, in the way from its parents to its endpoints.
#[test]
fn why_names_the_first_broken_hop() {
    for (case, step, id) in [
        ("GWT102-parent", "parent", "GWT102"),
        ("GWT109-hostname", "hostname", "GWT109"),
        ("GWT108-namespace", "listener", "GWT108"),
        ("GWT013-ended", "tls", "GWT013"),
        ("GWT001-class", "gateway", "GWT001"),
        ("GWT206-grant", "grant", "GWT206"),
        ("GWT203-service", "service", "GWT203"),
        ("GWT208-unready", "endpoints", "GWT208"),
    ] {
        let store = store(&folder().join("cases").join(case).with_extension("yaml"));
        let key = ObjectKey::new(Kind::HttpRoute, "shop", "cart");
        let chain = Triage::new(&store, Some(now())).why(&key).unwrap();
        let hop = &chain.hops[chain.broken.unwrap_or_else(|| panic!("{case}: nothing is broken in {:#?}", chain.hops))];
        assert_eq!((hop.step.word(), hop.id), (step, Some(id)), "{case}: {:#?}", chain.hops);
        assert_eq!(chain.cause().map(|cause| cause.id), Some(id), "{case}");
    }
    let well = manifests::store(read(&folder().join("base.yaml")), true);
    let chain = Triage::new(&well, Some(now())).why(&ObjectKey::new(Kind::HttpRoute, "shop", "cart")).unwrap();
    assert_eq!((chain.broken, &chain.findings[..]), (None, &[][..]), "{:#?}", chain.hops);
}

/// Every place of a value, by pointer.
fn places(value: &Value, at: &str, into: &mut Vec<String>) {
    into.push(at.to_owned());
    match value {
        Value::Object(fields) => {
            for (name, inner) in fields {
                places(inner, &format!("{at}/{}", name.replace('~', "~0").replace('/', "~1")), into);
            }
        }
        Value::Array(items) => {
            for (index, inner) in items.iter().enumerate() {
                places(inner, &format!("{at}/{index}"), into);
            }
        }
        _ => {}
    }
}

fn anything() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        prop::sample::select(vec!["*", "*.", "", "HTTPRoute", "UDP", "None", "Selector", "é*.com", "Service"])
            .prop_map(Value::from),
        Just(Value::Array(Vec::new())),
        Just(serde_json::json!([null, {}, [], "x", 1])),
        Just(serde_json::json!({})),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    #[test]
    fn no_rule_panics_whatever_an_object_looks_like(
        case in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), anything()), 1..6),
    ) {
        let all = cases();
        let mut objects = cluster(&all[case.index(all.len())]);
        for (which, place, value) in changes {
            let at = which.index(objects.len());
            let mut pointers = Vec::new();
            places(&objects[at], "", &mut pointers);
            if let Some(there) = objects[at].pointer_mut(&pointers[place.index(pointers.len())]) {
                *there = value;
            }
        }
        let store = manifests::store(objects, true);
        let triage = Triage::new(&store, Some(now()));
        let _ = triage.all();
        for route in store.routes() {
            prop_assert!(triage.why(&route.key).is_some());
        }
    }
}
