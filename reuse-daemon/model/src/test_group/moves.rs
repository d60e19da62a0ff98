//! Which flows move when a socket joins or leaves a group, as tried on groups of the daemon's own.
//!
//! The kernel keeps the members in an array: a new one is appended, one that leaves is replaced by the last
//! (net/core/sock_reuseport.c, `reuseport_add_sock` and `__reuseport_detach_sock`, Linux 6.18), and a flow goes to the
//! place that its hash, scaled to the number of members, points at. So about half of all flows move at any change, most of
//! them away from members that are still there.

use super::{Probe, TestGroup};
use crate::{
    distribution::{moved_by_join, moved_by_leave},
    event::Moment,
    socket::Cookie,
};

/// What was done between two rounds of probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Cause {
    /// A socket joined
    Join,
    /// One left
    Leave,
}

impl Cause {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Join, Self::Leave];

    /// The label value and JSON word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Join => "join",
            Self::Leave => "leave",
        }
    }
}

/// One flow in one round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowSeen {
    /// Who accepted or received it
    pub member: Cookie,
    /// Who should have, by the kernel's hash and the order of the members; `None` where the hash was not seen
    pub predicted: Option<Cookie>,
}

impl FlowSeen {
    /// What a probe says of its flow, where it arrived. `members`: those of the group in the kernel's order.
    #[must_use]
    pub fn of(probe: &Probe, members: &[Cookie]) -> Option<Self> {
        let at = |place: Option<u32>| members.get(place? as usize).copied();
        Some(Self { member: at(probe.accepted)?, predicted: at(probe.predicted()) })
    }
}

/// Every flow of an experiment, probed once while the members stay the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Round {
    /// The members in the kernel's order
    pub members: Vec<Cookie>,
    /// By flow; `None` for one that was lost
    pub flows: Vec<Option<FlowSeen>>,
}

/// What became of the flows between two rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// What was done, `None`: nothing
    pub cause: Option<Cause>,
    /// Place of the member that joined or left
    pub place: Option<u32>,
    /// Members before
    pub before: u32,
    /// Members after
    pub after: u32,
    /// Flows that arrived both times
    pub tried: u64,
    /// Of these, those that reached another member
    pub moved: u64,
    /// Of these, those that were to do so by the kernel's hash
    pub predicted: u64,
    /// Of these, those that did not go from and to where the hash says, or whose hash is not known
    pub contradicted: u64,
    /// Share of all possible flows that this change moves
    pub expected_share: f64,
}

impl Step {
    /// Compares two rounds over the same flows. `change`: what was done between them, and at which place.
    #[must_use]
    pub fn between(change: Option<(Cause, usize)>, before: &Round, after: &Round) -> Self {
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let mut step = Self {
            cause: change.map(|(cause, _)| cause),
            place: change.map(|(_, place)| number(place)),
            before: number(before.members.len()),
            after: number(after.members.len()),
            tried: 0,
            moved: 0,
            predicted: 0,
            contradicted: 0,
            expected_share: match change {
                None => 0.0,
                Some((Cause::Join, _)) => moved_by_join(before.members.len()).unwrap_or(1.0),
                Some((Cause::Leave, place)) => moved_by_leave(before.members.len(), place).unwrap_or(1.0),
            },
        };
        for pair in before.flows.iter().zip(&after.flows) {
            let (Some(first), Some(second)) = pair else { continue };
            step.tried += 1;
            step.moved += u64::from(first.member != second.member);
            let foreseen = first.predicted.zip(second.predicted);
            step.predicted += u64::from(foreseen.is_some_and(|(from, to)| from != to));
            step.contradicted += u64::from(foreseen != Some((first.member, second.member)));
        }
        step
    }
}

/// The flows of one group through several changes of its members.
#[derive(Clone, Debug, PartialEq)]
pub struct Experiment {
    /// Transport and family
    pub group: TestGroup,
    /// When it began
    pub at: Moment,
    /// One for each change, in order
    pub steps: Vec<Step>,
}

/// What all experiments on one group found. Never goes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MoveTally {
    /// Flows tried across a change
    pub tried: u64,
    /// Of these, those that moved
    pub moved: u64,
    /// Of these, those that were to move by the kernel's hash
    pub predicted: u64,
}

impl MoveTally {
    pub(super) fn add(&mut self, step: &Step) {
        self.tried += step.tried;
        self.moved += step.moved;
        self.predicted += step.predicted;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(cookies: impl IntoIterator<Item = u64>) -> Vec<Cookie> {
        cookies.into_iter().map(Cookie).collect()
    }

    fn flow(member: u64, predicted: Option<u64>) -> Option<FlowSeen> {
        Some(FlowSeen { member: Cookie(member), predicted: predicted.map(Cookie) })
    }

    #[test]
    fn flows_seen_twice_are_compared_one_by_one() {
        let before = Round {
            members: members([1, 2]),
            flows: vec![
                flow(1, Some(1)),
                flow(1, Some(1)),
                flow(2, Some(2)),
                None,
                flow(2, None),
                flow(2, Some(1)),
            ],
        };
        let after = Round {
            members: members([1, 2, 3]),
            flows: vec![
                flow(1, Some(1)),
                flow(2, Some(2)),
                flow(2, Some(3)),
                flow(1, Some(1)),
                flow(2, Some(2)),
                None,
            ],
        };
        let step = Step::between(Some((Cause::Join, 2)), &before, &after);
        assert_eq!((step.tried, step.moved, step.predicted, step.contradicted), (4, 1, 2, 2), "{step:?}");
        assert_eq!((step.before, step.after, step.place, step.cause), (2, 3, Some(2), Some(Cause::Join)));
        assert!((step.expected_share - 0.5).abs() < 1e-12, "{step:?}");
        let still = Step::between(None, &before, &before);
        assert_eq!((still.tried, still.moved, still.cause), (5, 0, None));
        assert!(still.expected_share.abs() < 1e-12, "{still:?}");
    }
}
