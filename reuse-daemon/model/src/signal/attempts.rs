//! Refused binds that were attempts on somebody's port: they leave no state in the socket table but the socket that asked.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Kind, Role, Severity,
    schedule::PATIENCE,
    state::{State, StateKey, Subject, place, who},
};
use crate::{
    conflict::Conflict,
    event::Moment,
    inventory::{Inventory, Owner, PortKey, Socket},
    refusal::Rule,
    socket::Inode,
};

/// Nanoseconds for which an attempt is told while its socket is still there.
pub(super) const LASTS: u64 = 60_000_000_000;

/// Most attempts that are kept; of more the newest are not.
const ATTEMPTS_MAX: usize = 256;

/// One refused attempt.
#[derive(Debug)]
struct Attempt {
    kind: Kind,
    contender: Arc<Socket>,
    holder: Arc<Socket>,
    at: Moment,
    pid: u32,
    /// Its socket is gone
    gone: bool,
    /// It was judged: who is gone before that is told all the same
    looked_at: bool,
}

/// The attempts whose sockets are still there, as far as is known.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    open: BTreeMap<(PortKey, Inode), Attempt>,
    dropped: u64,
}

impl Attempts {
    /// Takes in a refusal; the port it is about where it was an attempt.
    pub(super) fn take_in(&mut self, conflict: &Conflict, inventory: &Inventory) -> Option<PortKey> {
        let (kind, holder) = target(conflict, inventory)?;
        let facts = conflict.call.socket.as_ref()?;
        let (netns, asked) = conflict.place()?;
        let port = PortKey { netns, transport: facts.protocol.transport()?, port: asked.port };
        let caller = Owner {
            process: Arc::clone(&conflict.process),
            comm: conflict.call.caller.comm,
            fds: u32::try_from(conflict.call.fd).into_iter().collect(),
            seen: conflict.call.at,
        };
        let mut contender = Socket { owners: vec![caller], ..Socket::found(facts.clone(), conflict.call.at) };
        // What it asked for: it has nothing yet.
        contender.facts.local = asked;
        let key = (port, facts.inode);
        if self.open.len() >= ATTEMPTS_MAX && !self.open.contains_key(&key) {
            self.dropped += 1;
            return None;
        }
        let (at, pid) = (conflict.call.at, conflict.call.caller.pid);
        self.open.insert(
            key,
            Attempt { kind, contender: Arc::new(contender), holder, at, pid, gone: false, looked_at: false },
        );
        Some(port)
    }

    /// The sockets that asked, and a process that has each: whether they are still there nothing tells.
    pub(super) fn open(&self) -> impl Iterator<Item = (Inode, u32)> {
        let open = self.open.iter().filter(|(_, attempt)| !attempt.gone);
        open.map(|((_, inode), attempt)| (*inode, attempt.pid))
    }

    /// The ports that a socket asked for and was refused.
    pub(super) fn ports_of(&self, inode: Inode) -> Vec<PortKey> {
        self.open.keys().filter(|(_, asked)| *asked == inode).map(|(port, _)| *port).collect()
    }

    /// A socket that asked is gone; the ports it asked for.
    pub(super) fn gone(&mut self, inode: Inode) -> Vec<PortKey> {
        self.end_where(|asked, _| asked == inode)
    }

    /// A process ended, and with it what it asked with.
    pub(super) fn exited(&mut self, pid: u32) -> Vec<PortKey> {
        self.end_where(|_, attempt| attempt.pid == pid)
    }

    fn end_where(&mut self, ends: impl Fn(Inode, &Attempt) -> bool) -> Vec<PortKey> {
        let ended = self.open.iter_mut().filter(|((_, inode), attempt)| ends(*inode, attempt));
        let port = |((port, _), attempt): (&(PortKey, Inode), &mut Attempt)| {
            attempt.gone = true;
            *port
        };
        ended.map(port).collect()
    }

    /// The attempts on a port were judged.
    pub(super) fn looked_at(&mut self, port: PortKey) {
        for (_, attempt) in self.open.range_mut((port, Inode(0))..=(port, Inode(u64::MAX))) {
            attempt.looked_at = true;
        }
    }

    /// Appends the attempts on a port that last, and forgets those that do not. When the next one ends by itself.
    pub(super) fn look(
        &mut self,
        port: PortKey,
        inventory: &Inventory,
        now: Moment,
        states: &mut Vec<State>,
    ) -> Option<Moment> {
        let range = (port, Inode(0))..=(port, Inode(u64::MAX));
        let over = self.open.extract_if(range.clone(), |_, attempt| !attempt.lasts(inventory, now));
        over.for_each(drop);
        states.extend(self.open.range(range.clone()).map(|(_, attempt)| attempt.state(port)));
        let ends = |attempt: &Attempt| match attempt.gone {
            true => Moment(now.0 + PATIENCE),
            false => Moment(attempt.at.0 + LASTS),
        };
        self.open.range(range).map(|(_, attempt)| ends(attempt)).min()
    }
}

/// Whom a refusal was an attempt on: the test group, which nobody has business with, or another user's group.
fn target(conflict: &Conflict, inventory: &Inventory) -> Option<(Kind, Arc<Socket>)> {
    let holders = || {
        conflict.holders.iter().filter_map(|held| {
            let socket = inventory.get(held.holder.occupant.inode)?;
            Some((held.holder.rule, socket))
        })
    };
    let trapped = holders().find(|(_, socket)| socket.is_own() && socket.facts.flags.reuseport);
    if let Some((_, socket)) = trapped {
        return Some((Kind::TestGroupIntruder, Arc::clone(socket)));
    }
    let joined = holders().find(|(rule, socket)| *rule == Rule::ReuseportUidMismatch && !socket.is_own());
    joined.map(|(_, socket)| (Kind::JoinRefused, Arc::clone(socket)))
}

impl Attempt {
    fn lasts(&self, inventory: &Inventory, now: Moment) -> bool {
        now.0.saturating_sub(self.at.0) < LASTS
            && !(self.gone && self.looked_at)
            && inventory.get(self.holder.facts.inode).is_some()
            && inventory.get(self.contender.facts.inode).is_none()
    }

    fn state(&self, port: PortKey) -> State {
        let (asks, has) = (who(&self.contender), who(&self.holder));
        let (there, here) = (place(&self.contender), place(&self.holder));
        let (severity, seen) = match self.kind {
            Kind::TestGroupIntruder => (
                Severity::Critical,
                format!(
                    "{asks} tried to bind {there}, on a port of the daemon's own test group at {here}, and was refused"
                ),
            ),
            _ => (
                Severity::Warning,
                format!(
                    "{asks} tried to join {here} of {has} by SO_REUSEPORT as another user, and was refused"
                ),
            ),
        };
        State {
            key: StateKey {
                port,
                kind: self.kind,
                subject: Subject::Side(super::side::side_key(&self.holder)),
                other: Some(Subject::Side(super::side::side_key(&self.contender))),
            },
            severity,
            parties: vec![
                (Role::Holder, Arc::clone(&self.holder)),
                (Role::Contender, Arc::clone(&self.contender)),
            ],
            began: Some(self.at),
            seen,
        }
    }
}
