//! Counts of what was asked for and what was refused, ready to be exported as counters.

mod conflicts;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

pub use conflicts::{ConflictKey, ConflictTally, Conflicts, HOLDER_UNKNOWN, OTHER, PortLabel};

use crate::{
    conflict::Conflict,
    endpoint::{Family, Protocol},
    event::{Call, Phase},
    refusal::{RefusedPhase, Rule, result_name},
};

/// Labels of `bind_attempts_total` and `listen_attempts_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Attempt {
    /// Which of the two families
    pub phase: Phase,
    /// Family of the socket
    pub family: Family,
    /// Protocol of the socket
    pub protocol: Protocol,
    /// `success` or the errno's name
    pub result: &'static str,
}

/// Labels of `bind_refusals_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RefusalLabels {
    /// Protocol of the socket
    pub protocol: Protocol,
    /// In what
    pub phase: RefusedPhase,
    /// The errno's name
    pub errno: &'static str,
    /// The rule that refused
    pub rule: Rule,
}

/// Every count of calls since the daemon started.
///
/// All label sets but that of the conflicts are small by construction: errno and rule are names from fixed tables.
#[derive(Debug)]
pub struct Tally {
    attempts: HashMap<Attempt, u64>,
    refusals: HashMap<RefusalLabels, u64>,
    explained: HashMap<&'static str, u64>,
    conflicts: Conflicts,
}

impl Tally {
    /// An empty tally that keeps at most `max_conflicts` label sets of `port_conflicts_total` apart.
    #[must_use]
    pub fn new(max_conflicts: usize) -> Self {
        Self {
            attempts: HashMap::new(),
            refusals: HashMap::new(),
            explained: HashMap::new(),
            conflicts: Conflicts::new(max_conflicts),
        }
    }

    /// Counts a call that asks for a port or to listen explicitly, however it ended.
    pub fn call(&mut self, call: &Call) {
        if !matches!(call.phase, Phase::Bind | Phase::Listen) {
            return;
        }
        let result = result_name(call.errno);
        let attempt = Attempt { phase: call.phase, family: call.family(), protocol: call.protocol(), result };
        *self.attempts.entry(attempt).or_default() += 1;
    }

    /// Counts a refusal, besides its call.
    pub fn refusal(&mut self, conflict: &Conflict) {
        let Conflict { call, refusal, .. } = conflict;
        let labels = RefusalLabels {
            protocol: call.protocol(),
            phase: RefusedPhase::of(call),
            errno: result_name(call.errno),
            rule: refusal.rule,
        };
        *self.refusals.entry(labels).or_default() += 1;
        *self.explained.entry(refusal.explained()).or_default() += 1;
        if let Some(holder) = conflict.principal() {
            self.conflicts.count(conflict, holder);
        }
    }

    /// `bind_attempts_total` and `listen_attempts_total`, in no order.
    pub fn attempts(&self) -> impl Iterator<Item = (&Attempt, u64)> {
        self.attempts.iter().map(|(labels, count)| (labels, *count))
    }

    /// `bind_refusals_total`, in no order.
    pub fn refusals(&self) -> impl Iterator<Item = (&RefusalLabels, u64)> {
        self.refusals.iter().map(|(labels, count)| (labels, *count))
    }

    /// `daemon_explained_total` of a `result`: `exact`, `best_evidence` or `unknown`.
    #[must_use]
    pub fn explained(&self, result: &str) -> u64 {
        self.explained.get(result).copied().unwrap_or(0)
    }

    /// `port_conflicts_total` and `port_conflict_last_timestamp_seconds`.
    #[must_use]
    pub fn conflicts(&self) -> &Conflicts {
        &self.conflicts
    }
}

impl Call {
    /// Protocol of the socket, [`Protocol::Other`] where there is none or it is of another family.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.socket.as_ref().map_or(Protocol::Other, |socket| socket.protocol)
    }

    /// Family of the socket, [`Family::Other`] where there is none or it is neither IPv4 nor IPv6.
    #[must_use]
    pub fn family(&self) -> Family {
        self.socket.as_ref().map_or(Family::Other, |socket| socket.family)
    }
}
