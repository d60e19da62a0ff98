//! Whether a TCP member takes what the kernel puts on its accept queue.
//!
//! Nothing tells an accept without being run at each: what was selected for a listener and is not in its queue was accepted.

use crate::event::Moment;

/// Nanoseconds without an accept after which a member with a full queue is stalled.
pub const STALLED_AFTER: u64 = 10_000_000_000;

/// What one socket accepted since it became a member.
#[derive(Clone, Copy, Debug)]
pub(super) struct Accepting {
    selected: u64,
    /// What waited when it became a member
    found: u64,
    accepted: u64,
    /// When it last was seen to accept, or to have room, or was looked at first
    moved: Option<Moment>,
    stalled: bool,
}

impl Accepting {
    /// A listener with `queue` connections waiting.
    pub(super) fn new(queue: u64) -> Self {
        Self { selected: 0, found: queue, accepted: 0, moved: None, stalled: false }
    }

    pub(super) fn select(&mut self, selections: u64) {
        self.selected += selections;
    }

    /// Takes in what waits now, and how many may.
    pub(super) fn look(&mut self, queue: u64, limit: u64, now: Moment) {
        let accepted = (self.selected + self.found).saturating_sub(queue);
        // `sk_acceptq_is_full` lets one more in than the limit says (include/net/sock.h, Linux 6.18).
        let is_full = queue > limit;
        if accepted > self.accepted || !is_full {
            self.moved = Some(now);
        }
        self.accepted = self.accepted.max(accepted);
        let since = *self.moved.get_or_insert(now);
        self.stalled = is_full && now.0.saturating_sub(since.0) >= STALLED_AFTER;
    }

    pub(super) fn accepted(&self) -> u64 {
        self.accepted
    }

    pub(super) fn is_stalled(&self) -> bool {
        self.stalled
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::SECOND;

    #[test]
    fn accepted_is_what_was_selected_and_waits_no_longer() {
        let mut listener = Accepting::new(3);
        listener.select(10);
        listener.look(5, 100, Moment(0));
        assert_eq!(listener.accepted(), 8);
        // Read a moment before the connection that it counts was queued, or after: it never goes back.
        listener.look(7, 100, Moment(1));
        assert_eq!(listener.accepted(), 8);
    }

    #[test]
    fn a_full_queue_alone_is_no_stall_and_neither_is_waiting_with_room() {
        let mut listener = Accepting::new(0);
        let mut look = |selected, queue, seconds: u64| {
            listener.select(selected);
            listener.look(queue, 2, Moment(seconds * SECOND));
            listener.is_stalled()
        };
        assert!(!look(3, 3, 0), "full, and looked at for the first time");
        assert!(!look(0, 3, 9));
        assert!(look(0, 3, 10));
        assert!(!look(1, 3, 11), "one was accepted and the next took its place");
        assert!(!look(0, 3, 20));
        assert!(look(0, 3, 21));
        assert!(!look(0, 2, 22), "there is room again");
        assert!(!look(0, 2, 60), "with room it only idles");
    }
}
