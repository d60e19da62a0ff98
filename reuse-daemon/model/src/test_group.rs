//! The test group's three answers for each probe: the member the hash predicts, the one the kernel delivered to, the
//! one that accepted or received. They must agree.

mod evenness;
mod moves;
mod probe;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};

pub use evenness::Evenness;
pub use moves::{Cause, Experiment, FlowSeen, MoveTally, Round, Step};
pub use probe::{Outcome, Probe, TestGroup};

use crate::{
    distribution::{Uniformity, uniformity},
    endpoint::Endpoint,
    event::Moment,
};

/// Most mismatches that are remembered.
pub const MISMATCHES_MAX: usize = 100;

/// Nanoseconds after which a window of the uniformity test ends.
pub const WINDOW: u64 = 600_000_000_000;

/// Probes of one member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemberTally {
    /// The hash predicted it
    pub predicted: u64,
    /// The kernel selected it
    pub delivered: u64,
    /// It accepted or received
    pub accepted: u64,
}

/// Probes of one group.
#[derive(Clone, Debug, Default)]
pub struct GroupTally {
    /// By outcome, in the order of [`Outcome::ALL`]
    outcomes: [u64; 3],
    members: Vec<MemberTally>,
    local: Option<Endpoint>,
    /// Flows that the kernel delivered to each member in the running window
    flows: Vec<u64>,
    window_began: Option<Moment>,
    /// What experiments found, by cause in the order of [`Cause::ALL`]
    moves: [MoveTally; 2],
    /// Flows that were probed again while no member changed
    again: MoveTally,
    experiment: Option<Experiment>,
}

impl GroupTally {
    /// Where the group listens, once it was announced.
    #[must_use]
    pub fn local(&self) -> Option<Endpoint> {
        self.local
    }

    /// Probes that ended so.
    #[must_use]
    pub fn outcome(&self, outcome: Outcome) -> u64 {
        self.outcomes[outcome as usize]
    }

    /// By slot.
    #[must_use]
    pub fn members(&self) -> &[MemberTally] {
        &self.members
    }

    /// Flows of each member in the running window.
    #[must_use]
    pub fn flows(&self) -> &[u64] {
        &self.flows
    }

    /// The chi-square test over the running window, `None` while it holds too few flows.
    #[must_use]
    pub fn uniformity(&self) -> Option<Uniformity> {
        uniformity(&self.flows)
    }

    /// What became of the flows that were tried across such a change.
    #[must_use]
    pub fn moves(&self, cause: Cause) -> MoveTally {
        self.moves[cause as usize]
    }

    /// What became of flows that were probed again while no member changed: none is to move.
    #[must_use]
    pub fn again(&self) -> MoveTally {
        self.again
    }

    /// The latest experiment.
    #[must_use]
    pub fn experiment(&self) -> Option<&Experiment> {
        self.experiment.as_ref()
    }

    fn record(&mut self, probe: &Probe) {
        self.outcomes[probe.outcome() as usize] += 1;
        let members = probe.members as usize;
        if self.members.len() < members {
            self.members.resize(members, MemberTally::default());
        }
        self.turn_window(probe.at, members);
        let mut count = |slot: Option<u32>, field: fn(&mut MemberTally) -> &mut u64| {
            if let Some(tally) = slot.and_then(|slot| self.members.get_mut(slot as usize)) {
                *field(tally) += 1;
            }
        };
        count(probe.predicted(), |tally| &mut tally.predicted);
        count(probe.delivered, |tally| &mut tally.delivered);
        count(probe.accepted, |tally| &mut tally.accepted);
        if let Some(flows) = probe.delivered.and_then(|slot| self.flows.get_mut(slot as usize)) {
            *flows += 1;
        }
    }

    /// Ends the window at a change of members and when it is full.
    fn turn_window(&mut self, now: Moment, members: usize) {
        let full = self.window_began.is_none_or(|began| now.0.saturating_sub(began.0) >= WINDOW);
        if full || self.flows.len() != members {
            self.flows = vec![0; members];
            self.window_began = Some(now);
        }
    }
}

/// Every probe since the daemon started.
#[derive(Debug, Default)]
pub struct TestGroups {
    tallies: BTreeMap<TestGroup, GroupTally>,
    mismatches: VecDeque<Probe>,
}

impl TestGroups {
    /// Names a group that exists, so that its counts start at 0.
    pub fn announce(&mut self, group: TestGroup, local: Endpoint, members: u32) {
        let tally = self.tallies.entry(group).or_default();
        tally.local = Some(local);
        if tally.members.len() < members as usize {
            tally.members.resize(members as usize, MemberTally::default());
        }
    }

    /// Counts a probe and says how it ended.
    pub fn record(&mut self, probe: &Probe) -> Outcome {
        self.tallies.entry(probe.group).or_default().record(probe);
        let outcome = probe.outcome();
        if outcome == Outcome::Mismatch {
            if self.mismatches.len() == MISMATCHES_MAX {
                self.mismatches.pop_front();
            }
            self.mismatches.push_back(*probe);
        }
        outcome
    }

    /// Counts what became of the flows of an experiment.
    pub fn record_experiment(&mut self, experiment: Experiment) {
        let tally = self.tallies.entry(experiment.group).or_default();
        for step in &experiment.steps {
            match step.cause {
                Some(cause) => tally.moves[cause as usize].add(step),
                None => tally.again.add(step),
            }
        }
        tally.experiment = Some(experiment);
    }

    /// Every group, in order.
    pub fn iter(&self) -> impl Iterator<Item = (TestGroup, &GroupTally)> {
        self.tallies.iter().map(|(group, tally)| (*group, tally))
    }

    /// The last mismatches, oldest first.
    pub fn mismatches(&self) -> impl Iterator<Item = &Probe> {
        self.mismatches.iter()
    }
}
