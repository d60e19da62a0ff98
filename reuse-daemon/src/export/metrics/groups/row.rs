//! The values of one member, or of several that share a label set.

use std::sync::Arc;

use reuse_model::group::{Member, SlotCounts};

/// The values of one label set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) counts: SlotCounts,
    /// `None` while no socket is there
    pub(super) now: Option<Now>,
}

/// What a socket is at the moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Now {
    pub(super) queue: u64,
    pub(super) queue_limit: u64,
    /// `None` where the row stands for several sockets
    pub(super) service: Option<Arc<str>>,
}

impl Row {
    /// The row of one slot.
    pub(super) fn new(member: Option<&Member>, counts: SlotCounts) -> Self {
        let now = member.map(|member| Now {
            queue: member.queue,
            queue_limit: member.queue_limit,
            service: member.socket.owners.first().map(|owner| Arc::clone(&owner.process.service)),
        });
        Self { counts, now }
    }

    /// Adds another slot to the row.
    pub(super) fn add(&mut self, member: Option<&Member>, counts: SlotCounts) {
        self.counts.selections += counts.selections;
        self.counts.drops += counts.drops;
        self.add_gauges(member);
    }

    /// Adds another slot, but what it counted.
    pub(super) fn add_gauges(&mut self, member: Option<&Member>) {
        if let Some(member) = member {
            let now = self.now.get_or_insert_default();
            now.queue += member.queue;
            now.queue_limit += member.queue_limit;
        }
    }
}
