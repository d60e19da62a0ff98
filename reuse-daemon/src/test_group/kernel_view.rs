//! What the prober asks of the kernel side.

use std::{io, os::fd::BorrowedFd};

use reuse_model::{
    endpoint::{Family, Transport},
    socket::Cookie,
};

/// The kernel's own account of a probe.
pub trait KernelView {
    /// The hash by which the kernel selected a member for the packet from `source_port`, if the program on the
    /// group of this transport and family saw one.
    fn hash(&mut self, transport: Transport, family: Family, source_port: u16) -> Option<u32>;

    /// Selections counted so far for each of `cookies`, in their order; 0 for one not selected yet.
    fn deliveries(&mut self, cookies: &[Cookie]) -> Vec<u64>;

    /// Lets the program that tells the hashes see the packets of one more group of the daemon's own, until its sockets
    /// close.
    ///
    /// # Errors
    /// The kernel refuses, or there is no such program.
    fn attach(&mut self, member: BorrowedFd<'_>) -> io::Result<()>;

    /// Forgets the counts of sockets of the daemon's own that were closed.
    fn forget(&mut self, cookies: &[Cookie]);
}
