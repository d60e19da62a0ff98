//! A prediction of one call, with all it rests on.

use std::{fmt, net::SocketAddr};

use reuse_daemon::kernel::port_reader::Asked;
use reuse_model::{
    port::{Table, UdpScan},
    rulebook::{Decision, Request},
    socket::State,
};

use super::shadow::{Shadow, Who};
use crate::scenario::Slot;

/// A prediction, and what it rests on.
pub(super) struct Prediction {
    pub(super) request: Request,
    pub(super) slot: Slot,
    /// Bind: asked for; listen: bound to
    pub(super) address: SocketAddr,
    pub(super) asked: Asked,
    pub(super) decision: Decision,
    pub(super) shadow: Shadow,
}

impl Prediction {
    /// Who is said to block, as far as it is known who that is.
    pub(super) fn named(&self) -> Vec<Who> {
        self.decision.blockers.iter().filter_map(|blocker| self.shadow.who(blocker.occupant)).collect()
    }

    /// Sockets on the port that are said not to block, and that go without taking others along or changing which list
    /// a UDP bind scans.
    pub(super) fn bystanders(&self) -> Vec<Slot> {
        const CROWD: u32 = 10;
        let blocks = |place: usize| self.decision.blockers.iter().any(|blocker| blocker.occupant == place);
        let scan_stays = match self.asked.port.table {
            Table::Tcp(_) => true,
            Table::Udp { scan: UdpScan::Port, slot } => slot <= CROWD,
            Table::Udp { scan: UdpScan::Address, .. } => false,
        };
        self.asked
            .port
            .occupants
            .iter()
            .enumerate()
            .filter(|(place, occupant)| scan_stays && !blocks(*place) && occupant.state != State::Listen)
            .filter_map(|(place, _)| match self.shadow.who(place) {
                Some(Who::Open(slot)) => Some(slot),
                _ => None,
            })
            .collect()
    }
}

impl fmt::Display for Prediction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "contender {} ({:?}): {:?}", self.slot, self.request, self.asked.contender)?;
        writeln!(
            f,
            "table: {:?}, truncated {}, disturbed {}",
            self.asked.port.table, self.asked.port.truncated, self.asked.port.disturbed
        )?;
        for (place, occupant) in self.asked.port.occupants.iter().enumerate() {
            let who = self.shadow.who(place).map_or_else(|| "unknown".to_owned(), |who| who.to_string());
            writeln!(f, "  {place}: {who} {occupant:?}")?;
        }
        write!(f, "decision: {:?}", self.decision)
    }
}
