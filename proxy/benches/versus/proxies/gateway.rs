//! gwproxy as anybody starts it on one host: manifests in a folder, one worker. What its control
//! side uses of the processor meanwhile counts too.

use std::fmt::Write as _;
use std::net::SocketAddr;

use color_eyre::Result;

use super::{GRPC_HOST, Job, Listens, host};

pub fn prepare(job: &Job<'_>) -> Result<(Vec<String>, Listens)> {
    // An address of its own: two that are compared side by side have the same ports.
    let address = format!("127.0.{}.1", 64 + job.port / 10 % 128);
    let manifests = job.dir.join("manifests");
    std::fs::create_dir_all(&manifests)?;
    let indented = |pem: &str| pem.lines().map(|line| format!("    {line}\n")).collect::<String>();
    let mut text = format!(
        "apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {{ name: gwproxy }}
spec: {{ controllerName: gwtop.dev/gwproxy }}
---
apiVersion: v1
kind: Secret
metadata: {{ name: tls, namespace: default }}
type: kubernetes.io/tls
stringData:
  tls.crt: |
{}  tls.key: |
{}---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{ name: edge, namespace: default }}
spec:
  gatewayClassName: gwproxy
  addresses: [{{ type: IPAddress, value: {address} }}]
  listeners:
    - {{ name: http, port: 8080, protocol: HTTP }}
    - {{ name: https, port: 8443, protocol: HTTPS, tls: {{ certificateRefs: [{{ name: tls }}] }} }}
    - {{ name: tcp, port: 9000, protocol: TCP }}
---
apiVersion: gateway.networking.k8s.io/v1
kind: TCPRoute
metadata: {{ name: echo, namespace: default }}
spec:
  parentRefs: [{{ name: edge, sectionName: tcp }}]
  rules: [{{ backendRefs: [{{ name: echo, port: 80 }}] }}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {{ name: grpc, namespace: default }}
spec:
  parentRefs: [{{ name: edge }}]
  hostnames: [{}]
  rules:
    - matches: [{{ method: {{ service: echo.Echo }} }}]
      filters: [{{ type: RequestHeaderModifier, requestHeaderModifier: {{ set: [{{ name: x-bench, value: \"on\" }}] }} }}]
      backendRefs: [{{ name: grpc, port: 80 }}]
",
        indented(&job.certificate.chain),
        indented(&job.certificate.key),
        GRPC_HOST,
    );
    for (name, at) in [("web", job.backend.http1), ("grpc", job.backend.http2), ("echo", job.backend.echo)] {
        write!(
            text,
            "---
apiVersion: v1
kind: Service
metadata: {{ name: {name}, namespace: default }}
spec: {{ ports: [{{ name: main, port: 80 }}] }}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{ name: {name}-1, namespace: default, labels: {{ kubernetes.io/service-name: {name} }} }}
addressType: IPv4
endpoints: [{{ addresses: [\"127.0.0.1\"] }}]
ports: [{{ name: main, port: {}, protocol: TCP }}]
",
            at.port()
        )?;
    }
    std::fs::write(manifests.join("gateway.yaml"), text)?;
    let mut routes = String::new();
    for route in 0..job.routes.max(1) {
        write!(
            routes,
            "---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{ name: r{route}, namespace: default }}
spec:
  parentRefs: [{{ name: edge }}]
  hostnames: [{}]
  rules:
    - matches: [{{ path: {{ type: PathPrefix, value: /api }} }}]
      filters: [{{ type: RequestHeaderModifier, requestHeaderModifier: {{ set: [{{ name: x-bench, value: \"on\" }}] }} }}]
      backendRefs: [{{ name: web, port: 80 }}]
",
            host(route)
        )?;
    }
    std::fs::write(manifests.join("routes.yaml"), routes)?;
    let path = |name: &str| job.dir.join(name).display().to_string();
    let pool = format!("127.0.{}.0/24", 64 + job.port / 10 % 128);
    let (api, metrics) = (job.on(7).to_string(), job.on(8).to_string());
    let (manifests, data) = (path("manifests"), path("data"));
    let args = [
        "local",
        "--manifests",
        &manifests,
        "--data",
        &data,
        "--api",
        &api,
        "--metrics",
        &metrics,
        "--workers",
        "1",
        "--address-pool",
        &pool,
    ];
    let on = |port| format!("{address}:{port}").parse::<SocketAddr>();
    let listens = Listens {
        http1: on(8080)?,
        http2: Some(on(8080)?),
        tls: Some(on(8443)?),
        grpc: Some(on(8080)?),
        tcp: Some(on(9000)?),
    };
    Ok((args.map(str::to_owned).to_vec(), listens))
}
