//! What the kernel asks of a bind before it looks at the port: privilege and address, in its own order
//! (net/ipv4/af_inet.c, `__inet_bind`; net/ipv6/af_inet6.c, `__inet6_bind`; the same from 5.15 to 6.19).
//!
//! The two families differ: IPv4 looks at the address first, IPv6 at the privilege.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use super::Contender;
use crate::{
    endpoint::{Family, Transport},
    refusal::{EACCES, EADDRNOTAVAIL, EINVAL, Rule},
};

/// What these checks depend on, beyond the contender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Surroundings {
    /// The address is the host's own here, or one of those no interface needs to have: all addresses, IPv4 broadcast,
    /// multicast
    pub address_is_local: bool,
    /// `net.ipv4.ip_nonlocal_bind`, or `net.ipv6.ip_nonlocal_bind` where the address is neither IPv4 nor mapped
    pub nonlocal_bind: bool,
    /// `net.ipv4.ip_unprivileged_port_start`, which counts for IPv6 too
    pub unprivileged_port_start: u16,
    /// CAP_NET_BIND_SERVICE in the user namespace that owns the network namespace
    pub may_bind_privileged: bool,
}

/// A check that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Objection {
    /// What `bind` returns
    pub errno: i32,
    /// Why
    pub rule: Rule,
}

impl Objection {
    const ADDRESS: Self = Self { errno: EADDRNOTAVAIL, rule: Rule::AddressNotLocal };
    const PRIVILEGE: Self = Self { errno: EACCES, rule: Rule::PrivilegedPort };
    const MALFORMED: Self = Self { errno: EINVAL, rule: Rule::InvalidAddress };
}

/// Whether an IPv6 address means something only together with an interface (`__ipv6_addr_needs_scope_id`).
#[must_use]
pub fn needs_scope(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => false,
        // The low four bits of a multicast address's second byte are its scope: 1 is the interface, 2 the link.
        IpAddr::V6(v6) if v6.is_multicast() => matches!(v6.octets()[1] & 0x0f, 1 | 2),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

/// Whether an address is bindable wherever it is asked for: all addresses, and what `__inet_dev_addr_type` and
/// `__inet6_bind` take for broadcast or multicast without looking.
#[must_use]
pub fn local_everywhere(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => everywhere_v4(v4),
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => everywhere_v4(v4),
            None => v6 == Ipv6Addr::UNSPECIFIED || v6.is_multicast(),
        },
    }
}

fn everywhere_v4(v4: Ipv4Addr) -> bool {
    v4.is_unspecified() || v4.is_broadcast() || v4.is_multicast()
}

/// The first check that refuses the bind of `contender` to `port`; `None` where the port itself decides.
#[must_use]
pub fn precheck(contender: &Contender, port: u16, around: &Surroundings) -> Option<Objection> {
    let foreign = (!around.address_is_local && !around.nonlocal_bind).then_some(Objection::ADDRESS);
    let privileged = (port < around.unprivileged_port_start && !around.may_bind_privileged)
        .then_some(Objection::PRIVILEGE);
    if contender.family == Family::Ipv4 {
        return foreign.or(privileged);
    }
    let is_multicast = matches!(contender.address, IpAddr::V6(v6) if v6.is_multicast());
    let is_mapped = matches!(contender.address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some());
    let stream = contender.transport == Transport::Tcp;
    let multicast = (stream && is_multicast).then_some(Objection::MALFORMED);
    let malformed =
        (is_mapped && contender.v6only) || (needs_scope(contender.address) && contender.device == 0);
    multicast.or(privileged).or(malformed.then_some(Objection::MALFORMED)).or(foreign)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::port::Reuse;

    const HOME: Surroundings = Surroundings {
        address_is_local: true,
        nonlocal_bind: false,
        unprivileged_port_start: 1024,
        may_bind_privileged: false,
    };
    const ABROAD: Surroundings = Surroundings { address_is_local: false, ..HOME };

    fn contender(transport: Transport, address: &str) -> Contender {
        let address: IpAddr = address.parse().expect("an address");
        Contender {
            transport,
            family: if address.is_ipv4() { Family::Ipv4 } else { Family::Ipv6 },
            address,
            reuse: Reuse::No,
            reuseport: false,
            v6only: false,
            device: 0,
            uid: 1000,
            in_group: false,
            group_has_closed: false,
        }
    }

    fn rule(transport: Transport, address: &str, port: u16, around: &Surroundings) -> Option<Rule> {
        precheck(&contender(transport, address), port, around).map(|objection| objection.rule)
    }

    #[test]
    fn ipv4_looks_at_the_address_first_and_ipv6_at_the_privilege() {
        use Transport::Tcp;
        assert_eq!(rule(Tcp, "192.0.2.1", 80, &ABROAD), Some(Rule::AddressNotLocal));
        assert_eq!(rule(Tcp, "2001:db8::1", 80, &ABROAD), Some(Rule::PrivilegedPort));
        assert_eq!(rule(Tcp, "192.0.2.1", 80, &HOME), Some(Rule::PrivilegedPort));
        assert_eq!(rule(Tcp, "2001:db8::1", 8080, &ABROAD), Some(Rule::AddressNotLocal));
        assert_eq!(rule(Tcp, "127.0.0.1", 1024, &HOME), None);
        assert_eq!(rule(Tcp, "127.0.0.1", 80, &Surroundings { may_bind_privileged: true, ..HOME }), None);
        assert_eq!(rule(Tcp, "192.0.2.1", 8080, &Surroundings { nonlocal_bind: true, ..ABROAD }), None);
    }

    #[test]
    fn a_multicast_address_is_for_datagrams_and_ipv4() {
        assert_eq!(
            rule(Transport::Tcp, "ff0e::1", 80, &HOME),
            Some(Rule::InvalidAddress),
            "before the privilege"
        );
        assert_eq!(rule(Transport::Udp, "ff0e::1", 8080, &HOME), None);
        assert_eq!(rule(Transport::Tcp, "224.0.0.1", 8080, &HOME), None);
    }

    #[test]
    fn a_scope_is_asked_for_after_the_privilege() {
        for address in ["fe80::1", "ff02::1", "ff01::1"] {
            assert_eq!(rule(Transport::Udp, address, 80, &HOME), Some(Rule::PrivilegedPort));
            assert_eq!(rule(Transport::Udp, address, 8080, &HOME), Some(Rule::InvalidAddress));
            let scoped = Contender { device: 1, ..contender(Transport::Udp, address) };
            assert_eq!(precheck(&scoped, 8080, &HOME), None, "{address}");
        }
    }

    #[test]
    fn a_mapped_address_does_not_fit_a_socket_without_ipv4() {
        let only = Contender { v6only: true, ..contender(Transport::Tcp, "::ffff:192.0.2.1") };
        assert_eq!(precheck(&only, 8080, &ABROAD), Some(Objection::MALFORMED));
        assert_eq!(rule(Transport::Tcp, "::ffff:192.0.2.1", 8080, &ABROAD), Some(Rule::AddressNotLocal));
    }

    #[test]
    fn some_addresses_belong_to_no_interface() {
        for address in ["0.0.0.0", "255.255.255.255", "239.1.1.1", "::", "ff02::fb", "::ffff:0.0.0.0"] {
            assert!(local_everywhere(address.parse().expect("an address")), "{address}");
        }
        for address in ["127.0.0.1", "0.1.2.3", "10.0.0.255", "::1", "fe80::1", "::ffff:127.0.0.1"] {
            assert!(!local_everywhere(address.parse().expect("an address")), "{address}");
        }
    }
}
