//! Addresses to serve HTTP on: parsed, and checked against each other.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

/// An address and port to listen on. `[::]` means IPv4 as well, as it does to every exporter; port 0 lets the
/// kernel choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ListenAddress(pub SocketAddr);

/// Why an address cannot be listened on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListenError {
    /// It is none
    #[error("{0:?} is not an address and port; write 127.0.0.1:10542, [::1]:10542 or :10542 (all addresses)")]
    Malformed(String),
    /// It needs a look-up
    #[error("{0:?} is a name; write the address it stands for, such as 127.0.0.1:{1}")]
    Name(String, u16),
    /// No packet is ever addressed to it
    #[error("{0} is no address a listener can have; write a unicast address of this host")]
    NotUnicast(SocketAddr),
    /// Two of them exclude each other
    #[error("{first} and {second} exclude each other; give one of them")]
    Overlap {
        /// The one given first
        first: ListenAddress,
        /// The one given later
        second: ListenAddress,
    },
}

impl FromStr for ListenAddress {
    type Err = ListenError;

    fn from_str(text: &str) -> Result<Self, ListenError> {
        let text = text.trim();
        let address = match text.rsplit_once(':') {
            Some(("", port)) => port.parse().map(|port| SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))).ok(),
            _ => text.parse().ok(),
        };
        let address = address.ok_or_else(|| malformed(text))?;
        let multicast = address.ip().is_multicast() || address.ip() == IpAddr::V4(Ipv4Addr::BROADCAST);
        if multicast { Err(ListenError::NotUnicast(address)) } else { Ok(Self(address)) }
    }
}

/// Tells a host name from what is no address at all.
fn malformed(text: &str) -> ListenError {
    let name = text.rsplit_once(':').and_then(|(host, port)| {
        let named = host.starts_with(|first: char| first.is_ascii_alphabetic())
            && host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'));
        port.parse().ok().filter(|_| named)
    });
    match name {
        Some(port) => ListenError::Name(text.to_owned(), port),
        None => ListenError::Malformed(text.to_owned()),
    }
}

impl ListenAddress {
    /// Whether a listener here would take connections to `port` on a loopback address.
    #[must_use]
    pub fn covers_loopback(&self, port: u16) -> bool {
        self.0.port() == port && (self.0.ip().is_loopback() || self.0.ip().is_unspecified())
    }

    /// Whether two listeners without `SO_REUSEPORT` could not both have their address.
    fn excludes(&self, other: &Self) -> bool {
        if self.0.port() != other.0.port() || self.0.port() == 0 {
            return false;
        }
        let dual_stack = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        let (one, two) = (self.0.ip(), other.0.ip());
        one == two
            || one == dual_stack
            || two == dual_stack
            || (one.is_ipv4() == two.is_ipv4() && (one.is_unspecified() || two.is_unspecified()))
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Parses all addresses and refuses any two that exclude each other.
pub(super) fn parse_all(texts: &[String]) -> Result<Vec<ListenAddress>, ListenError> {
    let mut addresses: Vec<ListenAddress> = Vec::with_capacity(texts.len());
    for text in texts {
        let second: ListenAddress = text.parse()?;
        if let Some(first) = addresses.iter().copied().find(|first| first.excludes(&second)) {
            return Err(ListenError::Overlap { first, second });
        }
        addresses.push(second);
    }
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(texts: &[&str]) -> Result<Vec<ListenAddress>, ListenError> {
        parse_all(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn addresses_and_the_bare_port_parse() {
        assert_eq!(all(&["127.0.0.1:1", "[::1]:2", ":3", "0.0.0.0:0"]).map(|all| all.len()), Ok(4));
        assert_eq!(":3".parse().map(|ListenAddress(at)| at.to_string()), Ok("[::]:3".to_owned()));
    }

    #[test]
    fn what_is_no_address_is_refused_with_the_way_out() {
        for text in ["", "10542", "127.0.0.1", "127.0.0.1:65536", "[::1:1", "::1:10542:", "1.2.3:4", ":"] {
            assert_eq!(
                text.parse::<ListenAddress>(),
                Err(ListenError::Malformed(text.to_owned())),
                "{text:?}"
            );
        }
        let name = "localhost:9100".parse::<ListenAddress>().expect_err("a name");
        assert!(name.to_string().contains("such as 127.0.0.1:9100"), "{name}");
        assert!(matches!("224.0.0.1:1".parse::<ListenAddress>(), Err(ListenError::NotUnicast(_))));
        assert!(matches!("[ff02::1]:1".parse::<ListenAddress>(), Err(ListenError::NotUnicast(_))));
    }

    #[test]
    fn addresses_that_exclude_each_other_are_refused() {
        for pair in [["127.0.0.1:1", "127.0.0.1:1"], ["0.0.0.0:1", "127.0.0.1:1"], ["127.0.0.1:1", ":1"]] {
            assert!(matches!(all(&pair), Err(ListenError::Overlap { .. })), "{pair:?}");
        }
        for pair in [["127.0.0.1:1", "127.0.0.1:2"], ["0.0.0.0:1", "[::1]:1"], ["127.0.0.1:0", "127.0.0.1:0"]]
        {
            assert!(all(&pair).is_ok(), "{pair:?}");
        }
    }
}
