//! Checks of a live Gateway: gwproxy's own API and data plane in this process.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use gwtop::{
    check::{self, Options, collect, seen::Seen},
    cluster::connect::Connection,
    finding::{Outcome, Report, Severity},
};

use super::serving::{backend, free_port, local};

async fn checked(connection: &Connection) -> Report {
    let mut seen = Seen::at(jiff::Timestamp::now());
    collect::cluster(&mut seen, connection, None).await;
    collect::probe(&mut seen, Duration::from_secs(5)).await;
    check::run(&seen, &Options::default())
}

async fn until(connection: &Connection, what: &str, wanted: impl Fn(&Report) -> bool) -> Report {
    let begun = Instant::now();
    loop {
        let report = checked(connection).await;
        if wanted(&report) {
            return report;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{what}: {:#?}", super::told(&report));
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_is_asked_and_has_to_answer_as_the_routes_say() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let (address, status) = backend();
    let (port, secure) = (free_port(), free_port());
    let made = rcgen::generate_simple_self_signed(["x.a.test".to_owned()]).unwrap();
    let base64 = |text: String| serde_json::to_value(k8s_openapi::ByteString(text.into_bytes())).unwrap();
    let manifests = format!(
        r#"apiVersion: v1
kind: Namespace
metadata: {{name: shop}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {{name: gwproxy}}
spec: {{controllerName: gwtop.dev/gwproxy}}
---
apiVersion: v1
kind: Secret
metadata: {{name: cert, namespace: shop}}
type: kubernetes.io/tls
data: {{tls.crt: {crt}, tls.key: {key}}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: web, namespace: shop}}
spec:
  gatewayClassName: gwproxy
  listeners:
  - {{name: http, port: {port}, protocol: HTTP}}
  - {{name: https, port: {secure}, protocol: HTTPS, hostname: x.a.test, tls: {{certificateRefs: [{{name: cert}}]}}}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: cart, namespace: shop}}
spec:
  parentRefs: [{{name: web}}]
  hostnames: [x.a.test]
  rules:
  - matches: [{{path: {{type: PathPrefix, value: /cart}}}}]
    backendRefs: [{{name: cart, port: 80}}]
  - matches: [{{path: {{type: Exact, value: /old}}}}]
    filters: [{{type: RequestRedirect, requestRedirect: {{scheme: https, statusCode: 301}}}}]
---
apiVersion: v1
kind: Service
metadata: {{name: cart, namespace: shop}}
spec: {{ports: [{{name: http, port: 80}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: cart-1, namespace: shop, labels: {{kubernetes.io/service-name: cart}}}}
addressType: IPv4
ports: [{{name: http, port: {backend}, protocol: TCP}}]
endpoints: [{{addresses: [127.0.0.1], conditions: {{ready: true}}}}]
"#,
        crt = base64(made.cert.pem()),
        key = base64(made.signing_key.serialize_pem()),
        backend = address.port(),
    );
    let (local, connection, _dir) = local(&manifests).await;
    let report = until(&connection, "all is well", |report| {
        report.findings.is_empty()
            && report.checks.iter().any(|ran| ran.rule.id == "NET001" && ran.outcome == Outcome::Pass)
    })
    .await;
    // A pass without a single request would be none.
    let mut seen = Seen::at(jiff::Timestamp::now());
    collect::cluster(&mut seen, &connection, None).await;
    collect::probe(&mut seen, Duration::from_secs(5)).await;
    let probes = seen.probes.clone().unwrap();
    let asked: Vec<_> = probes.iter().map(|one| (one.probe.tls, one.probe.target.as_str())).collect();
    for wanted in [(false, "/cart"), (false, "/old"), (true, "/cart"), (true, "/old")] {
        assert!(asked.contains(&wanted), "{wanted:?} is not among {asked:?}");
    }
    assert!(probes.iter().filter(|one| one.probe.tls).all(|one| one.got.as_ref().unwrap().certificate.is_some()));
    drop(report);

    status.store(503, Ordering::Relaxed);
    let report = checked(&connection).await;
    let net: Vec<_> = report.findings.iter().filter(|one| one.id == "NET001").collect();
    assert!(!net.is_empty() && net.iter().all(|one| one.severity == Severity::Error), "{:?}", super::told(&report));
    local.stop().await;
}
