//! What the sockets of one scenario are like.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use fastrand::Rng;
use reuse_model::endpoint::{Family, Protocol, Transport};

use crate::{
    devices::SECOND_V6,
    scenario::{Device, OTHER_UID, Options},
};

/// Addresses that meet: two specific ones and all of IPv4, and what IPv6 has for each, mapped ones included.
const IPV4: [Ipv4Addr; 3] = [Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::UNSPECIFIED];
const IPV6: [Ipv6Addr; 3] = [Ipv6Addr::LOCALHOST, SECOND_V6, Ipv6Addr::UNSPECIFIED];

/// Probabilities, and the addresses in use.
pub(super) struct Temper {
    transport: Transport,
    reuseaddr: f64,
    reuseport: f64,
    v6only: f64,
    other_uid: f64,
    device: f64,
    ipv6: f64,
    mapped: f64,
    mptcp: f64,
    special: f64,
    /// Of a TCP socket that bound
    pub(super) listening: f64,
    ipv4_addresses: Vec<Ipv4Addr>,
    ipv6_addresses: Vec<Ipv6Addr>,
}

impl Temper {
    pub(super) fn draw(rng: &mut Rng, transport: Transport) -> Self {
        fn of<const N: usize>(rng: &mut Rng, values: [f64; N]) -> f64 {
            rng.choice(values).unwrap_or_default()
        }
        let addresses = 1 + rng.usize(..3);
        Self {
            transport,
            reuseaddr: of(rng, [0.0, 0.3, 0.7, 0.95]),
            reuseport: of(rng, [0.0, 0.3, 0.7, 0.95]),
            v6only: of(rng, [0.0, 0.3, 0.7]),
            other_uid: of(rng, [0.0, 0.1, 0.5]),
            device: of(rng, [0.0, 0.0, 0.3, 0.7]),
            ipv6: of(rng, [0.0, 0.5, 0.5, 1.0]),
            mapped: of(rng, [0.0, 0.2, 0.6]),
            mptcp: of(rng, [0.0, 0.0, 0.0, 0.2]),
            special: of(rng, [0.0, 0.0, 0.05, 0.2]),
            listening: of(rng, [0.1, 0.4, 0.8]),
            ipv4_addresses: rng.choose_multiple(IPV4, addresses),
            ipv6_addresses: rng.choose_multiple(IPV6, addresses),
        }
    }

    pub(super) fn family(&self, rng: &mut Rng) -> Family {
        if rng.f64() < self.ipv6 { Family::Ipv6 } else { Family::Ipv4 }
    }

    pub(super) fn protocol(&self, rng: &mut Rng) -> Protocol {
        match self.transport {
            Transport::Udp => Protocol::Udp,
            Transport::Tcp if rng.f64() < self.mptcp => Protocol::Mptcp,
            Transport::Tcp => Protocol::Tcp,
        }
    }

    pub(super) fn options(&self, rng: &mut Rng, family: Family) -> Options {
        Options {
            reuseaddr: rng.f64() < self.reuseaddr,
            reuseport: rng.f64() < self.reuseport,
            v6only: family == Family::Ipv6 && rng.f64() < self.v6only,
            device: self.device(rng),
            uid: self.uid(rng),
        }
    }

    pub(super) fn uid(&self, rng: &mut Rng) -> u32 {
        if rng.f64() < self.other_uid { OTHER_UID } else { 0 }
    }

    pub(super) fn device(&self, rng: &mut Rng) -> Device {
        match rng.f64() < self.device {
            false => Device::Any,
            true if rng.bool() => Device::Loopback,
            true => Device::Veth,
        }
    }

    pub(super) fn special(&self, rng: &mut Rng) -> bool {
        rng.f64() < self.special
    }

    pub(super) fn address(&self, rng: &mut Rng, family: Family) -> IpAddr {
        if family == Family::Ipv4 {
            return pick(rng, &self.ipv4_addresses, Ipv4Addr::UNSPECIFIED).into();
        }
        if rng.f64() < self.mapped {
            return pick(rng, &self.ipv4_addresses, Ipv4Addr::UNSPECIFIED).to_ipv6_mapped().into();
        }
        pick(rng, &self.ipv6_addresses, Ipv6Addr::UNSPECIFIED).into()
    }
}

/// An address that is none of those that meet, in the socket's family.
pub(super) fn elsewhere(rng: &mut Rng, family: Family) -> IpAddr {
    let address = Ipv4Addr::new(127, 0, 1, rng.u8(..));
    if family == Family::Ipv4 { address.into() } else { address.to_ipv6_mapped().into() }
}

/// Where a client may connect to reach a listener of that family.
pub(super) fn destination(rng: &mut Rng, family: Family) -> IpAddr {
    let ipv6 = family == Family::Ipv6 && rng.bool();
    match (ipv6, rng.bool()) {
        (true, true) => Ipv6Addr::LOCALHOST.into(),
        (true, false) => SECOND_V6.into(),
        (false, true) => Ipv4Addr::LOCALHOST.into(),
        (false, false) => Ipv4Addr::new(127, 0, 0, 2).into(),
    }
}

fn pick<T: Copy>(rng: &mut Rng, values: &[T], otherwise: T) -> T {
    rng.choice(values).copied().unwrap_or(otherwise)
}
