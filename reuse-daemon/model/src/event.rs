//! Typed events: what the kernel programs said, decoded, with everything the model needs and nothing else.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    endpoint::Endpoint,
    port::{Port, Reuse},
    socket::{Cookie, GroupFacts, Inode, SocketFacts},
};

/// Nanoseconds since boot, suspended time included (`CLOCK_BOOTTIME`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Moment(pub u64);

/// A task's `comm`: at most 15 bytes, any value but NUL; never trusted as text.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Comm(pub [u8; 16]);

impl Comm {
    /// The bytes before the first NUL.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.split(|byte| *byte == 0).next().unwrap_or_default()
    }
}

impl fmt::Debug for Comm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Comm({})", self.as_bytes().escape_ascii())
    }
}

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// `bind()`
    Bind,
    /// `listen()`
    Listen,
    /// `connect()`, which takes a port if the socket has none
    Connect,
    /// `sendto()` and its like, which take a port if the socket has none
    Send,
}

impl Phase {
    /// The label value and JSON word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bind => "bind",
            Self::Listen => "listen",
            Self::Connect => "connect",
            Self::Send => "send",
        }
    }
}

/// The way by which a call came to the kernel's network code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Via {
    /// A system call of the machine's own kind
    Syscall,
    /// A system call of the 32-bit kind
    Compat,
    /// An operation of io_uring
    IoUring,
    /// The kernel, for itself: no process has the socket
    Kernel,
    /// Part of a `connect` or `sendto`
    Implicit,
}

impl Via {
    /// The ways by which sockets are bound explicitly.
    pub const EXPLICIT: [Self; 4] = [Self::Syscall, Self::Compat, Self::IoUring, Self::Kernel];

    /// The JSON word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Syscall => "syscall",
            Self::Compat => "compat",
            Self::IoUring => "io_uring",
            Self::Kernel => "kernel",
            Self::Implicit => "implicit",
        }
    }
}

/// The task that made a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Process id (`tgid`) in the initial pid namespace
    pub pid: u32,
    /// Thread id in the initial pid namespace
    pub tid: u32,
    /// Thread name
    pub comm: Comm,
    /// Effective uid in the initial user namespace
    pub uid: u32,
    /// Id of the cgroup v2 group the task is in
    pub cgroup: u64,
}

/// What was true of the caller when it was refused, beyond the socket: which of the checks that have nothing to do with
/// other sockets could have answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Circumstances {
    /// A seccomp filter sees the caller's system calls (`task_struct.seccomp.mode`)
    pub seccomp_filter: bool,
    /// A BPF program of the caller's cgroup decides on binds of this family
    pub cgroup_program: bool,
    /// The caller has CAP_NET_BIND_SERVICE in the user namespace of the socket's network namespace
    pub may_bind_privileged: bool,
    /// `net.ipv4.ip_unprivileged_port_start` of the socket's network namespace
    pub unprivileged_port_start: u16,
}

/// What the kernel decided on, read when it refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// Of the caller; `None` where this kernel's were not found
    pub circumstances: Option<Circumstances>,
    /// SO_REUSEADDR of the socket, with the third value that no `getsockopt` tells
    pub reuse: Reuse,
    /// As [`crate::rulebook::Contender::in_group`]
    pub in_group: bool,
    /// As [`crate::rulebook::Contender::group_has_closed`]
    pub group_has_closed: bool,
    /// Of an MPTCP socket that has its TCP subflow already: the uid of that, which is what the kernel compares
    pub subflow_uid: Option<u32>,
    /// The port asked for, without the socket that asks; `None` where no port was asked for (0, no address)
    pub port: Option<Port>,
}

/// One call that returned, or (as an [`Event::Attempt`]) is about to be decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Which call
    pub phase: Phase,
    /// By which way it came
    pub via: Via,
    /// Result and reason are the kernel's own; else one of them is inferred
    pub certain: bool,
    /// 0, or the positive errno
    pub errno: i32,
    /// When it returned
    pub at: Moment,
    /// Who called
    pub caller: Caller,
    /// The descriptor it gave, negative where there is none or it is not known
    pub fd: i32,
    /// The socket after the call; `None` where the descriptor is none (`EBADF`, `ENOTSOCK`)
    /// or the family is neither IPv4 nor IPv6
    pub socket: Option<SocketFacts>,
    /// `bind`: the address asked for, in its own family, `None` where it is unreadable, too short or of another
    /// family; all others: `None`
    pub requested: Option<Endpoint>,
    /// `connect`: whom it was to reach
    pub peer: Option<Endpoint>,
    /// What was read where it was refused; `None` after a success, or without a socket
    pub evidence: Option<Arc<Evidence>>,
}

/// What was changed of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Touched {
    /// `SO_REUSEADDR`
    ReuseAddr,
    /// `SO_REUSEPORT`
    ReusePort,
    /// `SO_ATTACH_REUSEPORT_CBPF`, `SO_ATTACH_REUSEPORT_EBPF`
    AttachProgram,
    /// `SO_DETACH_REUSEPORT_BPF`
    DetachProgram,
    /// `SO_INCOMING_CPU`
    IncomingCpu,
    /// `SO_BINDTODEVICE`, `SO_BINDTOIFINDEX`
    Device,
    /// `TCP_REPAIR`
    Repair,
    /// It joins or leaves a multicast group
    Multicast,
    /// Its uid: `fchown`, `fchownat` with a descriptor
    Uid,
}

/// A change of a socket that was made; what is refused is not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Touch {
    /// What changed
    pub what: Touched,
    /// The socket
    pub inode: Inode,
    /// Its cookie, 0 where nothing asked for it
    pub cookie: Cookie,
    /// Who changed it
    pub caller: Caller,
    /// Whether TCP_REPAIR is set afterwards (`SK_FORCE_REUSE`, include/net/sock.h)
    pub forced: bool,
    /// When
    pub at: Moment,
}

/// One event of the kernel's stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A call returned.
    Call(Box<Call>),
    /// A call is about to be decided, and nothing but what comes after tells how: see [`crate::attempt`]. Its errno means
    /// nothing.
    Attempt(Box<Call>),
    /// The last descriptor of a bound socket was closed.
    Close {
        /// The socket
        inode: Inode,
        /// Its cookie, 0 where nothing asked for it
        cookie: Cookie,
        /// Packets dropped at it, told for sockets with SO_REUSEPORT only
        drops: u64,
        /// When
        at: Moment,
    },
    /// A process was made by another, and has the same descriptors open.
    Fork {
        /// The process that made it
        parent: u32,
        /// The new process
        child: u32,
        /// When
        at: Moment,
    },
    /// A process runs another program from now on.
    Exec {
        /// The process
        pid: u32,
        /// When
        at: Moment,
    },
    /// A socket that holds a port was changed by something else than a bind or listen.
    Touch(Box<Touch>),
    /// A message with a descriptor of a socket that holds a port was queued (`SCM_RIGHTS`): who takes it from there has the
    /// socket open.
    Sent {
        /// The socket under way
        inode: Inode,
        /// Who sent it
        pid: u32,
        /// When
        at: Moment,
    },
    /// A process takes a descriptor of another (`pidfd_getfd`): of which socket, if of any, is not told.
    Took {
        /// Who takes
        pid: u32,
        /// When
        at: Moment,
    },
    /// The last thread of a process ended.
    Exit {
        /// The process
        pid: u32,
        /// When
        at: Moment,
    },
}

impl Event {
    /// When it happened.
    #[must_use]
    pub fn at(&self) -> Moment {
        match self {
            Self::Call(call) | Self::Attempt(call) => call.at,
            Self::Touch(touch) => touch.at,
            Self::Close { at, .. }
            | Self::Fork { at, .. }
            | Self::Exec { at, .. }
            | Self::Sent { at, .. }
            | Self::Took { at, .. }
            | Self::Exit { at, .. } => *at,
        }
    }
}

/// One descriptor of one process that refers to a socket, as a snapshot found it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holding {
    /// The socket
    pub socket: SocketFacts,
    /// The process (`tgid`, initial pid namespace)
    pub pid: u32,
    /// Its `comm`
    pub comm: Comm,
    /// Its effective uid
    pub uid: u32,
    /// The descriptor
    pub fd: u32,
}

/// What a snapshot looked through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Every process of the host
    Host,
    /// Those processes that could be seen
    Part,
    /// One process
    Process(u32),
    /// Every process of the host, for some sockets
    Sockets,
}

/// Holdings between two moments.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// When reading began
    pub began: Moment,
    /// When reading ended
    pub ended: Moment,
    /// What was walked: what of it is absent is gone
    pub scope: Scope,
    /// What was found, in the kernel's order
    pub holdings: Vec<Holding>,
}

/// A counter of the kernel side, by its key: the cookie of the socket, or a number that is no cookie while it has none. The
/// counters of one socket add up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Counter(pub u64);

/// What the kernel counted for one socket of a SO_REUSEPORT group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberCount {
    /// Where it was counted: a counter of the socket the kernel selected (for MPTCP its subflow)
    pub counter: Counter,
    /// Its inode number when first selected (an MPTCP subflow has its parent's)
    pub inode: Inode,
    /// Selections since the daemon started
    pub selections: u64,
    /// Flows that were new to the socket in the window that ran then, since the daemon started; `None` where flows are
    /// not told apart. For TCP each selection is a flow.
    pub flows: Option<u64>,
    /// What the socket itself says now, `None` when it is gone
    pub live: Option<MemberGauges>,
}

/// What a member's socket says of itself at the moment of reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberGauges {
    /// Packets dropped at this socket since it was made
    pub drops: u64,
    /// As [`SocketFacts::queue`]
    pub queue: u64,
    /// As [`SocketFacts::queue_limit`]
    pub queue_limit: u64,
    /// As [`SocketFacts::group`]
    pub group: Option<GroupFacts>,
}
