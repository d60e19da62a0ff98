//! The kernel's decision on a bind or listen, as a pure function of the contender, the port and the kernel.
//!
//! `inet_csk_get_port` and `udp_lib_get_port` for a port that was asked for by number; what comes before them (address,
//! privilege, state) and the choice of a port are not decided here.

mod address;
mod contender;
mod kernel;
mod pair;
pub mod precheck;
pub mod remedy;
mod tcp;
#[cfg(test)]
mod tests;
mod udp;

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{
    endpoint::{Family, Transport},
    port::{Port, Reuse, Table},
    refusal::Rule,
    socket::SocketFacts,
};
use address::Local;

pub use kernel::{DIFFERENCES, Difference, Features, Kernel, Release};

/// The socket that asks, as the kernel sees it when it decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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

impl Overlap {
    /// The JSON word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DualStack => "dual_stack",
            Self::SameAddress => "same_address",
            Self::WildcardHolder => "wildcard_holder",
            Self::WildcardContender => "wildcard_contender",
        }
    }
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

/// How the addresses of two sockets on one port meet, whatever their devices: `holder` is the one that was there first.
/// `None` where no address belongs to both.
#[must_use]
pub fn overlap(holder: &SocketFacts, contender: &SocketFacts) -> Option<Overlap> {
    let (holder, contender) = (Local::of_socket(holder), Local::of_socket(contender));
    contender.overlaps(&holder).then(|| Local::overlap(&holder, &contender))
}

/// Whether two sockets on one port are of two families: IPv4, which `::ffff:a.b.c.d` is too, and IPv6.
#[must_use]
pub fn are_of_two_families(one: &SocketFacts, other: &SocketFacts) -> bool {
    let is_ipv4 = |facts| Local::of_socket(facts).kind() == address::Kind::Mapped;
    is_ipv4(one) != is_ipv4(other)
}

/// Whether the kernel lets `contender` have its port, and which sockets are in the way.
#[must_use]
pub fn decide(kernel: &Kernel, request: Request, contender: &Contender, port: &Port) -> Decision {
    match (&port.table, contender.transport) {
        (Table::Udp { scan, slot }, _) => udp::decide(kernel, contender, port, *scan, *slot),
        (Table::Tcp(bucket), _) => tcp::decide(kernel, request, contender, port, bucket.as_ref()),
    }
}

/// The port once the bind of `contender` succeeded; the contender itself is not among its occupants, as in every port
/// that it is asked about.
#[must_use]
pub fn after_bind(kernel: &Kernel, contender: &Contender, port: &Port) -> Port {
    let table = match port.table {
        Table::Tcp(bucket) => Table::Tcp(Some(tcp::remember(kernel, contender, bucket))),
        Table::Udp { scan, slot } => Table::Udp { scan, slot: slot.saturating_add(1) },
    };
    Port { table, ..port.clone() }
}
