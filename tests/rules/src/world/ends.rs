//! How sockets end, and what stays of them on the port.

use std::{
    io::Read as _,
    net::{Shutdown, SocketAddr},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use reuse_model::endpoint::Protocol;

use super::{
    Ghost, World,
    ghost::{End, Kind},
};
use crate::{scenario::Slot, system};

/// More than a look through the descriptors of a process takes.
const HEARD_WITHIN: Duration = Duration::from_millis(500);

impl World<'_> {
    /// Sending is shut down, or listening.
    pub(super) fn shutdown(&mut self, slot: Slot) -> Result<bool> {
        let Some(entry) = self.entries.get_mut(&slot).filter(|entry| entry.protocol != Protocol::Udp) else {
            return Ok(false);
        };
        let state = entry.tcp_state()?;
        let (how, connected) = match state {
            // It ends the attempt.
            system::SYN_SENT => {
                entry.connected = false;
                (Shutdown::Write, false)
            }
            system::LISTEN => (Shutdown::Both, false),
            // It would not be refused, and connections that the socket came to accept would end as they begin.
            system::CLOSE => return Ok(false),
            _ => (Shutdown::Write, state == system::ESTABLISHED),
        };
        let facts = entry.facts()?.filter(|facts| facts.port == self.port && connected);
        if entry.socket.shutdown(how).is_err() {
            return Ok(false);
        }
        let (remote, peer, unclear) =
            (system::remote(&entry.socket), entry.peer, entry.muted || entry.filled);
        let peer = self.still_there(slot, peer);
        self.end_arrives(peer, !unclear)?;
        if state == system::CLOSE_WAIT {
            // For the other end, which ended first, it is as a close.
            self.ended(slot, End::Closed);
        }
        if let (Some(facts), Some(remote), Some(peer)) = (facts, remote, peer) {
            let local = SocketAddr::new(facts.shape.address, self.port);
            let (kind, shapes) = (Kind::Twin(slot), vec![facts.shape]);
            let end = if unclear { End::Unclear } else { End::Open };
            self.ghosts.push(Ghost { kind, shapes, local, remote, peer, end });
        }
        Ok(true)
    }

    /// The other end of a connection, if that slot has not been used again since.
    fn still_there(&self, slot: Slot, peer: Option<Slot>) -> Option<Slot> {
        peer.filter(|peer| self.entries.get(peer).is_some_and(|other| other.peer == Some(slot)))
    }

    /// Returns once the end of a connection has arrived and is acknowledged, which the kernel would delay. It would
    /// happen at any moment otherwise, between a prediction and the call too. `heard`: the other end must hear of it.
    fn end_arrives(&self, peer: Option<Slot>, heard: bool) -> Result<()> {
        self.let_arrive()?;
        let Some(other) = peer.and_then(|peer| self.entries.get(&peer)) else { return Ok(()) };
        // Who looks through the descriptors of this process may hold a socket a moment longer than it does.
        let began = Instant::now();
        while heard && other.tcp_state()? == system::ESTABLISHED && began.elapsed() < HEARD_WITHIN {
            thread::yield_now();
            self.let_arrive()?;
        }
        // The acknowledgement waits as long as the end is in the queue. An error is that of a connection reset.
        let _ = (&other.socket).read(&mut [0; 1]);
        system::set(&other.socket, libc::IPPROTO_TCP, libc::TCP_QUICKACK, 1).context("TCP_QUICKACK")?;
        self.let_arrive()
    }

    /// A socket is closed; what stays of it on the port is a ghost.
    pub(crate) fn close(&mut self, slot: Slot, reset: bool) -> Result<bool> {
        let Some(entry) = self.entries.remove(&slot) else { return Ok(false) };
        let facts = entry.facts()?.filter(|facts| facts.port == self.port);
        let state = if entry.protocol == Protocol::Udp { system::CLOSE } else { entry.tcp_state()? };
        if reset {
            entry.socket.set_linger(Some(Duration::ZERO)).context("SO_LINGER")?;
        }
        let (local, remote) = (system::local(&entry.socket)?, system::remote(&entry.socket));
        let (peer, filled, muted) = (self.still_there(slot, entry.peer), entry.filled, entry.muted);
        drop(entry);
        if state != system::CLOSE {
            self.end_arrives(peer, !filled && !muted)?;
        }
        if reset && !muted {
            self.resets(slot);
        } else {
            self.ended(slot, if reset { End::Unclear } else { End::Closed });
        }
        if state != system::CLOSE {
            self.forget_twin(slot);
        }
        let leaves_something = !reset
            && matches!(
                state,
                system::ESTABLISHED
                    | system::FIN_WAIT1
                    | system::FIN_WAIT2
                    | system::CLOSE_WAIT
                    | system::LAST_ACK
                    | system::CLOSING
            );
        if let (Some(facts), Some(remote), true) = (facts, remote, leaves_something) {
            let ended_last =
                peer.is_none() || matches!(state, system::CLOSE_WAIT | system::LAST_ACK | system::CLOSING);
            self.ghosts.push(Ghost {
                kind: Kind::Orphan { filled, ended_last },
                shapes: vec![facts.shape],
                local,
                remote,
                peer: peer.unwrap_or(slot),
                end: if peer.is_some() && !muted { End::Open } else { End::Unclear },
            });
        }
        Ok(true)
    }
}
