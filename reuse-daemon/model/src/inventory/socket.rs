//! One socket of the inventory, its owners, and what changed of it.

use std::sync::Arc;

use crate::{
    event::{Comm, Moment},
    process::Process,
    socket::SocketFacts,
};

/// A process that has a socket open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The process
    pub process: Arc<Process>,
    /// Thread name at its last bind or listen on the socket, else the process's own
    pub comm: Comm,
    /// Its descriptors of the socket as the last snapshot found them; empty before
    pub fds: Vec<u32>,
    /// When it was last known to have the socket open
    pub seen: Moment,
}

/// A socket that holds a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Socket {
    /// What the kernel said of it last
    pub facts: SocketFacts,
    /// When it was bound, `None` where that was not seen
    pub since: Option<Moment>,
    /// Who bound it, `None` where that was not seen
    pub binder: Option<Arc<Process>>,
    /// Whether its port was asked for by its number, as far as that was seen
    pub asked: bool,
    /// When an event or a snapshot last spoke of it
    pub seen: Moment,
    /// The processes that have it open, in the order they were seen
    pub owners: Vec<Owner>,
    /// Where there is no owner any more: who the last ones were. A process that ends is gone before its sockets are
    pub former: Vec<Owner>,
}

impl Socket {
    /// A socket that was there when somebody looked, of which nothing else is known.
    #[must_use]
    pub fn found(facts: SocketFacts, seen: Moment) -> Self {
        Self { facts, since: None, binder: None, asked: false, seen, owners: Vec::new(), former: Vec::new() }
    }

    /// The owner with this process id.
    #[must_use]
    pub fn owner(&self, pid: u32) -> Option<&Owner> {
        self.owners.iter().find(|owner| owner.process.pid == pid)
    }

    /// The owners, or the last ones where none is left.
    #[must_use]
    pub fn known_owners(&self) -> &[Owner] {
        if self.owners.is_empty() { &self.former } else { &self.owners }
    }

    /// Whether one of the daemon's own processes has it open, or had it last.
    #[must_use]
    pub fn is_own(&self) -> bool {
        self.known_owners().iter().any(|owner| owner.process.own)
    }
}

/// One step of the inventory, for what is derived from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A socket that was not there
    Added(Arc<Socket>),
    /// Facts or owners of a socket differ
    Updated {
        /// As it was
        before: Arc<Socket>,
        /// As it is
        after: Arc<Socket>,
    },
    /// A socket that is gone, as it was last
    Removed(Arc<Socket>),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{comm, facts};

    #[test]
    fn the_daemons_own_sockets_stay_its_own_when_their_process_has_ended() {
        let own = |own| Owner {
            process: Arc::new(Process { own, ..Process::from_comm(7, comm("x"), 0) }),
            comm: comm("x"),
            fds: Vec::new(),
            seen: Moment(1),
        };
        let socket = |owners, former| Socket { owners, former, ..Socket::found(facts(1, 80), Moment(1)) };
        assert!(socket(vec![own(true)], Vec::new()).is_own());
        assert!(socket(Vec::new(), vec![own(true)]).is_own());
        assert!(!socket(vec![own(false)], vec![own(true)]).is_own(), "somebody else has it now");
    }
}
