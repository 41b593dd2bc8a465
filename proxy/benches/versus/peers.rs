//! The processes beside the proxies: the backend that all of them ask, and the floor, which
//! passes bytes on and does nothing else.

use std::net::SocketAddr;

use bytes::Bytes;
use color_eyre::Result;
use http::{HeaderMap, HeaderValue, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::{body::Frame, server::conn::http2, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::spawn_local,
};

/// Of the example in RFC 6455, whose answer is known.
pub const WEBSOCKET_KEY: &[u8] = b"dGhlIHNhbXBsZSBub25jZQ==";

/// Where the backend listens.
#[derive(Debug, Clone, Copy)]
pub struct Backend {
    pub http1: SocketAddr,
    /// HTTP/2 by prior knowledge; answers as gRPC does.
    pub http2: SocketAddr,
    pub echo: SocketAddr,
}

impl Backend {
    pub fn at(port: u16) -> Self {
        let on = |port| SocketAddr::from(([127, 0, 0, 1], port));
        Self { http1: on(port), http2: on(port + 1), echo: on(port + 2) }
    }
}

pub fn small() -> &'static str {
    "one small answer, as health checks and most calls between services are: about a hundred bytes in all.\n"
}

fn answer(size: usize) -> Vec<u8> {
    let mut answer =
        format!("HTTP/1.1 200 OK\r\nserver: backend\r\ncontent-type: text/plain\r\ncontent-length: {size}\r\n\r\n")
            .into_bytes();
    let body = small().as_bytes().iter().copied().cycle().take(size);
    answer.extend(body);
    answer
}

pub async fn backend(at: Backend) -> Result<()> {
    let (http1, http2, echo) =
        (TcpListener::bind(at.http1).await?, TcpListener::bind(at.http2).await?, TcpListener::bind(at.echo).await?);
    spawn_local(async move {
        while let Ok((stream, _)) = http2.accept().await {
            let _ = stream.set_nodelay(true);
            spawn_local(async move {
                let service = service_fn(|request: http::Request<hyper::body::Incoming>| async move {
                    let grpc = request.headers().get("content-type").is_some_and(|type_| type_ == "application/grpc");
                    let body = request.into_body().collect().await?.to_bytes();
                    let mut frames = Vec::new();
                    if grpc {
                        let mut trailers = HeaderMap::new();
                        trailers.insert("grpc-status", HeaderValue::from_static("0"));
                        frames.extend([Ok(Frame::data(body)), Ok(Frame::trailers(trailers))]);
                    } else {
                        frames.push(Ok::<_, hyper::Error>(Frame::data(Bytes::from_static(small().as_bytes()))));
                    }
                    let mut response = Response::new(StreamBody::new(futures::stream::iter(frames)));
                    let type_ = if grpc { "application/grpc" } else { "text/plain" };
                    response.headers_mut().insert("content-type", HeaderValue::from_static(type_));
                    Ok::<_, hyper::Error>(response)
                });
                let _ = http2::Builder::new(Local).serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    spawn_local(async move {
        while let Ok((stream, _)) = echo.accept().await {
            spawn_local(echo_all(stream));
        }
    });
    let answers: &'static [Vec<u8>; 3] =
        Box::leak(Box::new([answer(small().len()), answer(16 * 1024), answer(1024 * 1024)]));
    loop {
        let (stream, _) = http1.accept().await?;
        spawn_local(async move {
            // How a connection ends is the proxy's affair.
            let _ = serve(stream, answers).await;
        });
    }
}

async fn serve(mut stream: TcpStream, answers: &[Vec<u8>; 3]) -> Result<()> {
    stream.set_nodelay(true)?;
    let (mut buffer, mut filled) = (vec![0; 16 * 1024], 0);
    loop {
        let read = stream.read(&mut buffer[filled..]).await?;
        if read == 0 {
            return Ok(());
        }
        filled += read;
        while let Some(end) = position(&buffer[..filled], b"\r\n\r\n") {
            let head = &buffer[..end];
            let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
            if position(head, WEBSOCKET_KEY).is_some() {
                let switch = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
                    sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
                stream.write_all(switch).await?;
                echo_all(stream).await;
                return Ok(());
            }
            let which = if position(line, b"/16k").is_some() {
                &answers[1]
            } else if position(line, b"/1m").is_some() {
                &answers[2]
            } else {
                &answers[0]
            };
            stream.write_all(which).await?;
            buffer.copy_within(end + 4..filled, 0);
            filled -= end + 4;
        }
        if filled == buffer.len() {
            return Ok(());
        }
    }
}

async fn echo_all(mut stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
        if stream.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

/// Where `wanted` begins.
pub fn position(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// To the backend's HTTP/1 on the first port, to its echo on the next.
pub async fn floor(listen: SocketAddr, http1: SocketAddr) -> Result<()> {
    let echo = Backend::at(http1.port()).echo;
    let next = SocketAddr::new(listen.ip(), listen.port() + 1);
    futures::try_join!(pass_on(listen, http1), pass_on(next, echo)).map(drop)
}

/// One connection to `target` for each that comes in.
async fn pass_on(listen: SocketAddr, target: SocketAddr) -> Result<()> {
    let listener = TcpListener::bind(listen).await?;
    loop {
        let (mut client, _) = listener.accept().await?;
        spawn_local(async move {
            let _ = client.set_nodelay(true);
            let Ok(mut server) = TcpStream::connect(target).await else { return };
            let _ = server.set_nodelay(true);
            // Either side may end first; both are closed then.
            let _ = tokio::io::copy_bidirectional_with_sizes(&mut client, &mut server, 16 * 1024, 16 * 1024).await;
        });
    }
}

/// Runs tasks of hyper on this thread.
#[derive(Clone, Copy)]
pub struct Local;

impl<F: Future<Output: 'static> + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, task: F) {
        spawn_local(task);
    }
}
