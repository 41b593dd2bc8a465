//! TLS termination: certificates by server name, per socket.

use std::{collections::HashMap, sync::Arc};

use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use x509_parser::{extensions::GeneralName, prelude::FromDer};

use super::hello::Rewound;
use crate::{
    metrics::{CertificateExpiry, ListenerLabels},
    table::{Bind, CertificatePem, HostMap, Listener, ServerTls},
};

/// Of one socket. Kept from table to table while its certificates stay, so that clients can
/// resume their sessions.
#[derive(Debug)]
pub(super) struct Settings {
    /// For listeners that speak HTTP.
    pub http: Arc<ServerConfig>,
    /// For listeners that pass on what they decrypt: they choose no protocol by ALPN.
    pub bytes: Arc<ServerConfig>,
    /// What they were made from, by hostname.
    source: Vec<(String, Option<Arc<ServerTls>>)>,
    pub expiries: Vec<CertificateExpiry>,
}

/// The listener with the most specific hostname answers for a name, and no other.
#[derive(Debug)]
struct Resolver {
    by_host: HostMap<Vec<Certificate>>,
}

#[derive(Debug, Clone)]
struct Certificate {
    key: Arc<CertifiedKey>,
    names: Vec<String>,
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().unwrap_or_default().to_ascii_lowercase();
        let certificates = self.by_host.find(&name).next()?;
        let usable =
            |certificate: &&Certificate| certificate.key.key.choose_scheme(hello.signature_schemes()).is_some();
        let named = certificates.iter().filter(usable).find(|certificate| certificate.covers(&name));
        named.or_else(|| certificates.iter().find(usable)).map(|certificate| Arc::clone(&certificate.key))
    }
}

impl Certificate {
    fn covers(&self, host: &str) -> bool {
        self.names.iter().any(|name| match name.strip_prefix("*.") {
            Some(suffix) => host.split_once('.').is_some_and(|(_, parent)| parent == suffix),
            None => name == host,
        })
    }
}

/// Settings for `bind`, or `before` where nothing changed. An error only when no certificate
/// of the socket can be used: one bad Secret does not take its neighbours down.
pub(super) fn settings(bind: &Bind, before: Option<&Arc<Settings>>) -> Result<Arc<Settings>, String> {
    let source: Vec<_> = bind.listeners.iter().map(|(host, listener)| (host, listener.tls.clone())).collect();
    if let Some(before) = before.filter(|before| before.source == source) {
        return Ok(Arc::clone(before));
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut parsed = HashMap::<Vec<u8>, Result<(Certificate, i64), String>>::new();
    let (mut by_host, mut expiries, mut problems) = (HostMap::default(), Vec::new(), Vec::new());
    for (host, listener) in bind.listeners.iter() {
        let mut usable = Vec::new();
        for pem in listener.tls.iter().flat_map(|tls| &tls.certificates) {
            let made = parsed.entry(pem.chain.clone()).or_insert_with(|| certificate(pem, &provider));
            match made {
                Ok((certificate, not_after)) => {
                    usable.push(certificate.clone());
                    expiries.push(expiry(listener, pem, *not_after));
                }
                Err(problem) => {
                    tracing::warn!(secret = %pem.secret, listener = listener.name, problem, "certificate skipped");
                    problems.push(format!("Secret {}: {problem}", pem.secret));
                }
            }
        }
        // A host without certificate is not left to a less specific listener's.
        by_host.insert(&host, usable);
    }
    if by_host.values().all(Vec::is_empty) {
        problems.dedup();
        let reason = if problems.is_empty() { "no listener names one".to_owned() } else { problems.join("; ") };
        return Err(reason);
    }
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Resolver { by_host }));
    config.ticketer = aws_lc_rs::Ticketer::new().map_err(|error| error.to_string())?;
    let bytes = Arc::new(config.clone());
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(Settings { http: Arc::new(config), bytes, source, expiries }))
}

fn certificate(pem: &CertificatePem, provider: &rustls::crypto::CryptoProvider) -> Result<(Certificate, i64), String> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&pem.chain)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("tls.crt is not PEM: {error}"))?;
    let leaf = chain.first().ok_or("tls.crt holds no certificate")?;
    let (_, read) = x509_parser::certificate::X509Certificate::from_der(leaf)
        .map_err(|error| format!("tls.crt is not a certificate: {error}"))?;
    let not_after = read.validity().not_after.timestamp();
    let names = read.subject_alternative_name().ok().flatten().map(|names| {
        let names = names.value.general_names.iter();
        names.filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        })
    });
    let names = names.into_iter().flatten().collect();
    let key = PrivateKeyDer::from_pem_slice(&pem.key).map_err(|error| format!("tls.key is not a PEM key: {error}"))?;
    let key = CertifiedKey::from_der(chain, key, provider).map_err(|error| error.to_string())?;
    Ok((Certificate { key: Arc::new(key), names }, not_after))
}

fn expiry(listener: &Listener, pem: &CertificatePem, not_after: i64) -> CertificateExpiry {
    CertificateExpiry {
        listener: ListenerLabels {
            gateway_namespace: listener.gateway.namespace.clone(),
            gateway: listener.gateway.name.clone(),
            listener: listener.name.clone(),
        },
        secret: pem.secret.to_string(),
        not_after,
    }
}

/// A connection whose TLS ends here.
pub(super) type Stream = TlsStream<Rewound>;

pub(super) async fn accept(config: &Arc<ServerConfig>, stream: Rewound) -> std::io::Result<Stream> {
    TlsAcceptor::from(Arc::clone(config)).accept(stream).await
}

/// What the client chose by ALPN.
pub(super) fn is_h2(stream: &Stream) -> bool {
    stream.get_ref().1.alpn_protocol() == Some(b"h2")
}
