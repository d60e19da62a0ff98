//! A signal: what was seen, since when, and who is in it.

use std::{borrow::Cow, net::IpAddr, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{Context, HolderReport, OwnerReport, View};
use crate::{
    endpoint::Protocol,
    signal::{Case, Kind, Party, Severity},
};

/// Body of `/api/v1/signals`: the active ones and those that ended within the hour, in the order in which they began.
/// `L` is written as a sequence of [`super::Record`]s, and read as one of [`SignalRecord`]s.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SignalList<L> {
    /// Version of the JSON
    pub schema: u32,
    /// Each signal as its event
    pub signals: L,
    /// How many that ended are not among them for want of room, since the daemon started
    pub dropped: u64,
}

/// A [`super::Record`] of type `signal`, read back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SignalRecord {
    /// Version of the JSON
    pub schema: u32,
    /// `signal`
    pub r#type: String,
    /// When it began or, if it has ended, ended: RFC 3339 with microseconds
    pub time: String,
    /// The same, nanoseconds since boot
    pub boottime_ns: u64,
    /// What was seen
    #[serde(flatten)]
    pub event: SignalEvent,
}

/// A signal that begins, or has ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SignalEvent {
    /// Which one
    pub signal: Kind,
    /// How grave
    pub severity: Severity,
    /// Protocol of the victim
    pub protocol: Protocol,
    /// Address of the victim
    pub address: IpAddr,
    /// Port
    pub port: u16,
    /// Inode number of the network namespace
    pub netns: u32,
    /// Its name
    pub netns_name: Arc<str>,
    /// Everyone in it, the victim or holder first
    pub parties: Vec<PartyReport>,
    /// When it began; of what was found, when it was
    pub since: String,
    /// When it ended
    pub until: Option<String>,
    /// Whether it was there before the daemon
    pub found: bool,
    /// What was seen
    pub seen: String,
}

/// A socket in a signal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PartyReport {
    /// What it is to the signal: victim, taker, member, holder or contender
    pub role: Cow<'static, str>,
    /// Selections of it since the signal began; null where they are not counted
    pub selections: Option<u64>,
    /// The socket; `rule` is always null
    #[serde(flatten)]
    pub socket: HolderReport,
}

impl SignalEvent {
    /// The report of a signal.
    #[must_use]
    pub fn new(case: &Case, context: &dyn Context, view: View) -> Self {
        Self {
            signal: case.kind,
            severity: case.severity,
            protocol: case.protocol,
            address: case.endpoint.address,
            port: case.endpoint.port,
            netns: case.port.netns.0,
            netns_name: context.netns_name(case.port.netns),
            parties: case.parties.iter().map(|party| PartyReport::new(party, context, view)).collect(),
            since: context.time(case.since),
            until: case.until.map(|at| context.time(at)),
            found: case.found,
            seen: case.seen.clone(),
        }
    }
}

impl PartyReport {
    fn new(party: &Party, context: &dyn Context, view: View) -> Self {
        let Party { role, socket, overlap, selections } = party;
        let facts = &socket.facts;
        let owners = socket.known_owners().iter().map(|owner| OwnerReport::new(owner, context, view));
        Self {
            role: Cow::Borrowed(role.as_str()),
            selections: *selections,
            socket: HolderReport {
                address: facts.local.address,
                port: facts.local.port,
                family: facts.family,
                protocol: facts.protocol,
                state: Cow::Borrowed(facts.state.as_str()),
                reuseaddr: Some(facts.flags.reuseaddr),
                reuseport: Some(facts.flags.reuseport),
                v6only: Some(facts.flags.v6only),
                device: facts.device.as_ref().map(|device| Arc::clone(&device.name)),
                socket_uid: Some(facts.uid),
                user: context.user_name(facts.uid),
                inode: facts.inode.0,
                cookie: facts.cookie.0,
                netns: facts.netns.0,
                netns_name: context.netns_name(facts.netns),
                since: socket.since.map(|at| context.time(at)),
                expires_in_seconds: None,
                kernel: false,
                rule: None,
                overlap: overlap.map(|overlap| Cow::Borrowed(overlap.as_str())),
                owners: owners.collect(),
                former_owners: Vec::new(),
            },
        }
    }
}
