//! What makes two sockets members of one group.

use crate::{
    endpoint::{Endpoint, Family, Transport},
    socket::{Flags, NetNs, SocketFacts, State},
};

/// Identity of a SO_REUSEPORT group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupKey {
    /// Network namespace
    pub netns: NetNs,
    /// Port table; MPTCP listens through a TCP subflow
    pub transport: Transport,
    /// Address family
    pub family: Family,
    /// `IPV6_V6ONLY`, never set for IPv4
    pub v6only: bool,
    /// Address and port
    pub local: Endpoint,
    /// Interface index of the bound device
    pub device: Option<u32>,
    /// Socket uid
    pub uid: u32,
}

impl GroupKey {
    /// The group a socket is in, if it is in one.
    ///
    /// `is_member`: it was a member before. Clearing SO_REUSEPORT takes no socket out of its group, so a member needs
    /// the option no longer.
    #[must_use]
    pub(super) fn of_member(facts: &SocketFacts, is_member: bool) -> Option<Self> {
        let transport = facts.protocol.transport()?;
        let Flags { reuseport, v6only, .. } = facts.flags;
        // A connected UDP socket is found by its connection; the group's selection passes it over.
        let takes_part = match transport {
            Transport::Udp => facts.state == State::Bound,
            Transport::Tcp => facts.state == State::Listen,
        };
        (takes_part && (reuseport || is_member) && facts.local.port != 0).then_some(Self {
            netns: facts.netns,
            transport,
            family: facts.family,
            v6only: v6only && facts.family == Family::Ipv6,
            local: facts.local,
            device: facts.device.as_ref().map(|device| device.index),
            uid: facts.uid,
        })
    }

    /// Whether only the uid may differ.
    pub(super) fn same_but_uid(&self, other: &Self) -> bool {
        Self { uid: other.uid, ..*self } == *other
    }
}
