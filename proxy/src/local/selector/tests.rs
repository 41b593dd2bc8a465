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
    assert_eq!(parse_labels("a in (").unwrap_err(), "found '', expected: ',', ')' or identifier");
    assert_eq!(parse_labels("a in (b").unwrap_err(), "found '', expected: ',' or ')'");
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

/// A requirement as its words say it, apart from the parser and its types.
#[derive(Clone, Debug)]
enum Say {
    Has(String),
    Lacks(String),
    Is(String, &'static str, String),
    IsNot(String, String),
    Among(String, Vec<String>),
    NotAmong(String, Vec<String>),
    Above(String, i64),
    Below(String, i64),
}

impl Say {
    fn text(&self) -> String {
        match self {
            Self::Has(key) => key.clone(),
            Self::Lacks(key) => format!("!{key}"),
            Self::Is(key, sign, value) => format!("{key}{sign}{value}"),
            Self::IsNot(key, value) => format!("{key} != {value}"),
            Self::Among(key, values) => format!("{key} in ({})", values.join(",")),
            Self::NotAmong(key, values) => format!("{key} notin ( {} )", values.join(" , ")),
            Self::Above(key, bound) => format!("{key}>{bound}"),
            Self::Below(key, bound) => format!("{key} < {bound}"),
        }
    }

    fn holds(&self, labels: &std::collections::BTreeMap<String, String>) -> bool {
        match self {
            Self::Has(key) => labels.contains_key(key),
            Self::Lacks(key) => !labels.contains_key(key),
            Self::Is(key, _, value) => labels.get(key) == Some(value),
            Self::IsNot(key, value) => labels.get(key) != Some(value),
            Self::Among(key, values) => labels.get(key).is_some_and(|value| values.contains(value)),
            Self::NotAmong(key, values) => !labels.get(key).is_some_and(|value| values.contains(value)),
            Self::Above(key, bound) => labels.get(key).is_some_and(|text| text.parse().is_ok_and(|n: i64| n > *bound)),
            Self::Below(key, bound) => labels.get(key).is_some_and(|text| text.parse().is_ok_and(|n: i64| n < *bound)),
        }
    }
}

/// Few keys and values, so that they meet; some are the grammar's own words.
fn key() -> impl Strategy<Value = String> {
    prop_oneof![Just("a"), Just("b"), Just("in"), Just("notin"), Just("x.io/a"), Just("A-b_c.d")].prop_map(String::from)
}

fn value() -> impl Strategy<Value = String> {
    prop_oneof![Just(""), Just("a"), Just("in"), Just("5"), Just("6"), Just("05"), Just("v1.2_x-y")]
        .prop_map(String::from)
}

fn say() -> impl Strategy<Value = Say> {
    let values = || prop::collection::vec(value(), 1..4);
    prop_oneof![
        key().prop_map(Say::Has),
        key().prop_map(Say::Lacks),
        (key(), prop_oneof![Just("="), Just("=="), Just(" = ")], value()).prop_map(|(k, s, v)| Say::Is(k, s, v)),
        (key(), value()).prop_map(|(key, value)| Say::IsNot(key, value)),
        (key(), values()).prop_map(|(key, values)| Say::Among(key, values)),
        (key(), values()).prop_map(|(key, values)| Say::NotAmong(key, values)),
        (key(), 3..8i64).prop_map(|(key, bound)| Say::Above(key, bound)),
        (key(), 3..8i64).prop_map(|(key, bound)| Say::Below(key, bound)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn a_selector_holds_where_each_of_its_words_does(
        said in prop::collection::vec(say(), 1..5),
        labels in prop::collection::btree_map(key(), value(), 0..5),
    ) {
        let text = said.iter().map(Say::text).collect::<Vec<_>>().join(", ");
        let expected = said.iter().all(|say| say.holds(&labels));
        prop_assert_eq!(matches(&text, &json!(labels)), expected, "{} on {:?}", text, labels);
    }
}
