//! Rules that never see a request, because another one takes exactly the same.

use std::collections::{HashMap, hash_map::Entry};

use super::{
    Walk,
    rules::{SHADOWED, STREAM_TAKEN, found},
};
use crate::{
    finding::Finding,
    model::{
        key::{Kind, ObjectKey},
        store::Store,
        topology::Route,
    },
};

/// The older wins, then the first by name; rules of one route in their order.
fn order(route: &Route) -> impl Ord + '_ {
    (route.created.is_none(), route.created, &route.key.namespace, &route.key.name)
}

/// Requests of one listener: parent, position, kind of route, host and match.
type Requests<'a> = (&'a ObjectKey, usize, Kind, &'a str, &'a str);

pub(super) fn find(walks: &[(&Route, Walk)], store: &Store, into: &mut Vec<Finding>) {
    let mut sorted: Vec<(&Route, &Walk)> = walks.iter().map(|(route, walk)| (*route, walk)).collect();
    sorted.sort_by(|a, b| order(a.0).cmp(&order(b.0)));
    let mut taken = HashMap::new();
    let mut streams = HashMap::new();
    for (route, walk) in sorted {
        if matches!(route.key.kind, Kind::TcpRoute | Kind::UdpRoute) {
            stream(route, walk, store, &mut streams, into);
        } else if let Some((parent, listener)) = walk.attached.first() {
            // Of several listeners one is enough to know.
            for index in 0..route.rules.len() {
                into.extend(rule(route, index, (parent, *listener), &mut taken));
            }
        }
    }
}

fn stream<'a>(
    route: &'a Route,
    walk: &'a Walk,
    store: &Store,
    streams: &mut HashMap<(&'a ObjectKey, usize), &'a Route>,
    into: &mut Vec<Finding>,
) {
    for (parent, listener) in &walk.attached {
        let first = *streams.entry((parent, *listener)).or_insert(route);
        if first.key != route.key {
            let name = store.listeners(parent).and_then(|(all, _)| all.get(*listener)).map_or("", |of| &of.name);
            let title = format!("listener {name} of {parent} serves the older {} {}", first.key.kind.name(), first.key);
            into.push(found(&STREAM_TAKEN, &route.key, title).field("spec.parentRefs").fix(STREAM_TAKEN.fix));
        }
    }
}

fn rule<'a>(
    route: &'a Route,
    index: usize,
    (parent, listener): (&'a ObjectKey, usize),
    taken: &mut HashMap<Requests<'a>, (&'a Route, usize)>,
) -> Option<Finding> {
    let own = &route.rules[index];
    // A route without hostnames is served for its listener's, a rule without matches for all paths.
    let any = route.hostnames.is_empty().then_some("");
    let every = own.matches.is_empty().then_some("/*");
    let mut first = None;
    let mut free = false;
    for host in route.hostnames.iter().map(String::as_str).chain(any) {
        for of in own.matches.iter().map(String::as_str).chain(every) {
            match taken.entry((parent, listener, route.key.kind, host, of)) {
                Entry::Vacant(entry) => {
                    entry.insert((route, index));
                    free = true;
                }
                // The same match twice in one rule is odd, but loses nothing.
                Entry::Occupied(entry) if *entry.get() == (route, index) => free = true,
                Entry::Occupied(entry) => first = first.or(Some((*entry.get(), host, of))),
            }
        }
    }
    let ((other, at), host, of) = first?;
    let host = if host.is_empty() { "every host" } else { host };
    let title = if free {
        format!("{of} of {host} is taken by another rule")
    } else {
        format!("all that the rule matches is taken: {of} of {host}")
    };
    let from = format!("{} {} spec.rules[{at}]", other.key.kind.name(), other.key);
    let says = if other.key == route.key { "comes first" } else { "is older, or first by name" };
    let finding = found(&SHADOWED, &route.key, title).field(format!("spec.rules[{index}]"));
    Some(finding.evidence(from, says).fix(SHADOWED.fix))
}
