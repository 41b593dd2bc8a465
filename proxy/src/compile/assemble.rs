//! From listeners with their routes to the sockets of the table.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use super::gateways::GatewayPlan;
use crate::{
    metrics::{Registry, SeriesKey},
    table::{Bind, HostMap, Listener, Protocol, Routes, Socket as Address},
    types::Key,
};

/// One socket while its listeners are gathered.
struct Socket<'a> {
    protocol: Protocol,
    accept_proxy: bool,
    /// The oldest of the Gateways on it: requests for hosts that nobody takes are counted there.
    gateway: &'a Key,
    listeners: HostMap<Arc<Listener>>,
}

/// Sorted by socket.
pub fn binds(gateways: Vec<GatewayPlan<'_>>, registry: &Registry) -> Vec<Arc<Bind>> {
    let mut sockets = BTreeMap::<Address, Socket<'_>>::new();
    for gateway in gateways {
        let addresses = gateway.addresses;
        let accept_proxy = gateway.accept_proxy;
        for plan in gateway.listeners.into_iter().filter(|listener| listener.is_servable()) {
            let Some(protocol) = plan.protocol else { continue };
            let mut routes = HostMap::default();
            let unmatched = registry.series(plan.labels());
            let mut streams = HostMap::default();
            for (hostname, rule) in plan.streams {
                streams.insert(&hostname, rule);
            }
            for (hostname, matches) in plan.routes {
                routes.insert(&hostname, Routes::new(matches));
            }
            let listener = Arc::new(Listener {
                gateway: plan.gateway.clone(),
                name: plan.name,
                protocol,
                tls: plan.tls,
                routes,
                streams,
                unmatched,
            });
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
