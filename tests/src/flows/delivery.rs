//! Sending a flow once more and finding the member that got it.

use std::{
    io::ErrorKind,
    mem::MaybeUninit,
    net::SocketAddr,
    ops::Range,
    os::fd::AsFd as _,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::Socket;

use crate::{
    deadline,
    generator::Group,
    sockets::{self, Transport},
};

/// Source port of the first flow: below the ports that the kernel chooses itself, above the privileged ones.
const FIRST_PORT: u16 = 10_000;
/// How long one datagram or connection may take to arrive.
const STALL: Duration = Duration::from_secs(10);

/// As many flows as asked for, each with a source port of its own. All of those ports must be free: they are in a network
/// namespace that a test has for itself.
#[derive(Debug, Clone)]
pub struct Flows(Range<u16>);

impl Flows {
    /// `count` flows.
    #[must_use]
    pub fn new(count: u16) -> Self {
        Self(FIRST_PORT..FIRST_PORT + count)
    }

    /// The source ports, by which flows are named.
    pub fn ports(&self) -> impl Iterator<Item = u16> + use<> {
        self.0.clone()
    }
}

impl Group {
    /// Sends one datagram, or makes one connection, from this source port, and gives the inode of the member that received
    /// it. Nothing of it is left behind: a connection ends by a reset, so that the port is free at once.
    ///
    /// # Errors
    /// When the port is not free or nothing arrives.
    pub fn deliver(&self, source: u16) -> Result<u64> {
        let address = self.address();
        let client = sockets::bound(self.transport(), SocketAddr::new(address.ip(), source))?;
        client.connect(&address.into()).with_context(|| format!("{source} to {address}"))?;
        if self.transport() == Transport::Udp {
            client.send(&[0; 8]).with_context(|| format!("{source} to {address}"))?;
        }
        let start = Instant::now();
        loop {
            let mut polled: Vec<PollFd<'_>> =
                self.members().iter().map(|member| PollFd::new(member.as_fd(), PollFlags::POLLIN)).collect();
            poll(&mut polled, PollTimeout::from(100_u16)).context("poll")?;
            for member in self.members() {
                if self.take(member)? {
                    return sockets::inode(member);
                }
            }
            if start.elapsed() > deadline::scaled(STALL) {
                bail!("nothing from port {source} arrived at {address}");
            }
        }
    }

    /// Takes what waits at a member, if anything does.
    fn take(&self, member: &Socket) -> Result<bool> {
        let taken = if self.transport() == Transport::Udp {
            member.recv(&mut [MaybeUninit::uninit(); 8]).map(drop)
        } else {
            member.accept().and_then(|(connection, _)| connection.set_linger(Some(Duration::ZERO)))
        };
        match taken {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error).context("taking what arrived"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::namespace;

    #[test]
    fn a_flow_stays_where_it_is() {
        if !nix::unistd::geteuid().is_root() {
            crate::skip::skip("needs root for a network namespace");
            return;
        }
        namespace::unnamed(|| {
            for transport in [Transport::Udp, Transport::Tcp] {
                let group = Group::open(transport, Ipv4Addr::LOCALHOST.into(), 3)?;
                for port in Flows::new(20).ports() {
                    assert_eq!(group.deliver(port)?, group.deliver(port)?, "{transport:?} {port}");
                }
            }
            Ok(())
        })
        .expect("flows");
    }
}
