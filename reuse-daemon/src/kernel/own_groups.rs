//! The kernel's account of the daemon's own groups: the hash of each probe, and who was selected.

use reuse_ebpf::count::ProbeKey;
use reuse_model::{
    endpoint::{Family, Transport},
    socket::Cookie,
};

use super::counts::{Hashes, Selections};
use crate::test_group::KernelView;

/// include/uapi/linux/in.h
const IPPROTO_TCP: u8 = 6;
const IPPROTO_UDP: u8 = 17;

/// What the prober asks, answered from the maps.
pub struct OwnGroups {
    selections: Selections,
    hashes: Hashes,
}

impl OwnGroups {
    /// From handles of its own to both maps.
    #[must_use]
    pub fn new(selections: Selections, hashes: Hashes) -> Self {
        Self { selections, hashes }
    }
}

impl KernelView for OwnGroups {
    fn hash(&mut self, transport: Transport, family: Family, source_port: u16) -> Option<u32> {
        let protocol = match transport {
            Transport::Tcp => IPPROTO_TCP,
            Transport::Udp => IPPROTO_UDP,
        };
        let version = if family == Family::Ipv6 { 6 } else { 4 };
        self.hashes.take(ProbeKey { protocol, version, port: source_port })
    }

    fn deliveries(&mut self, cookies: &[Cookie]) -> Vec<u64> {
        cookies.iter().map(|cookie| self.selections.of(*cookie)).collect()
    }
}
