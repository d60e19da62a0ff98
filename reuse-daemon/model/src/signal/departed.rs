//! Services that let a port go lately, whoever comes next.
//!
//! They are shared out, so that who opens and closes ports in a loop drives out its own past and nobody else's.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use crate::{
    endpoint::Transport,
    event::Moment,
    hash::NumberMap,
    inventory::{PortKey, Socket},
    socket::State,
};

/// Nanoseconds within which who comes next may be taking over.
pub(super) const WITHIN: u64 = 60_000_000_000;

/// Nanoseconds that a UDP socket must have had its port: clients have theirs for less.
const ESTABLISHED: u64 = 10_000_000_000;

/// Most sockets kept.
const KEPT_MAX: usize = 8192;

/// Most sockets kept of one port.
const ON_PORT_MAX: usize = 8;

/// A socket that was closed.
#[derive(Clone, Debug)]
pub(super) struct Departure {
    pub(super) socket: Arc<Socket>,
    pub(super) at: Moment,
}

/// Sockets that were closed.
#[derive(Debug, Default)]
pub(super) struct Departed {
    by_port: NumberMap<PortKey, VecDeque<Departure>>,
    /// The ports of each service in the order in which it let them go
    shares: HashMap<Arc<str>, VecDeque<(PortKey, Moment)>>,
    count: usize,
}

impl Departed {
    /// Takes in a socket that was closed, if it was a service's.
    pub(super) fn bury(&mut self, socket: &Arc<Socket>, at: Moment) {
        let Some(port) = PortKey::of(&socket.facts).filter(|_| was_service(socket, at)) else { return };
        let Some(owner) = socket.known_owners().first() else { return };
        let service = Arc::clone(&owner.process.service);
        let on_port = self.by_port.entry(port).or_default();
        on_port.push_back(Departure { socket: Arc::clone(socket), at });
        if on_port.len() > ON_PORT_MAX {
            on_port.pop_front();
        }
        self.shares.entry(service).or_default().push_back((port, at));
        self.count += 1;
        if self.count > KEPT_MAX {
            self.shrink(at);
        }
    }

    /// Those that were on a port, the latest first.
    pub(super) fn on_port(&self, port: PortKey, now: Moment) -> impl Iterator<Item = &Departure> {
        let all = self.by_port.get(&port).into_iter().flatten().rev();
        all.filter(move |departure| now.0.saturating_sub(departure.at.0) <= WITHIN)
    }

    /// Whether any was on a port lately, as far as is worth looking.
    pub(super) fn was_on(&self, port: PortKey) -> bool {
        !self.by_port.is_empty() && self.by_port.contains_key(&port)
    }

    /// Drops what is too old, else the oldest of who has most.
    fn shrink(&mut self, now: Moment) {
        let before = self.count;
        self.forget_old(now);
        if self.count < before {
            return;
        }
        let largest = self.shares.iter().max_by_key(|(_, share)| share.len());
        let Some(largest) = largest.map(|(service, _)| Arc::clone(service)) else { return };
        if let Some((port, at)) = self.shares.get_mut(&largest).and_then(VecDeque::pop_front) {
            self.count -= 1;
            self.drop_one(port, at);
        }
    }

    /// Forgets what is too old.
    pub(super) fn forget_old(&mut self, now: Moment) {
        let mut old = Vec::new();
        for share in self.shares.values_mut() {
            while let Some(one) = share.pop_front_if(|(_, at)| now.0.saturating_sub(at.0) > WITHIN) {
                old.push(one);
            }
        }
        self.shares.retain(|_, share| !share.is_empty());
        self.count -= old.len();
        for (port, at) in old {
            self.drop_one(port, at);
        }
    }

    fn drop_one(&mut self, port: PortKey, at: Moment) {
        if let Some(on_port) = self.by_port.get_mut(&port) {
            on_port.retain(|departure| departure.at != at);
            if on_port.is_empty() {
                self.by_port.remove(&port);
            }
        }
    }
}

fn was_service(socket: &Socket, at: Moment) -> bool {
    let facts = &socket.facts;
    match facts.protocol.transport() {
        Some(Transport::Tcp) => facts.state == State::Listen,
        // One that was there before the daemon is not known to be young.
        Some(Transport::Udp) => {
            facts.state == State::Bound
                && socket.since.is_none_or(|since| at.0.saturating_sub(since.0) >= ESTABLISHED)
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        event::Comm,
        fixtures::{comm, facts},
        inventory::Owner,
        process::Process,
    };

    fn listener(inode: u64, port: u16, name: &str) -> Arc<Socket> {
        let known: Comm = comm(name);
        let process = Arc::new(Process::from_comm(7, known, 0));
        let owner = Owner { process, comm: known, fds: Vec::new(), seen: Moment(0) };
        let mut facts = facts(inode, port);
        facts.state = State::Listen;
        Arc::new(Socket { owners: vec![owner], ..Socket::found(facts, Moment(0)) })
    }

    #[test]
    fn what_is_forgotten_leaves_nothing_behind() {
        let mut departed = Departed::default();
        departed.bury(&listener(1, 1, "quiet"), Moment(0));
        for port in 2..20_000 {
            departed.bury(&listener(2, port, "loud"), Moment(u64::from(port)));
        }
        assert_eq!((departed.by_port.len(), departed.count), (KEPT_MAX, KEPT_MAX));
        let quiet = PortKey::of(&facts(1, 1)).expect("a port");
        assert!(departed.was_on(quiet));
        departed.forget_old(Moment(2 * WITHIN));
        assert_eq!((departed.by_port.len(), departed.shares.len(), departed.count), (0, 0, 0));
    }
}
