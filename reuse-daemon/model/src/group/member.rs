//! The slots of one group: who sits in which, and what each has counted.

use std::{cmp::Reverse, collections::BinaryHeap, sync::Arc};

use crate::{
    event::{MemberGauges, Moment},
    inventory::Socket,
    socket::SocketFacts,
};

use super::{GroupChange, GroupChangeKind, GroupKey};

/// What a slot counted, all its sockets together. Never goes back while the group lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SlotCounts {
    /// Selections by the kernel
    pub selections: u64,
    /// Packets dropped at the sockets
    pub drops: u64,
}

/// A socket that is a member now.
#[derive(Clone, Debug)]
pub struct Member {
    /// The socket
    pub socket: Arc<Socket>,
    /// As [`crate::socket::SocketFacts::queue`]
    pub queue: u64,
    /// As [`crate::socket::SocketFacts::queue_limit`]
    pub queue_limit: u64,
    /// Drops of this socket that its slot has counted
    drops: u64,
}

impl Member {
    /// Adds what the socket dropped since the last time to its slot. Less than before is an older reading: a socket's
    /// drops only grow.
    fn drop_up_to(&mut self, drops: u64, counts: &mut SlotCounts) {
        counts.drops += drops.saturating_sub(self.drops);
        self.drops = self.drops.max(drops);
    }
}

#[derive(Clone, Debug, Default)]
struct Slot {
    member: Option<Member>,
    counts: SlotCounts,
}

/// One SO_REUSEPORT group.
#[derive(Clone, Debug)]
pub struct Group {
    key: GroupKey,
    device: Option<Arc<str>>,
    slots: Vec<Slot>,
    free: BinaryHeap<Reverse<u32>>,
    members: usize,
    empty_since: Option<Moment>,
}

impl Group {
    pub(super) fn new(key: GroupKey, device: Option<Arc<str>>) -> Self {
        Self { key, device, slots: Vec::new(), free: BinaryHeap::new(), members: 0, empty_since: None }
    }

    /// Its identity.
    #[must_use]
    pub fn key(&self) -> &GroupKey {
        &self.key
    }

    /// Name of the device it is bound to.
    #[must_use]
    pub fn device(&self) -> Option<&Arc<str>> {
        self.device.as_ref()
    }

    /// Members now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.members
    }

    /// Whether the last member has left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members == 0
    }

    /// Whether it has a member.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.members > 0
    }

    /// When the last member left, `None` while there is one.
    #[must_use]
    pub fn empty_since(&self) -> Option<Moment> {
        self.empty_since
    }

    /// Every slot that was ever taken: its number, its member if it has one now, and what it counted.
    pub fn slots(&self) -> impl Iterator<Item = (u32, Option<&Member>, SlotCounts)> {
        (0..).zip(&self.slots).map(|(number, slot)| (number, slot.member.as_ref(), slot.counts))
    }

    /// The members by slot.
    pub fn members(&self) -> impl Iterator<Item = (u32, &Member, SlotCounts)> {
        self.slots().filter_map(|(number, member, counts)| member.map(|member| (number, member, counts)))
    }

    /// Gives a socket the lowest free slot.
    pub(super) fn join(&mut self, socket: &Arc<Socket>) -> u32 {
        let slot = self.free.pop().map_or_else(|| self.add_slot(), |Reverse(slot)| slot);
        if let Some(taken) = self.slot_mut(slot) {
            taken.member = Some(Member { socket: Arc::clone(socket), queue: 0, queue_limit: 0, drops: 0 });
        }
        self.members += 1;
        self.empty_since = None;
        self.renew(slot, socket);
        slot
    }

    /// Takes the newest version of a member.
    pub(super) fn renew(&mut self, slot: u32, socket: &Arc<Socket>) {
        let SocketFacts { drops, queue, queue_limit, group, .. } = socket.facts;
        if let Some(member) = self.slot_mut(slot).and_then(|slot| slot.member.as_mut()) {
            member.socket = Arc::clone(socket);
        }
        self.gauge(slot, &MemberGauges { drops, queue, queue_limit, group });
    }

    /// Adds selections to a slot.
    pub(super) fn select(&mut self, slot: u32, selections: u64) {
        if let Some(slot) = self.slot_mut(slot) {
            slot.counts.selections += selections;
        }
    }

    /// Takes in what a member's socket says of itself.
    pub(super) fn gauge(&mut self, slot: u32, gauges: &MemberGauges) {
        let Some(Slot { member: Some(member), counts }) = self.slot_mut(slot) else { return };
        (member.queue, member.queue_limit) = (gauges.queue, gauges.queue_limit);
        member.drop_up_to(gauges.drops, counts);
    }

    /// Takes in the drops of a member that leaves.
    pub(super) fn last_drops(&mut self, slot: u32, drops: u64) {
        if let Some(Slot { member: Some(member), counts }) = self.slot_mut(slot) {
            member.drop_up_to(drops, counts);
        }
    }

    pub(super) fn leave(&mut self, slot: u32, now: Moment) {
        if self.slot_mut(slot).and_then(|slot| slot.member.take()).is_some() {
            self.free.push(Reverse(slot));
            self.members -= 1;
            if self.members == 0 {
                self.empty_since = Some(now);
            }
        }
    }

    pub(super) fn change(&self, kind: GroupChangeKind, slot: u32, socket: &Arc<Socket>) -> GroupChange {
        GroupChange {
            kind,
            key: self.key,
            device: self.device.clone(),
            slot,
            members: self.members,
            moved_share: None,
            socket: Arc::clone(socket),
        }
    }

    /// A new slot; the kernel bounds a group at 65,535 members, so the number fits.
    fn add_slot(&mut self) -> u32 {
        let slot = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
        self.slots.push(Slot::default());
        slot
    }

    fn slot_mut(&mut self, slot: u32) -> Option<&mut Slot> {
        self.slots.get_mut(slot as usize)
    }
}
