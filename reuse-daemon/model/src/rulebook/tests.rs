//! The rulebook's cases, and sockets to build them from.

mod pairs;
mod ports;
mod tcp;
mod udp;
mod versions;

use std::net::IpAddr;

use super::*;
use crate::{
    endpoint::Protocol,
    fixtures::kernel,
    port::{Bucket, FastAddress, Occupant, Tenure, UdpScan},
    socket::{Cookie, Inode, State},
};

/// A TCP socket of uid 0 without options that asks for `address`; an IPv6 one takes IPv4 as well where it can.
pub(super) fn contender(address: &str) -> Contender {
    let (family, address) = of(address);
    Contender {
        transport: Transport::Tcp,
        family,
        address,
        reuse: Reuse::No,
        reuseport: false,
        v6only: false,
        device: 0,
        uid: 0,
        in_group: false,
        group_has_closed: false,
    }
}

/// A TCP socket of uid 0 without options, bound to `address` and held by a process. As with a real one, a specific IPv6
/// address has set IPV6_V6ONLY.
pub(super) fn occupant(address: &str) -> Occupant {
    let (family, address) = of(address);
    let specific = match address {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().is_none() && !v6.is_unspecified(),
        IpAddr::V4(_) => false,
    };
    Occupant {
        family,
        address,
        protocol: Protocol::Tcp,
        state: State::Bound,
        reuse: Reuse::No,
        reuseport: false,
        v6only: specific,
        device: 0,
        uid: Some(0),
        inode: Inode(1),
        cookie: Cookie(1),
        tenure: Tenure::Held,
        kernel: false,
        expires_in: None,
    }
}

/// A connection to `address` that has been left to TIME_WAIT.
pub(super) fn time_wait(address: &str) -> Occupant {
    Occupant {
        state: State::TimeWait,
        uid: None,
        inode: Inode(0),
        tenure: Tenure::Orphan,
        ..occupant(address)
    }
}

fn of(address: &str) -> (Family, IpAddr) {
    let address: IpAddr = address.parse().expect("an address");
    (if address.is_ipv4() { Family::Ipv4 } else { Family::Ipv6 }, address)
}

/// A TCP port whose bucket remembers nothing that would help.
pub(super) fn tcp_port(occupants: impl Into<Vec<Occupant>>) -> Port {
    let fast_address = FastAddress { family: Family::Ipv4, address: of("0.0.0.0").1, v6only: false };
    let bucket = Bucket { fastreuse: 0, fastreuseport: 0, fastuid: 0, fast_address, wildcard_family: None };
    let occupants = occupants.into();
    let bucket = (!occupants.is_empty()).then_some(bucket);
    Port { table: Table::Tcp(bucket), occupants, truncated: false, disturbed: false }
}

/// A UDP port, its sockets in scan order.
pub(super) fn udp_port(scan: UdpScan, occupants: impl Into<Vec<Occupant>>) -> Port {
    let mut occupants = occupants.into();
    for occupant in &mut occupants {
        occupant.protocol = Protocol::Udp;
    }
    let slot = if scan == UdpScan::Address { 11 } else { 3 };
    Port { table: Table::Udp { scan, slot }, occupants, truncated: false, disturbed: false }
}

/// The port after each of these bound it in turn, which all must succeed.
pub(super) fn bound(kernel: &Kernel, sockets: &[(Contender, Occupant)]) -> Port {
    sockets.iter().fold(tcp_port([]), |port, (asking, then)| {
        assert!(!decide(kernel, Request::Bind, asking, &port).refused, "{asking:?} on {port:?}");
        let mut port = after_bind(kernel, asking, &port);
        port.occupants.push(then.clone());
        port
    })
}

/// A contender with an occupant that has the same of everything, once it is bound.
pub(super) fn socket(address: &str, change: impl Fn(&mut Contender, &mut Occupant)) -> (Contender, Occupant) {
    let (mut asking, mut then) = (contender(address), occupant(address));
    change(&mut asking, &mut then);
    (asking, then)
}
