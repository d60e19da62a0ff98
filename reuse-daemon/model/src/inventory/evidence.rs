//! What the facts of a socket give away.

use std::ops::RangeInclusive;

use crate::socket::{Cookie, SocketFacts, State};

/// Whether a socket holds a port.
pub(super) fn holds_port(facts: &SocketFacts) -> bool {
    facts.inode.0 != 0 && facts.local.port != 0 && facts.protocol.transport().is_some()
}

/// Whether a socket may have its port without any call that asked for one.
///
/// The kernel then took a port of its range, and left the address unspecified or set it by `connect`. Who sets
/// SO_REUSEADDR or SO_REUSEPORT means to bind.
pub(super) fn may_be_implicit(facts: &SocketFacts, ephemeral_ports: &RangeInclusive<u16>) -> bool {
    let bare = facts.local.address == facts.family.unspecified() || facts.state == State::Connected;
    bare && ephemeral_ports.contains(&facts.local.port) && !facts.flags.reuseaddr && !facts.flags.reuseport
}

/// Whether two cookies tell two sockets apart; 0 tells nothing.
pub(super) fn is_another(known: Cookie, seen: Cookie) -> bool {
    known.0 != 0 && seen.0 != 0 && known != seen
}
