//! Gateway API v1.6 objects as this project reads them.
//!
//! Fields whose set of values may grow (filter types, reasons, match types) are strings
//! here: an unknown value is a verdict on that object, never an object that cannot be read.

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub mod gateway;
pub mod grant;
pub mod grpcroute;
pub mod httproute;
pub mod listenerset;
pub mod policy;
pub mod refs;
pub mod stream;

mod rules;

pub use gateway::{Gateway, GatewayClass};
pub use grant::ReferenceGrant;
pub use grpcroute::GrpcRoute;
pub use httproute::HttpRoute;
pub use listenerset::ListenerSet;
pub use policy::BackendTlsPolicy;
pub use stream::{TcpRoute, TlsRoute, UdpRoute};

pub const GROUP: &str = "gateway.networking.k8s.io";

/// A Kubernetes object with a typed spec and status.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Object<Spec, Status> {
    #[serde(default)]
    #[schemars(schema_with = "rules::metadata")]
    pub metadata: ObjectMeta,
    pub spec: Spec,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
}

impl<Spec, Status> Object<Spec, Status> {
    #[cfg(test)]
    pub fn key(&self) -> Key {
        Key {
            namespace: self.metadata.namespace.clone().unwrap_or_default(),
            name: self.metadata.name.clone().unwrap_or_default(),
        }
    }

    pub fn generation(&self) -> i64 {
        self.metadata.generation.unwrap_or_default()
    }
}

/// Namespace and name; the namespace is empty for cluster-scoped kinds.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key {
    pub namespace: String,
    pub name: String,
}

impl Key {
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            write!(f, "{}", self.name)
        } else {
            write!(f, "{}/{}", self.namespace, self.name)
        }
    }
}
