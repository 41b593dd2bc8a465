//! gwproxy's API and data plane in this process, and backends for it.

#![allow(dead_code, clippy::unwrap_used)] // each test takes what it needs; a failed unwrap is a failed test

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
};

use gwproxy::start::{Local, LocalOptions};
use gwtop::cluster::connect::{ConnectOptions, Connection, connect};

/// A backend that answers with a status that can be changed.
pub fn backend() -> (SocketAddr, Arc<AtomicU16>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let status = Arc::new(AtomicU16::new(200));
    let says = status.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut bytes = [0; 4096];
            let _ = stream.read(&mut bytes);
            let status = says.load(Ordering::Relaxed);
            let _ = write!(stream, "HTTP/1.1 {status} Whatever\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi");
        }
    });
    (address, status)
}

pub async fn local(manifests: &str) -> (Local, Connection, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("manifests");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("all.yaml"), manifests).unwrap();
    let kubeconfig = dir.path().join("kubeconfig");
    let local = Local::start(LocalOptions {
        manifests: Some(folder),
        data: Some(dir.path().join("data")),
        api: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        address_pool: "127.0.0.1/32".parse().unwrap(),
        metrics: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        access_log: None,
        kubeconfig: Some(kubeconfig.clone()),
        workers: None,
        service: gwproxy::local::Service::default(),
    })
    .await
    .unwrap();
    assert!(local.problems.is_empty(), "{:?}", local.problems);
    let options = ConnectOptions { kubeconfig: Some(kubeconfig), ..ConnectOptions::default() };
    let connection = connect(&options).await.unwrap();
    (local, connection, dir)
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A backend that says its name, and target and Host of the request.
pub fn echo(name: String) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut bytes = [0; 8192];
            let Ok(count) = stream.read(&mut bytes) else { continue };
            let text = String::from_utf8_lossy(&bytes[..count]).into_owned();
            let target = text.split(' ').nth(1).unwrap_or_default().to_owned();
            let host = text.lines().find_map(|line| {
                let (field, value) = line.split_once(':')?;
                field.eq_ignore_ascii_case("host").then(|| value.trim().to_owned())
            });
            let body = format!("{name} {target} {}", host.unwrap_or_default());
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
        }
    });
    address
}
