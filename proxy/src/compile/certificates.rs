//! Certificates of listeners: Secrets that exist, may be used, parse and fit.

use std::{collections::HashSet, sync::Arc};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use rustls::{crypto::CryptoProvider, sign::CertifiedKey};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

use super::{
    grants::{Grants, Kind, core},
    listeners::Owner,
    memory::Memory,
    verdict::{Problem, reason},
};
use crate::{
    resources::Set,
    table::CertificatePem,
    types::{GROUP, Key, refs::SecretRef},
};

const SECRET: Kind<'static> = Kind { group: "", kind: "Secret" };

#[derive(Debug, Clone)]
pub struct Parsed {
    pem: CertificatePem,
    /// When the first of the chain ends.
    not_after: i64,
}

pub struct Certificates<'a> {
    set: &'a Set,
    grants: &'a Grants<'a>,
    provider: CryptoProvider,
    memory: &'a mut Memory,
    used: HashSet<Key>,
}

impl<'a> Certificates<'a> {
    pub fn new(set: &'a Set, grants: &'a Grants<'a>, memory: &'a mut Memory) -> Self {
        memory.next_expiry = None;
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        Self { set, grants, provider, memory, used: HashSet::new() }
    }

    /// Forgets what no listener uses any more.
    pub fn finish(self) {
        let Self { memory, used, .. } = self;
        memory.parsed.retain(|key, _| used.contains(key));
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
        self.parsed(&key)
            .map(|parsed| parsed.pem)
            .map_err(|message| Problem::new(reason::INVALID_CERTIFICATE_REF, format!("{field}: {message}")))
    }

    /// Each Secret is parsed once, however many listeners share it and tables follow each other.
    fn parsed(&mut self, key: &Key) -> Result<Parsed, String> {
        let what = format!("Secret \"{}\" in namespace \"{}\"", key.name, key.namespace);
        let Some(secret) = self.set.secrets.get(key) else {
            return Err(format!("there is no {what}: create it, of type kubernetes.io/tls"));
        };
        self.used.insert(key.clone());
        let known = self.memory.parsed.get(key).filter(|(of, _)| {
            Arc::ptr_eq(of, secret) || (of.data == secret.data && of.string_data == secret.string_data)
        });
        let parsed = match known {
            Some((_, parsed)) => parsed.clone(),
            None => {
                let parsed = check(secret, &self.provider, key, &what);
                self.memory.parsed.insert(key.clone(), (Arc::clone(secret), parsed.clone()));
                parsed
            }
        };
        if let Ok(Parsed { not_after, .. }) = parsed
            && not_after > self.memory.now
        {
            let next = self.memory.next_expiry.unwrap_or(not_after);
            self.memory.next_expiry = Some(next.min(not_after));
        }
        parsed
    }

    /// What is to be said of a certificate that is served nevertheless: whether to trust one that
    /// has ended is for clients to decide, and none at all would serve nobody.
    pub fn complaint(&self, secret: &Key, field: &str) -> Option<Problem> {
        let (_, parsed) = self.memory.parsed.get(secret)?;
        let ended = parsed.as_ref().ok()?.not_after;
        if ended > self.memory.now {
            return None;
        }
        let since = Timestamp::from_second(ended).map_or_else(|_| ended.to_string(), |time| time.to_string());
        let message = format!(
            "{field}: the certificate of Secret \"{}\" in namespace \"{}\" has ended at {since} and is served \
             nevertheless: renew it",
            secret.name, secret.namespace
        );
        Some(Problem::new(reason::INVALID_CERTIFICATE_REF, message))
    }
}

fn check(secret: &Secret, provider: &CryptoProvider, key: &Key, what: &str) -> Result<Parsed, String> {
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
    let mut not_after = i64::MAX;
    for der in &certificates {
        let (_, read) = X509Certificate::from_der(der)
            .map_err(|error| format!("tls.crt of {what} holds what is no certificate: {error}"))?;
        not_after = not_after.min(read.validity().not_after.timestamp());
    }
    CertifiedKey::from_der(certificates, parsed, provider)
        .map_err(|error| format!("certificate and key of {what} cannot be used: {error}"))?;
    Ok(Parsed { pem: CertificatePem { secret: key.clone(), chain, key: private }, not_after })
}
