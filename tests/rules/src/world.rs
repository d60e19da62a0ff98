//! The sockets of a running scenario, and what became of those that no descriptor shows any more.

mod act;
mod ends;
mod ghost;
mod traffic;

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use anyhow::{Context as _, Result};
use reuse_model::{
    endpoint::{Family, Protocol, Transport},
    port::Reuse,
    socket::State,
};
use socket2::Socket;

pub(crate) use self::ghost::{Ghost, Likelihood, Shape};
use crate::{
    room::Room,
    scenario::{Scenario, Slot, Tables},
    system,
};

/// A socket the scenario has open.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) socket: Socket,
    pub(crate) family: Family,
    pub(crate) protocol: Protocol,
    pub(crate) inode: u64,
    /// It bound its port explicitly, and keeps it until it is closed
    pub(crate) bound: bool,
    /// `connect` was called since it was made or disconnected: the socket layer lets it not listen any more
    pub(crate) connected: bool,
    /// It was put into a group before it was bound
    pub(crate) grouped: bool,
    /// Its send buffer was filled
    filled: bool,
    /// Its packets may not reach the other end, or it may end without any
    muted: bool,
    /// The other end of its connection
    peer: Option<Slot>,
}

/// What the kernel says of an open socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) shape: Shape,
    pub(crate) port: u16,
    pub(crate) state: State,
    pub(crate) inode: u64,
}

/// The sockets of one scenario.
pub(crate) struct World<'a> {
    pub(crate) room: &'a Room,
    tables: Tables,
    pub(crate) transport: Transport,
    /// The contested port
    pub(crate) port: u16,
    pub(crate) entries: BTreeMap<Slot, Entry>,
    pub(crate) ghosts: Vec<Ghost>,
}

impl<'a> World<'a> {
    /// An empty one, on a port of its own.
    ///
    /// # Errors
    /// As [`Room::enter`].
    pub(crate) fn new(room: &'a Room, scenario: &Scenario) -> Result<Self> {
        let port = room.enter(scenario.tables, scenario.migrate)?;
        let (tables, transport) = (scenario.tables, scenario.transport);
        Ok(Self { room, tables, transport, port, entries: BTreeMap::new(), ghosts: Vec::new() })
    }

    /// The contested port (0), or the n-th that shares its slot of UDP's table.
    pub(crate) fn neighbour(&self, n: u8) -> u16 {
        self.room.neighbour(self.tables, self.port, n)
    }

    /// Returns once the packets under way have arrived.
    ///
    /// # Errors
    /// As [`Room::let_arrive`].
    pub(crate) fn let_arrive(&self) -> Result<()> {
        self.room.let_arrive(self.tables)
    }

    /// The sockets that are on `port` with what the kernel says of each.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn on_port(&self, port: u16) -> Result<Vec<(Slot, Facts)>> {
        let mut found = Vec::new();
        for (slot, entry) in &self.entries {
            if let Some(facts) = entry.facts()?.filter(|facts| facts.port == port) {
                found.push((*slot, facts));
            }
        }
        Ok(found)
    }
}

impl Entry {
    fn new(socket: Socket, family: Family, protocol: Protocol) -> Result<Self> {
        let (inode, _) = system::identity(&socket)?;
        Ok(Self {
            socket,
            family,
            protocol,
            inode,
            bound: false,
            connected: false,
            grouped: false,
            filled: false,
            muted: false,
            peer: None,
        })
    }

    /// State of a TCP socket.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn tcp_state(&self) -> Result<u8> {
        system::tcp_state(&self.socket).context("TCP_INFO")
    }

    /// What the kernel says of it, if it holds a port.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn facts(&self) -> Result<Option<Facts>> {
        let local = system::local(&self.socket)?;
        let state = match self.protocol {
            Protocol::Udp if system::remote(&self.socket).is_some() => State::Connected,
            Protocol::Udp => State::Bound,
            _ => match self.tcp_state()? {
                // A connection gives back a port it did not bind itself when it ends; getsockname goes on naming it.
                system::CLOSE if !self.bound => return Ok(None),
                state => state_of(state),
            },
        };
        if local.port() == 0 {
            return Ok(None);
        }
        let mut shape = self.shape(local.ip())?;
        // The bind of a specific IPv6 address sets the option on the subflow, the MPTCP socket goes on denying it.
        shape.v6only |= self.protocol == Protocol::Mptcp && is_pure_ipv6(local.ip());
        Ok(Some(Facts { shape, port: local.port(), state, inode: self.inode }))
    }

    /// Its options, with that address.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn shape(&self, address: IpAddr) -> Result<Shape> {
        let (_, uid) = system::identity(&self.socket)?;
        let option = |level, name| system::get(&self.socket, level, name).context("getsockopt");
        let ipv6 = self.family == Family::Ipv6;
        Ok(Shape {
            family: self.family,
            address,
            reuse: match option(libc::SOL_SOCKET, libc::SO_REUSEADDR)? {
                0 => Reuse::No,
                1 => Reuse::Yes,
                // SK_FORCE_REUSE
                _ => Reuse::Forced,
            },
            reuseport: option(libc::SOL_SOCKET, libc::SO_REUSEPORT)? != 0,
            v6only: ipv6 && option(libc::IPPROTO_IPV6, libc::IPV6_V6ONLY)? != 0,
            device: option(libc::SOL_SOCKET, libc::SO_BINDTOIFINDEX)?.cast_unsigned(),
            uid,
        })
    }
}

/// The interface's word for a TCP state.
fn state_of(state: u8) -> State {
    match state {
        system::CLOSE => State::Bound,
        system::LISTEN => State::Listen,
        system::FIN_WAIT1 | system::FIN_WAIT2 | system::CLOSING | system::LAST_ACK => State::Closing,
        _ => State::Connected,
    }
}

/// Whether an address is one of IPv6 that stands for nothing else.
fn is_pure_ipv6(address: IpAddr) -> bool {
    address.to_canonical().is_ipv6() && !address.is_unspecified()
}

/// The address as a socket of that family has it.
pub(crate) fn in_family(address: IpAddr, family: Family) -> IpAddr {
    match (family, address) {
        (Family::Ipv6, IpAddr::V4(v4)) => v4.to_ipv6_mapped().into(),
        (Family::Ipv4, IpAddr::V6(v6)) => v6.to_ipv4_mapped().map_or(address, IpAddr::V4),
        _ => address,
    }
}

/// The same address, not mapped, to compare both ends of a connection by.
fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
