//! What a snapshot had to put right, and the doubt about it while the event may still come.

use crate::{event::Moment, hash::NumberMap, socket::Inode};

use super::Change;

/// Nanoseconds within which the event of a call explains what a snapshot saw of it first.
pub const EXPLAINED_WITHIN: u64 = 1_000_000_000;

/// What a snapshot knew better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Correction {
    /// A socket was bound by a call of which no event came
    MissedBind,
    /// A UDP socket holds a port of the ephemeral range and nothing says that a call bound it: most often the first
    /// datagram or a `connect` did. A missed `bind` to port 0 looks the same.
    ImplicitBind,
    /// A socket is gone of which no close came
    MissedClose,
    /// Another process has the socket open: fork, SCM_RIGHTS, `pidfd_getfd`; no event tells of these
    OwnerAdded,
    /// A process no longer has the socket open, which no event tells of either
    OwnerRemoved,
    /// State or address differ: `connect`, `shutdown`, or a missed `listen`
    StateChanged,
    /// The hooks of the root cgroup counted a successful bind of which no event came ([`crate::cross_check`])
    UnseenBind,
}

impl Correction {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::MissedBind,
        Self::ImplicitBind,
        Self::MissedClose,
        Self::OwnerAdded,
        Self::OwnerRemoved,
        Self::StateChanged,
        Self::UnseenBind,
    ];

    /// The label value.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MissedBind => "missed_bind",
            Self::ImplicitBind => "implicit_bind",
            Self::MissedClose => "missed_close",
            Self::OwnerAdded => "owner_added",
            Self::OwnerRemoved => "owner_removed",
            Self::StateChanged => "state_changed",
            Self::UnseenBind => "unseen_bind",
        }
    }
}

/// Result of a reconciliation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Corrections {
    /// What was put right beyond doubt, one entry for each case; the rest comes from [`super::Inventory::confirm`]
    pub kinds: Vec<Correction>,
    /// What changed, for what is derived from the inventory
    pub changes: Vec<Change>,
}

/// Corrections of which the event may still come.
#[derive(Debug, Default)]
pub(super) struct Doubts(NumberMap<Inode, (Correction, Moment)>);

impl Doubts {
    /// A snapshot that ended at `at` found something new of a socket.
    pub(super) fn raise(&mut self, inode: Inode, kind: Correction, at: Moment) {
        self.0.entry(inode).or_insert((kind, at));
    }

    /// A call of the socket was reported.
    pub(super) fn settle(&mut self, inode: Inode) {
        // Nearly always there is no doubt at all: no look-up then.
        if !self.0.is_empty() {
            self.0.remove(&inode);
        }
    }

    /// Takes out what is older than [`EXPLAINED_WITHIN`].
    pub(super) fn confirm(&mut self, now: Moment) -> Vec<Correction> {
        let is_due = |raised: Moment| now.0.saturating_sub(raised.0) >= EXPLAINED_WITHIN;
        self.0.extract_if(|_, (_, raised)| is_due(*raised)).map(|(_, (kind, _))| kind).collect()
    }
}
