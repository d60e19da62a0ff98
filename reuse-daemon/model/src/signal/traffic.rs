//! What the kernel selected for the sockets that signals are about, since they began.

use std::collections::hash_map::Entry;

use crate::{event::MemberCount, hash::NumberMap, socket::Inode};

use super::{Case, Party, Role};

/// Most sockets that are watched.
pub const WATCHED_MAX: usize = 1024;

/// Nanoseconds between a bind and what it began.
const BEGINNING: u64 = 1_000_000_000;

/// A watched socket.
#[derive(Debug)]
struct Watched {
    /// What it was given in all, as read last
    total: u64,
    /// Signals that it is in
    signals: usize,
}

/// Totals of sockets.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    watched: NumberMap<Inode, Watched>,
    /// Of everything that is counted, at the last reading
    counted: NumberMap<Inode, u64>,
}

impl Traffic {
    /// Takes in a reading. A socket may have several counters.
    pub(super) fn count(&mut self, counts: &[MemberCount]) {
        self.counted.clear();
        for count in counts {
            *self.counted.entry(count.inode).or_default() += count.selections;
        }
        for (inode, watched) in &mut self.watched {
            // The counters of a socket that is gone go too.
            watched.total = watched.total.max(self.counted.get(inode).copied().unwrap_or(0));
        }
    }

    /// Watches a socket for one more signal; what it had been given before. `None` where there is no room.
    pub(super) fn watch(&mut self, inode: Inode) -> Option<u64> {
        let room = self.watched.len() < WATCHED_MAX;
        match self.watched.entry(inode) {
            Entry::Occupied(mut known) => {
                known.get_mut().signals += 1;
                Some(known.get().total)
            }
            Entry::Vacant(free) => {
                let total = self.counted.get(&inode).copied().unwrap_or(0);
                room.then(|| free.insert(Watched { total, signals: 1 }).total)
            }
        }
    }

    /// Watches it for one signal less.
    pub(super) fn unwatch(&mut self, inode: Inode) {
        if let Entry::Occupied(mut known) = self.watched.entry(inode) {
            known.get_mut().signals -= 1;
            if known.get().signals == 0 {
                known.remove();
            }
        }
    }

    /// What a watched socket was given in all; `None` where it is not watched.
    pub(super) fn total(&self, inode: Inode) -> Option<u64> {
        self.watched.get(&inode).map(|watched| watched.total)
    }

    /// Every watched socket.
    pub(super) fn watched(&self) -> impl Iterator<Item = Inode> {
        self.watched.keys().copied()
    }
}

/// Whether all that a party was ever given came after a signal began: it took its port by what began it.
pub(super) fn is_new(party: &Party, case: &Case) -> bool {
    party.role == Role::Taker
        && party.socket.since.is_some_and(|since| since.0.saturating_add(BEGINNING) >= case.since.0)
}
