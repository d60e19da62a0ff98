//! Whether two sockets want the same traffic, said by what they receive and not by how the kernel compares: the holders
//! that a reading of the port must not miss.
//!
//! The kernel refuses more than this (a connection over IPv6 of a dual-stack listener stands in the way of `0.0.0.0`),
//! which shows in its answers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use reuse_model::endpoint::Family;

use crate::world::Shape;

/// What a socket receives of one family.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part<T> {
    Nothing,
    One(T),
    All,
}

impl<T: PartialEq> Part<T> {
    fn meets(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Nothing, _) | (_, Self::Nothing) => false,
            (Self::One(one), Self::One(other)) => one == other,
            _ => true,
        }
    }
}

/// Whether both would receive the same packet.
pub(crate) fn overlap(one: &Shape, other: &Shape) -> bool {
    let device = one.device == 0 || other.device == 0 || one.device == other.device;
    let ((v4, v6), (other_v4, other_v6)) = (parts(one), parts(other));
    device && (v4.meets(&other_v4) || v6.meets(&other_v6))
}

/// Whether a socket receives what is sent to an address.
pub(crate) fn covers(shape: &Shape, address: IpAddr) -> bool {
    let (v4, v6) = parts(shape);
    match address.to_canonical() {
        IpAddr::V4(address) => v4.meets(&Part::One(address)),
        IpAddr::V6(address) => v6.meets(&Part::One(address)),
    }
}

fn parts(shape: &Shape) -> (Part<Ipv4Addr>, Part<Ipv6Addr>) {
    match shape.address.to_canonical() {
        IpAddr::V4(address) if address.is_unspecified() => (Part::All, Part::Nothing),
        IpAddr::V4(address) => (Part::One(address), Part::Nothing),
        IpAddr::V6(address) if !address.is_unspecified() => (Part::Nothing, Part::One(address)),
        IpAddr::V6(_) if shape.v6only || shape.family == Family::Ipv4 => (Part::Nothing, Part::All),
        IpAddr::V6(_) => (Part::All, Part::All),
    }
}
