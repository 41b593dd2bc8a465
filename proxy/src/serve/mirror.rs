//! Copies of requests. A mirror gets what it can take: when it falls behind, its copy is given
//! up, and nothing that happens to it reaches the request itself.

use std::{
    cell::RefCell,
    collections::VecDeque,
    rc::Rc,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, request::Parts};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;

use super::{
    body::{BodyError, RequestBody},
    forward,
    http::Connection,
    upstream::Peer,
    worker::Shared,
};
use crate::table::{Endpoints, Mirror};

/// Bytes of a body that may wait for a mirror.
const LAG: usize = 256 * 1024;
/// For the whole copy: nobody waits for it.
const TIME: Duration = Duration::from_secs(30);

#[derive(Default)]
struct Queue {
    frames: VecDeque<Frame<Bytes>>,
    bytes: usize,
    ended: bool,
    aborted: bool,
    waker: Option<Waker>,
}

impl Queue {
    fn change(queue: &RefCell<Self>, change: impl FnOnce(&mut Self)) {
        let mut queue = queue.borrow_mut();
        change(&mut queue);
        if let Some(waker) = queue.waker.take() {
            waker.wake();
        }
    }
}

pub(super) struct Sender(Rc<RefCell<Queue>>);

pub(super) struct Receiver {
    queue: Rc<RefCell<Queue>>,
    size: SizeHint,
}

pub(super) fn pipe(size: SizeHint) -> (Sender, Receiver) {
    let queue = Rc::default();
    (Sender(Rc::clone(&queue)), Receiver { queue, size })
}

impl Sender {
    pub(super) fn send(&self, frame: &Frame<Bytes>) {
        let copy = match (frame.data_ref(), frame.trailers_ref()) {
            (Some(data), _) => Frame::data(data.clone()),
            (None, Some(trailers)) => Frame::trailers(trailers.clone()),
            (None, None) => return,
        };
        Queue::change(&self.0, |queue| {
            queue.bytes += copy.data_ref().map_or(0, Bytes::len);
            if queue.bytes > LAG {
                queue.aborted = true;
            }
            if queue.aborted {
                queue.frames.clear();
            } else {
                queue.frames.push_back(copy);
            }
        });
    }

    /// The request's own body broke: so does the copy.
    pub(super) fn abort(&self) {
        Queue::change(&self.0, |queue| queue.aborted = true);
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        Queue::change(&self.0, |queue| queue.ended = true);
    }
}

impl Receiver {
    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut queue = self.queue.borrow_mut();
        if queue.aborted {
            return Poll::Ready(Some(Err(BodyError::MirrorLag)));
        }
        match queue.frames.pop_front() {
            Some(frame) => {
                queue.bytes -= frame.data_ref().map_or(0, Bytes::len);
                Poll::Ready(Some(Ok(frame)))
            }
            None if queue.ended => Poll::Ready(None),
            None => {
                queue.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        self.size
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        // The sender has no one to send to: nothing may pile up.
        let mut queue = self.queue.borrow_mut();
        queue.aborted = true;
        queue.frames.clear();
    }
}

/// Whether this request is one of the `numerator` in `denominator`, spread evenly.
pub(super) fn chosen(mirror: &Mirror) -> bool {
    let (numerator, denominator) = (u64::from(mirror.numerator), u64::from(mirror.denominator.max(1)));
    let turn = mirror.sent.fetch_add(1, Relaxed);
    numerator >= denominator || (turn % denominator) * numerator % denominator < numerator
}

/// Starts a copy of the request; what it returns takes the body.
pub(super) fn start(mirror: &Mirror, parts: &Parts, body: &RequestBody, connection: &Connection) -> Option<Sender> {
    let shared = &connection.shared;
    let address = *mirror.endpoints.addresses.pick(shared.index)?;
    let mut request = Request::new(RequestBody::Empty);
    *request.method_mut() = parts.method.clone();
    *request.uri_mut() = parts.uri.clone();
    *request.headers_mut() = parts.headers.clone();
    let sender = (!body.is_empty()).then(|| {
        let (sender, receiver) = pipe(body.size_hint());
        *request.body_mut() = RequestBody::Copy(receiver);
        sender
    });
    let (endpoints, shared) = (Arc::clone(&mirror.endpoints), Rc::clone(shared));
    let peer = Peer::new(address, mirror.tls.as_ref(), mirror.endpoints.proxy, &connection.ends);
    let backend = mirror.backend.clone();
    tokio::task::spawn_local(async move {
        let copy = Box::pin(send(request, &endpoints, peer, &shared));
        match tokio::time::timeout(TIME, copy).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%backend, %address, error, "a mirrored request failed"),
            Err(_) => tracing::debug!(%backend, %address, "a mirrored request took too long"),
        }
    });
    sender
}

async fn send(
    request: Request<RequestBody>,
    endpoints: &Endpoints,
    peer: Peer,
    shared: &Rc<Shared>,
) -> Result<(), String> {
    let request = forward::addressed(request, endpoints.protocol);
    // A connection of its own: a stale pooled one would lose the copy.
    let (response, lease) = forward::once(request, endpoints.protocol, peer, shared).await?;
    let mut body = response.into_body();
    while let Some(frame) = body.frame().await {
        frame.map_err(|error| error.to_string())?;
    }
    lease.give_back();
    Ok(())
}
