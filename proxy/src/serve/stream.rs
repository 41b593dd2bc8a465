//! How HTTP/1 writes: few and short pieces go out as one.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

/// Most bytes that are copied to save the kernel a list of pieces: a head with a small body.
const COPIED_MOST: usize = 4096;

/// A connection of HTTP/1. A list of pieces costs the kernel more than copying short ones: most
/// responses, and every request without a body, are written by a plain `send`.
pub(super) struct Io<T>(TokioIo<T>);

impl<T> Io<T> {
    pub(super) fn new(stream: T) -> Self {
        Self(TokioIo::new(stream))
    }
}

impl<T: AsyncRead + Unpin> Read for Io<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl<T: AsyncWrite + Unpin> Write for Io<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Write::poll_write(Pin::new(&mut self.0), cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let stream = Pin::new(&mut self.0);
        if let [only] = pieces {
            return Write::poll_write(stream, cx, only);
        }
        let total: usize = pieces.iter().map(|piece| piece.len()).sum();
        if total > COPIED_MOST {
            return stream.poll_write_vectored(cx, pieces);
        }
        let mut copy = [0; COPIED_MOST];
        let mut end = 0;
        for piece in pieces {
            copy[end..end + piece.len()].copy_from_slice(piece);
            end += piece.len();
        }
        Write::poll_write(stream, cx, &copy[..end])
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Write::poll_flush(Pin::new(&mut self.0), cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Write::poll_shutdown(Pin::new(&mut self.0), cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::AsyncReadExt;

    use super::*;

    /// Whatever way the pieces take, the other side reads them in order and once.
    #[tokio::test]
    async fn pieces_arrive_whole_and_in_order() {
        let long = vec![b'l'; 3 * COPIED_MOST];
        for pieces in
            [&[b"only".as_slice()][..], &[b"", b"two", b"", b"three"], &[b"short", &long, b"end"], &[b"", b""]]
        {
            let (near, mut far) = tokio::io::duplex(COPIED_MOST);
            let expected: Vec<u8> = pieces.concat();
            let reading = tokio::spawn(async move {
                let mut all = Vec::new();
                far.read_to_end(&mut all).await.unwrap();
                all
            });
            let mut io = Io::new(near);
            let mut written = 0;
            while written < expected.len() {
                // What is left, as a caller passes it on after a short write.
                let mut skip = written;
                let mut left = Vec::new();
                for piece in pieces {
                    let from = skip.min(piece.len());
                    skip -= from;
                    left.push(IoSlice::new(&piece[from..]));
                }
                written += poll_fn(|cx| Pin::new(&mut io).poll_write_vectored(cx, &left)).await.unwrap();
            }
            drop(io);
            assert_eq!(reading.await.unwrap(), expected);
        }
    }
}
