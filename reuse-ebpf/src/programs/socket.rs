//! From a descriptor to its socket, and a socket copied for the daemon.

use reuse_ebpf::record::{DEVICE, RawSocket, SOCK_COMMON, SOCK_COMMON_READ};

use super::{
    field::{View, copy, copy_words, is_there, offset, read, read_if_there},
    task::Task,
};

pub(crate) const S_IFMT: u16 = 0xf000;
pub(crate) const S_IFSOCK: u16 = 0xc000;

pub(crate) const AF_UNIX: u16 = 1;
pub(crate) const AF_INET: u16 = 2;
pub(crate) const AF_INET6: u16 = 10;
pub(crate) const IPPROTO_TCP: u16 = 6;
pub(crate) const IPPROTO_UDP: u16 = 17;
pub(crate) const IPPROTO_MPTCP: u16 = 262;
pub(crate) const TCP_ESTABLISHED: u8 = 1;
pub(crate) const TCP_SYN_SENT: u8 = 2;
pub(crate) const TCP_TIME_WAIT: u8 = 6;
pub(crate) const TCP_CLOSE: u8 = 7;
pub(crate) const TCP_LISTEN: u8 = 10;
/// include/net/sock.h: a port was asked for explicitly.
pub(crate) const SOCK_BINDPORT_LOCK: u8 = 8;

/// A `struct socket` and its `struct sock`, as numbers.
#[derive(Clone, Copy)]
pub(crate) struct Socket {
    pub(crate) socket: u64,
    pub(crate) sk: u64,
}

impl Socket {
    /// No socket. An `Option` of one leaves undefined what it does not have, and the verifier refuses a program in which
    /// the compiler saves that to the stack.
    pub(crate) const NONE: Self = Self { socket: 0, sk: 0 };

    #[inline(always)]
    pub(crate) fn is_some(self) -> bool {
        self.sk != 0
    }
}

/// The first bytes of a `struct sock_common`, read at once.
pub(crate) type Common = [u64; SOCK_COMMON_READ / 8];

/// The same bytes where they were copied to, aligned as they are in the kernel: to eight bytes.
#[derive(Clone, Copy)]
pub(crate) struct Copied(*const u8);

impl Copied {
    /// Those that `to` gets: of a record or a map, where the stack has no room.
    ///
    /// # Safety
    /// `to` must be valid for writes, and for reads as long as this is used.
    #[inline(always)]
    pub(crate) unsafe fn read(to: *mut Common, sk: u64) -> Self {
        // SAFETY: promised by the caller.
        unsafe { copy_words(to, sk) };
        Self(to.cast())
    }

    /// Those that a record has.
    ///
    /// # Safety
    /// The record must be valid for reads as long as this is used.
    #[inline(always)]
    pub(crate) unsafe fn of(socket: *const RawSocket) -> Self {
        // SAFETY: promised by the caller.
        Self(unsafe { &raw const (*socket).common }.cast())
    }

    /// A member by its offset, which the daemon holds within the bytes that are read.
    #[inline(always)]
    pub(crate) fn at<T: Copy>(self, offset: usize) -> T {
        // SAFETY: integers only are read, and the daemon refuses a kernel where a member of `sock_common` lies outside. The
        // bytes are aligned as the structure is, and so its members.
        unsafe { self.0.add(offset).cast::<T>().read() }
    }

    /// The same, read where it is needed: what a program knows of a value since it compared it, the verifier follows
    /// separately until the value is needed no more.
    #[inline(always)]
    pub(crate) fn anew<T: Copy>(self, offset: usize) -> T {
        // SAFETY: as above.
        unsafe { self.0.add(offset).cast::<T>().read_volatile() }
    }

    /// An IPv6 address in two words; its member is aligned to four bytes only.
    #[inline(always)]
    pub(crate) fn address(self, offset: usize) -> [u64; 2] {
        let word = |at| u64::from(self.at::<u32>(offset + at));
        [word(0) | word(4) << 32, word(8) | word(12) << 32]
    }
}

/// The socket behind a descriptor of a task; `checked` also makes sure that it is one, for calls that may have failed
/// because it is not.
#[inline(always)]
pub(crate) fn of_descriptor<const TYPED: bool>(task: Task<TYPED>, fd: i32, checked: bool) -> Option<Socket> {
    let (limit, array) = task.descriptors();
    let fd = fd as u32;
    if fd >= limit {
        return None;
    }
    let file: u64 = read(array + (u64::from(fd) << 3));
    if file == 0 { None } else { of_file(file, checked) }
}

/// The socket behind a file; `checked` as above.
#[inline(always)]
pub(crate) fn of_file(file: u64, checked: bool) -> Option<Socket> {
    if checked {
        let inode: u64 = read(file + offset!(file_inode) as u64);
        let mode: u16 = read(inode + offset!(inode_mode) as u64);
        if mode & S_IFMT != S_IFSOCK {
            return None;
        }
    }
    let socket: u64 = read(file + offset!(file_private) as u64);
    of_socket(socket)
}

/// The pair, where the socket still has its `struct sock`.
#[inline(always)]
pub(crate) fn of_socket(socket: u64) -> Option<Socket> {
    let sk: u64 = read(socket + offset!(socket_sk) as u64);
    (sk != 0).then_some(Socket { socket, sk })
}

/// Inode number of a `struct socket`: its inode stands in the same allocation (include/net/sock.h, `SOCK_INODE`).
#[inline(always)]
pub(crate) fn inode_number(socket: u64) -> u64 {
    read(socket + (offset!(alloc_inode) - offset!(alloc_socket) + offset!(inode_ino)) as u64)
}

/// Copies what the daemon decodes. `netns` is likely the socket's, as [`Task::netns`] gives it,
/// which spares a look.
///
/// # Safety
/// `to` must be valid for writes; every field but `device` is written, that one only with `has_device`.
#[inline(always)]
pub(crate) unsafe fn copy_raw(to: *mut RawSocket, Socket { socket, sk }: Socket, netns: (u64, u32, u32)) {
    // SAFETY: promised by the caller.
    unsafe {
        copy_common(to, sk);
        copy_rest(to, Socket { socket, sk }, netns);
    }
}

/// Copies the first bytes, and gives them for a look.
///
/// # Safety
/// `to` must be valid for writes, and for as long as the look takes.
#[inline(always)]
pub(crate) unsafe fn copy_common(to: *mut RawSocket, sk: u64) -> Copied {
    // SAFETY: promised by the caller.
    unsafe {
        copy_words((&raw mut (*to).common).cast::<[u64; SOCK_COMMON / 8]>(), sk);
        Copied::of(to)
    }
}

/// Copies what follows them.
///
/// # Safety
/// As [`copy_raw`]; the first bytes must have been copied.
#[inline(always)]
pub(crate) unsafe fn copy_rest(
    to: *mut RawSocket,
    Socket { socket, sk }: Socket,
    (own_net, own_netns, own_cookie): (u64, u32, u32),
) {
    // SAFETY: `to` is valid as promised; `common` has SOCK_COMMON bytes, within which the verifier holds both members.
    unsafe {
        let common = Copied::of(to);
        let (net, device): (u64, u32) = (common.at(offset!(sk_net)), common.at(offset!(sk_bound_dev)));
        let sk = View::of(sk);
        let (uid, protocol) = uid_and_protocol(sk);
        (*to).inode = inode_number(socket);
        (*to).inet_flags = sk.at(offset!(inet_flags));
        if net == own_net {
            (*to).netns = own_netns;
            (*to).netns_cookie = own_cookie;
        } else {
            (*to).netns = read(net + offset!(net_inum) as u64);
            (*to).netns_cookie = read_if_there(net, offset!(net_cookie));
        }
        (*to).uid = uid;
        (*to).protocol = protocol;
        (*to).userlocks = sk.bits(offset!(sk_userlocks), 4);
        (*to).has_device = 0;
        if device != 0 && copy_device_name(&raw mut (*to).device, net, device) {
            (*to).has_device = 1;
        }
    }
}

/// Both at once where they are neighbours, as since 6.13.
#[inline(always)]
fn uid_and_protocol(sk: View) -> (u32, u16) {
    let (uid, protocol) = (offset!(sk_uid), offset!(sk_protocol));
    if protocol == uid + 4 {
        let both: u64 = sk.at(uid);
        return (both as u32, (both >> 32) as u16);
    }
    (sk.at(uid), sk.at(protocol))
}

/// Name of the device with that index: `net->dev_index_head[index % 256]` (net/core/dev.c, `dev_index_hash`).
///
/// # Safety
/// `to` must be valid for writes.
#[inline(always)]
unsafe fn copy_device_name(to: *mut [u8; DEVICE], net: u64, index: u32) -> bool {
    const BUCKETS: u32 = 256;
    const LONGEST_CHAIN: usize = 8;
    let heads: u64 = read(net + offset!(net_dev_index) as u64);
    let mut link: u64 = read(heads + u64::from(index & (BUCKETS - 1)) * 8);
    for _ in 0..LONGEST_CHAIN {
        if link == 0 {
            return false;
        }
        let device = link - offset!(device_index_link) as u64;
        if read::<u32>(device + offset!(device_index) as u64) == index {
            // SAFETY: promised by the caller; an interface name is DEVICE bytes with its NUL.
            unsafe { copy(to.cast(), DEVICE, device + offset!(device_name) as u64) };
            return true;
        }
        link = read(link);
    }
    false
}

/// Whether a socket holds a port that its owner (not a connect or an accept) took: what the inventory lists and whose
/// close is told. UDP sockets with a port always do; a TCP child keeps its listener's address lock but never the port
/// lock (net/core/sock.c, `sk_clone_lock`). `port` is the local one.
#[inline(always)]
pub(crate) fn holds_port(sk: View, protocol: u16, state: u8, port: u16) -> bool {
    if port == 0 {
        return false;
    }
    match protocol {
        IPPROTO_UDP => true,
        IPPROTO_TCP | IPPROTO_MPTCP => {
            matches!(state, TCP_LISTEN | TCP_CLOSE)
                || sk.bits(offset!(sk_userlocks), 4) & SOCK_BINDPORT_LOCK != 0
        }
        _ => false,
    }
}

/// Dropped packets of a socket: one counter, or two since 6.18 (net/core/sock.c, `sk_drops_read`).
#[inline(always)]
pub(crate) fn drops(sk: View) -> u32 {
    if is_there(offset!(sk_drop_counters)) {
        let counters: u64 = sk.at(offset!(sk_drop_counters));
        if counters != 0 {
            let counters = View::of(counters);
            let first: u32 = counters.at(offset!(drop_counters_0));
            return first.wrapping_add(counters.at(offset!(drop_counters_1)));
        }
    }
    if is_there(offset!(sk_drops)) { sk.at(offset!(sk_drops)) } else { 0 }
}
