//! A network namespace for this process alone.

use std::{
    cell::Cell,
    fs, io,
    net::{Ipv4Addr, SocketAddrV4},
};

use nix::sched::{CloneFlags, unshare};
use reuse_model::socket::NetNs;
use socket2::{Domain, Socket, Type};
use thiserror::Error;

use crate::explain::netns::Netns;

/// First of the ports that are used: below those that the kernel chooses itself.
const FIRST_PORT: u16 = 20_000;
/// Last of them
const LAST_PORT: u16 = 29_999;

/// Why there is no namespace.
#[derive(Debug, Error)]
pub enum NamespaceError {
    /// The kernel does not let this process
    #[error(
        "cannot make a network namespace to try things in ({0}): run it as root (sudo), or with CAP_SYS_ADMIN and \
         CAP_NET_ADMIN"
    )]
    Unshare(io::Error),
    /// Without loopback nothing can be sent
    #[error(
        "cannot bring up the loopback device of a network namespace of its own ({0}): it takes CAP_NET_ADMIN"
    )]
    Loopback(io::Error),
    /// There is no procfs
    #[error("cannot tell the number of a network namespace of its own ({0}): it takes procfs at /proc")]
    Number(#[from] crate::explain::netns::NetnsError),
}

/// A network namespace that the calling thread, and those it starts, live in from now on. It ends with the process.
#[derive(Debug)]
pub struct Private {
    /// Its inode number
    pub number: NetNs,
    next_port: Cell<u16>,
}

impl Private {
    /// Makes one, with its loopback device up.
    ///
    /// # Errors
    /// The kernel does not let this process, or there is no procfs.
    pub fn enter() -> Result<Self, NamespaceError> {
        unshare(CloneFlags::CLONE_NEWNET).map_err(|errno| NamespaceError::Unshare(errno.into()))?;
        loopback_up().map_err(NamespaceError::Loopback)?;
        Ok(Self { number: Netns::own()?.number, next_port: Cell::new(FIRST_PORT) })
    }

    /// 127.0.0.1 with a port that nothing here used before.
    pub(super) fn address(&self) -> SocketAddrV4 {
        let port = self.next_port.get();
        self.next_port.set(if port == LAST_PORT { FIRST_PORT } else { port + 1 });
        SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)
    }

    /// The states of TCP's sockets at this local address, as the kernel lists them (net/ipv4/tcp_ipv4.c,
    /// `get_tcp4_sock`, `get_timewait4_sock`).
    pub(super) fn tcp_states(&self, at: SocketAddrV4) -> io::Result<Vec<u8>> {
        let list = fs::read_to_string("/proc/thread-self/net/tcp")?;
        // As the kernel prints the address's four bytes, read as one number of the machine's.
        let local = format!("{:08X}:{:04X}", u32::from_ne_bytes(at.ip().octets()), at.port());
        let states = list.lines().filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            (words.nth(1)? == local).then(|| u8::from_str_radix(words.nth(1)?, 16).ok())?
        });
        Ok(states.collect())
    }
}

/// `ip link set lo up`.
fn loopback_up() -> io::Result<()> {
    use std::os::fd::AsRawFd as _;
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    // SAFETY: all zeros are a valid `ifreq`.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = *from as libc::c_char;
    }
    // The request's type differs between C libraries.
    // SAFETY: both requests take an `ifreq`, which is one; the kernel ends with it before it returns.
    let flags = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFFLAGS as _, &raw mut request) };
    if flags != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just filled the flags.
    unsafe { request.ifr_ifru.ifru_flags |= libc::IFF_UP as libc::c_short };
    // SAFETY: as above.
    if unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw const request) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
