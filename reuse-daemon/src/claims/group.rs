//! A SO_REUSEPORT group of UDP sockets, and flows to it: which member gets each.
//!
//! A flow is a client socket and a source address that the datagram itself names (IP_PKTINFO, ip(7)), so that thousands
//! take a few sockets. Datagrams are numbered, and members are asked for them after every few.

use std::{
    io::{self, ErrorKind, IoSlice},
    mem::MaybeUninit,
    net::{Ipv4Addr, SocketAddrV4},
    os::fd::AsRawFd as _,
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrIn, sendmsg};
use socket2::Socket;

use super::{namespace::Private, socket::UDP};

/// Client sockets
const CLIENTS: u16 = 16;
/// Datagrams that are sent before the members are asked: all of them fit into one member's buffer
const BATCH: usize = 64;
/// How long they may take on their way
const PATIENCE: Duration = Duration::from_secs(5);

/// A member, by when it joined.
pub(super) type Member = usize;

/// The group.
pub(super) struct Group {
    /// As the kernel has them in its array
    members: Vec<(Member, Socket)>,
    at: SocketAddrV4,
    joined: Member,
}

impl Group {
    /// So many members at this address.
    pub(super) fn open(at: SocketAddrV4, members: usize) -> anyhow::Result<Self> {
        let mut group = Self { members: Vec::new(), at, joined: 0 };
        for _ in 0..members {
            group.join()?;
        }
        Ok(group)
    }

    /// One more.
    pub(super) fn join(&mut self) -> anyhow::Result<()> {
        let bound = UDP.reuseport().hold(self.at)?;
        bound.socket.set_nonblocking(true)?;
        self.members.push((self.joined, bound.socket));
        self.joined += 1;
        Ok(())
    }

    /// The member at this place of the kernel's array leaves, and the last takes its place.
    pub(super) fn leave(&mut self, index: usize) {
        if index < self.members.len() {
            self.members.swap_remove(index);
        }
    }

    /// Where it is bound.
    pub(super) fn address(&self) -> SocketAddrV4 {
        self.at
    }

    /// The socket of the first in the kernel's array.
    pub(super) fn first(&self) -> Option<&Socket> {
        self.members.first().map(|(_, socket)| socket)
    }

    /// The members by when they joined.
    pub(super) fn members(&self) -> impl Iterator<Item = Member> {
        self.members.iter().map(|(member, _)| *member)
    }

    /// Sends one datagram of each flow to this address, and tells which member got each.
    ///
    /// # Errors
    /// One cannot be sent, or does not arrive.
    pub(super) fn deliver(
        &self,
        clients: &Clients,
        flows: &[Flow],
        to: SocketAddrV4,
    ) -> anyhow::Result<Vec<Member>> {
        let mut delivered = Vec::with_capacity(flows.len());
        for batch in flows.chunks(BATCH) {
            for (number, flow) in (0_u8..).zip(batch) {
                clients.send(*flow, number, to)?;
            }
            delivered.extend(self.collect(batch.len())?);
        }
        Ok(delivered)
    }

    /// The next datagrams, numbered from 0.
    fn collect(&self, count: usize) -> anyhow::Result<Vec<Member>> {
        let mut found = vec![None; count];
        let mut missing = count;
        let began = Instant::now();
        while missing > 0 {
            for (member, socket) in &self.members {
                while let Some(number) = receive(socket)? {
                    if let Some(place) = found.get_mut(usize::from(number))
                        && place.replace(*member).is_none()
                    {
                        missing -= 1;
                    }
                }
            }
            if missing > 0 && began.elapsed() > PATIENCE {
                anyhow::bail!("{missing} of {count} datagrams to {} never arrived", self.at);
            }
            if missing > 0 {
                thread::yield_now();
            }
        }
        Ok(found.into_iter().flatten().collect())
    }
}

fn receive(socket: &Socket) -> io::Result<Option<u8>> {
    let mut buffer = [MaybeUninit::uninit(); 1];
    match socket.recv(&mut buffer) {
        // SAFETY: so many bytes were received.
        Ok(length) if length == buffer.len() => Ok(Some(unsafe { buffer[0].assume_init() })),
        Ok(_) => Ok(None),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

/// Where a datagram comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flow {
    /// Which client, for its port
    client: u16,
    source: Ipv4Addr,
}

impl Flow {
    /// The same source address, the next client's port.
    pub(super) fn with_other_port(self) -> Self {
        Self { client: (self.client + 1) % CLIENTS, ..self }
    }

    /// The same port, an address that no flow of [`flows`] has.
    pub(super) fn with_other_address(self) -> Self {
        let [first, _, third, fourth] = self.source.octets();
        Self { source: Ipv4Addr::new(first, 2, third, fourth), ..self }
    }
}

/// So many flows, no two alike; at most 65,536 for each client.
pub(super) fn flows(count: u16) -> Vec<Flow> {
    let flow = |number: u16| {
        let [third, fourth] = (number / CLIENTS).to_be_bytes();
        Flow { client: number % CLIENTS, source: Ipv4Addr::new(127, 1, third, fourth) }
    };
    (0..count).map(flow).collect()
}

/// The sockets that datagrams come from.
pub(super) struct Clients(Vec<Socket>);

impl Clients {
    /// Each has a port of its own.
    pub(super) fn open(namespace: &Private) -> anyhow::Result<Self> {
        let any = |at: SocketAddrV4| SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, at.port());
        let one = |_| Ok(UDP.hold(any(namespace.address()))?.socket);
        Ok(Self((0..CLIENTS).map(one).collect::<anyhow::Result<_>>()?))
    }

    fn send(&self, flow: Flow, number: u8, to: SocketAddrV4) -> anyhow::Result<()> {
        let client = self.0.get(usize::from(flow.client)).context("no such client")?;
        let source = libc::in_pktinfo {
            ipi_ifindex: 0,
            ipi_spec_dst: libc::in_addr { s_addr: u32::from_ne_bytes(flow.source.octets()) },
            ipi_addr: libc::in_addr { s_addr: 0 },
        };
        let control = [ControlMessage::Ipv4PacketInfo(&source)];
        let payload = [number];
        let to_address = SockaddrIn::from(to);
        sendmsg(
            client.as_raw_fd(),
            &[IoSlice::new(&payload)],
            &control,
            MsgFlags::empty(),
            Some(&to_address),
        )
        .with_context(|| format!("cannot send from {} to {to}", flow.source))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_flows_are_alike() {
        let all = flows(5_000);
        let others = all.iter().map(|flow| flow.with_other_address());
        let distinct: HashSet<_> =
            all.iter().copied().chain(others).map(|flow| (flow.client, flow.source)).collect();
        assert_eq!(distinct.len(), 10_000);
        assert!(all.iter().all(|flow| flow.with_other_port() != *flow));
    }
}
