//! Who has the holders of a refused port: from the inventory, from those closed lately, and from the kernel itself where
//! that is worth its cost.
//!
//! The inventory knows who bound a socket; it does not know of connections, nor yet of a descriptor that was passed on
//! since the last snapshot. A walk over the processes' files does, but costs with the number of open files of the host. So
//! walks have an allowance of time, and so has each process that causes them, that one which is refused in a loop cannot use
//! up everyone's; where it is used up, what is remembered must do.

mod allowance;

use std::{
    io,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use reuse_model::{
    conflict::Possession,
    endpoint::Family,
    event::{Call, Holding, Moment},
    hash::NumberMap,
    inventory::{Inventory, Owner, PortKey, Socket},
    port::{Occupant, Tenure},
    process::Processes,
    refusal::Refusal,
    socket::{Inode, SocketFacts},
};

use crate::{clock::Clock, kernel::owners::Owners};
use allowance::Allowances;

/// How long a walk's answer stands.
const FRESH: Duration = Duration::from_secs(1);
/// Most sockets closed lately that are looked through for one holder.
const CLOSED_LOOKED_AT: usize = 64;
/// Most sockets whose answers are kept.
const FOUND_MAX: usize = 4096;

/// When a look began, and the descriptors that it found.
pub(super) type Read = Option<(Moment, Vec<Holding>)>;

/// Finds who has a socket.
pub(super) struct Possessions {
    finder: Option<Owners>,
    found: NumberMap<Inode, (Instant, Possession)>,
    allowances: Allowances,
}

impl Possessions {
    pub(super) fn new(finder: Option<Owners>) -> Self {
        Self { finder, found: NumberMap::default(), allowances: Allowances::new(Instant::now()) }
    }

    /// Who has each holder of a refusal, in order.
    pub(super) fn of(
        &mut self,
        call: &Call,
        refusal: &Refusal,
        inventory: &Inventory,
        processes: &mut dyn Processes,
    ) -> Vec<Possession> {
        let Some(key) = port_of(call) else { return Vec::new() };
        self.look(refusal, call, processes);
        let now = Instant::now();
        let mut predecessors = Predecessors { key, at: call.at, inventory, known: Vec::new() };
        let occupants = refusal.holders.iter().map(|holder| &holder.occupant);
        let possession = |occupant| self.possession(occupant, &mut predecessors, now);
        occupants.map(possession).collect()
    }

    /// A socket as its process has it now; `None` where the allowance is used up or the process has it no longer.
    pub(super) fn socket(&mut self, inode: Inode, pid: u32) -> Option<SocketFacts> {
        let finder = self.finder.as_mut()?;
        let now = Instant::now();
        if !self.allowances.allow(pid, now) {
            return None;
        }
        let began = allowance::used();
        let holdings = finder.find(&[inode], Some(pid)).unwrap_or_default();
        self.allowances.spend(pid, allowance::used().saturating_sub(began));
        holdings.into_iter().next().map(|holding| holding.socket)
    }

    /// Has the kernel look; when it began, and what it found. `None` where it cannot.
    pub(super) fn read(
        &mut self,
        look: impl FnOnce(&mut Owners) -> io::Result<Vec<Holding>>,
    ) -> io::Result<Read> {
        let Some(finder) = &mut self.finder else { return Ok(None) };
        let began = Clock::now();
        Ok(Some((began, look(finder)?)))
    }

    fn possession(
        &self,
        occupant: &Occupant,
        predecessors: &mut Predecessors<'_>,
        now: Instant,
    ) -> Possession {
        let Predecessors { key, at, inventory, .. } = *predecessors;
        if occupant.is_being_closed() {
            let socket = lately_closed(key, at, inventory).find(|socket| is_same_as(socket, occupant));
            return socket.map_or_else(Possession::default, |socket| of_socket(socket, &[]));
        }
        if occupant.tenure != Tenure::Held {
            return predecessors.of(occupant);
        }
        let found = self.found.get(&occupant.inode).filter(|(when, _)| now - *when < FRESH);
        let known = remembered(occupant, key, at, inventory);
        match (known, found) {
            (None, None) => Possession::default(),
            (None, Some((_, found))) => found.clone(),
            (Some(socket), found) => {
                of_socket(socket, found.map(|(_, found)| found.owners.as_slice()).unwrap_or_default())
            }
        }
    }

    /// Asks the kernel who has the holders, if the allowance is there.
    fn look(&mut self, refusal: &Refusal, call: &Call, processes: &mut dyn Processes) {
        let Some(finder) = &mut self.finder else { return };
        let occupants = refusal.holders.iter().map(|holder| &holder.occupant);
        let held = occupants.filter(|occupant| occupant.tenure == Tenure::Held && !occupant.kernel);
        let wanted: Vec<_> = held.map(|occupant| occupant.inode).collect();
        let now = Instant::now();
        if wanted.is_empty() || !self.allowances.allow(call.caller.pid, now) {
            return;
        }
        let began = allowance::used();
        let holdings = match finder.find(&wanted, None) {
            Ok(holdings) => holdings,
            Err(error) => {
                log::debug!("cannot look for the owners of a port: {error}");
                Vec::new()
            }
        };
        self.allowances.spend(call.caller.pid, allowance::used().saturating_sub(began));
        let done = Instant::now();
        if self.found.len() + wanted.len() > FOUND_MAX {
            self.found.clear();
        }
        for inode in wanted {
            self.found.insert(inode, (done, Possession::default()));
        }
        for holding in holdings {
            if let Some((_, possession)) = self.found.get_mut(&holding.socket.inode) {
                add(possession, holding, call.at, processes);
            }
        }
    }
}

/// The port a call asked for.
pub(super) fn port_of(call: &Call) -> Option<PortKey> {
    let socket = call.socket.as_ref()?;
    let port = call.endpoint()?.port;
    Some(PortKey { netns: socket.netns, transport: socket.protocol.transport()?, port })
}

/// Adds one descriptor of one process.
fn add(possession: &mut Possession, holding: Holding, at: Moment, processes: &mut dyn Processes) {
    let Holding { socket, pid, comm, uid, fd } = holding;
    possession.protocol = Some(socket.protocol);
    possession.device = socket.device.map(|device| device.name);
    match possession.owners.iter_mut().find(|owner| owner.process.pid == pid) {
        Some(owner) => owner.fds.push(fd),
        None => {
            let process = processes.process(pid, comm, uid);
            possession.owners.push(Owner { process, comm, fds: vec![fd], seen: at });
        }
    }
}

/// The socket as the inventory has it, or had it when it was closed a moment ago.
fn remembered<'a>(
    occupant: &Occupant,
    key: PortKey,
    at: Moment,
    inventory: &'a Inventory,
) -> Option<&'a Socket> {
    let same = |socket: &Socket| {
        let (known, seen) = (socket.facts.cookie.0, occupant.cookie.0);
        socket.facts.inode == occupant.inode && (known == 0 || seen == 0 || known == seen)
    };
    let live = inventory.get(occupant.inode).filter(|socket| same(socket));
    let closed = || lately_closed(key, at, inventory).find(|socket| same(socket));
    live.or_else(closed).map(AsRef::as_ref)
}

/// The possession of a socket that is known, and who the kernel says has it.
fn of_socket(socket: &Socket, found: &[Owner]) -> Possession {
    Possession {
        owners: current_owners(socket, found),
        former: Vec::new(),
        since: socket.since,
        protocol: Some(socket.facts.protocol),
        device: socket.facts.device.as_ref().map(|device| device.name.clone()),
    }
}

/// Whether a socket that was closed is one that was found without its inode number.
fn is_same_as(socket: &Socket, occupant: &Occupant) -> bool {
    let facts = &socket.facts;
    facts.local.address == occupant.address
        && facts.family == occupant.family
        && Some(facts.uid) == occupant.uid
        && (facts.flags.reuseaddr, facts.flags.reuseport) == (occupant.reuse.is_set(), occupant.reuseport)
}

/// The owners the kernel gave a moment ago, each with the name it had when it bound; else those that are remembered.
fn current_owners(socket: &Socket, found: &[Owner]) -> Vec<Owner> {
    if found.is_empty() {
        return socket.known_owners().to_vec();
    }
    let named = |owner: &Owner| match socket.owner(owner.process.pid) {
        Some(known) => Owner { comm: known.comm, ..owner.clone() },
        None => owner.clone(),
    };
    found.iter().map(named).collect()
}

fn lately_closed(key: PortKey, at: Moment, inventory: &Inventory) -> impl Iterator<Item = &Arc<Socket>> {
    inventory.closed_on_port(key, at).map(|(socket, _)| socket).take(CLOSED_LOOKED_AT)
}

/// Whose the sockets of a port were that no process has. Hundreds of connections may have come from one listener, so each
/// address is looked up once.
struct Predecessors<'a> {
    key: PortKey,
    at: Moment,
    inventory: &'a Inventory,
    known: Vec<(Family, IpAddr, Possession)>,
}

impl Predecessors<'_> {
    fn of(&mut self, occupant: &Occupant) -> Possession {
        let (family, address) = (occupant.family, occupant.address);
        let known = self.known.iter().find(|known| (known.0, known.1) == (family, address));
        if let Some((.., possession)) = known {
            return possession.clone();
        }
        let possession = self.find(occupant);
        self.known.push((family, address, possession.clone()));
        possession
    }

    /// The socket on the port it came from, live or closed lately, the one with its very address before a wildcard.
    fn find(&self, occupant: &Occupant) -> Possession {
        let live = self.inventory.on_port(self.key);
        let closed = lately_closed(self.key, self.at, self.inventory);
        let candidates: Vec<_> = live.chain(closed).filter(|socket| covers(socket, occupant)).collect();
        let exact = candidates.iter().find(|socket| socket.facts.local.address == occupant.address);
        let Some(socket) = exact.or(candidates.first()) else { return Possession::default() };
        Possession {
            former: socket.known_owners().to_vec(),
            protocol: Some(socket.facts.protocol),
            device: socket.facts.device.as_ref().map(|device| device.name.clone()),
            ..Possession::default()
        }
    }
}

/// Whether a connection at the occupant's address may have come from the socket.
fn covers(socket: &Socket, occupant: &Occupant) -> bool {
    let address = socket.facts.local.address;
    address == occupant.address
        || (address.is_unspecified() && (socket.facts.family == occupant.family || address.is_ipv6()))
}
