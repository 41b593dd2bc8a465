//! One object told from top to bottom: what hangs where, what its controllers say, what it does.

use jiff::Timestamp;
use serde_json::Value;

use super::{Cell, age, backends, errors, latency, objects, percent, routes, rps};
use crate::{
    model::{
        health::{Condition, Health, judge},
        json::{created, generation},
        key::{Kind, ObjectKey},
        store::Store,
        topology::{Gateway, Route},
    },
    screen::Tone,
    traffic::series::Traffic,
};

/// Parts of one line, in order.
pub type Line = Vec<Cell>;

pub fn lines(key: &ObjectKey, store: &Store, traffic: &Traffic, now: Timestamp) -> Vec<Line> {
    match key.kind {
        Kind::Gateway => store.gateway(key).map(|gateway| of_gateway(gateway, traffic, now)),
        kind if kind.is_route() => store.route(key).map(|route| of_route(route, store, traffic, now)),
        _ => store.get(key).map(|object| of_any(key, &object.value(), store, now)),
    }
    .unwrap_or_else(|| vec![vec![text(format!("{} {key} is gone", key.kind.name()), Tone::Warn)]])
}

fn text(text: impl Into<String>, tone: Tone) -> Cell {
    Cell::Text(text.into(), tone)
}

fn heading(title: impl Into<String>) -> Line {
    vec![text(title, Tone::Good)]
}

fn field(name: &str, value: String) -> Line {
    vec![text(format!("{name:<11}"), Tone::Muted), text(value, Tone::Plain)]
}

fn of_any(key: &ObjectKey, object: &Value, store: &Store, now: Timestamp) -> Vec<Line> {
    let mut lines = Vec::new();
    if let Some(verdict) = objects::verdict(key, store) {
        lines.push(vec![text(format!("{:<11}", "Status"), Tone::Muted), Cell::Status(verdict)]);
    }
    let generation = generation(object);
    lines.push(field("Generation", format!("{generation}   age {}", since(created(object), now))));
    let ((titles, more_titles), (facts, more)) = (objects::facts(key.kind), objects::facts_of(key, store, now));
    for (title, fact) in titles.iter().chain(more_titles).zip(facts.into_iter().chain(more)) {
        lines.push(field(&title.to_lowercase(), fact));
    }
    let of_object = Condition::all(object.get("status"));
    let listeners = store.listeners(key).map(|(listeners, _)| listeners).unwrap_or_default();
    let of_listeners = listeners.iter().map(|one| (format!("Listener {}", one.name), one.conditions.clone()));
    for (title, all) in [("Conditions".to_owned(), of_object)].into_iter().chain(of_listeners) {
        if !all.is_empty() {
            lines.extend([Vec::new(), heading(title)]);
            conditions(&all, generation, now, &mut lines);
        }
    }
    let users: Vec<_> = store
        .routes()
        .filter(|route| {
            let mut backends = route.rules.iter().flat_map(|rule| rule.backends.iter().chain(&rule.mirrors));
            backends
                .any(|one| (&*one.kind, &*one.namespace, &*one.name) == (key.kind.name(), &*key.namespace, &*key.name))
        })
        .collect();
    if !users.is_empty() {
        lines.extend([Vec::new(), heading("Used by")]);
        let users =
            users.iter().map(|route| vec![text(format!("  {} {}", route.key.kind.name(), route.key), Tone::Plain)]);
        lines.extend(users);
    }
    lines
}

fn of_route(route: &Route, store: &Store, traffic: &Traffic, now: Timestamp) -> Vec<Line> {
    let verdict = routes::verdict(route, store);
    let rates = traffic.route(&route.key);
    let hosts = if route.hostnames.is_empty() {
        "* (every hostname of its listeners)".to_owned()
    } else {
        route.hostnames.join(", ")
    };
    let mut lines = vec![
        vec![text(format!("{:<11}", "Status"), Tone::Muted), Cell::Status(verdict)],
        field("Hostnames", hosts),
        field("Generation", format!("{}   age {}", route.generation, since(route.created, now))),
        vec![
            text(format!("{:<11}", "Traffic"), Tone::Muted),
            text(format!("{} rps  errors ", rps(rates)), Tone::Plain),
            errors(rates),
            text(
                format!(
                    "  p50 {}  p99 {}  ",
                    latency(rates.and_then(|rates| rates.p50)),
                    latency(rates.and_then(|rates| rates.p99))
                ),
                Tone::Plain,
            ),
            Cell::Spark(traffic.history(&route.key)),
        ],
        Vec::new(),
    ];
    for parent in &route.parents {
        lines.push(heading(format!("Parent {} {}", parent.kind, parent.label())));
        match &parent.controller {
            None => lines.push(vec![text("  no controller has taken this parentRef up", Tone::Warn)]),
            Some(controller) => lines.push(vec![text(format!("  written by {controller}"), Tone::Muted)]),
        }
        conditions(&parent.conditions, route.generation, now, &mut lines);
        lines.push(Vec::new());
    }
    for (index, rule) in route.rules.iter().enumerate() {
        let name = rule.name.as_deref().map_or_else(String::new, |name| format!(" {name}"));
        let matches = if rule.matches.is_empty() { "/*".to_owned() } else { rule.matches.join(" or ") };
        let mut head = heading(format!("Rule {index}{name}"));
        head.push(text(format!("  {matches}"), Tone::Plain));
        lines.push(head);
        if !rule.filters.is_empty() {
            lines.push(vec![text(format!("  filters {}", rule.filters.join(", ")), Tone::Muted)]);
        }
        if rule.backends.is_empty() && !rule.filters.iter().any(|filter| filter == "RequestRedirect") {
            lines.push(vec![text("  no backendRefs: every request gets a 500", Tone::Warn)]);
        }
        if !rule.backends.is_empty() {
            let head = format!(
                "  {:<24} {:>6} {:>6} {:>6} {:>7} {:>6} {:>7}  ",
                "BACKEND", "WEIGHT", "SHARE", "READY", "RPS", "ERR", "P99"
            );
            lines.push(vec![text(head, Tone::Muted)]);
        }
        for (position, backend) in rule.backends.iter().enumerate() {
            lines.push(backend_line(route, index, position, store, traffic));
            if backends::verdict(backend, store).health == Health::Broken {
                lines.push(vec![text("    no ready endpoint: requests sent here fail", Tone::Bad)]);
            }
        }
        lines.push(Vec::new());
    }
    lines
}

fn backend_line(route: &Route, rule: usize, position: usize, store: &Store, traffic: &Traffic) -> Line {
    let (Some(backend), Some(arm)) = (route.rules[rule].backends.get(position), routes::arm(route, rule, position))
    else {
        return Vec::new();
    };
    let rates = traffic.arm(&arm);
    let pad = |cell: Cell, width: usize| match cell {
        Cell::Text(text, tone) => Cell::Text(format!("{text:>width$} "), tone),
        other => other,
    };
    let name = if backend.namespace == route.key.namespace {
        format!("{}:{}", backend.name, backend.port)
    } else {
        format!("{}/{}:{}", backend.namespace, backend.name, backend.port)
    };
    let ready = store.ready(&backend.namespace, &backend.name);
    let ready = ready.map_or_else(|| "-".to_owned(), |(ready, total)| format!("{ready}/{total}"));
    vec![
        text(format!("  {name:<24} {:>6} ", percent(backend.share)), Tone::Plain),
        pad(backends::share(backend.share, routes::observed(route, rule, position, traffic)), 6),
        text(format!("{ready:>6} {:>7} ", rps(rates)), Tone::Plain),
        pad(errors(rates), 6),
        text(format!("{:>7}  ", latency(rates.and_then(|rates| rates.p99))), Tone::Plain),
        Cell::Spark(traffic.arm_history(&arm)),
    ]
}

fn of_gateway(gateway: &Gateway, traffic: &Traffic, now: Timestamp) -> Vec<Line> {
    let addresses = if gateway.addresses.is_empty() { "none yet".to_owned() } else { gateway.addresses.join(", ") };
    let rates = traffic.gateway(&gateway.key);
    let mut lines = vec![
        vec![text(format!("{:<11}", "Status"), Tone::Muted), Cell::Status(gateway.verdict())],
        field("Class", gateway.class.clone()),
        field("Addresses", addresses),
        field("Generation", format!("{}   age {}", gateway.generation, since(gateway.created, now))),
        vec![
            text(format!("{:<11}", "Traffic"), Tone::Muted),
            text(format!("{} rps  errors ", rps(rates)), Tone::Plain),
            errors(rates),
            text(format!("  p99 {}  ", latency(rates.and_then(|rates| rates.p99))), Tone::Plain),
            Cell::Spark(traffic.history(&gateway.key)),
        ],
        Vec::new(),
        heading("Conditions"),
    ];
    conditions(&gateway.conditions, gateway.generation, now, &mut lines);
    lines.push(Vec::new());
    for listener in &gateway.listeners {
        let mut head = heading(format!("Listener {}", listener.name));
        let host = listener.hostname.as_deref().unwrap_or("*");
        let attached = listener.attached.map_or_else(|| "-".to_owned(), |count| count.to_string());
        let rates = rps(traffic.listener(&gateway.key, &listener.name));
        let about = format!("  {} {} {host}   {attached} routes   {rates} rps", listener.protocol, listener.port);
        head.push(text(about, Tone::Plain));
        lines.push(head);
        conditions(&listener.conditions, gateway.generation, now, &mut lines);
        lines.push(Vec::new());
    }
    lines
}

fn conditions(conditions: &[Condition], generation: i64, now: Timestamp, lines: &mut Vec<Line>) {
    if conditions.is_empty() {
        lines.push(vec![text("  ", Tone::Plain), Cell::Status(judge(conditions, generation))]);
    }
    for condition in conditions {
        let mut verdict = condition.verdict(generation);
        verdict.reason = condition.reason.clone();
        let mut line = vec![
            text(format!("  {:<14} {:<8}", condition.kind, condition.status), Tone::Plain),
            Cell::Status(verdict),
            text(format!("  {} ago", since(condition.since, now)), Tone::Muted),
        ];
        if let Some(observed) = condition.observed_generation.filter(|_| condition.is_stale(generation)) {
            line.push(text(format!("  speaks of generation {observed}, now {generation}"), Tone::Warn));
        }
        lines.push(line);
        if !condition.message.is_empty() && condition.verdict(generation).health != Health::Ok {
            lines.push(vec![text(format!("    {}", condition.message), Tone::Plain)]);
        }
    }
}

fn since(time: Option<Timestamp>, now: Timestamp) -> String {
    time.map_or_else(|| "?".to_owned(), |time| age(now.as_second() - time.as_second()))
}
