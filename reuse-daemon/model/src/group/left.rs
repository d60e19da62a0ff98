//! Where the sockets sat that left their group lately: their last selections are often read after they closed.

use std::collections::VecDeque;

use super::{RETAINED, Seat};
use crate::{event::Moment, hash::NumberMap, socket::Inode};

/// Most sockets remembered after they left a group.
const LEFT_MAX: usize = 65_536;

/// Sockets that left, the earliest first.
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

    pub(super) fn seat(&self, inode: Inode) -> Option<Seat> {
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
