//! What is worth a look: sockets change all the time, and most changes mean nothing to anybody else.

use std::{collections::BTreeSet, sync::Arc};

use super::singles;
use crate::{
    inventory::{Inventory, PortKey, Socket},
    socket::Selector,
};

/// The ports whose sockets are worth a look.
pub(super) fn conspicuous_ports(inventory: &Inventory) -> BTreeSet<PortKey> {
    let met = inventory.crowded_ports().filter(|port| meets_others(inventory.on_port(*port)));
    let singles = inventory.iter().filter(|socket| singles::may_be_told(socket));
    met.chain(singles.filter_map(|socket| PortKey::of(&socket.facts))).collect()
}

/// Whether something but the hash decides in the group of a socket.
pub(super) fn is_steered(socket: &Socket) -> bool {
    socket.facts.group.is_some_and(|group| group.selector != Selector::Hash)
}

/// Whether the sockets of a port may be of several programs or users; where they are many they are taken to be.
pub(super) fn meets_others<'a>(mut sockets: impl Iterator<Item = &'a Arc<Socket>>) -> bool {
    const MANY: usize = 16;
    let whose = |socket: &Socket| (socket.facts.uid, socket.owners.first().map(|owner| owner.process.pid));
    let Some(first) = sockets.next().map(|socket| whose(socket)) else { return false };
    sockets.zip(1..).any(|(socket, place)| place == MANY || whose(socket) != first)
}

/// Whether two versions of a socket are the same to every judgement.
pub(super) fn are_alike(before: &Socket, after: &Socket) -> bool {
    let (one, other) = (&before.facts, &after.facts);
    let programs = |socket: &Socket| -> Vec<_> {
        socket.owners.iter().map(|owner| (owner.process.pid, Arc::as_ptr(&owner.process))).collect()
    };
    (one.state, one.local, one.flags, one.uid) == (other.state, other.local, other.flags, other.uid)
        && (one.creator, one.forced) == (other.creator, other.forced)
        && one.device == other.device
        && one.multicast == other.multicast
        && one.group.map(|group| group.selector) == other.group.map(|group| group.selector)
        && programs(before) == programs(after)
}
