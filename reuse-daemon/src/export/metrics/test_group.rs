//! The test group: its probes, and which member they were predicted for, delivered to and accepted by.

use prometheus::{HistogramOpts, HistogramVec, core::Collector};
use reuse_model::test_group::{Cause, GroupTally, MemberTally, MoveTally, Outcome, TestGroup, TestGroups};

use super::{SECONDS_BUCKETS, family::Family, page::Page};

const PROBES: Family = Family::counter(
    "reuse_test_group_probes_total",
    "Probes of the test group, by whether prediction, delivery and receipt name the same member.",
    &["protocol", "family", "result"],
);
const MEMBER_LABELS: &[&str] = &["protocol", "family", "member"];
const PREDICTED: Family = Family::counter(
    "reuse_test_group_predicted_total",
    "Probes whose hash selects this member of the test group.",
    MEMBER_LABELS,
);
const DELIVERED: Family = Family::counter(
    "reuse_test_group_delivered_total",
    "Probes that the kernel delivered to this member of the test group.",
    MEMBER_LABELS,
);
const ACCEPTED: Family = Family::counter(
    "reuse_test_group_accepted_total",
    "Probes that this member of the test group accepted or received.",
    MEMBER_LABELS,
);
const P_VALUE: Family = Family::gauge(
    "reuse_test_group_uniformity_p_value",
    "Probability that a fair choice spreads the window's flows over the test group at least as unevenly.",
    &["protocol", "family"],
);
const EVEN: Family = Family::gauge(
    "reuse_test_group_even",
    "1 while this kernel spreads the test group's flows evenly, 0 while it does not; absent while too few are known.",
    &["protocol", "family"],
);
const MOVE_LABELS: &[&str] = &["protocol", "family", "cause"];
const TRIED: Family = Family::counter(
    "reuse_test_group_flow_trials_total",
    "Flows of the test group probed before and after a member joined or left.",
    MOVE_LABELS,
);
const MOVED: Family = Family::counter(
    "reuse_test_group_flow_moves_total",
    "Of these, flows that reached another member afterwards.",
    MOVE_LABELS,
);
const MOVES_PREDICTED: Family = Family::counter(
    "reuse_test_group_flow_moves_predicted_total",
    "Of these, flows that were to reach another member by the kernel's hash.",
    MOVE_LABELS,
);
const AGAIN: Family = Family::counter(
    "reuse_test_group_sticky_trials_total",
    "Flows of the test group probed again while its members stayed the same.",
    &["protocol", "family"],
);
const AGAIN_MOVED: Family = Family::counter(
    "reuse_test_group_sticky_violations_total",
    "Of these, flows that reached another member.",
    &["protocol", "family"],
);

/// What a probe took, which no tally of the model keeps.
#[derive(Debug)]
pub(super) struct TestGroupFamilies {
    duration: HistogramVec,
}

impl TestGroupFamilies {
    pub(super) fn new() -> prometheus::Result<Self> {
        let options = HistogramOpts::new(
            "reuse_test_group_probe_duration_seconds",
            "From sending a probe of the test group to its receipt.",
        );
        let duration = HistogramVec::new(options.buckets(SECONDS_BUCKETS.to_vec()), &["protocol", "family"])?;
        Ok(Self { duration })
    }

    /// Takes in what a probe took.
    pub(super) fn observe(&self, group: TestGroup, seconds: f64) {
        self.duration.with_label_values(&group_labels(group)).observe(seconds);
    }

    /// Writes every family of this area.
    pub(super) fn write(&self, page: &mut Page, groups: &TestGroups) {
        let outcomes = groups.iter().flat_map(|(group, tally)| {
            let [protocol, family] = group_labels(group);
            Outcome::ALL.map(|outcome| ([protocol, family, outcome.as_str()], tally.outcome(outcome)))
        });
        page.write(&PROBES, outcomes);
        write_members(page, &PREDICTED, groups, |tally| tally.predicted);
        write_members(page, &DELIVERED, groups, |tally| tally.delivered);
        write_members(page, &ACCEPTED, groups, |tally| tally.accepted);
        for (group, _) in groups.iter() {
            // A histogram that nothing was observed in yet starts at 0 as well.
            self.duration.with_label_values(&group_labels(group));
        }
        for family in self.duration.collect().iter().filter(|family| !family.get_metric().is_empty()) {
            page.encode_whole(family);
        }
        let tested = |(group, tally): (TestGroup, &GroupTally)| {
            tally.uniformity().map(|uniformity| (group_labels(group), uniformity.p_value))
        };
        page.write_floats(&P_VALUE, groups.iter().filter_map(tested));
        let even = |(group, tally): (TestGroup, &GroupTally)| {
            tally.evenness().map(|seen| (group_labels(group), u64::from(seen.even)))
        };
        page.write(&EVEN, groups.iter().filter_map(even));
        write_moves(page, &TRIED, groups, |moves| moves.tried);
        write_moves(page, &MOVED, groups, |moves| moves.moved);
        write_moves(page, &MOVES_PREDICTED, groups, |moves| moves.predicted);
        page.write(&AGAIN, groups.iter().map(|(group, tally)| (group_labels(group), tally.again().tried)));
        page.write(
            &AGAIN_MOVED,
            groups.iter().map(|(group, tally)| (group_labels(group), tally.again().moved)),
        );
    }
}

fn write_members(page: &mut Page, family: &Family, groups: &TestGroups, value: fn(&MemberTally) -> u64) {
    let mut series = Vec::new();
    for (group, tally) in groups.iter() {
        let [protocol, address_family] = group_labels(group);
        for (slot, member) in tally.members().iter().enumerate() {
            let slot = slot.to_string();
            let mut one = family.series([protocol, address_family, &slot]);
            family.set(&mut one, value(member));
            series.push(one);
        }
    }
    page.encode(family, series);
}

fn write_moves(page: &mut Page, family: &Family, groups: &TestGroups, value: fn(&MoveTally) -> u64) {
    let series = groups.iter().flat_map(|(group, tally)| {
        let [protocol, address_family] = group_labels(group);
        Cause::ALL.map(|cause| ([protocol, address_family, cause.as_str()], value(&tally.moves(cause))))
    });
    page.write(family, series);
}

fn group_labels(group: TestGroup) -> [&'static str; 2] {
    [group.transport.as_str(), group.family.as_str()]
}
