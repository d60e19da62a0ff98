//! One signal with everyone in it.

use std::sync::Arc;

use super::{Kind, Severity};
use crate::{
    endpoint::{Endpoint, Protocol},
    event::Moment,
    inventory::{PortKey, Socket},
    rulebook::Overlap,
};

/// What a socket is to a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Whose traffic goes elsewhere, or may
    Victim,
    /// Who gets it
    Taker,
    /// One of several with the same rights
    Member,
    /// Who has what is asked for
    Holder,
    /// Who asks
    Contender,
}

impl Role {
    /// The JSON word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Victim => "victim",
            Self::Taker => "taker",
            Self::Member => "member",
            Self::Holder => "holder",
            Self::Contender => "contender",
        }
    }
}

/// A socket in a signal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Party {
    /// What it is to the signal
    pub role: Role,
    /// The socket as it was last, with its owners; of a contender that was refused the process that asked
    pub socket: Arc<Socket>,
    /// How its address meets the victim's; `None` of the victim, and where there is none
    pub overlap: Option<Overlap>,
    /// Selections of it since the signal began; `None` where they are not counted
    pub selections: Option<u64>,
}

/// A state of the host that somebody should know of, from its begin to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// Which state
    pub kind: Kind,
    /// How grave
    pub severity: Severity,
    /// The port it is about
    pub port: PortKey,
    /// Protocol of the victim
    pub protocol: Protocol,
    /// Address and port of the victim
    pub endpoint: Endpoint,
    /// Everyone in it, the victim or holder first
    pub parties: Vec<Party>,
    /// When it began; of what was found, when it was
    pub since: Moment,
    /// When it ended
    pub until: Option<Moment>,
    /// Whether it was there before the daemon
    pub found: bool,
    /// What was seen, a sentence
    pub seen: String,
}
