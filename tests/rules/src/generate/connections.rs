//! Connections on the contested port, and what they leave there.

use reuse_model::endpoint::{Family, Protocol, Transport};

use super::{Author, Kind, Made, temper};
use crate::scenario::{Slot, Step};

impl Author {
    /// A client connects, and is accepted perhaps.
    pub(super) fn connect(&mut self) {
        let Some((listener, family)) = self.pick(|made| made.kind == Kind::Listener) else { return };
        let client = self.slot();
        let address = temper::destination(&mut self.rng, family);
        self.steps.push(Step::Connect { client, listener, address });
        self.made.push(Made { slot: client, family, protocol: Protocol::Tcp, kind: Kind::Client });
        if self.rng.u8(..3) > 0 {
            self.accept_from(listener, family);
        }
    }

    pub(super) fn accept(&mut self) {
        if let Some((listener, family)) = self.pick(|made| made.kind == Kind::Listener) {
            self.accept_from(listener, family);
        }
    }

    fn accept_from(&mut self, listener: Slot, family: Family) {
        let slot = self.slot();
        let uid = self.temper.uid(&mut self.rng);
        self.steps.push(Step::Accept { listener, slot, uid });
        self.made.push(Made { slot, family, protocol: Protocol::Tcp, kind: Kind::Connection });
        self.end(slot);
    }

    /// A connection that leaves something on the port: it is ended from there, the other end follows or not.
    fn end(&mut self, slot: Slot) {
        if self.rng.u8(..3) > 0 {
            return;
        }
        if self.rng.u8(..4) == 0 {
            self.steps.push(Step::Fill { slot });
        }
        self.steps.push(match self.rng.u8(..4) {
            0 => Step::Shutdown { slot },
            _ => Step::Close { slot, reset: false },
        });
        if self.rng.bool() {
            // The last one made is the other end, or the client of it.
            let client = self.made.iter().rev().find(|made| made.kind == Kind::Client).map(|made| made.slot);
            self.steps.extend(client.map(|slot| Step::Close { slot, reset: false }));
        }
    }

    /// A bound socket connects to another port.
    pub(super) fn connect_out(&mut self) {
        let bound = |made: &Made| made.kind == Kind::Bound && made.protocol != Protocol::Mptcp;
        let Some((slot, family)) = self.pick(bound) else { return };
        let peer = self.slot();
        let ipv4 = self.rng.bool();
        self.steps.push(Step::ConnectOut { slot, peer, ipv4 });
        if self.transport == Transport::Tcp {
            if let Some(made) = self.made.iter_mut().find(|made| made.slot == slot) {
                made.kind = Kind::Connection;
            }
            self.made.push(Made { slot: peer, family, protocol: Protocol::Tcp, kind: Kind::Client });
            self.end(slot);
        }
    }
}
