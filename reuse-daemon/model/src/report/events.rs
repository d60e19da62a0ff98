//! The bodies of the stream's records.

use std::{net::IpAddr, sync::Arc};

use serde::Serialize;

use super::{Contender, Context, OwnerReport, RecordBody, SocketReport, View};
use crate::{
    endpoint::{Family, Transport},
    event::{Call, Phase},
    group::GroupChange,
    inventory::Socket,
    process::Process,
    refusal::{Confidence, Refusal, Rule, result_name},
    test_group::Probe,
    text::escape,
};

/// A `bind` or `listen` that succeeded.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CallEvent {
    /// Who
    pub contender: Contender,
    /// Which call
    pub phase: Phase,
    /// `success`
    pub result: &'static str,
    /// 1: each success is told
    pub repeated: u64,
}

/// A `bind` or `listen` that was refused.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ConflictEvent {
    /// Who
    pub contender: Contender,
    /// Which call
    pub phase: Phase,
    /// The errno's name
    pub result: &'static str,
    /// Refusals the record stands for; the contender is that of the last
    pub repeated: u64,
    /// Whether it stands for refusals of different kinds, of which there were too many to tell each
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub folded: bool,
    /// Why
    pub rule: Rule,
    /// The sockets that refused; empty where no socket did, or where they are not read
    pub holders: Vec<SocketReport>,
    /// Inode number of the holder that decided, where one did
    pub decided_by: Option<u64>,
    /// How sure the rule is
    pub confidence: Confidence,
    /// What to do about it
    pub remedy: String,
}

/// A socket that held a port is gone.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CloseEvent {
    /// As it was last
    #[serde(flatten)]
    pub socket: SocketReport,
}

/// A socket joined or left a group.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GroupEvent {
    /// `join` or `leave`
    pub change: &'static str,
    /// Port table
    pub protocol: Transport,
    /// Family
    pub family: Family,
    /// Address
    pub address: IpAddr,
    /// Port
    pub port: u16,
    /// Bound device by name
    pub device: Option<String>,
    /// `IPV6_V6ONLY`
    pub v6only: bool,
    /// Socket uid of all members
    pub uid: u32,
    /// Inode number of the network namespace
    pub netns: u32,
    /// Name of the network namespace
    pub netns_name: Arc<str>,
    /// Slot of the socket
    pub member: u32,
    /// Members after the change
    pub members: usize,
    /// Inode number of the socket
    pub inode: u64,
    /// Cookie of the socket, 0 where the kernel has given none yet
    pub cookie: u64,
    /// Who has the socket open
    pub owners: Vec<OwnerReport>,
}

/// A probe whose answers differ.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TestGroupEvent {
    /// Transport
    pub protocol: Transport,
    /// Family
    pub family: Family,
    /// `match`, `mismatch` or `lost`
    pub result: &'static str,
    /// Source port of the probe
    pub source_port: u16,
    /// Members of the group then
    pub members: u32,
    /// The kernel's hash
    pub hash: Option<u32>,
    /// Slot the hash predicts
    pub predicted: Option<u32>,
    /// Slot the kernel selected
    pub delivered: Option<u32>,
    /// Slot that accepted or received
    pub accepted: Option<u32>,
}

/// Events were lost.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LostEvent {
    /// Where
    pub stage: String,
    /// How many, since the last such record
    pub lost: u64,
}

impl RecordBody {
    /// A call that succeeded.
    #[must_use]
    pub fn success(call: &Call, process: &Process, context: &dyn Context) -> Self {
        let event = CallEvent {
            contender: Contender::new(call, process, context),
            phase: call.phase,
            result: result_name(call.errno),
            repeated: 1,
        };
        match call.phase {
            Phase::Bind => Self::Bind(event),
            Phase::Listen => Self::Listen(event),
        }
    }

    /// A call that was refused. `repeated`, `folded`: as in [`crate::repeats::Told`].
    #[must_use]
    pub fn conflict(
        call: &Call,
        process: &Process,
        refusal: Refusal,
        repeated: u64,
        folded: bool,
        context: &dyn Context,
    ) -> Self {
        Self::Conflict(Box::new(ConflictEvent {
            contender: Contender::new(call, process, context),
            phase: call.phase,
            result: result_name(call.errno),
            repeated,
            folded,
            rule: refusal.rule,
            holders: Vec::new(),
            decided_by: None,
            confidence: refusal.confidence,
            remedy: refusal.remedy(call),
        }))
    }

    /// A socket that is gone.
    #[must_use]
    pub fn close(socket: &Socket, context: &dyn Context) -> Self {
        Self::Close(CloseEvent { socket: SocketReport::new(socket, context, View::Network) })
    }

    /// A change of a group.
    #[must_use]
    pub fn group(change: &GroupChange, context: &dyn Context) -> Self {
        let (key, socket) = (&change.key, &change.socket);
        let owners = socket.owners.iter().map(|owner| OwnerReport::new(owner, context, View::Network));
        Self::Group(GroupEvent {
            change: change.kind.as_str(),
            protocol: key.transport,
            family: key.family,
            address: key.local.address,
            port: key.local.port,
            device: change.device.as_ref().map(|name| escape(name.as_bytes()).into_owned()),
            v6only: key.v6only,
            uid: key.uid,
            netns: key.netns.0,
            netns_name: context.netns_name(key.netns),
            member: change.slot,
            members: change.members,
            inode: socket.facts.inode.0,
            cookie: socket.facts.cookie.0,
            owners: owners.collect(),
        })
    }

    /// A probe with its answers.
    #[must_use]
    pub fn test_group(probe: &Probe) -> Self {
        Self::TestGroup(TestGroupEvent {
            protocol: probe.group.transport,
            family: probe.group.family,
            result: probe.outcome().as_str(),
            source_port: probe.source_port,
            members: probe.members,
            hash: probe.hash,
            predicted: probe.predicted(),
            delivered: probe.delivered,
            accepted: probe.accepted,
        })
    }
}
