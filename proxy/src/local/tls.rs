//! The server's certificate, from an authority of its own that lives in the data directory.
//!
//! Clients of Kubernetes do not send a token without TLS: kubectl leaves it out silently.

use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use super::LocalError;
use super::auth::{read_secret, write_secret};

pub(super) struct Tls {
    pub(super) server: Arc<rustls::ServerConfig>,
    /// The authority's certificate, as PEM.
    pub(super) authority: String,
}

impl Tls {
    /// Takes the authority kept in the data directory, or makes one; the server's own
    /// certificate is made anew on each start.
    pub(super) fn open(data: &Path) -> Result<Self, LocalError> {
        let (key_path, certificate_path) = (data.join("ca.key"), data.join("ca.crt"));
        let certificate = |reason: String| LocalError::Certificate { path: key_path.clone(), reason };
        let made = |error: rcgen::Error| certificate(error.to_string());
        let key = match read_secret(&key_path)? {
            Some(pem) => KeyPair::from_pem(&pem).map_err(made)?,
            None => {
                let key = KeyPair::generate().map_err(made)?;
                write_secret(&key_path, key.serialize_pem().as_bytes())?;
                key
            }
        };
        let params = authority_params().map_err(made)?;
        let authority = match read_secret(&certificate_path)? {
            Some(pem) => pem,
            None => {
                let pem = params.self_signed(&key).map_err(made)?.pem();
                write_secret(&certificate_path, pem.as_bytes())?;
                pem
            }
        };
        let issuer = Issuer::new(params, key);
        let own_key = KeyPair::generate().map_err(made)?;
        let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
        let mut own = CertificateParams::new(names).map_err(made)?;
        own.distinguished_name.push(DnType::CommonName, "gwproxy local API");
        let own = own.signed_by(&own_key, &issuer).map_err(made)?;
        let own_key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(own_key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut server = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(vec![own.der().clone()], own_key))
            .map_err(|error| certificate(error.to_string()))?;
        server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { server: Arc::new(server), authority })
    }
}

fn authority_params() -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    params.distinguished_name.push(DnType::CommonName, "gwproxy local authority");
    Ok(params)
}
