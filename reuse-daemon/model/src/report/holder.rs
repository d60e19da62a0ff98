//! HOLDER: a socket in the way, why it is, and who has it.

use std::{borrow::Cow, net::IpAddr, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{Context, OwnerReport, View};
use crate::{
    conflict::Held,
    endpoint::{Family, Protocol},
    refusal::Rule,
    socket::NetNs,
};

/// A socket in the way. What could not be read is null.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HolderReport {
    /// Local address
    pub address: IpAddr,
    /// Local port
    pub port: u16,
    /// Family
    pub family: Family,
    /// Protocol
    pub protocol: Protocol,
    /// State
    pub state: Cow<'static, str>,
    /// `SO_REUSEADDR`
    pub reuseaddr: Option<bool>,
    /// `SO_REUSEPORT`
    pub reuseport: Option<bool>,
    /// `IPV6_V6ONLY`
    pub v6only: Option<bool>,
    /// Bound device by name
    pub device: Option<Arc<str>>,
    /// Uid of the socket; TIME_WAIT has none
    pub socket_uid: Option<u32>,
    /// Its name
    pub user: Option<Arc<str>>,
    /// Inode number, 0 where no process has it
    pub inode: u64,
    /// Cookie, 0 where nothing asked for one
    pub cookie: u64,
    /// Inode number of the network namespace
    pub netns: u32,
    /// Its name
    pub netns_name: Arc<str>,
    /// When it was bound: only a running daemon has seen that
    pub since: Option<String>,
    /// Time until TIME_WAIT ends
    pub expires_in_seconds: Option<f64>,
    /// Whether the kernel made it for itself
    pub kernel: bool,
    /// Why it is in the way; null where its options decide that could not be read
    pub rule: Option<Rule>,
    /// How the addresses meet; null of a party that no other meets
    pub overlap: Option<Cow<'static, str>>,
    /// Who has it open, or had it at the refusal
    pub owners: Vec<OwnerReport>,
    /// Where no process can have it: who had the socket it came from
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub former_owners: Vec<OwnerReport>,
}

impl HolderReport {
    /// The report of a holder of `port` in a namespace.
    #[must_use]
    pub fn new(held: &Held, port: u16, netns: NetNs, context: &dyn Context, view: View) -> Self {
        let Held { holder, possession } = held;
        let occupant = &holder.occupant;
        let owners =
            |owners: &[_]| owners.iter().map(|owner| OwnerReport::new(owner, context, view)).collect();
        let device = (occupant.device != 0).then(|| {
            let name = possession.device.clone();
            name.unwrap_or_else(|| format!("if{}", occupant.device).into())
        });
        Self {
            address: occupant.address,
            port,
            family: occupant.family,
            protocol: possession.protocol.unwrap_or(occupant.protocol),
            state: Cow::Borrowed(occupant.state.as_str()),
            reuseaddr: Some(occupant.reuse.is_set()),
            reuseport: Some(occupant.reuseport),
            v6only: Some(occupant.v6only),
            device,
            socket_uid: occupant.uid,
            user: occupant.uid.and_then(|uid| context.user_name(uid)),
            inode: occupant.inode.0,
            cookie: occupant.cookie.0,
            netns: netns.0,
            netns_name: context.netns_name(netns),
            since: possession.since.map(|at| context.time(at)),
            expires_in_seconds: occupant.expires_in.map(|left| left.as_secs_f64()),
            kernel: occupant.kernel,
            rule: Some(holder.rule),
            overlap: Some(Cow::Borrowed(holder.overlap.as_str())),
            owners: owners(&possession.owners),
            former_owners: owners(&possession.former),
        }
    }
}
