//! One worker. Its counters are per virtual host and cluster, of which every route here has one.

use color_eyre::Result;
use serde_json::{Value, json};

use super::{GRPC_HOST, Job, Listens, host};

pub fn prepare(job: &Job<'_>) -> Result<(Vec<String>, Listens)> {
    let (h1, tls, tcp, admin) = (job.on(0), job.on(2), job.on(4), job.on(5));
    let at = |address: std::net::SocketAddr| json!({"socket_address": {"address": address.ip().to_string(), "port_value": address.port()}});
    let hosts: Vec<Value> = (0..job.routes.max(1))
        .map(|route| {
            let host = host(route);
            let mut domains = vec![host.clone(), format!("{host}:*")];
            domains.extend((route == 0).then(|| GRPC_HOST.to_owned()));
            json!({
                "name": host, "domains": domains,
                "request_headers_to_add": [
                    {"header": {"key": "x-bench", "value": "on"}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}],
                "routes": [
                    {"match": {"path_separated_prefix": "/api"}, "stat_prefix": format!("route-{route}"), "route": {"cluster": "web", "timeout": "0s"}},
                    {"match": {"prefix": "/echo.Echo/"}, "route": {"cluster": "grpc", "timeout": "0s"}}],
            })
        })
        .collect();
    let manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "web", "codec_type": "AUTO", "use_remote_address": true, "generate_request_id": false,
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}],
        "route_config": {"name": "all", "virtual_hosts": hosts},
    });
    let web = json!({"name": "envoy.filters.network.http_connection_manager", "typed_config": manager});
    let secured = json!({"name": "envoy.transport_sockets.tls", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        "common_tls_context": {
            "alpn_protocols": ["h2", "http/1.1"],
            "tls_params": {"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"},
            "tls_certificates": [{"certificate_chain": {"inline_string": job.certificate.chain},
                "private_key": {"inline_string": job.certificate.key}}]}}});
    let pass = json!({"name": "envoy.filters.network.tcp_proxy", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
        "stat_prefix": "tcp", "cluster": "echo"}});
    let many =
        json!({"thresholds": [{"max_connections": 100_000, "max_pending_requests": 100_000, "max_requests": 100_000}]});
    let cluster = |name: &str, address, http2: bool| {
        let mut cluster = json!({"name": name, "type": "STATIC", "connect_timeout": "5s", "circuit_breakers": many,
            "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": {"address": at(address)}}]}]}});
        if http2 {
            cluster["typed_extension_protocol_options"] = json!({"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http2_protocol_options": {}}}});
        }
        cluster
    };
    let listener =
        |name: &str, address, chain: Value| json!({"name": name, "address": at(address), "filter_chains": [chain]});
    let config = json!({
        "admin": {"address": at(admin)},
        "static_resources": {
            "listeners": [
                listener("http", h1, json!({"filters": [web]})),
                listener("https", tls, json!({"filters": [web], "transport_socket": secured})),
                listener("tcp", tcp, json!({"filters": [pass]}))],
            "clusters": [
                cluster("web", job.backend.http1, false), cluster("grpc", job.backend.http2, true),
                cluster("echo", job.backend.echo, false)],
        },
    });
    let file = job.write("envoy.json", &serde_json::to_string_pretty(&config)?)?;
    let base = (job.port / 10 % 1000).to_string();
    let args =
        ["-c", &file.display().to_string(), "--concurrency", "1", "--base-id", &base, "-l", "error"].map(str::to_owned);
    let listens = Listens { http1: h1, http2: Some(h1), tls: Some(tls), grpc: Some(h1), tcp: Some(tcp) };
    Ok((args.to_vec(), listens))
}
