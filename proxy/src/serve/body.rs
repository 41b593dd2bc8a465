//! Bodies on their way: streamed, counted, copied to mirrors, never gathered.

use std::{
    cell::Cell,
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Sleep;

use super::{mirror, record::Record, replay, upstream::Lease};
use crate::metrics::Failure;

#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    #[error(transparent)]
    Http(#[from] hyper::Error),
    #[error("the time for this request is over")]
    Timeout,
    #[error("a mirror fell behind and its copy was given up")]
    MirrorLag,
    #[error("the request is being sent anew")]
    Superseded,
    #[error("the client broke off its body")]
    ClientGone,
}

/// Of a request on its way to an endpoint.
pub(super) enum RequestBody {
    Empty,
    Stream {
        incoming: Incoming,
        bytes: Rc<Cell<u64>>,
        copies: Vec<mirror::Sender>,
    },
    Copy(mirror::Receiver),
    /// For a request that may be sent again.
    Replay(replay::Reader),
}

impl RequestBody {
    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Copy(receiver) => receiver.poll_frame(cx),
            Self::Replay(reader) => reader.poll_frame(cx),
            Self::Stream { incoming, bytes, copies } => {
                let polled = Pin::new(incoming).poll_frame(cx);
                match &polled {
                    Poll::Pending => {}
                    Poll::Ready(Some(Ok(frame))) => {
                        let data = frame.data_ref();
                        bytes.set(bytes.get() + data.map_or(0, |data| data.len() as u64));
                        for copy in copies {
                            copy.send(frame);
                        }
                    }
                    Poll::Ready(Some(Err(_))) => copies.iter().for_each(mirror::Sender::abort),
                    Poll::Ready(None) => copies.clear(),
                }
                polled.map_err(BodyError::from)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            // Mirrors end with the last frame: they have to see the end itself.
            Self::Stream { incoming, copies, .. } => copies.is_empty() && incoming.is_end_stream(),
            Self::Copy(_) | Self::Replay(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Stream { incoming, .. } => incoming.size_hint(),
            Self::Copy(receiver) => receiver.size_hint(),
            Self::Replay(reader) => reader.size_hint(),
        }
    }
}

/// Of a response on its way to the client; the request's record ends with it.
pub(super) enum ResponseBody {
    Text {
        text: Option<Bytes>,
        record: Record,
    },
    Upstream {
        incoming: Incoming,
        lease: Option<Lease>,
        deadline: Option<Pin<Box<Sleep>>>,
        record: Record,
        whole: bool,
    },
    /// The record went on with the tunnel.
    Tunnel,
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Tunnel => Poll::Ready(None),
            Self::Text { text, record } => Poll::Ready(text.take().map(|text| {
                record.response_bytes = text.len() as u64;
                Ok(Frame::data(text))
            })),
            Self::Upstream { incoming, lease, deadline, record, whole } => {
                if let Some(sleep) = deadline
                    && sleep.as_mut().poll(cx).is_ready()
                {
                    record.failed(Failure::Timeout);
                    *whole = true;
                    return Poll::Ready(Some(Err(BodyError::Timeout)));
                }
                let polled = Pin::new(incoming).poll_frame(cx);
                match &polled {
                    Poll::Pending => {}
                    Poll::Ready(Some(Ok(frame))) => {
                        record.response_bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
                    }
                    Poll::Ready(Some(Err(_))) => {
                        record.failed(Failure::Reset);
                        *whole = true;
                    }
                    Poll::Ready(None) => {
                        *whole = true;
                        if let Some(lease) = lease.take() {
                            lease.give_back();
                        }
                    }
                }
                polled.map_err(BodyError::from)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Tunnel => true,
            Self::Text { text, .. } => text.is_none(),
            Self::Upstream { incoming, .. } => incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Tunnel => SizeHint::with_exact(0),
            Self::Text { text, .. } => SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64)),
            Self::Upstream { incoming, .. } => incoming.size_hint(),
        }
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        if let Self::Upstream { incoming, lease, record, whole: false, .. } = self {
            // hyper does not poll a body whose length it has seen pass.
            if incoming.is_end_stream() {
                if let Some(lease) = lease.take() {
                    lease.give_back();
                }
            } else {
                record.reason("client_closed");
            }
        }
    }
}
