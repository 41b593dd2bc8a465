//! From the routes that changed to what changes in the listeners.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{
    ParentVerdict, RouteVerdict,
    attach::{Comer, attach},
    backends::Backends,
    gateways::GatewayPlan,
    hostnames,
    memory::{KnownRoute, Last, Lost, Place, RouteRef},
    parents::Parents,
    rivals,
};
use crate::{
    metrics::Registry,
    resources::{Kind, Set},
    table::RouteMatch,
    types::{GrpcRoute, HttpRoute, Key, TcpRoute, TlsRoute, refs::ParentRef},
};

/// A route of any kind.
#[derive(Clone, Copy)]
pub enum Route<'a> {
    Http(&'a HttpRoute),
    Grpc(&'a GrpcRoute),
    Tls(&'a TlsRoute),
    /// TCPRoutes and UDPRoutes are of one type.
    Stream(&'a TcpRoute),
}

impl<'a> Route<'a> {
    pub fn find(set: &'a Set, (kind, key): &RouteRef) -> Option<Self> {
        match kind {
            Kind::HttpRoute => set.http_routes.get(key).map(|route| Self::Http(route)),
            Kind::GrpcRoute => set.grpc_routes.get(key).map(|route| Self::Grpc(route)),
            Kind::TlsRoute => set.tls_routes.get(key).map(|route| Self::Tls(route)),
            Kind::TcpRoute => set.tcp_routes.get(key).map(|route| Self::Stream(route)),
            Kind::UdpRoute => set.udp_routes.get(key).map(|route| Self::Stream(route)),
            _ => None,
        }
    }

    fn metadata(self) -> &'a ObjectMeta {
        match self {
            Self::Http(route) => &route.metadata,
            Self::Grpc(route) => &route.metadata,
            Self::Tls(route) => &route.metadata,
            Self::Stream(route) => &route.metadata,
        }
    }

    fn parents(self) -> &'a [ParentRef] {
        match self {
            Self::Http(route) => &route.spec.parent_refs,
            Self::Grpc(route) => &route.spec.parent_refs,
            Self::Tls(route) => &route.spec.parent_refs,
            Self::Stream(route) => &route.spec.parent_refs,
        }
    }

    fn hostnames(self) -> &'a [String] {
        match self {
            Self::Http(route) => &route.spec.hostnames,
            Self::Grpc(route) => &route.spec.hostnames,
            Self::Tls(route) => &route.spec.hostnames,
            Self::Stream(_) => &[],
        }
    }
}

/// By hostname, those of the changed routes; a hostname that only lost some has an empty list.
pub type Brought = HashMap<Place, BTreeMap<String, Vec<RouteMatch>>>;

pub struct Placing<'c, 'a> {
    pub set: &'a Set,
    pub parents: &'c Parents,
    pub gateways: &'c [GatewayPlan<'a>],
    pub backends: &'c mut Backends<'a>,
    pub registry: &'c Registry,
    pub last: &'c mut Last,
    pub brought: Brought,
}

impl Placing<'_, '_> {
    /// Compiles the routes of `changed`, which grows by those that gain or lose by it.
    pub fn place(&mut self, changed: &mut BTreeSet<RouteRef>) {
        for route in &*changed {
            self.take_out(route);
            self.consider(route);
        }
        let lost = rivals::lost(&self.last.routes, &self.last.lost);
        let moved: Vec<_> = rivals::differing(&self.last.lost, &lost).cloned().collect();
        self.last.lost = lost;
        for route in moved {
            if changed.insert(route.clone()) {
                self.take_out(&route);
                self.consider(&route);
            }
        }
        for route in &*changed {
            self.put_in(route);
        }
        self.tell_policies();
    }

    fn take_out(&mut self, route: &RouteRef) {
        let Some(known) = self.last.unlearn(route) else { return };
        let (kind, key) = route;
        for (place, parent) in &known.placed {
            let Some(placed) = self.last.places.get_mut(place) else { continue };
            placed.attached -= 1;
            for hostname in known.hostnames(*place, *parent) {
                if matches!(kind, Kind::HttpRoute | Kind::GrpcRoute) {
                    self.brought.entry(*place).or_default().entry(hostname.clone()).or_default();
                } else if let Some(rules) = placed.streams.get_mut(hostname) {
                    rules.remove(&(*kind, known.created, key.clone()));
                    placed.streams_changed = true;
                }
            }
            placed.streams.retain(|_, rules| !rules.is_empty());
        }
    }

    /// What the listeners would give the route, had they no other.
    fn consider(&mut self, reference: &RouteRef) {
        let (kind, key) = reference;
        let Some(route) = Route::find(self.set, reference) else { return };
        let ours = self.parents.ours(&key.namespace, route.parents());
        if ours.is_empty() {
            return;
        }
        let hostnames: Vec<_> = route.hostnames().iter().map(|hostname| hostnames::normal(hostname)).collect();
        let comer = Comer { kind: kind.name(), key, hostnames: &hostnames };
        let parents = ours.iter().map(|(parent, at)| {
            let listeners = self.gateways.get(*at).map(|gateway| gateway.listeners.as_slice()).unwrap_or_default();
            (*at, attach(self.set, listeners, parent, &comer))
        });
        let known = KnownRoute {
            created: super::created(route.metadata()),
            parents: parents.collect(),
            placed: Vec::new(),
            asked: BTreeSet::new(),
            sends: BTreeSet::new(),
        };
        self.last.routes.insert(reference.clone(), known);
    }

    fn put_in(&mut self, reference: &RouteRef) {
        let (kind, key) = reference;
        let known = self.last.routes.remove(reference).zip(Route::find(self.set, reference));
        let Some((mut known, route)) = known else {
            if self.last.verdicts.get(kind).is_some_and(|all| all.contains_key(key)) {
                Arc::make_mut(self.last.verdicts.entry(*kind).or_default()).remove(key);
            }
            return;
        };
        self.backends.asked.clear();
        let conditions = match route {
            Route::Tls(route) => self.put_stream(reference, &mut known, &route.spec.rules),
            Route::Stream(route) => self.put_stream(reference, &mut known, &route.spec.rules),
            Route::Http(_) | Route::Grpc(_) => self.put_requests(reference, &mut known, route),
        };
        known.asked = std::mem::take(&mut self.backends.asked);
        let ours = self.parents.ours(&key.namespace, route.parents());
        let parents = ours.iter().zip(conditions);
        let parents = parents.map(|((parent, _), conditions)| ParentVerdict { parent: (*parent).clone(), conditions });
        let generation = route.metadata().generation.unwrap_or_default();
        let verdict = Arc::new(RouteVerdict { generation, parents: parents.collect() });
        Arc::make_mut(self.last.verdicts.entry(*kind).or_default()).insert(key.clone(), verdict);
        self.last.learn(reference.clone(), known);
    }

    /// What the route loses to routes of another kind, by each of its parents.
    pub fn lost(&self, route: &RouteRef, parent: usize) -> Option<&Lost> {
        self.last.lost.get(route)?.get(parent)
    }

    fn tell_policies(&mut self) {
        if self.backends.known.policies.is_empty() {
            return;
        }
        self.backends.known.policies.forget_reached();
        for (reference, known) in self.last.routes.iter().filter(|(_, known)| !known.sends.is_empty()) {
            let lost = self.last.lost.get(reference);
            for (at, (gateway, attachment)) in known.parents.iter().enumerate() {
                let lost = lost.and_then(|lost| lost.get(at)).map_or(0, |lost| lost.listeners.len());
                let Some(gateway) = self.gateways.get(*gateway).filter(|_| attachment.attached.len() > lost) else {
                    continue;
                };
                known.sends.iter().for_each(|service| self.backends.known.policies.reached(service, gateway.key));
            }
        }
    }
}

/// The bytes of `namespace/name`, by which the spec orders.
pub fn slashed(key: &Key) -> impl Iterator<Item = u8> + '_ {
    key.namespace.bytes().chain([b'/']).chain(key.name.bytes())
}
