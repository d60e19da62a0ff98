//! What a scenario is made of: a few sockets that meet on one port, and what is done to them, step by step.
//!
//! Steps name sockets by slots, so that a scenario stays runnable whichever of its steps are left out: a step on a slot
//! that is empty, or whose socket is in no state for it, does nothing.

mod text;

use std::net::IpAddr;

use reuse_model::endpoint::{Family, Protocol, Transport};

/// The name of a socket within its scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Slot(pub(crate) u8);

/// The user that is not root.
pub(crate) const OTHER_UID: u32 = 1000;

/// What a socket is bound to with SO_BINDTODEVICE.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Device {
    /// Nothing
    #[default]
    Any,
    /// The loopback device
    Loopback,
    /// The other device of the namespace
    Veth,
}

/// Whose hash tables the namespace of the scenario uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tables {
    /// Those of the host
    Host,
    /// Its own, with so few slots that ports share them
    Own,
}

/// Options set on a new socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// SO_REUSEADDR
    pub(crate) reuseaddr: bool,
    /// SO_REUSEPORT
    pub(crate) reuseport: bool,
    /// IPV6_V6ONLY
    pub(crate) v6only: bool,
    /// SO_BINDTODEVICE
    pub(crate) device: Device,
    /// Uid it is made under
    pub(crate) uid: u32,
}

/// An option that is switched on or off on a socket that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Switch {
    /// SO_REUSEADDR
    ReuseAddr,
    /// SO_REUSEPORT
    ReusePort,
    /// IPV6_V6ONLY, which a bound socket refuses
    V6Only,
    /// TCP_REPAIR, which forces SO_REUSEADDR
    Repair,
}

/// What a refusal is used for. The number picks among the sockets concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trial {
    /// Nothing more
    None,
    /// The sockets said to block are taken away, and another one
    Blockers(u8),
    /// The remedies are applied
    Remedies(u8),
}

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A new socket
    Open {
        /// Its slot
        slot: Slot,
        /// Its protocol
        protocol: Protocol,
        /// Its family
        family: Family,
        /// Its options
        options: Options,
    },
    /// An option is changed
    Set {
        /// The socket
        slot: Slot,
        /// The option
        option: Switch,
        /// On or off
        on: bool,
    },
    /// SO_BINDTODEVICE is changed
    SetDevice {
        /// The socket
        slot: Slot,
        /// To what
        device: Device,
    },
    /// The socket's uid is changed with fchown
    Chown {
        /// The socket
        slot: Slot,
        /// The uid
        uid: u32,
    },
    /// A reuseport program is attached, which puts an unbound socket with SO_REUSEPORT into a group
    Program {
        /// The socket
        slot: Slot,
    },
    /// `bind`, predicted
    Bind {
        /// The socket
        slot: Slot,
        /// The address, in the socket's family
        address: IpAddr,
        /// 0: the contested port; else the n-th port that shares its slot of UDP's table
        neighbour: u8,
        /// What a refusal is used for
        trial: Trial,
    },
    /// `listen`, predicted
    Listen {
        /// The socket
        slot: Slot,
        /// What a refusal is used for
        trial: Trial,
    },
    /// A new client connects to a listener
    Connect {
        /// The client's slot
        client: Slot,
        /// The listener
        listener: Slot,
        /// Where it connects, if the listener has all addresses
        address: IpAddr,
    },
    /// A connection is accepted
    Accept {
        /// The listener
        listener: Slot,
        /// The connection's slot
        slot: Slot,
        /// Fsuid of the caller
        uid: u32,
    },
    /// A bound socket connects to a listener of another port
    ConnectOut {
        /// The socket
        slot: Slot,
        /// Slot of the connection's other end
        peer: Slot,
        /// To an IPv4 address where the family leaves the choice
        ipv4: bool,
    },
    /// `connect` to `AF_UNSPEC`
    Disconnect {
        /// The socket
        slot: Slot,
    },
    /// The connection's send buffer is filled, so that its end cannot be sent
    Fill {
        /// The socket
        slot: Slot,
    },
    /// `shutdown`: of both directions for a listener, of sending for a connection
    Shutdown {
        /// The socket
        slot: Slot,
    },
    /// `close`
    Close {
        /// The socket
        slot: Slot,
        /// With SO_LINGER 0: a connection is reset
        reset: bool,
    },
}

/// A scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scenario {
    /// The random seed that gave it
    pub(crate) seed: u64,
    /// Port table that is contested
    pub(crate) transport: Transport,
    /// Hash tables
    pub(crate) tables: Tables,
    /// `net.ipv4.tcp_migrate_req`, with which groups keep members that were closed
    pub(crate) migrate: bool,
    /// The steps
    pub(crate) steps: Vec<Step>,
}
