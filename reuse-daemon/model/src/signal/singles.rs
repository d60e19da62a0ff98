//! What is told of one socket.

use std::sync::Arc;

use super::{
    Kind, Role, Severity,
    handover::Handovers,
    meeting::overlap,
    side::changed_hands,
    state::{State, StateKey, Subject, in_role, place, who},
};
use crate::{
    endpoint::Transport,
    inventory::{Owner, PortKey, Socket},
    process::Process,
    socket::State as SocketState,
};

/// Appends what is to be told of a socket by itself. `on_port`: it and the others there.
pub(super) fn look<'a>(
    port: PortKey,
    socket: &Arc<Socket>,
    on_port: impl Iterator<Item = &'a Arc<Socket>>,
    handovers: &Handovers,
    states: &mut Vec<State>,
) {
    if socket.is_own() {
        return;
    }
    states.extend(owner_change(port, socket, on_port));
    states.extend(inherited(port, socket, handovers));
}

fn owner_change<'a>(
    port: PortKey,
    socket: &Arc<Socket>,
    on_port: impl Iterator<Item = &'a Arc<Socket>>,
) -> Option<State> {
    let creator = socket.facts.creator.filter(|_| changed_hands(&socket.facts))?;
    // Those that it passes for one of.
    let members = on_port.filter(|other| {
        other.facts.inode != socket.facts.inode
            && other.facts.uid == socket.facts.uid
            && overlap(&other.facts, &socket.facts)
    });
    let (whose, here, uid) = (who(socket), place(socket), socket.facts.uid);
    Some(State {
        key: StateKey {
            port,
            kind: Kind::OwnerChange,
            subject: Subject::Socket(socket.facts.inode),
            other: None,
        },
        severity: Severity::Warning,
        parties: in_role(Role::Taker, [socket]).chain(in_role(Role::Member, members)).collect(),
        began: None,
        seen: format!(
            "{whose} has {here} with a socket that uid {creator} made and that was given uid {uid} afterwards (fchown): the kernel takes it for a socket of uid {uid}"
        ),
    })
}

/// A listener that is open in another program than its own.
fn inherited(port: PortKey, socket: &Arc<Socket>, handovers: &Handovers) -> Option<State> {
    let facts = &socket.facts;
    let is_service = match facts.protocol.transport()? {
        Transport::Tcp => facts.state == SocketState::Listen,
        // A port that the kernel chose is a client's.
        Transport::Udp => facts.state == SocketState::Bound && (socket.asked || socket.since.is_none()),
    };
    let heir = is_service.then(|| heir(socket, handovers)).flatten()?;
    let by_message = handovers.came_by_message(facts.inode, heir.process.pid);
    let to_another = heir.process.uid != facts.uid
        && socket.binder.as_ref().is_none_or(|binder| binder.uid != heir.process.uid);
    let Process { pid, executable, .. } = &*heir.process;
    let by = if by_message { "was handed" } else { "inherited" };
    Some(State {
        key: StateKey {
            port,
            kind: Kind::InheritedListener,
            subject: Subject::Socket(facts.inode),
            other: None,
        },
        severity: if by_message && to_another { Severity::Warning } else { Severity::Info },
        parties: vec![(Role::Holder, Arc::clone(socket))],
        began: None,
        seen: format!(
            "{executable} (pid {pid}, uid {}) {by} the socket of {} and has it open: it can accept or receive its traffic",
            heir.process.uid,
            place(socket)
        ),
    })
}

/// An owner that runs another program than who bound the socket; of several the one it was handed to. As found: than its
/// first owner.
fn heir<'a>(socket: &'a Socket, handovers: &Handovers) -> Option<&'a Owner> {
    let first = socket.owners.first()?;
    let binder = socket.binder.as_ref().unwrap_or(&first.process);
    let others = || socket.owners.iter().filter(|owner| owner.process.runs_another_program_than(binder));
    let handed = others().find(|owner| handovers.came_by_message(socket.facts.inode, owner.process.pid));
    handed.or_else(|| others().next())
}

/// Whether a socket may be something to tell of by itself, from what its change shows at once.
pub(super) fn may_be_told(socket: &Socket) -> bool {
    let first = socket.binder.as_ref().or_else(|| socket.owners.first().map(|owner| &owner.process));
    let Some(first) = first else { return false };
    changed_hands(&socket.facts)
        || socket.owners.iter().any(|owner| owner.process.runs_another_program_than(first))
}

/// Whether the uid of a socket may not be the one its file was opened with: who bound it runs as another. Only the file
/// itself tells.
pub(super) fn is_of_doubtful_uid(socket: &Socket) -> bool {
    let binder = socket.binder.as_ref();
    socket.facts.creator.is_none() && binder.is_some_and(|binder| binder.uid != socket.facts.uid)
}
