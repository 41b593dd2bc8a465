//! Whole screens at fixed sizes, driven by events, with a clock that stands still.

#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

use std::time::{Duration, Instant};

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use gwtop::{
    cluster::send::Outcome,
    event::{Event, Link},
    model::{key::Kind, object::Object, store::Change},
    picture,
    screen::{Judged, State},
    theme::{Role, Theme},
    traffic::{parse::parse, scrape::Scrape},
    update::{Effect, update},
};
use proptest::prelude::*;
use ratatui::buffer::Buffer;
use serde_json::{Value, json};

fn fresh() -> State {
    let mut state =
        State::new("prod-eu".to_owned(), Theme::default(), Instant::now(), "2026-03-01T12:00:00Z".parse().unwrap());
    state.screen.height = 19;
    state
}

fn parent(status: [&str; 2], reasons: [&str; 2], generation: i64) -> Value {
    let condition = |kind: &str, index: usize| {
        json!({"type": kind, "status": status[index], "reason": reasons[index], "message": format!("why {kind} is so"),
            "observedGeneration": generation, "lastTransitionTime": "2026-03-01T11:00:00Z"})
    };
    json!({"parentRef": {"name": "prod", "namespace": "infra"}, "controllerName": "gwtop.dev/gwproxy",
        "conditions": [condition("Accepted", 0), condition("ResolvedRefs", 1)]})
}

fn route(namespace: &str, name: &str, backends: Value, parent: Value) -> Object {
    Object::from(json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": {"name": name, "namespace": namespace, "uid": format!("uid-{name}"), "generation": 2,
            "creationTimestamp": "2026-02-20T12:00:00Z"},
        "spec": {"hostnames": [format!("{name}.example.com")], "parentRefs": [{"name": "prod", "namespace": "infra"}],
            "rules": [{"matches": [{"path": {"type": "PathPrefix", "value": "/"}}], "backendRefs": backends}]},
        "status": {"parents": [parent]},
    }))
}

fn slice(namespace: &str, service: &str, ready: usize) -> Object {
    let endpoints = vec![json!({"addresses": ["10.0.0.1"], "conditions": {"ready": true}}); ready];
    Object::from(json!({"metadata": {"name": format!("{service}-1"), "namespace": namespace,
        "labels": {"kubernetes.io/service-name": service}}, "endpoints": endpoints}))
}

fn live() -> State {
    let mut state = fresh();
    let good = || parent(["True", "True"], ["Accepted", "ResolvedRefs"], 2);
    let pair = json!([{"name": "app-v1", "port": 8080, "weight": 95}, {"name": "app-v2", "port": 8080, "weight": 5}]);
    let single = |name: &str| json!([{"name": name, "port": 8080}]);
    let routes = vec![
        route("my-app", "app-canary", pair, good()),
        route("shop", "storefront", single("catalog"), good()),
        route("shop", "stale", single("catalog"), parent(["True", "True"], ["Accepted", "ResolvedRefs"], 1)),
        route("payments", "refunds", single("nope"), parent(["True", "False"], ["Accepted", "BackendNotFound"], 2)),
        route(
            "staging",
            "preview",
            single("preview"),
            parent(["False", "True"], ["NotAllowedByListeners", "ResolvedRefs"], 2),
        ),
    ];
    let gateway = json!({"metadata": {"name": "prod", "namespace": "infra", "generation": 1},
        "spec": {"gatewayClassName": "gwproxy", "listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}]},
        "status": {"addresses": [{"value": "127.0.64.1"}],
            "conditions": [{"type": "Programmed", "status": "True", "reason": "Programmed", "observedGeneration": 1}],
            "listeners": [{"name": "http", "attachedRoutes": 4, "conditions": []}]}});
    let slices = vec![
        slice("my-app", "app-v1", 2),
        slice("my-app", "app-v2", 1),
        slice("shop", "catalog", 3),
        slice("payments", "nope", 0),
        slice("staging", "preview", 1),
    ];
    update(&mut state, Event::Link(Link::Up { context: "prod-eu".to_owned(), url: "https://api".to_owned() }));
    update(&mut state, Event::Change(Change::Replace(Kind::HttpRoute, routes)));
    update(&mut state, Event::Change(Change::Replace(Kind::Gateway, vec![gateway.into()])));
    update(&mut state, Event::Change(Change::Replace(Kind::EndpointSlice, slices)));
    state
}

fn key(code: KeyCode) -> Event {
    Event::Key(KeyEvent::new(code, KeyModifiers::NONE))
}

/// What is left to be done after judgements have been made, as the loop makes them.
fn done(state: &mut State, effects: Vec<Effect>) -> Vec<Effect> {
    let mut left = Vec::new();
    for effect in effects {
        match effect {
            Effect::Judge(store, route) => {
                let judged = Judged::of(&store, state.wall, route);
                update(state, Event::Judged(Box::new(judged)));
            }
            Effect::Seek(seek) => {
                let lines = gwtop::view::text_of_page(state);
                update(state, Event::Text(seek, lines));
            }
            other => left.push(other),
        }
    }
    left
}

fn press(state: &mut State, keys: &str) -> Vec<Effect> {
    keys.chars()
        .flat_map(|c| {
            let code = match c {
                '\r' => KeyCode::Enter,
                '\x1b' => KeyCode::Esc,
                c => KeyCode::Char(c),
            };
            let effects = update(state, key(code));
            done(state, effects)
        })
        .collect()
}

/// A second goes by.
fn tick(state: &mut State) {
    let effects = update(state, Event::Tick);
    assert!(done(state, effects).is_empty());
}

fn text(buffer: &Buffer) -> String {
    let area = buffer.area;
    let row = |y| (0..area.width).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned();
    (0..area.height).map(row).collect::<Vec<_>>().join("\n")
}

fn shown(state: &State, width: u16, height: u16) -> String {
    text(&picture::screen(state, width, height))
}

#[test]
fn every_screen_at_every_size() {
    for (name, keys) in [
        ("routes", ""),
        ("gateways", "2"),
        ("backends", "3"),
        ("detail", "\r"),
        ("yaml", "y"),
        ("help", "?"),
        ("canary", "/app-canary\rp+"),
        ("confirm", "/app-canary\rp+\r"),
        ("command", ":gw"),
        ("findings", "4"),
        ("why", "/refunds\rw"),
        ("tree", "2t"),
        ("endpointslices", ":endpointslices\r"),
        ("find", "y/weight\r"),
        ("edit", "/app-canary\re"),
    ] {
        for (width, height) in [(80, 24), (120, 40), (40, 10)] {
            let mut state = live();
            tick(&mut state);
            press(&mut state, keys);
            insta::assert_snapshot!(format!("{name}-{width}x{height}"), shown(&state, width, height));
        }
    }
}

#[test]
fn the_states_of_no_data_differ() {
    let mut seen = Vec::new();
    let up = Event::Link(Link::Up { context: "prod-eu".to_owned(), url: "https://api".to_owned() });
    let mut state = fresh();
    seen.push(shown(&state, 80, 24));
    assert!(seen[0].contains("connecting to prod-eu"), "{}", seen[0]);
    update(&mut state, Event::Link(Link::Down("connection refused".to_owned())));
    seen.push(shown(&state, 80, 24));
    assert!(seen[1].contains("API lost") && seen[1].contains("connection refused"), "{}", seen[1]);
    update(&mut state, up);
    seen.push(shown(&state, 80, 24));
    for (change, word) in [
        (Change::Replace(Kind::HttpRoute, Vec::new()), "no httproutes in this cluster"),
        (Change::Forbidden(Kind::HttpRoute), "forbidden"),
        (Change::Missing(Kind::HttpRoute), "CRDs are not installed"),
        (Change::Lost(Kind::HttpRoute, "boom".to_owned()), "boom"),
    ] {
        update(&mut state, Event::Change(change));
        let text = shown(&state, 80, 24);
        assert!(text.contains(word), "{text}");
        assert!(!seen.contains(&text));
        seen.push(text);
    }
}

#[test]
fn findings_come_without_being_asked_for_and_lead_to_the_cause() {
    let mut state = live();
    press(&mut state, "4");
    assert!(shown(&state, 120, 40).contains("looking for problems"));
    tick(&mut state);
    let text = shown(&state, 120, 40);
    assert!(text.contains("GWT") && text.contains("HTTPRoute payments/refunds"), "{text}");
    press(&mut state, "/refunds\r\r");
    let text = shown(&state, 120, 40);
    assert!(text.contains("Why HTTPRoute payments/refunds") && text.contains("broken at its"), "{text}");
    // What has changed is judged again while it is looked at.
    let mended = route("payments", "refunds", json!([]), parent(["True", "True"], ["Accepted", "ResolvedRefs"], 2));
    update(&mut state, Event::Change(Change::Apply(Kind::HttpRoute, mended)));
    tick(&mut state);
    assert_ne!(shown(&state, 120, 40), text);
}

#[test]
fn a_fix_goes_to_the_clipboard() {
    let mut state = live();
    tick(&mut state);
    let effects = press(&mut state, "/preview\rwc");
    let [Effect::Copy(text)] = effects.as_slice() else { panic!("{effects:?}") };
    assert!(!text.is_empty());
    press(&mut state, "\x1b");
    let effects = press(&mut state, "c");
    let [Effect::Copy(text)] = effects.as_slice() else { panic!("{effects:?}") };
    assert_eq!(text, "staging/preview");
}

#[test]
fn a_text_is_found_in_a_page_and_found_again() {
    let mut state = live();
    press(&mut state, "/app-canary\ry/weight\r");
    let first = state.screen.pages[0].scroll;
    assert!(shown(&state, 120, 12).contains("weight: 95"), "{}", shown(&state, 120, 12));
    press(&mut state, "n");
    assert!(state.screen.pages[0].scroll > first);
    press(&mut state, "n");
    assert_eq!(state.screen.pages[0].scroll, first, "round the end");
    press(&mut state, "/nonsense\r");
    assert!(shown(&state, 120, 40).contains("no nonsense on this page"));
}

#[test]
fn any_kind_is_listed_and_themes_change_at_once() {
    let mut state = live();
    press(&mut state, ":endpointslices\r");
    let text = shown(&state, 120, 40);
    assert!(text.contains("EndpointSlice 5") && text.contains("catalog-1"), "{text}");
    press(&mut state, ":listenersets\r");
    assert!(shown(&state, 120, 40).contains("loading listenersets"));
    update(&mut state, Event::Change(Change::Missing(Kind::ListenerSet)));
    assert!(shown(&state, 120, 40).contains("does not serve listenersets"));
    let before = state.theme.clone();
    press(&mut state, ":theme nord\r");
    assert!(state.theme.name == "nord" && state.theme != before);
    press(&mut state, ":theme nonsense\r");
    assert!(state.theme.name == "nord" && shown(&state, 120, 40).contains("no theme nonsense"));
    press(&mut state, ":theme\r");
    assert_eq!(state.theme.name, "solarized-dark");
}

#[test]
fn status_is_glyph_word_and_colour() {
    let state = live();
    let buffer = picture::screen(&state, 80, 24);
    let rows = text(&buffer);
    for (glyph, word, role) in [
        ("✗", "NotAllowedByListeners", Role::Bad),
        ("▲", "BackendNotFound", Role::Warn),
        ("◷", "ObservedGeneration", Role::Stale),
        ("●", "OK", Role::Ok),
    ] {
        let y = rows
            .lines()
            .position(|line| line.contains(word) && line.contains(glyph))
            .unwrap_or_else(|| panic!("{word}\n{rows}"));
        let x = (0..80).find(|x| buffer[(*x, y as u16)].symbol() == glyph).unwrap();
        assert_eq!(Some(buffer[(x, y as u16)].fg), state.theme.style(role).fg, "{word}");
    }
    // Problems first.
    let place = |word: &str| rows.find(word).unwrap();
    assert!(place("preview") < place("refunds") && place("refunds") < place("storefront"), "{rows}");
}

#[test]
fn the_selection_stays_with_its_object() {
    let mut state = live();
    press(&mut state, "jj");
    let chosen = state.screen.selection().cloned();
    let broken = route("aaa", "aaa", json!([]), parent(["False", "True"], ["NoMatchingParent", "ResolvedRefs"], 2));
    update(&mut state, Event::Change(Change::Apply(Kind::HttpRoute, broken)));
    assert_eq!(state.screen.selection(), chosen.as_ref());
}

#[test]
fn a_write_needs_a_confirmation_and_carries_its_tests() {
    let mut state = live();
    assert!(press(&mut state, "/app-canary\rp+\r").is_empty());
    let asked = shown(&state, 120, 40);
    assert!(
        asked.contains("prod-eu") && asked.contains("my-app/app-canary") && asked.contains("weight: 90"),
        "{asked}"
    );
    assert!(press(&mut state, "\x1b").is_empty());
    // In a context that is called production a slip of the finger is not enough.
    assert!(press(&mut state, "\ry\r").is_empty());
    assert!(shown(&state, 120, 40).contains("type app-canary"));
    let effects = press(&mut state, "\x1b\rapp-canary\r");
    let [Effect::Send(plan)] = effects.as_slice() else { panic!("{effects:?}") };
    let mut object = state.store.get(&plan.target).unwrap().value();
    json_patch::patch(&mut object, &plan.patch).unwrap();
    assert_eq!(object.pointer("/spec/rules/0/backendRefs/1/weight"), Some(&json!(10)));
    // Rows change only when the watch confirms.
    assert!(shown(&state, 120, 40).contains("sending"));
}

/// Types into the editor: `from` becomes `to` on the line that has it.
fn retype(state: &mut State, from: &str, to: &str) {
    let editor = state.screen.editor.as_mut().unwrap();
    let text = editor.area.lines().join("\n");
    assert!(text.contains(from), "{text}");
    editor.area = tui_textarea::TextArea::new(text.replace(from, to).lines().map(str::to_owned).collect());
}

fn save(state: &mut State) -> Vec<Effect> {
    update(state, Event::Key(KeyEvent::new(KeyCode::Char('s'), KeyModifiers::CONTROL)))
}

#[test]
fn an_edit_is_rehearsed_shown_written_and_taken_back() {
    let mut state = live();
    state.context = "staging".to_owned();
    press(&mut state, "/app-canary\re");
    let text = shown(&state, 120, 40);
    assert!(text.contains("Edit HTTPRoute my-app/app-canary") && !text.contains("status:"), "{text}");
    // What cannot be meant is told on its line before the API is asked.
    retype(&mut state, "name: app-canary", "name: other");
    assert!(save(&mut state).is_empty());
    assert!(shown(&state, 120, 40).contains("metadata.name"), "{}", shown(&state, 120, 40));
    retype(&mut state, "name: other", "name: app-canary");
    retype(&mut state, "weight: 95", "weight: 60");
    let mut effects = save(&mut state);
    let Some(Effect::Rehearse(plan)) = effects.pop() else { panic!("{effects:?}") };
    let refused =
        "HTTPRoute \"app-canary\" is invalid: spec.rules[0].backendRefs[0].weight: Invalid value: 60".to_owned();
    update(&mut state, Event::Rehearsed(plan.clone(), Err(refused)));
    let row = state.screen.editor.as_ref().unwrap().area.cursor().0;
    assert!(state.screen.editor.as_ref().unwrap().area.lines()[row].contains("weight: 60"));
    assert!(state.screen.dialog.is_none());
    update(&mut state, Event::Rehearsed(plan, Ok(())));
    let text = shown(&state, 120, 40);
    assert!(text.contains("weight: 95") && text.contains("weight: 60"), "{text}");
    let mut effects = press(&mut state, "y");
    let Some(Effect::Send(plan)) = effects.pop() else { panic!("{effects:?}") };
    let mut object = state.store.get(&plan.target).unwrap().value();
    json_patch::patch(&mut object, &plan.patch).unwrap();
    let applied = Outcome::Applied { resource_version: "2".to_owned(), object: object.clone() };
    update(&mut state, Event::Outcome(plan, applied));
    assert!(state.screen.editor.is_none() && shown(&state, 120, 40).contains("done:"));
    // And back, while what was written still stands.
    let mut effects = press(&mut state, "uy");
    let Some(Effect::Send(plan)) = effects.pop() else { panic!("{effects:?}") };
    json_patch::patch(&mut object, &plan.patch).unwrap();
    assert_eq!(object, state.store.get(&plan.target).unwrap().value());
    update(&mut state, Event::Outcome(plan, Outcome::Applied { resource_version: "3".to_owned(), object }));
    assert!(press(&mut state, "u").is_empty() && state.screen.dialog.is_none());
}

#[test]
fn changes_are_not_thrown_away_by_one_key() {
    let mut state = live();
    press(&mut state, "/app-canary\re");
    press(&mut state, "x\x1b");
    assert!(state.screen.editor.is_some());
    press(&mut state, "\x1b");
    assert!(state.screen.editor.is_none());
    let mut state = live();
    state.readonly = true;
    press(&mut state, "e");
    assert!(state.screen.editor.is_none() && shown(&state, 120, 40).contains("read-only"));
}

#[test]
fn nothing_is_written_read_only_or_offline() {
    let mut state = live();
    state.readonly = true;
    assert!(press(&mut state, "/app-canary\rp+\ryRy").is_empty());
    assert!(state.screen.dialog.is_none());
    let mut state = live();
    update(&mut state, Event::Link(Link::Down("gone".to_owned())));
    assert!(press(&mut state, "/app-canary\rp+\ryRyay").is_empty());
}

#[test]
fn lost_data_is_dimmed_and_dated() {
    let mut state = live();
    update(&mut state, Event::Link(Link::Down("connection refused".to_owned())));
    state.now += Duration::from_secs(42);
    let buffer = picture::screen(&state, 80, 24);
    let text = text(&buffer);
    assert!(text.contains("API lost 42s ago") && text.contains("storefront"), "{text}");
    assert!(buffer[(4, 4)].modifier.contains(ratatui::style::Modifier::DIM));
}

#[test]
fn too_small_says_so() {
    let text = shown(&live(), 20, 5);
    assert_eq!(text.split_whitespace().collect::<Vec<_>>().join(" "), "terminal 20x5: gwtop needs 40x10");
}

#[test]
fn metrics_join_the_rows() {
    let mut state = live();
    let labels = "gateway_namespace=\"infra\",gateway=\"prod\",listener=\"http\",route_kind=\"HTTPRoute\",route_namespace=\"shop\",route=\"storefront\",rule=\"0\",backend_namespace=\"shop\",backend=\"catalog\",backend_port=\"8080\"";
    for (second, count) in [(0, 0), (5, 1000), (10, 2000)] {
        let at = state.now + Duration::from_secs(second);
        let text =
            format!("# TYPE gwproxy_requests_total counter\ngwproxy_requests_total{{{labels},code=\"200\"}} {count}\n");
        update(&mut state, Event::Scrape(Scrape { at, source: "test".to_owned(), samples: Ok(parse(&text)) }));
    }
    let text = shown(&state, 120, 40);
    let row = text.lines().find(|line| line.contains("storefront")).unwrap();
    assert!(row.contains("200"), "{text}");
}

#[test]
fn a_picture_is_the_screen() {
    let buffer = picture::screen(&live(), 80, 24);
    let svg = picture::svg(&buffer, "a < b");
    assert!(svg.contains("a &lt; b") && svg.contains("NotAllowedByListeners"));
    assert_eq!(svg, picture::svg(&buffer, "a < b"));
}

fn any_event() -> impl Strategy<Value = (Option<KeyEvent>, u8)> {
    let code = prop_oneof![
        "[ -~]".prop_map(|s: String| KeyCode::Char(s.chars().next().unwrap())),
        any::<char>().prop_map(KeyCode::Char),
        Just(KeyCode::Enter),
        Just(KeyCode::Esc),
        Just(KeyCode::Tab),
        Just(KeyCode::Backspace),
        Just(KeyCode::Up),
        Just(KeyCode::PageDown),
        Just(KeyCode::End),
    ];
    let modifiers = prop_oneof![Just(KeyModifiers::NONE), Just(KeyModifiers::CONTROL), Just(KeyModifiers::ALT)];
    (
        proptest::option::weighted(0.8, (code, modifiers).prop_map(|(code, modifiers)| KeyEvent::new(code, modifiers))),
        any::<u8>(),
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn nothing_panics(events in proptest::collection::vec((any_event(), 1u16..130, 1u16..45), 1..40)) {
        let mut state = live();
        for ((event, choice), width, height) in events {
            match event {
                Some(key) => {
                    let effects = update(&mut state, Event::Key(key));
                    done(&mut state, effects);
                }
                None => {
                    let routes: Vec<_> = state.store.routes().map(|route| route.key.clone()).collect();
                    let change = match (choice % 5, routes.first()) {
                        (0, Some(key)) => Change::Delete(key.clone()),
                        (1, _) => Change::Apply(Kind::HttpRoute, Object::from(json!({"metadata": {"name": "odd"}, "spec": {"rules": [null, 3, {"backendRefs": [{}, []]}]}, "status": 7}))),
                        (2, _) => Change::Replace(Kind::HttpRoute, Vec::new()),
                        (3, _) => {
                            tick(&mut state);
                            continue;
                        }
                        _ => Change::Lost(Kind::Gateway, "x".to_owned()),
                    };
                    update(&mut state, Event::Change(change));
                }
            }
            picture::screen(&state, width, height);
        }
    }
}
