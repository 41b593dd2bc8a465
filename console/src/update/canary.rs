//! The canary panel: what is staged, asked for, confirmed.

use super::{Effect, edit::ask, push, say, subject};
use crate::{
    canary::{Order, Settings},
    intent::{
        plan,
        weights::{self, Pair},
    },
    model::key::{Kind, ObjectKey},
    rows,
    screen::{Ask, RunView, State, Tone, View},
};

pub(super) fn open_canary(state: &mut State) {
    match subject(&state.screen).filter(|key| key.kind == Kind::HttpRoute) {
        Some(key) => {
            let same = matches!(state.screen.view(), Some(View::Canary(open)) if *open == key);
            if !same {
                state.screen.canary.staged = None;
                state.screen.canary.rule = None;
            }
            push(&mut state.screen, View::Canary(key));
            if let Err(why) = pair(state) {
                say(&mut state.screen, Tone::Warn, why);
            }
        }
        None => say(&mut state.screen, Tone::Warn, "select an HTTPRoute: a canary shares traffic between its backends"),
    }
}

/// The two backends that the panel is about.
pub(super) fn told(transition: &crate::canary::Transition) -> String {
    let weight = crate::intent::plan::short(transition.weight);
    format!("canary at {weight} %, {}: {}", transition.phase, transition.message)
}

pub fn pair(state: &State) -> Result<Pair, String> {
    let key = subject(&state.screen).filter(|key| key.kind == Kind::HttpRoute).ok_or("select an HTTPRoute")?;
    let route = &state.store.get(&key).ok_or_else(|| format!("HTTPRoute {key} is gone"))?.value();
    let several = || {
        let rules = weights::rule_count(route);
        (0..rules).find(|rule| weights::backends(route, *rule).is_ok_and(|backends| backends.len() > 1))
    };
    let rule = state.screen.canary.rule.or_else(several);
    weights::pair(route, rule, None, None).map_err(|refusal| format!("{key}: {refusal}"))
}

pub(super) fn next_rule(state: &mut State) {
    let Some(key) = subject(&state.screen) else { return };
    let Some(route) = state.store.get(&key) else { return };
    let route = &route.value();
    let several: Vec<usize> = (0..weights::rule_count(route))
        .filter(|rule| weights::backends(route, *rule).is_ok_and(|backends| backends.len() > 1))
        .collect();
    let now = pair(state).ok().map(|pair| pair.rule);
    let next = several.iter().find(|rule| Some(**rule) > now).or_else(|| several.first());
    state.screen.canary.rule = next.copied();
    state.screen.canary.staged = None;
}

pub(super) fn stage(state: &mut State, by: f64) {
    match pair(state) {
        Ok(pair) => {
            let from = state.screen.canary.staged.unwrap_or_else(|| pair.percent());
            state.screen.canary.staged = Some((from + by).clamp(0.0, 100.0));
        }
        Err(why) => say(&mut state.screen, Tone::Bad, why),
    }
}

/// Whether a write may be asked for at all.
pub(super) fn may_write(state: &mut State) -> bool {
    let why = if state.readonly {
        super::read_only(state)
    } else if !state.is_up() {
        "the API is not reachable: nothing can be written now"
    } else if state.screen.canary.sending {
        "the last write has not been answered yet"
    } else {
        return true;
    };
    say(&mut state.screen, Tone::Warn, why);
    false
}

pub(super) fn running(state: &State, key: &ObjectKey) -> bool {
    state.screen.canary.run.as_ref().is_some_and(|run| !run.ended && run.route == *key)
}

pub(super) fn review(state: &mut State) {
    if !may_write(state) {
        return;
    }
    match state.screen.canary.staged {
        Some(percent) => propose(state, percent, "Write weights"),
        None => say(&mut state.screen, Tone::Muted, "nothing staged: + and - stage a step"),
    }
}

pub(super) fn propose(state: &mut State, percent: f64, title: &str) {
    let plan = pair(state).and_then(|pair| {
        let key = subject(&state.screen).ok_or("nothing is selected")?;
        if running(state, &key) {
            return Err(format!("a run steps {key} right now: s pauses it, R rolls it back"));
        }
        let route = state.store.get(&key).ok_or_else(|| format!("HTTPRoute {key} is gone"))?;
        plan::weights(&route.value(), pair.rule, &pair.stable.identity(), &pair.canary.identity(), percent)
            .map_err(|refusal| refusal.to_string())
    });
    match plan {
        Ok(plan) => ask(state, title, Ask::Send(Box::new(plan))),
        Err(why) => say(&mut state.screen, Tone::Bad, why),
    }
}

pub(super) fn ask_start(state: &mut State) {
    if !may_write(state) {
        return;
    }
    if state.screen.canary.run.as_ref().is_some_and(|run| !run.ended) {
        say(&mut state.screen, Tone::Warn, "a run is under way: one at a time from the console");
        return;
    }
    match (pair(state), subject(&state.screen)) {
        (Ok(pair), Some(route)) => {
            let settings = automatic(state, &route);
            let steps = format!(
                "{} % points every {} s up to {} %, rolled back when more than {} fail",
                settings.step,
                settings.interval.as_secs(),
                settings.max,
                rows::percent(settings.max_error_rate)
            );
            ask(state, "Automatic canary", Ask::Start { route, rule: pair.rule, steps });
        }
        (Err(why), _) => say(&mut state.screen, Tone::Bad, why),
        (_, None) => {}
    }
}

/// What `a` runs.
pub(super) fn automatic(state: &State, route: &ObjectKey) -> Settings {
    Settings { interval: state.interval, ..Settings::new(&route.namespace, Some(route.name.clone())) }
}

pub(super) fn pause(state: &mut State) -> Vec<Effect> {
    let Some(run) = state.screen.canary.run.as_mut().filter(|run| !run.ended) else {
        say(&mut state.screen, Tone::Muted, "no run is under way");
        return Vec::new();
    };
    run.paused = !run.paused;
    vec![Effect::Order(if run.paused { Order::Pause } else { Order::Resume })]
}

pub(super) fn rollback(state: &mut State) {
    let Some(key) = subject(&state.screen).filter(|key| key.kind == Kind::HttpRoute) else {
        say(&mut state.screen, Tone::Warn, "select an HTTPRoute to roll its canary back");
        return;
    };
    if running(state, &key) {
        ask(state, "Roll back", Ask::RollbackRun { route: key });
    } else if may_write(state) {
        propose(state, 0.0, "Roll back");
    }
}

pub(super) fn confirm(state: &mut State) -> Vec<Effect> {
    let Some(dialog) = state.screen.dialog.take() else { return Vec::new() };
    match dialog.ask {
        Ask::Send(plan) => {
            if !may_write(state) {
                return Vec::new();
            }
            state.screen.canary.sending = true;
            say(&mut state.screen, Tone::Muted, format!("sending: {}", plan.summary));
            vec![Effect::Send(plan)]
        }
        Ask::Start { route, rule, .. } => {
            if !may_write(state) {
                return Vec::new();
            }
            let settings = Settings { rule: Some(rule.to_string()), ..automatic(state, &route) };
            state.screen.canary.staged = None;
            state.screen.canary.run = Some(RunView { route, transitions: Vec::new(), paused: false, ended: false });
            vec![Effect::StartRun(Box::new(settings))]
        }
        Ask::RollbackRun { .. } => vec![Effect::Order(Order::Rollback)],
    }
}
