//! The first message of a TLS client: read without losing a byte, and whom it asks for.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf, Bytes};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// Most bytes that a client may take to say whom it asks for. Keys that outlast quantum
/// computers fill a few KiB.
const MOST: usize = 64 * 1024;
const RECORD_HEADER: usize = 5;
const RECORD_MOST: usize = (1 << 14) + 2048;
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u16 = 0;
const HOST_NAME: u8 = 0;

/// Not the start of TLS.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the first bytes are no TLS ClientHello: {0}")]
pub(super) struct Malformed(&'static str);

/// A connection with what was read of it put back.
#[derive(Debug)]
pub(super) struct Rewound {
    read: Bytes,
    stream: TcpStream,
}

impl Rewound {
    pub(super) fn new(read: Bytes, stream: TcpStream) -> Self {
        Self { read, stream }
    }

    pub(super) fn stream(&self) -> &TcpStream {
        &self.stream
    }
}

/// Reads up to the end of the ClientHello: the connection as if nothing had been read, and the
/// server name in lower case, empty where the client names none.
pub(super) async fn read(mut stream: TcpStream) -> io::Result<(Rewound, String)> {
    let mut bytes = Vec::with_capacity(1024);
    loop {
        match server_name(&bytes) {
            Ok(Some(name)) => return Ok((Rewound::new(bytes.into(), stream), name)),
            Ok(None) if bytes.len() >= MOST => {
                return Err(io::Error::new(io::ErrorKind::InvalidData, Malformed("it is too long")));
            }
            Ok(None) => {}
            Err(malformed) => return Err(io::Error::new(io::ErrorKind::InvalidData, malformed)),
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// The server name of a ClientHello, empty if it has none; `None` while it is not whole yet.
pub(super) fn server_name(bytes: &[u8]) -> Result<Option<String>, Malformed> {
    let mut handshake = Vec::new();
    let mut rest = bytes;
    // A message may be cut into records at any byte.
    loop {
        if let Some(hello) = message(&handshake)? {
            return name_of(hello).map(Some);
        }
        let Some((header, after)) = rest.split_at_checked(RECORD_HEADER) else {
            return match rest.first() {
                Some(first) if *first != HANDSHAKE => Err(Malformed("it does not begin with a handshake")),
                _ => Ok(None),
            };
        };
        if header[0] != HANDSHAKE || header[1] != 3 {
            return Err(Malformed("it does not begin with a handshake"));
        }
        let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
        if length == 0 || length > RECORD_MOST {
            return Err(Malformed("a record has an impossible length"));
        }
        // The start of a record tells enough to refuse what is no hello.
        let there = &after[..length.min(after.len())];
        handshake.extend_from_slice(there);
        rest = &after[there.len()..];
        if there.len() < length {
            return message(&handshake)?.map(name_of).transpose();
        }
    }
}

/// The body of the message once it is whole.
fn message(handshake: &[u8]) -> Result<Option<&[u8]>, Malformed> {
    match handshake {
        [first, ..] if *first != CLIENT_HELLO => Err(Malformed("the first message is another")),
        [_, a, b, c, body @ ..] => {
            let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
            if length > MOST {
                return Err(Malformed("it is too long"));
            }
            Ok(body.get(..length))
        }
        _ => Ok(None),
    }
}

fn name_of(hello: &[u8]) -> Result<String, Malformed> {
    name(hello).ok_or(Malformed("its fields do not fit"))
}

/// `None` where a length leads out of the message.
fn name(hello: &[u8]) -> Option<String> {
    let mut hello = Fields(hello);
    hello.take(2 + 32)?;
    let session = hello.u8()?;
    hello.take(usize::from(session))?;
    let suites = hello.u16()?;
    hello.take(usize::from(suites))?;
    let compressions = hello.u8()?;
    hello.take(usize::from(compressions))?;
    if hello.0.is_empty() {
        return Some(String::new());
    }
    let length = hello.u16()?;
    let mut extensions = Fields(hello.take(usize::from(length))?);
    while !extensions.0.is_empty() {
        let (kind, length) = (extensions.u16()?, extensions.u16()?);
        let body = extensions.take(usize::from(length))?;
        if kind == SERVER_NAME {
            return host_name(body);
        }
    }
    Some(String::new())
}

fn host_name(extension: &[u8]) -> Option<String> {
    let mut list = Fields(extension);
    let length = list.u16()?;
    let mut list = Fields(list.take(usize::from(length))?);
    while !list.0.is_empty() {
        let (kind, length) = (list.u8()?, list.u16()?);
        let name = list.take(usize::from(length))?;
        if kind == HOST_NAME {
            return std::str::from_utf8(name).ok().map(str::to_ascii_lowercase);
        }
    }
    Some(String::new())
}

struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    }
}

impl AsyncRead for Rewound {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.read.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, into);
        }
        let length = self.read.len().min(into.remaining());
        into.put_slice(&self.read[..length]);
        self.read.advance(length);
        if self.read.is_empty() {
            self.read = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Rewound {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
