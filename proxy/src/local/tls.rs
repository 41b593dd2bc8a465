//! The server's certificate: from an authority of its own that lives in the data directory, or
//! out of files.
//!
//! Clients of Kubernetes do not send a token without TLS: kubectl leaves it out silently.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::LocalError;
use super::auth::{read_secret, write_secret};

/// The name by which this process' own clients ask for the self-made certificate.
pub(super) const OWN_NAME: &str = "gwproxy-own-client";
/// How long a self-made certificate lasts. A new one is made when a third of that is left.
const LASTS: Duration = Duration::from_secs(365 * 24 * 3600);

/// What certificate the server shows.
#[derive(Clone, Debug, Default)]
pub struct TlsOptions {
    /// Certificate chain and key as PEM files, read again when they change; `None` is self-made.
    pub files: Option<(PathBuf, PathBuf)>,
    /// Names and addresses in the self-made certificate, besides those of loopback.
    pub names: Vec<String>,
}

pub(super) struct Tls {
    pub(super) server: Arc<rustls::ServerConfig>,
    /// The authority's certificate, as PEM.
    pub(super) authority: String,
    pub(super) shown: Arc<Shown>,
}

/// The certificates that are shown, and how to make new ones.
#[derive(Debug)]
pub(super) struct Shown {
    made: ArcSwap<Made>,
    read: Option<ArcSwap<Read>>,
    files: Option<(PathBuf, PathBuf)>,
    data: PathBuf,
    names: Vec<String>,
}

#[derive(Debug)]
struct Made {
    key: Arc<CertifiedKey>,
    renew: SystemTime,
}

#[derive(Debug)]
struct Read {
    key: Arc<CertifiedKey>,
    modified: [Option<SystemTime>; 2],
}

impl Tls {
    /// Takes the authority kept in the data directory, or makes one. A self-made certificate is
    /// made anew on each start.
    pub(super) fn open(data: &Path, options: TlsOptions) -> Result<Self, LocalError> {
        let TlsOptions { files, names } = options;
        let (authority, made) = make(data, &names, LASTS)?;
        let read = files.as_ref().map(|files| read(files).map(ArcSwap::from_pointee)).transpose()?;
        let data = data.to_owned();
        let shown = Arc::new(Shown { made: ArcSwap::from_pointee(made), read, files, data, names });
        let certificate = |error: rustls::Error| broken(&shown.data)(error.to_string());
        let mut server = rustls::ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(certificate)?
            .with_no_client_auth()
            .with_cert_resolver(shown.clone());
        server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { server: Arc::new(server), authority, shown })
    }
}

impl Shown {
    /// Makes or reads a new certificate when it is time; what cannot be had leaves the old one.
    pub(super) fn renew(&self, now: SystemTime) {
        if now >= self.made.load().renew {
            match make(&self.data, &self.names, LASTS) {
                Ok((_, made)) => self.made.store(Arc::new(made)),
                Err(error) => tracing::error!(%error, "the certificate of the local API cannot be renewed"),
            }
        }
        if let (Some(current), Some(files)) = (&self.read, &self.files)
            && modified(files) != current.load().modified
        {
            match read(files) {
                Ok(new) => current.store(Arc::new(new)),
                Err(error) => tracing::error!(%error, "the certificate before stays"),
            }
        }
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        match &self.read {
            Some(read) if hello.server_name() != Some(OWN_NAME) => Some(read.load().key.clone()),
            _ => Some(self.made.load().key.clone()),
        }
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn broken(data: &Path) -> impl Fn(String) -> LocalError {
    let path = data.join("ca.key");
    move |reason| LocalError::Certificate { path: path.clone(), reason }
}

/// The authority as PEM, and a certificate by it.
fn make(data: &Path, names: &[String], lasts: Duration) -> Result<(String, Made), LocalError> {
    let certificate = broken(data);
    let made = |error: rcgen::Error| certificate(error.to_string());
    let (key_path, certificate_path) = (data.join("ca.key"), data.join("ca.crt"));
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
    let always = ["localhost", "127.0.0.1", "::1", OWN_NAME].map(str::to_owned);
    let all: Vec<String> = always.into_iter().chain(names.iter().cloned()).collect();
    let mut own = CertificateParams::new(all).map_err(made)?;
    own.distinguished_name.push(DnType::CommonName, "gwproxy local API");
    own.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    own.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    // Clocks of clients may be behind by a day.
    let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC);
    let (month, day) = (today.month().unsigned_abs(), today.day().unsigned_abs());
    let today = rcgen::date_time_ymd(i32::from(today.year()), month, day);
    own.not_before = today - Duration::from_secs(24 * 3600);
    own.not_after = today + Duration::from_secs(24 * 3600) + lasts;
    let own = own.signed_by(&own_key, &issuer).map_err(made)?;
    let own_key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(own_key.serialize_der()));
    let key = CertifiedKey::from_der(vec![own.der().clone()], own_key, &provider())
        .map_err(|error| certificate(error.to_string()))?;
    Ok((authority, Made { key: Arc::new(key), renew: SystemTime::now() + lasts / 3 * 2 }))
}

fn read(files: &(PathBuf, PathBuf)) -> Result<Read, LocalError> {
    let (chain, key) = files;
    let unusable = |path: &Path| {
        let path = path.to_owned();
        move |reason: String| LocalError::CertificateFile { path: path.clone(), reason }
    };
    let modified = modified(files);
    let certificates: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(chain).map_err(|error| unusable(chain)(error.to_string()))?.collect();
    let certificates = certificates.map_err(|error| unusable(chain)(error.to_string()))?;
    if certificates.is_empty() {
        return Err(unusable(chain)("it holds no certificate".into()));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| unusable(key)(error.to_string()))?;
    let key = CertifiedKey::from_der(certificates, private, &provider());
    let key = key.map_err(|error| unusable(chain)(format!("it does not go with the key: {error}")))?;
    Ok(Read { key: Arc::new(key), modified })
}

fn modified((chain, key): &(PathBuf, PathBuf)) -> [Option<SystemTime>; 2] {
    [chain, key].map(|path| std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok())
}

/// The certificate of the authority lasts as long as the data directory is likely to.
fn authority_params() -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    params.distinguished_name.push(DnType::CommonName, "gwproxy local authority");
    Ok(params)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_renewed_before_it_ends_and_not_earlier() {
        let dir = tempfile::tempdir().unwrap();
        let tls = Tls::open(dir.path(), TlsOptions::default()).unwrap();
        let der = |shown: &Shown| shown.made.load().key.cert[0].to_vec();
        let first = der(&tls.shown);
        let (_, parsed) = x509_parser::parse_x509_certificate(&first).unwrap();
        let left = parsed.validity().time_to_expiration().unwrap().whole_days();
        assert!((364..=366).contains(&left), "{left} days");
        let now = SystemTime::now();
        tls.shown.renew(now + LASTS / 2);
        assert_eq!(der(&tls.shown), first);
        tls.shown.renew(now + LASTS / 4 * 3);
        assert_ne!(der(&tls.shown), first);
    }

    #[test]
    fn files_are_read_again_when_they_change_and_bad_ones_leave_the_old() {
        let dir = tempfile::tempdir().unwrap();
        let (chain, key) = (dir.path().join("tls.crt"), dir.path().join("tls.key"));
        let write = |age: u64| {
            let pair = KeyPair::generate().unwrap();
            let params = CertificateParams::new(vec!["api.example".into()]).unwrap();
            std::fs::write(&chain, params.self_signed(&pair).unwrap().pem()).unwrap();
            std::fs::write(&key, pair.serialize_pem()).unwrap();
            let file = std::fs::File::options().write(true).open(&chain).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(age)).unwrap();
        };
        write(100);
        let files = Some((chain.clone(), key.clone()));
        let tls = Tls::open(dir.path(), TlsOptions { files, ..TlsOptions::default() }).unwrap();
        let der = || tls.shown.read.as_ref().unwrap().load().key.cert[0].to_vec();
        let first = der();
        std::fs::write(&key, "no key").unwrap();
        tls.shown.renew(SystemTime::now());
        assert_eq!(der(), first);
        write(50);
        tls.shown.renew(SystemTime::now());
        assert_ne!(der(), first);
        std::fs::write(&chain, "").unwrap();
        let error = read(&(chain.clone(), key)).err().unwrap().to_string();
        assert!(error.contains("tls.crt"), "{error}");
    }
}
