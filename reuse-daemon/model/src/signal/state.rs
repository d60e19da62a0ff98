//! A state of the socket table that a signal tells of, as one look at it gives.

use std::sync::Arc;

use super::{Case, Kind, Party, Role, Severity, meeting::device, side::SideKey};
use crate::{
    endpoint::{Endpoint, Protocol},
    event::Moment,
    group::GroupKey,
    inventory::{PortKey, Socket},
    rulebook::{self, Overlap},
    socket::Inode,
};

/// Most sockets that are named in one signal.
const PARTIES_MAX: usize = 32;

/// Whom a state is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Subject {
    /// The sockets of one program on one address
    Side(SideKey),
    /// One socket
    Socket(Inode),
    /// A group
    Group(GroupKey),
}

/// What makes two looks show one state.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct StateKey {
    pub(super) port: PortKey,
    pub(super) kind: Kind,
    pub(super) subject: Subject,
    /// Who takes from it, or asks it
    pub(super) other: Option<Subject>,
}

/// A state.
#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) key: StateKey,
    pub(super) severity: Severity,
    /// At least one; the first is who the address is of
    pub(super) parties: Vec<(Role, Arc<Socket>)>,
    /// When it began, where that is known better than by when it was looked at
    pub(super) began: Option<Moment>,
    /// What was seen, a sentence
    pub(super) seen: String,
}

impl State {
    /// The signal of it.
    pub(super) fn case(&self, since: Moment, found: bool) -> Case {
        let first = &self.parties[0].1.facts;
        Case {
            kind: self.key.kind,
            severity: self.severity,
            port: self.key.port,
            protocol: first.protocol,
            endpoint: first.local,
            parties: self.parties(),
            since: self.began.unwrap_or(since),
            until: None,
            found,
            seen: self.seen.clone(),
        }
    }

    /// Everyone in it, without what they were given.
    pub(super) fn parties(&self) -> Vec<Party> {
        let first = &self.parties[0];
        let party = |(role, socket): &(Role, Arc<Socket>)| Party {
            role: *role,
            socket: Arc::clone(socket),
            overlap: overlap(first, *role, socket),
            selections: None,
        };
        self.parties.iter().map(party).collect()
    }

    /// Adds the parties of another look at the same state: of several sides of one program.
    pub(super) fn join(&mut self, other: Self) {
        self.severity = self.severity.max(other.severity);
        for party in other.parties {
            let is_known = self.parties.iter().any(|known| known.1.facts.inode == party.1.facts.inode);
            if !is_known && self.parties.len() < PARTIES_MAX {
                self.parties.push(party);
            }
        }
    }
}

fn overlap(first: &(Role, Arc<Socket>), role: Role, socket: &Socket) -> Option<Overlap> {
    (role != first.0).then(|| rulebook::overlap(&first.1.facts, &socket.facts))?
}

/// Sockets in a role, the first ones of many.
pub(super) fn in_role<'a>(
    role: Role,
    sockets: impl IntoIterator<Item = &'a Arc<Socket>>,
) -> impl Iterator<Item = (Role, Arc<Socket>)> {
    sockets.into_iter().take(PARTIES_MAX / 2).map(move |socket| (role, Arc::clone(socket)))
}

/// Who has a socket, in a few words.
pub(super) fn who(socket: &Socket) -> String {
    let uid = socket.facts.uid;
    match socket.known_owners().first() {
        Some(owner) => format!("{} (pid {}, socket uid {uid})", owner.process.service, owner.process.pid),
        None => format!("a socket of uid {uid} that no known process has"),
    }
}

/// Where a socket is, in a few words.
pub(super) fn place(socket: &Socket) -> String {
    let facts = &socket.facts;
    let Endpoint { address, port } = facts.local;
    let endpoint = std::net::SocketAddr::new(address, port);
    let protocol = match facts.protocol {
        Protocol::Other => "",
        protocol => protocol.as_str(),
    };
    match &facts.device {
        Some(named) if device(facts).is_some() => format!("{protocol} {endpoint} on {}", named.name),
        _ => format!("{protocol} {endpoint}"),
    }
}
