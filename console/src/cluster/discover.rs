//! Which version of each kind the cluster serves.

use kube::{
    Client,
    api::ApiResource,
    core::GroupVersion,
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
