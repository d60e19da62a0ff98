//! Errnos that the kernel's own checks cannot have given: a seccomp filter and, since 5.18, a cgroup program
//! (`bpf_set_retval`) may answer whatever they like.

use std::net::IpAddr;

use super::super::errno::{EADDRNOTAVAIL, EAFNOSUPPORT, EBADF, EFAULT, EINVAL, ENODEV, ENOTSOCK, EOPNOTSUPP};
use crate::{
    endpoint::Protocol,
    event::{Call, Phase},
    socket::SocketFacts,
};

/// Whether what was asked for contradicts the errno: the check that gives it would have let this call pass.
pub(super) fn contradicts(call: &Call) -> bool {
    let Some(socket) = &call.socket else { return false };
    // Of the address only one that was read and has the socket's family says something.
    let asked = call.requested.map(|asked| asked.address);
    let asked = asked.filter(|address| address.is_ipv4() == socket.local.address.is_ipv4());
    match (call.errno, call.phase) {
        (EBADF | ENOTSOCK, _) => true,
        (EFAULT, Phase::Bind) => call.requested.is_some(),
        (EFAULT, Phase::Listen) => true,
        // An IPv4 socket takes AF_UNSPEC for its own family, but only with the wildcard.
        (EAFNOSUPPORT, Phase::Bind) => {
            asked.is_some_and(|address| address.is_ipv6() || address.is_unspecified())
        }
        (EOPNOTSUPP, Phase::Listen) => matches!(socket.protocol, Protocol::Tcp | Protocol::Mptcp),
        (EADDRNOTAVAIL, Phase::Bind) => asked.is_some_and(|address| is_always_local(address, socket)),
        (ENODEV, Phase::Bind) => socket.device.is_none() && asked.is_some_and(|address| address.is_ipv4()),
        (EINVAL, Phase::Bind) => {
            let unbound = !super::is_bound(call);
            unbound && asked.is_some_and(|address| is_ordinary(address, socket))
        }
        _ => false,
    }
}

/// A wildcard. Loopback is no proof: its device may be down, and the address is not local then.
fn is_always_local(address: IpAddr, socket: &SocketFacts) -> bool {
    address.is_unspecified() && socket.device.is_none()
}

/// No address that the kernel finds fault with by itself: no mapped or link-local one, no multicast.
fn is_ordinary(address: IpAddr, socket: &SocketFacts) -> bool {
    match address {
        IpAddr::V4(_) => socket.family == crate::endpoint::Family::Ipv4,
        IpAddr::V6(address) => {
            address.to_ipv4_mapped().is_none() && !address.is_unicast_link_local() && !address.is_multicast()
        }
    }
}
