//! A host of a listener belongs to HTTPRoutes or to GRPCRoutes: who was there first has it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{
    hostnames::Held,
    memory::{KnownRoute, Lost, Place, RouteRef},
    placing::slashed,
    verdict::{Problem, reason},
};
use crate::resources::Kind;

type AllLost = BTreeMap<RouteRef, Vec<Lost>>;

/// What routes lose to older ones of the other kind; those that lose nothing are not there.
pub fn lost(routes: &BTreeMap<RouteRef, KnownRoute>, before: &AllLost) -> AllLost {
    let of = |kind: Kind| routes.iter().filter(move |((is, _), _)| *is == kind);
    let grpc = routes.range((Kind::GrpcRoute, crate::types::Key::default())..).next();
    let mixed = grpc.is_some_and(|((kind, _), _)| *kind == Kind::GrpcRoute) && of(Kind::HttpRoute).next().is_some();
    if !mixed && before.is_empty() {
        return AllLost::new();
    }
    let mut all: Vec<_> = of(Kind::HttpRoute).chain(of(Kind::GrpcRoute)).collect();
    all.sort_by(|((_, key), known), ((_, other), others)| {
        known.created.cmp(&others.created).then_with(|| slashed(key).cmp(slashed(other)))
    });
    let mut held = HashMap::<Place, Held>::new();
    let mut lost = AllLost::new();
    for (route, known) in all {
        let kind = route.0.name();
        let mut theirs = Vec::with_capacity(known.parents.len());
        for (gateway, attachment) in &known.parents {
            let mut one = Lost::default();
            for (listener, hostnames) in &attachment.attached {
                let held = held.get(&(*gateway, *listener));
                if let Some(by) = held.and_then(|held| held.by_another(kind, hostnames)) {
                    one.listeners.insert(*listener);
                    one.to = Some(by);
                }
            }
            let kept = attachment.attached.iter().filter(|(listener, _)| !one.listeners.contains(listener));
            for (listener, hostnames) in kept {
                held.entry((*gateway, *listener)).or_default().take(kind, hostnames);
            }
            theirs.push(one);
        }
        if theirs.iter().any(|one| one.to.is_some()) {
            lost.insert(route.clone(), theirs);
        }
    }
    lost
}

/// Routes that do not lose the same.
pub fn differing<'l>(before: &'l AllLost, now: &'l AllLost) -> impl Iterator<Item = &'l RouteRef> {
    let routes: BTreeSet<_> = before.keys().chain(now.keys()).collect();
    routes.into_iter().filter(|route| before.get(*route) != now.get(*route))
}

/// What a route has to hear that gets no listener by one of its parents.
pub fn problem((other, hostname): &(&'static str, String)) -> Problem {
    let hostname = if hostname.is_empty() { "any hostname".to_owned() } else { format!("\"{hostname}\"") };
    let message = format!(
        "older routes of kind {other} have {hostname} on these listeners, and a host serves HTTPRoutes or GRPCRoutes, \
         not both: use another hostname or listener"
    );
    Problem::new(reason::HOSTNAME_CONFLICT, message)
}
