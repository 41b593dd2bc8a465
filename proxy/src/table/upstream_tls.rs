//! TLS towards endpoints: whom they have to be, and who we are to them.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, OnceLock},
};

use rustls::ClientConfig;

use super::{CertificatePem, UpstreamProtocol};

/// Equal ones are made anew with every table: connections are found by value, and `made` by
/// whoever dials first serves for as long as such connections are kept.
pub struct UpstreamTls {
    settings: Settings,
    digest: u64,
    /// Made at the first connection.
    pub made: OnceLock<Result<Arc<ClientConfig>, String>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Settings {
    /// What is spoken inside, to be agreed on; `None` for bytes that are none of our business.
    pub protocol: Option<UpstreamProtocol>,
    /// The server name that is asked for, and the one that the certificate has to carry unless
    /// `names` has others.
    pub hostname: String,
    pub roots: Roots,
    /// Any one of them has to be in the certificate.
    pub names: Vec<SubjectName>,
    /// What we show when asked.
    pub client: Option<Arc<CertificatePem>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Roots {
    System,
    /// PEM bundles, checked at compile time.
    Pem(Vec<Arc<[u8]>>),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SubjectName {
    /// Lower case; may begin with `*.`, which stands for one label.
    Dns(String),
    Uri(String),
}

impl UpstreamTls {
    pub fn new(settings: Settings) -> Self {
        let mut hasher = DefaultHasher::new();
        settings.hash(&mut hasher);
        Self { settings, digest: hasher.finish(), made: OnceLock::new() }
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }
}

impl PartialEq for UpstreamTls {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other) || (self.digest == other.digest && self.settings == other.settings)
    }
}

impl Eq for UpstreamTls {}

impl Hash for UpstreamTls {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.digest.hash(state);
    }
}

impl std::fmt::Debug for UpstreamTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("UpstreamTls").field(&self.settings.hostname).finish()
    }
}
