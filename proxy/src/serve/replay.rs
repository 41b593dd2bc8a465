//! A request's body, kept while it is sent so that it can be sent again. What is kept is bounded:
//! a longer body goes through as it comes, and can then not be repeated.

use std::{
    cell::RefCell,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::body::{BodyError, RequestBody};

/// Bytes of a body that are kept.
const KEPT: usize = 64 * 1024;

struct State {
    body: RequestBody,
    size: SizeHint,
    /// What was read so far; nothing once it was too much.
    frames: Vec<Frame<Bytes>>,
    bytes: usize,
    too_long: bool,
    ended: bool,
    broken: bool,
    /// Of the reader that counts: an earlier attempt may still be at it when the next begins.
    reader: u32,
}

pub(super) struct Replay(Rc<RefCell<State>>);

pub(super) struct Reader {
    state: Rc<RefCell<State>>,
    number: u32,
    at: usize,
}

impl Replay {
    pub(super) fn new(body: RequestBody) -> Self {
        let size = body.size_hint();
        let state =
            State { body, size, frames: Vec::new(), bytes: 0, too_long: false, ended: false, broken: false, reader: 0 };
        Self(Rc::new(RefCell::new(state)))
    }

    /// Whether another attempt would send the same.
    pub(super) fn is_whole(&self) -> bool {
        let state = self.0.borrow();
        !state.too_long && !state.broken
    }

    /// The body from its start. Readers before end with an error.
    pub(super) fn reader(&self) -> RequestBody {
        let mut state = self.0.borrow_mut();
        state.reader += 1;
        RequestBody::Replay(Reader { state: Rc::clone(&self.0), number: state.reader, at: 0 })
    }
}

fn copy(frame: &Frame<Bytes>) -> Option<Frame<Bytes>> {
    match (frame.data_ref(), frame.trailers_ref()) {
        (Some(data), _) => Some(Frame::data(data.clone())),
        (None, Some(trailers)) => Some(Frame::trailers(trailers.clone())),
        (None, None) => None,
    }
}

impl Reader {
    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        if state.reader != self.number {
            return Poll::Ready(Some(Err(BodyError::Superseded)));
        }
        if let Some(frame) = state.frames.get(self.at).and_then(copy) {
            self.at += 1;
            return Poll::Ready(Some(Ok(frame)));
        }
        if state.ended {
            return Poll::Ready(None);
        }
        if state.broken {
            return Poll::Ready(Some(Err(BodyError::ClientGone)));
        }
        let polled = Pin::new(&mut state.body).poll_frame(cx);
        match &polled {
            Poll::Pending => {}
            Poll::Ready(None) => state.ended = true,
            Poll::Ready(Some(Err(_))) => state.broken = true,
            Poll::Ready(Some(Ok(frame))) => {
                state.bytes += frame.data_ref().map_or(0, Bytes::len);
                state.too_long |= state.bytes > KEPT;
                if state.too_long {
                    state.frames.clear();
                } else if let Some(copy) = copy(frame) {
                    state.frames.push(copy);
                    self.at += 1;
                }
            }
        }
        polled
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        self.state.borrow().size
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;
    use crate::serve::mirror;

    /// A body that brings these pieces.
    fn body(pieces: &[&'static [u8]]) -> RequestBody {
        let (sender, receiver) = mirror::pipe(SizeHint::new());
        pieces.iter().for_each(|piece| sender.send(&Frame::data(Bytes::from_static(piece))));
        RequestBody::Copy(receiver)
    }

    #[tokio::test]
    async fn comes_again_from_the_start() {
        let replay = Replay::new(body(&[b"one", b"two", b"three"]));
        let mut first = replay.reader();
        let frame = first.frame().await.expect("a frame").expect("no error");
        assert_eq!(frame.data_ref().map(|data| &data[..]), Some(&b"one"[..]));
        assert!(replay.is_whole());
        let second = replay.reader();
        assert!(matches!(first.frame().await, Some(Err(BodyError::Superseded))));
        assert_eq!(second.collect().await.expect("a body").to_bytes(), "onetwothree");
        assert_eq!(replay.reader().collect().await.expect("a body").to_bytes(), "onetwothree");
    }

    #[tokio::test]
    async fn a_long_body_passes_once() {
        static PIECE: [u8; 40 * 1024] = [7; 40 * 1024];
        let replay = Replay::new(body(&[&PIECE, &PIECE, &PIECE]));
        let passed = replay.reader().collect().await.expect("a body").to_bytes();
        assert_eq!(passed.len(), 3 * PIECE.len());
        assert!(!replay.is_whole());
        assert!(replay.0.borrow().frames.is_empty());
    }
}
