//! The kernel's decision on a bind or listen, as a pure function of the contender, the port and the kernel.

use std::net::IpAddr;

use crate::{
    endpoint::{Family, Transport},
    port::{Port, Reuse},
    refusal::Rule,
};

/// The socket that asks, as the kernel sees it when it decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contender {
    /// Port table
    pub transport: Transport,
    /// Family of the socket
    pub family: Family,
    /// Address asked for (`listen`: bound to), in the socket's own family
    pub address: IpAddr,
    /// SO_REUSEADDR
    pub reuse: Reuse,
    /// SO_REUSEPORT
    pub reuseport: bool,
    /// IPV6_V6ONLY as the process left it; a bind to a specific IPv6 address sets it by itself
    pub v6only: bool,
    /// Index of the bound device, 0 for none
    pub device: u32,
    /// Socket uid
    pub uid: u32,
    /// Already in a reuseport group (`sk_reuseport_cb`): a program was attached before it asked
    pub in_group: bool,
    /// That group has members that were closed (`num_closed_socks`)
    pub group_has_closed: bool,
}

/// Which of the two decisions is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Request {
    /// `bind` to the port
    Bind,
    /// `listen` on a socket that is bound to it; asks the same function again (TCP only)
    Listen,
}

/// How the addresses of a holder and a contender meet; the first that applies, on the effective address
/// (`a.b.c.d` also for `::ffff:a.b.c.d`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Overlap {
    /// One is IPv4, the other IPv6
    DualStack,
    /// The same
    SameAddress,
    /// The holder has all addresses
    WildcardHolder,
    /// The contender wants all addresses
    WildcardContender,
}

/// A socket that would refuse the contender were it asked alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blocker {
    /// Its place in [`Port::occupants`]
    pub occupant: usize,
    /// Why
    pub rule: Rule,
    /// How the addresses meet
    pub overlap: Overlap,
}

/// What let the contender pass although a holder, asked alone, would refuse it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Exemption {
    /// The TCP bucket's memory of earlier binds
    BucketCache,
    /// UDP: the first overlapping socket of the scan allowed it, the rest was not asked
    ScanOrder,
    /// TCP_REPAIR
    Repair,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// EADDRINUSE, or success
    pub refused: bool,
    /// TCP: every blocking socket. UDP: every overlapping one that would refuse alone, in scan order with the deciding
    /// one first. On success: those that would refuse alone
    pub blockers: Vec<Blocker>,
    /// UDP, refused: place in [`Port::occupants`] of the socket that decided
    pub decided_by: Option<usize>,
    /// On success with blockers: what let it pass
    pub exemption: Option<Exemption>,
}
