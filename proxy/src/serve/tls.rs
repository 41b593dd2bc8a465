//! TLS termination: certificates by server name, per socket.

use std::{collections::HashMap, sync::Arc};

use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    server::{Acceptor, ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio_rustls::{LazyConfigAcceptor, TlsAcceptor, server::TlsStream};
use x509_parser::{extensions::GeneralName, prelude::FromDer};

use super::{clients, hello::Rewound};
use crate::{
    metrics::{CertificateExpiry, ListenerLabels},
    table::{Bind, CertificatePem, ClientAuth, HostMap, Listener, ServerTls},
};

/// Of one socket. Kept from table to table while its certificates stay, so that clients can
/// resume their sessions.
#[derive(Debug)]
pub(super) struct Settings {
    /// For listeners that speak HTTP, by hostname: they may ask different things of clients.
    http: HostMap<Arc<ServerConfig>>,
    /// Where all of them ask for the same.
    http_alike: Option<Arc<ServerConfig>>,
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
    let resolver = Arc::new(Resolver { by_host });
    let bytes = Arc::new(config(None, &provider, &resolver)?);
    let (mut http, mut made) = (HostMap::default(), Vec::<(Option<Arc<ClientAuth>>, Arc<ServerConfig>)>::new());
    for (host, listener) in bind.listeners.iter() {
        let clients = listener.tls.as_ref().and_then(|tls| tls.clients.clone());
        let known = made.iter().find(|(asked, _)| *asked == clients).map(|(_, config)| Arc::clone(config));
        let config = match known {
            Some(config) => config,
            None => {
                let mut config = config(clients.as_deref(), &provider, &resolver)?;
                config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
                let config = Arc::new(config);
                made.push((clients, Arc::clone(&config)));
                config
            }
        };
        http.insert(&host, config);
    }
    let http_alike = match made.as_slice() {
        [(_, only)] => Some(Arc::clone(only)),
        _ => None,
    };
    Ok(Arc::new(Settings { http, http_alike, bytes, source, expiries }))
}

/// With tickets of its own: a session is not resumed where more is asked than where it began.
fn config(
    clients: Option<&ClientAuth>,
    provider: &Arc<CryptoProvider>,
    resolver: &Arc<Resolver>,
) -> Result<ServerConfig, String> {
    let builder = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(clients) => builder.with_client_cert_verifier(clients::verifier(clients, provider)?),
    };
    let mut config = builder.with_cert_resolver(Arc::clone(resolver) as Arc<dyn ResolvesServerCert>);
    config.ticketer = aws_lc_rs::Ticketer::new().map_err(|error| error.to_string())?;
    Ok(config)
}

fn certificate(pem: &CertificatePem, provider: &CryptoProvider) -> Result<(Certificate, i64), String> {
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

/// For a listener that speaks HTTP.
pub(super) async fn accept_http(settings: &Settings, stream: Rewound) -> std::io::Result<Stream> {
    if let Some(config) = &settings.http_alike {
        return accept(config, stream).await;
    }
    let start = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
    let name = start.client_hello().server_name().unwrap_or_default().to_ascii_lowercase();
    match settings.http.find(&name).next() {
        Some(config) => start.into_stream(Arc::clone(config)).await,
        None => Err(std::io::Error::other("no listener takes this server name")),
    }
}

/// What the client chose by ALPN.
pub(super) fn is_h2(stream: &Stream) -> bool {
    stream.get_ref().1.alpn_protocol() == Some(b"h2")
}
