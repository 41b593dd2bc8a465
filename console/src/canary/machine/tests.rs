use proptest::prelude::*;

use super::*;

const INTERVAL: Duration = Duration::from_secs(60);
const TIMING: Timing = Timing {
    converge: Duration::from_secs(30),
    hold: Duration::from_secs(120),
    rollback: Duration::from_secs(300),
    api: Duration::from_secs(600),
    drain: Duration::from_secs(30),
    on_drift: OnDrift::Stop,
};

fn steps(percents: &[f64]) -> Vec<Step> {
    let step = |percent: &f64| Step { stage: Stage::Weight(*percent), interval: INTERVAL, approve: false };
    percents.iter().map(step).collect()
}

struct Clock {
    machine: Machine,
    now: u64,
}

impl Clock {
    fn new() -> Self {
        Self { machine: Machine::new(steps(&[5.0, 10.0]), TIMING), now: 0 }
    }

    fn give(&mut self, event: Event) -> Vec<Effect> {
        self.machine.handle(Duration::from_secs(self.now), event)
    }

    fn after(&mut self, seconds: u64, event: Event) -> Vec<Effect> {
        self.now += seconds;
        self.give(event)
    }

    /// The rollback is acknowledged and nothing reaches the canary any more.
    fn rolled_back(&mut self) -> Vec<Effect> {
        assert!(self.give(Event::RolledBack(String::new())).is_empty());
        self.give(Event::Drained(String::new()))
    }

    /// In the middle of the first step.
    fn observing() -> Self {
        let mut clock = Self::new();
        clock.give(Event::Ready(Start::Fresh { step: 0, live: false }));
        clock.give(Event::Claimed(String::new()));
        clock.give(Event::Written(String::new()));
        clock.after(1, Event::Converged(String::new()));
        assert_eq!(clock.machine.state(), State::Observe);
        clock
    }
}

fn pass() -> Event {
    Event::Evidence(Verdict::Pass(String::new()))
}

fn fail() -> Event {
    Event::Evidence(Verdict::Fail("bad".to_owned()))
}

fn ended(effects: &[Effect]) -> Option<Exit> {
    effects.iter().find_map(|effect| if let Effect::End { exit, .. } = effect { Some(*exit) } else { None })
}

fn does(effects: &[Effect], wanted: &Effect) -> bool {
    effects.contains(wanted)
}

#[test]
fn a_healthy_canary_goes_through_every_step() {
    let mut clock = Clock::observing();
    assert!(clock.give(pass()).is_empty(), "not before the interval is over");
    assert!(does(&clock.after(60, pass()), &Effect::Write { step: 1 }));
    clock.give(Event::Written(String::new()));
    assert!(clock.after(5, pass()).is_empty(), "not before the data plane shows it");
    clock.give(Event::Converged(String::new()));
    assert!(does(&clock.after(60, pass()), &Effect::Finish));
    assert_eq!(ended(&clock.give(Event::Finished(String::new()))), Some(Exit::Ok));
    assert!(clock.give(fail()).is_empty());
}

#[test]
fn a_bad_canary_is_rolled_back_at_once_and_until_it_works() {
    let mut clock = Clock::observing();
    assert!(does(&clock.after(2, fail()), &Effect::RollBack(Goal::Stable)));
    clock.give(Event::RollbackFailed("500".to_owned()));
    assert!(does(&clock.after(1, Event::Tick), &Effect::RollBack(Goal::Stable)));
    assert_eq!(ended(&clock.rolled_back()), Some(Exit::RolledBack));

    let mut clock = Clock::observing();
    clock.give(fail());
    assert_eq!(ended(&clock.after(301, Event::RollbackFailed(String::new()))), Some(Exit::RollbackFailed));
}

#[test]
fn three_probes_in_a_row() {
    let mut clock = Clock::observing();
    let bad = || Event::Probe(Err("refused".to_owned()));
    clock.give(bad());
    clock.give(bad());
    clock.give(Event::Probe(Ok(())));
    assert!(clock.give(bad()).is_empty());
    clock.give(bad());
    assert!(does(&clock.give(bad()), &Effect::RollBack(Goal::Stable)));
}

#[test]
fn probes_that_fail_before_the_first_weight_refuse() {
    let mut clock = Clock::new();
    clock.give(Event::Ready(Start::Fresh { step: 0, live: false }));
    clock.give(Event::Claimed(String::new()));
    for _ in 0..3 {
        clock.give(Event::Probe(Err(String::new())));
    }
    assert_eq!(ended(&clock.rolled_back()), Some(Exit::Usage));
}

#[test]
fn probes_that_fail_before_the_first_weight_roll_back_a_canary_that_had_traffic() {
    let mut clock = Clock::new();
    clock.give(Event::Ready(Start::Fresh { step: 0, live: true }));
    clock.give(Event::Claimed(String::new()));
    let effects: Vec<_> = (0..3).flat_map(|_| clock.give(Event::Probe(Err(String::new())))).collect();
    assert!(does(&effects, &Effect::RollBack(Goal::Stable)));
}

#[test]
fn no_data_is_never_a_pass() {
    for verdict in [Verdict::NoData(String::new()), Verdict::Wait(String::new()), Verdict::Environmental(String::new())]
    {
        let mut clock = Clock::observing();
        clock.after(60, Event::Evidence(verdict));
        assert_eq!(clock.machine.state(), State::Hold);
        assert!(does(&clock.after(120, Event::Tick), &Effect::RollBack(Goal::Stable)));
        assert_eq!(ended(&clock.rolled_back()), Some(Exit::Inconclusive));
    }
    let mut clock = Clock::observing();
    clock.after(60, Event::Evidence(Verdict::Wait(String::new())));
    assert!(does(&clock.after(30, pass()), &Effect::Write { step: 1 }), "evidence that comes late counts");
    let mut clock = Clock::observing();
    clock.after(76, Event::Tick);
    assert_eq!(clock.machine.state(), State::Hold);
}

#[test]
fn a_lost_api_freezes_and_latches_the_rollback() {
    let mut clock = Clock::observing();
    clock.give(Event::Lost("down".to_owned()));
    assert_eq!(clock.machine.state(), State::Frozen);
    clock.after(100, pass());
    assert_eq!(clock.machine.state(), State::Frozen);
    clock.give(fail());
    assert!(does(&clock.after(1, Event::Tick), &Effect::Reconnect));
    assert!(does(&clock.give(Event::Back { written: true }), &Effect::RollBack(Goal::Stable)));

    let mut clock = Clock::observing();
    clock.after(59, Event::Lost("down".to_owned()));
    clock.after(5, Event::Back { written: true });
    assert_eq!(clock.machine.state(), State::Converge, "the window is void");

    let mut clock = Clock::observing();
    clock.give(Event::Lost("down".to_owned()));
    assert_eq!(ended(&clock.after(600, Event::Tick)), Some(Exit::Unreachable));
    let mut clock = Clock::observing();
    clock.give(Event::Lost("down".to_owned()));
    clock.give(Event::Order(Order::Rollback));
    assert_eq!(ended(&clock.after(600, Event::Tick)), Some(Exit::RollbackFailed));
}

#[test]
fn a_write_of_unknown_outcome_is_made_again_only_if_it_was_not_made() {
    for (written, effect) in [(false, Effect::Write { step: 0 }), (true, Effect::Observe)] {
        let mut clock = Clock::new();
        clock.give(Event::Ready(Start::Fresh { step: 0, live: false }));
        clock.give(Event::Claimed(String::new()));
        clock.give(Event::Lost(String::new()));
        assert!(does(&clock.give(Event::Back { written }), &effect));
    }
}

#[test]
fn a_paused_or_doubtful_run_does_not_advance() {
    let mut clock = Clock::observing();
    clock.give(Event::Order(Order::Pause));
    assert!(clock.after(61, pass()).is_empty());
    clock.give(Event::Order(Order::Resume));
    clock.give(Event::LeaseStale("no answer".to_owned()));
    assert!(clock.give(pass()).is_empty());
    clock.give(Event::LeaseFresh);
    assert!(does(&clock.give(pass()), &Effect::Write { step: 1 }));
    let mut clock = Clock::observing();
    clock.give(Event::Order(Order::Pause));
    assert!(does(&clock.give(fail()), &Effect::RollBack(Goal::Stable)));
}

#[test]
fn what_is_not_ours_is_not_touched() {
    for (event, exit) in [
        (Event::Drift(String::new()), Exit::Conflict),
        (Event::FenceLost(String::new()), Exit::Conflict),
        (Event::Gone(String::new()), Exit::TargetGone),
        (Event::Denied(String::new()), Exit::Unreachable),
        (Event::Order(Order::Stop), Exit::Detached),
    ] {
        let mut clock = Clock::observing();
        let effects = clock.give(event);
        assert_eq!(ended(&effects), Some(exit));
        assert_eq!(effects.len(), 1);
    }
}

#[test]
fn a_rollback_ends_when_nothing_reaches_the_canary_any_more() {
    let mut clock = Clock::observing();
    clock.give(fail());
    assert!(clock.give(Event::RolledBack(String::new())).is_empty());
    assert_eq!(clock.machine.state(), State::Draining);
    assert!(clock.after(10, Event::Tick).is_empty());
    assert!(clock.give(Event::Lost(String::new())).is_empty(), "what was to be written is written");
    assert_eq!(ended(&clock.after(20, Event::Tick)), Some(Exit::RolledBack), "it is not waited for without end");
    for event in [Event::Gone(String::new()), Event::FenceLost(String::new()), Event::Order(Order::Stop)] {
        let mut clock = Clock::observing();
        clock.give(fail());
        clock.give(Event::RolledBack(String::new()));
        assert_eq!(ended(&clock.give(event)), Some(Exit::RolledBack));
    }
}

#[test]
fn approval_waits_for_a_person_and_goes_on_judging() {
    let approving = || {
        let mut plan = steps(&[5.0, 10.0]);
        plan[0].approve = true;
        let mut clock = Clock { machine: Machine::new(plan, TIMING), now: 0 };
        clock.give(Event::Ready(Start::Fresh { step: 0, live: false }));
        clock.give(Event::Claimed(String::new()));
        clock.give(Event::Written(String::new()));
        clock.give(Event::Converged(String::new()));
        clock.after(60, pass());
        assert_eq!(clock.machine.state(), State::Approval);
        assert!(clock.after(1000, pass()).is_empty());
        clock
    };
    let mut clock = approving();
    assert!(!does(&clock.give(Event::Order(Order::Step)), &Effect::Write { step: 1 }), "not on a word alone");
    assert!(does(&clock.give(pass()), &Effect::Write { step: 1 }));
    assert!(does(&approving().give(fail()), &Effect::RollBack(Goal::Stable)));
}

#[test]
fn orders_skip_time_and_never_evidence() {
    let mut clock = Clock::observing();
    clock.give(Event::Order(Order::Step));
    assert!(
        clock.give(Event::Evidence(Verdict::Wait(String::new()))).iter().all(|e| !matches!(e, Effect::Write { .. }))
    );
    assert!(does(&clock.give(pass()), &Effect::Write { step: 1 }));
    let mut clock = Clock::observing();
    clock.give(Event::Told { order: Order::Promote, by: "me".to_owned() });
    assert!(does(&clock.give(pass()), &Effect::Write { step: 2 }), "to the 100 % that the plan did not have");
    assert_eq!(clock.machine.steps()[2].stage, Stage::Weight(100.0));
    clock.give(Event::Written(String::new()));
    clock.give(Event::Converged(String::new()));
    assert!(clock.give(pass()).is_empty(), "it soaks");
    assert!(does(&clock.after(60, pass()), &Effect::Finish));
}

#[test]
fn drift_is_met_as_asked_and_not_for_ever() {
    let with = |on_drift| {
        let mut clock = Clock::observing();
        clock.machine.timing.on_drift = on_drift;
        clock
    };
    let drift = || Event::Drift(String::new());
    assert_eq!(ended(&with(OnDrift::Stop).give(drift())), Some(Exit::Conflict));
    assert!(does(&with(OnDrift::Adopt).give(drift()), &Effect::Adopt));
    let mut clock = with(OnDrift::Reassert);
    for _ in 0..5 {
        assert!(does(&clock.give(drift()), &Effect::Write { step: 0 }));
        clock.give(Event::Written(String::new()));
    }
    assert_eq!(ended(&clock.give(drift())), Some(Exit::Conflict), "whatever writes does not give in");
}

#[test]
fn a_canary_that_can_take_no_traffic_is_not_waited_for() {
    assert!(does(&Clock::observing().give(Event::Broken("gone".to_owned())), &Effect::RollBack(Goal::Stable)));
    let mut clock = Clock::observing();
    assert!(does(&clock.give(Event::GiveUp("no metrics".to_owned())), &Effect::RollBack(Goal::Stable)));
    assert_eq!(ended(&clock.rolled_back()), Some(Exit::Inconclusive));
}

fn order() -> impl Strategy<Value = Order> {
    prop_oneof![
        Just(Order::Pause),
        Just(Order::Resume),
        Just(Order::Rollback),
        Just(Order::Step),
        Just(Order::Promote),
        Just(Order::Stop)
    ]
}

fn event() -> impl Strategy<Value = Event> {
    let text = String::new;
    prop_oneof![
        3 => Just(Event::Ready(Start::Fresh { step: 0, live: false })),
        1 => Just(Event::Ready(Start::Resume { step: 1 })),
        1 => Just(Event::Ready(Start::Undo(Reason::Failed(text())))),
        4 => Just(Event::Claimed(text())),
        6 => Just(Event::Written(text())),
        1 => Just(Event::Finished(text())),
        1 => Just(Event::RolledBack(text())),
        1 => Just(Event::RollbackFailed(text())),
        6 => Just(Event::Converged(text())),
        2 => any::<bool>().prop_map(|ok| Event::Probe(if ok { Ok(()) } else { Err(String::new()) })),
        6 => Just(pass()),
        1 => Just(fail()),
        1 => Just(Event::Evidence(Verdict::Wait(text()))),
        1 => Just(Event::Evidence(Verdict::NoData(text()))),
        1 => Just(Event::Drift(text())),
        1 => Just(Event::FenceLost(text())),
        1 => Just(Event::Gone(text())),
        1 => Just(Event::LeaseStale(text())),
        1 => Just(Event::LeaseFresh),
        1 => Just(Event::Lost(text())),
        1 => any::<bool>().prop_map(|written| Event::Back { written }),
        1 => Just(Event::Rejected(text())),
        1 => Just(Event::Denied(text())),
        1 => Just(Event::GiveUp(text())),
        1 => Just(Event::Broken(text())),
        1 => Just(Event::Drained(text())),
        2 => order().prop_map(Event::Order),
        1 => order().prop_map(|order| Event::Told { order, by: String::new() }),
        3 => Just(Event::Tick),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]
    #[test]
    fn whatever_happens(
        events in prop::collection::vec((0_u64..90, event()), 1..60),
        on_drift in prop_oneof![Just(OnDrift::Stop), Just(OnDrift::Adopt), Just(OnDrift::Reassert)],
        approve: bool,
    ) {
        let mut plan = steps(&[5.0, 10.0, 15.0]);
        plan[1].approve = approve;
        let mut machine = Machine::new(plan, Timing { on_drift, ..TIMING });
        let (mut now, mut passed, mut ended, mut rolled, mut promoted) = (0, false, false, false, false);
        let mut last = None::<usize>;
        for (seconds, event) in events {
            now += seconds;
            passed |= matches!(event, Event::Evidence(Verdict::Pass(_)));
            let foreign = matches!(event, Event::FenceLost(_) | Event::Gone(_));
            promoted |= matches!(event, Event::Order(Order::Promote) | Event::Told { order: Order::Promote, .. });
            let resumed = match &event { Event::Ready(Start::Resume { step }) => Some(*step), _ => None };
            if machine.state() == State::Preflight && let Some(step) = resumed {
                last = Some(step);
            }
            let effects = machine.handle(Duration::from_secs(now), event);
            prop_assert!(!ended || effects.is_empty(), "effects after the end");
            for effect in &effects {
                match effect {
                    Effect::Write { step } => {
                        prop_assert!(!rolled, "a step after a rollback began");
                        prop_assert!(!foreign, "a write on what is not ours");
                        if last.is_some_and(|last| *step > last) {
                            prop_assert!(passed, "advanced without a pass");
                            let next = *step == last.unwrap() + 1;
                            prop_assert!(next || promoted && *step + 1 == machine.steps().len(), "a step was left out");
                        }
                        if last != Some(*step) {
                            passed = false;
                        }
                        last = Some(*step);
                    }
                    Effect::RollBack(_) => {
                        prop_assert!(!foreign);
                        rolled = true;
                    }
                    Effect::Adopt => prop_assert!(!rolled && !foreign && on_drift == OnDrift::Adopt),
                    Effect::Finish => prop_assert!(passed && !rolled && last == Some(machine.steps().len() - 1)),
                    Effect::End { exit, .. } => {
                        ended = true;
                        if *exit == Exit::Ok {
                            prop_assert!(!rolled);
                        }
                    }
                    _ => {}
                }
            }
        }
    }
}
