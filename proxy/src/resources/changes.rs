//! What of a [`Set`](super::Set) a table has not seen yet. Pure.

use std::collections::BTreeSet;

use k8s_openapi::api::discovery::v1::EndpointSlice;

use super::Kind;
use crate::types::Key;

/// Label of an EndpointSlice that names its Service.
pub const SERVICE_LABEL: &str = "kubernetes.io/service-name";

/// Routes, and Services with their endpoints, change all the time, and each concerns few others.
/// What else changes concerns everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    pub everything: bool,
    pub routes: BTreeSet<(Kind, Key)>,
    pub services: BTreeSet<Key>,
}

impl Changes {
    pub(super) fn everything(&mut self) {
        self.everything = true;
    }

    pub(super) fn route(&mut self, kind: Kind, key: &Key) {
        self.routes.insert((kind, key.clone()));
    }

    pub(super) fn service(&mut self, key: &Key) {
        self.services.insert(key.clone());
    }

    pub(super) fn slices<'a>(&mut self, slices: impl Iterator<Item = &'a EndpointSlice>) {
        self.services.extend(slices.filter_map(service_of));
    }
}

/// The Service that a slice belongs to.
pub fn service_of(slice: &EndpointSlice) -> Option<Key> {
    let service = slice.metadata.labels.as_ref()?.get(SERVICE_LABEL)?;
    Some(Key::new(slice.metadata.namespace.as_deref().unwrap_or_default(), service))
}
