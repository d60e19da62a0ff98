//! The sockets of a port by whose they are: what is alike for every judgement is one side, however many sockets it has.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use crate::{
    endpoint::{Endpoint, Family},
    event::Moment,
    inventory::Socket,
    process::Process,
    socket::{Inode, SocketFacts, State},
};

use super::meeting::device;

/// Most sides of one port that are judged; of more the oldest. Each is held against each.
pub(super) const SIDES_MAX: usize = 256;

/// Most kinds of processes of a side that are told apart.
const KINDS_MAX: usize = 16;

/// A program as an operator tells it from others.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Program {
    executable: Arc<str>,
    unit: Option<Arc<str>>,
    container: Option<Arc<str>>,
}

impl Program {
    pub(super) fn of(process: &Process) -> Self {
        Self {
            executable: Arc::clone(&process.executable),
            unit: process.unit.clone(),
            container: process.container.clone(),
        }
    }
}

/// What stays the same of a side while its sockets come and go.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct SideKey {
    family: Family,
    local: Endpoint,
    v6only: bool,
    device: Option<u32>,
    uid: u32,
    /// Of its first owner
    program: Option<Program>,
}

/// The options and the state that a judgement looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Condition {
    state: State,
    reuseaddr: bool,
    reuseport: bool,
    forced: bool,
    changed_hands: bool,
    own: bool,
}

/// Sockets of a port that are alike.
#[derive(Debug)]
pub(super) struct Side<'a> {
    pub(super) key: SideKey,
    /// The oldest first, at least one
    pub(super) sockets: Vec<&'a Arc<Socket>>,
    /// Processes that have one of them open, in order
    pids: Vec<u32>,
    /// One of each kind of process among them
    kinds: Vec<&'a Process>,
}

impl<'a> Side<'a> {
    /// What is true of each of its sockets.
    pub(super) fn facts(&self) -> &'a SocketFacts {
        &self.first().facts
    }

    /// The oldest of its sockets.
    pub(super) fn first(&self) -> &'a Arc<Socket> {
        self.sockets[0]
    }

    /// Whether they are the daemon's own.
    pub(super) fn is_own(&self) -> bool {
        self.first().is_own()
    }

    /// Whether the uid of its sockets was changed.
    pub(super) fn changed_hands(&self) -> bool {
        changed_hands(self.facts())
    }

    /// Whether the two belong to different users.
    pub(super) fn is_of_another_uid_than(&self, other: &Self) -> bool {
        self.facts().uid != other.facts().uid
    }

    /// Whether no service has sockets of both, as far as it is known who has them.
    pub(super) fn is_of_another_service_than(&self, other: &Self) -> bool {
        are_strangers(&self.kinds, &other.kinds, Process::is_of_one_service_with)
    }

    /// Whether no program has sockets of both, as far as that is known.
    pub(super) fn is_of_another_program_than(&self, other: &Self) -> bool {
        are_strangers(&self.kinds, &other.kinds, Process::is_one_program_with)
    }

    /// Another uid or service.
    pub(super) fn is_of_others_than(&self, other: &Self) -> bool {
        self.is_of_another_uid_than(other) || self.is_of_another_service_than(other)
    }

    /// Whether one process has sockets of both, under one uid: a program that listens in several ways takes nothing from
    /// itself.
    pub(super) fn is_one_program_with(&self, other: &Self) -> bool {
        !self.is_of_another_uid_than(other)
            && self.pids.iter().any(|pid| other.pids.binary_search(pid).is_ok())
    }
}

/// Whether the uid of a socket is not the one its file was opened with.
pub(super) fn changed_hands(facts: &SocketFacts) -> bool {
    facts.creator.is_some_and(|creator| creator != facts.uid)
}

/// What a socket is older or younger by. Those that were found came first; of these the one whose process did, and then
/// the one with the lower inode number, which mostly grow.
pub(super) fn age(socket: &Socket) -> (Option<Moment>, Option<Moment>, Inode) {
    let started = socket.owners.iter().filter_map(|owner| owner.process.started).min();
    (socket.since, started.filter(|_| socket.since.is_none()), socket.facts.inode)
}

/// Whether two sets of processes are known and none of one is anything to one of the other.
fn are_strangers(one: &[&Process], other: &[&Process], are_one: fn(&Process, &Process) -> bool) -> bool {
    let meet = |process: &&Process| other.iter().any(|theirs| are_one(process, theirs));
    !one.is_empty() && !other.is_empty() && !one.iter().any(meet)
}

/// The sides of a port, the one with the oldest socket first, and how many more there are than are told.
pub(super) fn sides<'a>(sockets: impl Iterator<Item = &'a Arc<Socket>>) -> (Vec<Side<'a>>, usize) {
    let mut sockets: Vec<_> = sockets.collect();
    sockets.sort_by_key(|socket| age(socket));
    let mut places = BTreeMap::new();
    let mut sides: Vec<Side<'a>> = Vec::new();
    let mut beyond = 0;
    for socket in sockets {
        let (key, condition) = likeness(socket);
        let known = places.get(&(key.clone(), condition)).copied();
        let side = match known {
            Some(place) => &mut sides[place],
            None if sides.len() == SIDES_MAX => {
                beyond += 1;
                continue;
            }
            None => {
                places.insert((key.clone(), condition), sides.len());
                sides.push(Side { key, sockets: Vec::new(), pids: Vec::new(), kinds: Vec::new() });
                let last = sides.len() - 1;
                &mut sides[last]
            }
        };
        side.sockets.push(socket);
        for owner in socket.known_owners() {
            side.pids.push(owner.process.pid);
            // Workers are many and of one program.
            let is_known = |known: &&Process| is_of_one_kind(known, &owner.process);
            if side.kinds.len() < KINDS_MAX && !side.kinds.iter().any(is_known) {
                side.kinds.push(&owner.process);
            }
        }
    }
    for side in &mut sides {
        side.pids.sort_unstable();
    }
    (sides, beyond)
}

/// Whether two processes are the same to every comparison.
fn is_of_one_kind(one: &Process, other: &Process) -> bool {
    (one.comm, &one.executable, &one.service) == (other.comm, &other.executable, &other.service)
        && (&one.unit, &one.container) == (&other.unit, &other.container)
}

fn likeness(socket: &Socket) -> (SideKey, Condition) {
    let key = side_key(socket);
    let facts = &socket.facts;
    let condition = Condition {
        state: facts.state,
        reuseaddr: facts.flags.reuseaddr,
        reuseport: facts.flags.reuseport,
        forced: facts.forced,
        changed_hands: changed_hands(facts),
        own: socket.is_own(),
    };
    (key, condition)
}

/// The side a socket is on.
pub(super) fn side_key(socket: &Socket) -> SideKey {
    let facts = &socket.facts;
    SideKey {
        family: facts.family,
        local: facts.local,
        v6only: facts.flags.v6only,
        device: device(facts),
        uid: facts.uid,
        program: socket.known_owners().first().map(|owner| Program::of(&owner.process)),
    }
}

/// The multicast group of IPv4 that stands for the same service as one of IPv6, where there is one (RFC 6762 mDNS, RFC 4795
/// LLMNR, UPnP Device Architecture 2.0 SSDP): the scope of the IPv6 group does not matter.
fn service_of(group: IpAddr) -> IpAddr {
    const SERVICES: [([u16; 7], [u8; 4]); 3] = [
        ([0, 0, 0, 0, 0, 0, 0xfb], [224, 0, 0, 251]),
        ([0, 0, 0, 0, 0, 1, 3], [224, 0, 0, 252]),
        ([0, 0, 0, 0, 0, 0, 0xc], [239, 255, 255, 250]),
    ];
    let IpAddr::V6(v6) = group else { return group };
    let [first, rest @ ..] = v6.segments();
    let known = SERVICES.iter().find(|(segments, _)| first & 0xff00 == 0xff00 && rest == *segments);
    known.map_or(group, |(_, v4)| IpAddr::from(*v4))
}

/// Whether each of these sockets has joined one multicast group, so that they share its datagrams by design.
pub(super) fn share_multicast(sockets: &[&Arc<Socket>]) -> bool {
    let joined = |socket: &Arc<Socket>| -> Vec<IpAddr> {
        socket.facts.multicast.iter().map(|group| service_of(*group)).collect()
    };
    let [first, others @ ..] = sockets else { return false };
    joined(first).iter().any(|group| others.iter().all(|socket| joined(socket).contains(group)))
}
