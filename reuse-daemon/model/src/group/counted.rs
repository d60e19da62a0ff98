//! What one slot of a group has counted.

use crate::endpoint::Transport;

/// What a slot counted, all its sockets together. Never goes back while the group lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SlotCounts {
    /// Selections by the kernel
    pub selections: u64,
    /// Flows among them; means something only where `untold` does not grow
    pub flows: u64,
    /// Readings in which flows were not told apart
    pub untold: u64,
    /// Packets dropped at the sockets
    pub drops: u64,
    /// Of these, what the sockets had dropped when they became members
    pub drops_found: u64,
}

impl SlotCounts {
    pub(super) fn add(&mut self, new: Self) {
        self.selections += new.selections;
        self.flows += new.flows;
        self.untold += new.untold;
        self.drops += new.drops;
        self.drops_found += new.drops_found;
    }

    /// What was counted since the slot had `before`.
    pub(super) fn since(self, before: Self) -> Self {
        Self {
            selections: self.selections.saturating_sub(before.selections),
            flows: self.flows.saturating_sub(before.flows),
            untold: self.untold.saturating_sub(before.untold),
            drops: self.drops.saturating_sub(before.drops),
            drops_found: self.drops_found.saturating_sub(before.drops_found),
        }
    }

    /// Of the selections, what came to a queue.
    ///
    /// TCP counts a selection when the connection is queued, UDP also a datagram that a full buffer then refuses. The
    /// kernel has one number for that and for what a socket filter drops, so where there is a filter the result is too
    /// small by its drops.
    #[must_use]
    pub fn deliveries(self, transport: Transport) -> u64 {
        match transport {
            Transport::Tcp => self.selections,
            Transport::Udp => self.selections.saturating_sub(self.drops - self.drops_found.min(self.drops)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_buffers_drops_were_selections_but_not_what_was_dropped_before() {
        let counts = SlotCounts { selections: 100, drops: 37, drops_found: 30, ..SlotCounts::default() };
        assert_eq!(counts.deliveries(Transport::Udp), 93);
        assert_eq!(counts.deliveries(Transport::Tcp), 100, "a listener drops what it never selected");
    }
}
