//! Answers that need no reading of the port: what the kernel checks before it looks at other sockets
//! (net/ipv4/af_inet.c, `__inet_bind`, `inet_listen`; net/ipv6/af_inet6.c, `__inet6_bind`).

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use anyhow::Result;
use reuse_model::endpoint::{Family, Protocol};

use crate::{
    devices::{LOOPBACK, VETH},
    room::Equipment,
    system,
    world::Entry,
};

/// The errno of a `bind` that other sockets do not decide.
pub(super) fn bind(entry: &Entry, address: SocketAddr, equipment: Equipment) -> Result<Option<i32>> {
    let v6 = match (entry.family, address.ip()) {
        (Family::Ipv4, IpAddr::V6(_)) => return Ok(Some(libc::EAFNOSUPPORT)),
        // Its length is looked at first, and it is too short.
        (Family::Ipv6, IpAddr::V4(_)) => return Ok(Some(libc::EINVAL)),
        _ if system::local(&entry.socket)?.port() != 0 => return Ok(Some(libc::EINVAL)),
        (_, IpAddr::V4(_)) => return Ok(None),
        (_, IpAddr::V6(v6)) => v6,
    };
    let shape = entry.shape(address.ip())?;
    let no_device = shape.device == VETH && !equipment.second_device;
    // The address must be on the very device.
    let elsewhere = v6 == Ipv6Addr::LOCALHOST && shape.device != 0 && shape.device != LOOPBACK;
    Ok(if v6.to_ipv4_mapped().is_some() && shape.v6only {
        Some(libc::EINVAL)
    } else if !v6.is_unspecified() && no_device {
        Some(libc::ENODEV)
    } else {
        elsewhere.then_some(libc::EADDRNOTAVAIL)
    })
}

/// The answer to a `listen` on a bound socket that other sockets do not decide; 0 for success.
pub(super) fn listen(entry: &Entry) -> Result<Option<i32>> {
    if entry.protocol == Protocol::Udp {
        return Ok(Some(libc::EOPNOTSUPP));
    }
    Ok(match entry.tcp_state()? {
        _ if entry.connected => Some(libc::EINVAL),
        system::LISTEN => Some(0),
        system::CLOSE => None,
        _ => Some(libc::EINVAL),
    })
}
