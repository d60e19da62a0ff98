//! A SO_REUSEPORT group with its members.

use std::{borrow::Cow, net::IpAddr, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{Context, OwnerReport, View};
use crate::{
    endpoint::{Family, Transport},
    group::{ClosedWindow, Generations, Group, Member, SlotCounts},
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
    /// Whether a UDP member is or was connected, which takes the hash's even shares away; null where that is not read
    #[serde(default)]
    pub has_connected: Option<bool>,
    /// TCP: whether the connections of a member that closes go to another (`net.ipv4.tcp_migrate_req` of the namespace);
    /// null where that cannot be read
    #[serde(default)]
    pub migrates: Option<bool>,
    /// Who is in it, by slot
    pub members: Vec<MemberReport>,
    /// Share of the flows that each member gets on average; null where the kernel does not select evenly by design
    pub expected_share: Option<f64>,
    /// Flows in the running window, null where flows are not counted
    pub flows: Option<u64>,
    /// Of the running window: how often a fair choice would be at least as uneven; null below five flows for each member
    pub p_value: Option<f64>,
    /// Of the running window: the busiest member's flows over the mean
    #[serde(default)]
    pub imbalance_ratio: Option<f64>,
    /// Of the running window: Jain's index of the members' flows
    #[serde(default)]
    pub fairness_index: Option<f64>,
    /// What the last two closed windows say
    pub verdict: Option<Cow<'static, str>>,
    /// When the running window began, null until the counters are read after a change of members
    #[serde(default)]
    pub window_since: Option<String>,
    /// The last closed windows under the selector in force, at most two, the older one first
    #[serde(default)]
    pub closed_windows: Vec<WindowReport>,
}

/// A window that has ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WindowReport {
    /// When it began
    pub since: String,
    /// When the counters were last read in it
    pub until: String,
    /// Members throughout
    pub members: usize,
    /// Flows, null where they were not counted
    pub flows: Option<u64>,
    /// As [`GroupReport::p_value`]
    pub p_value: Option<f64>,
}

/// One member of a group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MemberReport {
    /// Slot
    pub member: u32,
    /// Position in the kernel's array, which the hash indexes; null where it is not known
    #[serde(default)]
    pub index: Option<u32>,
    /// Cookie, 0 where the kernel has given none yet
    pub cookie: u64,
    /// Inode number
    pub inode: u64,
    /// Its `SO_INCOMING_CPU`, null where it is not set or not read
    #[serde(default)]
    pub incoming_cpu: Option<u32>,
    /// Who has it open
    pub owners: Vec<OwnerReport>,
    /// Selections of the slot, null where they are not counted
    pub selections: Option<u64>,
    /// Of these, what came to its queue. UDP: less the drops, also those of a socket filter, so rather too few
    #[serde(default)]
    pub deliveries: Option<u64>,
    /// TCP: connections that the socket accepted since it joined: its selections less what its queue grew by
    #[serde(default)]
    pub accepted: Option<u64>,
    /// Drops of the slot
    pub drops: u64,
    /// Listener: connections waiting; UDP: bytes waiting
    pub queue: u64,
    /// Most of these
    pub queue_limit: u64,
    /// TCP: its queue is full and it accepted nothing for ten seconds
    #[serde(default)]
    pub stalled: bool,
    /// Its processes are of an earlier generation of the service than another member's, and were not replaced by it
    #[serde(default)]
    pub older_generation: bool,
    /// Counts of the running window, null while none runs
    #[serde(default)]
    pub window: Option<MemberWindowReport>,
}

/// What one member counted in the running window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MemberWindowReport {
    /// Selections, null where they are not counted
    pub selections: Option<u64>,
    /// Flows, null where they are not counted
    pub flows: Option<u64>,
    /// Drops
    pub drops: u64,
}

impl GroupReport {
    /// The report of one group. `counted`: whether selections are counted.
    #[must_use]
    pub fn new(group: &Group, counted: bool, context: &dyn Context, view: View) -> Self {
        let key = group.key();
        let generations = Generations::of(group.members().map(|(_, member, _)| &*member.socket));
        let members =
            group.members().map(|seat| MemberReport::new(group, &generations, seat, counted, context, view));
        let spread = group.spread().filter(|_| counted);
        let window = |window: &ClosedWindow| WindowReport {
            since: context.time(window.began),
            until: context.time(window.ended),
            members: window.members,
            flows: window.flows.filter(|_| counted),
            p_value: window.p_value.filter(|_| counted),
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
            selector: group.pick().map(|pick| pick.selector.as_str().into()),
            has_connected: group.pick().map(|pick| pick.has_connected),
            migrates: (key.transport == Transport::Tcp).then(|| context.migrates(key.netns)).flatten(),
            members: members.collect(),
            expected_share: group.expected_share(),
            flows: spread.map(|spread| spread.flows),
            p_value: spread.and_then(|spread| spread.p_value),
            imbalance_ratio: spread.and_then(|spread| spread.imbalance_ratio),
            fairness_index: spread.and_then(|spread| spread.fairness_index),
            verdict: group.verdict().map(|verdict| verdict.as_str().into()),
            window_since: group.window_began().map(|began| context.time(began)),
            closed_windows: group.closed_windows().map(window).collect(),
        }
    }
}

impl MemberReport {
    fn new(
        group: &Group,
        generations: &Generations<'_>,
        (slot, member, counts): (u32, &Member, SlotCounts),
        counted: bool,
        context: &dyn Context,
        view: View,
    ) -> Self {
        let facts = &member.socket.facts;
        let window = group.in_window(slot, counts).map(|window| MemberWindowReport {
            selections: counted.then_some(window.selections),
            flows: group.flows_of(window).filter(|_| counted),
            drops: window.drops,
        });
        Self {
            member: slot,
            index: member.index,
            cookie: facts.cookie.0,
            inode: facts.inode.0,
            incoming_cpu: member.incoming_cpu,
            owners: member.socket.owners.iter().map(|owner| OwnerReport::new(owner, context, view)).collect(),
            selections: counted.then_some(counts.selections),
            deliveries: counted.then(|| counts.deliveries(group.key().transport)),
            accepted: member.accepted().filter(|_| counted),
            drops: counts.drops,
            queue: member.queue,
            queue_limit: member.queue_limit,
            stalled: member.is_stalled(),
            older_generation: generations.is_earlier(&member.socket),
            window,
        }
    }
}
