//! Many calls in a row one way, refused ones among them, each counted by its result as it returns.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Context as _, Result, ensure};
use socket2::Socket;

use super::{Caller, implicit::SameTuple};
use crate::{
    generator::Calls,
    sockets::{self, Transport, family_name, result_name},
};

const TRANSPORTS: [Transport; 3] = [Transport::Tcp, Transport::Udp, Transport::Mptcp];
const LOOPBACKS: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
const WILDCARDS: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
/// Addresses for documentation (RFC 5737, RFC 3849): no host has them.
const FOREIGN: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1))];

/// In as many calls each kind of them is made.
pub const KINDS: usize = 10;

/// What a thread of a storm is in the middle of: for each protocol and family a socket that holds a port.
struct Thread<'a> {
    caller: &'a mut Caller,
    calls: Calls,
    holders: Vec<Holder>,
}

struct Holder {
    transport: Transport,
    /// Place in the lists of addresses above
    family: usize,
    socket: Socket,
    /// Bound like a second one that listens, so it cannot
    mute: Option<[Socket; 2]>,
}

/// Makes calls `count` times for each of TCP, UDP and MPTCP over IPv4 and IPv6, in the namespace of the calling thread:
/// of ten, six succeed and four are refused, for three reasons; stream sockets also listen, and are refused that.
///
/// # Errors
/// When the kernel answers otherwise than it must.
pub fn calls(caller: &mut Caller, count: usize) -> Result<Calls> {
    let mut thread = Thread { caller, calls: Calls::default(), holders: Vec::new() };
    for transport in TRANSPORTS {
        for family in 0..LOOPBACKS.len() {
            let holder = thread.holder(transport, family)?;
            thread.holders.push(holder);
        }
    }
    let holders = std::mem::take(&mut thread.holders);
    for number in 0..count {
        for holder in &holders {
            thread.one(number, holder).with_context(|| format!("{} {number}", holder.transport.name()))?;
        }
    }
    Ok(thread.calls)
}

/// Tries `count` connects whose addresses and ports are taken, in the namespace of the calling thread.
///
/// # Errors
/// When the kernel answers otherwise.
pub fn connects(caller: &mut Caller, count: usize) -> Result<()> {
    let mut pairs = Vec::new();
    for ip in LOOPBACKS {
        pairs.push(SameTuple::new(Transport::Tcp, ip)?);
    }
    for pair in pairs.iter().cycle().take(count) {
        let outcome = result_name(&caller.connect(&pair.second, pair.peer));
        ensure!(outcome == "EADDRNOTAVAIL", "connect to {}: {outcome}", pair.peer);
    }
    Ok(())
}

impl Thread<'_> {
    fn holder(&mut self, transport: Transport, family: usize) -> Result<Holder> {
        let ip = LOOPBACKS[family];
        let socket = sockets::open(transport, ip)?;
        self.bind(transport, &socket, SocketAddr::new(ip, 0), "success")?;
        let mute = if transport == Transport::Udp {
            None
        } else {
            let pair = [sockets::open(transport, ip)?, sockets::open(transport, ip)?];
            for socket in &pair {
                socket.set_reuse_address(true)?;
            }
            self.bind(transport, &pair[0], SocketAddr::new(ip, 0), "success")?;
            self.bind(transport, &pair[1], sockets::local_address(&pair[0])?, "success")?;
            self.listen(transport, ip, &pair[0], "success")?;
            Some(pair)
        };
        Ok(Holder { transport, family, socket, mute })
    }

    fn one(&mut self, number: usize, holder: &Holder) -> Result<()> {
        let Holder { transport, family, ref socket, ref mute } = *holder;
        let ip = LOOPBACKS[family];
        let open = |ip| sockets::open(transport, ip);
        match number % KINDS {
            0 | 5 => self.bind(transport, &open(ip)?, sockets::local_address(socket)?, "EADDRINUSE"),
            3 => self.bind(transport, &open(ip)?, SocketAddr::new(FOREIGN[family], 9), "EADDRNOTAVAIL"),
            7 => {
                if let Some([_, mute]) = mute {
                    self.listen(transport, ip, mute, "EADDRINUSE")?;
                }
                self.bind(transport, socket, SocketAddr::new(ip, 0), "EINVAL")
            }
            // The holder has another address of the host, so its port is free on these. Each is another: a ring may keep a
            // socket for a moment after its descriptor is closed.
            1 | 6 if family == 0 => {
                let port = sockets::local_address(socket)?.port();
                let [high, low] = u16::try_from(number)?.to_be_bytes();
                let other = Ipv4Addr::new(127, 1, high, low);
                self.bind(transport, &open(ip)?, SocketAddr::new(other.into(), port), "success")
            }
            2 => self.bind(transport, &open(ip)?, SocketAddr::new(WILDCARDS[family], 0), "success"),
            _ => {
                let socket = open(ip)?;
                self.bind(transport, &socket, SocketAddr::new(ip, 0), "success")?;
                if transport == Transport::Udp {
                    Ok(())
                } else {
                    self.listen(transport, ip, &socket, "success")
                }
            }
        }
    }

    fn bind(
        &mut self,
        transport: Transport,
        socket: &Socket,
        address: SocketAddr,
        wanted: &str,
    ) -> Result<()> {
        let outcome = result_name(&self.caller.bind(socket, address));
        self.calls.binds.add(family_name(address.ip()), transport.name(), &outcome, 1);
        ensure!(outcome == wanted, "bind {address}: {outcome}, not {wanted}");
        Ok(())
    }

    fn listen(&mut self, transport: Transport, ip: IpAddr, socket: &Socket, wanted: &str) -> Result<()> {
        let outcome = result_name(&self.caller.listen(socket, 8));
        self.calls.listens.add(family_name(ip), transport.name(), &outcome, 1);
        ensure!(outcome == wanted, "listen: {outcome}, not {wanted}");
        Ok(())
    }
}
