//! One group: who sits in which slot, and what each has counted.

use std::{cmp::Reverse, collections::BinaryHeap, sync::Arc};

use super::{
    ClosedWindow, FlowMemory, GroupChange, GroupChangeKind, GroupKey, Member, Pick, SlotCounts,
    windows::Windows,
};
use crate::{
    distribution::{moved_by_join, moved_by_leave},
    event::Moment,
    inventory::Socket,
};

#[derive(Clone, Debug, Default)]
pub(super) struct Slot {
    pub(super) member: Option<Member>,
    pub(super) counts: SlotCounts,
}

/// One SO_REUSEPORT group.
#[derive(Clone, Debug)]
pub struct Group {
    key: GroupKey,
    device: Option<Arc<str>>,
    pub(super) slots: Vec<Slot>,
    free: BinaryHeap<Reverse<u32>>,
    members: usize,
    empty_since: Option<Moment>,
    pub(super) pick: Option<Pick>,
    pub(super) first_pick: Option<Pick>,
    pub(super) windows: Windows,
}

impl Group {
    pub(super) fn new(key: GroupKey, device: Option<Arc<str>>) -> Self {
        Self {
            key,
            device,
            slots: Vec::new(),
            free: BinaryHeap::new(),
            members: 0,
            empty_since: None,
            pick: None,
            first_pick: None,
            windows: Windows::default(),
        }
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

    /// How the kernel picks a member, `None` where that was not read.
    #[must_use]
    pub fn pick(&self) -> Option<Pick> {
        self.pick
    }

    /// How the kernel picked one when that was read first.
    #[must_use]
    pub fn first_pick(&self) -> Option<Pick> {
        self.first_pick
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

    /// The last closed windows under the selector in force, at most two, the older one first.
    pub fn closed_windows(&self) -> impl DoubleEndedIterator<Item = &ClosedWindow> {
        self.windows.closed()
    }

    /// Gives a socket the lowest free slot. `memory`: of flows, at the last reading.
    pub(super) fn join(
        &mut self,
        socket: &Arc<Socket>,
        now: Moment,
        memory: Option<FlowMemory>,
    ) -> GroupChange {
        self.end_window();
        let facts = socket.facts.group;
        if let Some(facts) = &facts {
            self.learn(Pick::of(facts));
        }
        let moved = self.moved(moved_by_join(self.members));
        // The kernel appends. Where the bind was not seen, others may have been before it.
        let appended = socket.since.and_then(|_| u32::try_from(self.members).ok());
        let index = facts.and_then(|facts| facts.index).or(appended);
        let slot = self.free.pop().map_or_else(|| self.add_slot(), |Reverse(slot)| slot);
        if let Some(taken) = self.slot_mut(slot) {
            taken.member = Some(Member::new(socket, index, &mut taken.counts));
        }
        if self.members == 0 {
            self.windows.open(now);
        }
        self.members += 1;
        self.empty_since = None;
        if self.windows.is_starting(now) {
            self.begin_window(now, memory);
        }
        self.change(GroupChangeKind::Join, slot, moved, socket)
    }

    /// Takes the newest version of a member.
    pub(super) fn renew(&mut self, slot: u32, socket: &Arc<Socket>) {
        let Some(Slot { member: Some(member), counts }) = self.slot_mut(slot) else { return };
        if let Some(facts) = member.renew(socket, counts) {
            self.learn(Pick::of(&facts));
        }
    }

    /// Takes a member out.
    pub(super) fn leave(&mut self, slot: u32, socket: &Arc<Socket>, now: Moment) -> Option<GroupChange> {
        self.end_window();
        let Slot { member, counts } = self.slot_mut(slot)?;
        let mut member = member.take()?;
        member.drop_up_to(socket.facts.drops, counts);
        // A socket that got connected stays in the kernel's array until 6.13, and the hash passes it over.
        let is_connected = socket.facts.group.is_some_and(|group| group.has_connected);
        let index = member.index.filter(|_| !is_connected);
        let moved = index.and_then(|index| moved_by_leave(self.members, index as usize));
        let moved = self.moved(moved);
        if let Some(index) = member.index {
            self.fill(index);
        }
        self.free.push(Reverse(slot));
        self.members -= 1;
        if self.members == 0 {
            self.empty_since = Some(now);
        }
        Some(self.change(GroupChangeKind::Leave, slot, moved, socket))
    }

    /// Moves the last member of the kernel's array to the place that became free, unless that was read already.
    fn fill(&mut self, index: u32) {
        let last = u32::try_from(self.members).unwrap_or(u32::MAX).saturating_sub(1);
        let mut members = self.slots.iter_mut().filter_map(|slot| slot.member.as_mut());
        if let Some(moved) = members.find(|member| member.index == Some(last)) {
            moved.index = Some(index);
        }
    }

    /// The share, if the hash alone decides and that is known.
    fn moved(&self, share: Option<f64>) -> Option<f64> {
        share.filter(|_| self.pick.is_some_and(Pick::is_by_hash_alone))
    }

    fn change(
        &self,
        kind: GroupChangeKind,
        slot: u32,
        moved_share: Option<f64>,
        socket: &Arc<Socket>,
    ) -> GroupChange {
        GroupChange {
            kind,
            key: self.key,
            device: self.device.clone(),
            slot,
            members: self.members,
            moved_share,
            socket: Arc::clone(socket),
        }
    }

    /// A new slot; the kernel bounds a group at 65,535 members, so the number fits.
    fn add_slot(&mut self) -> u32 {
        let slot = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
        self.slots.push(Slot::default());
        slot
    }

    pub(super) fn slot_mut(&mut self, slot: u32) -> Option<&mut Slot> {
        self.slots.get_mut(slot as usize)
    }
}
