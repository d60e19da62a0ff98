//! Taking a connection off its port that no descriptor leads to: SOCK_DESTROY of sock_diag, as `ss -K` does it.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use crate::{
    netlink::{ACK, Netlink},
    system::LISTEN,
};

/// `NETLINK_SOCK_DIAG`
const SOCK_DIAG: i32 = 4;
/// `SOCK_DIAG_BY_FAMILY` (include/uapi/linux/sock_diag.h)
const BY_FAMILY: u16 = 20;
/// `SOCK_DESTROY`
const DESTROY: u16 = 21;
/// `INET_DIAG_NOCOOKIE`
const NO_COOKIE: [u8; 8] = [0xff; 8];
/// `idiag_state` of `struct inet_diag_msg`, and its `id.idiag_cookie`
const STATE: usize = 1;
const COOKIE: usize = 4 + 40;

/// Destroys the TCP connection with these two ends; whether it was there.
///
/// # Errors
/// The kernel was built without it.
pub(crate) fn destroy(local: SocketAddr, remote: SocketAddr, device: u32) -> io::Result<bool> {
    let mut netlink = Netlink::open(SOCK_DIAG)?;
    let Some(found) = find(&mut netlink, local, remote, device)? else { return Ok(false) };
    // Where there is no such connection, the listener that would have taken it is found.
    if found.get(STATE) == Some(&LISTEN) {
        return Ok(false);
    }
    let cookie = found.get(COOKIE..).and_then(|bytes| bytes.first_chunk::<8>()).copied();
    let request = request(cookie.unwrap_or(NO_COOKIE), (local, remote, device));
    netlink.ask(DESTROY, ACK, &request).map(|_| true)
}

/// Whether the kernel has what [`destroy`] asks (module tcp_diag): it finds a listener that is there.
///
/// # Errors
/// The kernel's.
pub(crate) fn destroy_is_known(listener: SocketAddr) -> io::Result<bool> {
    let client = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    find(&mut Netlink::open(SOCK_DIAG)?, listener, client, 0).map(|found| found.is_some())
}

/// The `struct inet_diag_msg` of a connection, or of the listener that would take it.
fn find(
    netlink: &mut Netlink,
    local: SocketAddr,
    remote: SocketAddr,
    device: u32,
) -> io::Result<Option<Vec<u8>>> {
    match netlink.ask(BY_FAMILY, 0, &request(NO_COOKIE, (local, remote, device))) {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        found => found.map(Some),
    }
}

/// `struct inet_diag_req_v2`
fn request(cookie: [u8; 8], (local, remote, device): (SocketAddr, SocketAddr, u32)) -> Vec<u8> {
    let ipv4 = local.ip().to_canonical().is_ipv4();
    let family = if ipv4 { libc::AF_INET } else { libc::AF_INET6 };
    let mut bytes = vec![family as u8, libc::IPPROTO_TCP as u8, 0, 0];
    bytes.extend(u32::MAX.to_ne_bytes());
    bytes.extend(local.port().to_be_bytes());
    bytes.extend(remote.port().to_be_bytes());
    bytes.extend(octets(local.ip()));
    bytes.extend(octets(remote.ip()));
    bytes.extend(device.to_ne_bytes());
    bytes.extend(cookie);
    bytes
}

/// The address in the 16 bytes of `idiag_src`: IPv4 in the first four.
fn octets(address: IpAddr) -> [u8; 16] {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        }
        IpAddr::V6(v6) => v6.octets(),
    }
}
