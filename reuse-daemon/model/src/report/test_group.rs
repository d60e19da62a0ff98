//! The test group: its members' tallies and the probes whose answers differed.

use std::{borrow::Cow, net::IpAddr};

use serde::{Deserialize, Serialize};

use super::Context;
use crate::{
    endpoint::{Family, Transport},
    test_group::{Evenness, Experiment, GroupTally, Outcome, Probe, Step, TestGroup, TestGroups},
};

/// Body of `/api/v1/test-group`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TestGroupList {
    /// Version of the JSON
    pub schema: u32,
    /// One for each transport and family
    pub test_group: Vec<TestGroupReport>,
}

/// One group of `/api/v1/test-group`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TestGroupReport {
    /// Transport
    pub protocol: Transport,
    /// Family
    pub family: Family,
    /// Address
    pub address: Option<IpAddr>,
    /// Port
    pub port: Option<u16>,
    /// Probes of which all three answers are the same
    pub r#match: u64,
    /// Probes of which two answers differ
    pub mismatch: u64,
    /// Probes of which an answer is missing
    pub lost: u64,
    /// By slot
    pub members: Vec<TestMemberReport>,
    /// Flows in the running window
    pub flows: u64,
    /// Result of the test for uniformity over the running window, null below five flows for each member
    pub p_value: Option<f64>,
    /// Whether this kernel spreads the flows since the start evenly, null while there are too few
    pub evenness: Option<EvennessReport>,
    /// What became of flows when members came and went, as tried last; null before the first time
    pub experiment: Option<ExperimentReport>,
    /// The last probes whose answers differed
    pub mismatches: Vec<Mismatch>,
}

/// Whether flows are spread evenly.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct EvennessReport {
    /// Whether a fair choice explains how they are spread
    pub even: bool,
    /// Probability that a fair choice is at least as uneven
    pub p_value: f64,
    /// Sample size
    pub flows: u64,
}

impl From<Evenness> for EvennessReport {
    fn from(Evenness { even, p_value, flows }: Evenness) -> Self {
        Self { even, p_value, flows }
    }
}

impl From<EvennessReport> for Evenness {
    fn from(EvennessReport { even, p_value, flows }: EvennessReport) -> Self {
        Self { even, p_value, flows }
    }
}

/// Answer to a request for an experiment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExperimentList {
    /// Version of the JSON
    pub schema: u32,
    /// One for each transport and family
    pub experiments: Vec<ExperimentReport>,
}

/// The same flows before and after each of several changes of a group's members.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExperimentReport {
    /// Transport
    pub protocol: Transport,
    /// Family
    pub family: Family,
    /// When it began
    pub time: String,
    /// One for each change, in order
    pub steps: Vec<StepReport>,
}

/// What became of the flows at one change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepReport {
    /// `join`, `leave`, or null: probed again with the members as they were
    pub cause: Option<Cow<'static, str>>,
    /// Place, in the kernel's order, of the member that joined or left
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
    /// Of these, those that went otherwise than the hash says, or whose hash is not known
    pub contradicted: u64,
    /// Share of all possible flows that such a change moves
    pub expected_share: f64,
}

impl ExperimentReport {
    /// The report of an experiment that began at `time`.
    #[must_use]
    pub fn new(experiment: &Experiment, time: String) -> Self {
        let step = |step: &Step| StepReport {
            cause: step.cause.map(|cause| Cow::Borrowed(cause.as_str())),
            place: step.place,
            before: step.before,
            after: step.after,
            tried: step.tried,
            moved: step.moved,
            predicted: step.predicted,
            contradicted: step.contradicted,
            expected_share: step.expected_share,
        };
        Self {
            protocol: experiment.group.transport,
            family: experiment.group.family,
            time,
            steps: experiment.steps.iter().map(step).collect(),
        }
    }
}

/// One member of a test group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TestMemberReport {
    /// Slot
    pub member: u32,
    /// The hash predicted it
    pub predicted: u64,
    /// The kernel selected it
    pub delivered: u64,
    /// It accepted or received
    pub accepted: u64,
}

/// A probe with its three answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mismatch {
    /// When it was sent
    pub time: String,
    /// Its source port
    pub source_port: u16,
    /// The kernel's hash
    pub hash: Option<u32>,
    /// Members of the group then
    pub members: u32,
    /// Slot the hash predicts
    pub predicted: Option<u32>,
    /// Slot the kernel selected
    pub delivered: Option<u32>,
    /// Slot that accepted or received
    pub accepted: Option<u32>,
}

impl Mismatch {
    fn new(probe: &Probe, context: &dyn Context) -> Self {
        Self {
            time: context.time(probe.at),
            source_port: probe.source_port,
            hash: probe.hash,
            members: probe.members,
            predicted: probe.predicted(),
            delivered: probe.delivered,
            accepted: probe.accepted,
        }
    }
}

impl TestGroupReport {
    /// Every group of the daemon.
    #[must_use]
    pub fn all(groups: &TestGroups, context: &dyn Context) -> Vec<Self> {
        groups.iter().map(|(group, tally)| Self::new(group, tally, groups, context)).collect()
    }

    fn new(group: TestGroup, tally: &GroupTally, groups: &TestGroups, context: &dyn Context) -> Self {
        let members = (0..).zip(tally.members()).map(|(member, tally)| TestMemberReport {
            member,
            predicted: tally.predicted,
            delivered: tally.delivered,
            accepted: tally.accepted,
        });
        let mismatches = groups.mismatches().filter(|probe| probe.group == group);
        Self {
            protocol: group.transport,
            family: group.family,
            address: tally.local().map(|local| local.address),
            port: tally.local().map(|local| local.port),
            r#match: tally.outcome(Outcome::Match),
            mismatch: tally.outcome(Outcome::Mismatch),
            lost: tally.outcome(Outcome::Lost),
            members: members.collect(),
            flows: tally.flows().iter().sum(),
            p_value: tally.uniformity().map(|seen| seen.p_value),
            evenness: tally.evenness().map(EvennessReport::from),
            experiment: tally
                .experiment()
                .map(|experiment| ExperimentReport::new(experiment, context.time(experiment.at))),
            mismatches: mismatches.map(|probe| Mismatch::new(probe, context)).collect(),
        }
    }
}
