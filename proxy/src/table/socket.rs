//! Sockets: what a listener binds, and what of it can be shared.

use std::{fmt, net::SocketAddr};

use super::Protocol;

/// A port for TCP and the same port for UDP are two sockets.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Socket {
    pub address: SocketAddr,
    pub transport: Transport,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    Tcp,
    Udp,
}

impl From<SocketAddr> for Socket {
    fn from(address: SocketAddr) -> Self {
        Self { address, transport: Transport::Tcp }
    }
}

/// TCP goes without saying.
impl fmt::Display for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.transport {
            Transport::Tcp => self.address.fmt(f),
            Transport::Udp => write!(f, "{}/UDP", self.address),
        }
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Protocol {
    pub fn transport(self) -> Transport {
        match self {
            Self::Udp => Transport::Udp,
            Self::Http | Self::Https | Self::Tls | Self::Tcp => Transport::Tcp,
        }
    }

    /// Whether listeners of both can share a socket: the first bytes that a client sends have to
    /// tell them apart.
    pub fn shares_with(self, other: Self) -> bool {
        let by_server_name = |protocol| matches!(protocol, Self::Https | Self::Tls);
        self == other || (by_server_name(self) && by_server_name(other))
    }
}
