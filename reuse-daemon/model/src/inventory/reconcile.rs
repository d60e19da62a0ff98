//! How a snapshot puts the inventory right.

use std::sync::Arc;

use crate::{
    endpoint::Protocol,
    event::{Holding, Moment, Scope, Snapshot},
    hash::{NumberMap, NumberSet},
    process::{Process, Processes},
    socket::{Inode, SocketFacts},
};

use super::{
    Change, Correction, Corrections, Inventory, Owner, Socket,
    evidence::{holds_port, is_another, may_be_implicit},
};

/// A socket as a snapshot shows it.
struct Found<'a> {
    facts: &'a SocketFacts,
    owners: Vec<Owner>,
}

/// Ends that a snapshot may not undo.
struct Ended {
    closes: NumberSet<Inode>,
    exits: NumberSet<u32>,
}

impl Inventory {
    /// Compares the inventory with a snapshot and puts it right. The first one fills it and corrects nothing.
    ///
    /// The caller has applied every event up to the snapshot's end. What events said after the snapshot began is
    /// newer than what it may have read, and stays: a close, an exit, a bind.
    pub fn reconcile(&mut self, snapshot: &Snapshot, processes: &mut dyn Processes) -> Corrections {
        let blind = self.closes.is_incomplete(snapshot.began) || self.exits.is_incomplete(snapshot.began);
        let ended =
            Ended { closes: self.closes.since(snapshot.began), exits: self.exits.since(snapshot.began) };
        let mut result = Corrections::default();
        self.rescan = blind;
        let found = gather(snapshot, &ended, processes);
        if let Scope::Process(pid) = snapshot.scope {
            self.release(pid, &found, snapshot.began, &mut result);
        }
        if snapshot.scope == Scope::Host {
            self.remove_absent(&found, snapshot.began, &mut result);
        }
        // Inode numbers mostly grow: the members of a group that is found get their slots in the order they joined.
        let mut found: Vec<_> = found.into_iter().collect();
        found.sort_unstable_by_key(|(inode, _)| *inode);
        for (inode, found) in found {
            match self.sockets.get(&inode).cloned() {
                Some(known) if is_another(known.facts.cookie, found.facts.cookie) => {
                    result.kinds.push(Correction::MissedClose);
                    self.take(inode, &mut result.changes);
                    self.discover(found, snapshot, &mut result.changes);
                }
                Some(known) => self.compare(&known, found, snapshot, &mut result),
                // Too many ends to remember came in between: what looks new may be gone.
                None if blind => {}
                None => self.discover(found, snapshot, &mut result.changes),
            }
        }
        if !self.backfilled && matches!(snapshot.scope, Scope::Host | Scope::Part) {
            self.backfilled = true;
            result.kinds.clear();
        }
        result
    }

    /// Takes out what the snapshot would have shown were it still there.
    fn remove_absent(
        &mut self,
        found: &NumberMap<Inode, Found<'_>>,
        began: Moment,
        result: &mut Corrections,
    ) {
        let absent: Vec<Arc<Socket>> = self
            .sockets
            .values()
            .filter(|socket| socket.seen < began && !found.contains_key(&socket.facts.inode))
            .cloned()
            .collect();
        for socket in absent {
            let inode = socket.facts.inode;
            // Handed to a process the walk had passed already, by one that was gone when the walk came to it.
            if self.ownerless.get(&inode).is_some_and(|since| *since >= began) {
                self.rescan = true;
                continue;
            }
            result.kinds.push(Correction::MissedClose);
            self.take(inode, &mut result.changes);
        }
    }

    /// Takes a process from the owners of sockets that it has no longer, as a look at it shows.
    fn release(
        &mut self,
        pid: u32,
        found: &NumberMap<Inode, Found<'_>>,
        began: Moment,
        result: &mut Corrections,
    ) {
        let owned: Vec<Inode> = self.by_pid.get(&pid).into_iter().flatten().copied().collect();
        for inode in owned.into_iter().filter(|inode| !found.contains_key(inode)) {
            let Some(known) = self.sockets.get(&inode) else { continue };
            let mut socket = Socket::clone(known);
            let left: Vec<_> = socket
                .owners
                .extract_if(.., |owner| owner.process.pid == pid && owner.seen < began)
                .collect();
            if left.is_empty() {
                continue;
            }
            result.kinds.push(Correction::OwnerRemoved);
            if socket.owners.is_empty() {
                socket.former = left;
                self.ownerless.insert(inode, began);
            }
            self.put(Arc::new(socket), &mut result.changes);
        }
    }

    /// Takes in what a snapshot says of a socket that is known.
    fn compare(
        &mut self,
        known: &Arc<Socket>,
        found: Found<'_>,
        snapshot: &Snapshot,
        result: &mut Corrections,
    ) {
        let mut socket = Socket::clone(known);
        // An event since the snapshot began may be newer than what the snapshot read.
        if known.seen < snapshot.began {
            socket.facts = found.facts.clone();
            if socket.facts.cookie.0 == 0 {
                socket.facts.cookie = known.facts.cookie;
            }
            socket.facts.forced |= known.facts.forced;
        }
        let (now, before) = (&socket.facts, &known.facts);
        if self.backfilled && (now.state, now.local) != (before.state, before.local) {
            self.doubts.raise(now.inode, Correction::StateChanged, snapshot.ended);
        }
        // Of a part, what is absent may be elsewhere.
        let absent_before = match snapshot.scope {
            Scope::Host | Scope::Sockets => snapshot.began,
            Scope::Part | Scope::Process(_) => Moment(0),
        };
        merge_owners(&mut socket.owners, found.owners, absent_before, &mut result.kinds);
        self.ownerless.remove(&socket.facts.inode);
        if socket != **known {
            self.put(Arc::new(socket), &mut result.changes);
        }
    }

    /// Takes in a socket that no event told of.
    fn discover(&mut self, found: Found<'_>, snapshot: &Snapshot, changes: &mut Vec<Change>) {
        let facts = found.facts;
        let implicit =
            facts.protocol == Protocol::Udp && may_be_implicit(facts, &self.limits.ephemeral_ports);
        let kind = if implicit { Correction::ImplicitBind } else { Correction::MissedBind };
        let socket = Socket { owners: found.owners, ..Socket::found(facts.clone(), snapshot.began) };
        // The daemon's own binds are not told.
        let told = !socket.is_own();
        if self.put(Arc::new(socket), changes) && self.backfilled && told {
            self.doubts.raise(facts.inode, kind, snapshot.ended);
        }
    }
}

/// Brings together the holdings of each socket, without those that ended since.
fn gather<'a>(
    snapshot: &'a Snapshot,
    ended: &Ended,
    processes: &mut dyn Processes,
) -> NumberMap<Inode, Found<'a>> {
    let mut found: NumberMap<Inode, Found<'a>> = NumberMap::default();
    // Holdings come process by process.
    let mut last: Option<Arc<Process>> = None;
    for holding in &snapshot.holdings {
        let inode = holding.socket.inode;
        if !holds_port(&holding.socket) || ended.closes.contains(&inode) || ended.exits.contains(&holding.pid)
        {
            continue;
        }
        let process = match &last {
            Some(process) if process.pid == holding.pid => Arc::clone(process),
            _ => processes.process(holding.pid, holding.comm, holding.uid),
        };
        last = Some(Arc::clone(&process));
        let socket =
            found.entry(inode).or_insert_with(|| Found { facts: &holding.socket, owners: Vec::new() });
        hold(&mut socket.owners, process, holding, snapshot.began);
    }
    found
}

fn hold(owners: &mut Vec<Owner>, process: Arc<Process>, holding: &Holding, began: Moment) {
    match owners.iter_mut().find(|owner| owner.process.pid == holding.pid) {
        Some(owner) => owner.fds.push(holding.fd),
        None => owners.push(Owner { process, comm: holding.comm, fds: vec![holding.fd], seen: began }),
    }
}

/// Makes `owners` those that a snapshot found, and those that events added after it began.
fn merge_owners(owners: &mut Vec<Owner>, found: Vec<Owner>, began: Moment, kinds: &mut Vec<Correction>) {
    owners.retain(|owner| {
        let stays = owner.seen >= began || found.iter().any(|other| other.process.pid == owner.process.pid);
        if !stays {
            kinds.push(Correction::OwnerRemoved);
        }
        stays
    });
    for other in found {
        match owners.iter_mut().find(|owner| owner.process.pid == other.process.pid) {
            Some(owner) => {
                owner.fds = other.fds;
                owner.process = other.process;
            }
            None => {
                kinds.push(Correction::OwnerAdded);
                owners.push(other);
            }
        }
    }
}
