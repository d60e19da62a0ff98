//! The signals of the host: those that last, and those that ended.

use std::collections::BTreeMap;

use super::{Case, Kind, Policy, Severity};
use crate::{endpoint::Protocol, event::Moment};

/// What is told of a signal: its begin or its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// When it began or, if it has ended, ended
    pub at: Moment,
    /// The signal as it is then
    pub case: Case,
}

/// Every signal of the host.
#[derive(Debug, Default)]
pub struct Signals {
    policy: Policy,
    active: Vec<Case>,
    ended: Vec<Case>,
    raised: BTreeMap<(Kind, Severity, Protocol), u64>,
    dropped: u64,
}

impl Signals {
    /// The signals that last, in the order in which they began.
    pub fn active(&self) -> impl Iterator<Item = &Case> {
        self.active.iter()
    }

    /// Those that ended at `from` or later, in the order in which they began.
    pub fn ended_since(&self, from: Moment) -> impl Iterator<Item = &Case> {
        self.ended.iter().filter(move |case| case.until.is_some_and(|until| until >= from))
    }

    /// How many that ended were dropped for want of room.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// How many began since the daemon started, without those that were there before it.
    pub fn raised(&self) -> impl Iterator<Item = ((Kind, Severity, Protocol), u64)> {
        self.raised.iter().map(|(labels, count)| (*labels, *count))
    }

    /// Judges by this policy from now on, also what lasts already: at the next look.
    pub fn set_policy(&mut self, policy: Policy) {
        self.policy = policy;
    }
}
