//! The system calls of scenarios, for the calling thread alone, and what they say of a socket.

use std::{
    io,
    mem::size_of,
    net::SocketAddr,
    os::fd::{AsFd, AsRawFd as _, FromRawFd as _, OwnedFd},
};

use reuse_model::endpoint::{Family, Protocol};
use socket2::{Domain, SockAddr, SockRef, Socket, Type};

/// `TCP_CLOSE` (include/net/tcp_states.h).
pub(crate) const CLOSE: u8 = 7;
/// `TCP_LISTEN`
pub(crate) const LISTEN: u8 = 10;
/// `TCP_ESTABLISHED`
pub(crate) const ESTABLISHED: u8 = 1;
/// `TCP_SYN_SENT`
pub(crate) const SYN_SENT: u8 = 2;
/// `TCP_FIN_WAIT1`
pub(crate) const FIN_WAIT1: u8 = 4;
/// `TCP_FIN_WAIT2`
pub(crate) const FIN_WAIT2: u8 = 5;
/// `TCP_CLOSE_WAIT`
pub(crate) const CLOSE_WAIT: u8 = 8;
/// `TCP_LAST_ACK`
pub(crate) const LAST_ACK: u8 = 9;
/// `TCP_CLOSING`
pub(crate) const CLOSING: u8 = 11;

/// Runs `call` with the thread's file system uid changed, which is what sockets are made under.
pub(crate) fn under<T>(uid: u32, call: impl FnOnce() -> T) -> T {
    // SAFETY: a plain number; it changes this thread alone. It answers with the former value and fails silently, but
    // root may take any.
    unsafe { libc::setfsuid(uid) };
    let result = call();
    // SAFETY: as above.
    unsafe { libc::setfsuid(0) };
    result
}

/// A socket that does not wait.
pub(crate) fn open(family: Family, protocol: Protocol) -> io::Result<Socket> {
    let domain = if family == Family::Ipv4 { Domain::IPV4 } else { Domain::IPV6 };
    let (kind, protocol) = match protocol {
        Protocol::Udp => (Type::DGRAM, None),
        Protocol::Mptcp => (Type::STREAM, Some(socket2::Protocol::MPTCP)),
        Protocol::Tcp | Protocol::Other => (Type::STREAM, None),
    };
    Socket::new(domain, kind.nonblocking().cloexec(), protocol)
}

/// Sets an option that takes an int.
pub(crate) fn set(socket: &impl AsFd, level: i32, name: i32, value: i32) -> io::Result<()> {
    // SAFETY: the pointer and the length describe `value`, which lives through the call.
    let outcome = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of::<i32>() as libc::socklen_t,
        )
    };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Reads an option that gives an int.
pub(crate) fn get(socket: &impl AsFd, level: i32, name: i32) -> io::Result<i32> {
    let mut value = 0_i32;
    let mut length = size_of::<i32>() as libc::socklen_t;
    // SAFETY: the pointers and the length describe `value`, which lives through the call.
    let outcome = unsafe {
        libc::getsockopt(socket.as_fd().as_raw_fd(), level, name, (&raw mut value).cast(), &raw mut length)
    };
    if outcome == 0 { Ok(value) } else { Err(io::Error::last_os_error()) }
}

/// State of a TCP socket.
pub(crate) fn tcp_state(socket: &impl AsFd) -> io::Result<u8> {
    tcp_info(socket).map(|info| info.tcpi_state)
}

/// Connections that wait in a listener's queue (`tcp_get_info`, net/ipv4/tcp.c).
pub(crate) fn queued(listener: &impl AsFd) -> io::Result<u32> {
    tcp_info(listener).map(|info| info.tcpi_unacked)
}

fn tcp_info(socket: &impl AsFd) -> io::Result<libc::tcp_info> {
    // SAFETY: all zeroes is a value of this plain structure.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut length = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: the pointers and the length describe `info`; the kernel writes no more than the length.
    let outcome = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &raw mut length,
        )
    };
    if outcome == 0 { Ok(info) } else { Err(io::Error::last_os_error()) }
}

/// Inode number and uid.
pub(crate) fn identity(socket: &impl AsFd) -> io::Result<(u64, u32)> {
    let stat = nix::sys::stat::fstat(socket)?;
    Ok((stat.st_ino, stat.st_uid))
}

/// Local address; the port is 0 where there is none.
pub(crate) fn local(socket: &impl AsFd) -> io::Result<SocketAddr> {
    let address = SockRef::from(socket).local_addr()?;
    address.as_socket().ok_or_else(|| io::Error::other("not an IP socket"))
}

/// Address of the other end, if connected.
pub(crate) fn remote(socket: &impl AsFd) -> Option<SocketAddr> {
    SockRef::from(socket).peer_addr().ok()?.as_socket()
}

/// `bind`; 0 or the errno.
pub(crate) fn bind(socket: &Socket, address: SocketAddr) -> i32 {
    errno(socket.bind(&SockAddr::from(address)))
}

/// `listen`; 0 or the errno.
pub(crate) fn listen(socket: &Socket) -> i32 {
    errno(socket.listen(64))
}

/// 0, or the errno of an error.
pub(crate) fn errno(result: io::Result<()>) -> i32 {
    result.map_or_else(|error| error.raw_os_error().unwrap_or(-1), |()| 0)
}

/// `connect` to `AF_UNSPEC`.
pub(crate) fn disconnect(socket: &impl AsFd) {
    let mut address = nothing();
    address.ss_family = libc::AF_UNSPEC as libc::sa_family_t;
    // SAFETY: the pointer and the length describe `address`. Whether it did anything shows in the socket.
    unsafe {
        libc::connect(
            socket.as_fd().as_raw_fd(),
            (&raw const address).cast(),
            size_of::<libc::sockaddr_in>() as libc::socklen_t,
        )
    };
}

/// `accept`, with a socket that does not wait; `None` where nothing waits.
pub(crate) fn accept(listener: &impl AsFd) -> Option<Socket> {
    let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: null pointers ask for no address.
    let descriptor = unsafe {
        libc::accept4(listener.as_fd().as_raw_fd(), std::ptr::null_mut(), std::ptr::null_mut(), flags)
    };
    // SAFETY: a new descriptor that nobody else has.
    (descriptor >= 0).then(|| unsafe { OwnedFd::from_raw_fd(descriptor) }.into())
}

/// `fchown`, which changes what the kernel takes for the socket's uid.
pub(crate) fn chown(socket: &impl AsFd, uid: u32) -> io::Result<()> {
    nix::unistd::fchown(socket, Some(nix::unistd::Uid::from_raw(uid)), None)?;
    Ok(())
}

/// Attaches a classic BPF program that always picks the first socket of the group.
pub(crate) fn attach_program(socket: &impl AsFd) -> io::Result<()> {
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let mut code = [libc::sock_filter { code: RETURN, jt: 0, jf: 0, k: 0 }];
    let program = libc::sock_fprog { len: 1, filter: code.as_mut_ptr() };
    // SAFETY: the pointer and the length describe `program`, which points to one instruction; both live through the call.
    let outcome = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_REUSEPORT_CBPF,
            (&raw const program).cast(),
            size_of::<libc::sock_fprog>() as libc::socklen_t,
        )
    };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn nothing() -> libc::sockaddr_storage {
    // SAFETY: all zeroes is a value of this plain structure.
    unsafe { std::mem::zeroed() }
}
