//! Protocols, families, addresses and ports: how a socket is named.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

/// Address family of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// `AF_INET`
    Ipv4,
    /// `AF_INET6`, also where it carries IPv4-mapped addresses
    Ipv6,
    /// Any other family: counted, not explained.
    Other,
}

/// Protocol of a socket as its owner asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// `IPPROTO_TCP` (6)
    Tcp,
    /// `IPPROTO_UDP` (17)
    Udp,
    /// `IPPROTO_MPTCP` (262): its port is held by a TCP subflow with the same inode number
    Mptcp,
    /// Raw, ICMP, SCTP, ...: counted, not explained.
    Other,
}

/// The protocol whose port table a socket sits in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// TCP, and MPTCP through its first subflow
    Tcp,
    /// UDP
    Udp,
}

impl Protocol {
    /// The port table this protocol binds in, if it has ports.
    #[must_use]
    pub fn transport(self) -> Option<Transport> {
        match self {
            Self::Tcp | Self::Mptcp => Some(Transport::Tcp),
            Self::Udp => Some(Transport::Udp),
            Self::Other => None,
        }
    }

    /// The label value and JSON word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Mptcp => "mptcp",
            Self::Other => "other",
        }
    }
}

impl Transport {
    /// The label value and JSON word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

impl Family {
    /// The label value and JSON word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
            Self::Other => "other",
        }
    }

    /// The address that stands for all addresses of the family.
    #[must_use]
    pub fn unspecified(self) -> IpAddr {
        match self {
            Self::Ipv6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            Self::Ipv4 | Self::Other => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        }
    }
}

/// An address and port in the socket's own family (`::ffff:a.b.c.d` stays so).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Endpoint {
    /// The local address
    pub address: IpAddr,
    /// The local port, host byte order; 0 asks the kernel to choose
    pub port: u16,
}
