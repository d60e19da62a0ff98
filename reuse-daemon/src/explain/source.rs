//! Where the port is read: in the kernel by a program, or where that is not allowed over sock_diag.

use std::{io, os::fd::AsFd as _};

use nix::net::if_::if_nametoindex;
use reuse_model::{
    endpoint::{Endpoint, Transport},
    event::Holding,
    port::{Occupant, Port, Reuse, Table, UdpScan},
    refusal::{EAFNOSUPPORT, ENODEV, Rule},
    rulebook::{Contender, Request, precheck::Objection},
    socket::Inode,
};
use socket2::{Domain, Socket, Type};

use super::question::Question;
use crate::kernel::{port_reader::PortReader, sock_diag};

/// Most readings of a port that changes while it is read.
const TRIES: usize = 4;

/// Options of the socket that would be bound.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SocketOptions {
    /// SO_REUSEADDR
    pub reuseaddr: bool,
    /// SO_REUSEPORT
    pub reuseport: bool,
    /// IPV6_V6ONLY
    pub v6only: bool,
    /// SO_BINDTODEVICE
    pub device: Option<String>,
}

/// What one question depends on, as far as it could be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The socket that would ask, made under this process's uid
    pub contender: Contender,
    /// The port
    pub port: Port,
}

/// Why a port was not read.
#[derive(Debug)]
pub enum Hindrance {
    /// The socket cannot even be made that way: that is the answer
    Objection(Objection),
    /// Something here is in the way
    Failure(io::Error),
}

impl From<io::Error> for Hindrance {
    fn from(error: io::Error) -> Self {
        Self::Failure(error)
    }
}

/// Where ports are read.
pub enum Source {
    /// The kernel's own tables: everything
    Tables(Box<PortReader>),
    /// sock_diag: the sockets without their options
    SockDiag,
}

impl Source {
    /// Whether the options of the sockets on the port are read.
    #[must_use]
    pub fn knows_options(&self) -> bool {
        matches!(self, Self::Tables(_))
    }

    /// Reads the port for the socket that `question` is about. The socket is made and never bound.
    ///
    /// # Errors
    /// See [`Hindrance`].
    pub fn read(&mut self, question: &Question, options: &SocketOptions) -> Result<Reading, Hindrance> {
        let (socket, device) = unbound(question, options)?;
        match self {
            Self::Tables(reader) => read_tables(reader, &socket, question),
            Self::SockDiag => read_sock_diag(&socket, question, options, device),
        }
    }

    /// Who has these sockets open, one entry for each descriptor; `None` where that is not to be had here.
    pub fn owners_of(&mut self, inodes: &[Inode]) -> Option<io::Result<Vec<Holding>>> {
        match self {
            Self::Tables(reader) => Some(reader.owners_of(inodes)),
            Self::SockDiag => None,
        }
    }
}

/// The socket as the question has it, and the index of its device.
fn unbound(question: &Question, options: &SocketOptions) -> Result<(Socket, u32), Hindrance> {
    let domain = if question.address.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    let kind = match question.transport {
        Transport::Tcp => Type::STREAM,
        Transport::Udp => Type::DGRAM,
    };
    let socket = Socket::new(domain, kind, None).map_err(|error| match error.raw_os_error() {
        Some(EAFNOSUPPORT) => objection(EAFNOSUPPORT, Rule::Unsupported),
        _ => Hindrance::Failure(error),
    })?;
    socket.set_reuse_address(options.reuseaddr)?;
    socket.set_reuse_port(options.reuseport)?;
    if options.v6only && domain == Domain::IPV6 {
        socket.set_only_v6(true)?;
    }
    // The interface of a link-local address takes the place of the socket's own (`__inet6_bind`).
    let scope = question.scope();
    let Some(name) = scope.or(options.device.as_deref()) else { return Ok((socket, 0)) };
    let gone = || objection(ENODEV, Rule::DeviceGone);
    let index = if_nametoindex(name).ok().or_else(|| scope?.parse().ok()).ok_or_else(gone)?;
    // By name: the socket takes no index.
    let name = nix::net::if_::if_indextoname(index).map_err(|_| gone())?;
    match socket.bind_device(Some(name.as_bytes())) {
        Err(error) if error.raw_os_error() == Some(ENODEV) => Err(gone()),
        result => Ok(result.map(|()| (socket, index))?),
    }
}

fn objection(errno: i32, rule: Rule) -> Hindrance {
    Hindrance::Objection(Objection { errno, rule })
}

/// A port that was busy is read again: the last reading stands as it is.
fn read_tables(reader: &mut PortReader, socket: &Socket, question: &Question) -> Result<Reading, Hindrance> {
    let asked = Endpoint { address: question.address, port: question.port };
    let mut reading = reader.ask(socket.as_fd(), Request::Bind, asked)?;
    for _ in 1..TRIES {
        if !reading.port.disturbed {
            break;
        }
        reading = reader.ask(socket.as_fd(), Request::Bind, asked)?;
    }
    Ok(Reading { contender: reading.contender, port: reading.port })
}

fn read_sock_diag(
    socket: &Socket,
    question: &Question,
    options: &SocketOptions,
    device: u32,
) -> Result<Reading, Hindrance> {
    let occupants: Vec<Occupant> = sock_diag::occupants(question.transport, question.port)?;
    let slot = u32::try_from(occupants.len()).unwrap_or(u32::MAX);
    let table = match question.transport {
        Transport::Tcp => Table::Tcp(None),
        Transport::Udp => Table::Udp { scan: UdpScan::Port, slot },
    };
    let contender = Contender {
        transport: question.transport,
        family: question.family(),
        address: question.address,
        reuse: if options.reuseaddr { Reuse::Yes } else { Reuse::No },
        reuseport: options.reuseport,
        v6only: question.address.is_ipv6() && socket.only_v6()?,
        device,
        uid: nix::unistd::geteuid().as_raw(),
        in_group: false,
        group_has_closed: false,
    };
    Ok(Reading { contender, port: Port { table, occupants, truncated: false, disturbed: false } })
}
