//! UDP datagrams to a group from several threads, each received or dropped at the member the kernel chose.

use std::{
    io::ErrorKind,
    mem::MaybeUninit,
    net::SocketAddr,
    os::fd::AsFd,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::Socket;

use super::{Group, Share, backlog_drops};
use crate::{
    deadline,
    sockets::{self, Transport},
};

/// How long sending may take before the run counts as broken.
const STALL: Duration = Duration::from_secs(60);
/// Sockets each thread sends from, so that the flows reach every member.
const FLOWS_PER_THREAD: usize = 16;

/// How datagrams are sent and received.
#[derive(Debug, Clone, Copy)]
pub struct Traffic {
    /// Datagrams in all.
    pub count: usize,
    /// Sending threads.
    pub threads: usize,
    /// Whether the members only read after everything was sent, so that buffers fill.
    pub read_late: bool,
}

/// Sends to `group` and reads until every datagram is accounted for: received, or dropped at a member.
///
/// # Errors
/// When a datagram is refused by the kernel or vanishes.
pub fn datagrams(group: &Group, traffic: Traffic) -> Result<Vec<Share>> {
    let lost_before = backlog_drops()?;
    let dropped_before: Vec<u32> = group.members.iter().map(sockets::drops).collect::<Result<_>>()?;
    let sent = AtomicBool::new(false);
    thread::scope(|scope| {
        let readers: Vec<_> = group
            .members
            .iter()
            .zip(dropped_before)
            .map(|(member, before)| {
                let sent = &sent;
                scope.spawn(move || {
                    let taken = receive(member, traffic.read_late, sent)?;
                    let dropped = u64::from(sockets::drops(member)?.wrapping_sub(before));
                    Ok(Share { inode: sockets::inode(member)?, taken, dropped })
                })
            })
            .collect();
        let senders: Vec<_> = (0..traffic.threads)
            .map(|thread| {
                let own =
                    traffic.count / traffic.threads + usize::from(thread < traffic.count % traffic.threads);
                scope.spawn(move || send(group.address, own))
            })
            .collect();
        let outcomes: Vec<Result<()>> = senders
            .into_iter()
            .map(|sender| sender.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect();
        sent.store(true, Ordering::Release);
        let shares: Vec<Share> = readers
            .into_iter()
            .map(|reader| reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect::<Result<_>>()?;
        outcomes.into_iter().collect::<Result<()>>()?;

        let accounted: u64 = shares.iter().map(|share| share.taken + share.dropped).sum();
        let vanished = traffic.count as u64 - accounted;
        // Others' packets may be among the backlog's drops, so it is a bound, not an equality.
        if vanished > backlog_drops()?.saturating_sub(lost_before) {
            bail!("{vanished} of {} datagrams to {} vanished", traffic.count, group.address);
        }
        Ok(shares)
    })
}

fn send(address: SocketAddr, count: usize) -> Result<()> {
    let flows: Vec<Socket> = (0..FLOWS_PER_THREAD)
        .map(|_| {
            let socket = sockets::open(Transport::Udp, address.ip())?;
            socket.connect(&address.into()).with_context(|| format!("connecting to {address}"))?;
            Ok(socket)
        })
        .collect::<Result<_>>()?;
    for flow in flows.iter().cycle().take(count) {
        flow.send(&[0_u8; 32]).with_context(|| format!("sending to {address}"))?;
    }
    Ok(())
}

/// Reads until the senders are done and the queue is empty, and gives how many datagrams were read. On loopback a
/// datagram is queued or dropped before its send() returns, or by a softirq that is already raised; the last poll gives
/// that one time to run.
fn receive(member: &Socket, late: bool, sent: &AtomicBool) -> Result<u64> {
    if late {
        deadline::until("everything is sent", STALL, || Ok(sent.load(Ordering::Acquire).then_some(())))?;
    }
    let mut taken = 0;
    let mut buffer = [MaybeUninit::uninit(); 64];
    loop {
        let done = sent.load(Ordering::Acquire);
        let mut polled = [PollFd::new(member.as_fd(), PollFlags::POLLIN)];
        let ready = poll(&mut polled, PollTimeout::from(100_u16)).context("poll")?;
        if ready == 0 && done {
            return Ok(taken);
        }
        loop {
            match member.recv(&mut buffer) {
                Ok(_) => taken += 1,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error).context("receiving"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;
    use crate::generator::connections;

    #[test]
    fn every_datagram_is_received_or_dropped() {
        let group = Group::open(Transport::Udp, Ipv4Addr::LOCALHOST.into(), 3).expect("three members");
        let shares =
            datagrams(&group, Traffic { count: 5_000, threads: 2, read_late: false }).expect("traffic");
        assert_eq!(shares.iter().map(|share| share.taken + share.dropped).sum::<u64>(), 5_000);
        assert!(shares.iter().all(|share| share.taken > 0), "a member got nothing of 32 flows: {shares:?}");
    }

    #[test]
    fn late_readers_drop() {
        let group = Group::open(Transport::Udp, Ipv6Addr::LOCALHOST.into(), 2).expect("two members");
        for member in group.members() {
            member.set_recv_buffer_size(4096).expect("small buffer");
        }
        let shares =
            datagrams(&group, Traffic { count: 2_000, threads: 2, read_late: true }).expect("traffic");
        assert!(shares.iter().any(|share| share.dropped > 0), "no buffer filled: {shares:?}");
    }

    #[test]
    fn every_connection_is_accepted() {
        for transport in [Transport::Tcp, Transport::Mptcp] {
            let group = Group::open(transport, Ipv4Addr::LOCALHOST.into(), 3).expect("three members");
            let shares = connections(&group, 200, 2).expect("connections");
            assert_eq!(shares.iter().map(|share| share.taken).sum::<u64>(), 200);
        }
    }
}
