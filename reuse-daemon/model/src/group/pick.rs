//! How the kernel picks a member of a group.

use crate::socket::{GroupFacts, Selector};

/// What decides who gets a flow, as the kernel said last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pick {
    /// The selector in force
    pub selector: Selector,
    /// As [`GroupFacts::has_connected`]
    pub has_connected: bool,
}

impl Pick {
    pub(super) fn of(facts: &GroupFacts) -> Self {
        Self { selector: facts.selector, has_connected: facts.has_connected }
    }

    /// Whether the hash alone decides, over all members alike.
    #[must_use]
    pub fn is_by_hash_alone(self) -> bool {
        self.selector == Selector::Hash && !self.has_connected
    }
}
