use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::json;

use super::{player::Player, ring::Ring, *};
use crate::{event::Event, model::store::Store, traffic::series::Traffic};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_767_225_600 + seconds).expect("a time")
}

fn object(name: &str, generation: i64) -> Object {
    Object::from(json!({"metadata": {"name": name, "namespace": "shop", "generation": generation}}))
}

fn scrape(zero: Instant, second: u64, counts: &[(String, f64)]) -> Scrape {
    let samples = counts.iter().map(|(route, value)| Sample {
        name: "gwproxy_requests_total".to_owned(),
        labels: [("route_kind", "HTTPRoute"), ("route_namespace", "shop"), ("route", route), ("code", "200")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec(),
        value: *value,
    });
    Scrape { at: zero + Duration::from_secs(second), source: "proxy".to_owned(), samples: Ok(samples.collect()) }
}

fn text(lines: &[Line]) -> String {
    let mut out = Vec::new();
    head(&mut out, "prod").expect("memory takes it");
    for line in lines {
        write(&mut out, line).expect("memory takes it");
    }
    String::from_utf8(out).expect("JSON is UTF-8")
}

fn policy() -> Kind {
    PolicyKind {
        group: "example.com".to_owned(),
        name: "RatePolicy".to_owned(),
        plural: "ratepolicies".to_owned(),
        versions: vec!["v1".to_owned()],
        namespaced: true,
    }
    .intern()
}

fn change() -> impl Strategy<Value = Change> {
    let kind = || prop_oneof![Just(Kind::HttpRoute), Just(Kind::Secret), Just(Kind::Gateway), Just(policy())];
    let name = || prop_oneof![Just("a"), Just("b"), Just("日本")];
    prop_oneof![
        (kind(), name(), 1..5i64).prop_map(|(kind, name, generation)| Change::Apply(kind, object(name, generation))),
        (kind(), name()).prop_map(|(kind, name)| Change::Delete(ObjectKey::new(kind, "shop", name))),
        (kind(), 0..3i64).prop_map(|(kind, count)| {
            Change::Replace(kind, ["a", "b"].iter().take(count as usize).map(|name| object(name, count)).collect())
        }),
        kind().prop_map(Change::Loading),
        kind().prop_map(Change::Forbidden),
        kind().prop_map(Change::Missing),
        kind().prop_map(|kind| Change::Lost(kind, "line\nbreak".to_owned())),
        kind().prop_map(|kind| Change::Narrowed(kind, "shop".to_owned())),
    ]
}

fn entry() -> impl Strategy<Value = Entry> {
    let figure = prop_oneof![any::<u32>().prop_map(|value| f64::from(value) / 4.0), Just(f64::INFINITY)];
    prop_oneof![
        4 => change().prop_map(Entry::Change),
        1 => Just(Entry::Link(Link::Down("refused".to_owned()))),
        1 => Just(Entry::Link(Link::Up { context: "prod".to_owned(), url: "https://x".to_owned() })),
        1 => "[a-z \"]{0,12}".prop_map(|text| Entry::Done(Some(ObjectKey::new(Kind::HttpRoute, "shop", "a")), text)),
        2 => (prop::collection::vec((0..9u32, figure), 0..5), prop::collection::vec(0..9u32, 0..3)).prop_map(
            |(values, gone)| Entry::Samples(Samples {
                source: "s".into(),
                problem: None,
                series: vec![(1, Arc::new(Series("m".to_owned(), vec![("l".to_owned(), "v\"".to_owned())])))],
                values,
                gone,
            })
        ),
    ]
}

/// What a screen is made of, as far as the store tells.
fn seen(store: &Store) -> String {
    let mut kinds: Vec<Kind> = store.kinds().collect();
    kinds.sort();
    let of = |kind: Kind| {
        let objects: Vec<_> = store.of_kind(kind).map(|(key, object)| format!("{key} {object}")).collect();
        format!("{kind:?} {:?} {:?} {} {objects:?}", store.feed(kind), store.narrowed(kind), store.sees_any(kind))
    };
    kinds.into_iter().map(of).collect::<Vec<_>>().join("\n")
}

proptest! {
    #[test]
    fn what_is_written_is_read(entries in prop::collection::vec(entry(), 1..30)) {
        let lines: Vec<_> = (0..).zip(entries).map(|(second, entry)| Line { at: at(second), entry }).collect();
        let read = read(&text(&lines)).expect("it was written here");
        prop_assert_eq!(read, Recording { context: "prod".to_owned(), lines, cut: None });
    }

    /// However much of a recording has been folded away, what is left ends in the same state.
    #[test]
    fn a_ring_that_forgot_its_beginning_ends_alike(changes in prop::collection::vec(change(), 1..40), apart in 1..400i64) {
        let (mut ring, mut store) = (Ring::default(), Store::default());
        for (number, change) in (0..).zip(changes) {
            ring.change(at(number * apart), &change);
            store.apply(change);
        }
        let mut again = Store::default();
        for line in ring.lines() {
            if let Entry::Change(change) = line.entry {
                again.apply(change);
            }
        }
        // A kind of which nothing is known but that it was watched is not worth a line.
        let nothing = |line: &str| line.contains("Loading") || line.ends_with("Live None false []");
        let known = |store: &Store| seen(store).lines().filter(|line| !nothing(line)).collect::<Vec<_>>().join("\n");
        prop_assert_eq!(known(&again), known(&store));
    }
}

#[test]
fn a_recording_that_was_cut_is_played_as_far_as_it_goes() {
    let lines: Vec<_> =
        (0..3).map(|second| Line { at: at(second), entry: Entry::Done(None, format!("step {second}")) }).collect();
    let whole = text(&lines);
    let cut = read(&whole[..whole.len() - 10]).expect("two lines are whole");
    assert_eq!(cut.lines, lines[..2]);
    assert!(cut.cut.expect("the third is not").starts_with("line 4 "));
    assert_eq!(read("{}"), Err(Unreadable::NoRecording));
    assert_eq!(
        read("{\"recording\":\"gwtop.dev/recording/v9\"}"),
        Err(Unreadable::OtherVersion("gwtop.dev/recording/v9".into()))
    );
    assert!(matches!(read(&text(&[])), Err(Unreadable::Empty(_))));
    let future = whole + "{\"at\":\"2026-01-01T00:00:09Z\",\"hologram\":{\"of\":1}}\n";
    assert_eq!(read(&future).expect("the rest is known").lines, lines);
}

#[test]
fn scrapes_are_kept_as_differences_and_come_back_whole() {
    let zero = Instant::now();
    let of =
        |values: &[(&str, f64)]| values.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect::<Vec<_>>();
    let mut meter = Meter::default();
    let first = meter.difference(&scrape(zero, 0, &of(&[("a", 1.0), ("b", 1.0)])));
    let second = meter.difference(&scrape(zero, 1, &of(&[("a", 5.0), ("b", 1.0)])));
    let third = meter.difference(&scrape(zero, 2, &of(&[("b", 1.0), ("c", 2.0)])));
    assert_eq!((first.series.len(), first.values.len()), (2, 2));
    assert_eq!((second.series.len(), second.values.len(), second.gone.len()), (0, 1, 0));
    assert_eq!((third.series.len(), third.values.len(), third.gone.len()), (1, 1, 1));
    let mut reader = Meter::default();
    for samples in [&first, &second, &third] {
        reader.absorb(samples);
    }
    let mut values: Vec<_> = reader
        .scrape(&third, zero)
        .samples
        .expect("it answered")
        .into_iter()
        .map(|one| (one.label("route").map(str::to_owned), one.value))
        .collect();
    values.sort_by(|a, b| a.partial_cmp(b).expect("no NaN"));
    assert_eq!(values, [(Some("b".to_owned()), 1.0), (Some("c".to_owned()), 2.0)]);
}

#[test]
fn a_player_goes_where_it_is_told() {
    let zero = Instant::now();
    let mut lines =
        vec![Line { at: at(0), entry: Entry::Change(Change::Replace(Kind::HttpRoute, vec![object("a", 1)])) }];
    let mut meter = Meter::default();
    for second in 0..60_u32 {
        let count = scrape(zero, u64::from(second), &[("a".to_owned(), f64::from(second) * 50.0)]);
        lines.push(Line { at: at(i64::from(second)), entry: Entry::Samples(meter.difference(&count)) });
    }
    let broken = json!({"metadata": {"name": "a", "namespace": "shop", "generation": 1}, "status": {"parents": [
        {"parentRef": {"name": "edge"}, "conditions": [{"type": "ResolvedRefs", "status": "False", "reason": "BackendNotFound"}]}]}});
    lines.push(Line { at: at(30), entry: Entry::Change(Change::Apply(Kind::HttpRoute, broken.into())) });
    let recording = read(&text(&lines)).expect("it is whole");
    let mut player = Player::new(recording, zero);
    assert_eq!(player.problems.iter().map(|problem| problem.at).collect::<Vec<_>>(), [at(30)]);
    let play = |heard: Vec<(Timestamp, Event)>, traffic: &mut Traffic| {
        for (_, event) in heard {
            if let Event::Scrape(scrape) = event {
                traffic.apply(scrape);
            }
        }
    };
    let mut traffic = Traffic::default();
    player.faster();
    play(player.advance(Duration::from_secs(10)), &mut traffic);
    assert_eq!(player.clock(), at(20), "twice as fast");
    assert!((traffic.total().expect("traffic").rps - 50.0).abs() < 0.1);
    let (back, heard) = player.seek(at(5));
    assert!(back && heard.iter().all(|(time, _)| *time <= at(5)));
    let (back, heard) = player.seek(player.problem_after().expect("one is ahead").at);
    assert!(!back && heard.iter().any(|(_, event)| matches!(event, Event::Change(Change::Apply(..)))));
    assert_eq!((player.problem_after(), player.problem_before()), (None, None));
    player.advance(Duration::from_secs(3600));
    assert!((player.clock(), player.playing) == (at(59), false), "it stops at the end");
}
