//! The PROXY protocol: a line or a block of bytes before all others that says whose connection it
//! really is. <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use tokio::{io::AsyncReadExt, net::TcpStream};

use crate::table::ProxyHeader;

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Longest line of version 1, its end included.
const LINE_MOST: usize = 107;
/// Longest block of version 2 after its head: addresses and what nobody here reads.
const BLOCK_MOST: usize = 4096;

/// Reads the header, and nothing after it: the client that it names, or `None` where the sender
/// speaks for itself. A connection without header is an error, for else anybody could claim to be
/// anybody.
pub(super) async fn read(stream: &mut TcpStream) -> io::Result<Option<SocketAddr>> {
    let mut start = [0; SIGNATURE.len()];
    stream.read_exact(&mut start).await?;
    let client = if start == *SIGNATURE {
        let mut head = [0; 4];
        stream.read_exact(&mut head).await?;
        let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
        if length > BLOCK_MOST {
            return Err(malformed());
        }
        let mut block = vec![0; length];
        stream.read_exact(&mut block).await?;
        version_2(head[0], head[1], &block)
    } else if start.starts_with(b"PROXY ") {
        let mut line = start.to_vec();
        while !line.ends_with(b"\r\n") {
            if line.len() == LINE_MOST {
                return Err(malformed());
            }
            line.push(stream.read_u8().await?);
        }
        version_1(&line)
    } else {
        None
    };
    client.ok_or_else(malformed)
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the connection does not begin with a PROXY header")
}

/// The outer `None` is an error.
fn version_1(line: &[u8]) -> Option<Option<SocketAddr>> {
    let line = std::str::from_utf8(line).ok()?.strip_suffix("\r\n")?;
    let mut words = line.split(' ');
    if words.next() != Some("PROXY") {
        return None;
    }
    let family = words.next()?;
    if family == "UNKNOWN" {
        return Some(None);
    }
    let (source, destination): (IpAddr, IpAddr) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let (port, _): (u16, u16) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let fits = match family {
        "TCP4" => source.is_ipv4() && destination.is_ipv4(),
        "TCP6" => source.is_ipv6() && destination.is_ipv6(),
        _ => false,
    };
    (fits && words.next().is_none()).then(|| Some(SocketAddr::new(source, port)))
}

fn version_2(version_and_command: u8, family: u8, block: &[u8]) -> Option<Option<SocketAddr>> {
    match version_and_command {
        // The sender's own, such as a health check.
        0x20 => return Some(None),
        0x21 => {}
        _ => return None,
    }
    let port = |at: usize| Some(u16::from_be_bytes(block.get(at..at + 2)?.try_into().ok()?));
    match family >> 4 {
        1 => {
            let source: [u8; 4] = block.get(..4)?.try_into().ok()?;
            Some(Some(SocketAddr::new(Ipv4Addr::from(source).into(), port(8)?)))
        }
        2 => {
            let source: [u8; 16] = block.get(..16)?.try_into().ok()?;
            Some(Some(SocketAddr::new(Ipv6Addr::from(source).into(), port(32)?)))
        }
        _ => Some(None),
    }
}

/// Where a connection comes from, and the address of ours that it came to.
#[derive(Clone, Copy)]
pub(super) struct Ends {
    pub client: SocketAddr,
    pub local: SocketAddr,
}

/// The header that tells an endpoint of them.
pub(super) fn header(version: ProxyHeader, ends: Ends) -> Vec<u8> {
    let (client, local) = same_family(ends.client, ends.local);
    match version {
        ProxyHeader::V1 => {
            let family = if client.is_ipv4() { "TCP4" } else { "TCP6" };
            let (from, to) = (client.ip(), local.ip());
            format!("PROXY {family} {from} {to} {} {}\r\n", client.port(), local.port()).into_bytes()
        }
        ProxyHeader::V2 => {
            let mut addresses = Vec::with_capacity(36);
            for ip in [client.ip(), local.ip()] {
                match ip {
                    IpAddr::V4(ip) => addresses.extend_from_slice(&ip.octets()),
                    IpAddr::V6(ip) => addresses.extend_from_slice(&ip.octets()),
                }
            }
            addresses.extend_from_slice(&client.port().to_be_bytes());
            addresses.extend_from_slice(&local.port().to_be_bytes());
            let family = if client.is_ipv4() { 0x11 } else { 0x21 };
            let length = u16::try_from(addresses.len()).unwrap_or_default().to_be_bytes();
            [&SIGNATURE[..], &[0x21, family], &length, &addresses].concat()
        }
    }
}

/// A header has room for one family. A client that came by another proxy may be of the other.
fn same_family(client: SocketAddr, local: SocketAddr) -> (SocketAddr, SocketAddr) {
    let wide = |address: SocketAddr| match address.ip() {
        IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), address.port()),
        IpAddr::V6(_) => address,
    };
    if client.is_ipv4() == local.is_ipv4() { (client, local) } else { (wide(client), wide(local)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(header: &[u8]) -> Option<Option<SocketAddr>> {
        match header.strip_prefix(SIGNATURE) {
            Some(rest) => version_2(rest[0], rest[1], &rest[4..]),
            None => version_1(header),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for (client, local) in [
            ("192.0.2.7:1234", "127.0.0.1:80"),
            ("[2001:db8::7]:1234", "[::1]:80"),
            ("[2001:db8::7]:1234", "127.0.0.1:80"),
        ] {
            let (client, local): (SocketAddr, SocketAddr) = (client.parse().unwrap(), local.parse().unwrap());
            for version in [ProxyHeader::V1, ProxyHeader::V2] {
                let written = header(version, Ends { client, local });
                assert_eq!(parsed(&written), Some(Some(client)), "{written:?}");
            }
        }
        let ends = Ends { client: "192.0.2.7:1234".parse().unwrap(), local: "127.0.0.1:80".parse().unwrap() };
        let line = header(ProxyHeader::V1, ends);
        assert_eq!(line, b"PROXY TCP4 192.0.2.7 127.0.0.1 1234 80\r\n");
    }

    #[test]
    fn senders_that_speak_for_themselves_and_nonsense() {
        assert_eq!(version_1(b"PROXY UNKNOWN\r\n"), Some(None));
        assert_eq!(version_1(b"PROXY UNKNOWN ff::1 ff::2 1 2\r\n"), Some(None));
        assert_eq!(version_2(0x20, 0, &[]), Some(None));
        assert_eq!(version_2(0x21, 0x31, &[0; 216]), Some(None), "a socket file");
        for line in [
            &b"PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n"[..],
            b"PROXY TCP4 ::1 ::2 1 2\r\n",
            b"PROXY TCP4 1.2.3.4 5.6.7.8 1 99999\r\n",
            b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2 3\r\n",
            b"PROXY UDP4 1.2.3.4 5.6.7.8 1 2\r\n",
        ] {
            assert_eq!(version_1(line), None, "{line:?}");
        }
        assert_eq!(version_2(0x21, 0x11, &[0; 9]), None, "cut off");
        assert_eq!(version_2(0x31, 0x11, &[0; 12]), None, "another version");
    }
}
