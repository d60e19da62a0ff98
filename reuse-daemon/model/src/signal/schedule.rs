//! When each port is to be looked at.

use std::collections::BTreeSet;

use crate::{event::Moment, hash::NumberMap, inventory::PortKey};

/// Nanoseconds from a change to the look: options that are set right after a bind count.
pub(super) const PATIENCE: u64 = 200_000_000;

/// Most ports that wait; of more, all ports are looked at.
const WAITING_MAX: usize = 65_536;

/// Most ports that are looked at before others get a turn, some 5 us each: more than fall due while a full ring is read.
const AT_ONCE: usize = 16_384;

/// Whether it is too early to judge what happened at `then`.
pub(super) fn is_young(then: Moment, now: Moment) -> bool {
    is_younger(then, now, PATIENCE)
}

/// Whether it happened less than `age` nanoseconds ago.
pub(super) fn is_younger(then: Moment, now: Moment, age: u64) -> bool {
    now.0.saturating_sub(then.0) < age
}

/// Why a port is looked at.
#[derive(Clone, Copy, Debug)]
struct Wait {
    due: Moment,
    /// When what is to be looked at happened, first
    at: Moment,
    /// And last
    last: Moment,
    /// What is known of its sockets may be out of date
    reads: bool,
}

/// A port whose time has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// The port
    pub port: PortKey,
    /// When what is to be looked at happened, first
    pub(super) at: Moment,
    /// And last
    pub(super) last: Moment,
    /// What is known of its sockets may be out of date
    pub(super) reads: bool,
}

/// The ports that wait.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    waiting: NumberMap<PortKey, Wait>,
    order: BTreeSet<(Moment, PortKey)>,
    overrun: bool,
}

impl Schedule {
    /// Something happened on a port at `at`: it is looked at soon. `reads`: its sockets are read anew then.
    pub(super) fn happened(&mut self, port: PortKey, at: Moment, reads: bool) {
        self.add(port, Wait { due: Moment(at.0.saturating_add(PATIENCE)), at, last: at, reads });
    }

    /// What happened on a port at `at` is looked at `wait` nanoseconds later.
    pub(super) fn grows(&mut self, port: PortKey, at: Moment, wait: u64) {
        self.add(port, Wait { due: Moment(at.0.saturating_add(wait)), at, last: at, reads: false });
    }

    /// Something on a port ends at `at` by itself.
    pub(super) fn ends(&mut self, port: PortKey, at: Moment) {
        self.add(port, Wait { due: at, at, last: at, reads: false });
    }

    fn add(&mut self, port: PortKey, wait: Wait) {
        let Some(known) = self.waiting.get_mut(&port) else {
            if self.waiting.len() == WAITING_MAX {
                self.overrun = true;
                return;
            }
            self.waiting.insert(port, wait);
            self.order.insert((wait.due, port));
            return;
        };
        known.reads |= wait.reads;
        known.last = known.last.max(wait.last);
        if wait.due < known.due {
            self.order.remove(&(known.due, port));
            (known.due, known.at) = (wait.due, wait.at);
            self.order.insert((wait.due, port));
        }
    }

    /// When the first port is due.
    pub(super) fn next(&self) -> Option<Moment> {
        self.order.first().map(|(due, _)| *due)
    }

    /// The ports whose time has come, the first of many.
    pub(super) fn due(&mut self, now: Moment) -> Vec<Due> {
        let mut due = Vec::new();
        while due.len() < AT_ONCE
            && self.next().is_some_and(|next| next <= now)
            && let Some((_, port)) = self.order.pop_first()
        {
            if let Some(Wait { at, last, reads, .. }) = self.waiting.remove(&port) {
                due.push(Due { port, at: at.min(now), last: last.min(now), reads });
            }
        }
        due
    }

    /// Whether more ports had to wait than can, since this was asked last.
    pub(super) fn was_overrun(&mut self) -> bool {
        std::mem::take(&mut self.overrun)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{endpoint::Transport, socket::NetNs};

    /// Calls that one ring holds, as many as there can be ports that fall due while the reader is busy with it.
    const CALLS_OF_A_RING: u16 = 15_000;

    #[test]
    fn what_a_ring_of_calls_made_due_is_looked_at_at_once() {
        let mut schedule = Schedule::default();
        for port in 1..=CALLS_OF_A_RING {
            let port = PortKey { netns: NetNs(1), transport: Transport::Tcp, port };
            schedule.happened(port, Moment(u64::from(port.port)), false);
        }
        let ports: Vec<_> = schedule.due(Moment(PATIENCE + 9)).iter().map(|due| due.port.port).collect();
        assert_eq!(ports, Vec::from_iter(1..=9), "whose time has come, the first first");
        assert_eq!(schedule.due(Moment(u64::MAX)).len(), usize::from(CALLS_OF_A_RING) - 9);
        assert_eq!(schedule.next(), None);
    }
}
