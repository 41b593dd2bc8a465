//! Which version of each kind the cluster serves.

use std::sync::PoisonError;

use kube::{Client, api::ApiResource, core::GroupVersion};

use super::{
    connect::Connection,
    read::{Failure, within},
};
use crate::model::key::Kind;

/// What the cluster says about a kind.
#[derive(Debug, Clone, PartialEq)]
pub enum Served {
    As(ApiResource),
    NotAtAll,
}

/// Versions that this console can read, the best first.
const fn versions(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::GatewayClass | Kind::Gateway | Kind::HttpRoute | Kind::ReferenceGrant => &["v1", "v1beta1"],
        Kind::Namespace | Kind::Service | Kind::EndpointSlice => &["v1"],
        Kind::GrpcRoute | Kind::TcpRoute | Kind::UdpRoute => &["v1", "v1alpha2"],
        Kind::TlsRoute => &["v1", "v1alpha3", "v1alpha2"],
    }
}

/// Finds out which version of a kind is served, for all later calls of this connection.
/// False: none that this console can write.
pub async fn learn(connection: &Connection, kind: Kind) -> Result<bool, Failure> {
    match within(connection, served(&connection.client, kind)).await? {
        Served::As(resource) => {
            connection.versions.lock().unwrap_or_else(PoisonError::into_inner).insert(kind, resource.version);
            Ok(true)
        }
        Served::NotAtAll => Ok(false),
    }
}

pub async fn served(client: &Client, kind: Kind) -> Result<Served, kube::Error> {
    for version in versions(kind) {
        let group_version = GroupVersion::gv(kind.group(), version);
        let list = if kind.group().is_empty() {
            client.list_core_api_resources(version).await
        } else {
            client.list_api_group_resources(&group_version.api_version()).await
        };
        match list {
            Ok(list) => {
                if list.resources.iter().any(|resource| resource.name == kind.plural()) {
                    let gvk = group_version.with_kind(kind.name());
                    return Ok(Served::As(ApiResource::from_gvk_with_plural(&gvk, kind.plural())));
                }
            }
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Served::NotAtAll)
}
