//! Traffic whose every call and packet is counted on our side, so that what the daemon counts can be compared exactly.

mod binds;
mod connections;
mod copies;
mod datagrams;
mod scene;

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result};
use socket2::Socket;

pub use self::{
    binds::{Calls, binds},
    connections::connections,
    datagrams::{Traffic, datagrams},
    scene::{Kind, Scene},
};
use crate::sockets::{self, Transport};

/// A SO_REUSEPORT group of this process.
#[derive(Debug)]
pub struct Group {
    address: SocketAddr,
    transport: Transport,
    members: Vec<Socket>,
}

/// What one member got, by our own count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// Inode number of the member's socket.
    pub inode: u64,
    /// Connections accepted or datagrams received.
    pub taken: u64,
    /// Datagrams dropped for a full buffer, as the socket says itself.
    pub dropped: u64,
}

impl Group {
    /// Opens `size` members on a port the kernel chooses.
    ///
    /// # Errors
    /// When the kernel refuses one.
    pub fn open(transport: Transport, address: IpAddr, size: usize) -> Result<Self> {
        let first = sockets::member(transport, SocketAddr::new(address, 0))?;
        let address = sockets::local_address(&first)?;
        let mut members = vec![first];
        while members.len() < size {
            members.push(sockets::member(transport, address)?);
        }
        for member in &members {
            member.set_nonblocking(true)?;
        }
        Ok(Self { address, transport, members })
    }

    /// The address all members are bound to.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Their transport.
    #[must_use]
    pub fn transport(&self) -> Transport {
        self.transport
    }

    /// The members' sockets, in the order they joined.
    #[must_use]
    pub fn members(&self) -> &[Socket] {
        &self.members
    }

    /// Inode number of the first member.
    ///
    /// # Errors
    /// The kernel's.
    pub fn inode(&self) -> Result<u64> {
        sockets::inode(self.members.first().context("a group has a member")?)
    }

    /// What the members got before anything was sent: nothing.
    ///
    /// # Errors
    /// The kernel's.
    pub fn untouched(&self) -> Result<Vec<Share>> {
        let nothing = |member| Ok(Share { inode: sockets::inode(member)?, taken: 0, dropped: 0 });
        self.members.iter().map(nothing).collect()
    }

    /// Adds a member.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn join(&mut self) -> Result<()> {
        let member = sockets::member(self.transport, self.address)?;
        member.set_nonblocking(true)?;
        self.members.push(member);
        Ok(())
    }

    /// Closes the member that joined at that place.
    pub fn leave(&mut self, place: usize) {
        drop(self.members.remove(place));
    }
}

/// Counts packets the kernel dropped before any socket was chosen, on every CPU: second column of
/// `/proc/net/softnet_stat`, hexadecimal (`softnet_seq_show` in `net/core/net-procfs.c`).
///
/// # Errors
/// When the file cannot be read.
pub fn backlog_drops() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/net/softnet_stat").context("/proc/net/softnet_stat")?;
    text.lines()
        .map(|line| {
            let column = line.split_whitespace().nth(1).with_context(|| format!("softnet_stat: {line:?}"))?;
            u64::from_str_radix(column, 16).with_context(|| format!("softnet_stat: {line:?}"))
        })
        .sum()
}
