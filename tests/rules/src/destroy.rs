//! Taking a connection off its port that no descriptor leads to: SOCK_DESTROY of sock_diag, as `ss -K` does it.

use std::{
    io::{self, Read as _, Write as _},
    net::{IpAddr, SocketAddr},
};

use crate::system::LISTEN;
use socket2::{Domain, Protocol, Socket, Type};

/// `NETLINK_SOCK_DIAG`
const SOCK_DIAG: i32 = 4;
/// `SOCK_DIAG_BY_FAMILY` (include/uapi/linux/sock_diag.h)
const BY_FAMILY: u16 = 20;
/// `SOCK_DESTROY`
const DESTROY: u16 = 21;
/// `NLM_F_REQUEST`, `NLM_F_ACK`
const REQUEST: u16 = 0x1;
const ACK: u16 = 0x4;
/// `struct nlmsghdr` and `struct inet_diag_req_v2`
const LENGTH: u32 = 16 + 56;
/// `INET_DIAG_NOCOOKIE`
const NO_COOKIE: [u8; 8] = [0xff; 8];
/// Behind the header: `idiag_state` of `struct inet_diag_msg`, and its `id.idiag_cookie`
const STATE: usize = 16 + 1;
const COOKIE: usize = 16 + 4 + 40;

/// Destroys the TCP connection with these two ends; whether it was there.
///
/// # Errors
/// The kernel was built without it.
pub(crate) fn destroy(local: SocketAddr, remote: SocketAddr, device: u32) -> io::Result<bool> {
    let mut netlink =
        Socket::new(Domain::from(libc::AF_NETLINK), Type::RAW, Some(Protocol::from(SOCK_DIAG)))?;
    let mut ask = |kind, flags, cookie| {
        // Unconnected and without an address, it goes to the kernel.
        netlink.write_all(&request(kind, flags, cookie, (local, remote, device)))?;
        let mut answer = [0_u8; 512];
        let length = netlink.read(&mut answer)?;
        reply(answer.get(..length).unwrap_or_default()).map(|()| answer)
    };
    let found = match ask(BY_FAMILY, REQUEST, NO_COOKIE) {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(false),
        found => found?,
    };
    // Where there is no such connection, the listener that would have taken it is found.
    if found.get(STATE) == Some(&LISTEN) {
        return Ok(false);
    }
    let cookie = found.get(COOKIE..).and_then(|bytes| bytes.first_chunk::<8>()).copied();
    ask(DESTROY, REQUEST | ACK, cookie.unwrap_or(NO_COOKIE)).map(|_| true)
}

/// The error in an answer, if it is one: a negative errno, 0 for an acknowledgement.
fn reply(answer: &[u8]) -> io::Result<()> {
    let short = || io::Error::new(io::ErrorKind::UnexpectedEof, "a short answer of sock_diag");
    let kind = answer.get(4..).and_then(|bytes| bytes.first_chunk::<2>()).ok_or_else(short)?;
    if i32::from(u16::from_ne_bytes(*kind)) != libc::NLMSG_ERROR {
        return Ok(());
    }
    let code = answer.get(16..).and_then(|bytes| bytes.first_chunk::<4>()).ok_or_else(short)?;
    match i32::from_ne_bytes(*code) {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(-code)),
    }
}

fn request(
    kind: u16,
    flags: u16,
    cookie: [u8; 8],
    (local, remote, device): (SocketAddr, SocketAddr, u32),
) -> Vec<u8> {
    let ipv4 = local.ip().to_canonical().is_ipv4();
    let family = if ipv4 { libc::AF_INET } else { libc::AF_INET6 };
    let mut bytes = Vec::new();
    bytes.extend(LENGTH.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend([0; 8]);
    bytes.extend([family as u8, libc::IPPROTO_TCP as u8, 0, 0]);
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
