//! Where the kernel must find a port for a call that names none, and finds none: a namespace without a free port, and two
//! sockets that want the same connection.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context as _, Result};
use socket2::{SockAddr, Socket};

use crate::{
    actor::Actor,
    namespace::Namespace,
    sockets::{self, Transport},
};

/// The port that [`exhausted`] leaves the kernel to choose.
pub const ONLY_PORT: u16 = 40_000;

/// A namespace with one port for the kernel to choose, taken by a process of its own on each of these: expressions of the
/// actor that give a socket.
///
/// # Errors
/// When the namespace cannot be made, or a holder gets another port.
pub fn exhausted(holders: &[&str]) -> Result<(Namespace, Actor)> {
    let namespace = Namespace::new("exhausted")?;
    let actor = namespace.run(|| {
        std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", format!("{ONLY_PORT} {ONLY_PORT}"))
            .context("the range")?;
        let mut actor = Actor::start("rt-last")?;
        for (number, holder) in holders.iter().enumerate() {
            actor.run(&format!("h{number} = {holder}"))?;
            let port = &actor.facts(&format!("h{number}"))?["port"];
            anyhow::ensure!(*port == ONLY_PORT, "{holder} got port {port}");
        }
        Ok(actor)
    })?;
    Ok((namespace, actor))
}

/// Two sockets on one local address and port, of which one is connected to the peer that the other is about to ask for.
#[derive(Debug)]
pub struct SameTuple {
    /// Where both want to go
    pub peer: SocketAddr,
    /// Connected
    pub first: Socket,
    /// Bound, not connected yet: the kernel must refuse it `peer` with EADDRNOTAVAIL
    pub second: Socket,
    /// Accepts nothing; the connection lives in its queue
    _listener: Socket,
}

impl SameTuple {
    /// Makes the sockets on this address, in the namespace of the calling thread.
    ///
    /// # Errors
    /// When the kernel refuses one.
    pub fn new(transport: Transport, address: IpAddr) -> Result<Self> {
        let listener = sockets::bound(transport, SocketAddr::new(address, 0))?;
        listener.listen(8)?;
        let peer = sockets::local_address(&listener)?;
        let open = || -> Result<Socket> {
            let socket = sockets::open(transport, address)?;
            socket.set_reuse_address(true)?;
            Ok(socket)
        };
        let (first, second) = (open()?, open()?);
        first.bind(&SockAddr::from(SocketAddr::new(address, 0)))?;
        let local = sockets::local_address(&first)?;
        second.bind(&SockAddr::from(local)).context("both set SO_REUSEADDR")?;
        first.connect(&SockAddr::from(peer)).context("the first of its kind")?;
        Ok(Self { peer, first, second, _listener: listener })
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;
    use crate::{
        sockets::result_name,
        ways::{Way, compat::Door, io_uring::Style},
    };

    #[test]
    fn the_kernel_refuses_whatever_the_way() -> Result<()> {
        if !nix::unistd::geteuid().is_root() {
            crate::skip::skip("making a network namespace needs root");
            return Ok(());
        }
        let (namespace, _actor) = exhausted(&["bound('::', 0)", "bound('::', 0, kind=SOCK_DGRAM)"])?;
        for way in [Way::Call, Way::Compat(Door::Direct), Way::Ring(Style::Plain)] {
            let Some(mut caller) = way.open()? else { continue };
            for ip in [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)] {
                let seen = namespace.run(|| {
                    let peer = SocketAddr::new(ip, 9);
                    let open = |transport| sockets::open(transport, ip);
                    let datagram = open(Transport::Udp)?.send_to(b"x", &SockAddr::from(peer));
                    Ok([
                        result_name(&caller.connect(&open(Transport::Tcp)?, peer)),
                        result_name(&caller.connect(&open(Transport::Udp)?, peer)),
                        result_name(&caller.listen(&open(Transport::Tcp)?, 1)),
                        result_name(&datagram),
                    ])
                })?;
                assert_eq!(seen, ["EADDRNOTAVAIL", "EAGAIN", "EADDRINUSE", "EAGAIN"], "{way:?} {ip}");
                let same = SameTuple::new(Transport::Tcp, ip)?;
                let outcome = caller.connect(&same.second, same.peer);
                assert_eq!(result_name(&outcome), "EADDRNOTAVAIL", "{way:?} {ip}");
            }
        }
        Ok(())
    }
}
