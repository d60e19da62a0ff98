//! Which signals a part of the policy is about.

use std::{net::IpAddr, ops::RangeInclusive, sync::Arc};

use crate::{
    endpoint::Transport,
    signal::{Case, Kind, Party},
    socket::NetNs,
};

/// Criteria that must all be met; of several values of one criterion, one must. An empty list asks for nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Criteria {
    /// Which signals
    pub signals: Vec<Kind>,
    /// Port table of the victim; MPTCP's is TCP's
    pub protocols: Vec<Transport>,
    /// Address of the victim. `a.b.c.d` is also `::ffff:a.b.c.d`
    pub addresses: Vec<IpAddr>,
    /// Port
    pub ports: Vec<RangeInclusive<u16>>,
    /// Name of the network namespace
    pub netns: Vec<String>,
    /// Service of every owner of every party
    pub services: Vec<String>,
    /// Executable of every owner of every party, by base name
    pub executables: Vec<String>,
    /// Uid of the socket of every party
    pub uids: Vec<u32>,
}

impl Criteria {
    /// Whether nothing is asked for, in whatever words.
    #[must_use]
    pub fn fit_everything(&self) -> bool {
        let Self { signals, protocols, addresses, ports, netns, services, executables, uids } = self;
        (signals.is_empty() || Kind::ALL.iter().all(|kind| signals.contains(kind)))
            && (protocols.is_empty()
                || [Transport::Tcp, Transport::Udp].iter().all(|one| protocols.contains(one)))
            && (ports.is_empty()
                || (1..=u16::MAX).all(|port| ports.iter().any(|range| range.contains(&port))))
            && addresses.is_empty()
            && netns.is_empty()
            && services.is_empty()
            && executables.is_empty()
            && uids.is_empty()
    }

    /// Whether a signal fits, and so does each of its parties.
    pub(super) fn fit(&self, case: &Case, netns_name: &dyn Fn(NetNs) -> Arc<str>) -> bool {
        any(&self.signals, |kind| *kind == case.kind)
            && any(&self.protocols, |transport| *transport == case.port.transport)
            && any(&self.ports, |range| range.contains(&case.port.port))
            && any(&self.addresses, |address| address.to_canonical() == case.endpoint.address.to_canonical())
            && case.parties.iter().all(|party| self.fit_party(party))
            && (self.netns.is_empty() || self.netns.iter().any(|name| **name == *netns_name(case.port.netns)))
    }

    /// A party of which it is not known who has it has no service and no executable, so it fits none.
    fn fit_party(&self, party: &Party) -> bool {
        let owners = party.socket.known_owners();
        let all_of = |wanted: &[String], name: fn(&crate::process::Process) -> &str| {
            wanted.is_empty()
                || (!owners.is_empty()
                    && owners.iter().all(|owner| wanted.iter().any(|wanted| wanted == name(&owner.process))))
        };
        any(&self.uids, |uid| *uid == party.socket.facts.uid)
            && all_of(&self.services, |process| &process.service)
            && all_of(&self.executables, |process| &process.executable)
    }
}

fn any<T>(wanted: &[T], found: impl FnMut(&T) -> bool) -> bool {
    wanted.is_empty() || wanted.iter().any(found)
}
