//! How two sockets on one port come to share its traffic.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::{
    endpoint::Transport,
    rulebook::{self, Overlap},
    socket::{SocketFacts, State},
};

/// How two sockets meet; the first that applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Meeting {
    /// In two address families, both for all or for local clients: who asks for a name gets either
    Family,
    /// Exactly one has a device, or they have two and one side is for all addresses
    Device,
    /// One is for all addresses, the other for one of them
    Specific,
    /// Same address, same device
    Same,
}

impl Meeting {
    /// How they meet, if they do.
    pub(super) fn of(one: &SocketFacts, other: &SocketFacts) -> Option<Self> {
        if rulebook::are_of_two_families(one, other) {
            return meet_across_families(one, other).then_some(Self::Family);
        }
        let overlap = rulebook::overlap(one, other)?;
        match (device(one), device(other)) {
            (None, None) => Some(Self::of_addresses(overlap)),
            (Some(one), Some(other)) if one == other => Some(Self::of_addresses(overlap)),
            (Some(_), Some(_)) => (is_wildcard(one) || is_wildcard(other)).then_some(Self::Device),
            _ => Some(Self::Device),
        }
    }

    fn of_addresses(overlap: Overlap) -> Self {
        if overlap == Overlap::SameAddress { Self::Same } else { Self::Specific }
    }
}

/// Whether a packet could be for either: addresses and devices have one in common.
pub(super) fn overlap(one: &SocketFacts, other: &SocketFacts) -> bool {
    let devices = device(one).zip(device(other));
    devices.is_none_or(|(one, other)| one == other) && rulebook::overlap(one, other).is_some()
}

fn meet_across_families(one: &SocketFacts, other: &SocketFacts) -> bool {
    let devices = device(one).zip(device(other));
    if devices.is_some_and(|(one, other)| one != other) {
        return false;
    }
    rulebook::overlap(one, other).is_some() || (is_for_any_client(one) && is_for_any_client(other))
}

/// All addresses or that of `localhost`, a name that has both families: of the other loopback addresses IPv6 has none.
fn is_for_any_client(facts: &SocketFacts) -> bool {
    const LOCALHOST: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    is_wildcard(facts) || LOCALHOST.contains(&facts.local.address.to_canonical())
}

/// For all addresses of a family.
pub(super) fn is_wildcard(facts: &SocketFacts) -> bool {
    facts.local.address.to_canonical().is_unspecified()
}

/// `::` without IPV6_V6ONLY.
pub(super) fn is_dual_stack(facts: &SocketFacts) -> bool {
    matches!(facts.local.address, IpAddr::V6(v6) if v6.is_unspecified()) && !facts.flags.v6only
}

pub(super) fn device(facts: &SocketFacts) -> Option<u32> {
    facts.device.as_ref().map(|device| device.index)
}

/// Whether a socket is given traffic: a TCP listener, any UDP socket with a port.
pub(super) fn is_eligible(facts: &SocketFacts) -> bool {
    match facts.protocol.transport() {
        Some(Transport::Tcp) => facts.state == State::Listen,
        Some(Transport::Udp) => true,
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        endpoint::{Endpoint, Family},
        fixtures::facts,
        socket::{Device, Flags},
    };

    fn at(address: &str, v6only: bool, device: u32) -> SocketFacts {
        let address: IpAddr = address.parse().expect("an address");
        SocketFacts {
            family: if address.is_ipv6() { Family::Ipv6 } else { Family::Ipv4 },
            local: Endpoint { address, port: 80 },
            flags: Flags { v6only, ..Flags::default() },
            device: (device != 0).then(|| Device { index: device, name: Arc::from("x") }),
            ..facts(1, 80)
        }
    }

    #[test]
    fn each_way_of_meeting_is_told_from_the_others() {
        for (one, other, expected) in [
            (at("127.0.0.1", false, 0), at("127.0.0.1", false, 0), Some(Meeting::Same)),
            (at("127.0.0.1", false, 0), at("127.0.0.2", false, 0), None),
            (at("127.0.0.1", false, 0), at("::ffff:127.0.0.1", false, 0), Some(Meeting::Same)),
            (at("0.0.0.0", false, 0), at("127.0.0.2", false, 0), Some(Meeting::Specific)),
            (at("::", true, 0), at("::1", false, 0), Some(Meeting::Specific)),
            (at("::", false, 0), at("::", true, 0), Some(Meeting::Same)),
            (at("0.0.0.0", false, 0), at("::", false, 0), Some(Meeting::Family)),
            (at("10.1.1.1", false, 0), at("::", false, 0), Some(Meeting::Family)),
            (at("10.1.1.1", false, 0), at("::", true, 0), None),
            (at("0.0.0.0", false, 0), at("::", true, 0), Some(Meeting::Family)),
            (at("0.0.0.0", false, 0), at("::1", false, 0), Some(Meeting::Family)),
            (at("127.0.0.1", false, 0), at("::1", false, 0), Some(Meeting::Family)),
            (at("127.0.0.53", false, 0), at("::1", false, 0), None),
            (at("127.0.0.1", false, 0), at("2001:db8::1", false, 0), None),
            (at("0.0.0.0", false, 2), at("0.0.0.0", false, 0), Some(Meeting::Device)),
            (at("0.0.0.0", false, 2), at("0.0.0.0", false, 1), Some(Meeting::Device)),
            (at("10.1.1.1", false, 2), at("10.1.1.1", false, 1), None),
            (at("10.1.1.1", false, 2), at("10.1.1.1", false, 2), Some(Meeting::Same)),
            (at("0.0.0.0", false, 2), at("10.1.1.1", false, 0), Some(Meeting::Device)),
            (at("0.0.0.0", false, 2), at("::", true, 1), None),
        ] {
            assert_eq!(Meeting::of(&one, &other), expected, "{one:?} {other:?}");
            assert_eq!(Meeting::of(&other, &one), expected, "the other way round: {one:?} {other:?}");
        }
    }

    #[test]
    fn two_devices_have_no_packet_in_common_but_one_and_none_have() {
        assert!(overlap(&at("0.0.0.0", false, 2), &at("127.0.0.1", false, 0)));
        assert!(!overlap(&at("0.0.0.0", false, 2), &at("0.0.0.0", false, 1)));
        assert!(!overlap(&at("0.0.0.0", false, 0), &at("::", true, 0)));
    }
}
