//! How the kernel's counts for each socket become the slots' counters.

use std::collections::VecDeque;

use crate::{
    event::{Counter, MemberCount, Moment},
    hash::NumberMap,
    socket::Inode,
};

use super::{Groups, RETAINED, Seat};

/// Most sockets remembered after they left a group.
const LEFT_MAX: usize = 65_536;

/// What of a counter a slot has already.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counted {
    selections: u64,
    /// Where the socket sat last
    seat: Seat,
}

impl Groups {
    /// Takes in counts of sockets, all or some.
    ///
    /// Counts are totals of each counter since the daemon started; what is new since the last reading goes to the slot
    /// the socket sits in, or sat in last. A socket that is no member yet keeps its total until it is one, and one that
    /// got its cookie while it was counted has two that go to one slot. A reading need not be whole: a counter that it
    /// lacks is as it was.
    pub fn count(&mut self, counts: &[MemberCount]) {
        for count in counts {
            self.settle(count);
        }
    }

    /// Forgets a counter whose last count was taken in: the kernel's map forgets it too, and would begin at 0. Whether
    /// any slot had its count; if not, nobody has.
    pub fn forget(&mut self, counter: Counter) -> bool {
        self.counted.remove(&counter).is_some()
    }

    fn settle(&mut self, count: &MemberCount) {
        let known = self.counted.get(&count.counter).copied();
        let seated = self.seats.get(&count.inode).copied();
        let Some(seat) = seated.or(known.map(|counted| counted.seat)).or_else(|| self.left.seat(count.inode))
        else {
            return;
        };
        let before = known.map_or(0, |counted| counted.selections);
        // A smaller total was counted from 0: the kernel's map had evicted the socket.
        let new = count.selections.checked_sub(before).unwrap_or(count.selections);
        let counted = Counted { selections: count.selections, seat };
        self.counted.insert(count.counter, counted);
        if let Some(group) = self.groups.get_mut(&seat.key) {
            group.select(seat.slot, new);
            if let Some(gauges) = count.live.as_ref().filter(|_| seated.is_some()) {
                group.gauge(seat.slot, gauges);
            }
        }
    }
}

/// Where the sockets sat that left their group lately: their last selections are often read after they closed.
#[derive(Debug, Default)]
pub(super) struct Left {
    seats: NumberMap<Inode, (Seat, Moment)>,
    order: VecDeque<(Inode, Moment)>,
}

impl Left {
    pub(super) fn add(&mut self, inode: Inode, seat: Seat, at: Moment) {
        self.seats.insert(inode, (seat, at));
        self.order.push_back((inode, at));
        if self.order.len() > LEFT_MAX {
            self.forget_oldest();
        }
    }

    pub(super) fn prune(&mut self, now: Moment) {
        while self.order.front().is_some_and(|(_, at)| now.0.saturating_sub(at.0) >= RETAINED) {
            self.forget_oldest();
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.seats.is_empty() && self.order.is_empty()
    }

    fn seat(&self, inode: Inode) -> Option<Seat> {
        self.seats.get(&inode).map(|(seat, _)| *seat)
    }

    fn forget_oldest(&mut self) {
        let Some((inode, at)) = self.order.pop_front() else { return };
        // It may have left once more since.
        if self.seats.get(&inode).is_some_and(|(_, last)| *last == at) {
            self.seats.remove(&inode);
        }
    }
}
