//! Where a socket is bound, as the kernel compares it (net/ipv4/inet_connection_sock.c, `inet_rcv_saddr_equal`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Contender, Overlap};
use crate::{
    endpoint::Family,
    port::{FastAddress, Occupant},
    socket::SocketFacts,
};

/// What the kernel keeps as the IPv4 address of a socket with an IPv6 address that is neither `::` nor mapped
/// (include/net/ipv6.h, `LOOPBACK4_IPV6`).
const IPV6_STAND_IN: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 6);

/// `ipv6_addr_type` as far as it matters here; an IPv4 socket counts as mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `::`
    Any,
    /// `::ffff:a.b.c.d`, also `::ffff:0.0.0.0`
    Mapped,
    /// Any other IPv6 address
    Other,
}

/// The local address of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Local {
    /// `sk_v6_rcv_saddr`; `None` on an IPv4 socket
    v6: Option<Ipv6Addr>,
    /// `sk_rcv_saddr`
    v4: Ipv4Addr,
    /// `sk_ipv6only`
    v6only: bool,
}

impl Local {
    /// Where the contender is while the kernel decides.
    pub(super) fn of_contender(contender: &Contender) -> Self {
        let local = Self::new(contender.family, contender.address, contender.v6only);
        // `inet6_bind` sets it before it asks for the port, and takes it back if that fails. Of an MPTCP socket it sets
        // it on the subflow, which the socket does not tell when it listens.
        Self { v6only: local.v6only || local.kind() == Kind::Other, ..local }
    }

    pub(super) fn of_occupant(occupant: &Occupant) -> Self {
        Self::new(occupant.family, occupant.address, occupant.v6only)
    }

    /// Where a socket gets its packets: with an IPv6 address none of IPv4, also where `connect` gave it the address and
    /// so left IPV6_V6ONLY clear.
    pub(super) fn of_socket(facts: &SocketFacts) -> Self {
        let local = Self::new(facts.family, facts.local.address, facts.flags.v6only);
        Self { v6only: local.v6only || local.kind() == Kind::Other, ..local }
    }

    pub(super) fn of_fast(fast: &FastAddress) -> Self {
        Self::new(fast.family, fast.address, fast.v6only)
    }

    fn new(family: Family, address: IpAddr, v6only: bool) -> Self {
        match (family, address) {
            (Family::Ipv6, IpAddr::V6(v6)) => {
                let v4 = match v6.to_ipv4_mapped() {
                    Some(v4) => v4,
                    None if v6.is_unspecified() => Ipv4Addr::UNSPECIFIED,
                    None => IPV6_STAND_IN,
                };
                Self { v6: Some(v6), v4, v6only }
            }
            (Family::Ipv6, IpAddr::V4(v4)) => Self { v6: Some(v4.to_ipv6_mapped()), v4, v6only },
            (_, IpAddr::V4(v4)) => Self { v6: None, v4, v6only: false },
            (_, IpAddr::V6(v6)) => {
                Self { v6: None, v4: v6.to_ipv4_mapped().unwrap_or(IPV6_STAND_IN), v6only: false }
            }
        }
    }

    pub(super) fn is_ipv6_socket(&self) -> bool {
        self.v6.is_some()
    }

    pub(super) fn is_v6only(&self) -> bool {
        self.v6only
    }

    pub(super) fn kind(&self) -> Kind {
        match self.v6 {
            Some(v6) if v6.is_unspecified() => Kind::Any,
            Some(v6) if v6.to_ipv4_mapped().is_none() => Kind::Other,
            Some(_) | None => Kind::Mapped,
        }
    }

    /// All addresses of a family: `::`, `0.0.0.0`, `::ffff:0.0.0.0`.
    pub(super) fn is_wildcard(&self) -> bool {
        self.v4.is_unspecified()
    }

    /// The address by which sockets are kept together (`inet_bind2_bucket`): an IPv4 one as mapped.
    pub(super) fn key(&self) -> Ipv6Addr {
        self.v6.unwrap_or_else(|| self.v4.to_ipv6_mapped())
    }

    /// `inet_rcv_saddr_equal` with this socket as the first.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        self.matches(other, true, true)
    }

    /// The comparison itself: `ours`, `theirs` tell whose wildcard stands for other addresses.
    pub(super) fn matches(&self, other: &Self, ours: bool, theirs: bool) -> bool {
        match (self.kind(), other.kind()) {
            (Kind::Mapped, _) if !self.is_ipv6_socket() => self.matches_v4(other, ours, theirs),
            (Kind::Mapped, Kind::Mapped) => self.matches_v4(other, ours, theirs),
            (Kind::Any, Kind::Any) => true,
            (kind, Kind::Any) if theirs && !(other.v6only && kind == Kind::Mapped) => true,
            (Kind::Any, kind) if ours && !(self.v6only && kind == Kind::Mapped) => true,
            _ => self.v6.is_some() && self.v6 == other.v6,
        }
    }

    fn matches_v4(&self, other: &Self, ours: bool, theirs: bool) -> bool {
        !other.v6only
            && (self.v4 == other.v4
                || (ours && self.v4.is_unspecified())
                || (theirs && other.v4.is_unspecified()))
    }

    /// How a holder here meets a contender there, in the words of the interface.
    pub(super) fn overlap(holder: &Self, contender: &Self) -> Overlap {
        let is_ipv4 = |local: &Self| local.kind() == Kind::Mapped;
        if is_ipv4(holder) != is_ipv4(contender) {
            Overlap::DualStack
        } else if holder.key() == contender.key() {
            Overlap::SameAddress
        } else if holder.is_wildcard() {
            Overlap::WildcardHolder
        } else {
            Overlap::WildcardContender
        }
    }
}
