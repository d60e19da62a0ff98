//! Traffic of every kind to a group of its own, and what each member was selected for.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::Result;

use super::{Group, Share, Traffic, connections, copies, datagrams};
use crate::sockets::{self, Transport};

const MEMBERS: usize = 3;
const CONNECTIONS: usize = 48;
const DATAGRAMS: usize = 240;
/// Bytes of a receive buffer that a few datagrams fill.
const SMALL: usize = 4_096;
const LOOPBACKS: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

/// What is sent to a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Connections, each accepted
    Connections(Transport),
    /// Datagrams, each read at once
    Datagrams,
    /// Datagrams nobody reads until the buffers are full
    TooManyDatagrams,
    /// Datagrams among broadcast copies
    Mixed,
    /// Broadcast copies until the buffers are full
    TooManyCopies,
}

/// A group and what each member was selected for.
#[derive(Debug)]
pub struct Scene {
    /// What it gets
    pub kind: Kind,
    /// The group
    pub group: Group,
    /// What its members were selected for so far, in their order
    pub shares: Vec<Share>,
}

impl Scene {
    fn open(kind: Kind, address: IpAddr) -> Result<Self> {
        let transport = if let Kind::Connections(transport) = kind { transport } else { Transport::Udp };
        let group = Group::open(transport, address, MEMBERS)?;
        if matches!(kind, Kind::TooManyDatagrams | Kind::TooManyCopies) {
            for member in group.members() {
                member.set_recv_buffer_size(SMALL)?;
            }
        }
        let shares = group.untouched()?;
        Ok(Self { kind, group, shares })
    }

    /// One of each kind, in the calling thread's namespace.
    ///
    /// # Errors
    /// When the kernel refuses a socket.
    pub fn open_all() -> Result<Vec<Self>> {
        let mut scenes = Vec::new();
        for address in LOOPBACKS {
            for kind in [
                Kind::Connections(Transport::Tcp),
                Kind::Connections(Transport::Mptcp),
                Kind::Datagrams,
                Kind::TooManyDatagrams,
            ] {
                scenes.push(Self::open(kind, address)?);
            }
        }
        for kind in [Kind::Mixed, Kind::TooManyCopies] {
            scenes.push(Self::open(kind, Ipv4Addr::UNSPECIFIED.into())?);
        }
        Ok(scenes)
    }

    /// Has the group get its traffic once, from the calling thread's namespace.
    ///
    /// # Errors
    /// When something does not arrive.
    pub fn play(&mut self) -> Result<()> {
        let traffic = |read_late| Traffic { count: DATAGRAMS, threads: 2, read_late };
        let got = match self.kind {
            Kind::Connections(_) => connections(&self.group, CONNECTIONS, 2)?,
            Kind::Datagrams => datagrams(&self.group, traffic(false))?,
            Kind::TooManyDatagrams => datagrams(&self.group, traffic(true))?,
            Kind::Mixed => copies::mixed(&self.group)?,
            Kind::TooManyCopies => copies::too_many_copies(&self.group)?,
        };
        for (share, got) in self.shares.iter_mut().zip(got) {
            share.taken += got.taken;
            share.dropped += got.dropped;
        }
        Ok(())
    }

    /// Has every other member given a cookie.
    ///
    /// # Errors
    /// The kernel's.
    pub fn ask_for_cookies(&self) -> Result<()> {
        self.group.members().iter().step_by(2).try_for_each(|member| sockets::cookie(member).map(drop))
    }
}
