//! The ways a socket gets its port that are not the native bind and listen system calls, each made by this process
//! itself, so that a test knows what was asked for and what the kernel answered.

pub mod agreement;
pub mod compat;
pub mod implicit;
pub mod io_uring;
pub mod kernel;
pub mod ledger;
pub mod refusals;
pub mod seccomp;
pub mod stage;
pub mod storm;

use std::{io, net::SocketAddr};

use anyhow::Result;
use socket2::{SockAddr, Socket};

use self::{
    compat::Door,
    io_uring::{Ring, Style},
};
use crate::effort;

/// How a call reaches the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The system call of this machine's own word size.
    Call,
    /// A 32-bit system call.
    Compat(Door),
    /// A request on an `io_uring`.
    Ring(Style),
}

impl Way {
    /// Every way, for a test that goes through all.
    pub const ALL: [Self; 8] = [
        Self::Call,
        Self::Compat(Door::Direct),
        Self::Compat(Door::Socketcall),
        Self::Ring(Style::Plain),
        Self::Ring(Style::Worker),
        Self::Ring(Style::Polled),
        Self::Ring(Style::Silent),
        Self::Ring(Style::Registered),
    ];

    /// The value of an event's `contender.via`.
    #[must_use]
    pub fn via(self) -> &'static str {
        match self {
            Self::Call => "syscall",
            Self::Compat(_) => "compat",
            Self::Ring(_) => "io_uring",
        }
    }

    /// Makes ready to call this way, or gives `None` after saying aloud that this kernel has no such way.
    ///
    /// # Errors
    /// When the kernel has it and refuses all the same.
    pub fn open(self) -> Result<Option<Caller>> {
        let caller = match self {
            Self::Call => Caller::Native,
            Self::Compat(_) if !compat::available()? => {
                effort::without("32-bit system calls");
                return Ok(None);
            }
            Self::Compat(door) => Caller::Compat(compat::Caller::new(door)?),
            Self::Ring(_) if !io_uring::available()? => {
                effort::without("BIND and LISTEN by io_uring");
                return Ok(None);
            }
            Self::Ring(style) => Caller::Ring(Box::new(Ring::new(style)?)),
        };
        Ok(Some(caller))
    }
}

/// Makes calls one way. Every call returns when the kernel has answered.
#[derive(Debug)]
pub enum Caller {
    /// By [`Way::Call`].
    Native,
    /// By [`Way::Compat`].
    Compat(compat::Caller),
    /// By [`Way::Ring`].
    Ring(Box<Ring>),
}

impl Caller {
    /// Binds the socket.
    ///
    /// # Errors
    /// The kernel's.
    pub fn bind(&mut self, socket: &Socket, address: SocketAddr) -> io::Result<()> {
        match self {
            Self::Native => socket.bind(&SockAddr::from(address)),
            Self::Compat(caller) => caller.bind(socket, address),
            Self::Ring(ring) => ring.bind(socket, address),
        }
    }

    /// Makes the socket listen.
    ///
    /// # Errors
    /// The kernel's.
    pub fn listen(&mut self, socket: &Socket, backlog: i32) -> io::Result<()> {
        match self {
            Self::Native => socket.listen(backlog),
            Self::Compat(caller) => caller.listen(socket, backlog),
            Self::Ring(ring) => ring.listen(socket, backlog),
        }
    }

    /// Connects the socket.
    ///
    /// # Errors
    /// The kernel's.
    pub fn connect(&mut self, socket: &Socket, address: SocketAddr) -> io::Result<()> {
        match self {
            Self::Native => socket.connect(&SockAddr::from(address)),
            Self::Compat(caller) => caller.connect(socket, address),
            Self::Ring(ring) => ring.connect(socket, address),
        }
    }
}
