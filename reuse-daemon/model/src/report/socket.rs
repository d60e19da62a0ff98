//! A socket with its owners: HOLDER without `rule` and `overlap`, plus the queue.

use std::{borrow::Cow, net::IpAddr, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{Context, OwnerReport, SCHEMA, View};
use crate::{
    endpoint::{Family, Protocol},
    inventory::{Inventory, Socket},
    socket::State,
};

/// Body of `/api/v1/sockets`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SocketList {
    /// Version of the JSON
    pub schema: u32,
    /// Every socket that holds a port
    pub sockets: Vec<SocketReport>,
}

/// One socket of `/api/v1/sockets`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SocketReport {
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
    pub reuseaddr: bool,
    /// `SO_REUSEPORT`
    pub reuseport: bool,
    /// `IPV6_V6ONLY`
    pub v6only: bool,
    /// Bound device by name
    pub device: Option<Arc<str>>,
    /// Uid of the socket
    pub socket_uid: Option<u32>,
    /// Its name
    pub user: Option<Arc<str>>,
    /// Inode number, 0 where no process has it
    pub inode: u64,
    /// Cookie, 0 where the kernel has given none yet
    pub cookie: u64,
    /// Inode number of the network namespace
    pub netns: u32,
    /// Name of the network namespace
    pub netns_name: Arc<str>,
    /// When it was bound, where that was seen
    pub since: Option<String>,
    /// Time until the kernel frees it by itself; only TIME_WAIT has one
    pub expires_in_seconds: Option<f64>,
    /// Whether the kernel made it for itself
    pub kernel: bool,
    /// Who has it open
    pub owners: Vec<OwnerReport>,
    /// Listener: connections waiting; UDP: bytes waiting
    pub queue: u64,
    /// Most of these; null where nobody looked yet
    pub queue_limit: Option<u64>,
}

impl SocketList {
    /// The sockets of an inventory by namespace, port, protocol and address.
    #[must_use]
    pub fn new(inventory: &Inventory, context: &dyn Context, view: View) -> Self {
        let mut sockets: Vec<_> = inventory.iter().collect();
        sockets.sort_by_key(|socket| {
            let facts = &socket.facts;
            (facts.netns, facts.local.port, facts.protocol, facts.local.address, facts.inode)
        });
        let sockets = sockets.into_iter().map(|socket| SocketReport::new(socket, context, view)).collect();
        Self { schema: SCHEMA, sockets }
    }
}

impl SocketReport {
    /// The report of one socket.
    #[must_use]
    pub fn new(socket: &Socket, context: &dyn Context, view: View) -> Self {
        let facts = &socket.facts;
        Self {
            address: facts.local.address,
            port: facts.local.port,
            family: facts.family,
            protocol: facts.protocol,
            state: Cow::Borrowed(facts.state.as_str()),
            reuseaddr: facts.flags.reuseaddr,
            reuseport: facts.flags.reuseport,
            v6only: facts.flags.v6only,
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
            owners: socket.owners.iter().map(|owner| OwnerReport::new(owner, context, view)).collect(),
            queue: facts.queue,
            // A backlog may be 0, a receive buffer never is.
            queue_limit: Some(facts.queue_limit).filter(|limit| *limit > 0 || facts.state == State::Listen),
        }
    }
}
