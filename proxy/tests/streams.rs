//! Through the API to the sockets: TCPRoute, UDPRoute, TLSRoute, ListenerSet.

#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

#[path = "common/gateway.rs"]
mod common;

use std::net::{Ipv4Addr, SocketAddr};

use common::{Backend, Gateway, condition, get, parent};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
};

const PLATFORM: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: { name: gwproxy }
spec: { controllerName: gwtop.dev/gwproxy }
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: edge, namespace: default }
spec:
  gatewayClassName: gwproxy
  listeners:
  - { name: db, port: 3306, protocol: TCP }
  - { name: dns, port: 5300, protocol: UDP }
  - { name: dns-tcp, port: 5300, protocol: TCP }
  - { name: pass, port: 8443, protocol: TLS, hostname: \"*.example.com\", tls: { mode: Passthrough } }
  - { name: web, port: 8080, protocol: HTTP, hostname: web.example.com }
  allowedListeners: { namespaces: { from: Same } }
---
";

fn service(name: &str, protocol: &str, address: SocketAddr) -> String {
    format!(
        "
apiVersion: v1
kind: Service
metadata: {{ name: {name}, namespace: default }}
spec: {{ ports: [{{ name: p, port: 80, protocol: {protocol} }}] }}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{ name: {name}-1, namespace: default, labels: {{ kubernetes.io/service-name: {name} }} }}
addressType: IPv4
endpoints: [{{ addresses: [\"127.0.0.1\"] }}]
ports: [{{ name: p, port: {}, protocol: {protocol} }}]
---
",
        address.port()
    )
}

fn route(kind: &str, name: &str, parent: &str, more: &str, backend: &str) -> String {
    format!(
        "
apiVersion: gateway.networking.k8s.io/v1
kind: {kind}
metadata: {{ name: {name}, namespace: default }}
spec:
  parentRefs: [{parent}]
  {more}
  rules: [{{ backendRefs: [{{ name: {backend}, port: 80 }}] }}]
---
"
    )
}

/// Answers every connection with its name and what it read first.
async fn tcp(name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut first = vec![0; 2048];
                let length = stream.read(&mut first).await.unwrap_or_default();
                let _ = stream.write_all(&[name.as_bytes(), b" ", &first[..length]].concat()).await;
            });
        }
    });
    address
}

async fn udp(name: &'static str) -> SocketAddr {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut first = vec![0; 2048];
        while let Ok((length, from)) = socket.recv_from(&mut first).await {
            let _ = socket.send_to(&[name.as_bytes(), b" ", &first[..length]].concat(), from).await;
        }
    });
    address
}

async fn say(address: SocketAddr, text: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(text).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    answer
}

/// The first message of a TLS client that asks for `name`.
fn hello(name: &'static str) -> Vec<u8> {
    let roots = rustls::RootCertStore::empty();
    let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let mut client = rustls::ClientConnection::new(config.into(), name.try_into().unwrap()).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    bytes
}

fn listener(object: &Value, name: &str) -> Value {
    let mut all = object["status"]["listeners"].as_array().into_iter().flatten();
    all.find(|listener| listener["name"] == name).cloned().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_find_their_way_and_status_says_so() {
    let (db, dns, secure, web) = (tcp("db").await, udp("dns").await, tcp("secure").await, Backend::start("web").await);
    let manifests = [
        PLATFORM.to_owned(),
        service("db", "TCP", db),
        service("dns", "UDP", dns),
        service("secure", "TCP", secure),
        service("web", "TCP", web.address),
        route("TCPRoute", "db", "{ name: edge, sectionName: db }", "", "db"),
        route("UDPRoute", "dns", "{ name: edge, port: 5300 }", "", "dns"),
        route("TLSRoute", "secure", "{ name: edge }", "hostnames: [a.example.com]", "secure"),
        route("HTTPRoute", "set", "{ kind: ListenerSet, name: more }", "", "web"),
        "
apiVersion: gateway.networking.k8s.io/v1
kind: ListenerSet
metadata: { name: more, namespace: default }
spec:
  parentRef: { name: edge }
  listeners:
  - { name: web, port: 8080, protocol: HTTP, hostname: set.example.com }
  - { name: taken, port: 8080, protocol: HTTP, hostname: web.example.com }
"
        .to_owned(),
    ];
    let gateway = Gateway::start(&[("all.yaml", &manifests.concat())]).await;
    assert!(gateway.local.problems.is_empty(), "{:?}", gateway.local.problems);
    let ip = gateway.address("default", "edge").await;
    for (kind, name) in [("TCPRoute", "db"), ("UDPRoute", "dns"), ("TLSRoute", "secure"), ("HTTPRoute", "set")] {
        let route = gateway.until(kind, "default", name, |route| parent(route, "Accepted").0 == "True").await;
        assert_eq!(parent(&route, "ResolvedRefs").0, "True", "{route:#}");
    }
    assert_eq!(say(SocketAddr::new(ip, 3306), b"select").await, b"db select");
    let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    client.connect(SocketAddr::new(ip, 5300)).await.unwrap();
    client.send(b"query").await.unwrap();
    let mut answer = vec![0; 64];
    let length = client.recv(&mut answer).await.unwrap();
    assert_eq!(&answer[..length], b"dns query");
    // What comes out behind is the very hello that went in.
    let hello_a = hello("a.example.com");
    assert_eq!(say(SocketAddr::new(ip, 8443), &hello_a).await, [b"secure ", &hello_a[..]].concat());
    assert_eq!(say(SocketAddr::new(ip, 8443), &hello("b.example.com")).await, b"");

    let http = SocketAddr::new(ip, 8080);
    assert_eq!(get(http, "set.example.com", "/", &[]).await.0, 200);
    assert_eq!(get(http, "web.example.com", "/", &[]).await.0, 404, "the Gateway's own listener has no route");
    let set = gateway
        .until("ListenerSet", "default", "more", |set| {
            condition(&set["status"]["conditions"], "Programmed").0 == "True"
        })
        .await;
    let accepted = condition(&set["status"]["conditions"], "Accepted");
    assert_eq!(accepted, ("True".to_owned(), "ListenersNotValid".to_owned()), "{set:#}");
    assert_eq!(listener(&set, "web")["attachedRoutes"], 1);
    assert_eq!(condition(&listener(&set, "taken")["conditions"], "Conflicted").1, "HostnameConflict");
    let edge = gateway.until("Gateway", "default", "edge", |edge| edge["status"]["attachedListenerSets"] == 1).await;
    for (name, count) in [("db", 1), ("dns", 1), ("dns-tcp", 0), ("pass", 1), ("web", 0)] {
        assert_eq!(listener(&edge, name)["attachedRoutes"], count, "{name}: {edge:#}");
    }
    let text = gateway.metrics().await;
    let counted = |parts: &[&str]| {
        let line = text.lines().find(|line| parts.iter().all(|part| line.contains(part)));
        line.and_then(|line| line.rsplit(' ').next()).unwrap_or_default().to_owned()
    };
    assert_eq!(counted(&["gwproxy_connections_total{", "route=\"db\"", "route_kind=\"TCPRoute\""]), "1", "{text}");
    assert_eq!(counted(&["gwproxy_connections_total{", "route=\"dns\"", "route_kind=\"UDPRoute\""]), "1");
    assert_eq!(counted(&["gwproxy_requests_total{", "listener=\"default/more/web\"", "code=\"200\""]), "1");
    gateway.local.stop().await;
}
