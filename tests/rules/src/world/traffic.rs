//! Connections: made and accepted. They run within the system call on loopback, so that each is where it will be
//! when the call returns, but for an acknowledgement that the kernel delays.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context as _, Result};
use reuse_model::{
    endpoint::{Family, Protocol},
    socket::State,
};
use socket2::{SockAddr, Socket};

use super::{
    Entry, Ghost, World,
    ghost::{End, Kind, Shape},
    in_family, plain,
};
use crate::{
    overlap,
    room::remote_address,
    scenario::{OTHER_UID, Slot, Step},
    system::{self, under},
};

/// So little that a connection nobody reads is soon full.
const BUFFER: usize = 4096;

/// Beyond the slots that scenarios use.
const OWN_SLOTS: u8 = 127;

/// A listener that a connection may go to.
struct Candidate {
    slot: Slot,
    shape: Shape,
    queued: u32,
}

impl World<'_> {
    /// A client connects to a listener; which one gets it is the kernel's choice.
    pub(super) fn connect(&mut self, client: Slot, listener: Slot, address: IpAddr) -> Result<bool> {
        // What comes to a listener in TCP_REPAIR is in it as well, and ends without a word to the client.
        let usable = |entry: &&Entry| entry.protocol != Protocol::Udp && !entry.muted;
        let Some(entry) = self.entries.get(&listener).filter(usable) else { return Ok(false) };
        let Some(facts) = entry.facts()?.filter(|facts| facts.state == State::Listen) else {
            return Ok(false);
        };
        let specific = facts.shape.address.to_canonical();
        let goal = if specific.is_unspecified() { address } else { specific };
        self.close(client, false)?;
        let family = if goal.is_ipv4() { Family::Ipv4 } else { Family::Ipv6 };
        let socket = system::open(family, Protocol::Tcp)?;
        socket.set_recv_buffer_size(BUFFER)?;
        if facts.shape.device != 0 {
            let device = facts.shape.device.cast_signed();
            system::set(&socket, libc::SOL_SOCKET, libc::SO_BINDTOIFINDEX, device)?;
        }
        let candidates = self.listeners_for(goal)?;
        let begun = begin(&socket, SocketAddr::new(goal, self.port));
        self.let_arrive()?;
        let mut entry = Entry::new(socket, family, Protocol::Tcp)?;
        if !begun || entry.tcp_state()? != system::ESTABLISHED {
            return Ok(false);
        }
        entry.connected = true;
        let remote = system::local(&entry.socket)?;
        let local = SocketAddr::new(goal, self.port);
        let (shapes, end) = self.chosen(candidates)?;
        self.entries.insert(client, entry);
        self.ghosts.push(Ghost { kind: Kind::Unaccepted, shapes, local, remote, peer: client, end });
        Ok(true)
    }

    /// Who may get a connection to that address: what it would inherit, and how many wait there already.
    fn listeners_for(&self, goal: IpAddr) -> Result<Vec<Candidate>> {
        let mut candidates = Vec::new();
        for (slot, facts) in self.on_port(self.port)? {
            if facts.state == State::Listen
                && overlap::covers(&facts.shape, goal)
                && let Some(entry) = self.entries.get(&slot)
            {
                let shape = Shape { address: in_family(goal, facts.shape.family), ..facts.shape };
                candidates.push(Candidate { slot, shape, queued: system::queued(&entry.socket)? });
            }
        }
        Ok(candidates)
    }

    /// What the connection inherited: of the listener that has one more waiting.
    fn chosen(&self, mut candidates: Vec<Candidate>) -> Result<(Vec<Shape>, End)> {
        let mut at = None;
        for (place, candidate) in candidates.iter().enumerate() {
            let entry = self.entries.get(&candidate.slot).context("a listener went")?;
            if system::queued(&entry.socket)? > candidate.queued {
                at = Some(place);
            }
        }
        if let Some(place) = at {
            candidates = vec![candidates.swap_remove(place)];
        }
        let muted = |candidate: &Candidate| self.entries.get(&candidate.slot).is_some_and(|it| it.muted);
        let end = if candidates.iter().any(muted) { End::Unclear } else { End::Open };
        Ok((candidates.iter().flat_map(|candidate| self.inherited(candidate)).collect(), end))
    }

    /// What a connection may have of its listener. A subflow of MPTCP hands on the uid it was made under, which an `fchown`
    /// of its parent since then does not show.
    fn inherited(&self, Candidate { slot, shape, .. }: &Candidate) -> Vec<Shape> {
        let mptcp = self.entries.get(slot).is_some_and(|entry| entry.protocol == Protocol::Mptcp);
        let uids = [0, OTHER_UID].into_iter().filter(|uid| mptcp && *uid != shape.uid);
        [shape.uid].into_iter().chain(uids).map(|uid| Shape { uid, ..shape.clone() }).collect()
    }

    /// A connection is taken from a listener's queue.
    pub(super) fn accept(&mut self, listener: Slot, slot: Slot, uid: u32) -> Result<bool> {
        let Some(entry) = self.entries.get(&listener).filter(|entry| entry.protocol != Protocol::Udp) else {
            return Ok(false);
        };
        let family = entry.family;
        let (socket, ghost) = loop {
            let Some(socket) = under(uid, || system::accept(&entry.socket)) else { return Ok(false) };
            // A connection that ended in the queue has no other end; its descriptor is of no more use.
            let remote = system::remote(&socket).map(plain);
            let waiting = |ghost: &Ghost| ghost.is_unaccepted() && Some(plain(ghost.remote)) == remote;
            let place = self.ghosts.iter().position(waiting);
            if let Some(ghost) = place.and_then(|place| self.ghosts.get_mut(place)) {
                break (socket, ghost);
            }
        };
        ghost.kind = Kind::Accepted(slot);
        let (peer, muted) = ((ghost.end != End::Closed).then_some(ghost.peer), ghost.end != End::Open);
        self.close(slot, false)?;
        let mut entry = Entry::new(socket, family, Protocol::Tcp)?;
        (entry.connected, entry.peer, entry.muted) = (true, peer, muted);
        if let Some(other) = peer.and_then(|peer| self.entries.get_mut(&peer)) {
            other.peer = Some(slot);
        }
        self.entries.insert(slot, entry);
        Ok(true)
    }

    /// The slot of a connection that was accepted and is open still.
    pub(crate) fn accepted(&self, number: usize) -> Option<Slot> {
        match self.ghosts.get(number).map(|ghost| ghost.kind) {
            Some(Kind::Accepted(slot)) => Some(slot).filter(|slot| self.entries.contains_key(slot)),
            _ => None,
        }
    }

    /// Accepts from every listener until that connection has come, or one that looks the same where it had gone already.
    /// All keep the uid they have. Gives the slot.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn accept_ghost(&mut self, number: usize) -> Result<Option<Slot>> {
        let listeners: Vec<Slot> = self.entries.keys().copied().collect();
        for listener in listeners {
            loop {
                if let Some(slot) = self.accepted(number) {
                    return Ok(Some(slot));
                }
                let taken = self.entries.keys().next_back().map_or(OWN_SLOTS, |last| last.0.max(OWN_SLOTS));
                let slot = Slot(taken.checked_add(1).context("no slot is left")?);
                if !self.accept(listener, slot, 0)? {
                    break;
                }
                let came = self.ghosts.iter().find(|ghost| ghost.kind == Kind::Accepted(slot));
                let uid = came.and_then(|ghost| ghost.shapes.first()).map(|shape| shape.uid);
                self.act(Step::Chown { slot, uid: uid.context("a connection without a past")? })?;
            }
        }
        Ok(self.look_alikes(number)?.into_iter().find_map(|alike| self.accepted(alike)))
    }

    /// A bound socket connects to the listener of the other port.
    pub(super) fn connect_out(&mut self, slot: Slot, peer: Slot, ipv4: bool) -> Result<bool> {
        let Some(entry) = self.entries.get(&slot).filter(|entry| entry.bound) else { return Ok(false) };
        if entry.protocol == Protocol::Mptcp
            || (entry.protocol == Protocol::Tcp && entry.tcp_state()? != system::CLOSE)
        {
            return Ok(false);
        }
        let bound_to = system::local(&entry.socket)?.ip().to_canonical();
        let ipv4 = match entry.family {
            Family::Ipv4 => true,
            _ if bound_to.is_unspecified() && bound_to.is_ipv6() => ipv4,
            _ => bound_to.is_ipv4(),
        };
        let mut goal = remote_address(ipv4);
        let here = if bound_to.is_unspecified() { goal.ip() } else { bound_to };
        if entry.protocol == Protocol::Tcp && self.uses(SocketAddr::new(here, self.port), goal) {
            return Ok(false);
        }
        let Some(entry) = self.entries.get_mut(&slot) else { return Ok(false) };
        goal.set_ip(in_family(goal.ip(), entry.family));
        if entry.protocol == Protocol::Tcp {
            entry.socket.set_send_buffer_size(BUFFER)?;
        }
        entry.connected = begin(&entry.socket, goal);
        let begun = entry.connected;
        if begun && entry.protocol == Protocol::Tcp {
            self.room.let_arrive(self.tables)?;
            let end = plain(system::local(&entry.socket)?);
            if let Some(socket) = self.arrived(end) {
                self.close(peer, false)?;
                let mut other = Entry::new(socket, Family::Ipv6, Protocol::Tcp)?;
                (other.connected, other.peer) = (true, Some(slot));
                self.entries.insert(peer, other);
                self.entries.entry(slot).and_modify(|entry| entry.peer = Some(peer));
            }
        }
        Ok(begun)
    }

    /// The other end of a connection to the other port.
    fn arrived(&self, from: SocketAddr) -> Option<Socket> {
        let listener = self.room.remote(self.tables);
        while let Some(socket) = system::accept(listener) {
            if system::remote(&socket).map(plain) == Some(from) {
                return Some(socket);
            }
        }
        None
    }
}

/// Whether a connection is made or under way. The answer of the other end waits until the call is over, so that a
/// connection on loopback is there when it returns, though the call itself does not say so.
fn begin(socket: &Socket, goal: SocketAddr) -> bool {
    let answer = system::errno(socket.connect(&SockAddr::from(goal)));
    answer == 0 || answer == libc::EINPROGRESS
}
