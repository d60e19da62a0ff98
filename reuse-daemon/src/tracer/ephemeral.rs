//! Listeners whose port the kernel may give away while they are down.

use std::collections::BTreeMap;

use reuse_model::{endpoint::Protocol, inventory::PortKey, report::Context as _};

use super::Tracer;
use crate::export::metrics::EphemeralListeners;

impl Tracer {
    /// How many there are in each namespace with a listener; those whose names are equal are counted as one.
    pub(super) fn ephemeral_listeners(&self) -> EphemeralListeners {
        let mut counts = BTreeMap::new();
        for (netns, protocol, ports) in self.fixed_ports.iter() {
            let Some(transport) = protocol.transport() else { continue };
            let residents = ports.keys().flat_map(|&port| {
                let sockets = self.inventory.on_port(PortKey { netns, transport, port });
                sockets.flat_map(|socket| socket.owners.iter().map(|owner| owner.process.pid))
            });
            let Some(given) = self.names.ephemeral_ports(netns, residents) else { continue };
            let inside: u64 =
                ports.iter().filter(|(port, _)| given.gives_away(**port)).map(|(_, count)| count).sum();
            // An MPTCP listener takes its port from TCP's.
            let protocol = if protocol == Protocol::Mptcp { Protocol::Tcp } else { protocol };
            *counts.entry((self.names.netns_name(netns), protocol.as_str())).or_default() += inside;
        }
        counts
    }
}
