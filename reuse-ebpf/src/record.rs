//! Records: what the programs send through the ring, and the snapshot iterator through its file.

use core::mem::offset_of;

use crate::group::RawGroup;

/// Size of the ring of the records, in bytes.
pub const RING_BYTES: u32 = 4 << 20;

/// First field of every ring record.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// [`CallRecord`] of `bind`
    Bind = 1,
    /// [`CallRecord`] of `listen`
    Listen = 2,
    /// [`CloseRecord`]
    Close = 3,
    /// [`ExitRecord`]
    Exit = 4,
    /// [`CallRecord`] of a `connect` that found no port or no free pair of addresses
    Connect = 5,
    /// [`CallRecord`] of a `sendto` or its like that found no port
    Send = 6,
    /// [`CallRecord`] of a bind that is about to be decided: `result` means nothing
    BindAttempt = 7,
    /// [`CallRecord`] of a listen that is about to be decided: `result` means nothing
    ListenAttempt = 8,
    /// [`ForkRecord`]
    Fork = 9,
    /// [`ExecRecord`]
    Exec = 10,
    /// [`TouchRecord`]
    Touch = 11,
    /// [`PassRecord`] of a descriptor that was put into a message
    Sent = 12,
    /// [`PassRecord`] of a descriptor that was taken from another process; `inode` is 0
    Took = 13,
}

/// The way by which a call came to the kernel's network code.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// A system call of the machine's own kind
    Syscall = 0,
    /// A system call of the 32-bit kind
    Compat = 1,
    /// An operation of io_uring
    IoUring = 2,
    /// The kernel, for itself
    Kernel = 3,
    /// No call of its own: part of a `connect` or `sendto`
    Implicit = 4,
}

impl Way {
    /// Those that bind explicitly, in the order of their numbers.
    pub const EXPLICIT: [Self; 4] = [Self::Syscall, Self::Compat, Self::IoUring, Self::Kernel];

    /// The bits in the map `TOLD` that are for binds: some are set while the hooks of the root cgroup are attached.
    pub const BIND_BITS: u32 = 0xffff;

    /// Its bit in the map `TOLD`, for binds.
    #[must_use]
    pub const fn bit(self) -> u32 {
        1 << self as u32
    }

    /// Its bit there for listens.
    #[must_use]
    pub const fn listen_bit(self) -> u32 {
        1 << (16 + self as u32)
    }
}

/// Bytes of `struct sock_common` that are copied as they are; every member the daemon decodes ends before.
pub const SOCK_COMMON: usize = 104;

/// Bytes of `struct sock_common` that the programs read at once: those, and the link of the socket in its hash chain.
pub const SOCK_COMMON_READ: usize = SOCK_COMMON + 8;

/// Longest socket address that is copied: `struct sockaddr_in6`.
pub const SOCKADDR: usize = 28;

/// `TASK_COMM_LEN`
pub const COMM: usize = 16;

/// `IFNAMSIZ`
pub const DEVICE: usize = 16;

/// A socket as the kernel holds it, not yet decoded.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct RawSocket {
    /// Inode number of the socket
    pub inode: u64,
    /// Eight bytes of `struct inet_sock` that hold the IP-level option bits
    pub inet_flags: u64,
    /// Inode number of its network namespace
    pub netns: u32,
    /// `sk_uid`
    pub uid: u32,
    /// `sk_protocol`
    pub protocol: u16,
    /// 1 if `device` was filled
    pub has_device: u8,
    /// `sk_userlocks`: 8 is set if a port was asked for (include/net/sock.h, `SOCK_BINDPORT_LOCK`)
    pub userlocks: u8,
    /// Low half of the cookie of its network namespace, 0 where namespaces have none: the inode number of one that is gone
    /// is given to the next
    pub netns_cookie: u32,
    /// Name of the bound device, NUL-terminated
    pub device: [u8; DEVICE],
    /// The first bytes of `struct sock_common`
    pub common: [u8; SOCK_COMMON],
}
const _: () = assert!(size_of::<RawSocket>() == 152);

/// One `bind` or `listen` that returned. Where it failed on a socket of IPv4 or IPv6, an [`EvidenceRecord`] and its
/// [`OccupantRecord`]s follow in the same record of the ring.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CallRecord {
    /// [`Kind::Bind`] or [`Kind::Listen`]
    pub kind: u32,
    /// What the call returned: 0 or a negative errno
    pub result: i32,
    /// `CLOCK_BOOTTIME` at the return, nanoseconds
    pub boottime_ns: u64,
    /// Process id
    pub pid: u32,
    /// Thread id
    pub tid: u32,
    /// cgroup v2 id of the caller
    pub cgroup: u64,
    /// `comm` of the calling thread
    pub comm: [u8; COMM],
    /// Effective uid of the caller
    pub uid: u32,
    /// The descriptor argument
    pub fd: i32,
    /// `bind`: the address length argument; `listen`: the backlog
    pub length: i32,
    /// `sk_max_ack_backlog` after a successful `listen`, else 0
    pub queue_limit: u32,
    /// Bytes of `requested` that were read
    pub requested_len: u32,
    /// 1 if `socket` was filled: the descriptor is a socket
    pub has_socket: u32,
    /// The address argument; not read where the socket itself shows what was asked for. `connect` and `sendto`: the
    /// address of the peer, as far as the socket has it
    pub requested: [u8; SOCKADDR],
    /// [`Way`]
    pub way: u8,
    /// 1 if something else may have made the call fail
    pub doubtful: u8,
    /// Always 0
    pub reserved: [u8; 2],
    /// The socket after the call
    pub socket: RawSocket,
}
const _: () = assert!(size_of::<CallRecord>() == 256);

/// Which table [`EvidenceRecord`] was read from.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// None was
    None = 0,
    /// TCP: the port has no bucket
    TcpEmpty = 1,
    /// TCP: the port's bucket
    Tcp = 2,
    /// UDP: the chain of the port's slot
    UdpPort = 3,
    /// UDP: the slot of the exact address, then that of the wildcard
    UdpAddress = 4,
}

/// What a refusal depended on, read right after it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct EvidenceRecord {
    /// [`Table`]
    pub table: u8,
    /// `fastreuse` of the bucket, as it stands there (signed)
    pub fastreuse: u8,
    /// `fastreuseport` of the bucket (signed)
    pub fastreuseport: u8,
    /// `fast_ipv6_only`
    pub fast_v6only: u8,
    /// `fast_sk_family`
    pub fast_family: u16,
    /// 1 if the socket has a reuseport group
    pub in_group: u8,
    /// 1 if that group has closed members
    pub group_has_closed: u8,
    /// `fastuid`
    pub fastuid: u32,
    /// `fast_rcv_saddr`
    pub fast_rcv_saddr: [u8; 4],
    /// `fast_v6_rcv_saddr`
    pub fast_v6_rcv_saddr: [u8; 16],
    /// UDP: `count` of the port's slot
    pub slot: u32,
    /// How many [`OccupantRecord`]s follow
    pub occupants: u32,
    /// 1 if there are more than were read
    pub truncated: u8,
    /// 1 if a list changed while it was read
    pub disturbed: u8,
    /// `task_struct.seccomp.mode`: 0 none, 1 strict, 2 filter
    pub seccomp: u8,
    /// 1 if a BPF program of the caller's cgroup decides on binds of the socket's family
    pub cgroup_program: u8,
    /// 1 if the caller has CAP_NET_BIND_SERVICE where the socket's namespace wants it
    pub may_bind_privileged: u8,
    /// 1 if it is an MPTCP socket with a first subflow
    pub has_subflow: u8,
    /// `family` of the port's bucket for `0.0.0.0` and `::ffff:0.0.0.0`; 0 where there is none, or it keeps none
    pub wildcard_family: u8,
    /// 1 if what is said of the caller was read
    pub has_circumstances: u8,
    /// `net.ipv4.ip_unprivileged_port_start` of the socket's namespace
    pub unprivileged_port_start: u32,
    /// Time the reading took, nanoseconds
    pub took_ns: u32,
    /// Uid of that subflow, as [`OccupantRecord::uid`]
    pub subflow_uid: u32,
    /// Always 0; the occupants that follow are aligned to eight bytes
    pub reserved_end: u32,
}
const _: () = assert!(size_of::<EvidenceRecord>() == 64);

/// One socket on the port.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct OccupantRecord {
    /// Local address; IPv4 as `::ffff:a.b.c.d`
    pub address: [u8; 16],
    /// Cookie, 0 where nothing asked for it
    pub cookie: u64,
    /// Inode number, 0 where no `struct socket` belongs to it
    pub inode: u64,
    /// `sk_uid`; before 6.18 that of the inode, where there is one; 0 for TIME_WAIT
    pub uid: u32,
    /// Bound device
    pub device: u32,
    /// TIME_WAIT: ticks until it ends, never negative
    pub expires_ticks: u32,
    /// Family
    pub family: u16,
    /// `skc_state`
    pub state: u8,
    /// The byte of `skc_reuse`, `skc_reuseport`, `skc_ipv6only` and `skc_net_refcnt`
    pub bits: u8,
    /// 1 if a `struct socket` belongs to it
    pub held: u8,
    /// Always 0
    pub reserved: [u8; 7],
}
const _: () = assert!(size_of::<OccupantRecord>() == 56);

/// Most listeners that are read.
pub const LISTENERS_MAX: usize = 256;

/// Most sockets beyond the listeners that are read.
pub const OTHERS_MAX: usize = 256;

/// Most sockets in one record.
pub const OCCUPANTS_MAX: usize = LISTENERS_MAX + OTHERS_MAX;

/// The last descriptor of a socket was closed.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CloseRecord {
    /// [`Kind::Close`]
    pub kind: u32,
    /// `sk_drops` of a socket with SO_REUSEPORT, whose group counts them on; else 0
    pub drops: u32,
    /// `CLOCK_BOOTTIME`, nanoseconds
    pub boottime_ns: u64,
    /// Inode number
    pub inode: u64,
    /// Cookie, 0 where nothing asked for it
    pub cookie: u64,
}
const _: () = assert!(size_of::<CloseRecord>() == 32);

/// The last thread of a process ended.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ExitRecord {
    /// [`Kind::Exit`]
    pub kind: u32,
    /// Process id
    pub pid: u32,
    /// `CLOCK_BOOTTIME`, nanoseconds
    pub boottime_ns: u64,
}
const _: () = assert!(size_of::<ExitRecord>() == 16);

/// A process was made.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ForkRecord {
    /// [`Kind::Fork`]
    pub kind: u32,
    /// Process id of the one that made it
    pub parent: u32,
    /// `CLOCK_BOOTTIME`, nanoseconds
    pub boottime_ns: u64,
    /// Its process id
    pub child: u32,
    /// Always 0
    pub reserved: u32,
}
const _: () = assert!(size_of::<ForkRecord>() == 24);

/// A process runs another program.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ExecRecord {
    /// [`Kind::Exec`]
    pub kind: u32,
    /// Process id
    pub pid: u32,
    /// `CLOCK_BOOTTIME`, nanoseconds
    pub boottime_ns: u64,
}
const _: () = assert!(size_of::<ExecRecord>() == 16);

/// A socket that holds a port was changed.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct TouchRecord {
    /// [`Kind::Touch`]
    pub kind: u32,
    /// Process id
    pub pid: u32,
    /// `CLOCK_BOOTTIME` at the return, nanoseconds
    pub boottime_ns: u64,
    /// Inode number
    pub inode: u64,
    /// Cookie, 0 where nothing asked for it
    pub cookie: u64,
    /// cgroup v2 id of the caller
    pub cgroup: u64,
    /// `comm` of the calling thread
    pub comm: [u8; COMM],
    /// Thread id
    pub tid: u32,
    /// Effective uid of the caller
    pub uid: u32,
    /// [`crate::touch::Touched`]
    pub what: u8,
    /// `skc_reuse` afterwards, four bits
    pub reuse: u8,
    /// Always 0
    pub reserved: [u8; 6],
}
const _: () = assert!(size_of::<TouchRecord>() == 72);

/// A descriptor goes from one process to another.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct PassRecord {
    /// [`Kind::Sent`] or [`Kind::Took`]
    pub kind: u32,
    /// Process id of the one that does it
    pub pid: u32,
    /// `CLOCK_BOOTTIME`, nanoseconds
    pub boottime_ns: u64,
    /// Inode number of the socket
    pub inode: u64,
}
const _: () = assert!(size_of::<PassRecord>() == 24);

/// Most multicast groups of a socket that are told.
pub const MULTICAST_MAX: usize = 4;

/// One descriptor of one process that refers to a bound socket, from the snapshot iterator.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct HoldingRecord {
    /// Process id
    pub pid: u32,
    /// The descriptor
    pub fd: u32,
    /// Effective uid of the process
    pub uid: u32,
    /// `sk_drops`, both halves added where the kernel splits it
    pub drops: u32,
    /// `sk_ack_backlog`
    pub accept_queue: u32,
    /// `sk_max_ack_backlog`
    pub accept_queue_limit: u32,
    /// `sk_rmem_alloc`, bytes
    pub receive_queue: u32,
    /// `sk_rcvbuf`, bytes
    pub receive_queue_limit: u32,
    /// `comm` of the process
    pub comm: [u8; COMM],
    /// The group it is in
    pub group: RawGroup,
    /// `fsuid` that the file was opened with
    pub creator: u32,
    /// 1 if `creator` was read
    pub has_creator: u8,
    /// 1 if TCP_REPAIR is set
    pub repair: u8,
    /// Always 0
    pub reserved: [u8; 2],
    /// The socket
    pub socket: RawSocket,
    /// UDP: multicast groups that it joined, each once, IPv4 as `::ffff:a.b.c.d`; the rest is 0
    pub multicast: [[u8; 16]; MULTICAST_MAX],
}
const _: () = assert!(size_of::<HoldingRecord>() == 288);

/// Bytes that the programs read and write as the words they stand for: names, addresses, the first bytes of a socket, and
/// what is zeroed at once.
const IN_WORDS: [usize; 8] = [
    offset_of!(RawSocket, common),
    offset_of!(CallRecord, comm),
    offset_of!(CallRecord, requested),
    offset_of!(CallRecord, socket),
    offset_of!(OccupantRecord, held),
    offset_of!(TouchRecord, comm),
    offset_of!(HoldingRecord, comm),
    offset_of!(HoldingRecord, multicast),
];
const _: () = {
    let mut at = 0;
    while at < IN_WORDS.len() {
        assert!(IN_WORDS[at].is_multiple_of(8));
        at += 1;
    }
};
