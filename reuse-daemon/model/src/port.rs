//! One port as the kernel keeps it at one moment: the sockets on it, and what else its decision depends on.

use std::{net::IpAddr, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    endpoint::{Family, Protocol},
    socket::{Cookie, Inode, SocketFacts, State},
};

/// SO_REUSEADDR as the kernel stores it (include/net/sock.h, `sk_reuse`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reuse {
    /// `SK_NO_REUSE`
    #[default]
    No,
    /// `SK_CAN_REUSE`
    Yes,
    /// `SK_FORCE_REUSE`: TCP_REPAIR, which skips every check
    Forced,
}

impl Reuse {
    /// What `getsockopt(SO_REUSEADDR)` and the pair rules see.
    #[must_use]
    pub fn is_set(self) -> bool {
        self != Self::No
    }
}

/// Who can still act on a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tenure {
    /// A `struct socket` belongs to it: a process, or the kernel, has it
    Held,
    /// A connection that nobody has accepted yet
    Unaccepted,
    /// Nobody: closed by its process and not yet through the TCP states, or TIME_WAIT
    Orphan,
}

/// A socket on the port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Occupant {
    /// Family
    pub family: Family,
    /// Local address in its own family
    pub address: IpAddr,
    /// TCP or UDP; an MPTCP socket sits here with its TCP subflow
    pub protocol: Protocol,
    /// State; the mini-socket of an orphaned FIN_WAIT2 is [`State::TimeWait`]
    pub state: State,
    /// SO_REUSEADDR
    pub reuse: Reuse,
    /// SO_REUSEPORT
    pub reuseport: bool,
    /// IPV6_V6ONLY
    pub v6only: bool,
    /// Index of the bound device, 0 for none
    pub device: u32,
    /// Socket uid; `None` for TIME_WAIT, which has none
    pub uid: Option<u32>,
    /// Inode number, 0 where no `struct socket` belongs to it
    pub inode: Inode,
    /// Cookie, 0 where nothing asked for one
    pub cookie: Cookie,
    /// Who can act on it
    pub tenure: Tenure,
    /// Made by the kernel for itself: no process can have it
    pub kernel: bool,
    /// Time until TIME_WAIT ends
    pub expires_in: Option<Duration>,
}

impl Occupant {
    /// Whether its process is just closing it: the kernel takes away its `struct socket` a moment before its port
    /// (net/ipv4/tcp.c, `__tcp_close`).
    #[must_use]
    pub fn is_being_closed(&self) -> bool {
        self.tenure == Tenure::Orphan && matches!(self.state, State::Bound | State::Listen)
    }

    /// The socket of a process, as it was seen.
    #[must_use]
    pub fn of(facts: &SocketFacts) -> Self {
        Self {
            family: facts.family,
            address: facts.local.address,
            protocol: if facts.protocol == Protocol::Udp { Protocol::Udp } else { Protocol::Tcp },
            state: facts.state,
            reuse: if facts.flags.reuseaddr { Reuse::Yes } else { Reuse::No },
            reuseport: facts.flags.reuseport,
            v6only: facts.flags.v6only,
            device: facts.device.as_ref().map_or(0, |device| device.index),
            uid: Some(facts.uid),
            inode: facts.inode,
            cookie: facts.cookie,
            tenure: Tenure::Held,
            kernel: false,
            expires_in: None,
        }
    }
}

/// The address the bucket remembers (`fast_rcv_saddr`, `fast_v6_rcv_saddr`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FastAddress {
    /// Family of the socket that left it there
    pub family: Family,
    /// Its address, in that family
    pub address: IpAddr,
    /// Its IPV6_V6ONLY
    pub v6only: bool,
}

/// What the TCP bind bucket of a port remembers of its sockets (include/net/inet_hashtables.h, `inet_bind_bucket`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bucket {
    /// `fastreuse`: above 0, sockets with SO_REUSEADDR that do not listen pass unchecked; -1: connections only
    pub fastreuse: i8,
    /// `fastreuseport`: 0, `FASTREUSEPORT_ANY` (1), `FASTREUSEPORT_STRICT` (2); -1: connections only
    pub fastreuseport: i8,
    /// `fastuid`; means something only where `fastreuseport` is above 0
    pub fastuid: u32,
    /// Address to compare with under `FASTREUSEPORT_STRICT`
    pub fast_address: FastAddress,
    /// Family of the socket that made the bucket which `0.0.0.0` and `::ffff:0.0.0.0` share; `None` where it is not
    /// there or, from 6.8 on, keeps none
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wildcard_family: Option<Family>,
}

/// Which of its lists the kernel scans for a UDP bind (net/ipv4/udp.c, `udp_lib_get_port`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UdpScan {
    /// One list, whose first candidate decides: the chain of the port's slot, or of the exact address where the
    /// wildcard's slot is the same
    Port,
    /// Two lists, the first candidate of each being asked: the slot of the exact address, then that of the wildcard,
    /// with more than 10 sockets in the port's slot
    Address,
}

/// The port's table entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Table {
    /// TCP: the bucket, `None` where nothing is on the port
    Tcp(Option<Bucket>),
    /// UDP
    Udp {
        /// Which list was scanned
        scan: UdpScan,
        /// Sockets in the port's slot, those of other ports that share it included
        slot: u32,
    },
}

/// A port as it was read.
///
/// Only sockets whose address may overlap the contender's, on its device, are in it, never the contender itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// Its table entry
    pub table: Table,
    /// TCP: listeners first. UDP: in the order of the kernel's scan, which decides
    pub occupants: Vec<Occupant>,
    /// There are more, which were not read
    pub truncated: bool,
    /// The lists changed while they were read: something may be missing
    pub disturbed: bool,
}
