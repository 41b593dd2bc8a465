//! TLS towards endpoints: their certificate is verified against the policy, ours is shown.

use std::{
    io,
    sync::{Arc, OnceLock},
    time::Duration,
};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor,
    },
    crypto::{CryptoProvider, aws_lc_rs},
    server::ParsedCertificate,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use x509_parser::{extensions::GeneralName, prelude::FromDer};

use crate::{
    metrics::Failure,
    table::{Roots, SubjectName, UpstreamProtocol, UpstreamTls, upstream_tls::Settings},
};

/// A connection that only the right endpoint can read.
pub(super) async fn secure(
    tls: &UpstreamTls,
    stream: TcpStream,
    limit: Duration,
) -> Result<TlsStream<TcpStream>, Failure> {
    let settings = tls.settings();
    let refused = |why: &dyn std::fmt::Display| {
        tracing::debug!(hostname = settings.hostname, "TLS to an endpoint failed: {why}");
        Failure::Tls
    };
    let config = tls.made.get_or_init(|| config(settings).map(Arc::new));
    let config = config.as_ref().map_err(|why| refused(why))?;
    let name = ServerName::try_from(settings.hostname.clone()).map_err(|error| refused(&error))?;
    let connecting = TlsConnector::from(Arc::clone(config)).connect(name, stream);
    let stream = match tokio::time::timeout(limit, connecting).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(refused(&"it hung up")),
        Ok(Err(error)) => return Err(refused(&error)),
        Err(_) => return Err(Failure::ConnectTimeout),
    };
    let speaks_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    if settings.protocol == Some(UpstreamProtocol::Http2) && !speaks_http2 {
        return Err(refused(&"it does not speak HTTP/2"));
    }
    Ok(stream)
}

fn config(settings: &Settings) -> Result<ClientConfig, String> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let roots = roots(&settings.roots)?;
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let builder = if settings.names.is_empty() {
        builder.with_root_certificates(roots)
    } else {
        let by_hostname = WebPkiServerVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider));
        let by_hostname = by_hostname.build().map_err(|error| error.to_string())?;
        let verifier = ByNames { roots, provider, by_hostname, names: settings.names.clone() };
        builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
    };
    let mut config = match &settings.client {
        None => builder.with_no_client_auth(),
        Some(ours) => {
            let chain = CertificateDer::pem_slice_iter(&ours.chain).collect::<Result<Vec<_>, _>>();
            let chain = chain.map_err(|error| format!("tls.crt of Secret {} is not PEM: {error}", ours.secret))?;
            let key = PrivateKeyDer::from_pem_slice(&ours.key);
            let key = key.map_err(|error| format!("tls.key of Secret {} is not PEM: {error}", ours.secret))?;
            builder.with_client_auth_cert(chain, key).map_err(|error| error.to_string())?
        }
    };
    config.alpn_protocols = match settings.protocol {
        Some(UpstreamProtocol::Http1) => vec![b"http/1.1".to_vec()],
        Some(UpstreamProtocol::Http2) => vec![b"h2".to_vec()],
        None => vec![],
    };
    Ok(config)
}

fn roots(roots: &Roots) -> Result<Arc<RootCertStore>, String> {
    /// Those of the machine, read once.
    static SYSTEM: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    match roots {
        Roots::System => Ok(Arc::clone(SYSTEM.get_or_init(|| {
            let found = rustls_native_certs::load_native_certs();
            for error in &found.errors {
                tracing::warn!(%error, "a certificate authority of this machine cannot be read");
            }
            let mut store = RootCertStore::empty();
            store.add_parsable_certificates(found.certs);
            Arc::new(store)
        }))),
        Roots::Pem(bundles) => {
            let mut store = RootCertStore::empty();
            for bundle in bundles {
                for certificate in CertificateDer::pem_slice_iter(bundle) {
                    let certificate = certificate.map_err(|error| error.to_string())?;
                    store.add(certificate).map_err(|error| error.to_string())?;
                }
            }
            Ok(Arc::new(store))
        }
    }
}

/// Trusts a certificate of a known authority that carries one of the names, whatever server name
/// was asked for.
#[derive(Debug)]
struct ByNames {
    roots: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
    by_hostname: Arc<WebPkiServerVerifier>,
    names: Vec<SubjectName>,
}

impl ServerCertVerifier for ByNames {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let algorithms = self.provider.signature_verification_algorithms.all;
        let parsed = ParsedCertificate::try_from(end_entity)?;
        verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, intermediates, now, algorithms)?;
        match carries(end_entity, &self.names) {
            true => Ok(ServerCertVerified::assertion()),
            false => Err(Error::InvalidCertificate(CertificateError::NotValidForName)),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.by_hostname.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.by_hostname.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.by_hostname.supported_verify_schemes()
    }

    fn root_hint_subjects(&self) -> Option<&[DistinguishedName]> {
        None
    }
}

/// Whether one of `names` is among the certificate's own.
fn carries(certificate: &CertificateDer<'_>, names: &[SubjectName]) -> bool {
    let Ok((_, read)) = x509_parser::certificate::X509Certificate::from_der(certificate) else { return false };
    let Ok(Some(own)) = read.subject_alternative_name() else { return false };
    own.value.general_names.iter().any(|own| {
        names.iter().any(|wanted| match (wanted, own) {
            (SubjectName::Dns(wanted), GeneralName::DNSName(own)) => same_host(wanted, own),
            (SubjectName::Uri(wanted), GeneralName::URI(own)) => wanted == own,
            _ => false,
        })
    })
}

/// A wildcard on either side stands for exactly one label.
fn same_host(wanted: &str, own: &str) -> bool {
    let own = own.to_ascii_lowercase();
    let covers = |pattern: &str, host: &str| {
        let suffix = pattern.strip_prefix("*.");
        suffix.is_some_and(|suffix| host.split_once('.').is_some_and(|(label, rest)| label != "*" && rest == suffix))
    };
    wanted == own || covers(wanted, &own) || covers(&own, wanted)
}
