//! How an event changes the inventory.

use std::sync::Arc;

use crate::{
    event::{Call, Event, Moment, Phase, Touch, Via},
    process::Processes,
    socket::{Cookie, Inode, SocketFacts, State},
};

use super::{
    Change, Inventory, Owner, Socket,
    evidence::{holds_port, is_another, may_be_implicit},
};

impl Inventory {
    /// Takes in one event and appends what changed to `changes`.
    ///
    /// Events must come in the kernel's order. A refused call changes no address and no state: it only brings the
    /// options of a known socket up to date.
    pub fn apply(&mut self, event: &Event, processes: &mut dyn Processes, changes: &mut Vec<Change>) {
        match event {
            // The kernel's own sockets are nobody's, and no hook tells their end.
            Event::Call(call) if call.via == Via::Kernel => {}
            Event::Call(call) => self.call(call, processes, changes),
            Event::Touch(touch) => self.touch(touch, changes),
            Event::Attempt(_)
            | Event::Fork { .. }
            | Event::Exec { .. }
            | Event::Sent { .. }
            | Event::Took { .. } => {}
            Event::Close { inode, cookie, drops, at } => self.close(*inode, *cookie, *drops, *at, changes),
            Event::Exit { pid, at } => self.exit(*pid, *at, changes),
        }
    }

    fn call(&mut self, call: &Call, processes: &mut dyn Processes, changes: &mut Vec<Change>) {
        let Some(facts) = &call.socket else { return };
        if call.errno != 0 {
            return self.refresh_flags(facts, changes);
        }
        self.doubts.settle(facts.inode);
        if holds_port(facts) {
            self.hold(call, facts, processes, changes);
        } else if call.phase == Phase::Bind {
            // Bound without a port: whatever had this inode number before is gone.
            self.take(facts.inode, changes);
        }
    }

    /// A successful bind or listen left the socket with a port.
    fn hold(
        &mut self,
        call: &Call,
        facts: &SocketFacts,
        processes: &mut dyn Processes,
        changes: &mut Vec<Change>,
    ) {
        if self.sockets.get(&facts.inode).is_some_and(|known| is_another(known.facts.cookie, facts.cookie)) {
            self.take(facts.inode, changes);
        }
        let mut facts = facts.clone();
        if call.phase == Phase::Listen {
            facts.state = State::Listen;
        }
        let process = processes.caller(&call.caller);
        let caller = Owner {
            process: Arc::clone(&process),
            comm: call.caller.comm,
            // A call that succeeded had a valid descriptor.
            fds: u32::try_from(call.fd).into_iter().collect(),
            seen: call.at,
        };
        let known = self.sockets.get(&facts.inode);
        let since = match (call.phase, known) {
            (Phase::Listen, Some(known)) => known.since,
            // The bind was before the daemon's time, or was missed.
            (Phase::Listen, None) if !may_be_implicit(&facts, &self.limits.ephemeral_ports) => None,
            _ => Some(call.at),
        };
        let owners = known.map_or_else(Vec::new, |known| known.owners.clone());
        let (binder, asked) = match (call.phase, known) {
            (Phase::Bind, _) => (Some(process), call.requested.is_none_or(|asked| asked.port != 0)),
            (_, known) => known.map_or((None, false), |known| (known.binder.clone(), known.asked)),
        };
        if let Some(known) = known {
            facts.creator = facts.creator.or(known.facts.creator);
            facts.forced |= known.facts.forced;
            facts.multicast.clone_from(&known.facts.multicast);
        }
        let mut socket = Socket { facts, since, binder, asked, seen: call.at, owners, former: Vec::new() };
        socket.join(caller);
        self.ownerless.remove(&socket.facts.inode);
        self.put(Arc::new(socket), changes);
    }

    /// Remembers that TCP_REPAIR let a socket have its port, which its end would hide. What else is changed shows when the
    /// socket is read.
    fn touch(&mut self, touch: &Touch, changes: &mut Vec<Change>) {
        let Some(known) = self.sockets.get(&touch.inode) else { return };
        if !touch.forced || known.facts.forced || is_another(known.facts.cookie, touch.cookie) {
            return;
        }
        let mut socket = Socket::clone(known);
        socket.facts.forced = true;
        self.put(Arc::new(socket), changes);
    }

    /// Brings the options of a known socket up to date after a refused call.
    fn refresh_flags(&mut self, facts: &SocketFacts, changes: &mut Vec<Change>) {
        let Some(known) = self.sockets.get(&facts.inode) else { return };
        // A refused bind to an IPv6 address leaves the socket where it was, so address and state stay as they are.
        if known.facts.flags == facts.flags || is_another(known.facts.cookie, facts.cookie) {
            return;
        }
        let mut socket = Socket::clone(known);
        socket.facts.flags = facts.flags;
        self.put(Arc::new(socket), changes);
    }

    fn close(&mut self, inode: Inode, cookie: Cookie, drops: u64, at: Moment, changes: &mut Vec<Change>) {
        // The inode number may have a new socket by now, whose bind came first.
        if self.sockets.get(&inode).is_some_and(|known| is_another(known.facts.cookie, cookie)) {
            return;
        }
        self.closes.bury(inode, at);
        if let Some(socket) = self.sockets.get_mut(&inode).filter(|socket| socket.facts.drops < drops) {
            Arc::make_mut(socket).facts.drops = drops;
        }
        if let Some(socket) = self.sockets.get(&inode) {
            self.ports.bury(Arc::clone(socket), at);
        }
        self.take(inode, changes);
    }

    fn exit(&mut self, pid: u32, at: Moment, changes: &mut Vec<Change>) {
        self.exits.bury(pid, at);
        for inode in self.by_pid.remove(&pid).unwrap_or_default() {
            let Some(known) = self.sockets.get(&inode) else { continue };
            let mut socket = Socket::clone(known);
            let ended: Vec<_> = socket.owners.extract_if(.., |owner| owner.process.pid == pid).collect();
            if socket.owners.is_empty() {
                socket.former = ended;
                self.ownerless.insert(inode, at);
            }
            self.put(Arc::new(socket), changes);
        }
    }
}

impl Socket {
    /// Adds an owner, or renews it where it is one already.
    pub(super) fn join(&mut self, owner: Owner) {
        match self.owners.iter_mut().find(|known| known.process.pid == owner.process.pid) {
            Some(known) => {
                known.process = owner.process;
                known.comm = owner.comm;
                known.seen = owner.seen;
                for fd in owner.fds {
                    if !known.fds.contains(&fd) {
                        known.fds.push(fd);
                    }
                }
            }
            None => self.owners.push(owner),
        }
    }
}
