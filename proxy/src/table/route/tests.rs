use std::time::Duration;

use http::StatusCode;
use proptest::prelude::*;

use super::*;
use crate::{
    metrics::{Registry, SeriesKey},
    table::{HeaderEdits, HostMap, Outcome, Protocol, RouteId, Timeouts},
    types::Key,
};

/// A rule that does nothing, to tell one from another by its labels.
fn rule(route: &str, index: usize) -> Arc<Rule> {
    let (namespace, name) = route.split_once('/').expect("tests name routes as namespace/name");
    let series = Registry::new(1).series(SeriesKey::default());
    Arc::new(Rule {
        route: RouteId { kind: "HTTPRoute", key: Key::new(namespace, name), rule: index, rule_name: None },
        request_headers: HeaderEdits::default(),
        response_headers: HeaderEdits::default(),
        mirrors: Vec::new(),
        timeouts: Timeouts { request: Some(Duration::from_secs(1)), backend_request: None },
        outcome: Outcome::Respond(StatusCode::INTERNAL_SERVER_ERROR, "test"),
        cors: None,
        retry: None,
        series,
    })
}

fn entry(path: PathMatcher, rule: Arc<Rule>) -> RouteMatch {
    RouteMatch { path, method: None, headers: Vec::new(), query: Vec::new(), rule, created: 0, order: 0 }
}

fn prefix(value: &str, route: &str) -> RouteMatch {
    entry(PathMatcher::prefix(value), rule(route, 0))
}

fn exact(value: &str, route: &str) -> RouteMatch {
    entry(PathMatcher::Exact(value.to_owned()), rule(route, 0))
}

fn regex(pattern: &str, route: &str) -> RouteMatch {
    entry(PathMatcher::Regex(Regex::new(&format!("^(?:{pattern})$")).expect("a valid pattern")), rule(route, 0))
}

fn header(name: &'static str, value: &str) -> (HeaderName, ValueMatcher) {
    (HeaderName::from_static(name), ValueMatcher::Exact(value.to_owned()))
}

fn listener(name: &str, routes: Vec<(&str, Vec<RouteMatch>)>) -> Arc<Listener> {
    let mut map = HostMap::default();
    for (host, matches) in routes {
        map.insert(host, Arc::new(Routes::new(matches)));
    }
    Arc::new(Listener {
        protocol: super::super::Protocol::Http,
        streams: HostMap::default(),
        gateway: Key::new("ns", "gw"),
        name: name.to_owned(),
        tls: None,
        routes: map,
        unmatched: Registry::new(1).series(SeriesKey::default()),
    })
}

fn bind(listeners: Vec<(&str, Arc<Listener>)>) -> Bind {
    let mut map = HostMap::default();
    for (host, listener) in listeners {
        map.insert(host, listener);
    }
    Bind {
        address: ([127, 0, 64, 1], 80).into(),
        protocol: Protocol::Http,
        accept_proxy: false,
        listeners: map,
        unmatched: Registry::new(1).series(SeriesKey::default()),
    }
}

/// `host/path?query` to the route that takes it, or why none does.
fn sent(bind: &Bind, url: &str, headers: &HeaderMap) -> String {
    let (host, path) = url.split_at(url.find('/').expect("tests give a path"));
    let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
    match bind.find(&RequestHead { host, method: &Method::GET, path, query, headers }) {
        Found::Rule { found, .. } => found.rule.route.key.to_string(),
        Found::NoRule(listener) => format!("no rule in {}", listener.name),
        Found::NoListener(_) => "no listener".to_owned(),
    }
}

#[test]
fn prefixes_are_whole_path_elements() {
    for (prefix, path, expected) in [
        ("/foo", "/foo", true),
        ("/foo", "/foo/", true),
        ("/foo", "/foo/bar", true),
        ("/foo", "/foobar", false),
        ("/foo", "/fo", false),
        ("/foo/", "/foo", true),
        ("/foo/", "/foo/", true),
        ("/foo/", "/foo/bar", true),
        ("/foo/", "/foobar", false),
        ("/", "/", true),
        ("/", "/anything", true),
        ("/", "*", true),
        ("/aaa/bbb", "/aaa/bbb/ccc", true),
        ("/aaa/bbb", "/aaa/bbbxyz", false),
        ("/Foo", "/foo", false),
    ] {
        let matcher = PathMatcher::prefix(prefix);
        assert_eq!(matcher.matches(path), expected, "{prefix} takes {path}");
        let routes = Routes::new(vec![entry(matcher, rule("ns/a", 0))]);
        let head = RequestHead { host: "", method: &Method::GET, path, query: None, headers: &HeaderMap::new() };
        assert_eq!(routes.find(&head).is_some(), expected, "{prefix} takes {path}, by the index");
    }
}

#[test]
fn one_listener_has_the_request_to_itself() {
    let bind = bind(vec![
        ("", listener("any", vec![("", vec![prefix("/any", "ns/any")])])),
        ("*.example.com", listener("wild", vec![("*.example.com", vec![prefix("/", "ns/wild")])])),
        ("foo.example.com", listener("foo", vec![("foo.example.com", vec![prefix("/foo", "ns/foo")])])),
    ]);
    let none = HeaderMap::new();
    assert_eq!(sent(&bind, "foo.example.com/foo", &none), "ns/foo");
    assert_eq!(sent(&bind, "foo.example.com/other", &none), "no rule in foo");
    assert_eq!(sent(&bind, "bar.example.com/any", &none), "ns/wild");
    assert_eq!(sent(&bind, "example.com/any", &none), "ns/any");
    assert_eq!(sent(&bind, "example.com/", &none), "no rule in any");
    let without_catch_all = self::bind(vec![("a.com", listener("a", vec![]))]);
    assert_eq!(sent(&without_catch_all, "b.com/", &none), "no listener");
}

#[test]
fn less_specific_hostnames_get_what_others_leave() {
    let bind = bind(vec![(
        "",
        listener(
            "any",
            vec![
                ("a.example.com", vec![prefix("/a", "ns/a")]),
                ("*.example.com", vec![prefix("/wild", "ns/wild"), exact("/a", "ns/never")]),
                ("", vec![prefix("/", "ns/any")]),
            ],
        ),
    )]);
    let none = HeaderMap::new();
    assert_eq!(sent(&bind, "a.example.com/a", &none), "ns/a", "a hostname beats a better path");
    assert_eq!(sent(&bind, "a.example.com/wild/x", &none), "ns/wild");
    assert_eq!(sent(&bind, "a.example.com/else", &none), "ns/any");
}

#[test]
fn precedence_from_first_to_last() {
    let with = |mut one: RouteMatch, change: fn(&mut RouteMatch)| {
        change(&mut one);
        one
    };
    let best_first = [
        exact("/foo", "ns/exact"),
        prefix("/foo/bar", "ns/long"),
        with(prefix("/foo", "ns/method"), |one| one.method = Some(Method::GET)),
        with(prefix("/foo", "ns/headers"), |one| one.headers = vec![header("a", "1"), header("b", "1")]),
        with(prefix("/foo", "ns/header"), |one| {
            one.headers = vec![header("a", "1")];
            one.query = vec![("q".to_owned(), ValueMatcher::Exact("1".to_owned()))];
        }),
        with(prefix("/foo", "ns/header-only"), |one| one.headers = vec![header("a", "1")]),
        with(prefix("/foo", "ns/query"), |one| {
            one.query = vec![("q".to_owned(), ValueMatcher::Exact("1".to_owned()))];
        }),
        with(prefix("/foo", "ns/zz-older"), |one| one.created = -5),
        // By the text `namespace/name`: `-` comes before `/`.
        prefix("/foo", "ns-b/a"),
        prefix("/foo", "ns/a"),
        prefix("/foo", "ns/b"),
        entry(PathMatcher::prefix("/foo"), rule("ns/b", 1)),
        with(entry(PathMatcher::prefix("/foo"), rule("ns/b", 1)), |one| one.order = 1),
        regex("/f.*", "ns/regex-long"),
        regex("/.*", "ns/regex"),
        prefix("/", "ns/root"),
    ];
    for (at, one) in best_first.iter().enumerate() {
        assert_eq!(one.cmp(one), Ordering::Equal);
        for later in &best_first[at + 1..] {
            let (one_key, later_key) = (&one.rule.route, &later.rule.route);
            assert_eq!(one.cmp(later), Ordering::Less, "{one_key:?} before {later_key:?}");
            assert_eq!(later.cmp(one), Ordering::Greater, "{later_key:?} after {one_key:?}");
        }
    }
}

#[test]
fn headers_match_whole_values() {
    let mut one = prefix("/", "ns/a");
    one.headers = vec![header("x-version", "one,two")];
    let bind = bind(vec![("", listener("any", vec![("", vec![one])]))]);
    let mut headers = HeaderMap::new();
    assert_eq!(sent(&bind, "a.com/", &headers), "no rule in any");
    headers.append("X-Version", HeaderValue::from_static("one"));
    assert_eq!(sent(&bind, "a.com/", &headers), "no rule in any");
    headers.append("x-version", HeaderValue::from_static("two"));
    assert_eq!(sent(&bind, "a.com/", &headers), "ns/a", "several values count as one, joined by commas");
}

#[test]
fn query_values_are_decoded_and_the_first_counts() {
    let mut one = prefix("/", "ns/a");
    one.query = vec![("animal name".to_owned(), ValueMatcher::Exact("blåhval".to_owned()))];
    let bind = bind(vec![("", listener("any", vec![("", vec![one])]))]);
    let none = HeaderMap::new();
    for (query, expected) in [
        ("animal+name=bl%C3%A5hval", true),
        ("animal%20name=bl%c3%a5hval&other", true),
        ("x=1&animal+name=bl%C3%A5hval&animal+name=dog", true),
        ("animal+name=dog&animal+name=bl%C3%A5hval", false),
        ("animal+name", false),
        ("animal+name=bl%C3%A5hval%", false),
        ("", false),
    ] {
        let expected = if expected { "ns/a" } else { "no rule in any" };
        assert_eq!(sent(&bind, &format!("a.com/?{query}"), &none), expected, "{query}");
    }
    assert_eq!(query::first("a=%zz%4", "a").as_deref(), Some(b"%zz%4".as_slice()), "no escape stays");
    assert_eq!(query::first("a=1", "b"), None);
}

fn any_path() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(vec!["a", "b", "ab", ""]), 0..4)
        .prop_map(|elements| format!("/{}", elements.join("/")))
}

fn any_matcher() -> impl Strategy<Value = PathMatcher> {
    prop_oneof![
        any_path().prop_map(PathMatcher::Exact),
        any_path().prop_map(|path| PathMatcher::prefix(&path)),
        prop::sample::select(vec!["/a.*", "/.*b", "/(a|b)/.*", ".*"])
            .prop_map(|pattern| PathMatcher::Regex(Regex::new(&format!("^(?:{pattern})$")).expect("valid"))),
    ]
}

prop_compose! {
    fn any_match()(
        path in any_matcher(),
        method in prop::option::of(prop::sample::select(vec![Method::GET, Method::POST])),
        header_names in prop::sample::subsequence(vec!["x", "y"], 0..=2),
        value in prop::sample::select(vec!["1", "2"]),
        query in prop::sample::subsequence(vec!["p", "q"], 0..=2),
        name in prop::sample::select(vec!["a/a", "a-b/a", "a/b"]),
        (index, order, created) in (0usize..2, 0usize..2, 0i64..2),
    ) -> RouteMatch {
        RouteMatch {
            path,
            method,
            headers: header_names.into_iter().map(|name| header(name, value)).collect(),
            query: query.into_iter().map(|name| (name.to_owned(), ValueMatcher::Exact("1".to_owned()))).collect(),
            rule: rule(name, index),
            created,
            order,
        }
    }
}

proptest! {
    #[test]
    fn precedence_is_a_total_order(a in any_match(), b in any_match(), c in any_match()) {
        prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
        prop_assert_eq!(a == b, a.cmp(&b).is_eq());
        if a <= b && b <= c {
            prop_assert!(a <= c);
        }
    }

    #[test]
    fn the_index_finds_what_a_scan_finds(
        matches in prop::collection::vec(any_match(), 0..40),
        path in any_path(),
        post in any::<bool>(),
        x in prop::option::of(prop::sample::select(vec!["1", "2"])),
        y in prop::option::of(prop::sample::select(vec!["1", "2"])),
        query in prop::sample::select(vec![None, Some("p=1"), Some("q=1&p=1")]),
    ) {
        let mut headers = HeaderMap::new();
        for (name, value) in [("x", x), ("y", y)] {
            if let Some(value) = value {
                headers.insert(name, HeaderValue::from_static(value));
            }
        }
        let method = if post { Method::POST } else { Method::GET };
        let head = RequestHead { host: "", method: &method, path: &path, query, headers: &headers };
        let naive = matches.iter().filter(|one| one.matches(&head)).min().cloned();
        let routes = Routes::new(matches);
        let found = routes.find(&head);
        // Equal rank is the same rule and position, whatever else the generator made differ.
        prop_assert_eq!(found, naive.as_ref());
        prop_assert!(found.is_none_or(|found| found.matches(&head)));
    }
}
