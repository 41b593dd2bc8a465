//! From listeners with their routes to the sockets of the table.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::SocketAddr,
    sync::Arc,
};

use super::{
    gateways::GatewayPlan,
    listeners::ListenerPlan,
    memory::{Place, Placed, RouteRef},
    placing::Brought,
};
use crate::{
    metrics::{Registry, SeriesKey},
    resources::Kind,
    table::{Bind, HostMap, Listener, Protocol, RouteId, Routes, Socket as Address},
    types::Key,
};

/// What is known of listeners, and what changes in them.
pub struct Listeners<'c> {
    pub places: &'c mut HashMap<Place, Placed>,
    pub brought: Brought,
    /// Whatever listeners still have of these routes is no more.
    pub changed: &'c BTreeSet<RouteRef>,
}

impl Listeners<'_> {
    /// The very listener of the last table, where nothing in it changes.
    fn listener(
        &mut self,
        place: Place,
        plan: &ListenerPlan<'_>,
        protocol: Protocol,
        registry: &Registry,
    ) -> Arc<Listener> {
        let placed = self.places.entry(place).or_default();
        let brought = self.brought.remove(&place);
        let (mut routes, streams) = match &placed.listener {
            Some(known) if brought.is_none() && !placed.streams_changed => return Arc::clone(known),
            Some(known) => (known.routes.clone(), (!placed.streams_changed).then(|| known.streams.clone())),
            None => (HostMap::default(), None),
        };
        for (hostname, mut matches) in brought.into_iter().flatten() {
            let before = routes.remove(&hostname);
            let before = before.iter().flat_map(|routes: &Arc<Routes>| routes.matches());
            matches.extend(before.filter(|one| !is_of(&one.rule.route, self.changed)).cloned());
            if !matches.is_empty() {
                routes.insert(&hostname, Arc::new(Routes::new(matches)));
            }
        }
        let streams = streams.unwrap_or_else(|| {
            let mut first = HostMap::default();
            for (hostname, rules) in &placed.streams {
                if let Some(rule) = rules.values().next() {
                    first.insert(hostname, Arc::clone(rule));
                }
            }
            first
        });
        let listener = Arc::new(Listener {
            gateway: plan.gateway.clone(),
            name: plan.name.clone(),
            protocol,
            tls: plan.tls.clone(),
            routes,
            streams,
            unmatched: registry.series(plan.labels()),
        });
        (placed.listener, placed.streams_changed) = (Some(Arc::clone(&listener)), false);
        listener
    }
}

/// HTTPRoutes and GRPCRoutes only.
fn is_of(route: &RouteId, routes: &BTreeSet<RouteRef>) -> bool {
    let kind = if route.kind == Kind::GrpcRoute.name() { Kind::GrpcRoute } else { Kind::HttpRoute };
    routes.contains(&(kind, route.key.clone()))
}

/// One socket while its listeners are gathered.
struct Socket<'a> {
    protocol: Protocol,
    accept_proxy: bool,
    /// The oldest of the Gateways on it: requests for hosts that nobody takes are counted there.
    gateway: &'a Key,
    listeners: HostMap<Arc<Listener>>,
}

/// Sorted by socket.
pub fn binds(gateways: &[GatewayPlan<'_>], mut listeners: Listeners<'_>, registry: &Registry) -> Vec<Arc<Bind>> {
    let mut sockets = BTreeMap::<Address, Socket<'_>>::new();
    for (gateway_at, gateway) in gateways.iter().enumerate() {
        let addresses = gateway.addresses;
        let accept_proxy = &gateway.accept_proxy;
        for (at, plan) in gateway.listeners.iter().enumerate().filter(|(_, listener)| listener.is_servable()) {
            let Some(protocol) = plan.protocol else { continue };
            let listener = listeners.listener((gateway_at, at), plan, protocol, registry);
            for address in addresses {
                let address =
                    Address { address: SocketAddr::new(*address, plan.spec.port), transport: protocol.transport() };
                let socket = sockets.entry(address).or_insert_with(|| Socket {
                    protocol,
                    accept_proxy: false,
                    gateway: plan.gateway,
                    listeners: HostMap::default(),
                });
                socket.accept_proxy |= accept_proxy.contains(&plan.spec.port) && protocol != Protocol::Udp;
                if socket.protocol != protocol {
                    socket.protocol = Protocol::Tls;
                }
                socket.listeners.insert(&plan.hostname, Arc::clone(&listener));
            }
        }
    }
    let bind = |(address, socket): (Address, Socket<'_>)| {
        let labels = SeriesKey {
            gateway_namespace: socket.gateway.namespace.clone(),
            gateway: socket.gateway.name.clone(),
            ..SeriesKey::default()
        };
        let unmatched = registry.series(labels);
        Arc::new(Bind {
            address: address.address,
            protocol: socket.protocol,
            accept_proxy: socket.accept_proxy,
            listeners: socket.listeners,
            unmatched,
        })
    };
    sockets.into_iter().map(bind).collect()
}
