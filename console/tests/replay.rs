//! The console on the recording of an incident: alarm, cause and proof, and the time between them.

#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

use std::time::Duration;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use gwtop::{
    app,
    event::Event,
    picture, recording,
    screen::{Judged, Question, State, Tab},
    theme::Palette,
    update::{Effect, update},
};
use proptest::prelude::*;

const INCIDENT: &str = include_str!("../../assets/incident.jsonl");

fn begun() -> State {
    app::still(recording::read(INCIDENT).unwrap(), Palette::Rgb)
}

fn press(state: &mut State, key: KeyCode) -> Vec<Effect> {
    let effects = update(state, Event::Key(KeyEvent::new(key, KeyModifiers::NONE)));
    let (judge, others) = effects.into_iter().partition::<Vec<_>, _>(|one| matches!(one, Effect::Judge(..)));
    for effect in judge {
        if let Effect::Judge(store, route) = effect {
            let judged = Judged::of(&store, state.wall, route);
            update(state, Event::Judged(Box::new(judged)));
        }
    }
    others
}

fn keys(state: &mut State, keys: &str) {
    for key in keys.chars() {
        press(state, if key == '\x1b' { KeyCode::Esc } else { KeyCode::Char(key) });
    }
}

/// Time goes by, as the loop has it: a beat at a time, and a tick every second.
fn play(state: &mut State, seconds: u64) {
    for _ in 0..seconds {
        for _ in 0..20 {
            update(state, Event::Beat(Duration::from_millis(50)));
        }
        let effects = update(state, Event::Tick);
        for effect in effects {
            if let Effect::Judge(store, route) = effect {
                let judged = Judged::of(&store, state.wall, route);
                update(state, Event::Judged(Box::new(judged)));
            }
        }
    }
}

fn shown(state: &State, width: u16, height: u16) -> String {
    let buffer = picture::screen(state, width, height);
    let row = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned();
    (0..height).map(row).collect::<Vec<_>>().join("\n")
}

#[test]
fn every_screen_of_the_incident_at_every_size() {
    for (width, height) in [(80, 24), (120, 40), (40, 10)] {
        let mut state = begun();
        let shot = |state: &State, name: &str| {
            insta::assert_snapshot!(format!("incident-{name}-{width}x{height}"), shown(state, width, height));
        };
        play(&mut state, 15);
        shot(&state, "well");
        keys(&mut state, "3");
        shot(&state, "well-backends");
        keys(&mut state, "1}");
        play(&mut state, 1);
        shot(&state, "alarm");
        keys(&mut state, "w");
        shot(&state, "cause");
        keys(&mut state, "\x1b2");
        shot(&state, "gateways");
        keys(&mut state, "5 ");
        play(&mut state, 60);
        shot(&state, "proof");
    }
}

#[test]
fn the_incident_is_told_from_alarm_to_proof() {
    let mut state = begun();
    play(&mut state, 15);
    let well = shown(&state, 120, 40);
    assert!(well.contains("0% err") && !well.contains("1 problem"), "{well}");
    keys(&mut state, "}");
    play(&mut state, 1);
    assert!(!state.player.as_ref().unwrap().playing, "it stands where the problem begins");
    let alarm = shown(&state, 120, 40);
    assert!(alarm.contains("BackendNotFound") && alarm.contains("1 problem"), "{alarm}");
    keys(&mut state, "w");
    let cause = shown(&state, 120, 40);
    assert!(cause.contains("Why HTTPRoute shop/storefront") && cause.contains("port 8080"), "{cause}");
    keys(&mut state, "\x1b5 ");
    play(&mut state, 60);
    let told = shown(&state, 140, 40);
    for text in ["spec.ports[0].port 8080 to 80", "of all requests fail", "requests succeed again"] {
        assert!(told.contains(text), "{text}:\n{told}");
    }
    assert!(!told.contains("1 problem"), "{told}");
}

#[test]
fn time_goes_where_it_is_told_and_back() {
    let mut state = begun();
    play(&mut state, 10);
    let then = (shown(&state, 120, 40), state.wall);
    assert_eq!(state.wall.duration_since(state.player.as_ref().unwrap().start()).as_secs(), 10);
    press(&mut state, KeyCode::Right);
    press(&mut state, KeyCode::Right);
    assert_eq!(state.wall.duration_since(then.1).as_secs(), 20);
    assert!(state.store.routes().any(|route| route.key.name == "storefront"));
    press(&mut state, KeyCode::Left);
    press(&mut state, KeyCode::Left);
    play(&mut state, 0);
    assert_eq!((shown(&state, 120, 40), state.wall), then, "what was shown then is shown again");
    // Faster, to the end, and from the beginning again.
    keys(&mut state, "]]]]]]");
    play(&mut state, 2);
    assert!(shown(&state, 120, 40).contains("the recording ends here"));
    keys(&mut state, " ");
    let player = state.player.as_ref().unwrap();
    assert!(player.playing && player.clock() == player.start());
}

#[test]
fn a_recording_is_only_looked_at() {
    let mut state = begun();
    play(&mut state, 5);
    keys(&mut state, "e");
    assert!(state.screen.editor.is_none() && shown(&state, 120, 40).contains("cannot be written to"));
    let save = KeyEvent::new(KeyCode::Char('s'), KeyModifiers::CONTROL);
    assert!(update(&mut state, Event::Key(save)).is_empty());
    for c in ":ctx other\r".chars() {
        let code = if c == '\r' { KeyCode::Enter } else { KeyCode::Char(c) };
        assert!(press(&mut state, code).is_empty());
    }
    assert!(shown(&state, 120, 40).contains("it has one context"));
}

/// What a live console heard is saved, and played again it shows the same.
#[test]
fn what_was_heard_can_be_saved_after_the_fact() {
    let mut played = begun();
    play(&mut played, 70);
    let mut live = State::new("gwtop-demo".to_owned(), played.theme.clone(), played.now, played.wall);
    let recorded = recording::read(INCIDENT).unwrap();
    let mut player = recording::player::Player::new(recorded, live.now);
    for (at, event) in player.advance(Duration::from_secs(70)) {
        (live.wall, live.now) = (at, player.instant_of(at));
        update(&mut live, event);
    }
    let save = KeyEvent::new(KeyCode::Char('s'), KeyModifiers::CONTROL);
    let effects = update(&mut live, Event::Key(save));
    let [Effect::Save(lines)] = effects.as_slice() else { panic!("{effects:?}") };
    let mut file = Vec::new();
    recording::head(&mut file, "gwtop-demo").unwrap();
    for line in lines {
        recording::write(&mut file, line).unwrap();
    }
    let mut again = app::still(recording::read(&String::from_utf8(file).unwrap()).unwrap(), Palette::Rgb);
    play(&mut again, 80);
    let texts = |state: &State| state.timeline.moments().map(|moment| moment.text.clone()).collect::<Vec<_>>();
    let without_shares = |all: Vec<String>| all.into_iter().filter(|text| !text.contains('%')).collect::<Vec<_>>();
    assert_eq!(without_shares(texts(&again)), without_shares(texts(&live)));
    let routes = |state: &State| state.store.routes().map(|route| format!("{route:?}")).collect::<Vec<_>>();
    assert_eq!(routes(&again), routes(&live));
}

#[test]
fn another_context_begins_with_nothing_of_the_one_before() {
    let mut state = begun();
    play(&mut state, 15);
    state.player = None;
    state.readonly = false;
    keys(&mut state, "w:ctx other");
    let effects = press(&mut state, KeyCode::Enter);
    assert!(matches!(effects.as_slice(), [Effect::Connect(context)] if context == "other"), "{effects:?}");
    let text = shown(&state, 120, 40);
    assert!(text.contains("other") && text.contains("connecting") && !text.contains("storefront"), "{text}");
    assert!(state.screen.pages.is_empty() && state.timeline.moments().len() == 0 && state.ring.lines().is_empty());
}

#[test]
fn questions_have_pages_of_their_own() {
    let mut state = begun();
    play(&mut state, 5);
    let effects = press(&mut state, KeyCode::Char('E'));
    let [Effect::Ask(question)] = effects.as_slice() else { panic!("{effects:?}") };
    assert!(matches!(question, Question::Events(Some(_))));
    assert!(shown(&state, 120, 40).contains("asking"));
    update(&mut state, Event::Told(question.clone(), Ok(vec!["5m  Warning  Odd  it is so".to_owned()])));
    assert!(shown(&state, 120, 40).contains("it is so"));
    // The answer to another question is not shown.
    update(&mut state, Event::Told(Question::Audit, Err("no".to_owned())));
    assert!(!shown(&state, 120, 40).contains("it is so"));
    keys(&mut state, "\x1b");
    assert_eq!(state.screen.tab, Tab::Routes);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    /// Any way through a recording ends where the straight one ends, and nothing panics on it.
    #[test]
    fn any_way_through_the_recording_shows_the_same_in_the_end(
        steps in prop::collection::vec((0..9usize, 1..400u64), 1..25), width in 1..140u16, height in 1..45u16,
    ) {
        let mut state = begun();
        for (key, beat) in steps {
            let codes = [KeyCode::Left, KeyCode::Right, KeyCode::Char('}'), KeyCode::Char('{'), KeyCode::Char(' '),
                KeyCode::Char(']'), KeyCode::Char('['), KeyCode::Tab, KeyCode::Char('w')];
            press(&mut state, codes[key]);
            update(&mut state, Event::Beat(Duration::from_millis(beat)));
            let _ = picture::screen(&state, width, height);
        }
        let end = state.player.as_ref().unwrap().end();
        while state.wall < end {
            press(&mut state, KeyCode::Right);
        }
        let mut straight = begun();
        update(&mut straight, Event::Beat(Duration::from_secs(3600)));
        let objects = |state: &State| state.store.routes().map(|route| format!("{route:?}")).collect::<Vec<_>>();
        prop_assert_eq!(objects(&state), objects(&straight));
        let texts = |state: &State| state.timeline.moments().map(|moment| moment.text.clone()).collect::<Vec<_>>();
        prop_assert_eq!(texts(&state), texts(&straight));
    }
}
