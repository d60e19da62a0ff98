//! Which sockets, refusals and signals a person wants to see.
//!
//! Each criterion that is given must hold; of several values of one criterion, one must.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{
    refusal::Rule,
    report::{ConflictEvent, GroupReport, OwnerReport, SignalEvent, SocketReport},
    signal::{Kind, Severity},
};

/// The criteria of `sockets`, `groups`, `conflicts` and `signals`. An empty list asks for nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Filter {
    /// Local port; of a refusal the port asked for
    pub ports: Vec<u16>,
    /// Local address; of a refusal the address asked for. `a.b.c.d` is also `::ffff:a.b.c.d`
    pub addresses: Vec<IpAddr>,
    /// Uid of the socket or of an owner; of a refusal also the caller's
    pub uids: Vec<u32>,
    /// Process id of an owner; of a refusal also the caller's
    pub pids: Vec<u32>,
    /// Service of an owner; of a refusal also the caller's
    pub services: Vec<String>,
    /// Executable of an owner, by base name; of a refusal also the caller's
    pub executables: Vec<String>,
    /// Inode number of the network namespace
    pub netns: Vec<u32>,
    /// Of a refusal: the errno's name
    pub errnos: Vec<String>,
    /// Of a refusal: the rule
    pub rules: Vec<Rule>,
    /// Of a signal: which
    pub signals: Vec<Kind>,
    /// Of a signal: how grave it must be at least
    pub severity: Option<Severity>,
}

impl Filter {
    /// Whether everything is wanted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a socket is wanted. What only a refusal has asks nothing of it.
    #[must_use]
    pub fn wants_socket(&self, socket: &SocketReport) -> bool {
        let uids = || socket.socket_uid.into_iter().chain(socket.owners.iter().map(|owner| owner.uid));
        allows(&self.ports, [socket.port])
            && allows(&self.addresses, alike(socket.address))
            && allows(&self.netns, [socket.netns])
            && allows(&self.uids, uids())
            && self.wants_process(&socket.owners, None)
    }

    /// Whether a group is wanted. Uid, process, service and executable may be any member's.
    #[must_use]
    pub fn wants_group(&self, group: &GroupReport) -> bool {
        let owners = || group.members.iter().flat_map(|member| &member.owners);
        allows(&self.ports, [group.port])
            && allows(&self.addresses, alike(group.address))
            && allows(&self.netns, [group.netns])
            && allows(&self.uids, [group.uid].into_iter().chain(owners().map(|owner| owner.uid)))
            && self.wants_process(owners(), None)
    }

    /// Whether a refusal is wanted. Uid, process, service and executable may be the contender's or a holder's.
    #[must_use]
    pub fn wants_conflict(&self, event: &ConflictEvent) -> bool {
        let contender = &event.contender;
        let owners = || event.holders.iter().flat_map(|holder| &holder.owners);
        let uids = || {
            let holders = event.holders.iter().filter_map(|holder| holder.socket_uid);
            let owners = owners().map(|owner| owner.uid);
            [contender.uid].into_iter().chain(contender.socket_uid).chain(holders).chain(owners)
        };
        let caller = (contender.pid, &*contender.service, &*contender.executable);
        allows(&self.ports, contender.port)
            && allows(&self.addresses, contender.address.into_iter().flat_map(alike))
            && allows(&self.netns, contender.netns)
            && allows(&self.uids, uids())
            && allows_text(&self.errnos, [&*event.result])
            && allows(&self.rules, [event.rule])
            && self.wants_process(owners(), Some(caller))
    }

    /// Whether a signal is wanted. All that a socket has may be any party's, the address also what the signal is about.
    #[must_use]
    pub fn wants_signal(&self, event: &SignalEvent) -> bool {
        let sockets = || event.parties.iter().map(|party| &party.socket);
        let owners = || sockets().flat_map(|socket| &socket.owners);
        let addresses = sockets().map(|socket| socket.address).chain([event.address]);
        let uids = sockets().filter_map(|socket| socket.socket_uid).chain(owners().map(|owner| owner.uid));
        allows(&self.ports, [event.port])
            && allows(&self.addresses, addresses.flat_map(alike))
            && allows(&self.netns, [event.netns])
            && allows(&self.uids, uids)
            && allows(&self.signals, [event.signal])
            && self.severity.is_none_or(|least| event.severity >= least)
            && self.wants_process(owners(), None)
    }

    /// Whether the processes of one thing, each for itself, meet the criteria for a process.
    fn wants_process<'a>(
        &self,
        owners: impl IntoIterator<Item = &'a OwnerReport>,
        caller: Option<(u32, &'a str, &'a str)>,
    ) -> bool {
        if self.pids.is_empty() && self.services.is_empty() && self.executables.is_empty() {
            return true;
        }
        let owners = owners.into_iter().map(|owner| (owner.pid, &*owner.service, &*owner.executable));
        owners.chain(caller).any(|(pid, service, executable)| {
            allows(&self.pids, [pid])
                && allows_text(&self.services, [service])
                && allows_text(&self.executables, [executable])
        })
    }
}

/// Whether nothing is asked for, or one of `found` is.
fn allows<T: PartialEq>(wanted: &[T], found: impl IntoIterator<Item = T>) -> bool {
    wanted.is_empty() || found.into_iter().any(|found| wanted.contains(&found))
}

fn allows_text<'a>(wanted: &[String], found: impl IntoIterator<Item = &'a str>) -> bool {
    wanted.is_empty() || found.into_iter().any(|found| wanted.iter().any(|wanted| wanted == found))
}

/// An address in both ways it may be written.
fn alike(address: IpAddr) -> [IpAddr; 2] {
    let other = match address {
        IpAddr::V4(v4) => IpAddr::V6(v4.to_ipv6_mapped()),
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(address, IpAddr::V4),
    };
    [address, other]
}

#[cfg(test)]
mod tests;
