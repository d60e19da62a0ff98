//! Records: what the programs send through the ring, and the snapshot iterator through its file.

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
}

/// Bytes of `struct sock_common` that are copied as they are; every member the daemon decodes ends before.
pub const SOCK_COMMON: usize = 104;

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
    /// Always 0
    pub reserved: [u8; 4],
    /// Name of the bound device, NUL-terminated
    pub device: [u8; DEVICE],
    /// The first bytes of `struct sock_common`
    pub common: [u8; SOCK_COMMON],
}
const _: () = assert!(size_of::<RawSocket>() == 152);

/// One `bind` or `listen` that returned.
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
    /// The address argument; not read where the socket itself shows what was asked for
    pub requested: [u8; SOCKADDR],
    /// Always 0
    pub reserved: u32,
    /// The socket after the call
    pub socket: RawSocket,
}
const _: () = assert!(size_of::<CallRecord>() == 256);

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
    /// The socket
    pub socket: RawSocket,
}
const _: () = assert!(size_of::<HoldingRecord>() == 200);
