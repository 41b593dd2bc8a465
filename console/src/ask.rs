//! One HTTP request to one address, with the Host and server name that are wanted, and nothing
//! tidied on the way.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Request, Uri, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Bodies are compared, not kept: more than this is an error.
const MOST_BODY: usize = 64 * 1024 * 1024;

#[derive(Debug, Clone)]
pub struct Question<'a> {
    pub to: SocketAddr,
    pub tls: bool,
    pub host: &'a str,
    /// Written behind the Host, as clients do for a port that is not the scheme's own.
    pub host_port: Option<u16>,
    pub method: &'a str,
    /// With query.
    pub target: &'a str,
    pub headers: &'a [(String, String)],
}

#[derive(Debug, Clone)]
pub struct Heard {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// In DER; none without TLS. Not verified: the caller judges it.
    pub certificate: Option<Vec<u8>>,
}

/// Fails with one line that says at which step.
pub async fn ask(question: &Question<'_>, within: Duration) -> Result<Heard, String> {
    let to = question.to;
    tokio::time::timeout(within, exchange(question))
        .await
        .unwrap_or_else(|_| Err(format!("no answer from {to} within {within:?}")))
}

async fn exchange(question: &Question<'_>) -> Result<Heard, String> {
    let to = question.to;
    let stream = TcpStream::connect(to).await.map_err(|error| format!("cannot connect to {to}: {error}"))?;
    if !question.tls {
        return converse(TokioIo::new(stream), question, None).await;
    }
    let provider = CryptoProvider::get_default().cloned().ok_or("no TLS library is installed")?;
    let config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone(provider)))
        .with_no_client_auth();
    let name = ServerName::try_from(question.host.to_owned()).map_err(|error| format!("{}: {error}", question.host))?;
    let stream = TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
        .map_err(|error| format!("TLS handshake with {to} for {} failed: {error}", question.host))?;
    let certificate = stream.get_ref().1.peer_certificates().and_then(|all| all.first()).map(|one| one.to_vec());
    converse(TokioIo::new(stream), question, certificate).await
}

async fn converse<S>(stream: S, question: &Question<'_>, certificate: Option<Vec<u8>>) -> Result<Heard, String>
where
    S: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let failed = |error: &dyn std::error::Error| format!("{}: {error}", question.to);
    let (mut send, connection) = hyper::client::conn::http1::handshake(stream).await.map_err(|error| failed(&error))?;
    let driver = tokio::spawn(connection);
    let host = match question.host_port {
        None => question.host.to_owned(),
        Some(port) => format!("{}:{port}", question.host),
    };
    let uri: Uri = question.target.parse().map_err(|error| format!("{}: {error}", question.target))?;
    let mut request = Request::builder().method(question.method).uri(uri).header(header::HOST, host);
    for (name, value) in question.headers {
        request = request.header(name, value);
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|error| failed(&error))?;
    let answer = send.send_request(request).await.map_err(|error| failed(&error))?;
    let (head, body) = answer.into_parts();
    let body =
        Limited::new(body, MOST_BODY).collect().await.map_err(|error| format!("{}: {error}", question.to))?.to_bytes();
    driver.abort();
    Ok(Heard { status: head.status.as_u16(), headers: head.headers, body, certificate })
}

/// Takes any certificate: which one is shown is what is asked about.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
