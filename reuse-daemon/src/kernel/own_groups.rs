//! The kernel's account of the daemon's own groups: the hash of each probe, and who was selected.

use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd, OwnedFd},
};

use reuse_ebpf::count::ProbeKey;
use reuse_model::{
    endpoint::{Family, Transport},
    event::Counter,
    socket::Cookie,
};

use super::counts::{Hashes, OwnSelections};
use crate::test_group::KernelView;

/// include/uapi/linux/in.h
const IPPROTO_TCP: u8 = 6;
const IPPROTO_UDP: u8 = 17;

/// What the prober asks, answered from the maps.
pub struct OwnGroups {
    selections: OwnSelections,
    hashes: Hashes,
    /// The program that notes the hashes, where it is loaded
    program: Option<OwnedFd>,
}

impl OwnGroups {
    /// From handles of its own to both maps and to the program that notes the hashes, where it is loaded.
    #[must_use]
    pub fn new(selections: OwnSelections, hashes: Hashes, program: Option<OwnedFd>) -> Self {
        Self { selections, hashes, program }
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

    fn attach(&mut self, member: BorrowedFd<'_>) -> io::Result<()> {
        let program = self.program.as_ref().ok_or_else(|| io::Error::other("no program for it is loaded"))?;
        let program = program.as_raw_fd();
        // SAFETY: the option's value is a descriptor of this size, which is read during the call only.
        let result = unsafe {
            libc::setsockopt(
                member.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_ATTACH_REUSEPORT_EBPF,
                (&raw const program).cast(),
                size_of_val(&program) as libc::socklen_t,
            )
        };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    fn forget(&mut self, cookies: &[Cookie]) {
        for cookie in cookies {
            self.selections.forget(Counter(cookie.0));
        }
    }
}
