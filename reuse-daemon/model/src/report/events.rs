//! The bodies of the stream's records.

use std::{borrow::Cow, net::IpAddr, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{Contender, HolderReport, OwnerReport, SocketReport};
use crate::{
    endpoint::{Family, Transport},
    event::Phase,
    refusal::{Confidence, RefusedPhase, Rule},
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConflictEvent {
    /// Who
    pub contender: Contender,
    /// In what
    pub phase: RefusedPhase,
    /// The errno's name
    pub result: Cow<'static, str>,
    /// Refusals the record stands for; the contender is that of the last
    pub repeated: u64,
    /// Whether it stands for refusals of different kinds, of which there were too many to tell each
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub folded: bool,
    /// Why
    pub rule: Rule,
    /// The sockets that refused; empty where no socket did
    pub holders: Vec<HolderReport>,
    /// UDP: inode number of the holder that decided, its cookie where it has none
    pub decided_by: Option<u64>,
    /// How sure the rule is
    pub confidence: Confidence,
    /// Whether there are more sockets on the port than were read
    #[serde(default)]
    pub truncated: bool,
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
    pub device: Option<Arc<str>>,
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
    /// Share of all flows that the change sends to another member; null where it is not known, or there was nobody to
    /// take them before or after
    pub moved_share: Option<f64>,
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LostEvent {
    /// Where
    pub stage: String,
    /// How many, since the last such record
    pub lost: u64,
}
