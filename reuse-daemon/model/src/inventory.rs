//! Every socket that holds a port, with its owners: kept current by events, put right by snapshots.
//!
//! Identity is the socket's inode number. A socket belongs here when it has a local port that a process gave it or had
//! the kernel choose by `bind`, `listen` or a first datagram. Not in here:
//! - what `bind` left without a port (`IP_BIND_ADDRESS_NO_PORT` with port 0): it holds nothing anyone could want;
//! - TCP connections that were not bound: accepted children sit on their listener's port, outgoing ones on a port that
//!   the kernel chose. Snapshots leave them out, and no close tells of them.

mod apply;
mod census;
mod correction;
mod evidence;
mod graves;
#[cfg(test)]
mod model_tests;
mod ports;
mod reconcile;
mod socket;
#[cfg(test)]
mod tests;

use std::{ops::RangeInclusive, sync::Arc};

pub use census::Census;
pub use correction::{Correction, Corrections, EXPLAINED_WITHIN};
pub use ports::PortKey;
pub use socket::{Change, Owner, Socket};

use crate::{
    event::Moment,
    hash::{NumberMap, NumberSet},
    socket::Inode,
};
use correction::Doubts;
use graves::Graves;
use ports::Ports;

/// Most sockets an inventory holds unless told otherwise.
pub const SOCKETS_MAX: usize = 1_000_000;

/// Nanoseconds that a socket may be without an owner before a snapshot is worth its cost: a process that exits
/// reports its exit before the closes of its sockets.
pub const OWNERLESS_GRACE: u64 = 100_000_000;

/// Bounds and sysctls an inventory judges by.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Most sockets; one more is counted in [`Inventory::overflow`] and not kept
    pub sockets: usize,
    /// `net.ipv4.ip_local_port_range`: only there can a port be taken without `bind`
    pub ephemeral_ports: RangeInclusive<u16>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { sockets: SOCKETS_MAX, ephemeral_ports: 32768..=60999 }
    }
}

/// The sockets of the host.
#[derive(Debug)]
pub struct Inventory {
    limits: Limits,
    sockets: NumberMap<Inode, Arc<Socket>>,
    /// The sockets each process owns, so that an exit costs what the process owned
    by_pid: NumberMap<u32, NumberSet<Inode>>,
    /// Sockets whose last known owner is gone, and since when
    ownerless: NumberMap<Inode, Moment>,
    ports: Ports,
    closes: Graves<Inode>,
    exits: Graves<u32>,
    doubts: Doubts,
    census: Census,
    overflow: u64,
    backfilled: bool,
    rescan: bool,
}

impl Inventory {
    /// An empty inventory.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            sockets: NumberMap::default(),
            by_pid: NumberMap::default(),
            ownerless: NumberMap::default(),
            ports: Ports::default(),
            closes: Graves::default(),
            exits: Graves::default(),
            doubts: Doubts::default(),
            census: Census::default(),
            overflow: 0,
            backfilled: false,
            rescan: false,
        }
    }

    /// The socket with this inode number.
    #[must_use]
    pub fn get(&self, inode: Inode) -> Option<&Arc<Socket>> {
        self.sockets.get(&inode)
    }

    /// Every socket, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Socket>> {
        self.sockets.values()
    }

    /// How many sockets there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sockets.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sockets.is_empty()
    }

    /// Whether a process has a socket open.
    #[must_use]
    pub fn has_sockets(&self, pid: u32) -> bool {
        self.by_pid.contains_key(&pid)
    }

    /// The ports with more than one socket, in no order.
    pub fn crowded_ports(&self) -> impl Iterator<Item = PortKey> {
        self.ports.crowded()
    }

    /// `net.ipv4.ip_local_port_range`: the ports that the kernel chooses from.
    #[must_use]
    pub fn ephemeral_ports(&self) -> &RangeInclusive<u16> {
        &self.limits.ephemeral_ports
    }

    /// The sockets by protocol, family and state.
    #[must_use]
    pub fn census(&self) -> &Census {
        &self.census
    }

    /// Sockets that were not kept because there were too many.
    #[must_use]
    pub fn overflow(&self) -> u64 {
        self.overflow
    }

    /// Whether the first snapshot has been taken in.
    #[must_use]
    pub fn is_backfilled(&self) -> bool {
        self.backfilled
    }

    /// Whether a snapshot would tell something no event will: a socket outlived its last known owner, or the last
    /// snapshot left something open.
    #[must_use]
    pub fn wants_rescan(&self, now: Moment) -> bool {
        self.rescan || self.ownerless.values().any(|since| now.0.saturating_sub(since.0) >= OWNERLESS_GRACE)
    }

    /// The corrections that were in doubt and no event has explained in time.
    ///
    /// A snapshot sees a port the moment the kernel gives it, the event comes when the call returns. What a snapshot
    /// found first is a correction only once [`EXPLAINED_WITHIN`] has passed without that event.
    pub fn confirm(&mut self, now: Moment) -> Vec<Correction> {
        self.doubts.confirm(now)
    }

    /// Puts a socket in, or in place of what had its inode number. `false` where there is no room.
    fn put(&mut self, socket: Arc<Socket>, changes: &mut Vec<Change>) -> bool {
        let inode = socket.facts.inode;
        let before = self.sockets.get(&inode).cloned();
        if before.is_none() && self.sockets.len() >= self.limits.sockets {
            self.overflow += 1;
            return false;
        }
        self.reindex(before.as_deref(), Some(&socket));
        self.sockets.insert(inode, Arc::clone(&socket));
        changes.push(match before {
            None => Change::Added(socket),
            Some(before) => Change::Updated { before, after: socket },
        });
        true
    }

    /// Takes a socket out.
    fn take(&mut self, inode: Inode, changes: &mut Vec<Change>) {
        self.ownerless.remove(&inode);
        if let Some(socket) = self.sockets.remove(&inode) {
            self.reindex(Some(&socket), None);
            changes.push(Change::Removed(socket));
        }
    }

    /// Moves census, port and process index from one version of a socket to the next.
    fn reindex(&mut self, before: Option<&Socket>, after: Option<&Socket>) {
        self.ports.move_socket(before, after);
        if let Some(before) = before {
            self.census.discount(&before.facts);
            for owner in &before.owners {
                let pid = owner.process.pid;
                if after.is_none_or(|after| after.owner(pid).is_none()) {
                    self.forget_owned(pid, before.facts.inode);
                }
            }
        }
        if let Some(after) = after {
            self.census.count(&after.facts);
            for owner in &after.owners {
                self.by_pid.entry(owner.process.pid).or_default().insert(after.facts.inode);
            }
        }
    }

    fn forget_owned(&mut self, pid: u32, inode: Inode) {
        if let Some(owned) = self.by_pid.get_mut(&pid) {
            owned.remove(&inode);
            if owned.is_empty() {
                self.by_pid.remove(&pid);
            }
        }
    }
}
