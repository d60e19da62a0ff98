//! A SO_REUSEPORT group with its members.

use std::{borrow::Cow, net::IpAddr, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{Context, OwnerReport, View};
use crate::{
    endpoint::{Family, Transport},
    group::{Group, Member},
};

/// Body of `/api/v1/groups`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GroupList {
    /// Version of the JSON
    pub schema: u32,
    /// Every group with a member
    pub groups: Vec<GroupReport>,
}

/// One group of `/api/v1/groups`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GroupReport {
    /// Port table
    pub protocol: Transport,
    /// Address
    pub address: IpAddr,
    /// Port
    pub port: u16,
    /// Family
    pub family: Family,
    /// Bound device by name
    pub device: Option<Arc<str>>,
    /// `IPV6_V6ONLY`
    pub v6only: bool,
    /// Socket uid of all members
    pub uid: u32,
    /// Inode number of the network namespace
    pub netns: u32,
    /// Name of the network namespace
    pub netns_name: Arc<str>,
    /// How the kernel selects, null where that is not read
    pub selector: Option<Cow<'static, str>>,
    /// Who is in it, by slot
    pub members: Vec<MemberReport>,
    /// Share of the flows that a fair selection gives each member
    pub expected_share: Option<f64>,
    /// Sample size of the test, null where flows are not counted
    pub flows: Option<u64>,
    /// Result of the test
    pub p_value: Option<f64>,
    /// What follows from it
    pub verdict: Option<Cow<'static, str>>,
}

/// One member of a group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MemberReport {
    /// Slot
    pub member: u32,
    /// Cookie, 0 where the kernel has given none yet
    pub cookie: u64,
    /// Inode number
    pub inode: u64,
    /// Who has it open
    pub owners: Vec<OwnerReport>,
    /// Selections of the slot, null where they are not counted
    pub selections: Option<u64>,
    /// Drops of the slot
    pub drops: u64,
    /// Listener: connections waiting; UDP: bytes waiting
    pub queue: u64,
    /// Most of these
    pub queue_limit: u64,
}

impl GroupReport {
    /// The report of one group. `counted`: whether selections are counted.
    #[must_use]
    pub fn new(group: &Group, counted: bool, context: &dyn Context, view: View) -> Self {
        let key = group.key();
        let report = |(slot, member, counts): (u32, &Member, crate::group::SlotCounts)| MemberReport {
            member: slot,
            cookie: member.socket.facts.cookie.0,
            inode: member.socket.facts.inode.0,
            owners: member.socket.owners.iter().map(|owner| OwnerReport::new(owner, context, view)).collect(),
            selections: counted.then_some(counts.selections),
            drops: counts.drops,
            queue: member.queue,
            queue_limit: member.queue_limit,
        };
        Self {
            protocol: key.transport,
            address: key.local.address,
            port: key.local.port,
            family: key.family,
            device: group.device().cloned(),
            v6only: key.v6only,
            uid: key.uid,
            netns: key.netns.0,
            netns_name: context.netns_name(key.netns),
            selector: None,
            members: group.members().map(report).collect(),
            expected_share: group.is_live().then(|| 1.0 / group.len() as f64),
            flows: None,
            p_value: None,
            verdict: None,
        }
    }
}
