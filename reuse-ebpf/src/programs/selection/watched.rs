//! Sockets that are in no group and counted all the same, because the daemon asks for their traffic.

use super::sock::Sock;
use crate::programs::{
    field::offset,
    maps::{WATCHED, WATCHING},
    socket::{IPPROTO_UDP, TCP_LISTEN},
};

/// Whether a socket of IPv4 or IPv6 is one. Where none is, one load says no; else it is a look-up for datagram sockets and
/// listeners, and others pay two loads.
#[inline(always)]
pub(super) fn is_watched<const TYPED: bool>(sk: Sock<TYPED>) -> bool {
    // SAFETY: the array's only element.
    let watching = WATCHING.get_ptr(0).is_some_and(|any| unsafe { any.read_volatile() } != 0);
    if !watching {
        return false;
    }
    let (protocol, state): (u16, u8) = (sk.at(offset!(sk_protocol)), sk.at(offset!(sk_state)));
    (protocol == IPPROTO_UDP || state == TCP_LISTEN) && WATCHED.get_ptr(sk.inode()).is_some()
}
