//! What is wrong, why, and what to do: computed from the objects alone and then compared with what
//! controllers say. Pure.

mod backends;
pub mod chain;
mod compare;
pub mod fixes;
mod gateways;
pub mod hostname;
mod parents;
mod policies;
pub mod rules;
mod shadows;

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;

pub use self::rules::RULES;
use self::{
    chain::{Chain, Trace},
    rules::{NOT_SEEN, found},
};
use crate::{
    finding::{Finding, Object, Report},
    model::{
        key::{Kind, ObjectKey},
        neighbours::Grant,
        policy::Policy,
        store::{Feed, Store},
        topology::{Reference, Route},
    },
};

/// A store, with what has to be looked up often.
pub struct Triage<'a> {
    store: &'a Store,
    /// None: what depends on the time is not judged.
    now: Option<Timestamp>,
    /// By the namespace that they open.
    grants: HashMap<&'a str, Vec<&'a Grant>>,
    /// By the target's kind, namespace and name.
    policies: HashMap<(&'a str, &'a str, &'a str), Vec<&'a Policy>>,
}

/// What one route comes to.
#[derive(Debug, Default)]
struct Walk {
    findings: Vec<Finding>,
    /// Listeners that it is attached to, and by which it can be reached: parent and position.
    attached: Vec<(ObjectKey, usize)>,
    used: Used,
}

/// Grants that were needed.
type Used = HashSet<ObjectKey>;

impl<'a> Triage<'a> {
    pub fn new(store: &'a Store, now: Option<Timestamp>) -> Self {
        let mut grants: HashMap<&str, Vec<&Grant>> = HashMap::new();
        for grant in store.grants() {
            grants.entry(&grant.key.namespace).or_default().push(grant);
        }
        let mut policies: HashMap<_, Vec<&Policy>> = HashMap::new();
        for policy in store.policies() {
            for target in &policy.targets {
                let of = (target.of.kind.as_str(), target.of.namespace.as_str(), target.of.name.as_str());
                policies.entry(of).or_default().push(policy);
            }
        }
        Self { store, now, grants, policies }
    }

    /// Everything that is wrong, gravest first.
    pub fn all(&self) -> Report {
        let mut report = Report::default();
        let mut walks = Vec::new();
        for route in self.store.routes() {
            let mut walk = self.route(route, &mut Trace::off());
            report.findings.append(&mut walk.findings);
            walks.push((&**route, walk));
        }
        let mut used = Used::new();
        for (_, walk) in &mut walks {
            used.extend(walk.used.drain());
        }
        shadows::find(&walks, self.store, &mut report.findings);
        let mut attached: HashMap<(&ObjectKey, usize), u64> = HashMap::new();
        for (parent, listener) in walks.iter().flat_map(|(_, walk)| &walk.attached) {
            *attached.entry((parent, *listener)).or_default() += 1;
        }
        self.classes(&mut report.findings);
        for gateway in self.store.gateways() {
            self.gateway(gateway, &mut report.findings, &mut used);
            self.counts(&gateway.key, &attached, &mut report.findings);
        }
        for set in self.store.listener_sets() {
            self.listener_set(set, &mut report.findings, &mut used);
            self.counts(&set.key, &attached, &mut report.findings);
        }
        self.grants(&used, &mut report.findings);
        self.policies(&mut report.findings);
        self.ingresses(&mut report.findings);
        self.unseen(&mut report.findings);
        report.sort();
        report
    }

    /// The way of one route from its parents to its endpoints, hop by hop.
    pub fn why(&self, key: &ObjectKey) -> Option<Chain> {
        let route = self.store.route(key)?;
        let mut trace = Trace::on();
        let mut walk = self.route(route, &mut trace);
        // Who shadows it is known from its neighbours only.
        let near: Vec<_> =
            self.store.routes().filter(|other| other.key == *key || shares_parent(other, route)).collect();
        let walks: Vec<_> = near.iter().map(|near| (&***near, self.route(near, &mut Trace::off()))).collect();
        let mut shadows = Vec::new();
        shadows::find(&walks, self.store, &mut shadows);
        let own = Object::from(key);
        for finding in shadows.into_iter().filter(|finding| finding.object == own) {
            trace.finding(chain::Step::Rule, finding.field.clone(), &finding);
            walk.findings.push(finding);
        }
        self.unseen_of(route, &mut walk.findings);
        Some(Chain::new(route, trace, walk.findings))
    }

    fn route(&self, route: &Route, trace: &mut Trace) -> Walk {
        let mut walk = Walk::default();
        self.parents(route, trace, &mut walk);
        self.rules(route, trace, &mut walk);
        self.controllers(route, trace, &mut walk);
        self.policies_of(route, trace);
        walk
    }

    /// The grant that lets a kind of a namespace refer to an object; none where there is no such
    /// grant, and an error where grants cannot be seen.
    fn grant(&self, kind: Kind, namespace: &str, to: &Reference) -> Result<Option<&'a Grant>, ()> {
        let found = self.grants.get(to.namespace.as_str()).into_iter().flatten();
        match found.copied().find(|grant| grant.permits(kind, namespace, to)) {
            Some(grant) => Ok(Some(grant)),
            None if self.store.sees(Kind::ReferenceGrant, &to.namespace) => Ok(None),
            // Not served: nobody can grant anything.
            None if *self.store.feed(Kind::ReferenceGrant) == Feed::Missing => Ok(None),
            None => Err(()),
        }
    }

    fn unseen(&self, into: &mut Vec<Finding>) {
        into.extend(Kind::ALL.into_iter().filter_map(|kind| self.unseen_kind(kind)));
    }

    fn unseen_of(&self, route: &Route, into: &mut Vec<Finding>) {
        let needed = [Kind::Gateway, Kind::GatewayClass, Kind::ListenerSet, Kind::ReferenceGrant, Kind::Namespace];
        let streams = [Kind::Service, Kind::EndpointSlice, route.key.kind];
        into.extend(needed.into_iter().chain(streams).filter_map(|kind| self.unseen_kind(kind)));
    }

    fn unseen_kind(&self, kind: Kind) -> Option<Finding> {
        let object = Object::new(kind.group(), kind.name(), "", "");
        let of = |title: String| found(&NOT_SEEN, object.clone(), title);
        match self.store.feed(kind) {
            Feed::Forbidden => {
                let group = kind.group();
                let role = format!(
                    "- apiGroups: [\"{group}\"]\n  resources: [{}]\n  verbs: [get, list, watch]",
                    kind.plural()
                );
                let fix = crate::finding::Fix::new("add this rule to your ClusterRole").with_manifest(role);
                Some(of(format!("{} may not be read: what depends on them is not judged", kind.plural())).fix(fix))
            }
            Feed::Lost(reason) => Some(of(format!("{} could not be read: {reason}", kind.plural()))),
            Feed::Live => self
                .store
                .narrowed(kind)
                .map(|namespace| of(format!("{} are seen in namespace {namespace} only", kind.plural()))),
            // A cluster without the kind is a cluster without problems of it.
            Feed::Missing | Feed::Loading => None,
        }
    }
}

fn shares_parent(a: &Route, b: &Route) -> bool {
    a.parents.iter().any(|parent| {
        b.parents.iter().any(|other| (&parent.namespace, &parent.name) == (&other.namespace, &other.name))
    })
}

/// Everything wrong in a store.
pub fn triage(store: &Store, now: Option<Timestamp>) -> Report {
    Triage::new(store, now).all()
}
