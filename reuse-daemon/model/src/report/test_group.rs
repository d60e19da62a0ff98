//! The test group: its members' tallies and the probes whose answers differed.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::Context;
use crate::{
    endpoint::{Family, Transport},
    test_group::{GroupTally, Outcome, Probe, TestGroup, TestGroups},
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
    /// The last probes whose answers differed
    pub mismatches: Vec<Mismatch>,
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
            mismatches: mismatches.map(|probe| Mismatch::new(probe, context)).collect(),
        }
    }
}
