//! All Gateways in one process on one host: each has an address out of a pool, or those that its
//! `spec.addresses` names. Pure; whether the host has an address shows when it is bound.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnet::IpNet;

use crate::{
    compile::{AddressProblem, Addresses, verdict::reason},
    resources::Set,
    types::{Gateway, Key, gateway::GatewayAddress},
};

#[cfg(test)]
mod tests;

pub const IP_ADDRESS: &str = "IPAddress";

/// The addresses of every Gateway whose class `controller` runs.
///
/// An address that a Gateway has already (`status.addresses`) stays with it. Two Gateways share
/// an address only where both name it themselves and no port is wanted twice; who is older has it.
pub fn assign(set: &Set, pool: IpNet, controller: &str) -> Addresses {
    let mut gateways: Vec<_> = set
        .gateways
        .iter()
        .filter(|(_, gateway)| {
            let class = set.classes.get(&gateway.spec.gateway_class_name);
            class.is_some_and(|class| class.spec.controller_name == controller)
        })
        .collect();
    gateways.sort_by_key(|(key, gateway)| (gateway.metadata.creation_timestamp.clone().map(|time| time.0), *key));

    let mut claims = Claims::default();
    let mut addresses = Addresses::new();
    let mut waiting = Vec::new();
    for (key, gateway) in gateways {
        match wanted(gateway) {
            Err(problem) => {
                addresses.insert(key.clone(), Err(problem));
            }
            Ok(named) if !named.is_empty() => {
                addresses.insert(key.clone(), claims.named(key, gateway, named));
            }
            Ok(_) => match kept(gateway, pool).find(|address| claims.free(*address)) {
                Some(address) => {
                    claims.take(address, key, gateway, false);
                    addresses.insert(key.clone(), Ok(vec![address]));
                }
                None => waiting.push((key, gateway)),
            },
        }
    }
    let mut free = hosts(pool);
    for (key, gateway) in waiting {
        let address = free.find(|address| claims.free(*address));
        let given = match address {
            Some(address) => {
                claims.take(address, key, gateway, false);
                Ok(vec![address])
            }
            None => Err(AddressProblem {
                reason: reason::ADDRESS_NOT_ASSIGNED,
                message: format!(
                    "every address of the pool {pool} is taken; start gwproxy with a larger --address-pool, \
                     delete a Gateway, or name an address of this host in spec.addresses"
                ),
            }),
        };
        addresses.insert(key.clone(), given);
    }
    addresses
}

/// Addresses of the pool that a host may have: not the network's and not the broadcast address.
pub fn hosts(pool: IpNet) -> impl Iterator<Item = IpAddr> {
    let pool = pool.trunc();
    let single = pool.prefix_len() == pool.max_prefix_len();
    pool.hosts()
        .filter(move |address| single || *address != pool.network() || pool.prefix_len() + 1 == pool.max_prefix_len())
}

/// The addresses that the Gateway names; none if any will do.
fn wanted(gateway: &Gateway) -> Result<Vec<IpAddr>, AddressProblem> {
    let mut named = Vec::new();
    for address in &gateway.spec.addresses {
        let GatewayAddress { type_, value } = address;
        match type_.as_deref() {
            None | Some(IP_ADDRESS) => {}
            Some(other) => {
                return Err(AddressProblem {
                    reason: reason::UNSUPPORTED_ADDRESS,
                    message: format!("address type {other:?} is not supported; use {IP_ADDRESS}"),
                });
            }
        }
        // No value asks for any address of the type.
        if value.is_empty() {
            continue;
        }
        let unusable = |why: &str| AddressProblem {
            reason: reason::ADDRESS_NOT_USABLE,
            message: format!("address {value:?} {why}"),
        };
        let address: IpAddr = value.parse().map_err(|_| unusable("is not an IP address"))?;
        if address.is_unspecified() || address.is_multicast() {
            return Err(unusable("is no address of one host; name one that this host has"));
        }
        if !named.contains(&address) {
            named.push(address);
        }
    }
    Ok(named)
}

fn kept(gateway: &Gateway, pool: IpNet) -> impl Iterator<Item = IpAddr> {
    let addresses = gateway.status.iter().flat_map(|status| &status.addresses);
    addresses.filter_map(|address| address.value.parse().ok()).filter(move |address| {
        pool.contains(address)
            && (hosts(pool).next().is_some_and(|first| *address >= first))
            && !is_broadcast(pool, *address)
    })
}

fn is_broadcast(pool: IpNet, address: IpAddr) -> bool {
    matches!(pool, IpNet::V4(pool) if pool.prefix_len() < 31 && address == pool.broadcast())
}

/// Who has which address.
#[derive(Default)]
struct Claims<'a>(BTreeMap<IpAddr, Vec<Claim<'a>>>);

struct Claim<'a> {
    gateway: &'a Key,
    ports: BTreeSet<u16>,
    /// Named in `spec.addresses`, so others may name it too.
    shared: bool,
}

impl<'a> Claims<'a> {
    fn free(&self, address: IpAddr) -> bool {
        !self.0.contains_key(&address)
    }

    fn take(&mut self, address: IpAddr, key: &'a Key, gateway: &Gateway, shared: bool) {
        let ports = gateway.spec.listeners.iter().map(|listener| listener.port).collect();
        self.0.entry(address).or_default().push(Claim { gateway: key, ports, shared });
    }

    fn named(&mut self, key: &'a Key, gateway: &Gateway, named: Vec<IpAddr>) -> Result<Vec<IpAddr>, AddressProblem> {
        let ports: BTreeSet<u16> = gateway.spec.listeners.iter().map(|listener| listener.port).collect();
        for address in &named {
            let others = self.0.get(address).into_iter().flatten();
            for other in others {
                let common = other.ports.intersection(&ports).next();
                if let (false, _) | (true, Some(_)) = (other.shared, common) {
                    return Err(AddressProblem {
                        reason: reason::ADDRESS_NOT_USABLE,
                        message: match common {
                            Some(port) => format!("port {port} of {address} belongs to Gateway {}", other.gateway),
                            None => {
                                format!("{address} belongs to Gateway {}, which has it out of the pool", other.gateway)
                            }
                        },
                    });
                }
            }
        }
        for address in &named {
            self.take(*address, key, gateway, true);
        }
        Ok(named)
    }
}
