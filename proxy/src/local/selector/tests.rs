use proptest::prelude::*;
use serde_json::json;

use super::*;

fn matches(selector: &str, labels: &Value) -> bool {
    parse_labels(selector).unwrap_or_else(|why| panic!("{selector}: {why}")).iter().all(|r| r.matches(labels))
}

#[test]
fn the_whole_grammar_is_understood() {
    let labels = json!({"app": "web", "tier": "front", "n": "5", "empty": ""});
    for selector in [
        "",
        "app=web",
        "app == web , tier!=back",
        "app in (web, api),tier notin (back)",
        "app,!gone",
        "n>4,n<6",
        "empty=",
        "gone notin (x)",
        "gone!=x",
        "empty in (,x)",
        "! gone",
    ] {
        assert!(matches(selector, &labels), "{selector}");
    }
    for selector in ["app=api", "app!=web", "!app", "gone", "gone=", "app in (api)", "app notin (web)", "n>5", "app>1"]
    {
        assert!(!matches(selector, &labels), "{selector}");
    }
}

#[test]
fn what_is_not_a_selector_is_refused() {
    for selector in
        ["=", "app=web=x", "app in web", "app in (web", "a b", ",", "app,", "a=$", "/x=1", "n>x", "app in ("]
    {
        assert!(parse_labels(selector).is_err(), "{selector}");
    }
    let many = vec!["a"; MAX_REQUIREMENTS + 1].join(",");
    assert!(parse_labels(&many).is_err());
}

#[test]
fn field_selectors_take_known_fields_only() {
    let registry = crate::local::Registry::builtin();
    let pods = registry.find("", "v1", "pods").unwrap();
    let key = Key::new("", "pods", "default", "a");
    let pod = json!({"metadata": {"name": "a"}, "spec": {"nodeName": "n1"}, "status": {"phase": "Running"}});
    let check = |fields: &str| Selector::parse(&pods, "", fields).map(|selector| selector.matches(&key, &pod));
    assert_eq!(check("metadata.name=a,status.phase!=Failed,spec.nodeName==n1"), Ok(true));
    assert_eq!(check("metadata.namespace=other"), Ok(false));
    assert_eq!(check("status.podIP="), Ok(true));
    let error = check("spec.hostname=x").unwrap_err();
    assert_eq!((error.code(), error.message()), (400, "field label not supported: spec.hostname"));
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,60}") {
        let _ = parse_labels(&text);
    }

    #[test]
    fn in_and_notin_are_opposites(
        key in "[a-z]{1,8}(/[a-z]{1,8})?",
        values in prop::collection::vec("[A-Za-z0-9]{0,5}", 1..5),
        value in "[A-Za-z0-9]{0,5}",
        spaces in " {0,2}",
    ) {
        let list = values.join(&format!("{spaces},{spaces}"));
        let labels = json!({key.as_str(): value.as_str()});
        let inside = matches(&format!("{key} in ({spaces}{list}{spaces})"), &labels);
        prop_assert_eq!(inside, values.contains(&value));
        prop_assert_eq!(inside, !matches(&format!("{key} notin ({list})"), &labels));
        let each = values.iter().any(|wanted| matches(&format!("{key}={wanted}"), &labels));
        prop_assert_eq!(inside, each);
    }
}
