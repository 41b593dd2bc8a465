//! Certificates of HTTPS listeners: Secrets that exist, may be used, parse and fit.

use std::collections::HashMap;

use rustls::{crypto::CryptoProvider, sign::CertifiedKey};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

use super::{
    grants::{Grants, Kind, core},
    listeners::Owner,
    verdict::{Problem, reason},
};
use crate::{
    resources::Set,
    table::CertificatePem,
    types::{GROUP, Key, refs::SecretRef},
};

const SECRET: Kind<'static> = Kind { group: "", kind: "Secret" };

pub struct Certificates<'a> {
    set: &'a Set,
    grants: &'a Grants<'a>,
    provider: CryptoProvider,
    /// Each Secret is parsed once, however many listeners share it.
    checked: HashMap<Key, Result<CertificatePem, String>>,
}

impl<'a> Certificates<'a> {
    pub fn new(set: &'a Set, grants: &'a Grants<'a>) -> Self {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        Self { set, grants, provider, checked: HashMap::new() }
    }

    /// The certificate that `owner` refers to at `field`.
    pub fn resolve(&mut self, owner: Owner<'_>, reference: &SecretRef, field: &str) -> Result<CertificatePem, Problem> {
        let (kind, namespace) = (owner.kind(), &owner.key().namespace);
        if core(&reference.group) != SECRET.group || reference.kind != SECRET.kind {
            let message = format!(
                "{field} is of kind \"{}\" in group \"{}\": refer to a Secret",
                reference.kind, reference.group
            );
            return Err(Problem::new(reason::INVALID_CERTIFICATE_REF, message));
        }
        let key = Key::new(reference.namespace.as_deref().unwrap_or(namespace), &reference.name);
        if !self.grants.allow(Kind { group: GROUP, kind }, namespace, SECRET, &key) {
            let message = format!(
                "{field} refers to Secret \"{}\" in namespace \"{}\", which no ReferenceGrant there allows: create one \
                 from {kind}s of namespace \"{namespace}\" to Secrets",
                key.name, key.namespace
            );
            return Err(Problem::new(reason::REF_NOT_PERMITTED, message));
        }
        let (set, provider) = (self.set, &self.provider);
        let checked = self.checked.entry(key).or_insert_with_key(|key| check(set, provider, key));
        checked.clone().map_err(|message| Problem::new(reason::INVALID_CERTIFICATE_REF, format!("{field}: {message}")))
    }
}

fn check(set: &Set, provider: &CryptoProvider, key: &Key) -> Result<CertificatePem, String> {
    let what = format!("Secret \"{}\" in namespace \"{}\"", key.name, key.namespace);
    let Some(secret) = set.secrets.get(key) else {
        return Err(format!("there is no {what}: create it, of type kubernetes.io/tls"));
    };
    let field = |name: &str| {
        let from_data = secret.data.as_ref().and_then(|data| data.get(name)).map(|value| value.0.clone());
        let from_text = || secret.string_data.as_ref()?.get(name).map(|value| value.clone().into_bytes());
        from_data.or_else(from_text).filter(|value| !value.is_empty()).ok_or_else(|| format!("{what} has no {name}"))
    };
    let (chain, private) = (field("tls.crt")?, field("tls.key")?);
    let certificates = CertificateDer::pem_slice_iter(&chain).collect::<Result<Vec<_>, _>>();
    let certificates = certificates.map_err(|error| format!("tls.crt of {what} is not PEM: {error}"))?;
    if certificates.is_empty() {
        return Err(format!("tls.crt of {what} holds no PEM certificate"));
    }
    let parsed = PrivateKeyDer::from_pem_slice(&private);
    let parsed = parsed.map_err(|error| format!("tls.key of {what} is no PEM private key: {error}"))?;
    CertifiedKey::from_der(certificates, parsed, provider)
        .map_err(|error| format!("certificate and key of {what} cannot be used: {error}"))?;
    Ok(CertificatePem { secret: key.clone(), chain, key: private })
}
