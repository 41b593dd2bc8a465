//! Certificates of authorities: ConfigMaps that exist, and whose `ca.crt` parses.

use std::{collections::HashMap, sync::Arc};

use rustls::RootCertStore;
use rustls_pki_types::{CertificateDer, pem::PemObject};

use crate::{resources::Set, types::Key};

/// Key of a ConfigMap under which its bundle is.
const BUNDLE: &str = "ca.crt";

pub struct Authorities<'a> {
    set: &'a Set,
    /// Each ConfigMap is parsed once, however many refer to it.
    checked: HashMap<Key, Result<Arc<[u8]>, String>>,
}

impl<'a> Authorities<'a> {
    pub fn new(set: &'a Set) -> Self {
        Self { set, checked: HashMap::new() }
    }

    /// The PEM bundle of this ConfigMap, or what is wrong with it.
    pub fn bundle(&mut self, key: &Key) -> Result<Arc<[u8]>, String> {
        let set = self.set;
        self.checked.entry(key.clone()).or_insert_with_key(|key| check(set, key)).clone()
    }
}

fn check(set: &Set, key: &Key) -> Result<Arc<[u8]>, String> {
    let what = format!("ConfigMap \"{}\" in namespace \"{}\"", key.name, key.namespace);
    let Some(map) = set.config_maps.get(key) else {
        return Err(format!("there is no {what}: create it, with the certificates as PEM in {BUNDLE}"));
    };
    let text = map.data.as_ref().and_then(|data| data.get(BUNDLE)).map(String::as_bytes);
    let binary = || map.binary_data.as_ref()?.get(BUNDLE).map(|value| value.0.as_slice());
    let bundle = text.or_else(binary).filter(|bundle| !bundle.is_empty());
    let bundle = bundle.ok_or_else(|| format!("{what} has no {BUNDLE}"))?;
    let certificates = CertificateDer::pem_slice_iter(bundle).collect::<Result<Vec<_>, _>>();
    let certificates = certificates.map_err(|error| format!("{BUNDLE} of {what} is not PEM: {error}"))?;
    if certificates.is_empty() {
        return Err(format!("{BUNDLE} of {what} holds no PEM certificate"));
    }
    for certificate in certificates {
        let added = RootCertStore::empty().add(certificate);
        added.map_err(|error| format!("{BUNDLE} of {what} holds a certificate that cannot be used: {error}"))?;
    }
    Ok(bundle.into())
}
