//! One thread. Its counters are per frontend, backend and server: here one backend a kind.

use std::fmt::Write as _;

use color_eyre::Result;

use super::{Job, Listens, host};

pub fn prepare(job: &Job<'_>) -> Result<(Vec<String>, Listens)> {
    let pem = job.write("tls.pem", &format!("{}{}", job.certificate.chain, job.certificate.key))?;
    let mut map = String::new();
    for route in 0..job.routes.max(1) {
        writeln!(map, "{}/api web", host(route))?;
    }
    let map = job.write("routes.map", &map)?;
    let (h1, h2, tls, tcp) = (job.on(0), job.on(1), job.on(2), job.on(4));
    let text = format!(
        "global
  nbthread 1
  no strict-limits
  maxconn 12000
  ssl-default-bind-options ssl-min-ver TLSv1.3
defaults
  mode http
  option http-keep-alive
  option splice-auto
  timeout connect 5s
  timeout client 300s
  timeout server 300s
  timeout http-keep-alive 300s
frontend web
  bind {h1}
  bind {h2} proto h2
  bind {tls} ssl crt {pem} alpn h2,http/1.1
  option forwardfor
  http-request set-header x-bench on
  http-request set-var(txn.route) base,lower,map_beg({map},none)
  use_backend grpc if {{ path_beg /echo.Echo/ }}
  use_backend %[var(txn.route)]
backend web
  http-reuse always
  server one {http1} pool-max-conn 1000
backend grpc
  http-reuse always
  server one {http2} proto h2 pool-max-conn 1000
backend none
  http-request return status 404
listen tcp
  mode tcp
  bind {tcp}
  server one {echo}
",
        pem = pem.display(),
        map = map.display(),
        http1 = job.backend.http1,
        http2 = job.backend.http2,
        echo = job.backend.echo,
    );
    let file = job.write("haproxy.cfg", &text)?;
    let args = ["-db", "-f", &file.display().to_string()].map(str::to_owned);
    let listens = Listens { http1: h1, http2: Some(h2), tls: Some(tls), grpc: Some(h2), tcp: Some(tcp) };
    Ok((args.to_vec(), listens))
}
