//! What one compilation leaves to the next, so that a change costs what it touches.
//!
//! A compilation with a memory and one without give the same table and the same verdicts; what
//! did not change is the very same in both tables, and its picks go on where they were.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use k8s_openapi::api::core::v1::Secret;

use super::{Addresses, RouteVerdicts, attach::Attachment, backends::Known as KnownBackends, certificates::Parsed};
use crate::{
    resources::{Changes, Kind, Set},
    table::{Listener, StreamRule},
    types::Key,
};

/// Belongs to one [`Set`], whose [`Set::changes`] are emptied after each compilation.
#[derive(Default)]
pub struct Memory {
    /// Seconds since 1970, by the clock of whoever compiles.
    pub now: i64,
    /// When the next of the certificates ends that have not ended yet.
    pub next_expiry: Option<i64>,
    /// Parsing costs more than all the rest of a compilation.
    pub(super) parsed: HashMap<Key, (Arc<Secret>, Result<Parsed, String>)>,
    pub(super) last: Option<Last>,
}

impl Memory {
    pub fn at(now: i64) -> Self {
        Self { now, ..Self::default() }
    }

    /// What still holds of the last compilation, and the routes that have to be looked at.
    pub(super) fn recall(&mut self, set: &Set, addresses: &Addresses) -> (Last, BTreeSet<RouteRef>) {
        let last = self.last.take().filter(|last| !set.changes.everything && last.addresses == *addresses);
        match last {
            Some(mut last) => {
                let dirty = last.dirty(&set.changes);
                last.backends.forget(&set.changes.services);
                (last, dirty)
            }
            None => {
                let last = Last { addresses: addresses.clone(), backends: KnownBackends::new(set), ..Last::default() };
                (last, set.routes().map(|(kind, key, _)| (kind, key.clone())).collect())
            }
        }
    }
}

pub type RouteRef = (Kind, Key);
/// A listener by the positions of its Gateway and of itself. They stay for as long as no
/// Gateway changes, and then nothing is remembered.
pub type Place = (usize, usize);

/// The last compilation.
#[derive(Default)]
pub struct Last {
    addresses: Addresses,
    pub backends: KnownBackends,
    pub routes: BTreeMap<RouteRef, KnownRoute>,
    by_service: HashMap<Key, BTreeSet<RouteRef>>,
    /// Routes that do not get all that listeners would give them.
    pub lost: BTreeMap<RouteRef, Vec<Lost>>,
    pub places: HashMap<Place, Placed>,
    pub verdicts: RouteVerdicts,
}

/// A route that names a parent of ours.
pub struct KnownRoute {
    pub created: i64,
    /// What each parent of ours would give it.
    pub parents: Vec<(usize, Attachment)>,
    /// Where it is, each place once, with the parent that brought it there.
    pub placed: Vec<(Place, usize)>,
    /// Services that it names.
    pub asked: BTreeSet<Key>,
    /// Those that requests may be sent to.
    pub sends: BTreeSet<Key>,
}

/// What routes of another kind keep from a route, by one parent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    pub listeners: BTreeSet<usize>,
    /// The other kind, and a hostname that it has.
    pub to: Option<(&'static str, String)>,
}

/// What routes brought to a listener.
#[derive(Default)]
pub struct Placed {
    pub attached: i32,
    /// By hostname; the first of each has it.
    pub streams: BTreeMap<String, BTreeMap<Rank, Arc<StreamRule>>>,
    /// As it stands in the table, if it does.
    pub listener: Option<Arc<Listener>>,
    pub streams_changed: bool,
}

/// Kinds in the order of [`Kind`], then older routes, then by name.
pub type Rank = (Kind, i64, Key);

impl Last {
    fn dirty(&self, changes: &Changes) -> BTreeSet<RouteRef> {
        let served = changes.services.iter().filter_map(|service| self.by_service.get(service)).flatten();
        served.chain(&changes.routes).cloned().collect()
    }

    pub fn learn(&mut self, route: RouteRef, known: KnownRoute) {
        for service in &known.asked {
            self.by_service.entry(service.clone()).or_default().insert(route.clone());
        }
        self.routes.insert(route, known);
    }

    pub fn unlearn(&mut self, route: &RouteRef) -> Option<KnownRoute> {
        let known = self.routes.remove(route)?;
        for service in &known.asked {
            if let Some(routes) = self.by_service.get_mut(service) {
                routes.remove(route);
                if routes.is_empty() {
                    self.by_service.remove(service);
                }
            }
        }
        Some(known)
    }
}

impl KnownRoute {
    /// The hostnames on which a place serves it.
    pub fn hostnames(&self, (_, listener): Place, parent: usize) -> &[String] {
        let attached = self.parents.get(parent).map(|(_, attachment)| attachment.attached.as_slice());
        let attached = attached.unwrap_or_default().iter().find(|(at, _)| *at == listener);
        attached.map(|(_, hostnames)| hostnames.as_slice()).unwrap_or_default()
    }
}
