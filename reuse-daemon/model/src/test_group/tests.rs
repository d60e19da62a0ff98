//! Outcomes, tallies and windows.

use super::*;
use crate::{
    endpoint::{Family, Transport},
    fixtures::loopback,
};

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
    groups.announce(GROUP, loopback(7), 4);
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
