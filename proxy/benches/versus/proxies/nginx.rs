//! One worker. The free nginx counts nothing per route.

use std::{fmt::Write as _, path::Path};

use color_eyre::Result;

use super::{GRPC_HOST, Job, Listens, host};

const STREAM: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

fn names(route: usize) -> String {
    if route == 0 { format!("{} {GRPC_HOST}", host(0)) } else { host(route) }
}

pub fn prepare(job: &Job<'_>) -> Result<(Vec<String>, Listens)> {
    let certificate = job.write("tls.crt", &job.certificate.chain)?;
    let key = job.write("tls.key", &job.certificate.key)?;
    let listens = Listens {
        http1: job.on(0),
        http2: Some(job.on(1)),
        tls: Some(job.on(2)),
        grpc: Some(job.on(1)),
        tcp: Path::new(STREAM).is_file().then(|| job.on(4)),
    };
    let (h1, h2, tls) = (job.on(0), job.on(1), job.on(2));
    let mut text = String::new();
    if listens.tcp.is_some() {
        writeln!(text, "load_module {STREAM};")?;
    }
    writeln!(
        text,
        "daemon off; worker_processes 1; pid {dir}/pid; error_log {dir}/error.log error;
worker_rlimit_nofile 100000;
events {{ worker_connections 50000; }}",
        dir = job.dir.display()
    )?;
    if let Some(tcp) = listens.tcp {
        writeln!(text, "stream {{ server {{ listen {tcp}; tcp_nodelay on; proxy_pass {}; }} }}", job.backend.echo)?;
    }
    writeln!(
        text,
        "http {{
access_log off; keepalive_requests 1000000000; keepalive_timeout 300; tcp_nodelay on;
server_names_hash_max_size 400000; server_names_hash_bucket_size 128;
ssl_protocols TLSv1.3; ssl_session_cache shared:SSL:10m; ssl_session_tickets on;
client_body_temp_path {dir}/body; proxy_temp_path {dir}/temp; fastcgi_temp_path {dir}/f; uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;
upstream backend {{ server {}; keepalive 256; keepalive_requests 1000000000; }}
upstream grpc {{ server {}; keepalive 256; keepalive_requests 1000000000; }}
proxy_http_version 1.1;
map $http_upgrade $connection_up {{ default upgrade; '' ''; }}",
        job.backend.http1,
        job.backend.http2,
        dir = job.dir.display()
    )?;
    for route in 0..job.routes.max(1) {
        writeln!(
            text,
            "server {{ listen {h1}; listen {h2} http2; listen {tls} ssl http2; server_name {};
ssl_certificate {}; ssl_certificate_key {};
location /api {{ proxy_pass http://backend; proxy_set_header Host $host; proxy_set_header Connection $connection_up;
proxy_set_header Upgrade $http_upgrade; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header x-bench on; }}
location /echo.Echo/ {{ grpc_pass grpc://grpc; grpc_set_header X-Forwarded-For $proxy_add_x_forwarded_for; grpc_set_header x-bench on; }} }}",
            names(route),
            certificate.display(),
            key.display()
        )?;
    }
    writeln!(text, "server {{ listen {h1} default_server; return 404; }} }}")?;
    let file = job.write("nginx.conf", &text)?;
    let args = ["-c", &file.display().to_string(), "-p", &job.dir.display().to_string()].map(str::to_owned);
    Ok((args.to_vec(), listens))
}
