//! The test group's three answers for each probe: the member the hash predicts, the one the kernel delivered to, the
//! one that accepted or received. They must agree.

use std::collections::{BTreeMap, VecDeque};

use crate::{
    distribution::{Uniformity, uniformity},
    endpoint::{Family, Transport},
    event::Moment,
};

/// Most mismatches that are remembered.
pub const MISMATCHES_MAX: usize = 100;

/// Nanoseconds after which a window of the uniformity test ends.
pub const WINDOW: u64 = 600_000_000_000;

/// One of the groups: there is one for each transport and family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TestGroup {
    /// Transport of its sockets
    pub transport: Transport,
    /// Family of its sockets
    pub family: Family,
}

/// What is known of one probe once it is answered or given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The group it was sent to
    pub group: TestGroup,
    /// When it was sent
    pub at: Moment,
    /// Source port of the probe
    pub source_port: u16,
    /// Members of the group then
    pub members: u32,
    /// Hash the kernel computed, `None` where the program that tells it did not see the probe
    pub hash: Option<u32>,
    /// Member the kernel selected
    pub delivered: Option<u32>,
    /// Member whose socket accepted or received it
    pub accepted: Option<u32>,
    /// From sending to receipt, nanoseconds
    pub took: Option<u64>,
}

impl Probe {
    /// The member that the hash selects: `reciprocal_scale` of Linux 5.15 to 6.19.
    #[must_use]
    pub fn predicted(&self) -> Option<u32> {
        // The product shifted is below `members`, so it fits.
        self.hash.map(|hash| ((u64::from(hash) * u64::from(self.members)) >> 32) as u32)
    }

    /// Whether the three answers agree.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match (self.predicted(), self.delivered, self.accepted) {
            (Some(predicted), Some(delivered), Some(accepted)) => {
                if predicted == delivered && delivered == accepted {
                    Outcome::Match
                } else {
                    Outcome::Mismatch
                }
            }
            // Two answers that contradict each other are a mismatch whatever the third is.
            (Some(one), Some(other), None)
            | (Some(one), None, Some(other))
            | (None, Some(one), Some(other))
                if one != other =>
            {
                Outcome::Mismatch
            }
            _ => Outcome::Lost,
        }
    }
}

/// How a probe ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// All three answers are the same
    Match,
    /// Two answers differ
    Mismatch,
    /// An answer is missing and those there are agree
    Lost,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 3] = [Self::Match, Self::Mismatch, Self::Lost];

    /// The label value and JSON word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Match => "match",
            Self::Mismatch => "mismatch",
            Self::Lost => "lost",
        }
    }
}

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
    /// Flows that the kernel delivered to each member in the running window
    flows: Vec<u64>,
    window_began: Option<Moment>,
}

impl GroupTally {
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
    pub fn announce(&mut self, group: TestGroup, members: u32) {
        let tally = self.tallies.entry(group).or_default();
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

    /// Every group, in order.
    pub fn iter(&self) -> impl Iterator<Item = (TestGroup, &GroupTally)> {
        self.tallies.iter().map(|(group, tally)| (*group, tally))
    }

    /// The last mismatches, oldest first.
    pub fn mismatches(&self) -> impl Iterator<Item = &Probe> {
        self.mismatches.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUP: TestGroup = TestGroup { transport: Transport::Udp, family: Family::Ipv4 };

    fn probe(hash: Option<u32>, delivered: Option<u32>, accepted: Option<u32>) -> Probe {
        let (at, source_port, took) = (Moment(0), 40_000, Some(1_000));
        Probe { group: GROUP, at, source_port, members: 4, hash, delivered, accepted, took }
    }

    #[test]
    fn the_hash_is_scaled_to_the_members() {
        for (hash, slot) in [(0, 0), (0x3fff_ffff, 0), (0x4000_0000, 1), (0xbfff_ffff, 2), (u32::MAX, 3)] {
            assert_eq!(probe(Some(hash), None, None).predicted(), Some(slot), "{hash:#x}");
        }
        assert_eq!(Probe { members: 3, ..probe(Some(u32::MAX), None, None) }.predicted(), Some(2));
    }

    #[test]
    fn answers_agree_differ_or_are_missing() {
        let second = Some(0x4000_0000);
        for (delivered, accepted, outcome) in [
            (Some(1), Some(1), Outcome::Match),
            (Some(1), Some(2), Outcome::Mismatch),
            (Some(2), Some(2), Outcome::Mismatch),
            (Some(2), None, Outcome::Mismatch),
            (None, Some(2), Outcome::Mismatch),
            (Some(1), None, Outcome::Lost),
            (None, None, Outcome::Lost),
        ] {
            assert_eq!(probe(second, delivered, accepted).outcome(), outcome, "{delivered:?} {accepted:?}");
        }
        assert_eq!(probe(None, Some(1), Some(2)).outcome(), Outcome::Mismatch);
        assert_eq!(probe(None, Some(1), Some(1)).outcome(), Outcome::Lost);
    }

    #[test]
    fn tallies_are_by_outcome_and_by_member() {
        let mut groups = TestGroups::default();
        groups.announce(GROUP, 4);
        assert_eq!(groups.record(&probe(Some(0), Some(0), Some(0))), Outcome::Match);
        groups.record(&probe(Some(0), Some(3), Some(3)));
        groups.record(&probe(Some(0), Some(9), None));
        let (_, tally) = groups.iter().next().expect("announced");
        assert_eq!(Outcome::ALL.map(|outcome| tally.outcome(outcome)), [1, 2, 0]);
        let member = |predicted, delivered, accepted| MemberTally { predicted, delivered, accepted };
        assert_eq!(tally.members(), [member(3, 1, 1), member(0, 0, 0), member(0, 0, 0), member(0, 1, 1)]);
        assert_eq!(groups.mismatches().count(), 2);
        for _ in 0..2 * MISMATCHES_MAX {
            groups.record(&probe(Some(0), Some(1), Some(1)));
        }
        assert_eq!(groups.mismatches().count(), MISMATCHES_MAX);
    }

    #[test]
    fn a_window_ends_at_a_change_of_members_and_when_it_is_full() {
        let mut tally = GroupTally::default();
        let send = |tally: &mut GroupTally, at, members| {
            tally.record(&Probe { at: Moment(at), members, ..probe(Some(0), Some(0), Some(0)) });
            tally.flows().iter().sum::<u64>()
        };
        assert_eq!([send(&mut tally, 5, 4), send(&mut tally, 6, 4)], [1, 2]);
        assert_eq!(tally.uniformity(), None, "too few");
        assert_eq!(send(&mut tally, 7, 3), 1);
        for flows in 2..=15 {
            assert_eq!(send(&mut tally, 7 + WINDOW - 1, 3), flows);
        }
        assert_eq!(tally.uniformity().map(|seen| seen.flows), Some(15));
        assert_eq!(send(&mut tally, 7 + WINDOW, 3), 1);
    }
}
