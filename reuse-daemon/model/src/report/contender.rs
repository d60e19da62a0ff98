//! `contender`: who called, and what its socket was after the call.

use std::{borrow::Cow, net::IpAddr, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{Context, owner::command_line};
use crate::{
    endpoint::{Family, Protocol},
    event::Call,
    process::Process,
    text::escape,
};

/// The socket that asks, and the task that asked with it. Fields of a socket that does not exist are null.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Contender {
    /// Process id in the initial pid namespace
    pub pid: u32,
    /// Thread id in the initial pid namespace
    pub tid: u32,
    /// Thread name, escaped
    pub comm: String,
    /// Name of the executable
    pub executable: Arc<str>,
    /// Service
    pub service: Arc<str>,
    /// Arguments, escaped; only where the events may carry them
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cmdline: Option<Vec<String>>,
    /// Effective uid of the caller
    pub uid: u32,
    /// Id of the caller's cgroup v2 group
    pub cgroup_id: u64,
    /// Uid of the socket
    pub socket_uid: Option<u32>,
    /// Inode number of the network namespace
    pub netns: Option<u32>,
    /// Name of the network namespace
    pub netns_name: Option<Arc<str>>,
    /// Inode number
    pub inode: Option<u64>,
    /// Cookie, 0 where the kernel has given none yet
    pub cookie: Option<u64>,
    /// Protocol
    pub protocol: Protocol,
    /// Family
    pub family: Family,
    /// Address as asked for; `listen`: what the socket is bound to
    pub address: Option<IpAddr>,
    /// Port as asked for; `listen`: what the socket is bound to
    pub port: Option<u16>,
    /// Port after the call, 0 after a refusal
    pub bound_port: u16,
    /// `SO_REUSEADDR`
    pub reuseaddr: bool,
    /// `SO_REUSEPORT`
    pub reuseport: bool,
    /// `IPV6_V6ONLY`
    pub v6only: bool,
    /// `IP_FREEBIND`
    pub freebind: bool,
    /// `IP_TRANSPARENT`
    pub transparent: bool,
    /// `IP_BIND_ADDRESS_NO_PORT`
    pub bind_address_no_port: bool,
    /// Bound device by name
    pub device: Option<Arc<str>>,
    /// `connect`: whom it was to reach
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer_address: Option<IpAddr>,
    /// `connect`: its port
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer_port: Option<u16>,
    /// How the request came in
    pub via: Cow<'static, str>,
}

impl Contender {
    /// The contender of a call that `process` made.
    #[must_use]
    pub fn new(call: &Call, process: &Process, context: &dyn Context) -> Self {
        let socket = call.socket.as_ref();
        let flags = socket.map(|socket| socket.flags).unwrap_or_default();
        let endpoint = call.endpoint();
        let bound = socket.filter(|_| call.errno == 0).map_or(0, |socket| socket.local.port);
        let device = socket.and_then(|socket| socket.device.as_ref());
        Self {
            pid: call.caller.pid,
            tid: call.caller.tid,
            comm: escape(call.caller.comm.as_bytes()).into_owned(),
            executable: Arc::clone(&process.executable),
            service: Arc::clone(&process.service),
            cmdline: command_line(process, context, context.event_view()),
            uid: call.caller.uid,
            cgroup_id: call.caller.cgroup,
            socket_uid: socket.map(|socket| socket.uid),
            netns: socket.map(|socket| socket.netns.0),
            netns_name: socket.map(|socket| context.netns_name(socket.netns)),
            inode: socket.map(|socket| socket.inode.0),
            cookie: socket.map(|socket| socket.cookie.0),
            protocol: call.protocol(),
            family: call.family(),
            address: endpoint.map(|endpoint| endpoint.address),
            port: endpoint.map(|endpoint| endpoint.port),
            bound_port: bound,
            reuseaddr: flags.reuseaddr,
            reuseport: flags.reuseport,
            v6only: flags.v6only,
            freebind: flags.freebind,
            transparent: flags.transparent,
            bind_address_no_port: flags.bind_address_no_port,
            device: device.map(|device| Arc::clone(&device.name)),
            peer_address: call.peer.map(|peer| peer.address),
            peer_port: call.peer.map(|peer| peer.port),
            via: Cow::Borrowed(call.via.as_str()),
        }
    }
}
