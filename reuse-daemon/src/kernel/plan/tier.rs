//! The things the daemon wants to see.

/// One thing the daemon wants to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Tier {
    /// `bind` system calls
    Bind,
    /// `listen` system calls
    Listen,
    /// The kernel's own answer to them; inferred without
    Answers,
    /// Who has the port of a refused call, read by the programs at that moment; remembered without
    Holders,
    /// Which other checks could have refused a call
    Circumstances,
    /// Which member of a group got the traffic
    Selection,
    /// Datagrams refused by a full buffer
    SelectionDrops,
    /// Sockets that go
    Close,
    /// Processes that go
    Exit,
    /// Sockets that were there first
    Inventory,
    /// Reading the selection counters with each socket's own numbers
    Sample,
    /// Queues and drops of sockets
    Queues,
    /// Flows of datagrams, told apart
    Flows,
    /// Each group as the kernel keeps it
    Groups,
    /// The order of its members
    GroupOrder,
    /// Who made a socket, whatever became of its owner
    Creator,
    /// Multicast groups that sockets joined
    Multicast,
    /// The kernel's hash on the daemon's own groups
    TestGroup,
    /// Binds by other ways than the machine's own system calls, and the count of all that the others are checked against
    OtherWays,
    /// What io_uring made of its binds and listens
    IoUring,
    /// `connect` calls that found no port
    ImplicitConnect,
    /// `sendto` calls and their like that found no port
    ImplicitSend,
    /// Changes of a socket after its bind: its options, its owner; and descriptors that are taken from other processes
    Options,
    /// New processes, which have their parents' sockets open, and new programs of processes
    Processes,
    /// Sockets in messages to other processes
    Passing,
}

impl Tier {
    /// Every tier.
    pub const ALL: [Self; 25] = [
        Self::Bind,
        Self::Listen,
        Self::Answers,
        Self::Holders,
        Self::Circumstances,
        Self::Selection,
        Self::SelectionDrops,
        Self::Close,
        Self::Exit,
        Self::Inventory,
        Self::Sample,
        Self::Queues,
        Self::Flows,
        Self::Groups,
        Self::GroupOrder,
        Self::Creator,
        Self::Multicast,
        Self::TestGroup,
        Self::OtherWays,
        Self::IoUring,
        Self::ImplicitConnect,
        Self::ImplicitSend,
        Self::Options,
        Self::Processes,
        Self::Passing,
    ];

    /// Value of the label `tier`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bind => "bind",
            Self::Listen => "listen",
            Self::Answers => "answers",
            Self::Holders => "holders",
            Self::Circumstances => "circumstances",
            Self::Selection => "selection",
            Self::SelectionDrops => "selection_drops",
            Self::Close => "close",
            Self::Exit => "exit",
            Self::Inventory => "inventory",
            Self::Sample => "sample",
            Self::Queues => "queues",
            Self::Flows => "flows",
            Self::Groups => "groups",
            Self::GroupOrder => "group_order",
            Self::Creator => "creator",
            Self::Multicast => "multicast",
            Self::TestGroup => "test_group",
            Self::OtherWays => "other_ways",
            Self::IoUring => "io_uring",
            Self::ImplicitConnect => "implicit_connect",
            Self::ImplicitSend => "implicit_sendto",
            Self::Options => "options",
            Self::Processes => "processes",
            Self::Passing => "passing",
        }
    }
}
