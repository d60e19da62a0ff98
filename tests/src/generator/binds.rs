//! Bind and listen calls of every kind, each counted by its result as it returns.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Context, Result};
use socket2::Socket;

use crate::{
    attempts::Tally,
    sockets::{self, Transport, family_name},
};

/// Calls made, by result.
#[derive(Debug, Clone, Default)]
pub struct Calls {
    /// bind() calls.
    pub binds: Tally,
    /// listen() calls.
    pub listens: Tally,
}

impl Calls {
    /// Adds the calls of another thread.
    pub fn merge(&mut self, other: &Self) {
        self.binds.merge(&other.binds);
        self.listens.merge(&other.listens);
    }

    fn bind(&mut self, transport: Transport, socket: &Socket, address: SocketAddr) -> std::io::Result<()> {
        self.binds.record(family_name(address.ip()), transport.name(), socket.bind(&address.into()))
    }
}

const TRANSPORTS: [Transport; 3] = [Transport::Tcp, Transport::Udp, Transport::Mptcp];
const LOOPBACKS: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
const WILDCARDS: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
/// Addresses for documentation (RFC 5737, RFC 3849): no host has them.
const FOREIGN: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1))];

/// Makes `count` bind calls of which exactly `refused` are refused, in the namespace of the calling thread: TCP, UDP and
/// MPTCP, IPv4 and IPv6, specific and wildcard; every fourth bound stream socket listens.
///
/// # Errors
/// When a call that must succeed is refused, or one that must be refused succeeds.
pub fn binds(count: u64, refused: u64) -> Result<Calls> {
    let mut calls = Calls::default();
    let mut holders = Vec::new();
    for transport in TRANSPORTS {
        for address in LOOPBACKS {
            let holder = sockets::open(transport, address)?;
            calls.bind(transport, &holder, SocketAddr::new(address, 0)).context("binding a holder")?;
            holders.push(holder);
        }
    }
    let rest = count.checked_sub(holders.len() as u64).context("too few binds to hold every port")?;
    for (number, holder) in (0..rest).zip((0..holders.len()).cycle()) {
        let transport = TRANSPORTS[holder / LOOPBACKS.len()];
        let family = holder % LOOPBACKS.len();
        // Spreads the refusals evenly among all calls.
        if number * refused / rest == (number + 1) * refused / rest {
            succeed(&mut calls, transport, family, number)?;
        } else {
            refuse(&mut calls, transport, family, &holders[holder], number)?;
        }
    }
    Ok(calls)
}

fn succeed(calls: &mut Calls, transport: Transport, family: usize, number: u64) -> Result<()> {
    let address = if number.is_multiple_of(2) { LOOPBACKS[family] } else { WILDCARDS[family] };
    let socket = sockets::open(transport, address)?;
    calls
        .bind(transport, &socket, SocketAddr::new(address, 0))
        .with_context(|| format!("bind {address}:0"))?;
    if transport != Transport::Udp && number.is_multiple_of(4) {
        calls.listens.record(family_name(address), transport.name(), socket.listen(1)).context("listen")?;
    }
    Ok(())
}

fn refuse(
    calls: &mut Calls,
    transport: Transport,
    family: usize,
    holder: &Socket,
    number: u64,
) -> Result<()> {
    let (socket, address) = match number % 3 {
        // EADDRINUSE.
        0 => (sockets::open(transport, LOOPBACKS[family])?, sockets::local_address(holder)?),
        // EADDRNOTAVAIL.
        1 => (sockets::open(transport, FOREIGN[family])?, SocketAddr::new(FOREIGN[family], 9)),
        // EINVAL: bound already.
        _ => (holder.try_clone()?, SocketAddr::new(LOOPBACKS[family], 0)),
    };
    match calls.bind(transport, &socket, address) {
        Ok(()) => anyhow::bail!("{} bind to {address} was not refused", transport.name()),
        Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn makes_exactly_the_calls_it_promises() {
        let calls = binds(1_000, 300).expect("binds on loopback");
        assert_eq!(calls.binds.total(|_| true), 1_000);
        assert_eq!(calls.binds.total(|result| result != "success"), 300, "{}", calls.binds);
        assert!(calls.binds.total(|result| result == "EADDRINUSE") > 50, "{}", calls.binds);
        assert!(calls.listens.total(|result| result == "success") > 50, "{}", calls.listens);
    }
}
