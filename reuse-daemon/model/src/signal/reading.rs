//! What is to be read anew, and when: processes that may have got sockets, and ports whose sockets are under way.

use std::collections::BTreeSet;

use super::schedule::PATIENCE;
use crate::{
    event::Moment,
    hash::{NumberMap, NumberSet},
    inventory::PortKey,
};

/// Most processes that wait; the next look at the whole host shows the others.
const PROCESSES_MAX: usize = 4096;
/// Most ports that wait.
const PORTS_MAX: usize = 4096;
/// Most processes read at one time, at some 40 us each.
const AT_ONCE: usize = 64;
/// Nanoseconds after which to look for who took a descriptor out of a message: it may wait there for any time.
const TRIES: [u64; 5] = [PATIENCE, 500_000_000, 1_000_000_000, 2_000_000_000, 5_000_000_000];

/// What waits.
#[derive(Debug, Default)]
pub(super) struct Readings {
    processes: BTreeSet<(Moment, u32)>,
    waiting: NumberMap<u32, Moment>,
    ports: BTreeSet<(Moment, PortKey)>,
}

impl Readings {
    /// A process may have got sockets at `at`. Most that are made end soon, and cost nothing then.
    pub(super) fn of_process(&mut self, pid: u32, at: Moment) {
        if self.waiting.contains_key(&pid) || self.waiting.len() >= PROCESSES_MAX {
            return;
        }
        let due = Moment(at.0.saturating_add(PATIENCE));
        self.waiting.insert(pid, due);
        self.processes.insert((due, pid));
    }

    /// Whether a process waits to be read.
    pub(super) fn awaits(&self, pid: u32) -> bool {
        !self.waiting.is_empty() && self.waiting.contains_key(&pid)
    }

    /// A process ended.
    pub(super) fn exited(&mut self, pid: u32) {
        if !self.waiting.is_empty()
            && let Some(due) = self.waiting.remove(&pid)
        {
            self.processes.remove(&(due, pid));
        }
    }

    /// A descriptor of a socket on this port was sent at `at`.
    pub(super) fn of_port(&mut self, port: PortKey, at: Moment) {
        for after in TRIES {
            if self.ports.len() < PORTS_MAX {
                self.ports.insert((Moment(at.0.saturating_add(after)), port));
            }
        }
    }

    /// When the first reading is due.
    pub(super) fn next(&self) -> Option<Moment> {
        let processes = self.processes.first().map(|(due, _)| *due);
        processes.into_iter().chain(self.ports.first().map(|(due, _)| *due)).min()
    }

    /// The processes whose time has come, some of many.
    pub(super) fn processes_due(&mut self, now: Moment) -> Vec<u32> {
        let mut due = Vec::new();
        while due.len() < AT_ONCE
            && self.processes.first().is_some_and(|(due, _)| *due <= now)
            && let Some((_, pid)) = self.processes.pop_first()
        {
            self.waiting.remove(&pid);
            due.push(pid);
        }
        due
    }

    /// The ports whose time has come.
    pub(super) fn ports_due(&mut self, now: Moment) -> NumberSet<PortKey> {
        let mut due = NumberSet::default();
        while self.ports.first().is_some_and(|(due, _)| *due <= now)
            && let Some((_, port)) = self.ports.pop_first()
        {
            due.insert(port);
        }
        due
    }
}
