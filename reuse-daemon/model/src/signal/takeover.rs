//! Ports that others took soon after who had them let them go.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Kind, Role, Severity,
    departed::Departed,
    meeting::{is_eligible, overlap},
    schedule::{PATIENCE, is_young},
    side::{share_multicast, side_key},
    state::{State, StateKey, Subject, place, who},
};
use crate::{
    event::Moment,
    inventory::{Inventory, PortKey, Socket},
    process::Process,
    socket::Inode,
};

/// Nanoseconds for which a takeover is told while the taker is there.
const LASTS: u64 = 60_000_000_000;

/// Most that are kept; of more the newest are not.
const TAKEOVERS_MAX: usize = 1024;

/// Sockets on ports that others had.
#[derive(Debug, Default)]
pub(super) struct Takeovers {
    open: BTreeMap<(PortKey, Inode), Takeover>,
}

#[derive(Debug)]
struct Takeover {
    victim: Arc<Socket>,
    at: Moment,
}

impl Takeovers {
    /// Looks whether a socket that is given a port's traffic from `at` on took it over.
    pub(super) fn begin(
        &mut self,
        port: PortKey,
        socket: &Arc<Socket>,
        at: Moment,
        departed: &Departed,
        inventory: &Inventory,
    ) {
        let key = (port, socket.facts.inode);
        let is_known = self.open.contains_key(&key) || self.open.len() >= TAKEOVERS_MAX;
        if is_known || !socket.asked || socket.is_own() || !is_eligible(&socket.facts) {
            return;
        }
        let takes_from = |victim: &Arc<Socket>| {
            victim.facts.is_in_netns_of(&socket.facts)
                && overlap(&victim.facts, &socket.facts)
                && !is_still_there(victim, inventory.on_port(port))
        };
        let victim =
            departed.on_port(port, at).find(|departure| departure.at <= at && takes_from(&departure.socket));
        if let Some(departure) = victim {
            self.open.insert(key, Takeover { victim: Arc::clone(&departure.socket), at });
        }
    }

    /// Appends the takeovers of a port that last, and forgets the others. When the next one ends by itself.
    pub(super) fn look(
        &mut self,
        port: PortKey,
        inventory: &Inventory,
        now: Moment,
        states: &mut Vec<State>,
    ) -> Option<Moment> {
        let range = (port, Inode(0))..=(port, Inode(u64::MAX));
        let lasts = |inode: Inode, takeover: &Takeover| {
            now.0.saturating_sub(takeover.at.0) < LASTS && inventory.get(inode).is_some()
        };
        let over = self.open.extract_if(range.clone(), |(_, inode), takeover| !lasts(*inode, takeover));
        over.for_each(drop);
        let mut next = None;
        for ((_, inode), takeover) in self.open.range(range) {
            let Some(taker) = inventory.get(*inode) else { continue };
            // Only then it has become who it means to be.
            let is_early = is_young(takeover.at, now);
            if !is_early && are_others(&takeover.victim, taker) {
                states.push(takeover.state(port, taker));
            }
            let ends = Moment(takeover.at.0 + if is_early { PATIENCE } else { LASTS });
            next = Some(next.map_or(ends, |next: Moment| next.min(ends)));
        }
        next
    }
}

impl Takeover {
    fn state(&self, port: PortKey, taker: &Arc<Socket>) -> State {
        State {
            key: StateKey {
                port,
                kind: Kind::TakeoverAfterClose,
                subject: Subject::Side(side_key(&self.victim)),
                other: Some(Subject::Side(side_key(taker))),
            },
            severity: match share_multicast(&[&self.victim, taker]) {
                true => Severity::Info,
                false => Severity::Warning,
            },
            parties: vec![(Role::Victim, Arc::clone(&self.victim)), (Role::Taker, Arc::clone(taker))],
            began: Some(self.at),
            seen: format!(
                "{} has {}, which {} had as {} and closed shortly before",
                who(taker),
                place(taker),
                who(&self.victim),
                place(&self.victim)
            ),
        }
    }
}

/// Whether a port went from one to another. A service that binds as root and drops its rights comes back as itself,
/// whichever of its uids a socket has; a socket that was passed on is also of the one who bound it.
fn are_others(one: &Socket, other: &Socket) -> bool {
    let (ours, theirs) = (known(one), known(other));
    let shares = |same: fn(&Process, &Process) -> bool| {
        ours.iter().any(|one| theirs.iter().any(|other| same(one, other)))
    };
    let is_same_user = one.facts.uid == other.facts.uid || shares(|one, other| one.uid == other.uid);
    let is_same_service = ours.is_empty() || theirs.is_empty() || shares(Process::is_of_one_service_with);
    !is_same_user || !is_same_service
}

/// The processes that are known to have, or to have had, a socket.
fn known(socket: &Socket) -> Vec<&Process> {
    socket.known_owners().iter().map(|owner| &*owner.process).chain(socket.binder.as_deref()).collect()
}

/// Whether the one who closed a socket has another in its place.
fn is_still_there<'a>(closed: &Arc<Socket>, on_port: impl Iterator<Item = &'a Arc<Socket>>) -> bool {
    let mut others = on_port;
    others.any(|other| {
        is_eligible(&other.facts) && overlap(&closed.facts, &other.facts) && !are_others(closed, other)
    })
}
