//! Sockets with exactly the options a test names, and what the kernel says about them.

use std::{
    io,
    mem::size_of,
    net::{IpAddr, SocketAddr},
    ops::Range,
    os::fd::{AsFd, AsRawFd},
    sync::atomic::{AtomicU16, Ordering},
};

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use socket2::{Domain, Protocol, Socket, Type};

/// A transport protocol as the daemon names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// Multipath TCP, protocol 262.
    Mptcp,
}

impl Transport {
    /// The value of the label and the JSON field `protocol`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Mptcp => "mptcp",
        }
    }

    fn kind(self) -> (Type, Option<Protocol>) {
        match self {
            Self::Tcp => (Type::STREAM, None),
            Self::Udp => (Type::DGRAM, None),
            Self::Mptcp => (Type::STREAM, Some(Protocol::MPTCP)),
        }
    }
}

/// The value of the label and the JSON field `family`.
#[must_use]
pub fn family_name(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "ipv4" } else { "ipv6" }
}

/// Opens a close-on-exec socket for addresses like `address`, with no option set.
///
/// # Errors
/// When the kernel has no such protocol.
pub fn open(transport: Transport, address: IpAddr) -> Result<Socket> {
    let domain = if address.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    let (kind, protocol) = transport.kind();
    Socket::new(domain, kind, protocol)
        .with_context(|| format!("opening a {} {} socket", family_name(address), transport.name()))
}

/// Opens a socket and binds it, with no option set.
///
/// # Errors
/// When the kernel refuses.
pub fn bound(transport: Transport, address: SocketAddr) -> Result<Socket> {
    let socket = open(transport, address.ip())?;
    socket.bind(&address.into()).with_context(|| format!("binding {address}"))?;
    Ok(socket)
}

/// Opens a socket with SO_REUSEPORT and binds it; stream sockets also listen.
///
/// # Errors
/// When the kernel refuses.
pub fn member(transport: Transport, address: SocketAddr) -> Result<Socket> {
    let socket = open(transport, address.ip())?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into()).with_context(|| format!("joining {address}"))?;
    if transport != Transport::Udp {
        socket.listen(4096).with_context(|| format!("listening on {address}"))?;
    }
    Ok(socket)
}

/// Sets an option that takes an int.
///
/// # Errors
/// The kernel's.
pub fn set(socket: &Socket, level: i32, name: i32, value: i32) -> io::Result<()> {
    // SAFETY: the pointer and the length describe `value`, which lives through the call.
    let outcome = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of::<i32>() as libc::socklen_t,
        )
    };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Whether an option that gives an int is on.
///
/// # Errors
/// The kernel's.
pub fn is_set(socket: &Socket, level: i32, name: i32) -> io::Result<bool> {
    let mut value = 0_i32;
    let mut length = size_of::<i32>() as libc::socklen_t;
    // SAFETY: the pointers and the length describe `value`, which lives through the call.
    let outcome = unsafe {
        libc::getsockopt(socket.as_raw_fd(), level, name, (&raw mut value).cast(), &raw mut length)
    };
    if outcome == 0 { Ok(value != 0) } else { Err(io::Error::last_os_error()) }
}

/// The address a socket is bound to.
///
/// # Errors
/// When it is not an IP socket.
pub fn local_address(socket: &Socket) -> Result<SocketAddr> {
    socket.local_addr()?.as_socket().context("not an IP socket")
}

/// The socket's inode number, as in `/proc/PID/fd`.
///
/// # Errors
/// The kernel's.
pub fn inode(socket: &impl AsFd) -> Result<u64> {
    Ok(nix::sys::stat::fstat(socket)?.st_ino)
}

/// The socket's cookie (SO_COOKIE). Asking gives it one where it had none.
///
/// # Errors
/// The kernel's.
pub fn cookie(socket: &Socket) -> Result<u64> {
    Ok(socket.cookie()?)
}

/// How many packets the kernel dropped at this socket: the last field of SO_MEMINFO (`SK_MEMINFO_DROPS`,
/// `include/uapi/linux/sock_diag.h`).
///
/// # Errors
/// The kernel's.
pub fn drops(socket: &Socket) -> Result<u32> {
    const SK_MEMINFO_DROPS: usize = 8;
    let mut values = [0_u32; SK_MEMINFO_DROPS + 1];
    let mut length = size_of_val(&values) as libc::socklen_t;
    // SAFETY: the pointer and the length describe `values`, which lives through the call.
    let outcome = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            values.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if outcome != 0 {
        return Err(io::Error::last_os_error()).context("SO_MEMINFO");
    }
    Ok(values[SK_MEMINFO_DROPS])
}

/// A port free for that transport and address when asked: none of those that the kernel gives to whoever asks for any (32,768
/// and up, Documentation/networking/ip-sysctl.rst), so that nobody takes it before it is used.
///
/// # Errors
/// When there is none.
pub fn free_port(transport: Transport, address: IpAddr) -> Result<u16> {
    const PORTS: Range<u16> = 20_000..30_000;
    static ASKED: AtomicU16 = AtomicU16::new(0);
    let places = PORTS.end - PORTS.start;
    // Tests side by side begin at places of their own.
    let place = std::process::id().wrapping_mul(61) % u32::from(places);
    let begin = u16::try_from(place)?.wrapping_add(ASKED.fetch_add(1, Ordering::Relaxed)) % places;
    let mut ports = (begin..places).chain(0..begin).map(|place| PORTS.start + place);
    let free = |port: &u16| bound(transport, SocketAddr::new(address, *port)).is_ok();
    ports.find(free).with_context(|| format!("no port is free for {transport:?} at {address}"))
}

/// The name of a call's result as the daemon shows it: `success` or the errno's name.
#[must_use]
pub fn result_name<T>(result: &io::Result<T>) -> String {
    match result {
        Ok(_) => "success".to_owned(),
        Err(error) => format!("{:?}", Errno::from_raw(error.raw_os_error().unwrap_or(0))),
    }
}
/// Attaches a classic program that returns 0 by this option of level `SOL_SOCKET`: a filter (`SO_ATTACH_FILTER`) that takes
/// nothing, or a selector (`SO_ATTACH_REUSEPORT_CBPF`) that picks the first member.
///
/// # Errors
/// The kernel's.
pub fn attach_zero(socket: &Socket, option: libc::c_int) -> Result<()> {
    const RETURN: u16 = 0x06;
    let mut code = [libc::sock_filter { code: RETURN, jt: 0, jf: 0, k: 0 }];
    let program = libc::sock_fprog { len: 1, filter: code.as_mut_ptr() };
    // SAFETY: the pointer and the length describe `program`, which the kernel copies during the call.
    let outcome = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            (&raw const program).cast(),
            size_of::<libc::sock_fprog>() as libc::socklen_t,
        )
    };
    ensure!(outcome == 0, "attaching a program by option {option}: {}", io::Error::last_os_error());
    Ok(())
}
