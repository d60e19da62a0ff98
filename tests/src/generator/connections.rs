//! TCP and MPTCP connections to a group, each accepted and counted at the member that got it.

use std::{
    io::{ErrorKind, Read},
    net::SocketAddr,
    os::fd::AsFd,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{Group, Share};
use crate::sockets::{self, Transport};

/// How long a member may wait for the next connection before the run counts as broken.
const STALL: Duration = Duration::from_secs(10);

/// Opens `count` connections to `group` from `threads` threads at once, and accepts every one.
///
/// A connection ends by a reset from the accepting side, so that none stays behind in TIME_WAIT.
///
/// # Errors
/// When a connection fails, or not all arrive.
pub fn connections(group: &Group, count: usize, threads: usize) -> Result<Vec<Share>> {
    thread::scope(|scope| {
        let acceptor = scope.spawn(|| accept(group, count));
        let clients: Vec<_> = (0..threads)
            .map(|thread| {
                let own = count / threads + usize::from(thread < count % threads);
                scope.spawn(move || (0..own).try_for_each(|_| connect(group.transport, group.address)))
            })
            .collect();
        for client in clients {
            client.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        }
        acceptor.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn connect(transport: Transport, address: SocketAddr) -> Result<()> {
    let mut socket = sockets::open(transport, address.ip())?;
    match socket.connect(&address.into()) {
        Ok(()) => {}
        // On a slow machine the connection is accepted and reset before this thread wakes up in connect().
        Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(()),
        Err(error) => return Err(error).with_context(|| format!("connecting to {address}")),
    }
    socket.set_read_timeout(Some(STALL))?;
    match socket.read(&mut [0_u8; 1]) {
        Ok(0) => Ok(()),
        Ok(_) => bail!("{address} sent something"),
        Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(()),
        Err(error) => Err(error).context("waiting for the end of the connection"),
    }
}

fn accept(group: &Group, count: usize) -> Result<Vec<Share>> {
    let mut shares: Vec<Share> = group
        .members
        .iter()
        .map(|member| Ok(Share { inode: sockets::inode(member)?, taken: 0, dropped: 0 }))
        .collect::<Result<_>>()?;
    let mut polled: Vec<PollFd<'_>> =
        group.members.iter().map(|member| PollFd::new(member.as_fd(), PollFlags::POLLIN)).collect();
    let (mut accepted, mut last) = (0, Instant::now());
    while accepted < count {
        poll(&mut polled, PollTimeout::from(100_u16)).context("poll")?;
        for (member, share) in group.members.iter().zip(&mut shares) {
            while let Ok((connection, _)) = member.accept() {
                connection.set_linger(Some(Duration::ZERO))?;
                share.taken += 1;
                accepted += 1;
                last = Instant::now();
            }
        }
        if last.elapsed() > STALL {
            bail!("{accepted} of {count} connections to {} arrived", group.address);
        }
    }
    Ok(shares)
}
