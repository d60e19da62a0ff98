//! What the kernel knows of one socket, decoded.

use std::{net::IpAddr, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::endpoint::{Endpoint, Family, Protocol};

/// Inode number of a network namespace (`/proc/PID/ns/net`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NetNs(pub u32);

/// Inode number of a socket, its identity while a process has it open. 0: no process has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Inode(pub u64);

/// The kernel's never-reused number of a socket (`sock_common.skc_cookie`); 0 until something asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Cookie(pub u64);

/// State of a socket in the words of the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// `TCP_CLOSE` with a port: bound, neither listening nor connected; UDP: not connected
    Bound,
    /// `TCP_LISTEN`
    Listen,
    /// `SYN_SENT`, `SYN_RECV`, `ESTABLISHED`, `CLOSE_WAIT`; connected UDP
    Connected,
    /// A full socket in `FIN_WAIT1/2`, `CLOSING`, `LAST_ACK`
    Closing,
    /// `TIME_WAIT` and the mini-socket of an orphaned `FIN_WAIT2`
    TimeWait,
}

impl State {
    /// The label value and JSON word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bound => "bound",
            Self::Listen => "listen",
            Self::Connected => "connected",
            Self::Closing => "closing",
            Self::TimeWait => "time_wait",
        }
    }
}

/// Socket options as `getsockopt` reads them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flags {
    /// `SO_REUSEADDR`
    pub reuseaddr: bool,
    /// `SO_REUSEPORT`
    pub reuseport: bool,
    /// `IPV6_V6ONLY`
    pub v6only: bool,
    /// `IP_FREEBIND`
    pub freebind: bool,
    /// `IP_TRANSPARENT`
    pub transparent: bool,
    /// `IP_BIND_ADDRESS_NO_PORT`
    pub bind_address_no_port: bool,
}

/// The device a socket is bound to (`SO_BINDTODEVICE`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Device {
    /// Interface index in the socket's namespace; never 0
    pub index: u32,
    /// Name as the kernel had it when the socket was seen, escaped; `if<index>` where it could not be read
    pub name: Arc<str>,
}

/// How the kernel picks a member of a SO_REUSEPORT group (net/core/sock_reuseport.c, `reuseport_select_sock`, Linux 6.18).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Selector {
    /// By the hash of the flow
    #[default]
    Hash,
    /// By a classic BPF program (`SO_ATTACH_REUSEPORT_CBPF`)
    ClassicBpf,
    /// By an eBPF program (`SO_ATTACH_REUSEPORT_EBPF`)
    Ebpf,
    /// By the hash, but preferring a member whose `SO_INCOMING_CPU` is the current CPU
    IncomingCpu,
}

impl Selector {
    /// The JSON word and label value.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hash => "hash",
            Self::ClassicBpf => "cbpf",
            Self::Ebpf => "ebpf",
            Self::IncomingCpu => "incoming_cpu",
        }
    }
}

/// The SO_REUSEPORT group that a socket is in, as the kernel keeps it (`struct sock_reuseport`, Linux 6.18).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupFacts {
    /// How a member is picked
    pub selector: Selector,
    /// Members that can be picked (`num_socks`)
    pub members: u32,
    /// Position of this socket among them, which the hash indexes; `None` where it was not found
    pub index: Option<u32>,
    /// A UDP member is or was connected (`has_conns`): datagrams of its peer go to it, and the hash skips it
    pub has_connected: bool,
    /// This socket's `SO_INCOMING_CPU`, `None` where it is not set
    pub incoming_cpu: Option<u32>,
}

/// One socket as the kernel shows it at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketFacts {
    /// Identity while a process has it open
    pub inode: Inode,
    /// Identity for ever, 0 where nothing asked for it yet
    pub cookie: Cookie,
    /// Network namespace
    pub netns: NetNs,
    /// What tells that namespace from those that have had its number, 0 where nothing does (`net.net_cookie`, Linux 5.12)
    pub netns_cookie: u32,
    /// Address family
    pub family: Family,
    /// Protocol
    pub protocol: Protocol,
    /// Local address and port; port 0: not bound to a port
    pub local: Endpoint,
    /// State
    pub state: State,
    /// Options
    pub flags: Flags,
    /// Bound device, if any
    pub device: Option<Device>,
    /// `sock.sk_uid`: fsuid of the creator, or what `fchown` made of it
    pub uid: u32,
    /// The fsuid its file was opened with (`file.f_cred`), which nothing changes; `None` where it was not read
    pub creator: Option<u32>,
    /// Whether TCP_REPAIR is set, or was when it was bound or listened: the kernel then checks nothing (`tcp_sock.repair`,
    /// `SK_FORCE_REUSE`)
    pub forced: bool,
    /// UDP: the multicast groups it joined, on whichever device, some if there are many; empty where they were not read
    pub multicast: Vec<IpAddr>,
    /// `listen`: connections waiting to be accepted; UDP: bytes in the receive queue
    pub queue: u64,
    /// `listen`: most connections that may wait; UDP: size of the receive buffer in bytes
    pub queue_limit: u64,
    /// Packets dropped at this socket (`sk_drops`)
    pub drops: u64,
    /// The SO_REUSEPORT group it is in, `None` where it is in none or the group was not read
    pub group: Option<GroupFacts>,
}

impl SocketFacts {
    /// Whether both sockets are, or were, in one network namespace. The kernel gives the number of a namespace that is gone
    /// to the next one (`proc_free_inum`, fs/proc/generic.c, Linux 6.12), so of sockets that were not there together it says nothing.
    #[must_use]
    pub fn is_in_netns_of(&self, other: &Self) -> bool {
        let is_told_apart = self.netns_cookie != 0 && other.netns_cookie != 0;
        self.netns == other.netns && (!is_told_apart || self.netns_cookie == other.netns_cookie)
    }
}
