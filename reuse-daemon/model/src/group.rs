//! SO_REUSEPORT groups: who is in them and what the kernel selected.
//!
//! Membership is the kernel's key (`reuseport_add_sock` and its callers, Linux 5.15 to 6.19): network namespace,
//! transport, family, `IPV6_V6ONLY`, address, port, device and socket uid. A UDP socket is a member once bound, a TCP
//! socket once it listens.

mod accepting;
mod change;
mod counted;
mod counts;
mod generation;
mod key;
mod left;
mod member;
mod pick;
mod reading;
mod slots;
#[cfg(test)]
mod tests;
mod verdict;
mod window;
mod windows;

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

pub use accepting::STALLED_AFTER;
pub use change::{GroupChange, GroupChangeKind};
pub use counted::SlotCounts;
pub(crate) use generation::Generations;
pub use key::GroupKey;
pub use member::Member;
pub use pick::Pick;
pub use reading::{FlowMemory, Reading};
pub use slots::Group;
pub use verdict::Verdict;
pub use window::{ClosedWindow, WINDOW};

use crate::{
    event::{Counter, Moment},
    hash::NumberMap,
    inventory::{Change, Socket},
    socket::{Device, Inode},
};
use counts::Counted;
use left::Left;

/// Nanoseconds for which a group is kept after its last member left.
pub const RETAINED: u64 = 900_000_000_000;

/// Most groups without a member that are kept; the one empty for longest goes first.
pub const RETAINED_MAX: usize = 10_000;

/// Where a member sits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seat {
    key: GroupKey,
    slot: u32,
}

/// Every group of the host but the daemon's own.
#[derive(Debug, Default)]
pub struct Groups {
    groups: HashMap<GroupKey, Group>,
    seats: NumberMap<Inode, Seat>,
    /// Groups without a member, by when the last left
    empty: BTreeSet<(Moment, GroupKey)>,
    counted: NumberMap<Counter, Counted>,
    left: Left,
    /// Whether a group of several members has no window since a change
    awaits_reading: bool,
    /// Entered flows up to which a reading adds to some window
    flow_horizon: u64,
    /// The memory of flows at the last reading
    flows_read: Option<FlowMemory>,
}

impl Groups {
    /// No group.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Every group, also those whose last member left within [`RETAINED`], in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Group> {
        self.groups.values()
    }

    /// The group with this key.
    #[must_use]
    pub fn get(&self, key: &GroupKey) -> Option<&Group> {
        self.groups.get(key)
    }

    /// The group and slot of a socket that is a member.
    #[must_use]
    pub fn seat(&self, inode: Inode) -> Option<(&GroupKey, u32)> {
        self.seats.get(&inode).map(|seat| (&seat.key, seat.slot))
    }

    /// How many groups have a member.
    #[must_use]
    pub fn live(&self) -> usize {
        self.groups.len().saturating_sub(self.empty.len())
    }

    /// Follows one change of the inventory and appends who joined and who left to `events`.
    pub fn apply(&mut self, change: &Change, now: Moment, events: &mut Vec<GroupChange>) {
        match change {
            Change::Added(socket) => self.place(socket, now, events),
            Change::Updated { after, .. } => self.place(after, now, events),
            Change::Removed(socket) => self.leave(socket, now, events),
        }
    }

    /// Whether a member may be stalled, or may be so no longer: what its next accept changes shows only when it is read.
    #[must_use]
    pub fn has_full_queue(&self) -> bool {
        self.groups.values().any(|group| group.members().any(|(_, member, _)| member.is_full()))
    }

    /// Forgets groups whose last member left [`RETAINED`] ago, and what was remembered of sockets long gone.
    pub fn prune(&mut self, now: Moment) {
        let is_over = |since: Moment| now.0.saturating_sub(since.0) >= RETAINED;
        while self.empty.first().is_some_and(|(since, _)| is_over(*since)) {
            self.forget_oldest();
        }
        self.left.prune(now);
    }

    /// Makes a socket a member of the group it belongs to now, if any.
    fn place(&mut self, socket: &Arc<Socket>, now: Moment, events: &mut Vec<GroupChange>) {
        let inode = socket.facts.inode;
        let seat = self.seats.get(&inode).copied();
        match (seat, GroupKey::of_member(&socket.facts, seat.is_some())) {
            // The uid is the one it joined with: a later fchown moves no socket.
            (Some(seat), Some(key)) if seat.key.same_but_uid(&key) => {
                if let Some(group) = self.groups.get_mut(&seat.key) {
                    group.renew(seat.slot, socket);
                    self.awaits_reading |= group.awaits_reading();
                }
            }
            _ => {
                self.leave(socket, now, events);
                if let Some(key) = GroupKey::of_member(&socket.facts, false).filter(|_| !socket.is_own()) {
                    self.join(key, socket, now, events);
                }
            }
        }
    }

    fn join(&mut self, key: GroupKey, socket: &Arc<Socket>, now: Moment, events: &mut Vec<GroupChange>) {
        let device = socket.facts.device.as_ref();
        let group = self.groups.entry(key).or_insert_with(|| Group::new(key, device.map(device_name)));
        if let Some(since) = group.empty_since() {
            self.empty.remove(&(since, key));
        }
        let change = group.join(socket, now, self.flows_read);
        self.awaits_reading |= group.awaits_reading();
        self.seats.insert(socket.facts.inode, Seat { key, slot: change.slot });
        events.push(change);
    }

    fn leave(&mut self, socket: &Arc<Socket>, now: Moment, events: &mut Vec<GroupChange>) {
        let inode = socket.facts.inode;
        let Some(seat) = self.seats.remove(&inode) else { return };
        self.left.add(inode, seat, now);
        if let Some(group) = self.groups.get_mut(&seat.key) {
            events.extend(group.leave(seat.slot, socket, now));
            self.awaits_reading |= group.awaits_reading();
            if !group.is_live() {
                self.empty.insert((now, seat.key));
            }
        }
        if self.empty.len() > RETAINED_MAX {
            self.forget_oldest();
        }
    }

    /// Forgets the group that has been empty for longest.
    fn forget_oldest(&mut self) {
        if let Some((_, key)) = self.empty.pop_first() {
            self.groups.remove(&key);
        }
    }
}

fn device_name(device: &Device) -> Arc<str> {
    Arc::clone(&device.name)
}
