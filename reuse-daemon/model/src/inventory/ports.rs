//! The inventory by port: which sockets are on one, and which were a moment ago.

use std::{collections::VecDeque, sync::Arc};

use super::{Inventory, Socket};
use crate::{
    endpoint::Transport,
    event::Moment,
    hash::NumberMap,
    port::Occupant,
    refusal::Remembered,
    socket::{Inode, NetNs, SocketFacts},
};

/// Most closed sockets that are remembered: with their owners some 400 bytes each.
const CLOSED_MAX: usize = 4096;

/// Nanoseconds for which they are: TIME_WAIT outlives its socket by 60 s (include/net/tcp.h, `TCP_TIMEWAIT_LEN`), an
/// orphan before it by as much (`net.ipv4.tcp_fin_timeout`).
const CLOSED_FOR: u64 = 130_000_000_000;

/// Nanoseconds within which a closed socket may be the one that was in the way when a call returned: a process may be
/// stopped half-way through a close.
const JUST_CLOSED: u64 = 100_000_000;

/// Most of those that are asked.
const CLOSED_ASKED: usize = 64;

/// A port of a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortKey {
    /// Network namespace
    pub netns: NetNs,
    /// Port table
    pub transport: Transport,
    /// Port, never 0
    pub port: u16,
}

impl PortKey {
    /// The port a socket is on, if it is on one.
    #[must_use]
    pub fn of(facts: &SocketFacts) -> Option<Self> {
        let transport = facts.protocol.transport()?;
        (facts.local.port != 0).then_some(Self { netns: facts.netns, transport, port: facts.local.port })
    }
}

/// The sockets of an inventory by their ports.
#[derive(Debug, Default)]
pub(super) struct Ports {
    live: NumberMap<PortKey, Vec<Inode>>,
    /// The network namespace where nobody is but the daemon's own: what closes there is in nobody's way
    secluded: Option<NetNs>,
    closed: VecDeque<(PortKey, Moment)>,
    by_port: NumberMap<PortKey, VecDeque<(Arc<Socket>, Moment)>>,
}

impl Ports {
    /// Follows a socket from one version to the next.
    pub(super) fn move_socket(&mut self, before: Option<&Socket>, after: Option<&Socket>) {
        let key = |socket: Option<&Socket>| socket.and_then(|socket| PortKey::of(&socket.facts));
        let (was, is) = (key(before), key(after));
        if was == is {
            return;
        }
        if let (Some(key), Some(socket)) = (was, before) {
            self.remove(key, socket.facts.inode);
        }
        if let (Some(key), Some(socket)) = (is, after) {
            self.live.entry(key).or_default().push(socket.facts.inode);
        }
    }

    pub(super) fn crowded(&self) -> impl Iterator<Item = PortKey> {
        self.live.iter().filter(|(_, inodes)| inodes.len() > 1).map(|(key, _)| *key)
    }

    fn remove(&mut self, key: PortKey, inode: Inode) {
        let Some(inodes) = self.live.get_mut(&key) else { return };
        if let Some(place) = inodes.iter().rposition(|on_it| *on_it == inode) {
            inodes.swap_remove(place);
        }
        if inodes.is_empty() {
            self.live.remove(&key);
        }
    }

    /// Remembers a socket that was closed.
    pub(super) fn bury(&mut self, socket: Arc<Socket>, at: Moment) {
        let Some(key) = PortKey::of(&socket.facts).filter(|key| Some(key.netns) != self.secluded) else {
            return;
        };
        self.forget_old(at);
        if self.closed.len() >= CLOSED_MAX {
            self.forget_oldest();
        }
        self.closed.push_back((key, at));
        self.by_port.entry(key).or_default().push_back((socket, at));
    }

    fn forget_old(&mut self, now: Moment) {
        while self.closed.front().is_some_and(|(_, then)| is_old(*then, now)) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let Some((oldest, _)) = self.closed.pop_front() else { return };
        if let Some(sockets) = self.by_port.get_mut(&oldest) {
            sockets.pop_front();
            if sockets.is_empty() {
                self.by_port.remove(&oldest);
            }
        }
    }
}

fn is_old(then: Moment, now: Moment) -> bool {
    now.0.saturating_sub(then.0) > CLOSED_FOR
}

impl Inventory {
    /// The sockets on a port, in no order.
    pub fn on_port(&self, key: PortKey) -> impl Iterator<Item = &Arc<Socket>> {
        let inodes = self.ports.live.get(&key).map(Vec::as_slice).unwrap_or_default();
        inodes.iter().filter_map(|inode| self.sockets.get(inode))
    }

    /// Forgets the sockets that were closed too long before `now` to be in anyone's way.
    pub fn forget_old(&mut self, now: Moment) {
        self.ports.forget_old(now);
    }

    /// Does not remember what closes in this network namespace, where nobody is but the daemon's own, from now on.
    pub fn seclude(&mut self, namespace: Option<NetNs>) {
        self.ports.secluded = namespace;
    }

    /// The sockets that were on a port and were closed not long before `now`, the latest first, each as it was last.
    pub fn closed_on_port(&self, key: PortKey, now: Moment) -> impl Iterator<Item = (&Arc<Socket>, Moment)> {
        let closed = self.ports.by_port.get(&key).into_iter().flatten().rev();
        closed.filter(move |(_, at)| !is_old(*at, now)).map(|(socket, at)| (socket, *at))
    }

    /// What may have been in the way on a port when a call returned `at`: the sockets that had been on it before and are
    /// still, and those whose close came about then, the nearest first.
    #[must_use]
    pub fn in_the_way(&self, key: PortKey, at: Moment) -> Remembered {
        let before = |socket: &&Arc<Socket>| socket.since.is_none_or(|since| since < at);
        let live = self.on_port(key).filter(before);
        let lately = |(_, then): &(&Arc<Socket>, Moment)| then.0.saturating_add(JUST_CLOSED) >= at.0;
        let closed = self.closed_on_port(key, at).take_while(lately).take(CLOSED_ASKED);
        let mut closed: Vec<_> = closed.filter(|(socket, _)| before(socket)).collect();
        closed.sort_by_key(|(_, then)| then.0.abs_diff(at.0));
        let occupant = |socket: &Arc<Socket>| Occupant::of(&socket.facts);
        Remembered {
            live: live.map(occupant).collect(),
            closed: closed.into_iter().map(|(socket, _)| occupant(socket)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::facts;

    fn closed(ports: &mut Ports, inode: u64, port: u16, at: u64) {
        ports.bury(Arc::new(Socket::found(facts(inode, port), Moment(at))), Moment(at));
    }

    fn remembered(ports: &Ports) -> (usize, usize) {
        (ports.closed.len(), ports.by_port.values().map(VecDeque::len).sum())
    }

    #[test]
    fn closed_sockets_are_forgotten_in_time_and_for_want_of_room() {
        let mut ports = Ports::default();
        (1..=3).for_each(|second| closed(&mut ports, second, 80, second));
        ports.forget_old(Moment(CLOSED_FOR + 2));
        assert_eq!(remembered(&ports), (2, 2), "without another close");
        ports.forget_old(Moment(CLOSED_FOR + 4));
        assert_eq!((remembered(&ports), ports.by_port.len()), ((0, 0), 0));
        (0..=CLOSED_MAX as u64).for_each(|at| closed(&mut ports, at, 80, at));
        assert_eq!(remembered(&ports), (CLOSED_MAX, CLOSED_MAX));
        assert_eq!(ports.closed.front().map(|(_, at)| *at), Some(Moment(1)));
    }

    #[test]
    fn what_closes_where_nobody_else_is_drives_out_nothing() {
        let mut ports = Ports { secluded: Some(NetNs(7)), ..Ports::default() };
        closed(&mut ports, 1, 80, 1);
        let elsewhere = SocketFacts { netns: NetNs(7), ..facts(2, 80) };
        ports.bury(Arc::new(Socket::found(elsewhere, Moment(2))), Moment(2));
        assert_eq!(remembered(&ports), (1, 1));
    }
}
