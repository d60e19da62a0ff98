//! The sockets of the test group: one SO_REUSEPORT group on loopback for each protocol and family.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::{AsFd, BorrowedFd},
};

use nix::sys::stat::fstat;
use reuse_model::{
    endpoint::{Family, Transport},
    socket::{Cookie, Inode},
};
use socket2::{Domain, Protocol, Socket, Type};

use super::error::{OpenError, Step};
use crate::owner::port::PortHolders;

/// Connections that may wait at one member: more than ever do, as probes come one at a time.
const BACKLOG: i32 = 64;

/// One socket of a group.
#[derive(Debug)]
pub struct Member {
    pub(super) socket: Socket,
    /// The number under which the kernel counts its selections
    pub cookie: Cookie,
    /// Its inode number
    pub inode: Inode,
}

/// Sockets that share one address and port by SO_REUSEPORT.
#[derive(Debug)]
pub struct Group {
    /// TCP or UDP
    pub transport: Transport,
    /// IPv4, or IPv6 only
    pub family: Family,
    /// The loopback address and port of every member
    pub local: SocketAddr,
    /// The members in the order of the kernel's array, which the hash indexes: the order in which TCP sockets
    /// began to listen and UDP sockets were bound (net/core/sock_reuseport.c, `reuseport_add_sock`, Linux 6.18)
    pub members: Vec<Member>,
}

impl Group {
    /// Opens `members` sockets on loopback, on `port` or, if that is 0, on one the kernel chooses.
    pub(super) fn open(
        transport: Transport,
        family: Family,
        port: u16,
        members: usize,
    ) -> Result<Self, OpenError> {
        let mut local = SocketAddr::new(loopback(family), port);
        let mut opened = Vec::with_capacity(members.max(2));
        // A UDP socket that sets SO_REUSEPORT after its bind is in a group only once a second one joins it.
        while opened.len() < members.max(2) {
            let (bound, member) = Member::open(transport, local, opened.is_empty())?;
            local = bound;
            opened.push(member);
        }
        opened.truncate(members);
        route(local).map_err(|cause| OpenError::Socket { step: Step::Route, transport, local, cause })?;
        Ok(Self { transport, family, local, members: opened })
    }

    /// Opens one more member of a group that is at `local` already, last in the kernel's order.
    pub(super) fn join(transport: Transport, local: SocketAddr) -> Result<Member, OpenError> {
        Member::open(transport, local, false).map(|(_, member)| member)
    }

    /// A descriptor of the group; what is attached to it serves every member.
    #[must_use]
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.members.first().map(|member| member.socket.as_fd())
    }

    /// The members' cookies in their order.
    #[must_use]
    pub fn cookies(&self) -> Vec<Cookie> {
        self.members.iter().map(|member| member.cookie).collect()
    }
}

impl Member {
    /// Opens a socket and says where it is bound. Binding to ::1 makes it IPv6 only (net/ipv6/af_inet6.c,
    /// `__inet6_bind`, Linux 6.18).
    ///
    /// The first of a group is bound without SO_REUSEPORT and gets it afterwards. So it takes no port on which
    /// another process of the same user has a group already: neither a port that was asked for nor, on UDP, one of
    /// the kernel's choice (net/ipv4/udp.c, `udp_lib_get_port`). Options count as they are when the next one binds.
    fn open(transport: Transport, local: SocketAddr, first: bool) -> Result<(SocketAddr, Self), OpenError> {
        let failed = |step| move |cause| OpenError::Socket { step, transport, local, cause };
        let (kind, protocol) = match transport {
            Transport::Tcp => (Type::STREAM, Protocol::TCP),
            Transport::Udp => (Type::DGRAM, Protocol::UDP),
        };
        let socket =
            Socket::new(Domain::for_address(local), kind, Some(protocol)).map_err(failed(Step::Create))?;
        socket.set_nonblocking(true).map_err(failed(Step::Options))?;
        if !first {
            socket.set_reuse_port(true).map_err(failed(Step::Options))?;
        }
        socket.bind(&local.into()).map_err(|cause| {
            if cause.kind() == io::ErrorKind::AddrInUse && local.port() != 0 {
                OpenError::PortTaken { transport, local, holders: PortHolders::of(transport, local.port()) }
            } else {
                failed(Step::Bind)(cause)
            }
        })?;
        if first {
            socket.set_reuse_port(true).map_err(failed(Step::Options))?;
        }
        if transport == Transport::Tcp {
            socket.listen(BACKLOG).map_err(failed(Step::Listen))?;
        }
        Self::inspect(socket).map_err(failed(Step::Inspect))
    }

    fn inspect(socket: Socket) -> io::Result<(SocketAddr, Self)> {
        let local = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::InvalidData)?;
        let cookie = Cookie(socket.cookie()?);
        let inode = Inode(fstat(&socket)?.st_ino);
        Ok((local, Self { socket, cookie, inode }))
    }
}

/// Finds out whether anything sent to `local` would arrive: with the interface down 127.0.0.1 can be bound all the
/// same. Connecting a datagram socket looks up the route and sends nothing.
fn route(local: SocketAddr) -> io::Result<()> {
    Socket::new(Domain::for_address(local), Type::DGRAM, Some(Protocol::UDP))?.connect(&local.into())
}

fn loopback(family: Family) -> IpAddr {
    match family {
        Family::Ipv6 => Ipv6Addr::LOCALHOST.into(),
        Family::Ipv4 | Family::Other => Ipv4Addr::LOCALHOST.into(),
    }
}
