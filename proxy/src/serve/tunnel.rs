//! Connections that have left HTTP: bytes are carried both ways until both sides have ended, one
//! breaks, or nothing moves for too long.

use std::{
    cell::Cell,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use http::{HeaderValue, Response, StatusCode, header};
use hyper::{
    body::Incoming,
    upgrade::{OnUpgrade, Upgraded},
};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional};

use super::{answer, body::ResponseBody, drain::Opaque, filter, http::Connection, record::Record, request};
use crate::{metrics::Failure, table::HeaderEdits};

/// The endpoint agreed to another protocol: from here on bytes are carried both ways.
pub(super) fn switched(
    connection: &Rc<Connection>,
    mut response: Response<Incoming>,
    client: Option<OnUpgrade>,
    mut record: Record,
    edits: [&HeaderEdits; 2],
) -> Response<ResponseBody> {
    let Some(client) = client else {
        record.failed(Failure::Reset);
        let why = "the backend switched protocols without being asked\n";
        return answer::text(record, StatusCode::BAD_GATEWAY, why);
    };
    let upstream = hyper::upgrade::on(&mut response);
    record.code = StatusCode::SWITCHING_PROTOCOLS.as_u16();
    let protocol = response.headers().get(header::UPGRADE).cloned();
    let mut answer = Response::new(ResponseBody::Tunnel);
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *answer.headers_mut() = std::mem::take(response.headers_mut());
    request::strip_hop_by_hop(answer.headers_mut());
    edits.into_iter().for_each(|edits| filter::edit(answer.headers_mut(), edits));
    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    if let Some(protocol) = protocol {
        answer.headers_mut().insert(header::UPGRADE, protocol);
    }
    let connection = Rc::clone(connection);
    let sent = Rc::new(Cell::new(0));
    record.request_bytes = Some(Rc::clone(&sent));
    tokio::task::spawn_local(async move {
        let drain = Rc::clone(&connection.drain);
        let idle = connection.shared.options.tunnel_idle;
        let carry = async {
            let Ok((client, upstream)) = tokio::try_join!(client, upstream) else {
                return record.reason("upgrade_failed");
            };
            let received = Rc::new(Cell::new(0));
            let mut client = Counted { stream: TokioIo::new(client), read: Rc::clone(&sent) };
            let mut upstream = Counted { stream: TokioIo::new(upstream), read: Rc::clone(&received) };
            tokio::select! {
                // How a tunnel ends is the business of the two that talk through it.
                _ = copy_bidirectional(&mut client, &mut upstream) => {}
                () = silence(&sent, &received, idle) => record.reason("idle"),
            }
            record.response_bytes = received.get();
        };
        drain.run(Opaque(Box::pin(carry))).await;
        // The connection counts as open until here.
        drop(connection);
    });
    answer
}

/// Ends when nothing was read on either side for so long.
async fn silence(one: &Cell<u64>, other: &Cell<u64>, limit: Duration) {
    loop {
        let before = (one.get(), other.get());
        tokio::time::sleep(limit).await;
        if (one.get(), other.get()) == before {
            return;
        }
    }
}

/// Counts what is read.
struct Counted {
    stream: TokioIo<Upgraded>,
    read: Rc<Cell<u64>>,
}

impl AsyncRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, into);
        self.read.set(self.read.get() + (into.filled().len() - before) as u64);
        polled
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
