//! Listeners that stand in each other's way, and which of them stays.

use std::{collections::HashMap, net::IpAddr};

use super::{
    listeners::{ListenerPlan, Owner},
    verdict::{Problem, reason},
};
use crate::{
    table::{Protocol, Socket, Transport},
    types::Key,
};

/// Listeners of one object that cannot be told apart: all of them are refused, for the spec
/// allows no winner among them. Those that are refused already stand in nobody's way.
pub fn within(listeners: &mut [ListenerPlan<'_>]) {
    let mut by_port = HashMap::<(u16, Transport), Vec<usize>>::new();
    for (at, listener) in listeners.iter().enumerate().filter(|(_, listener)| listener.is_accepted()) {
        if let Some(protocol) = listener.protocol {
            by_port.entry((listener.spec.port, protocol.transport())).or_default().push(at);
        }
    }
    for ((port, _), together) in by_port {
        let protocols: Vec<_> = together.iter().filter_map(|at| listeners[*at].protocol).collect();
        let mixed = protocols.iter().any(|one| !one.shares_with(protocols[0]));
        let mut hostnames = HashMap::<String, usize>::new();
        for at in &together {
            *hostnames.entry(listeners[*at].hostname.clone()).or_default() += 1;
        }
        for at in together {
            let kind = listeners[at].owner.kind();
            let listener = &mut listeners[at];
            if mixed {
                let message = format!(
                    "listeners of this {kind} want port {port} for protocols that cannot share it: give each protocol \
                     its own port"
                );
                listener.conflict = Some(Problem::new(reason::PROTOCOL_CONFLICT, message));
            } else if hostnames.get(&listener.hostname).is_some_and(|count| *count > 1) {
                let message = format!(
                    "listeners of this {kind} share port {port} and {}: give each its own hostname or port",
                    named(&listener.hostname)
                );
                listener.conflict = Some(Problem::new(reason::HOSTNAME_CONFLICT, message));
            }
        }
    }
}

/// Listeners of a ListenerSet against those that come before it: the Gateway's, then those of
/// older sets. Who was there first stays.
pub fn with_earlier(earlier: &[ListenerPlan<'_>], listeners: &mut [ListenerPlan<'_>]) {
    for listener in listeners.iter_mut().filter(|listener| listener.is_accepted()) {
        let Some(protocol) = listener.protocol else { continue };
        let rivals = earlier.iter().filter(|other| other.is_accepted() && other.spec.port == listener.spec.port);
        for rival in rivals {
            let Some(theirs) = rival.protocol.filter(|theirs| theirs.transport() == protocol.transport()) else {
                continue;
            };
            let (reason, what) = if !theirs.shares_with(protocol) {
                (reason::PROTOCOL_CONFLICT, format!("protocol {}", rival.spec.protocol))
            } else if rival.hostname == listener.hostname {
                (reason::HOSTNAME_CONFLICT, named(&listener.hostname))
            } else {
                continue;
            };
            let owner = rival.owner;
            let message = format!(
                "listener \"{}\" of {} \"{}\" in namespace \"{}\" comes first and holds port {} for {what}: use another \
                 port or hostname",
                rival.spec.name,
                owner.kind(),
                owner.key().name,
                owner.key().namespace,
                rival.spec.port
            );
            listener.conflict = Some(Problem::new(reason, message));
            break;
        }
    }
}

/// Who holds which socket for which hostname, over all Gateways.
#[derive(Default)]
pub struct Sockets<'a>(HashMap<Socket, Taken<'a>>);

struct Taken<'a> {
    protocol: Protocol,
    owner: Owner<'a>,
    hostnames: HashMap<String, Owner<'a>>,
}

impl<'a> Sockets<'a> {
    /// Gateways with the same static address share its sockets as long as their listeners can
    /// be told apart. Where they cannot, the Gateway that comes here first keeps the place:
    /// the older one, so that a newcomer never takes traffic away.
    pub fn claim(&mut self, listener: &mut ListenerPlan<'a>, addresses: &[IpAddr]) {
        let Some(protocol) = listener.protocol else { return };
        let sockets: Vec<_> = addresses.iter().filter_map(|address| listener.socket(*address)).collect();
        for socket in &sockets {
            let Some(taken) = self.0.get(socket) else { continue };
            let (reason, holder, what) = if !taken.protocol.shares_with(protocol) {
                (reason::PROTOCOL_CONFLICT, taken.owner, "another protocol".to_owned())
            } else if let Some(holder) = taken.hostnames.get(&listener.hostname) {
                (reason::HOSTNAME_CONFLICT, *holder, named(&listener.hostname))
            } else {
                continue;
            };
            let Key { namespace, name } = holder.key();
            let message = format!(
                "{} \"{name}\" in namespace \"{namespace}\" is older and holds {socket} for {what}: use another \
                 address, port or hostname",
                holder.kind()
            );
            listener.conflict = Some(Problem::new(reason, message));
            return;
        }
        for socket in sockets {
            let owner = listener.owner;
            let taken = self.0.entry(socket).or_insert_with(|| Taken { protocol, owner, hostnames: HashMap::new() });
            taken.hostnames.insert(listener.hostname.clone(), owner);
        }
    }
}

fn named(hostname: &str) -> String {
    if hostname.is_empty() { "any hostname".to_owned() } else { format!("hostname \"{hostname}\"") }
}
