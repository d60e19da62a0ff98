//! The sockets on a port as anyone may see them: sock_diag(7) by port, for those who may not load programs.
//!
//! Every user sees every socket of the network namespace, but neither SO_REUSEADDR nor SO_REUSEPORT, nor what the kernel
//! remembers of the port (net/ipv4/inet_diag.c, `inet_diag_msg_common_fill` of 5.15 to 6.19). A TCP socket that is bound
//! and neither listens nor is connected is shown since 6.8 only.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use nix::sys::socket::SockProtocol;
use reuse_model::{
    endpoint::{Family, Protocol, Transport},
    port::{Occupant, Reuse, Tenure},
    socket::{Cookie, Inode, State},
};

use super::netlink::{Netlink, attributes};

/// include/uapi/linux/sock_diag.h
const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// include/uapi/linux/inet_diag.h, `INET_DIAG_SKV6ONLY`; told of sockets that listen or are not connected
const INET_DIAG_SKV6ONLY: u16 = 11;
/// `struct inet_diag_msg`
const MESSAGE: usize = 72;
/// Every TCP state but the handshakes of SYN_RECV and NEW_SYN_RECV, which hold no port; bit 13 is
/// `TCP_BOUND_INACTIVE`, which kernels before 6.8 pass over
const STATES: u32 = 0x3fff & !(1 << SYN_RECV | 1 << NEW_SYN_RECV);

/// include/net/tcp_states.h
const ESTABLISHED: u8 = 1;
const SYN_SENT: u8 = 2;
const SYN_RECV: u8 = 3;
const FIN_WAIT1: u8 = 4;
const FIN_WAIT2: u8 = 5;
const TIME_WAIT: u8 = 6;
const CLOSE_WAIT: u8 = 8;
const LAST_ACK: u8 = 9;
const LISTEN: u8 = 10;
const CLOSING: u8 = 11;
const NEW_SYN_RECV: u8 = 12;

/// The sockets on `port` in the calling thread's network namespace; their flags are given as not set.
///
/// # Errors
/// The kernel has no such interface (`CONFIG_INET_DIAG`, `CONFIG_INET_UDP_DIAG`) or refuses.
pub fn occupants(transport: Transport, port: u16) -> io::Result<Vec<Occupant>> {
    let netlink = Netlink::open(SockProtocol::NetlinkSockDiag)?;
    let mut found = Vec::new();
    for family in [libc::AF_INET, libc::AF_INET6] {
        let request = request(family as u8, transport, port);
        let dumped = netlink.dump(SOCK_DIAG_BY_FAMILY, &request, |kind, body| {
            if kind == SOCK_DIAG_BY_FAMILY {
                found.extend(occupant(transport, port, body));
            }
        });
        match dumped {
            // A kernel without IPv6 has no sockets of that family.
            Err(error) if family == libc::AF_INET6 && error.raw_os_error() == Some(libc::ENOENT) => {}
            result => result?,
        }
    }
    Ok(found)
}

/// `struct inet_diag_req_v2`: everything but the port is left open.
fn request(family: u8, transport: Transport, port: u16) -> [u8; 56] {
    let protocol = match transport {
        Transport::Tcp => libc::IPPROTO_TCP,
        Transport::Udp => libc::IPPROTO_UDP,
    };
    let mut request = [0; 56];
    let fields: [(usize, &[u8]); 3] =
        [(0, &[family, protocol as u8]), (4, &STATES.to_ne_bytes()), (8, &port.to_be_bytes())];
    for (at, bytes) in fields {
        request.iter_mut().skip(at).zip(bytes).for_each(|(to, from)| *to = *from);
    }
    request
}

/// `struct inet_diag_msg` and its attributes; `None` for another port, or what is cut short.
fn occupant(transport: Transport, port: u16, body: &[u8]) -> Option<Occupant> {
    let u32_at = |at: usize| body.get(at..)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes));
    let [family, kernel_state] = *body.first_chunk()?;
    if body.get(4..)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))? != port {
        return None;
    }
    let address = body.get(8..)?;
    let (family, address) = match i32::from(family) {
        libc::AF_INET => (Family::Ipv4, IpAddr::V4(Ipv4Addr::from(*address.first_chunk::<4>()?))),
        libc::AF_INET6 => (Family::Ipv6, IpAddr::V6(Ipv6Addr::from(*address.first_chunk::<16>()?))),
        _ => return None,
    };
    let cookie = u64::from(u32_at(44)?) | u64::from(u32_at(48)?) << 32;
    let expires = u32_at(52)?;
    let (uid, inode) = (u32_at(64)?, u32_at(68)?);
    let state = state(transport, kernel_state, inode)?;
    let v6only = attributes(body.get(MESSAGE..)?)
        .find(|(kind, _)| *kind == INET_DIAG_SKV6ONLY)
        .is_some_and(|(_, content)| content.first() == Some(&1));
    Some(Occupant {
        family,
        address,
        protocol: match transport {
            Transport::Tcp => Protocol::Tcp,
            Transport::Udp => Protocol::Udp,
        },
        state,
        reuse: Reuse::No,
        reuseport: false,
        v6only,
        device: u32_at(40)?,
        uid: (state != State::TimeWait).then_some(uid),
        inode: Inode(inode.into()),
        cookie: Cookie(cookie),
        tenure: tenure(state, inode),
        kernel: false,
        expires_in: (state == State::TimeWait).then(|| Duration::from_millis(expires.into())),
    })
}

fn state(transport: Transport, kernel_state: u8, inode: u32) -> Option<State> {
    match (transport, kernel_state) {
        (_, SYN_RECV | NEW_SYN_RECV) => None,
        (_, ESTABLISHED | SYN_SENT | CLOSE_WAIT) => Some(State::Connected),
        (Transport::Udp, _) => Some(State::Bound),
        (_, LISTEN) => Some(State::Listen),
        (_, TIME_WAIT) => Some(State::TimeWait),
        // Once nobody has it, it is a mini-socket.
        (_, FIN_WAIT2) if inode == 0 => Some(State::TimeWait),
        (_, FIN_WAIT1 | FIN_WAIT2 | CLOSING | LAST_ACK) => Some(State::Closing),
        _ => Some(State::Bound),
    }
}

fn tenure(state: State, inode: u32) -> Tenure {
    match (inode, state) {
        (_, State::TimeWait) | (0, State::Closing) => Tenure::Orphan,
        (0, State::Connected) => Tenure::Unaccepted,
        _ => Tenure::Held,
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream, UdpSocket};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_listener_a_connection_and_a_bound_socket_are_found() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let client = TcpStream::connect(address).unwrap();
        let states = |port| {
            let mut states: Vec<_> = occupants(Transport::Tcp, port)
                .unwrap()
                .iter()
                .map(|found| (found.state, found.tenure))
                .collect();
            states.sort_unstable_by_key(|(state, _)| *state);
            states
        };
        let expected = [(State::Listen, Tenure::Held), (State::Connected, Tenure::Unaccepted)];
        assert_eq!(states(address.port()), expected);
        let accepted = listener.accept().unwrap();
        assert_eq!(states(address.port())[1].1, Tenure::Held);
        drop((client, accepted));
    }

    #[test]
    fn a_udp_socket_is_found_with_its_address_and_owner() {
        use std::os::unix::fs::MetadataExt as _;
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let found = occupants(Transport::Udp, port).unwrap();
        let own = std::fs::metadata("/proc/self").unwrap().uid();
        let [only] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!(
            (only.address, only.state, only.uid),
            (Ipv4Addr::LOCALHOST.into(), State::Bound, Some(own))
        );
        assert!(only.inode.0 != 0 && only.tenure == Tenure::Held, "{only:?}");
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_socket_or_none(bytes in prop::collection::vec(any::<u8>(), 0..128)) {
            let port = bytes.get(4..6).map_or(0, |port| u16::from_be_bytes([port[0], port[1]]));
            let found = occupant(Transport::Tcp, port, &bytes);
            prop_assert!(found.is_none() || bytes.len() >= MESSAGE);
        }
    }
}
