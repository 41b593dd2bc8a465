//! TLS with certificates on both sides of the proxy.

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

use super::*;
use crate::table::{
    CertificatePem, ClientAuth, Roots, SubjectName, UpstreamTls, upstream_tls::Settings as TlsSettings,
};

pub(super) struct Authority {
    pem: Vec<u8>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem().into_bytes();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    pub(super) fn sign(&self, host: &str, uri: Option<&str>) -> CertificatePem {
        let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        params.subject_alt_names.extend(uri.map(|uri| SanType::URI(uri.try_into().unwrap())));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let chain = params.signed_by(&key, &self.issuer).unwrap().pem().into_bytes();
        CertificatePem { secret: Key::new("shop", "tls"), chain, key: key.serialize_pem().into_bytes() }
    }

    fn roots(&self) -> Arc<rustls::RootCertStore> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(&self.pem).unwrap()).unwrap();
        Arc::new(roots)
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn parts(pem: &CertificatePem) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let chain = CertificateDer::pem_slice_iter(&pem.chain).collect::<Result<_, _>>().unwrap();
    (chain, PrivateKeyDer::from_pem_slice(&pem.key).unwrap())
}

/// An HTTPS endpoint that answers with the server name it was asked for, its protocol and the
/// number of certificates that the client showed.
pub(super) async fn endpoint(pem: &CertificatePem, clients: Option<&Authority>, alpn: &'static [u8]) -> SocketAddr {
    let (chain, key) = parts(pem);
    let builder =
        rustls::ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let verifier =
                rustls::server::WebPkiClientVerifier::builder_with_provider(authority.roots(), provider()).build();
            builder.with_client_cert_verifier(verifier.unwrap())
        }
    };
    let mut config = builder.with_single_cert(chain, key).unwrap();
    config.alpn_protocols = vec![alpn.to_vec()];
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = socket.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let session = stream.get_ref().1;
                let name = session.server_name().unwrap_or("none").to_owned();
                let shown = session.peer_certificates().map_or(0, <[_]>::len);
                let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                    let text = format!("{name} {:?} {shown}", request.version());
                    async { Ok::<_, hyper::Error>(Response::new(Full::new(Bytes::from(text)))) }
                });
                let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                let _ = builder.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    address
}

pub(super) fn settings(authority: &Authority, protocol: UpstreamProtocol) -> TlsSettings {
    let roots = Roots::Pem(vec![authority.pem.clone().into()]);
    TlsSettings { protocol: Some(protocol), hostname: "backend.example".to_owned(), roots, names: vec![], client: None }
}

async fn plane(address: SocketAddr, settings: TlsSettings) -> Plane {
    Plane::with(|registry| {
        let mut backend = backend(registry, endpoints(&[address], settings.protocol.unwrap()));
        backend.tls = Some(Arc::new(UpstreamTls::new(settings)));
        vec![("", "/", rule(Outcome::Forward(Picker::new([(1, backend)]))))]
    })
    .await
}

#[tokio::test]
async fn endpoints_prove_who_they_are() {
    let (authority, other) = (Authority::new(), Authority::new());
    let pem = authority.sign("backend.example", Some("spiffe://shop/backend"));
    let address = endpoint(&pem, None, b"http/1.1").await;
    let dns = |name: &str| SubjectName::Dns(name.to_owned());
    let uri = |name: &str| SubjectName::Uri(name.to_owned());
    for (what, hostname, names, trusted, status) in [
        ("as it should be", "backend.example", vec![], &authority, 200),
        ("another hostname", "else.example", vec![], &authority, 502),
        ("another authority", "backend.example", vec![], &other, 502),
        ("a name that fits, whatever the hostname", "else.example", vec![dns("backend.example")], &authority, 200),
        ("a wildcard that fits", "else.example", vec![dns("*.example")], &authority, 200),
        ("a wildcard of too many labels", "else.example", vec![dns("*.com")], &authority, 502),
        ("a URI that fits", "else.example", vec![uri("spiffe://shop/backend")], &authority, 200),
        (
            "no name fits, though the hostname does",
            "backend.example",
            vec![uri("spiffe://x"), dns("y")],
            &authority,
            502,
        ),
        ("one of two names fits", "else.example", vec![uri("spiffe://x"), dns("backend.example")], &authority, 200),
        ("a name that fits of another authority", "backend.example", vec![dns("backend.example")], &other, 502),
    ] {
        let settings =
            TlsSettings { hostname: hostname.to_owned(), names, ..settings(trusted, UpstreamProtocol::Http1) };
        let plane = plane(address, settings).await;
        let (got, _, text) = plane.get("/").await;
        assert_eq!(got.as_u16(), status, "{what}: {text}");
        if status == 200 {
            assert_eq!(text, format!("{hostname} HTTP/1.1 0"), "{what}");
        } else {
            assert!(plane.count(&["gwproxy_upstream_failures_total", "reason=\"tls\""]).await >= 1.0, "{what}");
        }
    }
}

#[tokio::test]
async fn http2_over_tls_and_connections_that_outlive_a_table() {
    let authority = Authority::new();
    let pem = authority.sign("backend.example", None);
    for (protocol, alpn, version) in
        [(UpstreamProtocol::Http1, &b"http/1.1"[..], "HTTP/1.1"), (UpstreamProtocol::Http2, b"h2", "HTTP/2.0")]
    {
        let address = endpoint(&pem, None, alpn).await;
        let options = ServeOptions { workers: 1, ..options() };
        let rules = |registry: &Registry| {
            let mut backend = backend(registry, endpoints(&[address], protocol));
            backend.tls = Some(Arc::new(UpstreamTls::new(settings(&authority, protocol))));
            vec![("", "/", rule(Outcome::Forward(Picker::new([(1, backend)]))))]
        };
        let plane = Plane::on(options, rules).await;
        for _ in 0..3 {
            assert_eq!(plane.get("/").await.2, format!("backend.example {version} 0"));
        }
        // The same policy, made anew: its connections are as good as before.
        plane.apply(rules(&plane.registry)).await;
        assert_eq!(plane.get("/").await.0, 200);
        assert_eq!(plane.count(&["gwproxy_upstream_connects_total"]).await, 1.0, "{version}");
    }
    // An endpoint that does not speak HTTP/2 is none for gRPC.
    let address = endpoint(&pem, None, b"http/1.1").await;
    assert_eq!(plane(address, settings(&authority, UpstreamProtocol::Http2)).await.get("/").await.0, 502);
}

#[tokio::test]
async fn endpoints_hear_who_the_gateway_is() {
    let authority = Authority::new();
    let address = endpoint(&authority.sign("backend.example", None), Some(&authority), b"http/1.1").await;
    let ours = settings(&authority, UpstreamProtocol::Http1);
    assert_ne!(plane(address, ours.clone()).await.get("/").await.0, 200, "nothing to show");
    let client = Some(Arc::new(authority.sign("gateway.example", None)));
    let (status, _, text) = plane(address, TlsSettings { client, ..ours }).await.get("/").await;
    assert_eq!((status.as_u16(), text.as_str()), (200, "backend.example HTTP/1.1 1"));
}

/// Clients of a listener: what they show, and whether that lets them in.
#[tokio::test]
async fn clients_are_asked_who_they_are() {
    let echo = Echo::start().await;
    let (web, good, bad) = (Authority::new(), Authority::new(), Authority::new());
    let server = web.sign("shop.example", None);
    for (required, shows, enters) in [
        (true, None, false),
        (true, Some(&bad), false),
        (true, Some(&good), true),
        (false, None, true),
        (false, Some(&bad), true),
        (false, Some(&good), true),
    ] {
        let registry = Registry::new(2);
        let data = DataPlane::start(options(), Arc::clone(&registry)).unwrap();
        let clients = Some(Arc::new(ClientAuth { bundles: vec![good.pem.clone().into()], required }));
        let tls = Arc::new(ServerTls { certificates: vec![server.clone()], clients });
        let address = free();
        let rules = vec![("", "/", forward(&registry, &[echo.address]))];
        let table = Table { generation: 1, binds: vec![bind(&registry, address, Some(tls), rules)] };
        assert!(data.apply(table).await[&address.into()].is_ok());
        let client = shows.map(|authority| authority.sign("client.example", None));
        let status = ask(address, &web, client.as_ref(), "shop.example", "shop.example").await;
        assert_eq!(status.is_some_and(|status| status == 200), enters, "{required} {}", shows.is_some());
    }
}

/// `None` when the connection does not come about, or ends without an answer.
async fn ask(
    address: SocketAddr,
    web: &Authority,
    client: Option<&CertificatePem>,
    server_name: &'static str,
    host: &str,
) -> Option<StatusCode> {
    let builder =
        rustls::ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_root_certificates(web.roots());
    let mut config = match client.map(parts) {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).unwrap(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = TcpStream::connect(address).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let stream = connector.connect(server_name.try_into().unwrap(), stream).await.ok()?;
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.ok()?;
    tokio::spawn(connection);
    let request = Request::get(format!("https://{host}/")).body(Full::<Bytes>::default()).unwrap();
    Some(sender.send_request(request).await.ok()?.status())
}

#[tokio::test]
async fn requests_for_another_listeners_host_are_misdirected() {
    let echo = Echo::start().await;
    let web = Authority::new();
    let registry = Registry::new(2);
    let data = DataPlane::start(options(), Arc::clone(&registry)).unwrap();
    let address = free();
    let listener = |name: &str, host: &'static str| {
        let pem = web.sign(if host.is_empty() { "any.example" } else { host }, None);
        let mut routes = HostMap::default();
        routes.insert(
            host,
            Arc::new(Routes::new(vec![RouteMatch {
                path: PathMatcher::prefix("/"),
                method: None,
                headers: vec![],
                query: vec![],
                rule: Arc::new(forward(&registry, &[echo.address])),
                created: 0,
                order: 0,
            }])),
        );
        Arc::new(Listener {
            gateway: Key::new("infra", "edge"),
            name: name.into(),
            protocol: Protocol::Https,
            tls: Some(Arc::new(ServerTls { certificates: vec![pem], clients: None })),
            routes,
            streams: HostMap::default(),
            unmatched: series(&registry, "", ""),
        })
    };
    let mut listeners = HostMap::default();
    for (name, host) in [("any", ""), ("one", "one.example"), ("wide", "*.wide.example")] {
        listeners.insert(host, listener(name, host));
    }
    let unmatched = series(&registry, "", "");
    let bind = Arc::new(Bind { address, protocol: Protocol::Https, accept_proxy: false, listeners, unmatched });
    assert!(data.apply(Table { generation: 1, binds: vec![bind] }).await[&address.into()].is_ok());
    for (server_name, host, status) in [
        ("one.example", "one.example", 200),
        ("one.example", "ONE.example:443", 200),
        ("one.example", "a.wide.example", 421),
        ("one.example", "any.example", 421),
        ("a.wide.example", "b.wide.example", 200),
        ("a.wide.example", "one.example", 421),
        ("any.example", "other.example", 200),
        ("any.example", "one.example", 421),
    ] {
        let got = ask(address, &web, None, server_name, host).await;
        assert_eq!(got.map(|status| status.as_u16()), Some(status), "{server_name} {host}");
    }
}
