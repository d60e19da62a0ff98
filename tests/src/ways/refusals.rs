//! Calls that every kernel refuses, whatever the way and whatever the daemon sees of it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::Result;
use socket2::{SockAddr, Socket};

use super::ledger::{Ledger, Refusal};
use crate::sockets::{self, Transport};

/// Where a socket of each family has its port.
pub const LOOPBACKS: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

/// A listen on an address where another listens, both bound with SO_REUSEADDR.
///
/// # Errors
/// The kernel does otherwise.
pub fn of_a_second_listener(ledger: &mut Ledger) -> Result<()> {
    for transport in [Transport::Tcp, Transport::Mptcp] {
        for ip in LOOPBACKS {
            let open = || -> Result<Socket> {
                let socket = sockets::open(transport, ip)?;
                socket.set_reuse_address(true)?;
                Ok(socket)
            };
            let (holder, contender) = (open()?, open()?);
            holder.bind(&SockAddr::from(SocketAddr::new(ip, 0)))?;
            ledger.bind(&contender, sockets::local_address(&holder)?)?;
            holder.listen(1)?;
            let why = Refusal { errno: "EADDRINUSE", rule: "holder_is_listening", holders: &[&holder] };
            ledger.refused_listen("listen", &contender, why)?;
        }
    }
    Ok(())
}

/// A bind to an address of others, and one of a socket that is bound already.
///
/// # Errors
/// The kernel does otherwise.
pub fn without_a_holder(ledger: &mut Ledger, transports: &[Transport]) -> Result<()> {
    for transport in transports {
        for text in ["192.0.2.7", "2001:db8::7"] {
            let ip: IpAddr = text.parse()?;
            let socket = sockets::open(*transport, ip)?;
            let why = Refusal::alone("EADDRNOTAVAIL", "address_not_local");
            ledger.refused_bind(&socket, SocketAddr::new(ip, 8080), why)?;
        }
        let socket = sockets::open(*transport, LOOPBACKS[0])?;
        ledger.bind(&socket, SocketAddr::new(LOOPBACKS[0], 0))?;
        let why = Refusal::alone("EINVAL", "already_bound");
        ledger.refused_bind(&socket, SocketAddr::new(LOOPBACKS[0], 4321), why)?;
    }
    Ok(())
}

/// A bind to a privileged port; to be called as a user without the right.
///
/// # Errors
/// The kernel does otherwise.
pub fn of_a_privileged_port(ledger: &mut Ledger) -> Result<()> {
    for transport in [Transport::Tcp, Transport::Udp] {
        for ip in LOOPBACKS {
            let socket = sockets::open(transport, ip)?;
            let why = Refusal::alone("EACCES", "privileged_port");
            ledger.refused_bind(&socket, SocketAddr::new(ip, 80), why)?;
        }
    }
    Ok(())
}
